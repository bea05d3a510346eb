#include "oci/features.h"

#include <algorithm>

#include "base/json.h"
#include "oci/capability.h"
#include "oci/mount_options.h"

namespace onggi::oci {
namespace {

void enabled(JsonWriter& w, std::string_view name, bool value) {
  w.key(name);
  w.begin_object();
  w.member_bool("enabled", value);
  w.end_object();
}

std::vector<std::string> namespace_names() {
  std::vector<std::string> names;
  for (uint8_t i = 0; i <= static_cast<uint8_t>(NamespaceType::kTime); i++)
    names.emplace_back(to_string(static_cast<NamespaceType>(i)));
  std::ranges::sort(names);
  return names;
}

void write_seccomp(JsonWriter& w, const FeatureFacts& facts) {
  w.key("seccomp");
  w.begin_object();
  w.member_bool("enabled", true);
  w.member_strings("actions", facts.seccomp_actions);
  w.member_strings("operators", facts.seccomp_operators);
  w.member_strings("archs", facts.seccomp_archs);
  w.member_strings("knownFlags", facts.seccomp_known_flags);
  w.member_strings("supportedFlags", facts.seccomp_supported_flags);
  w.end_object();
}

void write_linux(JsonWriter& w, const FeatureFacts& facts) {
  w.begin_object();
  w.member_strings("namespaces", namespace_names());
  w.member_strings("capabilities", capability_names());
  w.key("cgroup");
  w.begin_object();
  w.member_bool("v1", facts.cgroup_v1);
  w.member_bool("v2", facts.cgroup_v2);
  w.member_bool("systemd", facts.cgroup_systemd);
  w.member_bool("systemdUser", facts.cgroup_systemd_user);
  w.member_bool("rdma", facts.cgroup_rdma);
  w.end_object();
  write_seccomp(w, facts);
  enabled(w, "apparmor", facts.apparmor);
  enabled(w, "selinux", facts.selinux);
  w.key("intelRdt");
  w.begin_object();
  w.member_bool("enabled", facts.intel_rdt);
  w.member_bool("schemata", facts.intel_rdt_schemata);
  w.member_bool("monitoring", facts.intel_rdt_monitoring);
  w.end_object();
  if (facts.memory_policy) {
    w.key("memoryPolicy");
    w.begin_object();
    w.member_strings("modes", {"MPOL_BIND", "MPOL_DEFAULT", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED",
                               "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"});
    w.member_strings("flags", {"MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"});
    w.end_object();
  }
  w.key("mountExtensions");
  w.begin_object();
  enabled(w, "idmap", facts.idmap_mounts);
  w.end_object();
  enabled(w, "netDevices", facts.net_devices);
  w.end_object();
}

}  // namespace

std::string emit_features(const FeatureFacts& facts, std::string_view indent) {
  JsonWriter w(indent);
  w.begin_object();
  w.member("ociVersionMin", "1.0.0");
  w.member("ociVersionMax", kSpecVersion);
  w.member_strings(
      "hooks", {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"});
  w.member_strings("mountOptions", known_mount_options());
  w.key("linux");
  write_linux(w, facts);
  if (!facts.annotations.empty()) {
    w.key("annotations");
    json_write(w, facts.annotations);
  }
  if (!facts.potentially_unsafe_annotations.empty())
    w.member_strings("potentiallyUnsafeConfigAnnotations", facts.potentially_unsafe_annotations);
  w.end_object();
  return w.take();
}

}  // namespace onggi::oci
