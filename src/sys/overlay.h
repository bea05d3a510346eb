// The overlay file system of a container, made from mounts that are attached nowhere.
//
// Two ways to the same mount. By descriptors (fsopen, fsconfig FSCONFIG_SET_FD, fsmount), where the kernel's
// overlay takes them and looks into detached mounts (Linux 6.15; 6.13 takes them but refuses detached ones).
// Else by names: overlay before that copies only mounts of the caller's own mount namespace, so a process of
// its own with a private namespace attaches them to a tmpfs there under names of a few bytes, mounts the
// overlay with mount(2) (all layers must fit into one page of options) and copies it out as a detached mount.
// The namespace ends with the process; overlay keeps what it needs of its layers. Which way works is found by
// trying, since distributions carry back what versions deny.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

struct OverlayArgs {
  std::vector<int> lowers;  // detached mounts, top layer first; borrowed
  int writable = -1;        // detached mount with the directories "upper" and "work"; -1: a read-only overlay
  bool userxattr = false;   // mounted inside a user namespace: user.overlay.* instead of trusted.overlay.*
  // Skips syncing the upper at unmount and remount: a container's writable layer is not promised to survive a
  // power cut by itself.
  bool is_volatile = false;
  bool by_names = false;  // take the second way without trying the first
};

// A detached overlay mount (nodev). `xino=off`: inode numbers stay those of the layers. Afterwards the mounts
// of `args` are good for nothing but being closed. The caller must have one thread. Errors carry what the
// kernel said where it does.
Result<MountFd> mount_overlay(const OverlayArgs& args);
// A detached mount of a file system on a device or, where it can, in a file. `options` are fsconfig strings
// ("key=value" or flags), `attributes` MOUNT_ATTR_*.
Result<MountFd> mount_file_system(const char* type, const std::string& source,
                                  const std::vector<std::string>& options, uint64_t attributes);
// Does the kernel have it? Loads its module where it is one.
bool knows_file_system(const char* type);
// Puts a detached mount onto `path` of the caller's mount namespace.
Result<> attach_mount(int mount, const std::string& path);
// Makes every mount of the caller's namespace a slave: mounts made here are seen nowhere else, unmounts on
// the host arrive here.
Result<> make_mounts_slave();
// umount2(MNT_DETACH); not mounted is success.
Result<> detach_mount(const std::string& path);
}  // namespace onggi::sys
