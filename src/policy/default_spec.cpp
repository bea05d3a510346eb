// The default configuration, member by member, with the reason where it is not plain.
#include "policy/default_spec.h"

#include <algorithm>

namespace onggi::policy {
namespace {

using oci::NamespaceType;

oci::Process default_process() {
  oci::Process p;
  p.terminal = true;
  p.args = {"sh"};
  p.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"};
  p.cwd = "/";
  p.no_new_privileges = true;
  // Enough for a server and its log. Not inheritable, which would hand them to every program with matching
  // file bits, and so not ambient either, which needs both.
  std::vector<std::string> caps{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"};
  p.capabilities = oci::Capabilities{
      .bounding = caps, .effective = caps, .inheritable = {}, .permitted = caps, .ambient = {}};
  p.rlimits = {{"RLIMIT_NOFILE", 1024, 1024}};
  return p;
}

std::vector<oci::Mount> default_mounts() {
  return {
      {"/proc", "proc", "proc", {}, {}, {}},
      {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}, {}, {}},
      {"/dev/pts",
       "devpts",
       "devpts",
       {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
       {},
       {}},
      {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}, {}, {}},
      {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}, {}, {}},
      {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}, {}, {}},
      {"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}, {}, {}},
  };
}

}  // namespace

oci::Spec default_spec(bool cgroup_v2) {
  oci::Spec spec;
  spec.oci_version = oci::kSpecVersion;
  spec.process = default_process();
  spec.root = {"rootfs", true};
  spec.hostname = "onggi";
  spec.mounts = default_mounts();
  spec.has_linux = true;
  oci::Linux& linux = spec.linux;
  linux.resources.emplace().devices = {{.allow = false, .access = "rwm"}};
  for (NamespaceType type : {NamespaceType::kPid, NamespaceType::kNetwork, NamespaceType::kIpc,
                             NamespaceType::kUts, NamespaceType::kMount})
    linux.namespaces.push_back({type, ""});
  // On v1 the view of /sys/fs/cgroup is a set of read-only bind mounts; on v2 it is the file system itself,
  // whose root must not be the host's.
  if (cgroup_v2) linux.namespaces.push_back({NamespaceType::kCgroup, ""});
  // What tells about or changes the whole machine.
  linux.masked_paths = {"/proc/acpi",          "/proc/asound",     "/proc/kcore",       "/proc/keys",
                        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                        "/sys/firmware",       "/proc/scsi"};
  linux.readonly_paths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  return spec;
}

oci::Spec rootless_spec(uint32_t uid, uint32_t gid, bool cgroup_v2) {
  oci::Spec spec = default_spec(cgroup_v2);
  oci::Linux& linux = spec.linux;
  // Without the network namespace the host's network stays usable; making links into a new one needs
  // privileges.
  std::erase_if(linux.namespaces,
                [](const oci::Namespace& ns) { return ns.type == NamespaceType::kNetwork; });
  linux.namespaces.push_back({NamespaceType::kUser, ""});
  linux.uid_mappings = {{0, uid, 1}};
  linux.gid_mappings = {{0, gid, 1}};
  linux.resources.reset();  // a user has no cgroup to set limits in
  for (oci::Mount& mount : spec.mounts) {
    // Only id 0 is mapped, so no file can be given to another.
    std::erase_if(mount.options, [](const std::string& option) {
      return option.starts_with("gid=") || option.starts_with("uid=");
    });
    // sysfs may only be mounted by the owner of the network namespace; the host's view is bound instead.
    if (mount.destination == "/sys")
      mount = {"/sys", "none", "/sys", {"rbind", "nosuid", "noexec", "nodev", "ro"}, {}, {}};
  }
  return spec;
}

}  // namespace onggi::policy
