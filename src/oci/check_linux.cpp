// The rules of the `linux` object (config-linux.md), but for its resources.
#include <algorithm>
#include <set>

#include "oci/check.h"
#include "oci/check_internal.h"
#include "oci/mount_options.h"

namespace onggi::oci {
namespace {

constexpr size_t kMaxMappings = 340;      // user_namespaces(7), since Linux 4.15
constexpr size_t kMaxInterfaceName = 15;  // IFNAMSIZ with its NUL
constexpr uint32_t kNanosecondsPerSecond = 1000000000;

Result<> check_namespaces(const Spec& spec) {
  unsigned seen = 0;
  for (const Namespace& ns : spec.linux.namespaces) {
    unsigned bit = 1u << static_cast<unsigned>(ns.type);
    if (seen & bit) return broken("linux.namespaces", quoted(to_string(ns.type)) + " is listed twice");
    seen |= bit;
    if (!ns.path.empty() && !is_absolute(ns.path))
      return broken("linux.namespaces",
                    quoted(to_string(ns.type)) + ": path " + quoted(ns.path) + " is not absolute");
  }
  return {};
}

Result<> check_user_namespace(const Spec& spec) {
  const Namespace* user = find_namespace(spec, NamespaceType::kUser);
  bool uids = !spec.linux.uid_mappings.empty(), gids = !spec.linux.gid_mappings.empty();
  if (!user) {
    if (uids) return broken("linux.uidMappings", "given, but linux.namespaces has no user namespace");
    if (gids) return broken("linux.gidMappings", "given, but linux.namespaces has no user namespace");
    return {};
  }
  // A joined namespace has its mappings already; engines repeat them, which is harmless.
  if (user->path.empty() && !uids)
    return broken("linux.uidMappings", "missing, a new user namespace needs them");
  if (user->path.empty() && !gids)
    return broken("linux.gidMappings", "missing, a new user namespace needs them");
  TRY_VOID(check_mappings(spec.linux.uid_mappings, "linux.uidMappings"));
  return check_mappings(spec.linux.gid_mappings, "linux.gidMappings");
}

Result<> check_time_offsets(const Spec& spec) {
  if (spec.linux.time_offsets.empty()) return {};
  const Namespace* time = find_namespace(spec, NamespaceType::kTime);
  if (!time) return broken("linux.timeOffsets", "given, but linux.namespaces has no time namespace");
  if (!time->path.empty())
    return broken("linux.timeOffsets", "the offsets of a joined time namespace cannot change any more");
  for (const auto& [clock, offset] : spec.linux.time_offsets) {
    if (clock != "monotonic" && clock != "boottime")
      return broken("linux.timeOffsets", quoted(clock) + " is neither monotonic nor boottime");
    if (offset.nanosecs >= kNanosecondsPerSecond)
      return broken("linux.timeOffsets." + clock + ".nanosecs",
                    std::to_string(offset.nanosecs) + " is not below a second");
  }
  return {};
}

Result<> check_uts(const Spec& spec) {
  if (find_namespace(spec, NamespaceType::kUts)) return {};
  if (!spec.hostname.empty()) return broken("hostname", "given, but linux.namespaces has no uts namespace");
  if (!spec.domainname.empty())
    return broken("domainname", "given, but linux.namespaces has no uts namespace");
  return {};
}

// Which namespace keeps a sysctl away from the host. Everything else in /proc/sys belongs to the whole
// machine.
Result<> check_sysctl(const Spec& spec, const std::string& key) {
  constexpr std::string_view kIpc[] = {"kernel/msgmax", "kernel/msgmnb",         "kernel/msgmni",
                                       "kernel/sem",    "kernel/shmall",         "kernel/shmmax",
                                       "kernel/shmmni", "kernel/shm_rmid_forced"};
  std::string path = TRY(sysctl_path(key));
  auto need = [&](NamespaceType type) -> Result<> {
    if (find_namespace(spec, type)) return {};
    return broken("linux.sysctl",
                  quoted(key) + " needs a " + to_string(type) + " namespace of the container's own");
  };
  if (std::ranges::find(kIpc, path) != std::end(kIpc) || path.starts_with("fs/mqueue/"))
    return need(NamespaceType::kIpc);
  if (path.starts_with("net/")) return need(NamespaceType::kNetwork);
  if (path == "kernel/domainname") return need(NamespaceType::kUts);
  if (path == "kernel/hostname")
    return broken("linux.sysctl", quoted(key) + " conflicts with the member hostname, use that");
  return broken("linux.sysctl", quoted(key) + " is not in a namespace, it would change the host");
}

Result<> check_device(const Device& device, const std::string& member) {
  if (device.type != "c" && device.type != "b" && device.type != "u" && device.type != "p")
    return broken(member + ".type", quoted(device.type) + " is none of c, b, u, p");
  if (!is_absolute(device.path))
    return broken(member + ".path", quoted(device.path) + " is not an absolute path");
  // dev_t of the kernel: 12 bits of major, 20 bits of minor.
  if (device.type != "p" && (device.major < 0 || device.major >= 1 << 12))
    return broken(member + ".major", std::to_string(device.major) + " is not from 0 to 4095");
  if (device.type != "p" && (device.minor < 0 || device.minor >= 1 << 20))
    return broken(member + ".minor", std::to_string(device.minor) + " is not from 0 to 1048575");
  if (device.uid == UINT32_MAX || device.gid == UINT32_MAX) return broken(member, "4294967295 is not an id");
  return {};
}

Result<> check_paths(const Spec& spec) {
  const Linux& linux = spec.linux;
  if ((!linux.masked_paths.empty() || !linux.readonly_paths.empty()) &&
      !find_namespace(spec, NamespaceType::kMount))
    return broken(linux.masked_paths.empty() ? "linux.readonlyPaths" : "linux.maskedPaths",
                  "given, but linux.namespaces has no mount namespace");
  for (size_t i = 0; i < linux.masked_paths.size(); i++)
    if (!is_absolute(linux.masked_paths[i]))
      return broken(at("linux.maskedPaths", i), quoted(linux.masked_paths[i]) + " is not an absolute path");
  for (size_t i = 0; i < linux.readonly_paths.size(); i++)
    if (!is_absolute(linux.readonly_paths[i]))
      return broken(at("linux.readonlyPaths", i),
                    quoted(linux.readonly_paths[i]) + " is not an absolute path");
  return {};
}

// What the kernel's dev_valid_name() takes.
bool is_interface_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxInterfaceName && name != "." && name != ".." &&
         name.find_first_of("/: \t\n\v\f\r") == std::string_view::npos;
}

Result<> check_net_devices(const Spec& spec) {
  if (spec.linux.net_devices.empty()) return {};
  if (!find_namespace(spec, NamespaceType::kNetwork))
    return broken("linux.netDevices", "given, but linux.namespaces has no network namespace");
  std::set<std::string_view> inside;
  for (const NetDevice& device : spec.linux.net_devices) {
    if (!is_interface_name(device.name))
      return broken("linux.netDevices", quoted(device.name) + " is no interface name");
    std::string_view name = device.new_name.empty() ? device.name : device.new_name;
    if (!is_interface_name(name))
      return broken("linux.netDevices." + device.name + ".name", quoted(name) + " is no interface name");
    if (!inside.insert(name).second)
      return broken("linux.netDevices", "two devices would be called " + quoted(name) + " in the container");
  }
  return {};
}

Result<> check_memory_policy(const MemoryPolicy& policy) {
  if (policy.mode.empty()) return broken("linux.memoryPolicy.mode", "missing");
  bool no_nodes = policy.mode == "MPOL_DEFAULT" || policy.mode == "MPOL_LOCAL";
  if (no_nodes && !policy.nodes.empty())
    return broken("linux.memoryPolicy.nodes", policy.mode + " takes no nodes");
  if (!no_nodes && policy.mode != "MPOL_PREFERRED" && policy.nodes.empty())
    return broken("linux.memoryPolicy.nodes", "missing, " + policy.mode + " needs at least one node");
  auto has = [&](std::string_view flag) {
    return std::ranges::find(policy.flags, flag) != policy.flags.end();
  };
  if (has("MPOL_F_STATIC_NODES") && has("MPOL_F_RELATIVE_NODES"))
    return broken("linux.memoryPolicy.flags",
                  "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other");
  return {};
}

Result<> check_intel_rdt(const IntelRdt& rdt) {
  const std::string& id = rdt.clos_id;
  // The id becomes a directory below /sys/fs/resctrl; "/" alone is that directory, the default group.
  if (id == "." || id == ".." || (id.size() > 1 && id.find('/') != std::string::npos))
    return broken("linux.intelRdt.closID", quoted(id) + " is no name of a directory");
  for (const std::string& line : rdt.schemata)
    if (line.find('\n') != std::string::npos)
      return broken("linux.intelRdt.schemata", "a line break inside an element, one line is one element");
  return {};
}

Result<> check_seccomp(const Seccomp& seccomp) {
  if (seccomp.default_action.empty()) return broken("linux.seccomp.defaultAction", "missing");
  if (!seccomp.listener_metadata.empty() && seccomp.listener_path.empty())
    return broken("linux.seccomp.listenerMetadata", "given without listenerPath");
  return {};
}

}  // namespace

