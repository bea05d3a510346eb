#include "policy/container_profile.h"

#include <cerrno>
#include <string_view>

namespace onggi::policy {

namespace {

// Files, memory, processes, time, sockets: what programs of every language use. Nothing here reaches beyond
// the caller's own namespaces.
constexpr std::string_view kAllowed[] = {"_llseek",
                                         "_newselect",
                                         "accept",
                                         "accept4",
                                         "access",
                                         "alarm",
                                         "arch_prctl",
                                         "bind",
                                         "brk",
                                         "cachestat",
                                         "capget",
                                         "capset",
                                         "chdir",
                                         "chmod",
                                         "chown",
                                         "chown32",
                                         "clock_getres",
                                         "clock_getres_time64",
                                         "clock_gettime",
                                         "clock_gettime64",
                                         "clock_nanosleep",
                                         "clock_nanosleep_time64",
                                         "close",
                                         "close_range",
                                         "connect",
                                         "copy_file_range",
                                         "creat",
                                         "dup",
                                         "dup2",
                                         "dup3",
                                         "epoll_create",
                                         "epoll_create1",
                                         "epoll_ctl",
                                         "epoll_ctl_old",
                                         "epoll_pwait",
                                         "epoll_pwait2",
                                         "epoll_wait",
                                         "epoll_wait_old",
                                         "eventfd",
                                         "eventfd2",
                                         "execve",
                                         "execveat",
                                         "exit",
                                         "exit_group",
                                         "faccessat",
                                         "faccessat2",
                                         "fadvise64",
                                         "fadvise64_64",
                                         "fallocate",
                                         "fanotify_mark",
                                         "fchdir",
                                         "fchmod",
                                         "fchmodat",
                                         "fchmodat2",
                                         "fchown",
                                         "fchown32",
                                         "fchownat",
                                         "fcntl",
                                         "fcntl64",
                                         "fdatasync",
                                         "fgetxattr",
                                         "flistxattr",
                                         "flock",
                                         "fork",
                                         "fremovexattr",
                                         "fsetxattr",
                                         "fstat",
                                         "fstat64",
                                         "fstatat64",
                                         "fstatfs",
                                         "fstatfs64",
                                         "fsync",
                                         "ftruncate",
                                         "ftruncate64",
                                         "futex",
                                         "futex_requeue",
                                         "futex_time64",
                                         "futex_wait",
                                         "futex_waitv",
                                         "futex_wake",
                                         "futimesat",
                                         "get_mempolicy",
                                         "get_robust_list",
                                         "get_thread_area",
                                         "getcpu",
                                         "getcwd",
                                         "getdents",
                                         "getdents64",
                                         "getegid",
                                         "getegid32",
                                         "geteuid",
                                         "geteuid32",
                                         "getgid",
                                         "getgid32",
                                         "getgroups",
                                         "getgroups32",
                                         "getitimer",
                                         "getpeername",
                                         "getpgid",
                                         "getpgrp",
                                         "getpid",
                                         "getppid",
                                         "getpriority",
                                         "getrandom",
                                         "getresgid",
                                         "getresgid32",
                                         "getresuid",
                                         "getresuid32",
                                         "getrlimit",
                                         "getrusage",
                                         "getsid",
                                         "getsockname",
                                         "getsockopt",
                                         "gettid",
                                         "gettimeofday",
                                         "getuid",
                                         "getuid32",
                                         "getxattr",
                                         "getxattrat",
                                         "inotify_add_watch",
                                         "inotify_init",
                                         "inotify_init1",
                                         "inotify_rm_watch",
                                         "io_cancel",
                                         "io_destroy",
                                         "io_getevents",
                                         "io_pgetevents",
                                         "io_pgetevents_time64",
                                         "io_setup",
                                         "io_submit",
                                         "ioprio_get",
                                         "ioprio_set",
                                         "ipc",
                                         "kill",
                                         "landlock_add_rule",
                                         "landlock_create_ruleset",
                                         "landlock_restrict_self",
                                         "lchown",
                                         "lchown32",
                                         "lgetxattr",
                                         "link",
                                         "linkat",
                                         "listen",
                                         "listmount",
                                         "listxattr",
                                         "listxattrat",
                                         "llistxattr",
                                         "lremovexattr",
                                         "lseek",
                                         "lsetxattr",
                                         "lstat",
                                         "lstat64",
                                         "madvise",
                                         "map_shadow_stack",
                                         "membarrier",
                                         "memfd_create",
                                         "memfd_secret",
                                         "mincore",
                                         "mkdir",
                                         "mkdirat",
                                         "mknod",
                                         "mknodat",
                                         "mlock",
                                         "mlock2",
                                         "mlockall",
                                         "mmap",
                                         "mmap2",
                                         "mprotect",
                                         "mq_getsetattr",
                                         "mq_notify",
                                         "mq_open",
                                         "mq_timedreceive",
                                         "mq_timedreceive_time64",
                                         "mq_timedsend",
                                         "mq_timedsend_time64",
                                         "mq_unlink",
                                         "mremap",
                                         "mseal",
                                         "msgctl",
                                         "msgget",
                                         "msgrcv",
                                         "msgsnd",
                                         "msync",
                                         "munlock",
                                         "munlockall",
                                         "munmap",
                                         "name_to_handle_at",
                                         "nanosleep",
                                         "newfstatat",
                                         "open",
                                         "openat",
                                         "openat2",
                                         "pause",
                                         "pidfd_getfd",
                                         "pidfd_open",
                                         "pidfd_send_signal",
                                         "pipe",
                                         "pipe2",
                                         "pkey_alloc",
                                         "pkey_free",
                                         "pkey_mprotect",
                                         "poll",
                                         "ppoll",
                                         "ppoll_time64",
                                         "prctl",
                                         "pread64",
                                         "preadv",
                                         "preadv2",
                                         "prlimit64",
                                         "process_madvise",
                                         "process_mrelease",
                                         "pselect6",
                                         "pselect6_time64",
                                         "ptrace",
                                         "process_vm_readv",
                                         "process_vm_writev",
                                         "pwrite64",
                                         "pwritev",
                                         "pwritev2",
                                         "read",
                                         "readahead",
                                         "readlink",
                                         "readlinkat",
                                         "readv",
                                         "recv",
                                         "recvfrom",
                                         "recvmmsg",
                                         "recvmmsg_time64",
                                         "recvmsg",
                                         "remap_file_pages",
                                         "removexattr",
                                         "removexattrat",
                                         "rename",
                                         "renameat",
                                         "renameat2",
                                         "restart_syscall",
                                         "riscv_hwprobe",
                                         "rmdir",
                                         "rseq",
                                         "rt_sigaction",
                                         "rt_sigpending",
                                         "rt_sigprocmask",
                                         "rt_sigqueueinfo",
                                         "rt_sigreturn",
                                         "rt_sigsuspend",
                                         "rt_sigtimedwait",
                                         "rt_sigtimedwait_time64",
                                         "rt_tgsigqueueinfo",
                                         "sched_get_priority_max",
                                         "sched_get_priority_min",
                                         "sched_getaffinity",
                                         "sched_getattr",
                                         "sched_getparam",
                                         "sched_getscheduler",
                                         "sched_rr_get_interval",
                                         "sched_rr_get_interval_time64",
                                         "sched_setaffinity",
                                         "sched_setattr",
                                         "sched_setparam",
                                         "sched_setscheduler",
                                         "sched_yield",
                                         "seccomp",
                                         "select",
                                         "semctl",
                                         "semget",
                                         "semop",
                                         "semtimedop",
                                         "semtimedop_time64",
                                         "send",
                                         "sendfile",
                                         "sendfile64",
                                         "sendmmsg",
                                         "sendmsg",
                                         "sendto",
                                         "set_robust_list",
                                         "set_thread_area",
                                         "set_tid_address",
                                         "setfsgid",
                                         "setfsgid32",
                                         "setfsuid",
                                         "setfsuid32",
                                         "setgid",
                                         "setgid32",
                                         "setgroups",
                                         "setgroups32",
                                         "setitimer",
                                         "setpgid",
                                         "setpriority",
                                         "setregid",
                                         "setregid32",
                                         "setresgid",
                                         "setresgid32",
                                         "setresuid",
                                         "setresuid32",
                                         "setreuid",
                                         "setreuid32",
                                         "setrlimit",
                                         "setsid",
                                         "setuid",
                                         "setuid32",
                                         "setxattr",
                                         "setxattrat",
                                         "shmat",
                                         "shmctl",
                                         "shmdt",
                                         "shmget",
                                         "shutdown",
                                         "sigaltstack",
                                         "signalfd",
                                         "signalfd4",
                                         "sigprocmask",
                                         "sigreturn",
                                         "socketpair",
                                         "splice",
                                         "stat",
                                         "stat64",
                                         "statfs",
                                         "statfs64",
                                         "statmount",
                                         "statx",
                                         "symlink",
                                         "symlinkat",
                                         "sync",
                                         "sync_file_range",
                                         "syncfs",
                                         "sysinfo",
                                         "tee",
                                         "tgkill",
                                         "time",
                                         "timer_create",
                                         "timer_delete",
                                         "timer_getoverrun",
                                         "timer_gettime",
                                         "timer_gettime64",
                                         "timer_settime",
                                         "timer_settime64",
                                         "timerfd_create",
                                         "timerfd_gettime",
                                         "timerfd_gettime64",
                                         "timerfd_settime",
                                         "timerfd_settime64",
                                         "times",
                                         "tkill",
                                         "truncate",
                                         "truncate64",
                                         "ugetrlimit",
                                         "umask",
                                         "uname",
                                         "unlink",
                                         "unlinkat",
                                         "uretprobe",
                                         "utime",
                                         "utimensat",
                                         "utimensat_time64",
                                         "utimes",
                                         "vfork",
                                         "vmsplice",
                                         "wait4",
                                         "waitid",
                                         "waitpid",
                                         "write",
                                         "writev",
                                         "chroot",
                                         "setsockopt"};

// Kernel surface with a long record of holes and few uses in services. ENOSYS lets programs take the way they
// have for kernels without it (glibc's clone3, databases' io_uring).
constexpr std::string_view kNotBuiltIn[] = {
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",  // a second system call table past this filter
    "bpf",
    "userfaultfd",
    "perf_event_open",  // kernel memory at one bug's distance
    "keyctl",
    "add_key",
    "request_key",  // keyrings belong to no namespace
    "clone3",       // its flags are out of a filter's sight
};

// With every capability granted these are what it can be used for; without, the kernel refuses them anyway.
constexpr std::string_view kForCapabilities[] = {"acct",          "bpf",
                                                 "clock_adjtime", "clock_settime",
                                                 "delete_module", "fanotify_init",
                                                 "finit_module",  "fsconfig",
                                                 "fsmount",       "fsopen",
                                                 "fspick",        "init_module",
                                                 "ioperm",        "iopl",
                                                 "kcmp",          "lookup_dcookie",
                                                 "mbind",         "mount",
                                                 "mount_setattr", "move_mount",
                                                 "move_pages",    "open_by_handle_at",
                                                 "open_tree",     "perf_event_open",
                                                 "pivot_root",    "quotactl",
                                                 "quotactl_fd",   "reboot",
                                                 "set_mempolicy", "set_mempolicy_home_node",
                                                 "sethostname",   "setdomainname",
                                                 "setns",         "settimeofday",
                                                 "stime",         "swapon",
                                                 "swapoff",       "syslog",
                                                 "umount",        "umount2",
                                                 "unshare",       "vhangup",
                                                 "adjtimex",      "migrate_pages"};
constexpr std::string_view kForNesting[] = {"fsconfig",   "fsmount",       "fsopen",        "fspick",
                                            "mount",      "mount_setattr", "move_mount",    "open_tree",
                                            "pivot_root", "sethostname",   "setdomainname", "setns",
                                            "umount",     "umount2",       "unshare"};

constexpr uint64_t kLow = 0xffffffff;  // where the kernel reads an int, the high half must not decide
constexpr uint64_t kNamespaceFlags = 0x7e020080;  // CLONE_NEW*

oci::SeccompArg masked(uint32_t index, uint64_t mask, uint64_t value) {
  return {index, mask, value, "SCMP_CMP_MASKED_EQ"};
}

void add(oci::Seccomp& s, const char* name, const char* action, std::vector<oci::SeccompArg> args,
         std::optional<uint32_t> error = {}) {
  s.syscalls.push_back({{name}, action, error, std::move(args)});
}

template <size_t N>
void add_names(oci::Seccomp& s, const std::string_view (&names)[N], const char* action,
               std::optional<uint32_t> error = {}) {
  oci::SyscallRule rule;
  for (auto name : names) rule.names.emplace_back(name);
  rule.action = action;
  rule.errno_ret = error;
  s.syscalls.push_back(std::move(rule));
}

// A filter's rules are alternatives that allow, so "everything but" is spelled bit by bit: a number differs
// from `value` when one of its low 32 bits does.
void add_ioctl(oci::Seccomp& s) {
  // TIOCSTI types into the terminal and TIOCLINUX pastes into the console, of whoever looks at them. They
  // differ in bits 1-3 only (0x5412, 0x541c): allowed is what differs from both in another bit, or has one of
  // the six other patterns there.
  constexpr uint64_t kSti = 0x5412, kLinux = 0x541c, kBoth = kSti ^ kLinux;
  for (int bit = 0; bit < 32; bit++) {
    uint64_t mask = 1ull << bit;
    if (!(kBoth & mask)) add(s, "ioctl", "SCMP_ACT_ALLOW", {masked(1, mask, ~kSti & mask)});
  }
  for (uint64_t pattern = 0; pattern < 16; pattern += 2)
    if (pattern != (kSti & kBoth) && pattern != (kLinux & kBoth))
      add(s, "ioctl", "SCMP_ACT_ALLOW", {masked(1, kBoth, pattern)});
}

// UNIX, INET, INET6 and three netlink protocols; every other family looks as if it was not built in.
void add_socket(oci::Seccomp& s, bool packet) {
  constexpr uint64_t kUnix = 1, kInet = 2, kInet6 = 10, kNetlink = 16, kPacket = 17;
  for (uint64_t family = 0; family < 64; family++) {
    if (family == kUnix || family == kInet || family == kInet6 || (packet && family == kPacket)) {
      add(s, "socket", "SCMP_ACT_ALLOW", {masked(0, kLow, family)});
    } else if (family == kNetlink) {
      // ROUTE, SOCK_DIAG, KOBJECT_UEVENT: what ss, ip and udev read. XFRM, NETFILTER and the rest change the
      // kernel's state through parsers with a bad record.
      for (uint64_t protocol = 0; protocol < 32; protocol++) {
        bool known = protocol == 0 || protocol == 4 || protocol == 15;
        if (known)
          add(s, "socket", "SCMP_ACT_ALLOW", {masked(0, kLow, family), masked(2, kLow, protocol)});
        else
          add(s, "socket", "SCMP_ACT_ERRNO", {masked(0, kLow, family), masked(2, kLow, protocol)},
              EPROTONOSUPPORT);
      }
    } else {
      add(s, "socket", "SCMP_ACT_ERRNO", {masked(0, kLow, family)}, EAFNOSUPPORT);
    }
  }
}

const char* native_architecture() {
#if defined(__x86_64__)
  return "SCMP_ARCH_X86_64";
#elif defined(__aarch64__)
  return "SCMP_ARCH_AARCH64";
#else
  return "";
#endif
}

}  // namespace

oci::Seccomp container_seccomp(const SeccompOptions& options) {
  oci::Seccomp s;
  s.default_action = "SCMP_ACT_ERRNO";
  s.default_errno_ret = EPERM;
  // One ABI: 32-bit system calls have other numbers, and socketcall hides the family behind a pointer.
  if (*native_architecture()) s.architectures = {native_architecture()};
  add_names(s, kAllowed, "SCMP_ACT_ALLOW");
  bool nesting = options.nesting || options.all_capabilities;
  if (options.all_capabilities) add_names(s, kForCapabilities, "SCMP_ACT_ALLOW");
  if (nesting) add_names(s, kForNesting, "SCMP_ACT_ALLOW");
  for (auto name : kNotBuiltIn) {
    if (options.all_capabilities && (name == "bpf" || name == "perf_event_open")) continue;
    add(s, std::string(name).c_str(), "SCMP_ACT_ERRNO", {}, ENOSYS);
  }
  if (nesting) {
    add(s, "clone", "SCMP_ACT_ALLOW", {});
  } else {
    add(s, "clone", "SCMP_ACT_ALLOW", {masked(0, kNamespaceFlags, 0)});
    // unshare of files and working directory is harmless; of namespaces it multiplies the kernel's surface.
    add(s, "unshare", "SCMP_ACT_ALLOW", {masked(0, kNamespaceFlags, 0)});
  }
  // LINUX, LINUX32, UNAME26, LINUX32 | UNAME26, and asking. Not READ_IMPLIES_EXEC or ADDR_NO_RANDOMIZE.
  for (uint64_t persona : {0x0u, 0x8u, 0x20000u, 0x20008u, 0xffffffffu})
    add(s, "personality", "SCMP_ACT_ALLOW", {masked(0, kLow, persona)});
  add_ioctl(s);
  add_socket(s, options.packet_sockets || options.all_capabilities);
  return s;
}

const std::vector<std::string>& container_capabilities() {
  // Without MKNOD (devices), NET_RAW (forged packets), AUDIT_WRITE (forged records). Ping needs none of them:
  // ping_group_range is open.
  static const std::vector<std::string> kList = {
      "CAP_CHOWN",  "CAP_DAC_OVERRIDE", "CAP_FOWNER",           "CAP_FSETID",     "CAP_KILL",   "CAP_SETGID",
      "CAP_SETUID", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_SETFCAP"};
  return kList;
}

const std::vector<std::string>& container_masked_paths() {
  static const std::vector<std::string> kList = {
      "/proc/asound",
      "/proc/acpi",
      "/proc/kcore",
      "/proc/keys",
      "/proc/latency_stats",
      "/proc/timer_list",
      "/proc/timer_stats",
      "/proc/sched_debug",
      "/proc/scsi",
      "/proc/interrupts",
      "/sys/firmware",
      "/sys/devices/virtual/powercap",  // energy counters leak what neighbours compute
      "/proc/kallsyms",
      "/proc/config.gz",
      "/proc/kmsg",       // a map for kernel exploits
      "/proc/diskstats",  // what neighbours read and write
      "/sys/kernel/vmcoreinfo",
      "/sys/kernel/notes"};  // physical addresses of the kernel
  return kList;
}

const std::vector<std::string>& container_readonly_paths() {
  static const std::vector<std::string> kList = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                                 "/proc/sysrq-trigger"};
  return kList;
}

}  // namespace onggi::policy
