// Spec -> Plan. Pure but for what the caller passes in as descriptors: nothing here changes the host.
//
// Order of the steps and why: namespaces first, since everything else must happen inside them; the user
// namespace before the others, so that it owns them; the mount tree is built under the detached root before
// pivot_root, while host paths (bind sources) can still be named; the cgroup is joined late, so that the
// parent can make it meanwhile, but before anything that depends on it (cgroup mounts, exec); identity and
// filter last.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"
#include "policy/seccomp.h"
#include "runtime/cgroup.h"
#include "runtime/plan_builder.h"

namespace onggi::runtime {

// A mount tree that the parent had to prepare (id-mapped, or its source is out of the container user's
// reach).
struct PreparedMount {
  size_t index = 0;  // in spec.mounts
  int fd = -1;       // detached tree, borrowed
};

struct CompileInput {
  const oci::Spec* spec = nullptr;
  std::string id;
  std::string rootfs;     // absolute path on the host
  bool rootless = false;  // no privileges in the initial user namespace
  int preserve_fds = 0;   // descriptors 3 .. 3 + n - 1 stay open for the process
  bool no_pivot = false;
  bool no_new_keyring = false;
  const CgroupRecord* cgroup = nullptr;  // where cgroup mounts find their hierarchies
  CgroupMode cgroup_mode = CgroupMode::kNone;
  bool join_cgroup =
      false;  // the child joins by the parent's answer; false: it was cloned into it, or there is none
  std::vector<std::pair<oci::NamespaceType, int>> namespace_fds;  // namespaces joined by path
  int proc_fd = -1;                                               // a procfs that no container can touch
  int root_tree_fd = -1;  // detached root tree prepared by the parent, or -1
  std::vector<PreparedMount> prepared;
  int exec_fifo = -1, status_fifo = -1;  // create: wait for start; -1: go on at once
  bool sync_created = true;   // false: the parent has recorded the process before; nobody waits at the end
  bool parent_hooks = false;  // prestart, createRuntime or createContainer hooks exist
  const policy::SeccompProgram* seccomp = nullptr;
  bool selinux = false, apparmor = false;  // enabled on this host
};

// What spawn() needs beside the plan.
struct CompiledPlan {
  PlanBuilder builder;
  uint64_t clone_flags = 0;  // of the first clone
  bool staged = false;       // the first process only prepares; the plan holds a kClone step
  bool new_user_namespace = false;
  std::vector<int> fds;  // descriptors that the child inherits
};

// Whether a first process must prepare (user namespace, joined pid namespace) before the container's own is
// cloned.
bool is_staged(const oci::Spec& spec);
Result<CompiledPlan> compile_create(const CompileInput& input);

// Join of a running container for `exec` and for hooks that run in the container's namespaces.
struct JoinInput {
  const oci::Process* process = nullptr;
  int pidfd = -1;               // the container's init
  uint64_t namespaces = 0;      // CLONE_NEW* flags that differ from the runtime's own
  bool user_namespace = false;  // CLONE_NEWUSER is among them
  std::string keyring;          // session keyring to join, empty: none
  int preserve_fds = 0;
  int proc_fd = -1;
  bool join_cgroup = false;
  bool rootless = false;
  const policy::SeccompProgram* seccomp = nullptr;
  const oci::Linux* linux = nullptr;  // personality, memory policy of the container
  bool selinux = false, apparmor = false;
  bool bare = false;  // hook: no identity, capabilities, limits; only namespaces, stdio and exec
};
Result<CompiledPlan> compile_join(const JoinInput& input);

// compile_mounts.cpp: all steps from the root mount to the masks.
Result<> compile_mounts(const CompileInput& input, CompiledPlan& plan);
Result<> compile_final_mounts(const CompileInput& input, CompiledPlan& plan);
// compile_process.cpp
struct ProcessInput {
  const oci::Process* process = nullptr;
  const oci::Linux* linux = nullptr;
  const policy::SeccompProgram* seccomp = nullptr;
  int proc_fd = -1;
  int exec_fifo = -1, status_fifo = -1;
  bool start_hooks = false;
  bool sync_created = false;  // SyncPoint::kCreated before start or exec; otherwise kReady
  bool console_bind = false;
  bool selinux = false, apparmor = false;
  bool user_namespace = false;
  bool deny_setgroups = false;  // rootless with a single mapping: groups cannot be set
  bool bare = false;            // hook: only the program
  std::string keyring;
};
Result<> compile_process(const ProcessInput& input, CompiledPlan& plan);

// Lexical clean-up of an absolute path inside the container: "//a/./b/../c/" -> "/a/c".
std::string clean_path(const std::string& path);

}  // namespace onggi::runtime
