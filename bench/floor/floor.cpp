// onggi-bench-floor: the least work that makes, runs and removes a container like the one of `runc spec`. A
// yardstick, not a runtime.
//
//   onggi-bench-floor ROOTFS FILTER ID STATE_DIR MEMORY_LIMIT|- PROGRAM [ARG]...
//
// It does what a runtime has to do for the default configuration, each thing once, and nothing else: pid,
// network, ipc, uts, mount and cgroup namespaces; a cgroup in every v1 hierarchy (or one on v2) with the
// device rules; /proc, /dev with six devices and six links, /dev/pts, /dev/shm, /dev/mqueue, /sys, the cgroup
// mounts; masked and read-only paths; pivot_root; hostname; one rlimit; eleven capabilities; no_new_privs; a
// seccomp filter read from FILTER (raw struct sock_filter); a state file; exec; wait; removal. No
// configuration is read. Any failure ends it with the line number: numbers of a run that did less would be
// worthless.
//
// The child runs on a stack of its own in the parent's memory (CLONE_VM), so it may not return, allocate or
// use errno.
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace {

constexpr long kRec = 16384, kPrivate = 1L << 18;  // mount(2): MS_REC, MS_PRIVATE
constexpr unsigned kRo = 1, kNosuid = 2, kNodev = 4, kNoexec = 8, kStrict = 0x20;  // MOUNT_ATTR_*
constexpr int kRecursive = 0x8000, kEmptyPath = 0x1000;  // AT_RECURSIVE, AT_EMPTY_PATH
constexpr uint32_t kCapabilities = 1u << 0 | 1u << 1 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 |
                                   1u << 8 | 1u << 10 | 1u << 18 | 1u << 31;
constexpr int kLastCapability = 40;

// Raw system call: result or -errno. errno belongs to the parent while the child shares its memory.
long sys(long n, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  long r;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  asm volatile("syscall"
               : "=a"(r)
               : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
               : "rcx", "r11", "memory");
  return r;
}
long ptr(const void* p) { return reinterpret_cast<long>(p); }

int failed_line;
long failed_errno;
[[noreturn]] void give_up(int line, long error) {
  failed_line = line;
  failed_errno = error;
  // The child (pid 1 of its namespace) leaves the words to the parent, which reads the same memory.
  if (sys(SYS_getpid) != 1)
    fprintf(stderr, "onggi-bench-floor: line %d: %s\n", line, strerror(static_cast<int>(error)));
  for (;;) sys(SYS_exit_group, 99);
}
#define MUST(call)                                        \
  ({                                                      \
    const long must_result = (call);                      \
    if (must_result < 0) give_up(__LINE__, -must_result); \
    must_result;                                          \
  })

struct Options {
  const char* rootfs;
  const char* id;
  const char* state_dir;
  const char* memory_limit;  // or nullptr
  char* const* program;
  sock_fprog filter;
};
Options options;

// --- cgroups
// -----------------------------------------------------------------------------------------------------------------

struct Hierarchy {
  const char* name;  // directory below /sys/fs/cgroup and (but for systemd) mount option
  bool present;
  int join_fd;  // v1: tasks; v2: the directory, for CLONE_INTO_CGROUP
};
// The order of use: cheap ones first, so that a failure shows early. "" is the v2 tree itself.
Hierarchy hierarchies[] = {{"cpu", false, -1},    {"cpuacct", false, -1}, {"cpuset", false, -1},
                           {"memory", false, -1}, {"devices", false, -1}, {"freezer", false, -1},
                           {"blkio", false, -1},  {"pids", false, -1},    {"systemd", false, -1}};
Hierarchy unified = {"", false, -1};

// What the default configuration allows: mknod of anything, and use of the default devices and terminals.
struct DeviceRule {
  const char* text;
  uint8_t type;  // BPF_DEVCG_DEV_*, 0: any
  int major, minor;
  uint8_t access;
};
constexpr uint8_t kMknod = BPF_DEVCG_ACC_MKNOD,
                  kAll = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;
constexpr DeviceRule kDeviceRules[] = {
    {"c *:* m", BPF_DEVCG_DEV_CHAR, -1, -1, kMknod},    {"b *:* m", BPF_DEVCG_DEV_BLOCK, -1, -1, kMknod},
    {"c 1:3 rwm", BPF_DEVCG_DEV_CHAR, 1, 3, kAll},      {"c 1:8 rwm", BPF_DEVCG_DEV_CHAR, 1, 8, kAll},
    {"c 1:7 rwm", BPF_DEVCG_DEV_CHAR, 1, 7, kAll},      {"c 5:0 rwm", BPF_DEVCG_DEV_CHAR, 5, 0, kAll},
    {"c 1:5 rwm", BPF_DEVCG_DEV_CHAR, 1, 5, kAll},      {"c 1:9 rwm", BPF_DEVCG_DEV_CHAR, 1, 9, kAll},
    {"c 136:* rwm", BPF_DEVCG_DEV_CHAR, 136, -1, kAll}, {"c 5:2 rwm", BPF_DEVCG_DEV_CHAR, 5, 2, kAll}};

// "/sys/fs/cgroup/<hierarchy>/<id>[/<file>]"
struct CgroupPath {
  char text[256];
  CgroupPath(const Hierarchy& h, const char* file) {
    snprintf(text, sizeof text, "/sys/fs/cgroup/%s%s%s%s%s", h.name, *h.name ? "/" : "", options.id,
             *file ? "/" : "", file);
  }
};

void write_file(const char* path, const char* value) {
  const long fd = MUST(sys(SYS_open, ptr(path), O_WRONLY | O_CLOEXEC));
  MUST(sys(SYS_write, fd, ptr(value), static_cast<long>(strlen(value))));
  sys(SYS_close, fd);
}

void inherit_cpuset(const Hierarchy& h) {
  for (const char* name : {"cpuset.cpus", "cpuset.mems"}) {
    char from[64], value[64];
    snprintf(from, sizeof from, "/sys/fs/cgroup/cpuset/%s", name);
    const long fd = MUST(sys(SYS_open, ptr(from), O_RDONLY | O_CLOEXEC));
    const long n = MUST(sys(SYS_read, fd, ptr(value), sizeof value - 1));
    sys(SYS_close, fd);
    value[n] = 0;
    write_file(CgroupPath(h, name).text, value);
  }
}

void device_rules_v1(const Hierarchy& h) {
  write_file(CgroupPath(h, "devices.deny").text, "a");
  const long fd = MUST(sys(SYS_open, ptr(CgroupPath(h, "devices.allow").text), O_WRONLY | O_CLOEXEC));
  for (const DeviceRule& rule : kDeviceRules)
    MUST(sys(SYS_write, fd, ptr(rule.text), static_cast<long>(strlen(rule.text))));
  sys(SYS_close, fd);
}

// The same rules as a program: r2 type, r3 access, r4 major, r5 minor; allowed when a rule matches and covers
// the access.
void device_rules_v2(int directory) {
  bpf_insn code[128];
  int n = 0;
  auto add = [&](uint8_t op, uint8_t dst, uint8_t src, int16_t off, int32_t imm) {
    code[n++] = bpf_insn{op, dst, src, off, imm};
  };
  add(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0);
  add(BPF_ALU64 | BPF_MOV | BPF_X, 3, 2, 0, 0);
  add(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
  add(BPF_ALU64 | BPF_RSH | BPF_K, 3, 0, 0, 16);
  add(BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0);
  add(BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0);
  for (const DeviceRule& rule : kDeviceRules) {
    const int length = 4 + (rule.major >= 0) + (rule.minor >= 0);
    int left = length;
    add(BPF_JMP | BPF_JNE | BPF_K, 2, 0, static_cast<int16_t>(--left), rule.type);
    if (rule.major >= 0) add(BPF_JMP | BPF_JNE | BPF_K, 4, 0, static_cast<int16_t>(--left), rule.major);
    if (rule.minor >= 0) add(BPF_JMP | BPF_JNE | BPF_K, 5, 0, static_cast<int16_t>(--left), rule.minor);
    add(BPF_JMP | BPF_JSET | BPF_K, 3, 0, static_cast<int16_t>(left - 1), ~rule.access & 7);
    add(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
    add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  }
  add(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
  add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  bpf_attr attr = {};
  attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attr.insns = reinterpret_cast<uint64_t>(code);
  attr.insn_cnt = static_cast<uint32_t>(n);
  attr.license = reinterpret_cast<uint64_t>("Apache-2.0");
  const long program = MUST(sys(SYS_bpf, BPF_PROG_LOAD, ptr(&attr), sizeof attr));
  bpf_attr attach = {};
  attach.target_fd = static_cast<uint32_t>(directory);
  attach.attach_bpf_fd = static_cast<uint32_t>(program);
  attach.attach_type = BPF_CGROUP_DEVICE;
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  MUST(sys(SYS_bpf, BPF_PROG_ATTACH, ptr(&attach), sizeof attach));
  sys(SYS_close, program);
}

void make_cgroups() {
  struct statfs fs = {};
  MUST(sys(SYS_statfs, ptr("/sys/fs/cgroup"), ptr(&fs)));
  if (fs.f_type == 0x63677270) {  // CGROUP2_SUPER_MAGIC
    unified.present = true;
    MUST(sys(SYS_mkdir, ptr(CgroupPath(unified, "").text), 0755));
    if (options.memory_limit) write_file(CgroupPath(unified, "memory.max").text, options.memory_limit);
    unified.join_fd = static_cast<int>(
        MUST(sys(SYS_open, ptr(CgroupPath(unified, "").text), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    device_rules_v2(unified.join_fd);
    return;
  }
  for (Hierarchy& h : hierarchies) {
    const long made = sys(SYS_mkdir, ptr(CgroupPath(h, "").text), 0755);
    if (made == -ENOENT) continue;  // not mounted here
    MUST(made);
    h.present = true;
    if (strcmp(h.name, "cpuset") == 0) inherit_cpuset(h);
    if (strcmp(h.name, "devices") == 0) device_rules_v1(h);
    if (strcmp(h.name, "memory") == 0 && options.memory_limit)
      write_file(CgroupPath(h, "memory.limit_in_bytes").text, options.memory_limit);
    // "0" into tasks joins the writer alone, without the RCU wait that a pid in cgroup.procs can cost.
    h.join_fd = static_cast<int>(MUST(sys(SYS_open, ptr(CgroupPath(h, "tasks").text), O_WRONLY | O_CLOEXEC)));
  }
}

void remove_cgroups() {
  if (unified.present) MUST(sys(SYS_rmdir, ptr(CgroupPath(unified, "").text)));
  for (Hierarchy& h : hierarchies) {
    if (h.present) MUST(sys(SYS_rmdir, ptr(CgroupPath(h, "").text)));
  }
}

// --- the child: mounts
// -------------------------------------------------------------------------------------------------------

struct KeyValue {
  const char* key;
  const char* value;  // nullptr: a flag
};

void mount_new(const char* type, const char* source, long at, const char* where, unsigned attributes,
               std::initializer_list<KeyValue> data = {}) {
  const long fs = MUST(sys(SYS_fsopen, ptr(type), FSOPEN_CLOEXEC));
  MUST(sys(SYS_fsconfig, fs, FSCONFIG_SET_STRING, ptr("source"), ptr(source), 0));
  for (const KeyValue& kv : data) {
    MUST(sys(SYS_fsconfig, fs, kv.value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, ptr(kv.key), ptr(kv.value),
             0));
  }
  MUST(sys(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE));
  const long mount = MUST(sys(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes));
  MUST(sys(SYS_move_mount, mount, ptr(""), at, ptr(where), MOVE_MOUNT_F_EMPTY_PATH));
  sys(SYS_close, mount);
  sys(SYS_close, fs);
}

void set_readonly(long fd, int flags = 0) {
  const mount_attr attr = {kRo, 0, 0, 0};
  MUST(sys(SYS_mount_setattr, fd, ptr(""), kEmptyPath | flags, ptr(&attr), sizeof attr));
}

void mount_cgroups(long root) {
  if (unified.present)
    return mount_new("cgroup2", "cgroup", root, "sys/fs/cgroup", kRo | kNosuid | kNodev | kNoexec);
  mount_new("tmpfs", "cgroup", root, "sys/fs/cgroup", kNosuid | kNodev | kNoexec,
            {{"mode", "755"}, {"size", "1024k"}});
  const long top = MUST(sys(SYS_openat, root, ptr("sys/fs/cgroup"), O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (const Hierarchy& h : hierarchies) {
    if (!h.present) continue;
    MUST(sys(SYS_mkdirat, top, ptr(h.name), 0755));
    const KeyValue option =
        strcmp(h.name, "systemd") == 0 ? KeyValue{"name", "systemd"} : KeyValue{h.name, nullptr};
    mount_new("cgroup", "cgroup", top, h.name, kRo | kNosuid | kNodev | kNoexec, {option});
  }
  set_readonly(top);
  sys(SYS_close, top);
}

void fill_dev(long dev) {
  struct Node {
    const char* name;
    unsigned major, minor;
  };
  constexpr Node kNodes[] = {{"null", 1, 3}, {"zero", 1, 5},   {"full", 1, 7},
                             {"tty", 5, 0},  {"random", 1, 8}, {"urandom", 1, 9}};
  sys(SYS_umask, 0);
  for (const Node& node : kNodes)
    MUST(sys(SYS_mknodat, dev, ptr(node.name), S_IFCHR | 0666,
             static_cast<long>(makedev(node.major, node.minor))));
  sys(SYS_umask, 022);
  constexpr const char* kLinks[][2] = {{"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"},
                                       {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
                                       {"/proc/kcore", "core"},       {"pts/ptmx", "ptmx"}};
  for (const auto& link : kLinks) MUST(sys(SYS_symlinkat, ptr(link[0]), dev, ptr(link[1])));
}

void mount_default(long root) {
  mount_new("proc", "proc", root, "proc", 0);
  mount_new("tmpfs", "tmpfs", root, "dev", kNosuid | kStrict, {{"mode", "755"}, {"size", "65536k"}});
  const long dev = MUST(sys(SYS_openat, root, ptr("dev"), O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (const char* name : {"pts", "shm", "mqueue"}) MUST(sys(SYS_mkdirat, dev, ptr(name), 0755));
  mount_new("devpts", "devpts", dev, "pts", kNosuid | kNoexec,
            {{"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}});
  mount_new("tmpfs", "shm", dev, "shm", kNosuid | kNodev | kNoexec, {{"mode", "1777"}, {"size", "65536k"}});
  mount_new("mqueue", "mqueue", dev, "mqueue", kNosuid | kNodev | kNoexec);
  mount_new("sysfs", "sysfs", root, "sys", kRo | kNosuid | kNodev | kNoexec);
  mount_cgroups(root);
  fill_dev(dev);
  sys(SYS_close, dev);
}

void mask_paths(long root) {
  constexpr const char* kMasked[] = {
      "proc/acpi",       "proc/asound",      "proc/kcore",       "proc/keys",    "proc/latency_stats",
      "proc/timer_list", "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi"};
  constexpr const char* kReadonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
  for (const char* path : kMasked) {
    const long at = sys(SYS_openat, root, ptr(path), O_PATH | O_CLOEXEC | O_NOFOLLOW);
    if (at == -ENOENT) continue;
    MUST(at);
    struct stat st = {};
    MUST(sys(SYS_newfstatat, at, ptr(""), ptr(&st), kEmptyPath));
    long cover;
    if (S_ISDIR(st.st_mode)) {
      // One each: kernels before 6.15 refuse to clone a mount that is not attached yet.
      const long fs = MUST(sys(SYS_fsopen, ptr("tmpfs"), FSOPEN_CLOEXEC));
      MUST(sys(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE));
      cover = MUST(sys(SYS_fsmount, fs, FSMOUNT_CLOEXEC, kRo | kNosuid | kNodev | kNoexec));
      sys(SYS_close, fs);
    } else {
      cover = MUST(sys(SYS_open_tree, root, ptr("dev/null"), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
      set_readonly(cover);
    }
    MUST(sys(SYS_move_mount, cover, ptr(""), at, ptr(""), MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
    sys(SYS_close, cover);
    sys(SYS_close, at);
  }
  for (const char* path : kReadonly) {
    const long tree = sys(SYS_open_tree, root, ptr(path), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | kRecursive);
    if (tree == -ENOENT) continue;
    MUST(tree);
    set_readonly(tree, kRecursive);
    MUST(sys(SYS_move_mount, tree, ptr(""), root, ptr(path), MOVE_MOUNT_F_EMPTY_PATH));
    sys(SYS_close, tree);
  }
}

// --- the child: identity and program
// -------------------------------------------------------------------------------------------

void confine() {
  constexpr rlimit kFiles = {1024, 1024};
  MUST(sys(SYS_prlimit64, 0, RLIMIT_NOFILE, ptr(&kFiles), 0));
  for (int c = 0; c <= kLastCapability; c++) {
    if (c > 31 || !(kCapabilities >> c & 1)) MUST(sys(SYS_prctl, PR_CAPBSET_DROP, c));
  }
  MUST(sys(SYS_setgroups, 0, 0));
  MUST(sys(SYS_setresgid, 0, 0, 0));
  MUST(sys(SYS_setresuid, 0, 0, 0));
  struct {
    uint32_t version;
    int pid;
  } header = {0x20080522, 0};
  const uint32_t sets[6] = {kCapabilities, kCapabilities, 0, 0, 0, 0};
  MUST(sys(SYS_capset, ptr(&header), ptr(sets)));
  MUST(sys(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1));
  MUST(sys(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */));
  MUST(sys(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, ptr(&options.filter)));
}

[[noreturn]] void child() {
  for (const Hierarchy& h : hierarchies) {
    if (h.present) MUST(sys(SYS_write, h.join_fd, ptr("0"), 1));
  }
  MUST(sys(SYS_unshare, CLONE_NEWCGROUP));
  MUST(sys(SYS_mount, 0, ptr("/"), 0, kRec | kPrivate));
  const long root = MUST(
      sys(SYS_open_tree, AT_FDCWD, ptr(options.rootfs), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | kRecursive));
  MUST(sys(SYS_move_mount, root, ptr(""), AT_FDCWD, ptr(options.rootfs), MOVE_MOUNT_F_EMPTY_PATH));
  mount_default(root);
  mask_paths(root);
  set_readonly(root);
  MUST(sys(SYS_fchdir, root));
  MUST(sys(SYS_pivot_root, ptr("."), ptr(".")));
  MUST(sys(SYS_umount2, ptr("."), 2 /* MNT_DETACH */));
  MUST(sys(SYS_chdir, ptr("/")));
  MUST(sys(SYS_sethostname, ptr("floor"), 5));
  MUST(sys(SYS_setsid));
  confine();
  static const char* environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                      "TERM=xterm", nullptr};
  give_up(__LINE__, -sys(SYS_execve, ptr(options.program[0]), ptr(options.program), ptr(environment)));
}

// --- the parent
// -----------------------------------------------------------------------------------------------------------------

alignas(64) char child_stack[65536];

// clone3 with a stack of its own; the child starts in child() and never returns here.
long spawn(int* pidfd) {
  clone_args args = {};
  args.flags =
      CLONE_PIDFD | CLONE_VM | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS;
  args.pidfd = reinterpret_cast<uint64_t>(pidfd);
  args.exit_signal = SIGCHLD;
  args.stack = reinterpret_cast<uint64_t>(child_stack);
  args.stack_size = sizeof child_stack;
  if (unified.present) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(unified.join_fd);
  }
  long r;
  asm volatile(
      "syscall\n\t"
      "test %%eax, %%eax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "call *%3\n"
      "1:"
      : "=a"(r)
      : "a"(static_cast<long>(SYS_clone3)), "D"(&args), "r"(child), "S"(sizeof args)
      : "rcx", "r11", "memory");
  return r;
}

void read_filter(const char* path) {
  static sock_filter code[BPF_MAXINSNS];
  const long fd = MUST(sys(SYS_open, ptr(path), O_RDONLY | O_CLOEXEC));
  const long n = MUST(sys(SYS_read, fd, ptr(code), sizeof code));
  sys(SYS_close, fd);
  options.filter = {static_cast<unsigned short>(n / sizeof code[0]), code};
}

int run() {
  char state[256], record[256];
  snprintf(state, sizeof state, "%s/%s", options.state_dir, options.id);
  MUST(sys(SYS_mkdir, ptr(state), 0700));
  make_cgroups();
  int pidfd = -1;
  const long pid = MUST(spawn(&pidfd));
  const int length = snprintf(record, sizeof record, "{\"id\":\"%s\",\"pid\":%ld,\"bundle\":\"%s\"}",
                              options.id, pid, options.rootfs);
  strncat(state, "/state.json", sizeof state - strlen(state) - 1);
  const long file = MUST(sys(SYS_open, ptr(state), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
  MUST(sys(SYS_write, file, ptr(record), length));
  sys(SYS_close, file);
  siginfo_t info = {};
  MUST(sys(SYS_waitid, P_PIDFD, pidfd, ptr(&info), WEXITED, 0));
  remove_cgroups();
  MUST(sys(SYS_unlink, ptr(state)));
  state[strlen(state) - strlen("/state.json")] = 0;
  MUST(sys(SYS_rmdir, ptr(state)));
  if (info.si_code == CLD_EXITED && info.si_status == 99 && failed_line) return 99;
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 7) {
    fprintf(stderr, "usage: onggi-bench-floor ROOTFS FILTER ID STATE_DIR MEMORY_LIMIT|- PROGRAM [ARG]...\n");
    return 2;
  }
  options.rootfs = argv[1];
  options.id = argv[3];
  options.state_dir = argv[4];
  options.memory_limit = strcmp(argv[5], "-") == 0 ? nullptr : argv[5];
  options.program = argv + 6;
  read_filter(argv[2]);
  const int code = run();
  if (failed_line)
    fprintf(stderr, "onggi-bench-floor: line %d: %s\n", failed_line,
            strerror(static_cast<int>(failed_errno)));
  return code;
}
