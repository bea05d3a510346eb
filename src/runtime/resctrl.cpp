#include "runtime/resctrl.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/file.h"
#include "base/scope.h"
#include "sys/cgroup.h"

namespace onggi::runtime {
namespace {

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = trim(text.substr(0, end));
    if (!line.empty()) lines.emplace_back(line);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return lines;
}

Result<std::string> find_mount(const ResctrlRoots& roots) {
  std::string text = TRY(read_file(roots.mountinfo));
  for (const std::string& line : split_lines(text)) {
    size_t dash = line.find(" - resctrl ");
    if (dash == std::string::npos) continue;
    size_t at = 0;  // the fifth field is the mount point
    for (int field = 0; field < 4; field++) at = line.find(' ', at) + 1;
    return line.substr(at, line.find(' ', at) - at);
  }
  return fail(Error::unsupported(
      "linux.intelRdt: the resctrl file system is not mounted; on a CPU and kernel with cache allocation "
      "mount it: mount -t resctrl resctrl /sys/fs/resctrl"));
}

// What the state file keeps: "<directory made here>|<class>|<monitoring group>"; the first and the last may
// be empty.
struct Group {
  std::string made, clos, monitor;
  [[nodiscard]] std::string text() const { return made + "|" + clos + "|" + monitor; }
};
Result<Group> parse_group(const std::string& text) {
  size_t first = text.find('|');
  size_t second = first == std::string::npos ? first : text.find('|', first + 1);
  if (second == std::string::npos)
    return fail(Error::internal("resctrl group '" + text + "' in the state file makes no sense"));
  return Group{text.substr(0, first), text.substr(first + 1, second - first - 1), text.substr(second + 1)};
}

// The lines to write, by the rules of the specification: l3CacheSchema without its MB: lines when memBwSchema
// is there, then memBwSchema, then schemata as they are.
std::vector<std::string> wanted_schemata(const oci::IntelRdt& rdt) {
  std::vector<std::string> lines = split_lines(rdt.l3_cache_schema);
  if (!rdt.mem_bw_schema.empty()) {
    std::erase_if(lines, [](const std::string& line) { return line.starts_with("MB:"); });
    for (std::string& line : split_lines(rdt.mem_bw_schema)) lines.push_back(std::move(line));
  }
  for (const std::string& text : rdt.schemata)
    for (std::string& line : split_lines(text)) lines.push_back(std::move(line));
  return lines;
}

// "L3:0=00ff;1=c0" -> "L3" and sorted {"0=ff", "1=c0"}: the kernel pads numbers and the file pads names.
struct Schema {
  std::string resource;
  std::vector<std::string> domains;
};
Schema parse_schema(std::string_view line) {
  Schema schema;
  size_t colon = line.find(':');
  schema.resource = trim(line.substr(0, colon));
  std::string_view rest = colon == std::string_view::npos ? std::string_view{} : line.substr(colon + 1);
  while (!rest.empty()) {
    size_t end = rest.find(';');
    std::string_view domain = trim(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    size_t eq = domain.find('=');
    if (eq == std::string_view::npos) continue;
    std::string key(trim(domain.substr(0, eq))), value(trim(domain.substr(eq + 1)));
    if (value.starts_with("0x")) value.erase(0, 2);
    value.erase(0, std::min(value.find_first_not_of('0'), value.size() - 1));
    for (char& c : value)
      if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    schema.domains.push_back(key + "=" + value);
  }
  return schema;
}

// Every domain that is asked for must stand so in the existing class.
Result<> check_schemata(const std::string& clos, const std::vector<std::string>& wanted) {
  std::string text = TRY(read_file(clos + "/schemata"));
  std::vector<Schema> have;
  for (const std::string& line : split_lines(text)) have.push_back(parse_schema(line));
  for (const std::string& line : wanted) {
    Schema want = parse_schema(line);
    auto found =
        std::find_if(have.begin(), have.end(), [&](const Schema& s) { return s.resource == want.resource; });
    bool same = found != have.end() &&
                std::all_of(want.domains.begin(), want.domains.end(), [&](const std::string& d) {
                  return std::find(found->domains.begin(), found->domains.end(), d) != found->domains.end();
                });
    if (!same)
      return fail(Error::invalid("linux.intelRdt: the existing class '" + clos +
                                 "' does not have the schema '" + line +
                                 "'; change the class or the configuration, or choose another closID"));
  }
  return {};
}

Error with_kernel_reason(Error error, const std::string& mount) {
  auto status = sys::read_cgroup_value(mount + "/info/last_cmd_status");
  if (!status || status->empty() || *status == "ok") return error;
  return {error.kind(), error.text() + " (" + *status + ")", error.os_errno()};
}

// One write for each line: a line that is refused is named, and the file takes them one by one as well.
Result<> write_schemata(const std::string& mount, const std::string& clos,
                        const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    auto written = write_file(clos + "/schemata", line + "\n");
    if (!written) return fail(with_kernel_reason(std::move(written).error().wrap("linux.intelRdt"), mount));
  }
  return {};
}

// Makes a directory; false when it was there.
Result<bool> make_group(const std::string& mount, const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0) return true;
  if (errno == EEXIST) return false;
  int e = errno;
  Error error = Error::os("make resctrl group", path, e);
  if (e == ENOSPC) error.wrap("linux.intelRdt: the CPU has no class or monitoring id left");
  return fail(with_kernel_reason(std::move(error), mount));
}

