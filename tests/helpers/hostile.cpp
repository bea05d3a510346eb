// onggi-test-hostile: what a hostile container does, and the victim beside it. Static, nothing of ours
// linked.
//
//   drain inotify|pty|fork|pipe N   takes up to N of them, prints "COUNT ERRNO", holds them until it is
//   killed take inotify|pty|fork                takes one as a neighbour would: "ok" or the errno fill FILE
//   BYTES                      writes until an error: "BYTES ERRNO" say BYTES writes numbered lines to
//   stdout, BYTES in all xfrm                                 NETLINK_XFRM with a policy dump, as an exploit
//   begins: "ok" or the errno load KIND SECONDS [DIRECTORY]        keeps taking for a time: fork, memory,
//   dirty, dentry, pty, inotify, pipe,
//                                        disk, log, cpu (bench/neighbours)
//   victim SECONDS DIRECTORY             requests to a worker, 256 KiB touched, a file written, a program
//   started:
//                                        one JSON line with p50, p99 in microseconds, requests, failures
//
// Every loop is bounded by a count, a time or both, so a host without the limits under test survives a run.
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <signal.h>
#include <spawn.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

double now_us() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

// A child that does nothing until it is killed; with its parent, so that none outlives the test.
pid_t idle_child() {
  pid_t pid = fork();
  if (pid != 0) return pid;
  for (;;) pause();
}

void raise_nofile() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

// One more of `kind`; -1 with errno when there is none left.
int take(const char* kind) {
  if (strcmp(kind, "inotify") == 0) return inotify_init1(IN_CLOEXEC);
  if (strcmp(kind, "pty") == 0) return open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (strcmp(kind, "fork") == 0) return idle_child();
  if (strcmp(kind, "pipe") == 0) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) return -1;
    fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
    static char page[4096];
    while (write(fds[1], page, sizeof page) > 0) {
    }
    return fds[0];
  }
  errno = EINVAL;
  return -1;
}

int do_drain(const char* kind, long limit) {
  raise_nofile();
  long n = 0;
  int error = 0;
  for (; n < limit; n++)
    if (take(kind) < 0) {
      error = errno;
      break;
    }
  printf("%ld %d\n", n, error);
  fflush(stdout);
  for (;;) pause();
}

int do_take(const char* kind) {
  int r = take(kind);
  if (r < 0) return printf("%d\n", errno), 0;
  if (strcmp(kind, "fork") == 0) {
    kill(r, SIGKILL);
    waitpid(r, nullptr, 0);
  }
  puts("ok");
  return 0;
}

int do_fill(const char* path, long long limit) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd < 0) return printf("0 %d\n", errno), 0;
  static char block[1 << 20];
  memset(block, 'x', sizeof block);
  long long done = 0;
  int error = 0;
  while (done < limit) {
    ssize_t n = write(fd, block, sizeof block);
    if (n < 0) {
      error = errno;
      break;
    }
    done += n;
  }
  // Delayed allocation may find out only now.
  if (!error && fsync(fd) < 0) error = errno;
  printf("%lld %d\n", done, error);
  return 0;
}

int do_say(long long bytes) {
  static char block[64 << 10];
  long long line = 0;
  while (bytes > 0) {
    size_t used = 0;
    while (used + 100 <= sizeof block)
      used += static_cast<size_t>(snprintf(block + used, 101, "%012lld %0*d\n", line++, 86, 0));
    size_t part = std::min<size_t>(used, static_cast<size_t>(bytes));
    for (size_t at = 0; at < part;) {
      ssize_t n = write(STDOUT_FILENO, block + at, part - at);
      if (n < 0) return fprintf(stderr, "say: errno %d\n", errno), 1;
      at += static_cast<size_t>(n);
    }
    bytes -= static_cast<long long>(part);
  }
  return 0;
}

int do_xfrm() {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_XFRM);
  if (fd < 0) return printf("%d\n", errno), 0;
  struct {
    nlmsghdr head;
    xfrm_userpolicy_id body;
  } request = {};
  request.head.nlmsg_len = sizeof request;
  request.head.nlmsg_type = XFRM_MSG_GETPOLICY;
  request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  if (send(fd, &request, sizeof request, 0) < 0) return printf("%d\n", errno), 0;
  puts("ok");
  return 0;
}

// --- load ---

double deadline_us;
bool over() { return now_us() > deadline_us; }

void load_fork() {
  // Every process forks on; what fails is tried again: the scheduler and the pid allocator are what suffers.
  while (!over())
    if (fork() < 0) usleep(100);
}

