// systemd removes the cgroup of a unit in which no process is, though the unit goes on: so the directory's
// existence tells whether somebody must ask for it again. Asking is one call that puts this process into it;
// systemd then makes the cgroup with the unit's limits.
#include "engine/slice.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <optional>

#include "base/file.h"
#include "sys/cgroup.h"
#include "sys/process.h"

namespace onggi::engine {

namespace {

constexpr const char *kRoot = "/sys/fs/cgroup", *kUnit = "onggi.service", *kMonitors = "/monitors";

std::string memory_file(Engine& engine, const char* v1, const char* v2) {
  const std::string& base = engine.host().cgroup_base;
  return engine.host().cgroup_v2 ? kRoot + base + v2 : kRoot + std::string("/memory") + base + v1;
}

// The id outside of the engine's own user namespace.
uint32_t host_uid() {
  constexpr size_t kMost = 65536;
  if (auto map = read_file("/proc/self/uid_map", kMost)) {
    std::string_view text = trim(*map);
    size_t second = text.find_first_not_of(' ', text.find(' '));
    if (text.starts_with("0 ") && second != std::string_view::npos)
      if (auto id = parse_u64(text.substr(second, text.find(' ', second) - second), "uid");
          id && (*id || ::geteuid() == 0))
        return static_cast<uint32_t>(*id);
  }
  return ::geteuid();
}

std::string user_runtime_directory() { return "/run/user/" + std::to_string(host_uid()); }

// Standard output of a program of systemd's; nullopt when it failed.
std::optional<std::string> ask(const std::vector<std::string>& words, bool user) {
  std::string runtime = "XDG_RUNTIME_DIR=" + user_runtime_directory();
  const char* envp[] = {"PATH=/usr/bin:/bin", user ? runtime.c_str() : nullptr, nullptr};
  std::vector<const char*> argv;
  for (const auto& word : words) argv.push_back(word.c_str());
  argv.push_back(nullptr);
  auto null = open_at(AT_FDCWD, "/dev/null", O_RDWR);
  int ends[2];
  if (!null || ::pipe2(ends, O_CLOEXEC) < 0) return std::nullopt;
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  std::string program = "/usr/bin/" + words[0];
  sys::SpawnArgs args;
  args.exec_path = program.c_str();
  args.argv = argv.data();
  args.envp = envp;
  for (int& fd : args.stdio) fd = null->get();
  args.stdio[1] = write_end.get();
  auto spawned = sys::spawn(args);
  write_end.reset();
  if (!spawned) return std::nullopt;
  auto text = read_fd(read_end.get(), program, 65536);
  auto status = sys::wait_pidfd(spawned->pidfd.get());
  if (!text || !status || status->code() != 0) return std::nullopt;
  return std::string(trim(*text));
}

bool start_unit(Engine& engine) {
  bool user = engine.paths().rootless;
  std::vector<std::string> words = {"systemd-run"};
  if (user) words.emplace_back("--user");
  for (const char* word :
       {"--quiet", "--no-ask-password", "--slice=onggi.slice", "--description=Containers of onggi",
        "--service-type=oneshot", "--remain-after-exit", "--property=Delegate=yes",
        // Each container has a limit of its own; one that meets it is not the others' end.
        "--property=After=network.target", "--property=TasksMax=infinity", "--property=OOMPolicy=continue",
        "--property=TimeoutStopSec=30"})
    words.emplace_back(word);
  if (!user)
    words.push_back("--property=MemoryMax=" +
                    std::to_string(engine.host().memory_total / 100 * (100 - kHostPercent)));
  words.push_back(std::string("--unit=") + kUnit);
  words.emplace_back("/bin/true");
  return ask(words, user).has_value();
}

bool attach_self(Engine& engine) {
  bool user = engine.paths().rootless;
  std::vector<std::string> words = {"busctl", user ? "--user" : "--system", "--quiet", "call"};
  for (const char* word : {"org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                           "org.freedesktop.systemd1.Manager", "AttachProcessesToUnit", "ssau"})
    words.emplace_back(word);
  words.insert(words.end(), {kUnit, kMonitors, "1", std::to_string(::getpid())});
  return ask(words, user).has_value();
}

bool is_inside(const std::string& base) {
  auto text = read_file("/proc/self/cgroup", 65536);
  return text && text->find("0::" + base + "/") != std::string::npos;
}

// Empty unless a process is in it: then the unit is complete, and systemd leaves its cgroup where it is.
UniqueFd open_monitors(const std::string& base) {
  std::string path = kRoot + base + kMonitors;
  auto populated = sys::read_cgroup_key(path + "/cgroup.events", "populated");
  if (!populated || *populated == 0) return {};
  return open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY).value_or(UniqueFd());
}

// One at a time: while systemd starts the unit, its program (true) is in the cgroup itself for a moment, and
// a container made below would be refused its controllers. Of the machine or the user, as the unit is.
UniqueFd lock_unit(bool user) {
  std::string path = (user ? user_runtime_directory() : std::string("/run")) + "/onggi-unit.lock";
  auto fd = open_at(AT_FDCWD, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
  if (!fd || ::flock(fd->get(), LOCK_EX) < 0) return {};
  return std::move(*fd);
}

UniqueFd ensure_unit(Engine& engine) {
  const std::string& base = engine.host().cgroup_base;
  bool user = engine.paths().rootless;
  UniqueFd monitors = open_monitors(base);
  if (monitors && (!user || is_inside(base))) return monitors;
  UniqueFd lock = lock_unit(user);
  if (monitors = open_monitors(base); monitors && !user) return monitors;
  // The directory must be there for a process to be put into it, and an empty one is one that systemd has
  // removed, or has not made yet.
  size_t slash = base.rfind('/');
  auto make = [&] {
    for (const auto& part : {base.substr(0, slash), base, base + kMonitors})
      (void)sys::make_cgroup(kRoot + part);
  };
  make();
  if (!attach_self(engine) && start_unit(engine)) {
    make();
    (void)attach_self(engine);
  }
  if (user && !is_inside(base)) return {};
  make();
  return open_at(AT_FDCWD, kRoot + base + kMonitors, O_RDONLY | O_DIRECTORY).value_or(UniqueFd());
}

void ensure_directory(Engine& engine) {
  std::string marker = engine.paths().run + "/slice";
  if (engine.paths().rootless || ::access(marker.c_str(), F_OK) == 0) return;
  // Without the controller switched on below the root (v2) the file is missing until the first container
  // needs it.
  if (engine.host().cgroup_v2) (void)write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
  if (!sys::make_cgroup(memory_file(engine, "", ""))) return;
  std::string limit = std::to_string(engine.host().memory_total / 100 * (100 - kHostPercent));
  if (!write_file(memory_file(engine, "/memory.limit_in_bytes", "/memory.max"), limit)) return;
  (void)write_file(marker, limit, O_CREAT | O_TRUNC, 0600);
}

}  // namespace

CgroupPlace find_cgroup_place(bool rootless, bool cgroup_v2) {
  CgroupPlace place;
  std::string unit = std::string("/onggi.slice/") + kUnit;
  place.systemd = cgroup_v2 && ::access("/run/systemd/system", F_OK) == 0;  // as sd_booted(3)
  place.cgroups = !rootless;
  if (place.systemd && !rootless) place.base = unit;
  if (!place.systemd || !rootless) return place;
  std::string uid = std::to_string(host_uid());
  place.base = "/user.slice/user-" + uid + ".slice/user@" + uid + ".service" + unit;
  place.cgroups = ::access((user_runtime_directory() + "/systemd/private").c_str(), F_OK) == 0;
  place.systemd = place.cgroups;
  return place;
}

void ensure_slice(Engine& engine) {
  if (engine.host().systemd)
    engine.set_monitors_cgroup(ensure_unit(engine));
  else
    ensure_directory(engine);
}

bool slice_is_ending(Engine& engine) {
  if (!engine.host().systemd) return false;
  bool user = engine.paths().rootless;
  return ask({"systemctl", user ? "--user" : "--system", "show", "--property=ActiveState", "--value", kUnit},
             user) == "deactivating";
}

uint64_t slice_limit(Engine& engine) {
  auto value = sys::read_cgroup_number(memory_file(engine, "/memory.limit_in_bytes", "/memory.max"));
  constexpr uint64_t kUnlimited = 1ull << 62;  // v1's word for no limit is a page below 2^63
  return value && *value < kUnlimited ? *value : 0;
}

}  // namespace onggi::engine
