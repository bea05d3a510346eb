// Steps that build the container's file system. Every destination is resolved inside the root (open_in_root)
// and used as a descriptor; every mount is made detached, given its attributes, and attached last, so it is
// never visible half-made.
#include <asm/statfs.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>

#include <initializer_list>

#include "runtime/child.h"

#ifndef MS_REC
#define MS_REC 16384
#endif
#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

namespace onggi::child {

namespace {

constexpr unsigned kAtRecursive = 0x8000;
constexpr unsigned kAtEmptyPath = 0x1000;

long set_attr(int fd, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive) {
  if (!set && !clear && !propagation) return 0;
  mount_attr attr = {};
  attr.attr_set = set;
  attr.attr_clr = clear;
  attr.propagation = propagation;
  return sys(__NR_mount_setattr, fd, ptr(""), kAtEmptyPath | (recursive ? kAtRecursive : 0), ptr(&attr),
             sizeof attr);
}

long clone_tree(int dirfd, const char* path, bool recursive, bool no_follow) {
  return sys(__NR_open_tree, dirfd, ptr(path),
             OPEN_TREE_CLONE | O_CLOEXEC | (recursive ? kAtRecursive : 0) | (*path ? 0 : kAtEmptyPath) |
                 (no_follow ? AT_SYMLINK_NOFOLLOW : 0));
}

long attach(long tree, long target) {
  return sys(__NR_move_mount, tree, ptr(""), target, ptr(""),
             MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

// Recursive attributes, then the plain ones of the top mount, then propagation (its MS_REC decides the
// depth).
long apply_attributes(int tree, const MountStep& m) {
  long r = set_attr(tree, m.rec_attr_set, m.rec_attr_clr, 0, true);
  if (r == 0) r = set_attr(tree, m.attr_set, m.attr_clr, 0, false);
  for (uint64_t mode : m.propagation) {
    uint64_t kind = mode & ~static_cast<uint64_t>(MS_REC);
    if (r == 0 && kind) r = set_attr(tree, 0, 0, kind, (mode & MS_REC) != 0);
  }
  return r;
}

// A destination inside procfs would let an image or a volume replace kernel interfaces; allowed are only
// those that the parent marked (kMountAllowProc).
long refuse_proc(Child& c, const MountStep& m, int target) {
  if (m.flags & runtime::kMountAllowProc) return 0;
  struct statfs fs = {};
  long r = sys(__NR_fstatfs, target, ptr(&fs));
  if (r < 0) return r;
  if (fs.f_type == PROC_SUPER_MAGIC) {
    note(c, text(c, m.destination), " is inside /proc, where mounts are not allowed");
    return -EPERM;
  }
  return 0;
}

long open_target(Child& c, const MountStep& m, bool file) {
  const char* destination = text(c, m.destination);
  long target = ensure_in_root(c, destination, file, m.mode, (m.flags & runtime::kMountNoFollow) != 0,
                               (m.flags & runtime::kMountDirectoryOnly) != 0);
  if (target < 0) return target;
  if (long r = refuse_proc(c, m, static_cast<int>(target)); r < 0) {
    close_fd(static_cast<int>(target));
    return r;
  }
  return target;
}

// What the kernel wrote into the context's log ("e tmpfs: Bad value for 'size'") is the best explanation
// there is.
void note_context_log(Child& c, int context, const char* option) {
  char line[200];
  long n = sys(__NR_read, context, ptr(line), sizeof line - 1);
  if (n > 2) {
    line[n] = 0;
    note(c, line + 2, option ? ", option " : nullptr, option);
  } else if (option) {
    note(c, "option ", option);
  }
}

long configure(Child& c, int context, const MountStep& m) {
  auto* pairs = reinterpret_cast<const uint32_t*>(c.base + m.options);
  if (m.source) sys(__NR_fsconfig, context, FSCONFIG_SET_STRING, ptr("source"), ptr(text(c, m.source)), 0);
  for (uint32_t i = 0; i < m.option_count; i++) {
    const char* key = text(c, pairs[2 * i]);
    const char* value = text(c, pairs[2 * i + 1]);
    long r = value ? sys(__NR_fsconfig, context, FSCONFIG_SET_STRING, ptr(key), ptr(value), 0)
                   : sys(__NR_fsconfig, context, FSCONFIG_SET_FLAG, ptr(key), 0, 0);
    if (r < 0) {
      note_context_log(c, context, key);
      return r;
    }
  }
  long r = sys(__NR_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
  if (r < 0) note_context_log(c, context, nullptr);
  return r;
}

long copy_up(Child& c, const MountStep& m, int tree) {
  long source = open_in_root(c, text(c, m.destination), O_RDONLY | O_DIRECTORY);
  if (source == -ENOENT) return 0;
  if (source < 0) return source;
  const int fds[2] = {static_cast<int>(source), tree};
  long r = send_fds(c, ChildMessageKind::kCopyUp, fds, 2);
  close_fd(static_cast<int>(source));
  return r;
}

long new_tree(Child& c, const MountStep& m) {
  const char* fstype = text(c, m.fstype);
  long context = sys(__NR_fsopen, ptr(fstype), FSOPEN_CLOEXEC);
  if (context < 0) {
    note(c, "file system type ", fstype);
    return context;
  }
  long r = configure(c, static_cast<int>(context), m);
  // Attributes that copy-up must be able to write through (read-only) come after it.
  uint64_t at_mount = m.attr_set & ~static_cast<uint64_t>(MOUNT_ATTR_NOSYMFOLLOW);
  if (m.flags & runtime::kMountCopyUp) at_mount &= ~static_cast<uint64_t>(MOUNT_ATTR_RDONLY);
  long tree = r < 0 ? r : sys(__NR_fsmount, context, FSMOUNT_CLOEXEC, static_cast<long>(at_mount));
  close_fd(static_cast<int>(context));
  if (tree < 0) return tree;
  if (m.flags & runtime::kMountCopyUp) r = copy_up(c, m, static_cast<int>(tree));
  MountStep rest = m;
  rest.attr_set = m.attr_set & ~at_mount;
  rest.attr_clr = 0;
  if (r == 0) r = apply_attributes(static_cast<int>(tree), rest);
  if (r == 0) return tree;
  close_fd(static_cast<int>(tree));
  return r;
}

}  // namespace

long make_propagation(Child&, const Step& s) {
  return sys(__NR_mount, 0, ptr("/"), 0, static_cast<long>(s.a), 0);
}

long attach_root(Child& c, const Step& s) {
  long tree = s.fd_a >= 0 ? s.fd_a : clone_tree(AT_FDCWD, ".", (s.a & MS_REC) != 0, false);
  if (tree < 0) return tree;
  long r = sys(__NR_move_mount, tree, ptr(""), AT_FDCWD, ptr("."), MOVE_MOUNT_F_EMPTY_PATH);
  if (r < 0) return r;
  c.root_fd = static_cast<int>(tree);
  return 0;
}

namespace {

// Where a tree goes: the destination itself, or a name in a kept tmpfs.
struct Target {
  long fd = -1;
  const char* name = "";
  bool owned = true;
};

long find_target(Child& c, const MountStep& m, Target* t) {
  if (!(m.flags & (runtime::kMountInDev | runtime::kMountInCgroup))) {
    t->fd = open_target(c, m, false);
    return t->fd < 0 ? t->fd : 0;
  }
  t->fd = m.flags & runtime::kMountInDev ? c.dev_fd : c.cgroup_fd;
  t->name = text(c, m.name);
  t->owned = false;
  long r = sys(__NR_mkdirat, t->fd, ptr(t->name), m.mode);
  if (r < 0 && r != -EEXIST) note(c, "make ", t->name);
  return r == -EEXIST ? 0 : r;
}

// A symlink as the last component is not followed (no MOVE_MOUNT_T_SYMLINKS).
long attach_at(long tree, const Target& t) {
  return sys(__NR_move_mount, tree, ptr(""), t.fd, ptr(t.name),
             MOVE_MOUNT_F_EMPTY_PATH | (*t.name ? 0 : MOVE_MOUNT_T_EMPTY_PATH));
}

long bind_fallback(Child& c, const MountStep& m) {
  long tree = clone_tree(AT_FDCWD, text(c, m.fallback), true, false);
  if (tree < 0) return tree;
  // Private: where the container's tree is a slave of the host's, this mount would be one of the host's
  // cgroup mount.
  constexpr uint64_t kPrivate = 1 << 18;  // MS_PRIVATE
  long r = set_attr(static_cast<int>(tree), m.attr_set, 0, kPrivate, false);
  if (r == 0) return tree;
  close_fd(static_cast<int>(tree));
  return r;
}

}  // namespace

long mount_new(Child& c, const Step& s) {
  const auto& m = *reinterpret_cast<const MountStep*>(c.base + s.str);
  Target target;
  if (long r = find_target(c, m, &target); r < 0) return r;
  bool prefer_bind = (m.flags & runtime::kMountPreferBind) != 0;
  long tree = prefer_bind ? bind_fallback(c, m) : -ENOENT;
  if (tree < 0 && m.fstype) tree = new_tree(c, m);
  if ((tree == -EPERM || tree == -EBUSY || tree == -ENODEV) && m.fallback && !prefer_bind) {
    // proc or sysfs without the namespaces that own it, cgroup2 without a cgroup namespace: show the host's
    // tree instead.
    tree = bind_fallback(c, m);
  }
  long r = tree < 0 ? tree : attach_at(tree, target);
  if (r == 0 && (m.flags & runtime::kMountKeepDev))
    c.dev_fd = static_cast<int>(tree);
  else if (r == 0 && (m.flags & runtime::kMountKeepCgroup))
    c.cgroup_fd = static_cast<int>(tree);
  else if (tree >= 0)
    close_fd(static_cast<int>(tree));
  if (target.owned) close_fd(static_cast<int>(target.fd));
  if (r < 0 && (m.flags & runtime::kMountOptional)) return 0;
  return r;
}

namespace {

// A symlink as source with copy-symlink: the same link is made in the container.
long copy_symlink(Child& c, const MountStep& m, bool* done) {
  char target[4096];
  long n = sys(__NR_readlinkat, AT_FDCWD, ptr(text(c, m.source)), ptr(target), sizeof target - 1);
  if (n < 0) return n == -EINVAL ? 0 : n;
  target[n] = 0;
  *done = true;
  const char* path = text(c, m.destination);
  size_t cut = length(path);
  while (cut && path[cut - 1] != '/') cut--;
  char parent[4096];
  if (cut >= sizeof parent) return -ENAMETOOLONG;
  for (size_t i = 0; i < cut; i++) parent[i] = path[i];
  parent[cut] = 0;
  long dir = ensure_in_root(c, parent[0] ? parent : "/", false, 0755, false, false);
  if (dir < 0) return dir;
  long r = sys(__NR_symlinkat, ptr(target), dir, ptr(path + cut));
  if (r == -EEXIST) {
    char now[4096];
    long m2 = sys(__NR_readlinkat, dir, ptr(path + cut), ptr(now), sizeof now - 1);
    r = m2 == n ? 0 : -EEXIST;
    for (long i = 0; r == 0 && i < n; i++)
      if (now[i] != target[i]) r = -EEXIST;
  }
  close_fd(static_cast<int>(dir));
  return r;
}

long bind_tree(Child& c, const MountStep& m) {
  if (m.fd >= 0) return m.fd;
  long tree = clone_tree(AT_FDCWD, text(c, m.source), (m.flags & runtime::kMountRecursive) != 0,
                         (m.flags & runtime::kMountSourceNoFollow) != 0);
  if (tree < 0) note(c, "source ", text(c, m.source));
  return tree;
}

}  // namespace

long mount_bind(Child& c, const Step& s) {
  const auto& m = *reinterpret_cast<const MountStep*>(c.base + s.str);
  if (m.flags & runtime::kMountCopySymlink) {
    bool done = false;
    if (long r = copy_symlink(c, m, &done); r < 0 || done) return r;
  }
  long tree = bind_tree(c, m);
  if (tree == -ENOENT && (m.flags & runtime::kMountOptional)) return 0;
  if (tree < 0) return tree;
  struct statx st = {};
  long r = stat_fd(static_cast<int>(tree), &st);
  // A tree that the parent made already carries its attributes.
  if (r == 0 && m.fd < 0) r = apply_attributes(static_cast<int>(tree), m);
  long target = r < 0 ? r : open_target(c, m, (st.stx_mode & S_IFMT) != S_IFDIR);
  if (target >= 0) {
    r = attach(tree, target);
    if (r == -ENOTDIR)
      note(c, text(c, m.destination), ": a directory and a file cannot be mounted on one another");
    close_fd(static_cast<int>(target));
  } else {
    r = target;
  }
  close_fd(static_cast<int>(tree));
  return r;
}

namespace {

// The tree that hides a directory: one empty read-only tmpfs, cloned for each further path.
long empty_tree(Child& c) {
  if (c.empty_fd >= 0) return clone_tree(c.empty_fd, "", false, false);
  long context = sys(__NR_fsopen, ptr("tmpfs"), FSOPEN_CLOEXEC);
  if (context < 0) return context;
  sys(__NR_fsconfig, context, FSCONFIG_SET_STRING, ptr("nr_inodes"), ptr("2"), 0);
  sys(__NR_fsconfig, context, FSCONFIG_SET_STRING, ptr("mode"), ptr("0555"), 0);
  long tree = sys(__NR_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
  if (tree == 0)
    tree = sys(__NR_fsmount, context, FSMOUNT_CLOEXEC,
               MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  close_fd(static_cast<int>(context));
  return tree;
}

// What is masked or made read-only; -ENOENT when it is not there, which is no error for either.
long open_existing(Child& c, const char* path) {
  long target = open_in_root(c, path, O_PATH);
  if (target == -ENOTDIR || target == -ELOOP) return -ENOENT;
  if (target < 0 && target != -ENOENT) note(c, path);
  return target;
}

}  // namespace

long mask_path(Child& c, const Step& s) {
  const char* path = text(c, s.str);
  long target = open_existing(c, path);
  if (target < 0) return target == -ENOENT ? 0 : target;
  struct statx st = {};
  long r = stat_fd(static_cast<int>(target), &st);
  bool directory = (st.stx_mode & S_IFMT) == S_IFDIR;
  long tree = r;
  if (r == 0 && !directory) r = open_null(c);
  if (r == 0) tree = directory ? empty_tree(c) : clone_tree(c.null_fd, "", false, false);
  r = tree < 0 ? tree : attach(tree, target);
  if (r < 0) note(c, path);
  if (r == 0 && directory && c.empty_fd < 0)
    c.empty_fd = static_cast<int>(tree);
  else if (tree >= 0)
    close_fd(static_cast<int>(tree));
  close_fd(static_cast<int>(target));
  return r;
}

long readonly_path(Child& c, const Step& s) {
  const char* path = text(c, s.str);
  long target = open_existing(c, path);
  if (target < 0) return target == -ENOENT ? 0 : target;
  long tree = clone_tree(static_cast<int>(target), "", true, false);
  long r = tree < 0 ? tree : set_attr(static_cast<int>(tree), MOUNT_ATTR_RDONLY, 0, 0, true);
  if (r == 0) r = attach(tree, target);
  if (r < 0) note(c, path);
  if (tree >= 0) close_fd(static_cast<int>(tree));
  close_fd(static_cast<int>(target));
  return r;
}

long root_attr(Child& c, const Step& s) { return set_attr(c.root_fd, s.a, 0, 0, false); }

long path_attr(Child& c, const Step& s) {
  if (s.flags & runtime::kInCgroup) return set_attr(c.cgroup_fd, s.a, 0, 0, false);
  long target = open_in_root(c, text(c, s.str), O_PATH);
  if (target < 0) return target;
  long r = set_attr(static_cast<int>(target), s.a, 0, 0, false);
  close_fd(static_cast<int>(target));
  return r;
}

long pivot(Child& c, const Step& s) {
  long r = sys(__NR_fchdir, c.root_fd);
  if (r < 0) return r;
  if (s.a == 0) {
    // The old root is stacked on top of the new one and detached: no directory inside the image is needed for
    // it.
    r = sys(__NR_pivot_root, ptr("."), ptr("."));
    if (r == 0) r = sys(__NR_umount2, ptr("."), MNT_DETACH);
  } else {
    // The old root stays below: its procfs and sysfs must not, or the kernel would take them as leave to
    // mount new ones that show all.
    for (const char* path : {"/proc", "/sys"}) {
      for (int i = 0; i < 64 && sys(__NR_umount2, ptr(path), MNT_DETACH) == 0;) i++;
      sys(__NR_mount, ptr("tmpfs"), ptr(path), ptr("tmpfs"), 1 /* MS_RDONLY */, ptr("size=0,nr_inodes=1"));
    }
    r = sys(__NR_move_mount, c.root_fd, ptr(""), AT_FDCWD, ptr("/"), MOVE_MOUNT_F_EMPTY_PATH);
    if (r == 0) r = sys(__NR_chroot, ptr("."));
  }
  if (r < 0) return r;
  return sys(__NR_chdir, ptr("/"));
}

}  // namespace onggi::child
