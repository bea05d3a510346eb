// Hooks of config.md "POSIX-platform Hooks".
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"
#include "policy/seccomp.h"

namespace onggi::runtime {

// Where a hook runs: in the runtime's namespaces, or in the container's (joined through its init).
struct HookPlace {
  int container_pidfd = -1;  // -1: runtime namespaces
  uint64_t namespaces = 0;   // CLONE_NEW*
  bool user_namespace = false;
  const policy::SeccompProgram* seccomp = nullptr;  // startContainer hooks run under the container's filter
  std::string directory;                            // runtime namespaces: working directory (the bundle)
};

// Runs one after the other, each with `state` (JSON) on standard input. The first that fails (exit code,
// signal, timeout) ends the list with an error that names it and shows what it printed.
Result<> run_hooks(const std::vector<oci::Hook>& hooks, const char* kind, const std::string& state,
                   const HookPlace& place);

}  // namespace onggi::runtime
