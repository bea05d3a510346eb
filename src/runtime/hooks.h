// Hooks of config.md "POSIX-platform Hooks".
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"
#include "policy/seccomp.h"

namespace onggi::runtime {

class Cgroup;

// Where a hook runs: in the runtime's namespaces, or in the container's (joined through its init).
struct HookPlace {
  int container_pidfd = -1;  // -1: runtime namespaces
  uint64_t namespaces = 0;   // CLONE_NEW*
  bool user_namespace = false;
  // startContainer hooks are programs of the image. They run under the container's filter, as its user, with
  // the capabilities, limits and labels of its process, and in its cgroup.
  const policy::SeccompProgram* seccomp = nullptr;
  const oci::Process* process = nullptr;
  Cgroup* cgroup = nullptr;
  std::string keyring;          // session keyring, as JoinInput's
  bool deny_setgroups = false;  // rootless with a single mapping
  std::string directory;        // runtime namespaces: working directory (the bundle)
};

// Runs one after the other, each with `state` (JSON) on standard input. The first that fails (exit code,
// signal, timeout) ends the list with an error that names it and shows what it printed.
Result<> run_hooks(const std::vector<oci::Hook>& hooks, const char* kind, const std::string& state,
                   const HookPlace& place);

}  // namespace onggi::runtime
