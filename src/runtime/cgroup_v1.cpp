// What only cgroup v1 needs: cpuset initialisation, the freezer, OOM notices by eventfd.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "runtime/cgroup_fs.h"
#include "sys/cgroup.h"

namespace onggi::runtime {
namespace {

void sleep_ms(long ms) {
  timespec t{ms / 1000, ms % 1000 * 1000000};
  ::nanosleep(&t, nullptr);
}

// The value for one file of `path`, taken from (and first given to) its ancestors.
Result<std::string> ensure_cpuset_file(const std::string& mount, const std::string& path,
                                       const std::string& file, bool known_empty) {
  if (!known_empty) {
    std::string now = TRY(sys::read_cgroup_value(path + "/" + file));
    if (!now.empty() || path.size() <= mount.size()) return now;
  }
  std::string parent = path.substr(0, path.rfind('/'));
  if (parent.size() < mount.size() || parent.empty()) return std::string();
  std::string value = TRY(ensure_cpuset_file(mount, parent, file, false));
  TRY_VOID(write_file(path + "/" + file, value));
  return value;
}

}  // namespace

Result<> init_cpuset_v1(const std::string& mount, const std::string& path, bool fresh) {
  TRY_CTX(ensure_cpuset_file(mount, path, "cpuset.cpus", fresh), "initialise cpuset");
  TRY_CTX(ensure_cpuset_file(mount, path, "cpuset.mems", fresh), "initialise cpuset");
  return {};
}

// A cgroup in which processes keep appearing may stay FREEZING. Writing FROZEN again picks up the new ones;
// thawing for a moment now and then lets a fork that is half done finish. Bounded to about two seconds, and
// never left half frozen.
Result<> freeze_v1(const std::string& dir, bool frozen) {
  std::string file = dir + "/freezer.state";
  if (!frozen) return write_file(file, "THAWED");
  constexpr int kTries = 1000;
  Result<> outcome;
  for (int i = 1; i <= kTries; i++) {
    if (i % 50 == 0) {
      (void)write_file(file, "THAWED");
      sleep_ms(10);
    }
    outcome = write_file(file, "FROZEN");
    if (!outcome) break;
    if (i % 25 == 0) sleep_ms(i < 200 ? 1 : 40);
    auto state = sys::read_cgroup_value(file);
    if (!state) {
      outcome = fail(std::move(state).error());
      break;
    }
    if (*state == "FROZEN") return {};
  }
  (void)write_file(file, "THAWED");
  if (!outcome) return outcome;
  return fail(Error(ErrorKind::kBusy,
                    "unable to freeze '" + dir +
                        "': processes keep appearing in it or do not react; it was thawed "
                        "again",
                    EBUSY));
}

// FROZEN by an ancestor is not a pause of this container.
Result<bool> frozen_v1(const std::string& dir) {
  for (int i = 0;; i++) {
    std::string state = TRY(sys::read_cgroup_value(dir + "/freezer.state"));
    if (state == "THAWED") return false;
    if (state == "FROZEN" || i == 1000) {
      auto self = sys::read_cgroup_value(dir + "/freezer.self_freezing");
      return self ? *self != "0" : true;
    }
    sleep_ms(1);  // FREEZING is a transition
  }
}

// memory.oom_control cannot be polled; cgroup.event_control connects it with an eventfd.
Result<UniqueFd> oom_event_v1(const std::string& dir) {
  UniqueFd control = TRY(open_at(AT_FDCWD, dir + "/memory.oom_control", O_RDONLY));
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return fail(Error::os("eventfd", ""));
  TRY_VOID_CTX(write_file(dir + "/cgroup.event_control",
                          std::to_string(event.get()) + " " + std::to_string(control.get())),
               "ask for OOM notices");
  return event;
}

}  // namespace onggi::runtime
