// The document of the `features` command (features.md, features-linux.md): what this runtime recognises,
// whatever the host has.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "oci/runtime_spec.h"

namespace onggi::oci {

// What oci/ cannot know by itself; the caller fills it from policy/ and from how the program was built.
struct FeatureFacts {
  std::vector<std::string> seccomp_actions, seccomp_operators, seccomp_archs, seccomp_known_flags,
      seccomp_supported_flags;
  bool cgroup_v1 = true, cgroup_v2 = true, cgroup_systemd = true, cgroup_systemd_user = true,
       cgroup_rdma = true;
  bool apparmor = true, selinux = true;
  bool intel_rdt = true, intel_rdt_schemata = true, intel_rdt_monitoring = true;
  bool idmap_mounts = true, net_devices = true, memory_policy = true;
  StringMap annotations;  // implementation's own, e.g. its version
  // Annotations of config.json that change what the runtime does; a trailing "." makes an entry a prefix.
  std::vector<std::string> potentially_unsafe_annotations;
};

std::string emit_features(const FeatureFacts& facts, std::string_view indent = "    ");

}  // namespace onggi::oci
