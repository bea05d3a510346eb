#include "sys/mount.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
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

Result<UniqueFd> open_in_root(int root, const std::string& path) {
  open_how how = {};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  long fd;
  do {
    fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
  } while (fd < 0 && errno == EAGAIN);  // a rename somewhere on the way
  if (fd < 0) return fail(Error::os("open in the container's root", path));
  return UniqueFd(static_cast<int>(fd));
}

Result<UniqueFd> ensure_in_root(int root, const std::string& path, bool directory) {
  auto there = open_in_root(root, path);
  if (there || there.error().os_errno() != ENOENT) return there;
  UniqueFd parent = TRY(open_in_root(root, "/"));
  for (size_t at = 0; at < path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    std::string name = path.substr(at, end - at), prefix = path.substr(0, end);
    bool last = path.find_first_not_of('/', end) == std::string::npos;
    at = end + 1;
    if (name.empty()) continue;
    auto next = open_in_root(root, prefix);
    if (!next && next.error().os_errno() == ENOENT) {
      bool make_directory = !last || directory;
      // By the parent's descriptor and one name, so that nothing can be redirected in between.
      int r = make_directory ? ::mkdirat(parent.get(), name.c_str(), 0755)
                             : ::mknodat(parent.get(), name.c_str(), S_IFREG | 0644, 0);
      if (r < 0 && errno == EEXIST)
        return fail(Error::os("make the mount point (a symlink to nowhere is in the way)", path, EEXIST));
      if (r < 0) return fail(Error::os("make the mount point", path));
      next = open_in_root(root, prefix);
    }
    if (!next) return next;
    parent = std::move(*next);
  }
  return parent;
}

Result<MountPlace> mount_place(int fd) {
  struct statx st = {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MNT_ID, &st) < 0)
    return fail(Error::os("find the mount of", "an open file"));
  MountPlace place;
  place.mount_id = st.stx_mnt_id;
  place.mount_root = (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  place.directory = S_ISDIR(st.stx_mode);
  return place;
}

Result<OwnMounts> OwnMounts::enter() {
  OwnMounts own;
  own.root_ = TRY(open_at(AT_FDCWD, "/", O_PATH | O_DIRECTORY));
  own.directory_ = TRY(open_at(AT_FDCWD, ".", O_PATH | O_DIRECTORY));
  UniqueFd home = TRY(open_at(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY));
  if (::unshare(CLONE_NEWNS) < 0) return fail(Error::os("make a mount namespace", ""));
  own.home_ = NsFd(home.release());
  constexpr unsigned long kRecursiveSlave = 1 << 14 | 1 << 19;
  if (::syscall(SYS_mount, nullptr, "/", nullptr, kRecursiveSlave, nullptr) < 0)
    return fail(Error::os("make the mounts of a namespace its own at", "/"));
  return own;
}

OwnMounts::~OwnMounts() {
  // setns(2) puts root and working directory to those of the namespace, which are other ones in a chroot.
  if (!home_ || ::setns(home_.get(), CLONE_NEWNS) < 0) return;
  if (::fchdir(root_.get()) == 0) (void)!::chroot(".");
  (void)!::fchdir(directory_.get());
}

Result<> OwnMounts::mount_root(const std::string& root, const std::string& place) {
  MountFd tree = TRY(clone_mount(root, true));
  constexpr unsigned long kNoSuidDevExec = 2 | 4 | 8;
  if (::syscall(SYS_mount, "tmpfs", place.c_str(), "tmpfs", kNoSuidDevExec, "size=64k,mode=0700") < 0)
    return fail(Error::os("mount a tmpfs at", place));
  std::string target = place + "/root";
  if (::mkdir(target.c_str(), 0700) < 0) return fail(Error::os("make", target));
  if (::syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) < 0)
    return fail(Error::os("mount the root file system at", target));
  return {};
}

}  // namespace onggi::sys
