// onggi-test-probe: tells, from inside a container, what busybox cannot tell.
//
// Owns nothing; one question per run, the answer on stdout as words that a test compares. It is linked static
// and copied into the bundles of tests/lib/onggi_test.py. It must not depend on the code under test, so it
// shares none of its headers.
#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/keyctl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace {

// struct sched_attr of sched_setattr(2); libc headers of the supported releases disagree about having it.
struct SchedAttr {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t util_min, util_max;
};

// struct mount_attr of mount_setattr(2), likewise.
struct MountAttr {
  uint64_t set, clear, propagation, userns_fd;
};

// "syscall N [ARG]...": raw call; an argument is a number (0x allowed) or "s:TEXT" for a pointer to TEXT.
int do_syscall(int argc, char** argv) {
  long a[7] = {};
  for (int i = 0; i < argc && i < 7; i++) {
    a[i] = strncmp(argv[i], "s:", 2) == 0 ? reinterpret_cast<long>(argv[i] + 2)
                                          : static_cast<long>(strtoull(argv[i], nullptr, 0));
  }
  errno = 0;
  const long r = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
  printf("%ld %d\n", r, r < 0 ? errno : 0);
  return 0;
}

// "syscall32 N [ARG]...": the same through the gate of 32-bit programs, with numbers of i386; at most three
// arguments.
int do_syscall32(int argc, char** argv) {
#if defined(__x86_64__)
  long a[4] = {};
  for (int i = 0; i < argc && i < 4; i++) a[i] = static_cast<long>(strtoull(argv[i], nullptr, 0));
  long r;
  asm volatile("int $0x80"
               : "=a"(r)
               : "a"(a[0]), "b"(a[1]), "c"(a[2]), "d"(a[3])
               : "memory", "r8", "r9", "r10", "r11");
  const int result = static_cast<int>(r);
  printf("%d %d\n", result < 0 ? -1 : result, result < 0 ? -result : 0);
  return 0;
#else
  (void)argc, (void)argv;
  return 1;
#endif
}

int do_sched() {
  SchedAttr s{};
  if (syscall(SYS_sched_getattr, 0, &s, sizeof s, 0) != 0) return perror("sched_getattr"), 1;
  printf("policy=%u nice=%d priority=%u flags=%" PRIu64 " runtime=%" PRIu64 " deadline=%" PRIu64
         " period=%" PRIu64 "\n",
         s.policy, s.nice, s.priority, s.flags, s.runtime, s.deadline, s.period);
  return 0;
}

int do_clock() {
  timespec m{}, b{}, r{};
  clock_gettime(CLOCK_MONOTONIC, &m);
  clock_gettime(CLOCK_BOOTTIME, &b);
  clock_gettime(CLOCK_REALTIME, &r);
  printf("%lld %lld %lld\n", static_cast<long long>(m.tv_sec), static_cast<long long>(b.tv_sec),
         static_cast<long long>(r.tv_sec));
  return 0;
}

// "alloc BYTES": touches that much memory, then says so. The kernel may kill it first: that is a test's
// point.
int do_alloc(const char* text) {
  const size_t size = strtoull(text, nullptr, 0);
  char* p =
      static_cast<char*>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (p == MAP_FAILED) return perror("mmap"), 1;
  for (size_t i = 0; i < size; i += 4096) p[i] = 1;
  printf("touched %zu\n", size);
  return 0;
}

// "fork N": starts up to N sleeping children at once; prints how many there were and the errno that ended it.
int do_fork(const char* text) {
  const int want = atoi(text);
  int made = 0;
  int reason = 0;
  pid_t first = 0;
  for (; made < want; made++) {
    const pid_t pid = fork();
    if (pid < 0) {
      reason = errno;
      break;
    }
    if (pid == 0) {
      pause();
      _exit(0);
    }
    if (first == 0) setpgid(pid, first = pid);
    setpgid(pid, first);
  }
  printf("%d %d\n", made, reason);
  if (first != 0) kill(-first, SIGKILL);
  while (wait(nullptr) > 0) {
  }
  return 0;
}

int do_fds() {
  for (int fd = 0; fd < 1024; fd++) {
    if (fcntl(fd, F_GETFD) >= 0) printf("%d ", fd);
  }
  printf("\n");
  return 0;
}

