#include "sys/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "base/file.h"
#include "base/scope.h"

namespace onggi::sys {
namespace {

constexpr size_t kSmallRead = 4096;

std::vector<std::string_view> split(std::string_view s, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    size_t at = s.find(separator);
    parts.push_back(s.substr(0, at));
    if (at == std::string_view::npos) return parts;
    s.remove_prefix(at + 1);
  }
}

// The directory that distributions mount a v1 hierarchy at: "cpu,cpuacct"; of a named one, the name.
std::string usual_directory(std::string_view controllers) {
  if (controllers.starts_with("name=")) controllers.remove_prefix(5);
  return std::string(controllers);
}

CgroupHierarchy make_hierarchy(std::string_view controllers, std::string mount, std::string_view own) {
  CgroupHierarchy h;
  if (!controllers.empty())
    for (std::string_view c : split(controllers, ',')) h.controllers.emplace_back(c);
  h.mount = std::move(mount);
  if (own != "/") h.own = own;
  return h;
}

// mountinfo writes space, tab, newline and backslash as \040 and so on.
std::string unescape_mount(std::string_view s) {
  std::string out;
  for (size_t i = 0; i < s.size(); i++) {
    if (s[i] == '\\' && i + 3 < s.size()) {
      int code = (s[i + 1] - '0') * 64 + (s[i + 2] - '0') * 8 + (s[i + 3] - '0');
      out += static_cast<char>(code);
      i += 3;
    } else {
      out += s[i];
    }
  }
  return out;
}

struct OwnCgroup {
  std::string_view controllers;  // "" for v2
  std::string_view path;
};

// Lines "hierarchy-id:controller,list:/path". A path may hold colons, the first two fields cannot.
std::vector<OwnCgroup> parse_own(std::string_view text) {
  std::vector<OwnCgroup> result;
  for (std::string_view line : split(text, '\n')) {
    size_t first = line.find(':');
    if (first == std::string_view::npos) continue;
    size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    result.push_back({line.substr(first + 1, second - first - 1), line.substr(second + 1)});
  }
  return result;
}

struct CgroupMount {
  bool v2 = false;
  std::string_view options;  // super block options, which name the controllers of v1
  std::string root, mount;
};

// One line of mountinfo: id parent major:minor root mount options [optional...] - type source super-options
bool parse_mount(std::string_view line, CgroupMount& out) {
  size_t dash = line.find(" - ");
  if (dash == std::string_view::npos) return false;
  std::vector<std::string_view> tail = split(line.substr(dash + 3), ' ');
  if (tail.size() < 3 || (tail[0] != "cgroup" && tail[0] != "cgroup2")) return false;
  std::vector<std::string_view> head = split(line.substr(0, dash), ' ');
  if (head.size() < 6) return false;
  out = {tail[0] == "cgroup2", tail[2], unescape_mount(head[3]), unescape_mount(head[4])};
  return true;
}

bool has_option(std::string_view options, std::string_view wanted) {
  for (std::string_view option : split(options, ','))
    if (option == wanted) return true;
  return false;
}

bool matches(const CgroupMount& mount, std::string_view controllers) {
  if (controllers.empty() || mount.v2) return controllers.empty() && mount.v2;
  for (std::string_view controller : split(controllers, ','))
    if (!has_option(mount.options, controller)) return false;
  return true;
}

CgroupMode mode_of(const std::vector<CgroupHierarchy>& hierarchies) {
  bool v1 = false, v2 = false;
  for (const CgroupHierarchy& h : hierarchies) (h.v2() ? v2 : v1) = true;
  if (v1) return v2 ? CgroupMode::kHybrid : CgroupMode::kV1;
  return v2 ? CgroupMode::kV2 : CgroupMode::kNone;
}

void sleep_us(long us) {
  timespec t{us / 1000000, us % 1000000 * 1000};
  ::nanosleep(&t, nullptr);
}

}  // namespace

Result<CgroupLayout> guess_cgroups(const CgroupRoots& roots) {
  std::string text = TRY_CTX(read_cgroup_file(roots.proc_self + "/cgroup"), "find cgroups");
  std::vector<OwnCgroup> own = parse_own(text);
  CgroupLayout layout;
  // Only the root of a v2 tree has this file; the tmpfs that holds v1 mounts has not.
  bool v2_alone = ::access((roots.cgroup + "/cgroup.controllers").c_str(), F_OK) == 0;
  for (const OwnCgroup& entry : own) {
    if (entry.controllers.empty()) {
      std::string mount = v2_alone ? roots.cgroup : roots.cgroup + "/unified";
      if (v2_alone || ::access((mount + "/cgroup.controllers").c_str(), F_OK) == 0)
        layout.hierarchies.push_back(make_hierarchy("", std::move(mount), entry.path));
    } else if (!v2_alone) {
      layout.hierarchies.push_back(make_hierarchy(
          entry.controllers, roots.cgroup + "/" + usual_directory(entry.controllers), entry.path));
    }
  }
  layout.mode = mode_of(layout.hierarchies);
  return layout;
}