// A name that stays one path component below the mount and is none of resctrl's own directories.
Result<> check_name(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name == "info" || name == "mon_groups" ||
      name == "mon_data" || name.find_first_of("/|\n") != std::string::npos)
    return fail(Error::invalid("linux.intelRdt.closID: '" + name + "' cannot be the name of a class"));
  return {};
}

}  // namespace

Result<std::string> create_resctrl_group(const oci::IntelRdt& rdt, const std::string& id, int pid,
                                         const ResctrlRoots& roots) {
  std::string mount = TRY(find_mount(roots));
  std::vector<std::string> schemata = wanted_schemata(rdt);
  bool root_class = rdt.clos_id == "/";
  std::string name = rdt.clos_id.empty() ? id : rdt.clos_id;
  if (!root_class) TRY_VOID(check_name(name));
  TRY_VOID(check_name(id));
  Group group;
  group.clos = root_class ? mount : mount + "/" + name;
  Rollback undo;
  bool must_exist = !rdt.clos_id.empty() && schemata.empty();
  if (must_exist || root_class) {
    if (::access((group.clos + "/tasks").c_str(), F_OK) != 0)
      return fail(Error::not_found("linux.intelRdt.closID: there is no class '" + group.clos +
                                   "'; make it, or give the schemata to make it with"));
    TRY_VOID(check_schemata(group.clos, schemata));
  } else if (TRY(make_group(mount, group.clos))) {
    group.made = group.clos;
    undo.push([path = group.clos] { ::rmdir(path.c_str()); });
    TRY_VOID(write_schemata(mount, group.clos, schemata));
  } else if (rdt.clos_id.empty()) {
    return fail(Error(ErrorKind::kExists,
                      "linux.intelRdt: the class '" + group.clos +
                          "' exists already; a container that died without a "
                          "clean-up may have left it: remove it with rmdir",
                      EEXIST));
  } else {
    TRY_VOID(check_schemata(group.clos, schemata));
  }
  TRY_VOID_CTX(write_file(group.clos + "/tasks", std::to_string(pid)), "linux.intelRdt");
  if (rdt.enable_monitoring || rdt.enable_cmt || rdt.enable_mbm) {
    group.monitor = group.clos + "/mon_groups/" + id;
    if (TRY(make_group(mount, group.monitor))) {
      undo.push([path = group.monitor] { ::rmdir(path.c_str()); });
      // Removing a class removes its monitoring groups, so the topmost directory is enough to remember.
      if (group.made.empty()) group.made = group.monitor;
    }
    TRY_VOID_CTX(write_file(group.monitor + "/tasks", std::to_string(pid)),
                 "linux.intelRdt.enableMonitoring");
  }
  undo.commit();
  return group.text();
}

Result<> join_resctrl_group(const std::string& text, int pid) {
  Group group = TRY(parse_group(text));
  // The class first: a task can only be monitored by a group of its class.
  TRY_VOID_CTX(write_file(group.clos + "/tasks", std::to_string(pid)), "linux.intelRdt");
  if (group.monitor.empty()) return {};
  return write_file(group.monitor + "/tasks", std::to_string(pid));
}