int do_mempolicy() {
  int mode = 0;
  uint64_t nodes[16] = {};
  if (syscall(SYS_get_mempolicy, &mode, nodes, sizeof nodes * 8, nullptr, 0) != 0)
    return perror("get_mempolicy"), 1;
  printf("mode=%d flags=%#x nodes=%#" PRIx64 "\n", mode & 0xff, static_cast<unsigned>(mode & ~0xff),
         nodes[0]);
  return 0;
}

// "idmap-ok DIR": can a mount of DIR be idmapped? Exit code 0 when it can.
int do_idmap_ok(const char* dir) {
  int sync[2];
  if (pipe(sync) != 0) return 1;
  const pid_t pid = fork();
  if (pid == 0) {
    if (unshare(CLONE_NEWUSER) != 0) _exit(1);
    if (write(sync[1], "x", 1) != 1) _exit(1);
    pause();
  }
  char byte = 0;
  int result = 1;
  if (pid > 0 && read(sync[0], &byte, 1) == 1) {
    char path[64];
    for (const char* name : {"uid_map", "gid_map"}) {
      snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
      const int fd = open(path, O_WRONLY | O_CLOEXEC);
      if (fd < 0 || write(fd, "0 100000 65536\n", 15) != 15) perror(path);
      if (fd >= 0) close(fd);
    }
    snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    const int ns = open(path, O_RDONLY | O_CLOEXEC);
    const long tree = syscall(SYS_open_tree, AT_FDCWD, dir, 1 /* OPEN_TREE_CLONE */);
    MountAttr attr{0x00100000 /* MOUNT_ATTR_IDMAP */, 0, 0, static_cast<uint64_t>(ns)};
    result =
        tree >= 0 && syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr) == 0 ? 0 : 1;
  }
  if (pid > 0) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  return result;
}

int do_winsize() {
  winsize w{};
  if (ioctl(0, TIOCGWINSZ, &w) != 0) return perror("TIOCGWINSZ"), 1;
  printf("%u %u\n", w.ws_row, w.ws_col);
  return 0;
}

int do_keyring() {
  printf("%ld\n", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0));
  return 0;
}

// "hold": sleeps until it is killed, with default signal actions; "ignore-term": the same but deaf to
// SIGTERM.
int do_hold(bool ignore_term) {
  if (ignore_term) signal(SIGTERM, SIG_IGN);
  printf("holding\n");
  fflush(stdout);
  for (;;) pause();
}

// "lock FILE": takes flock(2) on FILE and says so, or says that another process has it; holds it until
// killed.
int do_lock(const char* file) {
  const int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return perror(file), 1;
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) return printf("taken\n"), 3;
  puts("locked");
  fflush(stdout);
  for (;;) pause();
}

int run(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  const char* arg = argc > 2 ? argv[2] : "";
  if (strcmp(what, "syscall") == 0) return do_syscall(argc - 2, argv + 2);
  if (strcmp(what, "syscall32") == 0) return do_syscall32(argc - 2, argv + 2);
  if (strcmp(what, "sched") == 0) return do_sched();
  if (strcmp(what, "clock") == 0) return do_clock();
  if (strcmp(what, "alloc") == 0) return do_alloc(arg);
  if (strcmp(what, "fork") == 0) return do_fork(arg);
  if (strcmp(what, "fds") == 0) return do_fds();
  if (strcmp(what, "mempolicy") == 0) return do_mempolicy();
  if (strcmp(what, "idmap-ok") == 0) return do_idmap_ok(arg);
  if (strcmp(what, "winsize") == 0) return do_winsize();
  if (strcmp(what, "keyring") == 0) return do_keyring();
  if (strcmp(what, "lock") == 0) return do_lock(arg);
  if (strcmp(what, "hold") == 0) return do_hold(false);
  if (strcmp(what, "ignore-term") == 0) return do_hold(true);
  if (strcmp(what, "personality") == 0)
    return printf("%#x\n", static_cast<unsigned>(personality(0xffffffff))), 0;
  if (strcmp(what, "ioprio") == 0) {
    const long p = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
    return printf("class=%ld data=%ld\n", IOPRIO_PRIO_CLASS(p), IOPRIO_PRIO_DATA(p)), 0;
  }
  fprintf(stderr, "onggi-test-probe: unknown question '%s'\n", what);
  return 2;
}

}  // namespace

int main(int argc, char** argv) { return run(argc, argv); }
