// Who owns the cgroup of a container (config-linux.md "Cgroup ownership"). Pure.
#pragma once

#include <cstdint>

#include "oci/runtime_spec.h"

namespace onggi::runtime {

// The host uid of the container's process, when the container may manage its cgroup: a new cgroup namespace
// and a cgroup file system mounted read-write at /sys/fs/cgroup. -1: the owner stays as it is, also when the
// mapping of a joined user namespace is not known.
int64_t cgroup_owner(const oci::Spec& spec);

}  // namespace onggi::runtime
