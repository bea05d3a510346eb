#include "cli/isolation.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/file.h"
#include "base/json.h"
#include "cli/format.h"
#include "engine/slice.h"
#include "engine/usage.h"
#include "oci/capability.h"
#include "policy/container_profile.h"

namespace onggi::cli {

namespace {

struct Mount {
  std::string target, type, options, super;
};

// What the rows are made from: files of /proc/PID, read once.
struct Facts {
  engine::ContainerConfig config;
  std::string proc;  // "/proc/PID"
  std::string status, limits;
  std::vector<Mount> mounts;
  std::vector<IsolationRow> rows;

  void row(const char* what, std::string found, bool as_default, std::string because, bool asked) {
    RowState state = as_default ? RowState::kDefault : asked ? RowState::kRelaxed : RowState::kWeaker;
    rows.push_back({what, std::move(found), state, as_default ? "" : std::move(because)});
  }
  [[nodiscard]] const Mount* seen_at(const std::string& target) const {
    // The last one at a place is the one that is seen.
    for (auto it = mounts.rbegin(); it != mounts.rend(); ++it)
      if (it->target == target) return &*it;
    return nullptr;
  }
};

// "Name:\tvalue" of /proc/PID/status.
std::string field(const std::string& text, const std::string& name) {
  size_t at = ("\n" + text).find("\n" + name + ":");
  if (at == std::string::npos) return "";
  at += name.size() + 1;
  return std::string(trim(std::string_view(text).substr(at, text.find('\n', at) - at)));
}

std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words;
  for (size_t at = 0; at < line.size();) {
    size_t begin = line.find_first_not_of(" \t", at);
    if (begin == std::string::npos) break;
    size_t end = std::min(line.find_first_of(" \t", begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    at = end;
  }
  return words;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

bool has_option(const std::string& options, const std::string& wanted) {
  return ("," + options + ",").find("," + wanted + ",") != std::string::npos;
}
std::string option_value(const std::string& options, const std::string& name) {
  size_t at = ("," + options).find("," + name + "=");
  if (at == std::string::npos) return "";
  at += name.size() + 1;
  return options.substr(at, options.find(',', at) - at);
}

// proc_pid_mountinfo(5): ID PARENT DEV ROOT TARGET OPTIONS [tags] - TYPE SOURCE SUPER
std::vector<Mount> parse_mounts(const std::string& text) {
  std::vector<Mount> list;
  for (const auto& line : lines_of(text)) {
    auto words = words_of(line);
    auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 4) continue;
    list.push_back({words[4], dash[1], words[5], dash[3]});
  }
  return list;
}

std::string ns_link(const std::string& proc, const char* name) {
  char link[128];
  ssize_t n = ::readlink((proc + "/ns/" + name).c_str(), link, sizeof link);
  return n > 0 ? std::string(link, static_cast<size_t>(n)) : "";
}

// --- the rows, in the order of the profile ---

void user_namespace(Facts& f) {
  auto map = read_file(f.proc + "/uid_map", 65536);
  auto words = map ? words_of(*map) : std::vector<std::string>{};
  bool own = words.size() >= 3 && ns_link(f.proc, "user") != ns_link("/proc/self", "user");
  std::string text =
      own ? "ids 0.. are " + words[1] + ".. of the host (" + std::string(trim(words[2])) + " ids)"
          : "none: ids are the host's";
  f.row("user namespace", text, own, "--userns host or --privileged",
        f.config.security.host_userns || f.config.security.privileged);
  if (!own) return;
  auto fd = open_at(AT_FDCWD, f.proc + "/ns/user", O_RDONLY);
  uid_t creator = 0;
  bool known = fd && ::ioctl(fd->get(), NS_GET_OWNER_UID, &creator) == 0;
  f.row("created by",
        known ? "uid " + std::to_string(creator) + " (quotas of that user are its own)" : "unknown",
        known && creator != 0, "per-user quotas are shared with everything that uid 0 runs", false);
}

void namespaces(Facts& f) {
  const engine::ContainerConfig& c = f.config;
  struct {
    const char *file, *option;
    bool asked;
  } const kinds[] = {{"mnt", "", false},
                     {"pid", "--pid", !c.pid_mode.empty() && c.pid_mode != "private"},
                     {"ipc", "--ipc", !c.ipc_mode.empty() && c.ipc_mode != "private"},
                     {"uts", "--uts", !c.uts_mode.empty() && c.uts_mode != "private"},
                     {"cgroup", "--cgroupns", c.cgroupns_mode == "host"},
                     {"net", "--network", c.network == "host"}};
  for (const auto& k : kinds) {
    std::string link = ns_link(f.proc, k.file);
    bool own = !link.empty() && link != ns_link("/proc/self", k.file);
    static constexpr std::pair<const char*, const char*> kNames[] = {
        {"mnt", "mount namespace"}, {"pid", "pid namespace"},       {"ipc", "ipc namespace"},
        {"uts", "uts namespace"},   {"cgroup", "cgroup namespace"}, {"net", "network namespace"}};
    for (const auto& [file, name] : kNames)
      if (std::string_view(file) == k.file)
        f.row(name, own ? link : "the host's", own, std::string(k.option) + " host", k.asked);
  }
}

void root_file_system(Facts& f, const engine::Engine& engine) {
  struct stat st;
  const Mount* root = f.seen_at("/");
  bool known = ::stat((f.proc + "/root").c_str(), &st) == 0 && root;
  bool mapped = known && (st.st_uid != 0 || f.config.security.host_userns || f.config.security.privileged);
  f.row("image layers",
        known ? root->type + ", root directory owned by host uid " + std::to_string(st.st_uid) : "unknown",
        mapped, "files of the image belong to host ids", false);
  struct statvfs space;
  bool disk = known && ::statvfs((f.proc + "/root").c_str(), &space) == 0;
  uint64_t bytes = disk ? static_cast<uint64_t>(space.f_blocks) * space.f_frsize : 0;
  bool bounded = bytes && (f.config.storage_size > 0 || bytes <= policy::kDefaultQuotaBytes);
  bool read_only = root && has_option(root->options, "ro");
  f.row("writable layer", read_only ? "none: read-only root" : "at most " + human_binary(bytes),
        bounded || read_only,
        f.config.storage_size < 0 ? "--storage-opt size=unlimited" : "no bound: this host cannot make one",
        f.config.storage_size < 0);
  bool closed = ::stat(engine.paths().root.c_str(), &st) == 0 && (st.st_mode & 0077) == 0;
  f.row("store on the host", closed ? "only its owner may enter" : "others may enter", closed,
        "chmod 0700 " + engine.paths().root, false);
}

void volumes(Facts& f) {
  for (const auto& m : f.config.mounts) {
    if (m.type == "tmpfs") continue;
    const Mount* mount = f.seen_at(m.target);
    bool mapped = mount && has_option(mount->options, "idmapped");
    f.row("volume", m.target + ": " + (mount ? mount->type + " " + mount->options : "not mounted"), mapped,
          m.ids == "identity" ? "ids=identity" : "ids are the host's (no user namespace)",
          m.ids == "identity" || f.config.security.host_userns || f.config.security.privileged);
  }
}

void privileges(Facts& f) {
  const engine::SecurityConfig& s = f.config.security;
  uint64_t bounding = ::strtoull(field(f.status, "CapBnd").c_str(), nullptr, 16);
  std::string names;
  int count = 0, beyond = 0;
  for (uint32_t n = 0; n <= oci::kLastCapability; n++) {
    if (!(bounding >> n & 1)) continue;
    std::string name(oci::capability_name(n));
    const auto& usual = policy::container_capabilities();
    bool extra = std::find(usual.begin(), usual.end(), name) == usual.end();
    count++;
    beyond += extra;
    // All of them would fill the screen.
    constexpr int kShown = 6;
    if (extra && beyond <= kShown) names += " +" + name;
    if (extra && beyond == kShown + 1) names += " and more";
  }
  f.row("capabilities", std::to_string(count) + " in the bounding set" + names, beyond == 0,
        "--cap-add or --privileged", s.privileged || !s.cap_add.empty());
  bool locked = field(f.status, "NoNewPrivs") == "1";
  f.row("no_new_privs", locked ? "on" : "off", locked, s.privileged ? "--privileged" : "--allow-setuid",
        s.allow_setuid || s.privileged);
  std::string mode = field(f.status, "Seccomp"), filters = field(f.status, "Seccomp_filters");
  bool own_profile = !s.seccomp.empty() && s.seccomp != "unconfined";
  f.row("seccomp",
        mode == "2" ? "filter (" + filters + "), " +
                          (own_profile ? "a profile of the user's" : "the engine's allow list")
                    : "off",
        mode == "2" && !own_profile,
        s.privileged ? "--privileged" : "--security-opt seccomp=", s.privileged || !s.seccomp.empty());
  f.row("nested namespaces", s.allow_nesting || mode != "2" ? "possible" : "refused by the filter",
        !s.allow_nesting && mode == "2", s.allow_nesting ? "--allow-nesting" : "no filter",
        s.allow_nesting || s.privileged || !s.seccomp.empty());
}

void cgroup_limits(Facts& f, engine::Engine& engine) {
  auto files = engine::CgroupFiles::of(f.config, engine.host());
  if (!files) return f.row("limits", "no cgroup", false, files.error().text(), false);
  const engine::ResourceConfig& r = f.config.resources;
  auto pids = files->number("pids", "pids.max", "pids.max");
  f.row("pids", pids ? std::to_string(*pids) : "no limit",
        pids && *pids <= static_cast<uint64_t>(policy::kDefaultPids), "--pids-limit", r.pids_limit != 0);
  auto memory = files->number("memory", "memory.limit_in_bytes", "memory.max");
  uint64_t half = engine.host().memory_total / 2;
  f.row("memory", memory ? human_binary(*memory) : "no limit", memory && *memory <= half, "--memory",
        r.memory != 0);
  auto swap = files->number("memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
  bool no_swap =
      !engine.host().swap || (swap && (files->unified() ? *swap == 0 : memory && *swap <= *memory));
  f.row("swap",
        !engine.host().swap ? "the host has none"
        : no_swap           ? "none"
        : swap              ? human_binary(*swap)
                            : "no limit",
        no_swap, r.memory_swap ? "--memory-swap" : "this kernel does not account swap", r.memory_swap != 0);
  auto group = files->number("memory", "", "memory.oom.group");
  f.row("out of memory", group && *group == 1 ? "all of it ends (oom.group)" : "one process ends",
        group && *group == 1, "cgroup v1 has no oom.group", false);
  uint64_t slice = engine::slice_limit(engine);
  f.row("all containers", slice ? "at most " + human_binary(slice) + " together" : "no common limit",
        slice != 0, "the slice " + std::string(engine.host().cgroup_base) + " has no limit here", false);
}

void process_limits(Facts& f) {
  struct {
    const char *what, *name, *option;
    uint64_t most;
  } const rows[] = {{"open files", "Max open files", "nofile", policy::kNofileSoft},
                    {"core files", "Max core file size", "core", policy::kCoreBytes}};
  for (const auto& r : rows) {
    size_t at = f.limits.find(r.name);
    std::vector<std::string> words;
    if (at != std::string::npos) words = words_of(f.limits.substr(at + std::string_view(r.name).size(), 64));
    bool asked = std::any_of(f.config.rlimits.begin(), f.config.rlimits.end(),
                             [&](const auto& l) { return l.name == r.option; });
    auto soft = words.empty() ? Result<uint64_t>(fail(Error::invalid(""))) : parse_u64(words[0], "limit");
    f.row(r.what, words.size() < 2 ? "unknown" : words[0] + " (hard " + words[1] + ")",
          soft && *soft <= r.most, std::string("--ulimit ") + r.option, asked);
  }
}

void kernel_file_systems(Facts& f) {
  const Mount* pts = f.seen_at("/dev/pts");
  std::string most = pts ? option_value(pts->super, "max") : "";
  f.row("terminals", most.empty() ? "no bound" : "at most " + most, !most.empty(),
        "devpts without max=", false);
  const Mount* shm = f.seen_at("/dev/shm");
  std::string size = shm ? option_value(shm->super, "size") : "";
  f.row("/dev/shm", size.empty() ? "the host's" : size, !size.empty(), "--ipc host",
        f.config.ipc_mode == "host");
  const Mount* cgroup = f.seen_at("/sys/fs/cgroup");
  bool read_only = cgroup && has_option(cgroup->options, "ro");
  bool wanted_rw = f.config.security.privileged;
  f.row("/sys/fs/cgroup", cgroup ? (read_only ? "read-only" : "writable") : "not there", !cgroup || read_only,
        "--privileged", wanted_rw);
  const Mount* sys = f.seen_at("/sys");
  f.row("/sys", sys ? (has_option(sys->options, "ro") ? "read-only" : "writable") : "not there",
        !sys || has_option(sys->options, "ro"), "--privileged", wanted_rw);
  size_t there = 0, masked = 0;
  std::string open;
  auto look = [&](const std::vector<std::string>& paths) {
    for (const auto& path : paths) {
      struct stat st;
      if (::lstat((f.proc + "/root" + path).c_str(), &st) < 0) continue;
      there++;
      if (f.seen_at(path))
        masked++;
      else
        open += " " + path;
    }
  };
  look(policy::container_masked_paths());
  look(policy::container_readonly_paths());
  f.row("masked paths",
        std::to_string(masked) + " of " + std::to_string(there) + (open.empty() ? "" : "; open:" + open),
        masked == there, "--security-opt systempaths=unconfined or --privileged",
        f.config.security.unmask_paths || f.config.security.privileged);
}

void the_rest(Facts& f) {
  const engine::ContainerConfig& c = f.config;
  std::string devices;
  for (const auto& d : c.devices) devices += " " + d.container;
  f.row("devices",
        devices.empty() ? (c.security.privileged ? "all" : "the usual harmless ones") : "also" + devices,
        c.devices.empty() && !c.security.privileged, "--device or --privileged", true);
  bool none = c.log_driver == "none";
  f.row("log", none ? "not kept" : c.log_driver + (c.log_driver == "json-file" ? ", bounded" : ""),
        c.log_driver == "json-file" || none, "--log-driver", true);
  std::string networks;
  for (const auto& e : c.endpoints) networks += (networks.empty() ? "" : ", ") + e.network;
  f.row("neighbours",
        c.network == "none"   ? "no network"
        : c.network == "host" ? "all of the host's network"
                              : "those of " + (networks.empty() ? c.network : networks),
        c.network != "host", "--network host", c.network == "host");
  auto lsm = read_file(f.proc + "/attr/current", 4096);
  std::string label = lsm ? std::string(trim(*lsm)) : "";
  label.erase(std::find(label.begin(), label.end(), '\0'), label.end());
  f.row("security module", label.empty() ? "none on this host" : label, true, "", false);
}

}  // namespace

Result<std::vector<IsolationRow>> isolation_of(engine::Engine& engine, const std::string& id) {
  engine::ContainerDir dir = TRY(engine.containers().open(id));
  engine::ContainerState state = TRY(dir.state());
  Facts f;
  f.config = TRY(dir.config());
  if (state.status != "running")
    return fail(Error::busy("inspect --isolation " + f.config.name +
                            ": it does not run, so there is nothing to look at; start it first"));
  f.proc = "/proc/" + std::to_string(state.pid);
  f.status = TRY(read_file(f.proc + "/status", 65536));
  f.limits = TRY(read_file(f.proc + "/limits", 65536));
  f.mounts = parse_mounts(TRY(read_file(f.proc + "/mountinfo")));
  user_namespace(f);
  namespaces(f);
  root_file_system(f, engine);
  volumes(f);
  privileges(f);
  cgroup_limits(f, engine);
  process_limits(f);
  kernel_file_systems(f);
  the_rest(f);
  return std::move(f.rows);
}

namespace {
const char* state_word(RowState state) {
  return state == RowState::kDefault ? "default" : state == RowState::kRelaxed ? "relaxed" : "weaker";
}
}  // namespace

std::string isolation_text(const std::vector<IsolationRow>& rows) {
  std::vector<std::vector<std::string>> cells;
  for (const auto& r : rows)
    cells.push_back(
        {r.what, r.found, std::string(state_word(r.state)) + (r.because.empty() ? "" : ": " + r.because)});
  return table_text({"WHAT", "AS IT IS", "PROFILE"}, cells);
}

std::string isolation_json(const std::string& name, const std::vector<IsolationRow>& rows) {
  JsonWriter w("    ");
  w.begin_object();
  w.member("Name", name);
  std::vector<std::string> relaxed;
  for (const auto& r : rows)
    if (r.state != RowState::kDefault) relaxed.emplace_back(r.what);
  w.member_strings("Relaxed", relaxed);
  w.key("Rows");
  w.begin_array();
  for (const auto& r : rows) {
    w.begin_object();
    w.member("What", r.what);
    w.member("Found", r.found);
    w.member("Profile", state_word(r.state));
    w.member("Because", r.because);
    w.end_object();
  }
  w.end_array();
  w.end_object();
  return w.take();
}

}  // namespace onggi::cli