Result<> check_mappings(const std::vector<IdMapping>& mappings, const std::string& member) {
  if (mappings.size() > kMaxMappings)
    return broken(member, std::to_string(mappings.size()) + " entries, the kernel takes 340");
  for (size_t i = 0; i < mappings.size(); i++) {
    const IdMapping& m = mappings[i];
    std::string here = at(member, i);
    if (m.size == 0) return broken(here + ".size", "0 maps nothing");
    if (uint64_t{m.container_id} + m.size > UINT32_MAX || uint64_t{m.host_id} + m.size > UINT32_MAX)
      return broken(here, "passes the last id, 4294967294");
    for (size_t j = 0; j < i; j++) {
      const IdMapping& other = mappings[j];
      auto overlap = [&](uint64_t a, uint64_t b) { return a < b + other.size && b < a + m.size; };
      if (overlap(m.container_id, other.container_id) || overlap(m.host_id, other.host_id))
        return broken(here, "overlaps " + at(member, j));
    }
  }
  return {};
}

Result<std::string> sysctl_path(std::string_view key) {
  size_t first = key.find_first_of("./");
  bool slashes = first != std::string_view::npos && key[first] == '/';
  std::string path(key);
  if (!slashes)
    for (char& c : path) c = c == '.' ? '/' : c == '/' ? '.' : c;
  std::string_view rest = path;
  do {
    std::string_view part = rest.substr(0, rest.find('/'));
    if (part.empty() || part == "." || part == "..")
      return broken("linux.sysctl", quoted(key) + " is not the name of a sysctl");
    rest.remove_prefix(part.size());
    if (rest.empty()) break;
    rest.remove_prefix(1);
    if (rest.empty()) return broken("linux.sysctl", quoted(key) + " is not the name of a sysctl");
  } while (true);
  return path;
}