void load_memory() {
  constexpr size_t kStep = 8 << 20;
  for (size_t total = 0; !over(); total += kStep) {
    void* p = mmap(nullptr, kStep, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
      usleep(1000);
    else
      memset(p, 1, kStep);
  }
}

void load_dirty(const char* directory) {
  char path[256];
  snprintf(path, sizeof path, "%s/dirty.%d", directory, getpid());
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  unlink(path);
  static char block[1 << 20];
  for (long i = 0; !over(); i++) {
    if (pwrite(fd, block, sizeof block, (i % 256) << 20) < 0) usleep(1000);
    if (i % 16 == 0) fdatasync(fd);
  }
}

void load_dentry(const char* directory) {
  char path[320];
  struct stat st;
  for (long i = 0; !over(); i++) {
    snprintf(path, sizeof path, "%s/negative-%d-%ld-%0*d", directory, getpid(), i, 120, 0);
    (void)stat(path, &st);
  }
}

void load_take(const char* kind) {
  raise_nofile();
  while (!over())
    if (take(kind) < 0) usleep(1000);
}

void load_disk(const char* directory) {
  char path[256];
  snprintf(path, sizeof path, "%s/fill.%d", directory, getpid());
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  static char block[1 << 20];
  while (!over())
    if (write(fd, block, sizeof block) < 0) {
      usleep(1000);
      if (ftruncate(fd, 0) == 0) lseek(fd, 0, SEEK_SET);
    }
  unlink(path);
}

int do_load(const char* kind, double seconds, const char* directory) {
  deadline_us = now_us() + seconds * 1e6;
  alarm(static_cast<unsigned>(seconds) + 2);
  if (strcmp(kind, "fork") == 0)
    load_fork();
  else if (strcmp(kind, "memory") == 0)
    load_memory();
  else if (strcmp(kind, "dirty") == 0)
    load_dirty(directory);
  else if (strcmp(kind, "dentry") == 0)
    load_dentry(directory);
  else if (strcmp(kind, "disk") == 0)
    load_disk(directory);
  else if (strcmp(kind, "log") == 0)
    while (!over()) do_say(1 << 20);
  else if (strcmp(kind, "cpu") == 0) {
    for (int i = 0; i < 32; i++)
      if (fork() == 0) break;
    while (!over()) {
    }
  } else if (strcmp(kind, "pty") == 0 || strcmp(kind, "inotify") == 0 || strcmp(kind, "pipe") == 0)
    load_take(kind);
  else
    return fprintf(stderr, "load: unknown kind %s\n", kind), 2;
  return 0;
}

// --- the victim ---

// One request of the service; false when any part of it failed.
bool request(int worker, const char* path, bool spawn) {
  char byte = 'x';
  if (write(worker, &byte, 1) != 1 || read(worker, &byte, 1) != 1) return false;
  constexpr size_t kTouched = 256 << 10;
  char* p =
      static_cast<char*>(mmap(nullptr, kTouched, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (p == MAP_FAILED) return false;
  for (size_t i = 0; i < kTouched; i += 4096) p[i] = 1;
  munmap(p, kTouched);
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  bool written = fd >= 0 && write(fd, path, 64) == 64;
  if (fd >= 0) close(fd);
  int watch = inotify_init1(IN_CLOEXEC);
  if (watch >= 0) close(watch);
  if (!spawn) return written && watch >= 0;
  pid_t pid;
  char name[] = "/bin/true";
  char* argv[] = {name, nullptr};
  int status = -1;
  bool ran = posix_spawn(&pid, name, nullptr, nullptr, argv, nullptr) == 0 &&
             waitpid(pid, &status, 0) == pid && status == 0;
  return written && watch >= 0 && ran;
}

int do_victim(double seconds, const char* directory) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) return perror("socketpair"), 1;
  pid_t worker = fork();
  if (worker == 0) {
    close(pair[0]);
    char byte;
    while (read(pair[1], &byte, 1) == 1)
      if (write(pair[1], &byte, 1) != 1) break;
    _exit(0);
  }
  close(pair[1]);
  char path[256] = {};
  snprintf(path, sizeof path, "%s/victim.%d", directory, getpid());
  std::vector<double> times;
  long failures = 0;
  double end = now_us() + seconds * 1e6;
  for (long n = 0; now_us() < end; n++) {
    double begin = now_us();
    if (!request(pair[0], path, n % 10 == 0)) failures++;
    times.push_back(now_us() - begin);
    usleep(4000);
  }
  unlink(path);
  std::sort(times.begin(), times.end());
  printf("{\"requests\": %zu, \"failures\": %ld, \"p50\": %.0f, \"p99\": %.0f, \"max\": %.0f}\n",
         times.size(), failures, times[times.size() / 2], times[times.size() * 99 / 100], times.back());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  auto is = [&](const char* word, int words) { return argc >= words + 2 && strcmp(argv[1], word) == 0; };
  if (is("drain", 2)) return do_drain(argv[2], atol(argv[3]));
  if (is("take", 1)) return do_take(argv[2]);
  if (is("fill", 2)) return do_fill(argv[2], atoll(argv[3]));
  if (is("say", 1)) return do_say(atoll(argv[2]));
  if (is("xfrm", 0)) return do_xfrm();
  if (is("load", 2)) return do_load(argv[2], atof(argv[3]), argc > 4 ? argv[4] : "/tmp");
  if (is("victim", 2)) return do_victim(atof(argv[2]), argv[3]);
  fputs("onggi-test-hostile: see the head of tests/helpers/hostile.cpp\n", stderr);
  return 2;
}
