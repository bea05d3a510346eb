// Cgroup: one interface over cgroup v1, hybrid and v2, by the cgroupfs or the systemd manager.
//
// A Cgroup value is plain paths; it owns no kernel object, so it can be rebuilt from the state file
// (CgroupRecord) by any later command. Life: plan() (pure but for reading the mount table) -> create() before
// the clone, or create_for_pid() after it with systemd -> join_fds() for the child -> ... -> destroy().
// create*() undo everything they made when they fail.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "oci/runtime_spec.h"
#include "sys/cgroup.h"

namespace onggi::runtime {

// What the state file keeps about the cgroup of a container.
struct CgroupRecord {
  bool systemd = false;
  std::string unit;   // systemd scope, "libpod-abc.scope"
  std::string slice;  // systemd slice, "machine.slice"
  // (controller, absolute directory). v1: one entry per controller, plus "name=systemd"; the v2 tree has the
  // key "".
  std::vector<std::pair<std::string, std::string>> paths;
};

struct CgroupConfig {
  std::string id;            // container id
  std::string cgroups_path;  // linux.cgroupsPath, may be empty
  bool systemd = false;      // --systemd-cgroup: cgroups_path is "slice:prefix:name"
  bool disabled = false;     // no cgroup at all
  bool rootless = false;  // not (really) root: what cannot be made because of EPERM/EACCES/EROFS is left out,
                          // unless cgroups_path or resources ask for it
  oci::StringMap annotations;  // "org.systemd.property.*", as in runc's docs/systemd.md
  // Host ids that own the cgroup when the container may manage it (a cgroup namespace, v2, /sys/fs/cgroup
  // mounted read-write: config-linux.md "Cgroup ownership"); -1: unchanged.
  int64_t owner_uid = -1;
};

// Whether join_fds() includes the v2 tree. A caller that passes clone_fd() to clone3 leaves it out: the write
// would be redundant, and joining by cgroup.procs makes the kernel wait for an RCU grace period.
enum class JoinV2 : uint8_t { kInclude, kLeaveOut };

struct CgroupStats;  // cgroup_stats.h

class Cgroup {
 public:
  virtual ~Cgroup() = default;

  // Decides every path. Effects: none. Errors: malformed cgroups_path, no cgroup mounted, "systemd" without
  // systemd. `roots` is for tests with fake trees.
  static Result<std::unique_ptr<Cgroup>> plan(const CgroupConfig& config, const sys::CgroupRoots& roots = {});
  static Result<std::unique_ptr<Cgroup>> load(const CgroupRecord& record, const sys::CgroupRoots& roots = {});
  // Final only after create*(): a guessed layout may be corrected there, and what rootless cannot make is
  // left out.
  [[nodiscard]] virtual const CgroupRecord& record() const = 0;

  // Hybrid, before create(): makes only the directory in the v2 tree and returns it for CLONE_INTO_CGROUP, so
  // that the first process is born there while the caller makes everything else; joining v2 later by a write
  // costs 9 to 13 ms. An invalid fd: nothing was done, join by join_fds(). The directory goes away with this
  // object unless create() succeeds. Then join_fds() must leave out v2.
  virtual Result<UniqueFd> enter_early() { return UniqueFd(); }
  // True when the cgroup can only be made around an existing process (systemd scopes).
  [[nodiscard]] virtual bool needs_pid() const = 0;
  // Makes the directories and writes the limits. An existing cgroup is used when it has no processes, else
  // refused ("container's cgroup is not empty"), as runc does.
  virtual Result<> create(const oci::Resources& resources) = 0;
  virtual Result<> create_for_pid(int pid, const oci::Resources& resources) = 0;
  // Files that a process writes "0" to in order to join (v1: tasks of each hierarchy; v2: cgroup.procs). For
  // `exec`, `sub` selects a sub-cgroup: pairs (controller or "", relative path); an empty list is the
  // container's own. "" applies to all hierarchies that no other pair names.
  virtual Result<std::vector<UniqueFd>> join_fds(const oci::StringMap& sub = {},
                                                 JoinV2 v2 = JoinV2::kInclude) = 0;
  // v2 and hybrid: a directory fd for CLONE_INTO_CGROUP, otherwise (v1, nothing to join) an invalid fd. When
  // clone3 fails with EAGAIN (pids.max reached), EBUSY or EOPNOTSUPP, clone without it and join by
  // join_fds(), which the pids limit does not stop.
  virtual Result<UniqueFd> clone_fd(const oci::StringMap& sub = {}) = 0;
  // Where another process of the container has to go, as a `sub` for the two above: {} for the container's
  // own cgroup. On v2 a container that manages its cgroup (systemd in it) has enabled controllers for
  // children, after which the kernel lets no process into the cgroup itself (EBUSY); then it is the cgroup of
  // its init.
  virtual Result<oci::StringMap> exec_sub_cgroup(int init_pid) = 0;

  // update: only fields that are present change.
  virtual Result<> update(const oci::Resources& resources) = 0;
  // Pauses or resumes every process and waits until the kernel says that it is so (bounded; then thaws and
  // fails).
  virtual Result<> freeze(bool frozen) = 0;
  virtual Result<bool> frozen() = 0;
  // Pids (of this process's pid namespace) in the cgroup and below it.
  virtual Result<std::vector<int>> pids() = 0;
  // Sends `signal` to all; SIGKILL uses cgroup.kill where there is one, else freezes, signals, thaws (v1).
  virtual Result<> signal_all(int signal) = 0;
  // Removes everything (leaf first), retrying for `patience_ms` while processes die; an absent cgroup is
  // success.
  static constexpr int kRemovalPatienceMs = 5000;
  Result<> destroy() { return destroy_within(kRemovalPatienceMs); }
  virtual Result<> destroy_within(int patience_ms) = 0;
  virtual Result<CgroupStats> stats() = 0;
  // An fd that becomes readable (poll: POLLIN or POLLPRI) when the kernel reports an OOM kill, and the way to
  // read it.
  virtual Result<UniqueFd> oom_event_fd() = 0;
  // OOM kills so far (memory.events / memory.oom_control).
  virtual Result<uint64_t> oom_kills() = 0;
  // To be called when oom_event_fd() became readable: drains it and returns the count. v1 kernels report
  // before they kill, so this waits up to a second for the count to rise above `seen`.
  Result<uint64_t> oom_kills_after(int event_fd, uint64_t seen);
};

// After a creator that died before it had made its cgroup (StateRecord::cgroup_only_planned): removes
// directories that hold neither processes nor cgroups, waiting for a process of that creator that is still
// dying. Signals nobody. Returns what it left, because it belongs to somebody else.
std::vector<std::string> release_planned_cgroup(const CgroupRecord& record);

using sys::CgroupMode;
// The host's mode, looked up once per process.
CgroupMode host_cgroup_mode();

}  // namespace onggi::runtime
