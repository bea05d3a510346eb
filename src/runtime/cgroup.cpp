// Chooses the manager of a cgroup: cgroup file system or systemd.
#include "runtime/cgroup.h"

#include <time.h>
#include <unistd.h>

#include <optional>

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
