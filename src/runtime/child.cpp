// The child program: interprets a Plan, then becomes the container's process.
//
// Started as `onggi-child PLAN_FD SYNC_FD` from a sealed memfd. Steps run in order; the first failure is told
// to the parent as {step, errno, detail} and ends the process. A dead parent shows as end-of-file at the next
// sync point, so a runtime that was killed leaves no half-made container behind.
#include "runtime/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/mman.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/socket.h>

#include <initializer_list>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

// The compiler may call these for copies and comparisons; there is no libc to provide them.
extern "C" {
void* memcpy(void* to, const void* from, size_t n) {
  auto* t = static_cast<volatile uint8_t*>(to);
  auto* f = static_cast<const uint8_t*>(from);
  while (n--) *t++ = *f++;
  return to;
}
void* memset(void* to, int value, size_t n) {
  auto* t = static_cast<volatile uint8_t*>(to);
  while (n--) *t++ = static_cast<uint8_t>(value);
  return to;
}
}

namespace onggi::child {

const char* text(const Child& c, uint32_t offset) {
  return offset ? reinterpret_cast<const char*>(c.base + offset) : nullptr;
}

size_t length(const char* s) {
  size_t n = 0;
  while (s[n]) n++;
  return n;
}

void note(Child& c, const char* a, const char* b, const char* d) {
  size_t used = 0;
  for (const char* part : {a, b, d})
    for (; part && *part && used + 1 < sizeof c.detail; part++) c.detail[used++] = *part;
  c.detail[used] = 0;
}

void send(Child& c, ChildMessageKind kind, uint32_t step, int32_t error, int32_t value) {
  ChildMessage m;
  m.kind = kind;
  m.step = step;
  m.error = error;
  m.value = value;
  for (size_t i = 0; i < sizeof m.detail; i++) m.detail[i] = c.detail[i];
  c.detail[0] = 0;
  if (c.report_fd >= 0) sys(__NR_write, c.report_fd, ptr(&m), sizeof m);
}

long wait_answer(Child& c) {
  char byte = 0;
  long n;
  do {
    n = sys(__NR_read, c.sync_fd, ptr(&byte), 1);
  } while (n == -EINTR);
  if (n == 1) return byte == 'K' ? 0 : -ECANCELED;
  // The runtime is gone: nobody would own this process.
  sys(__NR_exit_group, 127);
  return -EPIPE;
}

namespace {

// struct msghdr of the kernel with its pieces in one place: one data buffer, control data for up to 16
// descriptors.
struct MessageBuffer {
  struct {
    void* base;
    size_t size;
  } iov;
  alignas(8) char control[CMSG_SPACE(sizeof(int) * 16)] = {};
  struct {
    void* name;
    uint32_t name_length;
    void* iov;
    size_t iov_count;
    void* control;
    size_t control_length;
    int flags;
  } message;

  MessageBuffer(void* data, size_t size)
      : iov{data, size}, message{nullptr, 0, &iov, 1, control, sizeof control, 0} {}
};

}  // namespace

long send_fds(Child& c, ChildMessageKind kind, const int* fds, int count) {
  ChildMessage data;
  data.kind = kind;
  MessageBuffer m(&data, sizeof data);
  auto* header = reinterpret_cast<cmsghdr*>(m.control);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * static_cast<size_t>(count));
  auto* slots = reinterpret_cast<int*>(CMSG_DATA(header));
  for (int i = 0; i < count; i++) slots[i] = fds[i];
  m.message.control_length = CMSG_SPACE(sizeof(int) * static_cast<size_t>(count));
  long r = sys(__NR_sendmsg, c.sync_fd, ptr(&m.message), MSG_NOSIGNAL);
  return r < 0 ? r : wait_answer(c);
}

int close_fd(int fd) { return static_cast<int>(sys(__NR_close, fd)); }

void close_fds(const int* fds, size_t count) {
  for (size_t i = 0; i < count;) {
    size_t end = i + 1;
    while (end < count && fds[end] == fds[end - 1] + 1) end++;
    sys(__NR_close_range, fds[i], fds[end - 1], 0);
    i = end;
  }
}

long stat_fd(int fd, struct statx* st) {
  return sys(__NR_statx, fd, ptr(""), AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_MNT_ID,
             ptr(st));
}

long open_in_root(Child& c, const char* path, uint64_t flags, uint64_t resolve) {
  open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve;
  long fd;
  int tries = 0;
  do {  // EAGAIN: a rename raced with "..": the kernel wants the walk done again
    fd = sys(__NR_openat2, c.root_fd, ptr(path), ptr(&how), sizeof how);
  } while (fd == -EAGAIN && ++tries < 128);
  return fd;
}

