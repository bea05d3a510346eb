// launch(): runs a compiled plan in the child program and answers what the child asks, until it has become
// the container's process, waits for `start`, or failed.
#pragma once

#include <functional>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/compile.h"

namespace onggi::runtime {

// What the parent does at each meeting point. An unset function means "nothing to do". An error ends the
// child.
struct LaunchHandlers {
  std::function<Result<>(int pid)> after_spawn;                       // work that overlaps with the child's
  std::function<Result<>(int pid)> map_ids;                           // SyncPoint::kMapped
  std::function<Result<std::vector<UniqueFd>>(int pid)> join_cgroup;  // SyncPoint::kCgroup
  std::function<Result<>(int pid)> net_devices;                       // SyncPoint::kNetDevices
  std::function<Result<>(int pid, int pidfd)> hooks;                  // SyncPoint::kHooks
  std::function<Result<>(int pid)> created;                           // SyncPoint::kCreated
  std::function<void(const std::string&)> warning;
  void (*phase)(const char* name) = nullptr;
  std::function<Result<>(UniqueFd master)> console;
  std::function<Result<>(UniqueFd listener, int pid)> seccomp_listener;
};

struct LaunchArgs {
  const CompiledPlan* plan = nullptr;
  int cgroup_fd = -1;  // CLONE_INTO_CGROUP
  int stdio[3] = {-1, -1, -1};
  bool bare = false;             // the plan has no SyncPoint::kCreated: success is the exec
  bool waits_for_start = false;  // success is SyncPoint::kCreated; otherwise the exec itself
};

struct Launched {
  int pid = -1;
  PidFd pidfd;
};

// Errors say which step failed, on what, and why. On failure the child is gone and reaped.
Result<Launched> launch(const LaunchArgs& args, const LaunchHandlers& handlers);

}  // namespace onggi::runtime
