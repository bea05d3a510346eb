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

// The object at `path` inside the tree of `root` (O_PATH): symlinks are resolved within it, magic links
// refused.
Result<UniqueFd> open_in_root(int root, const std::string& path);
// As open_in_root, and makes what is missing: directories, and an empty file at the end unless `directory`.
// An object of the other type there is an error of whoever mounts on it, not of this.
Result<UniqueFd> ensure_in_root(int root, const std::string& path, bool directory);

// What an open object is to the mount table of its namespace.
struct MountPlace {
  uint64_t mount_id = 0;    // the first column of mountinfo
  bool mount_root = false;  // the object is where that mount is mounted
  bool directory = false;
};
Result<MountPlace> mount_place(int fd);

// Puts this process, which must have one thread, into a mount namespace of its own for as long as the object
// lives: a slave of the one it was in (host mounts still arrive, none goes back). What is mounted there is
// gone when the last process of the namespace and the last descriptor opened in it are, so nothing of it is
// ever left on the host. Leaving restores root and working directory, too.
class OwnMounts {
 public:
  static Result<OwnMounts> enter();
  OwnMounts(OwnMounts&&) noexcept = default;
  OwnMounts& operator=(OwnMounts&&) = delete;
  ~OwnMounts();
  // Mounts the tree at `root` at the directory "root" of a new tmpfs at `place`.
  Result<> mount_root(const std::string& root, const std::string& place);

 private:
  OwnMounts() = default;
  NsFd home_;
  UniqueFd root_, directory_;
};

}  // namespace onggi::sys