Result<> update_resctrl_group(const std::string& text, const oci::IntelRdt& changes) {
  Group group = TRY(parse_group(text));
  std::string mount = group.clos.substr(0, group.clos.find_last_of('/'));
  return write_schemata(mount, group.clos, wanted_schemata(changes));
}

Result<> remove_resctrl_group(const std::string& text) {
  Group group = TRY(parse_group(text));
  if (group.made.empty() || ::rmdir(group.made.c_str()) == 0 || errno == ENOENT) return {};
  return fail(Error::os("remove resctrl group", group.made));
}

namespace {

std::string schema_line(const std::string& directory, const char* resource) {
  auto text = read_file(directory + "/schemata");
  if (!text) return "";
  for (const std::string& line : split_lines(*text))
    if (line.starts_with(std::string(resource) + ":")) return line;
  return "";
}

uint64_t number_or_zero(const std::string& path) { return sys::read_cgroup_number(path).value_or(0); }

// The L3 domains of mon_data: "mon_L3_00", "mon_L3_01".
std::vector<std::string> l3_domains(const std::string& mon_data) {
  std::vector<std::string> names;
  if (DIR* dir = ::opendir(mon_data.c_str())) {
    ScopeExit done([dir] { ::closedir(dir); });
    while (dirent* entry = ::readdir(dir))
      if (std::string_view(entry->d_name).starts_with("mon_L3_")) names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

Result<> read_resctrl_stats(const std::string& text, RdtStats& stats) {
  Group group = TRY(parse_group(text));
  bool root_class = ::access((group.clos + "/info").c_str(), F_OK) == 0;
  std::string mount = root_class ? group.clos : group.clos.substr(0, group.clos.rfind('/'));
  std::string info = mount + "/info";
  if (::access((info + "/L3").c_str(), F_OK) == 0) {
    stats.l3_info.emplace();
    stats.l3_info->cbm_mask = sys::read_cgroup_value(info + "/L3/cbm_mask").value_or("");
    stats.l3_info->min_cbm_bits = number_or_zero(info + "/L3/min_cbm_bits");
    stats.l3_info->num_closids = number_or_zero(info + "/L3/num_closids");
    stats.l3_cache_schema_root = schema_line(mount, "L3");
    stats.l3_cache_schema = schema_line(group.clos, "L3");
  }
  if (::access((info + "/MB").c_str(), F_OK) == 0) {
    stats.mem_bw_info.emplace();
    stats.mem_bw_info->bandwidth_gran = number_or_zero(info + "/MB/bandwidth_gran");
    stats.mem_bw_info->delay_linear = number_or_zero(info + "/MB/delay_linear");
    stats.mem_bw_info->min_bandwidth = number_or_zero(info + "/MB/min_bandwidth");
    stats.mem_bw_info->num_closids = number_or_zero(info + "/MB/num_closids");
    stats.mem_bw_schema_root = schema_line(mount, "MB");
    stats.mem_bw_schema = schema_line(group.clos, "MB");
  }
  std::string features = " " + sys::read_cgroup_value(info + "/L3_MON/mon_features").value_or("") + " ";
  std::replace(features.begin(), features.end(), '\n', ' ');
  bool bandwidth = features.find(" mbm_total_bytes ") != std::string::npos ||
                   features.find(" mbm_local_bytes ") != std::string::npos;
  bool occupancy = features.find(" llc_occupancy ") != std::string::npos;
  std::string mon_data = (group.monitor.empty() ? group.clos : group.monitor) + "/mon_data/";
  if (bandwidth) stats.mbm.emplace();
  if (occupancy) stats.cmt.emplace();
  for (const std::string& domain : l3_domains(mon_data)) {
    std::string prefix = mon_data + domain;
    if (bandwidth)
      stats.mbm->push_back(
          {number_or_zero(prefix + "/mbm_total_bytes"), number_or_zero(prefix + "/mbm_local_bytes")});
    if (occupancy) stats.cmt->push_back(number_or_zero(prefix + "/llc_occupancy"));
  }
  return {};
}

}  // namespace onggi::runtime
