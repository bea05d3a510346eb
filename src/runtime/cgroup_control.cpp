// FsCgroup while the container runs: freezing, listing, signals, OOM.
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "runtime/cgroup_fs.h"
#include "runtime/cgroup_stats.h"
#include "sys/cgroup.h"

namespace onggi::runtime {
namespace {

const CgroupDirectory* with_controller(const std::vector<CgroupDirectory>& dirs, const char* controller) {
  for (const CgroupDirectory& dir : dirs)
    if (std::find(dir.controllers.begin(), dir.controllers.end(), controller) != dir.controllers.end())
      return &dir;
  return nullptr;
}

Error no_freezer() {
  return Error::unsupported(
      "the container has no cgroup that can be frozen: mount the v1 hierarchy \"freezer\" or cgroup v2");
}

}  // namespace

Result<> FsCgroup::freeze(bool frozen) {
  if (const CgroupDirectory* v1 = with_controller(dirs_, "freezer")) return freeze_v1(v1->path, frozen);
  if (const CgroupDirectory* v2 = v2_directory()) return freeze_v2(v2->path, frozen);
  return fail(no_freezer());
}

Result<bool> FsCgroup::frozen() {
  if (const CgroupDirectory* v1 = with_controller(dirs_, "freezer")) {
    auto state = frozen_v1(v1->path);
    if (!state && (state.error().os_errno() == ENOENT || state.error().os_errno() == ENODEV)) return false;
    return state;
  }
  if (const CgroupDirectory* v2 = v2_directory()) return frozen_v2(v2->path);
  return false;
}

Result<std::vector<int>> FsCgroup::pids() {
  const CgroupDirectory* dir = any_directory();
  if (!dir) return fail(Error::unsupported("the container has no cgroup, so its processes cannot be listed"));
  return sys::cgroup_pids(dir->path, true);
}

// Frozen processes neither fork away from the list nor die while it is read. SIGKILL reaches a process frozen
// by v1 only when it is thawed, so a paused container is thawed after it; for other signals the pause is
// kept.
Result<> FsCgroup::signal_all(int signal) {
  if (signal == SIGKILL && pure_v2()) {
    auto killed = write_file(dirs_[0].path + "/cgroup.kill", "1");  // since 5.14
    if (killed || killed.error().os_errno() == ENODEV) return {};
  }
  // The usual case at the end of a container: nobody is left, and freezing would be work for nothing.
  auto anybody = pids();
  if (anybody && anybody->empty()) return {};
  bool was_frozen = frozen().value_or(false);
  bool froze = !was_frozen && freeze(true).has_value();
  Result<> outcome;
  auto inside = pids();
  if (!inside) outcome = fail(std::move(inside).error());
  if (inside) {
    for (int pid : *inside) {
      if (pid == ::getpid() || ::kill(pid, signal) == 0 || errno == ESRCH) continue;
      if (outcome)
        outcome =
            fail(Error::os("send signal " + std::to_string(signal) + " to process", std::to_string(pid)));
    }
  }
  if (froze || (was_frozen && signal == SIGKILL))
    if (auto thawed = freeze(false); !thawed && outcome && thawed.error().os_errno() != ENOENT)
      outcome = std::move(thawed);
  return outcome;
}

Result<UniqueFd> FsCgroup::oom_event_fd() {
  if (const CgroupDirectory* v1 = with_controller(dirs_, "memory")) return oom_event_v1(v1->path);
  if (const CgroupDirectory* v2 = v2_directory()) return oom_event_v2(v2->path);
  return fail(
      Error::unsupported("the container has no memory cgroup, so the kernel reports no OOM kills for it"));
}

Result<uint64_t> FsCgroup::oom_kills() {
  if (const CgroupDirectory* v1 = with_controller(dirs_, "memory"))
    return sys::read_cgroup_key(v1->path + "/memory.oom_control", "oom_kill");
  if (const CgroupDirectory* v2 = v2_directory())
    return sys::read_cgroup_key(v2->path + "/memory.events", "oom_kill");
  return 0;
}

}  // namespace onggi::runtime
