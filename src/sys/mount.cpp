#include "sys/mount.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

namespace onggi::sys {

Result<MountFd> clone_mount(const std::string& path, bool recursive, bool no_follow) {
  long fd = ::syscall(SYS_open_tree, AT_FDCWD, path.c_str(),
                      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0) |
                          (no_follow ? AT_SYMLINK_NOFOLLOW : 0));
  if (fd < 0) return fail(Error::os("copy the mount at", path));
  return MountFd(static_cast<int>(fd));
}

Result<> set_mount_attributes(int mount, const std::string& name, uint64_t set, uint64_t clear,
                              uint64_t propagation, bool recursive, int userns) {
  if (!set && !clear && !propagation) return {};
  mount_attr attr = {};
  attr.attr_set = set;
  attr.attr_clr = clear;
  attr.propagation = propagation;
  if (userns >= 0) {
    attr.attr_set |= MOUNT_ATTR_IDMAP;
    attr.userns_fd = static_cast<uint64_t>(userns);
  }
  if (::syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr,
                sizeof attr) == 0)
    return {};
  int e = errno;
  Error error = Error::os("set mount attributes of", name, e);
  if (userns >= 0 && (e == EINVAL || e == EPERM))
    return fail(Error(ErrorKind::kUnsupported,
                      error.text() + " (its filesystem cannot be id-mapped; leave out idmap)", e));
  return fail(error);
}

Result<UniqueFd> private_proc() {
  long context = ::syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC);
  if (context >= 0) {
    UniqueFd owner(static_cast<int>(context));
    if (::syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0) {
      long mount = ::syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
                             MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
      if (mount >= 0) return UniqueFd(static_cast<int>(mount));
    }
  }
  UniqueFd proc = TRY(open_at(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW));
  struct statfs fs;
  if (::fstatfs(proc.get(), &fs) < 0) return fail(Error::os("inspect", "/proc"));
  if (fs.f_type != PROC_SUPER_MAGIC)
    return fail(Error(ErrorKind::kUnsupported,
                      "/proc is not a procfs; the runtime needs one to set the container up"));
  return proc;
}

Result<NsFd> open_namespace(const std::string& path, uint64_t clone_flag, const char* type_name) {
  UniqueFd fd = TRY_CTX(open_at(AT_FDCWD, path, O_RDONLY | O_NONBLOCK),
                        std::string("join the ") + type_name + " namespace");
  int type = ::ioctl(fd.get(), NS_GET_NSTYPE);
  if (type < 0)
    return fail(Error::invalid(std::string("join the ") + type_name + " namespace: '" + path +
                               "' is not a namespace file"));
  if (static_cast<uint64_t>(type) != clone_flag)
    return fail(Error::invalid(std::string("join the ") + type_name + " namespace: '" + path +
                               "' is a namespace of another type"));
  return NsFd(fd.release());
}

}  // namespace onggi::sys
