// Steps that fill /dev and give the process its terminal.
#include <asm/ioctls.h>
#include <asm/statfs.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#include "runtime/child.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

namespace onggi::child {

namespace {

constexpr long kFchmodat2 = 452;  // since 6.6, the same number everywhere

constexpr uint64_t make_dev(uint32_t major, uint32_t minor) {
  // The kernel's "new" encoding of a 32-bit dev_t, which is what mknod takes for numbers in range.
  return (minor & 0xff) | (static_cast<uint64_t>(major & 0xfff) << 8) |
         (static_cast<uint64_t>(minor & ~0xffU) << 12);
}

// Splits "/a/b/c" into its parent's directory fd (made when missing) and a pointer to "c".
long open_parent(Child& c, const char* path, const char** name) {
  size_t cut = length(path);
  while (cut && path[cut - 1] != '/') cut--;
  *name = path + cut;
  char parent[4096];
  if (cut >= sizeof parent) return -ENAMETOOLONG;
  for (size_t i = 0; i < cut; i++) parent[i] = path[i];
  parent[cut] = 0;
  return ensure_in_root(c, cut ? parent : "/", false, 0755, false, false);
}

struct Place {
  long dir = -1;
  const char* name = nullptr;
  bool owned = false;
};

// With kInDev or kInCgroup `path` is a name in the directory that is open already.
long find_place(Child& c, uint16_t flags, uint32_t path, Place* place) {
  if (flags & (runtime::kInDev | runtime::kInCgroup)) {
    place->dir = flags & runtime::kInDev ? c.dev_fd : c.cgroup_fd;
    place->name = text(c, path);
    return 0;
  }
  place->dir = open_parent(c, text(c, path), &place->name);
  place->owned = place->dir >= 0;
  return place->dir < 0 ? place->dir : 0;
}

bool same_device(const struct statx& st, const DeviceStep& d) {
  return (st.stx_mode & S_IFMT) == (d.mode & S_IFMT) &&
         ((st.stx_mode & S_IFMT) == S_IFIFO || make_dev(st.stx_rdev_major, st.stx_rdev_minor) == d.dev);
}

long bind_device(Child& c, const Place& place, const DeviceStep& d) {
  long source = sys(__NR_openat, AT_FDCWD, ptr(text(c, d.path)), O_PATH | O_CLOEXEC);
  if (source < 0) return source;
  struct statx st = {};
  long r = stat_fd(static_cast<int>(source), &st);
  if (r == 0 && !same_device(st, d)) {
    note(c, "the host's ", text(c, d.path), " is another device");
    r = -ENODEV;
  }
  if (r == 0) {
    // Made, but not opened: what the image has there may be a FIFO or a device that does something when it is
    // opened. Neither this nor the mount follows a symlink.
    r = sys(__NR_mknodat, place.dir, ptr(place.name), S_IFREG | 0666, 0);
    if (r == -EEXIST) r = 0;
  }
  if (r == 0) {
    long tree = sys(__NR_open_tree, source, ptr(""), OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH);
    r = tree < 0 ? tree
                 : sys(__NR_move_mount, tree, ptr(""), place.dir, ptr(place.name), MOVE_MOUNT_F_EMPTY_PATH);
    if (tree >= 0) close_fd(static_cast<int>(tree));
  }
  close_fd(static_cast<int>(source));
  return r;
}

// chmod of what an O_PATH descriptor stands for. Before 6.6 that goes through the host's /proc only, where
// this process still is.
long chmod_fd(long fd, uint32_t mode) {
  long r = sys(kFchmodat2, fd, ptr(""), mode, AT_EMPTY_PATH);
  if (r != -ENOSYS && r != -EPERM) return r;  // EPERM: the kernel, or a filter that does not know the call
  char path[32] = "/proc/self/fd/";
  size_t at = length(path);
  long scale = 1;
  while (fd / scale >= 10) scale *= 10;
  for (; scale; scale /= 10) path[at++] = static_cast<char>('0' + fd / scale % 10);
  return sys(__NR_fchmodat, AT_FDCWD, ptr(path), mode);
}

// A node that the image brings. It is held while it is looked at and changed: by its name another process
// could put a symlink there in between, and this process is not yet in the container's root.
long take_device(Child& c, const Place& place, const DeviceStep& d) {
  long fd = sys(__NR_openat, place.dir, ptr(place.name), O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return fd;
  struct statx st = {};
  long r = stat_fd(static_cast<int>(fd), &st);
  if (r == 0 && !same_device(st, d)) {
    note(c, text(c, d.path), " exists and is not this device");
    r = -EEXIST;
  }
  if (r == 0) r = chmod_fd(fd, d.mode & 07777);
  close_fd(static_cast<int>(fd));
  return r;
}

long mknod_device(Child& c, const Place& place, const DeviceStep& d) {
  long r = sys(__NR_mknodat, place.dir, ptr(place.name), d.mode, static_cast<long>(d.dev));
  if (r == -EEXIST) {
    r = take_device(c, place, d);
    if (r == -EEXIST) return r;
  }
  if (r == 0 && (d.uid || d.gid))
    r = sys(__NR_fchownat, place.dir, ptr(place.name), d.uid, d.gid, AT_SYMLINK_NOFOLLOW);
  return r;
}

}  // namespace

long open_null(Child& c) {
  if (c.null_fd >= 0) return 0;
  long fd = sys(__NR_openat, AT_FDCWD, ptr("/dev/null"), O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return fd;
  struct statx st = {};
  long r = stat_fd(static_cast<int>(fd), &st);
  if (r == 0 && ((st.stx_mode & S_IFMT) != S_IFCHR || st.stx_rdev_major != 1 || st.stx_rdev_minor != 3)) {
    note(c, "the host's /dev/null is not the null device");
    r = -ENODEV;
  }
  if (r < 0) {
    close_fd(static_cast<int>(fd));
    return r;
  }
  c.null_fd = static_cast<int>(fd);
  return 0;
}

long open_dev(Child& c) {
  long fd = ensure_in_root(c, "/dev", false, 0755, false, false);
  if (fd < 0) return fd;
  c.dev_fd = static_cast<int>(fd);
  return 0;
}

long make_device(Child& c, const Step& s) {
  const auto& d = *reinterpret_cast<const DeviceStep*>(c.base + s.str);
  Place place;
  long r = find_place(c, s.flags, d.in_dev ? d.in_dev : d.path, &place);
  if (r == 0) {
    r = d.bind ? bind_device(c, place, d) : mknod_device(c, place, d);
    // A device cgroup or a user namespace above this one forbids mknod: the host's node serves as well.
    if (r == -EPERM && !d.bind) r = bind_device(c, place, d);
  }
  if (r < 0 && !c.detail[0]) note(c, text(c, d.path));
  if (place.owned) close_fd(static_cast<int>(place.dir));
  return r;
}

long make_symlink(Child& c, const Step& s) {
  Place place;
  bool kept = (s.flags & (runtime::kInDev | runtime::kInCgroup)) != 0;
  long r = find_place(c, s.flags, kept ? static_cast<uint32_t>(s.a) : s.str_b, &place);
  if (r == 0) r = sys(__NR_symlinkat, ptr(text(c, s.str)), place.dir, ptr(place.name));
  if (place.owned) close_fd(static_cast<int>(place.dir));
  return r == -EEXIST ? 0 : r;
}

long make_ptmx(Child& c) {
  if (c.dev_fd < 0) return 0;
  long r = sys(__NR_symlinkat, ptr("pts/ptmx"), c.dev_fd, ptr("ptmx"));
  if (r == -EEXIST) {
    r = sys(__NR_unlinkat, c.dev_fd, ptr("ptmx"), 0);
    if (r == 0) r = sys(__NR_symlinkat, ptr("pts/ptmx"), c.dev_fd, ptr("ptmx"));
  }
  return r;
}

namespace {

// Opens a new pty in the container's devpts. The slave comes from the master by TIOCGPTPEER, never by a path,
// and both are checked to be what they should be, so an image that puts something else at /dev/ptmx gains
// nothing.
long open_pty(Child& c, int* master, int* slave) {
  open_how how = {};
  how.flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_MAGICLINKS;
  long m = sys(__NR_openat2, AT_FDCWD, ptr("/dev/ptmx"), ptr(&how), sizeof how);
  if (m < 0) {
    note(c, "open /dev/ptmx: is devpts mounted at /dev/pts?");
    return m;
  }
  struct statx st = {};
  long r = stat_fd(static_cast<int>(m), &st);
  if (r == 0 && ((st.stx_mode & S_IFMT) != S_IFCHR || st.stx_rdev_major != 5 || st.stx_rdev_minor != 2))
    r = -ENODEV;
  int unlock = 0;
  if (r == 0) r = sys(__NR_ioctl, m, TIOCSPTLCK, ptr(&unlock));
  long p = r == 0 ? sys(__NR_ioctl, m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC) : r;
  struct statfs fs = {};
  if (p >= 0) r = sys(__NR_fstatfs, p, ptr(&fs));
  if (p >= 0 && r == 0 && fs.f_type != DEVPTS_SUPER_MAGIC) r = -ENODEV;
  if (p < 0 || r < 0) {
    if (!c.detail[0]) note(c, "/dev/ptmx is not a pseudo-terminal multiplexer");
    if (p >= 0) close_fd(static_cast<int>(p));
    close_fd(static_cast<int>(m));
    return p < 0 ? p : r;
  }
  *master = static_cast<int>(m);
  *slave = static_cast<int>(p);
  return 0;
}

long bind_console(Child& c, int slave) {
  // By this time the root is the container's; resolution stays inside it all the same.
  long target = ensure_in_root(c, "/dev/console", true, 0755, true, false);
  if (target < 0) return target;
  struct statx st = {};
  long r = stat_fd(static_cast<int>(target), &st);
  uint32_t type = st.stx_mode & S_IFMT;
  if (r == 0 && type != S_IFREG && type != S_IFCHR) {
    note(c, "/dev/console is neither a file nor a device");
    r = -EINVAL;
  }
  if (r == 0) {
    long tree = sys(__NR_open_tree, slave, ptr(""), OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH);
    r = tree < 0 ? tree
                 : sys(__NR_move_mount, tree, ptr(""), target, ptr(""),
                       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    if (tree >= 0) close_fd(static_cast<int>(tree));
  }
  close_fd(static_cast<int>(target));
  return r;
}

}  // namespace

long console(Child& c, const Step& s) {
  int master = -1, slave = -1;
  long r = open_pty(c, &master, &slave);
  if (r < 0) return r;
  if (s.b) {
    struct {
      uint16_t rows, columns, x, y;
    } size = {static_cast<uint16_t>(s.b >> 32), static_cast<uint16_t>(s.b), 0, 0};
    r = sys(__NR_ioctl, master, TIOCSWINSZ, ptr(&size));
  }
  if (r == 0 && (s.flags & runtime::kConsoleBind)) r = bind_console(c, slave);
  if (r == 0) r = send_fds(c, ChildMessageKind::kConsole, &master, 1);
  if (r == 0) r = sys(__NR_ioctl, slave, TIOCSCTTY, 0);
  for (int fd = 0; r >= 0 && fd < 3; fd++) r = sys(__NR_dup3, slave, fd, 0);
  close_fd(master);
  if (slave > 2) close_fd(slave);
  return r < 0 ? r : 0;
}

}  // namespace onggi::child
