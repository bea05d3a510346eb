// The configuration that `spec` writes: a start for a bundle made by hand. Data; equal in effect to runc's.
#pragma once

#include <cstdint>

#include "oci/runtime_spec.h"

namespace onggi::policy {

// `cgroup_v2`: the host has only the unified hierarchy; a cgroup namespace is then part of the configuration.
oci::Spec default_spec(bool cgroup_v2);
// The same for a user without privileges: a user namespace in which `uid` and `gid` (host ids of the caller)
// are root, and nothing that needs more than that.
oci::Spec rootless_spec(uint32_t uid, uint32_t gid, bool cgroup_v2);

}  // namespace onggi::policy