namespace {

// A path while it is resolved: `done` is relative to the root and free of symlinks, `todo` is what remains.
struct Walk {
  char done[4096] = {};
  char todo[4096] = {};
};

bool append(char (&to)[4096], const char* part) {
  size_t n = length(to), m = length(part);
  if (n + m + 2 > sizeof to) return false;
  if (n) to[n++] = '/';
  for (size_t i = 0; i <= m; i++) to[n + i] = part[i];
  return true;
}

// Takes the first component of todo into `component`; false when nothing is left.
bool next_component(Walk& w, char (&component)[256], long* error) {
  const char* p = w.todo;
  while (*p == '/') p++;
  if (!*p) return false;
  size_t n = 0;
  while (p[n] && p[n] != '/') {
    if (n >= 255) {
      *error = -ENAMETOOLONG;
      return false;
    }
    component[n] = p[n];
    n++;
  }
  component[n] = 0;
  p += n;
  size_t i = 0;
  while ((w.todo[i] = p[i])) i++;
  return true;
}

bool rest_is_empty(const Walk& w) {
  const char* p = w.todo;
  while (*p == '/') p++;
  return !*p;
}

long open_done(Child& c, const Walk& w, uint64_t flags) {
  return open_in_root(c, w.done[0] ? w.done : ".", flags, RESOLVE_NO_SYMLINKS);
}

// Puts a symlink's target before what remains.
long follow_link(Child& c, Walk& w, const char* component) {
  char target[4096];
  long dir = open_done(c, w, O_PATH | O_DIRECTORY);
  if (dir < 0) return dir;
  long n = sys(__NR_readlinkat, dir, ptr(component), ptr(target), sizeof target - 1);
  close_fd(static_cast<int>(dir));
  if (n < 0) return n;
  target[n] = 0;
  if (target[0] == '/') w.done[0] = 0;
  if (!append(target, w.todo)) return -ENAMETOOLONG;
  for (size_t i = 0; i < sizeof target; i++) w.todo[i] = target[i];
  return 0;
}

long make_component(Child& c, Walk& w, const char* component, bool file, uint32_t mode) {
  long dir = open_done(c, w, O_PATH | O_DIRECTORY);
  if (dir < 0) return dir;
  long r;
  if (file) {
    r = sys(__NR_openat, dir, ptr(component), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (r >= 0) r = close_fd(static_cast<int>(r));
  } else {
    r = sys(__NR_mkdirat, dir, ptr(component), mode);
  }
  close_fd(static_cast<int>(dir));
  return r == -EEXIST ? 0 : r;
}

// One component of ensure_in_root: exists -> taken; a symlink -> followed; missing -> made.
long walk_component(Child& c, Walk& w, const char* component, bool file, uint32_t mode, bool no_follow,
                    bool directory_only) {
  if (component[0] == '.' && !component[1]) return 0;
  if (component[0] == '.' && component[1] == '.' && !component[2]) {
    size_t n = length(w.done);
    while (n && w.done[n - 1] != '/') n--;
    w.done[n ? n - 1 : 0] = 0;
    return 0;
  }
  bool last = rest_is_empty(w);
  long dir = open_done(c, w, O_PATH | O_DIRECTORY);
  if (dir < 0) return dir;
  struct statx st = {};
  long r = sys(__NR_statx, dir, ptr(component), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, ptr(&st));
  close_fd(static_cast<int>(dir));
  if (r == -ENOENT) {
    r = make_component(c, w, component, last && file, mode);
  } else if (r == 0 && (st.stx_mode & S_IFMT) == S_IFLNK && !(last && no_follow)) {
    return directory_only ? -ENOTDIR : follow_link(c, w, component);
  }
  if (r < 0) return r;
  return append(w.done, component) ? 0 : -ENAMETOOLONG;
}

// The common case: only the last component is missing. -EEXIST or -ENOENT: not that simple (a dangling
// symlink, more is missing).
long make_last(Child& c, const char* path, bool file, uint32_t mode, uint64_t flags) {
  size_t cut = length(path);
  while (cut && path[cut - 1] != '/') cut--;
  const char* name = path + cut;
  if (cut < 2 || cut >= 4096 || !name[0] || (name[0] == '.' && (!name[1] || name[1] == '.'))) return -ENOENT;
  char parent[4096];
  for (size_t i = 0; i < cut; i++) parent[i] = path[i];
  parent[cut] = 0;
  long dir = open_in_root(c, parent, O_PATH | O_DIRECTORY);
  if (dir < 0) return dir;
  long fd;
  if (file) {
    fd = sys(__NR_openat, dir, ptr(name), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
  } else {
    fd = sys(__NR_mkdirat, dir, ptr(name), mode);
    if (fd == 0) fd = sys(__NR_openat, dir, ptr(name), flags | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
  }
  close_fd(static_cast<int>(dir));
  return fd;
}

}  // namespace

long ensure_in_root(Child& c, const char* path, bool file, uint32_t mode, bool no_follow,
                    bool directory_only) {
  uint64_t resolve = directory_only ? RESOLVE_NO_SYMLINKS : 0;
  uint64_t flags = O_PATH | (no_follow ? O_NOFOLLOW : 0);
  long fd = open_in_root(c, path, flags, resolve);
  if (fd != -ENOENT) {
    if (fd < 0 && directory_only)
      note(c, path, " must be mounted on ordinary directory: a symlink is in its path");
    else if (fd < 0)
      note(c, path);
    return fd;
  }
  fd = make_last(c, path, file, mode, flags);
  if (fd != -EEXIST && fd != -ENOENT && fd != -ENOTDIR) return fd;
  static Walk w;
  w.done[0] = 0;
  w.todo[0] = 0;
  if (!append(w.todo, path)) return -ENAMETOOLONG;
  char component[256];
  long error = 0;
  for (int steps = 0; next_component(w, component, &error); steps++) {
    if (steps > 1024) return -ELOOP;
    long r = walk_component(c, w, component, file, mode, no_follow, directory_only);
    if (r < 0) {
      note(c, "make ", path);
      return r;
    }
  }
  if (error) return error;
  return open_done(c, w, flags | O_NOFOLLOW);
}

namespace {

long set_namespace(Child& c, const Step& s) {
  if ((s.flags & runtime::kOnlyIfPending) && !(c.pending_ns & s.a)) return 0;
  long r = sys(__NR_setns, s.fd_a, static_cast<long>(s.a));
  if (r == -EPERM && (s.flags & runtime::kTolerateEperm)) {
    // The namespace belongs to the user namespace that is joined later: try again there.
    c.pending_ns |= s.a;
    return 0;
  }
  if (r == 0) c.pending_ns &= ~s.a;
  return r;
}

// The time namespace of the children becomes this process's own, so that everything created from here on
// agrees on the clocks.
long enter_time_namespace(Child& c, const Step& s) {
  long fd = sys(__NR_openat, s.fd_a, ptr("self/ns/time_for_children"), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    note(c, "open /proc/self/ns/time_for_children");
    return fd;
  }
  long r = sys(__NR_setns, fd, CLONE_NEWTIME);
  close_fd(static_cast<int>(fd));
  return r;
}

// Creates the process that goes on. It is a child of the runtime (CLONE_PARENT), so that the runtime reaps
// it; this process reports the pid, as it sees it, and ends.
long clone_stage(Child& c, const Step& s) {
  clone_args args = {};
  args.flags = s.a | CLONE_PARENT;
  long pid = sys(__NR_clone3, ptr(&args), sizeof args);
  if (pid <= 0) return pid;
  send(c, ChildMessageKind::kPid, 0, 0, static_cast<int32_t>(pid));
  sys(__NR_exit_group, 0);
  return 0;
}

long sync_parent(Child& c, const Step& s, uint32_t index) {
  send(c, ChildMessageKind::kSync, index, 0, static_cast<int32_t>(s.a));
  return wait_answer(c);
}

// The parent made (or is still making) the cgroup meanwhile; its answer carries the files of up to 16
// hierarchies.
long join_cgroup(Child& c, uint32_t index) {
  send(c, ChildMessageKind::kSync, index, 0, static_cast<int32_t>(SyncPoint::kCgroup));
  char byte = 0;
  MessageBuffer m(&byte, 1);
  long n;
  do {
    n = sys(__NR_recvmsg, c.sync_fd, ptr(&m.message), MSG_CMSG_CLOEXEC);
  } while (n == -EINTR);
  if (n != 1) sys(__NR_exit_group, 127);
  if (byte != 'K') return -ECANCELED;
  auto* header = reinterpret_cast<cmsghdr*>(m.control);
  if (m.message.control_length < sizeof(cmsghdr) || header->cmsg_type != SCM_RIGHTS) return 0;
  auto* fds = reinterpret_cast<int*>(CMSG_DATA(header));
  size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  long r = 0;
  // "0" is this process; a pid would make the kernel wait for a grace period (4-12 ms on an idle machine).
  for (size_t i = 0; i < count && r >= 0; i++) r = sys(__NR_write, fds[i], ptr("0"), 1);
  close_fds(fds, count);
  return r < 0 ? r : 0;
}

long identity_step(Child& c, const Step& s, uint32_t index) {
  switch (s.op) {
    case Op::kCloseRangeCloexec:
      return sys(__NR_close_range, static_cast<long>(s.a), ~0U, CLOSE_RANGE_CLOEXEC);
    case Op::kSetns:
      return set_namespace(c, s);
    case Op::kUnshare:
      return sys(__NR_unshare, static_cast<long>(s.a));
    case Op::kEnterTime:
      return enter_time_namespace(c, s);
    case Op::kClone:
      return clone_stage(c, s);
    case Op::kSetIds:
      return set_ids(s);
    case Op::kSetGroups:
      return sys(__NR_setgroups, static_cast<long>(s.a), s.a ? ptr(c.base + s.str) : 0);
    case Op::kKeepCaps:
      return sys(__NR_prctl, PR_SET_KEEPCAPS, static_cast<long>(s.a), 0, 0, 0);
    case Op::kDumpable:
      return sys(__NR_prctl, PR_SET_DUMPABLE, static_cast<long>(s.a), 0, 0, 0);
    case Op::kChdir:
      note(c, text(c, s.str));
      return sys(__NR_chdir, ptr(text(c, s.str)));
    case Op::kFchdir:
      return sys(__NR_fchdir, s.fd_a);
    case Op::kChrootHere:
      return sys(__NR_chroot, ptr("."));
    case Op::kJoinCgroup:
      return join_cgroup(c, index);
    case Op::kWriteFd:
      return sys(__NR_write, s.fd_a, ptr(text(c, s.str)), static_cast<long>(s.a));
    case Op::kSync:
      return sync_parent(c, s, index);
    case Op::kWriteProc:
      return write_proc(c, s);
    case Op::kSetHostname:
      return sys(__NR_sethostname, ptr(text(c, s.str)), static_cast<long>(s.a));
    case Op::kSetDomainname:
      return sys(__NR_setdomainname, ptr(text(c, s.str)), static_cast<long>(s.a));
    case Op::kLoopbackUp:
      return loopback_up();
    default:
      return -ENOSYS;
  }
}

long mount_step(Child& c, const Step& s) {
  switch (s.op) {
    case Op::kMakePropagation:
      return make_propagation(c, s);
    case Op::kAttachRoot:
      return attach_root(c, s);
    case Op::kMountNew:
      return mount_new(c, s);
    case Op::kMountBind:
      return mount_bind(c, s);
    case Op::kOpenDev:
      return open_dev(c);
    case Op::kDevice:
      return make_device(c, s);
    case Op::kSymlink:
      return make_symlink(c, s);
    case Op::kPtmx:
      return make_ptmx(c);
    case Op::kMask:
      return mask_path(c, s);
    case Op::kReadonly:
      return readonly_path(c, s);
    case Op::kRootAttr:
      return root_attr(c, s);
    case Op::kPathAttr:
      return path_attr(c, s);
    case Op::kPivot:
      return pivot(c, s);
    case Op::kRootPropagation:
      return make_propagation(c, s);
    case Op::kTouch: {
      long fd = ensure_in_root(c, text(c, s.str), true, 0755, true, false);
      return fd < 0 ? fd : close_fd(static_cast<int>(fd));
    }
    case Op::kMkdir: {
      long fd = ensure_in_root(c, text(c, s.str), false, static_cast<uint32_t>(s.a), false, false);
      return fd < 0 ? fd : close_fd(static_cast<int>(fd));
    }
    default:
      return -ENOSYS;
  }
}

long process_step(Child& c, const Step& s, uint32_t index) {
  switch (s.op) {
    case Op::kSetsid:
      return sys(__NR_setsid);
    case Op::kConsole:
      return console(c, s);
    case Op::kKeyring: {
      constexpr long kJoinSessionKeyring = 1;
      long r = sys(__NR_keyctl, kJoinSessionKeyring, ptr(text(c, s.str)));
      // No keyrings in this kernel, or a quota of zero: the container then has none of the host's either way.
      return r == -ENOSYS || r == -EDQUOT ? 0 : r;
    }
    case Op::kFixStdio:
      return fix_stdio(s);
    case Op::kRlimit:
      return set_rlimit(c, s, index);
    case Op::kSchedAttr:
      return sys(__NR_sched_setattr, 0, ptr(c.base + s.str), 0);
    case Op::kIoPriority:
      return sys(__NR_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, static_cast<long>(s.a));
    case Op::kMemoryPolicy:
      return sys(__NR_set_mempolicy, static_cast<long>(s.a), s.str ? ptr(c.base + s.str) : 0,
                 static_cast<long>(s.b));
    case Op::kAffinity:
      return sys(__NR_sched_setaffinity, 0, static_cast<long>(s.a), ptr(c.base + s.str));
    case Op::kPersonality:
      return sys(__NR_personality, static_cast<long>(s.a));
    case Op::kUmask:
      sys(__NR_umask, static_cast<long>(s.a));
      return 0;
    case Op::kCapBound:
      return bound_caps(c, s);
    case Op::kCapSet:
      return set_caps(c, s);
    case Op::kCapAmbient:
      return ambient_caps(c, s);
    case Op::kNoNewPrivs:
      return sys(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    case Op::kSeccomp:
      return load_seccomp(c, s);
    case Op::kCwd:
      return set_cwd(c, s);
    case Op::kHome:
      return find_home(c, s);
    case Op::kFindExec:
      return find_exec(c);
    case Op::kReady:
      send(c, ChildMessageKind::kReady, index, 0, 0);
      return 0;
    case Op::kWaitStart:
      return wait_start(c, s);
    case Op::kExec:
      return exec_program(c);
    default:
      return -ENOSYS;
  }
}

long run_step(Child& c, const Step& s, uint32_t index) {
  if (s.op == Op::kNop) return 0;
  if (s.op < Op::kMakePropagation) return identity_step(c, s, index);
  if (s.op < Op::kSetsid) return mount_step(c, s);
  return process_step(c, s, index);
}

long parse_number(const char* s) {
  long value = 0;
  for (; *s >= '0' && *s <= '9'; s++) value = value * 10 + (*s - '0');
  return value;
}

bool map_plan(Child& c, int fd) {
  PlanHeader header;
  if (sys(__NR_pread64, fd, ptr(&header), sizeof header, 0) != sizeof header) return false;
  if (header.magic != runtime::kPlanMagic || header.version != runtime::kPlanVersion) return false;
  long base = sys(__NR_mmap, 0, header.size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  if (base < 0 && base > -4096) return false;
  close_fd(fd);
  c.base = reinterpret_cast<uint8_t*>(base);
  c.header = reinterpret_cast<PlanHeader*>(base);
  // Offsets become pointers, in place.
  auto relocate = [&](uint32_t array, uint32_t count) {
    auto* slots = reinterpret_cast<uint64_t*>(c.base + array);
    for (uint32_t i = 0; i < count; i++)
      if (slots[i]) slots[i] += static_cast<uint64_t>(base);
  };
  relocate(c.header->argv, c.header->argc);
  relocate(c.header->envp, c.header->envc);
  relocate(c.header->candidates, c.header->candidate_count);
  return true;
}

}  // namespace
}  // namespace onggi::child

extern "C" [[noreturn, gnu::used]] void onggi_child_main(long* stack) {
  using namespace onggi::child;
  static Child c;
  c.root_fd = c.dev_fd = c.cgroup_fd = c.null_fd = c.empty_fd = c.sync_fd = c.report_fd = -1;
  auto** argv = reinterpret_cast<char**>(stack + 1);
  if (stack[0] < 3) sys(__NR_exit_group, 125);
  c.sync_fd = c.report_fd = static_cast<int>(parse_number(argv[2]));
  sys(__NR_prctl, PR_SET_NAME, ptr("onggi-init"), 0, 0, 0);
  if (!map_plan(c, static_cast<int>(parse_number(argv[1])))) {
    send(c, ChildMessageKind::kFailed, 0, EINVAL, 0);
    sys(__NR_exit_group, 125);
  }
  auto* steps = reinterpret_cast<Step*>(c.base + c.header->steps);
  for (uint32_t i = 0; i < c.header->step_count; i++) {
    long r = run_step(c, steps[i], i);
    if (r < 0) {
      send(c, ChildMessageKind::kFailed, i, static_cast<int32_t>(-r), 0);
      sys(__NR_exit_group, 127);
    }
    c.detail[0] = 0;
  }
  for (;;) sys(__NR_exit_group, 126);
}

#if defined(__x86_64__)
asm(".global onggi_child_start\nonggi_child_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call "
    "onggi_child_main\n");
#else
asm(".global onggi_child_start\nonggi_child_start:\n mov x29, #0\n mov x0, sp\n bl onggi_child_main\n");
#endif
