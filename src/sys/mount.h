// Detached mounts, as the parent prepares them.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

// A copy of the mount (tree) at `path`, attached nowhere. `no_follow`: a symlink as last component is an
// error.
Result<MountFd> clone_mount(const std::string& path, bool recursive, bool no_follow = false);
// mount_setattr(2) on a detached mount; values are MOUNT_ATTR_* and MS_* (propagation). `userns` for
// MOUNT_ATTR_IDMAP, else -1.
Result<> set_mount_attributes(int mount, const std::string& name, uint64_t set, uint64_t clear,
                              uint64_t propagation, bool recursive, int userns = -1);
// A procfs of this process's pid namespace that is mounted nowhere, so nothing can be mounted over its files.
// Falls back to /proc, checked to be procfs, where the caller may not mount.
Result<UniqueFd> private_proc();
// Joins of namespaces by path: opens and checks that the file is a namespace of the type `clone_flag`.
Result<NsFd> open_namespace(const std::string& path, uint64_t clone_flag, const char* type_name);

}  // namespace onggi::sys