Result<CgroupLayout> read_cgroups(const CgroupRoots& roots) {
  std::string text = TRY_CTX(read_file(roots.proc_self + "/cgroup"), "find cgroups");
  std::string mounts = TRY_CTX(read_file(roots.proc_self + "/mountinfo"), "find cgroups");
  CgroupLayout layout;
  layout.exact = true;
  for (const OwnCgroup& entry : parse_own(text)) {
    for (std::string_view line : split(mounts, '\n')) {
      CgroupMount mount;
      if (!parse_mount(line, mount) || !matches(mount, entry.controllers)) continue;
      // Inside a container without a cgroup namespace the mount shows a subtree: strip its root from the own
      // path.
      std::string_view own = entry.path;
      if (mount.root != "/") {
        if (own == mount.root)
          own = "/";
        else if (own.starts_with(mount.root + "/"))
          own.remove_prefix(mount.root.size());
        else
          own = "/";
      }
      layout.hierarchies.push_back(make_hierarchy(entry.controllers, std::move(mount.mount), own));
      break;  // the first mount of a hierarchy, as everybody else takes
    }
  }
  layout.mode = mode_of(layout.hierarchies);
  return layout;
}

CgroupMode cgroup_mode(const CgroupRoots& roots) {
  auto layout = guess_cgroups(roots);
  return layout ? layout->mode : CgroupMode::kNone;
}

Result<std::string> read_cgroup_file(const std::string& path) {
  UniqueFd fd = TRY(open_at(AT_FDCWD, path, O_RDONLY));
  std::string data(kSmallRead, '\0');
  ssize_t n;
  do {
    n = ::read(fd.get(), data.data(), data.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) return fail(Error::os("read", path));
  data.resize(static_cast<size_t>(n));
  // The kernel fills the buffer as far as whole records fit, so a read well short of it was everything.
  if (data.size() >= kSmallRead / 2) data += TRY(read_fd(fd.get(), path));
  return data;
}

Result<std::string> read_cgroup_value(const std::string& path) {
  std::string data = TRY(read_cgroup_file(path));
  return std::string(trim(data));
}

Result<uint64_t> read_cgroup_number(const std::string& path) {
  std::string data = TRY(read_cgroup_file(path));
  if (trim(data) == "max") return std::numeric_limits<uint64_t>::max();
  return parse_u64(trim(data), path);
}

Result<uint64_t> read_cgroup_key(const std::string& path, std::string_view key) {
  std::string data = TRY(read_cgroup_file(path));
  for (std::string_view line : split(data, '\n')) {
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ')
      return parse_u64(trim(line.substr(key.size())), path);
  }
  return fail(Error::not_found("read '" + path + "': no line '" + std::string(key) + "'"));
}

Result<bool> make_cgroup(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0) return true;
  if (errno == EEXIST) return false;
  return fail(Error::os("make cgroup", path));
}

Result<std::vector<std::string>> sub_cgroups(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) < 0) return fail(Error::os("list cgroup", path));
  if (st.st_nlink == 2) return std::vector<std::string>{};  // a link for each directory below: there is none
  DIR* dir = ::opendir(path.c_str());
  if (!dir) return fail(Error::os("list cgroup", path));
  ScopeExit done([dir] { ::closedir(dir); });
  std::vector<std::string> names;
  while (dirent* entry = ::readdir(dir)) {
    std::string_view name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

static Result<> remove_before(const std::string& path, long& budget_us) {
  if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
  int first = errno;
  // EBUSY and ENOTEMPTY may both mean sub-cgroups; a read-only mount says EROFS even for what does not exist.
  if (first != EBUSY && first != ENOTEMPTY && first != EROFS && first != EINTR)
    return fail(Error::os("remove cgroup", path, first));
  auto below = sub_cgroups(path);
  if (!below)
    return below.error().os_errno() == ENOENT ? Result<>{} : fail(Error::os("remove cgroup", path, first));
  for (const std::string& name : *below) TRY_VOID(remove_before(path + "/" + name, budget_us));
  for (long pause = 100;; pause = std::min(pause * 2, 50000L)) {
    if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
    int e = errno;
    if ((e != EBUSY && e != EINTR) || budget_us <= 0) {
      Error error = Error::os("remove cgroup", path, e);
      if (e == EBUSY) error.wrap("processes are still in it; kill them first");
      return fail(std::move(error));
    }
    sleep_us(pause);
    budget_us -= pause;
  }
}

Result<> remove_cgroup(const std::string& path, int wait_ms) {
  long budget_us = wait_ms * 1000L;
  return remove_before(path, budget_us);
}

Result<std::vector<int>> cgroup_pids(const std::string& path, bool recursive) {
  std::vector<int> pids;
  auto text = read_cgroup_file(path + "/cgroup.procs");
  // A threaded cgroup of v2 refuses cgroup.procs; its threads belong to processes of the domain above it.
  if (!text && text.error().os_errno() == EOPNOTSUPP) text = read_file(path + "/cgroup.threads");
  if (!text) {
    int e = text.error().os_errno();
    if (e == ENOENT || e == ENODEV) return pids;
    return fail(std::move(text).error());
  }
  for (std::string_view line : split(*text, '\n')) {
    if (line.empty()) continue;
    uint64_t pid = TRY(parse_u64(line, path + "/cgroup.procs"));
    if (pid != 0) pids.push_back(static_cast<int>(pid));
  }
  if (!recursive) return pids;
  auto below = sub_cgroups(path);
  if (!below)
    return below.error().os_errno() == ENOENT ? Result<std::vector<int>>(pids)
                                              : fail(std::move(below).error());
  for (const std::string& name : *below) {
    std::vector<int> more = TRY(cgroup_pids(path + "/" + name, true));
    pids.insert(pids.end(), more.begin(), more.end());
  }
  return pids;
}

std::string clean_path(std::string_view path) {
  std::vector<std::string_view> kept;
  for (std::string_view part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!kept.empty()) kept.pop_back();
    } else {
      kept.push_back(part);
    }
  }
  std::string out;
  for (std::string_view part : kept) {
    out += '/';
    out += part;
  }
  return out.empty() ? "/" : out;
}

}  // namespace onggi::sys