Result<> check_linux(const Spec& spec, const CheckContext& context) {
  const Linux& linux = spec.linux;
  TRY_VOID(check_namespaces(spec));
  TRY_VOID(check_user_namespace(spec));
  TRY_VOID(check_time_offsets(spec));
  TRY_VOID(check_uts(spec));
  for (const auto& [key, value] : linux.sysctl) TRY_VOID(check_sysctl(spec, key));
  for (size_t i = 0; i < linux.devices.size(); i++)
    TRY_VOID(check_device(linux.devices[i], at("linux.devices", i)));
  TRY_VOID(check_net_devices(spec));
  TRY_VOID(check_paths(spec));
  if (!linux.rootfs_propagation.empty() && propagation_flag(linux.rootfs_propagation) == 0)
    return broken("linux.rootfsPropagation",
                  quoted(linux.rootfs_propagation) +
                      " is none of shared, slave, private, unbindable, or these with r in front");
  if (linux.seccomp) TRY_VOID(check_seccomp(*linux.seccomp));
  if (linux.intel_rdt) TRY_VOID(check_intel_rdt(*linux.intel_rdt));
  if (linux.memory_policy) TRY_VOID(check_memory_policy(*linux.memory_policy));
  if (linux.personality && !linux.personality->flags.empty())
    context.warn("linux.personality.flags: the specification defines none yet, ignored");
  if (linux.resources) TRY_VOID(check_resources(*linux.resources));
  return {};
}

}  // namespace onggi::oci
