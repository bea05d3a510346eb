// The overlay file system of a container, assembled from descriptors (fsopen, fsconfig, fsmount).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

struct OverlayArgs {
  std::vector<int> lowers;    // detached mounts or directories, top layer first; borrowed
  int upper = -1, work = -1;  // directories of one mount; -1: read-only
  bool userxattr = false;     // mounted inside a user namespace: user.overlay.* instead of trusted.overlay.*
  // Skips syncing the upper at unmount and remount: a container's writable layer is not promised to survive a
  // power cut by itself.
  bool is_volatile = false;
};

// A detached overlay mount (nodev). `xino=off`: inode numbers stay those of the layers. Errors carry what the
// kernel said through the context's message log.
Result<MountFd> mount_overlay(const OverlayArgs& args);
// A detached mount of a file system on a device or, where it can, in a file. `options` are fsconfig strings
// ("key=value" or flags), `attributes` MOUNT_ATTR_*.
Result<MountFd> mount_file_system(const char* type, const std::string& source,
                                  const std::vector<std::string>& options, uint64_t attributes);
// Puts a detached mount onto `path` of the caller's mount namespace.
Result<> attach_mount(int mount, const std::string& path);
// Makes every mount of the caller's namespace a slave: mounts made here are seen nowhere else, unmounts on
// the host arrive here.
Result<> make_mounts_slave();
// umount2(MNT_DETACH); not mounted is success.
Result<> detach_mount(const std::string& path);
}  // namespace onggi::sys
