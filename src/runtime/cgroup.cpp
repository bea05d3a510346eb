// Chooses the manager of a cgroup: cgroup file system or systemd.
#include "runtime/cgroup.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "runtime/cgroup_fs.h"
#include "runtime/cgroup_systemd.h"

namespace onggi::runtime {

namespace {

std::optional<CgroupMode> known_mode;

}  // namespace

CgroupMode host_cgroup_mode() {
  if (!known_mode) known_mode = sys::cgroup_mode();
  return *known_mode;
}

Result<std::unique_ptr<Cgroup>> Cgroup::plan(const CgroupConfig& config, const sys::CgroupRoots& roots) {
  if (config.disabled) {
    CgroupConfig none = config;
    none.rootless = true;
    none.cgroups_path.clear();
    return TRY(FsCgroup::plan_in(none, roots, sys::CgroupLayout{}));
  }
  sys::CgroupLayout layout = TRY(sys::guess_cgroups(roots));
  // No usual layout: only the mount table knows.
  if (layout.mode == CgroupMode::kNone) layout = TRY(sys::read_cgroups(roots));
  if (roots.cgroup == sys::CgroupRoots{}.cgroup) known_mode = layout.mode;
  if (layout.mode == CgroupMode::kNone && !config.rootless)
    return fail(Error::unsupported("no cgroup file system is mounted; mount cgroup2 at /sys/fs/cgroup"));
  if (config.systemd) return plan_systemd_cgroup(config, roots, layout);
  return TRY(FsCgroup::plan_in(config, roots, layout));
}

Result<std::unique_ptr<Cgroup>> Cgroup::load(const CgroupRecord& record, const sys::CgroupRoots& roots) {
  if (record.systemd) return load_systemd_cgroup(record, roots);
  return std::unique_ptr<Cgroup>(FsCgroup::from_record(record, roots));
}

namespace {

// A process that the dead creator left: its child program, or itself on the way there. It ends by itself when
// it finds its socket closed.
bool is_leftover(int pid) {
  char theirs[4096], self[4096];
  ssize_t n = ::readlink(("/proc/" + std::to_string(pid) + "/exe").c_str(), theirs, sizeof theirs);
  if (n <= 0) return errno == ENOENT;  // it is ending
  std::string_view exe(theirs, static_cast<size_t>(n));
  ssize_t m = ::readlink("/proc/self/exe", self, sizeof self);
  return exe.starts_with("/memfd:onggi-init") ||
         (m > 0 && exe == std::string_view(self, static_cast<size_t>(m)));
}

bool used_by_others(const std::string& path) {
  auto below = sys::sub_cgroups(path);
  if (below && !below->empty()) return true;
  auto inside = sys::cgroup_pids(path, false);
  if (!inside) return true;
  return std::any_of(inside->begin(), inside->end(), [](int pid) { return !is_leftover(pid); });
}

}  // namespace

std::vector<std::string> release_planned_cgroup(const CgroupRecord& record) {
  constexpr long kPatienceMs = 5000, kPauseMs = 5;
  long budget = kPatienceMs;
  std::vector<std::string> left;
  std::string last;
  for (const auto& [controller, path] : record.paths) {
    if (path == last) continue;  // controllers of one hierarchy stand together
    last = path;
    // Without recursion: a creator makes no cgroups below its own, so such are somebody else's.
    while (::rmdir(path.c_str()) < 0 && errno != ENOENT) {
      if ((errno != EBUSY && errno != EINTR) || budget <= 0 || used_by_others(path)) {
        left.push_back(path);
        break;
      }
      timespec pause{0, kPauseMs * 1'000'000};
      ::nanosleep(&pause, nullptr);
      budget -= kPauseMs;
    }
  }
  return left;
}

Result<uint64_t> Cgroup::oom_kills_after(int event_fd, uint64_t seen) {
  constexpr int kTries = 100;
  char block[4096];
  (void)!::read(event_fd, block, sizeof block);
  for (int i = 0;; i++) {
    uint64_t now = TRY(oom_kills());
    if (now > seen || i == kTries) return now;
    timespec pause{0, 10'000'000};
    ::nanosleep(&pause, nullptr);
  }
}

}  // namespace onggi::runtime
