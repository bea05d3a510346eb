// What only cgroup v2 needs: enabling controllers from the top down, cgroup types, the freezer, OOM notices
// by inotify.
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "runtime/cgroup_fs.h"
#include "sys/cgroup.h"

namespace onggi::runtime {
namespace {

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> result;
  size_t i = 0;
  while (i < text.size()) {
    size_t end = text.find_first_of(" \n\t", i);
    if (end == std::string_view::npos) end = text.size();
    if (end > i) result.emplace_back(text.substr(i, end - i));
    i = end + 1;
  }
  return result;
}

bool holds(const std::vector<std::string>& all, const std::string& one) {
  for (const std::string& x : all)
    if (x == one) return true;
  return false;
}

// All at once, or one by one so that a controller that cannot be had does not cost the others.
void enable_in(const std::string& dir, const std::vector<std::string>& controllers, std::string& culprit) {
  std::string all;
  for (const std::string& c : controllers) all += (all.empty() ? "+" : " +") + c;
  std::string file = dir + "/cgroup.subtree_control";
  auto done = write_file(file, all);
  if (done) return;
  if (done.error().os_errno() == EBUSY) culprit = dir;
  if (controllers.size() == 1) return;
  for (const std::string& c : controllers) (void)write_file(file, "+" + c);
}

long now_ms() {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

}  // namespace

Result<> enable_controllers_v2(const std::string& mount, const std::string& parent, std::string& culprit) {
  std::vector<std::string> available = words(TRY(sys::read_cgroup_file(mount + "/cgroup.controllers")));
  std::vector<std::string> enabled = words(TRY(sys::read_cgroup_file(parent + "/cgroup.subtree_control")));
  std::vector<std::string> missing;
  for (const std::string& c : available)
    if (!holds(enabled, c)) missing.push_back(c);
  if (missing.empty()) return {};
  // A child can only have what its parent has: from the mount down. Failures show where a limit cannot be
  // written.
  size_t at = mount.size();
  for (;;) {
    enable_in(parent.substr(0, at), missing, culprit);
    if (at >= parent.size()) return {};
    at = parent.find('/', at + 1);
    if (at == std::string::npos) at = parent.size();
  }
}

Result<> check_type_v2(const std::string& dir, bool needs_domain) {
  auto type = sys::read_cgroup_value(dir + "/cgroup.type");
  if (!type || *type == "domain") return {};  // the root has no such file
  if (needs_domain)
    return fail(
        Error(ErrorKind::kInvalid,
              "cannot enter cgroupv2 '" + dir + "' with domain controllers -- it is in " + *type +
                  " mode, because an ancestor is threaded or has processes beside child cgroups; "
                  "memory, io and hugetlb limits need a domain cgroup: choose another linux.cgroupsPath"));
  if (*type == "domain invalid") return write_file(dir + "/cgroup.type", "threaded");
  return {};
}

Result<> freeze_v2(const std::string& dir, bool frozen) {
  constexpr long kPatienceMs = 10000;
  std::string file = dir + "/cgroup.freeze";
  UniqueFd events = TRY(open_at(AT_FDCWD, dir + "/cgroup.events", O_RDONLY));
  TRY_VOID(write_file(file, frozen ? "1" : "0"));
  if (!frozen) return {};
  std::string_view wanted = "frozen 1";
  for (long end = now_ms() + kPatienceMs;;) {
    char buffer[512];
    // Reading acknowledges the event that poll() waits for, so it comes first.
    ssize_t n = ::pread(events.get(), buffer, sizeof buffer, 0);
    if (n < 0) return fail(Error::os("read", dir + "/cgroup.events"));
    if (std::string_view(buffer, static_cast<size_t>(n)).find(wanted) != std::string_view::npos) return {};
    long left = end - now_ms();
    if (left <= 0) break;
    pollfd p{events.get(), POLLPRI, 0};
    ::poll(&p, 1, static_cast<int>(left));
  }
  (void)write_file(file, "0");
  return fail(
      Error(ErrorKind::kBusy, "unable to freeze '" + dir + "' within 10 s; it was thawed again", EBUSY));
}

// cgroup.events also says "frozen" when an ancestor is; cgroup.freeze is this container's own pause.
Result<bool> frozen_v2(const std::string& dir) {
  auto state = sys::read_cgroup_value(dir + "/cgroup.freeze");
  if (!state && (state.error().os_errno() == ENOENT || state.error().os_errno() == ENODEV)) return false;
  if (!state) return fail(std::move(state).error());
  return *state == "1";
}

Result<UniqueFd> oom_event_v2(const std::string& dir) {
  UniqueFd fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd) return fail(Error::os("inotify_init1", ""));
  std::string file = dir + "/memory.events";
  if (::inotify_add_watch(fd.get(), file.c_str(), IN_MODIFY) < 0) return fail(Error::os("watch", file));
  return fd;
}

}  // namespace onggi::runtime
