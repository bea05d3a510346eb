#include "sys/process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "base/file.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

namespace onggi::sys {

namespace {

alignas(64) char spawn_stack[16384];

struct Trampoline {
  const SpawnArgs* args;
  int caller;
  volatile int error;
};
Trampoline trampoline;

long raw(long n, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
#if defined(__x86_64__)
  long r;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  asm volatile("syscall"
               : "=a"(r)
               : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
               : "rcx", "r11", "memory");
  return r;
#else
  register long x8 asm("x8") = n;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
#endif
}

// Runs in the new process, on its own stack but in the caller's memory: raw system calls only, errno stays
// untouched.
// The old spelling of attributes: the only one of no_sanitize that GCC and Clang share.
extern "C" [[noreturn]] __attribute__((used, no_sanitize("address"), no_sanitize("undefined"))) void
onggi_spawn_entry(Trampoline* t) {
  const SpawnArgs& a = *t->args;
  // Whatever signals the caller blocks for itself (or its engine had blocked), the new program starts with
  // none blocked.
  static constexpr uint64_t kNone = 0;
  raw(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&kNone), 0, sizeof kNone);
  for (int i = 0; i < 3; i++)
    if (a.stdio[i] >= 0) raw(SYS_dup3, a.stdio[i], i, 0);
  for (int i = 0; i < a.inherit_count; i++) raw(SYS_fcntl, a.inherit[i], F_SETFD, 0);
  if (a.dies_with_caller) {
    raw(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
    if (raw(SYS_getppid) != t->caller) raw(SYS_exit, 127);  // it died before
  }
  long r = a.directory ? raw(SYS_chdir, reinterpret_cast<long>(a.directory)) : 0;
  if (r == 0)
    r = a.exec_fd < 0 ? raw(SYS_execve, reinterpret_cast<long>(a.exec_path), reinterpret_cast<long>(a.argv),
                            reinterpret_cast<long>(a.envp))
                      : raw(SYS_execveat, a.exec_fd, reinterpret_cast<long>(""),
                            reinterpret_cast<long>(a.argv), reinterpret_cast<long>(a.envp), AT_EMPTY_PATH);
  t->error = static_cast<int>(-r);
  for (;;) raw(SYS_exit, 127);
}

// clone3 with a stack of our own: glibc has no wrapper that calls a function for it.
long clone_with_stack(clone_args* args, Trampoline* t) {
  args->stack = reinterpret_cast<uint64_t>(spawn_stack);
  args->stack_size = sizeof spawn_stack;
#if defined(__x86_64__)
  long r;
  asm volatile(
      "syscall\n test %%eax, %%eax\n jnz 1f\n xor %%ebp, %%ebp\n mov %[t], %%rdi\n call onggi_spawn_entry\n "
      "ud2\n 1:"
      : "=a"(r)
      : "a"(static_cast<long>(SYS_clone3)), "D"(args), "S"(sizeof *args), [t] "r"(t)
      : "rcx", "r11", "memory");
  return r;
#else
  register long x8 asm("x8") = SYS_clone3;
  register long x0 asm("x0") = reinterpret_cast<long>(args);
  register long x1 asm("x1") = sizeof *args;
  register Trampoline* x20 asm("x20") = t;
  asm volatile("svc 0\n cbnz x0, 1f\n mov x29, #0\n mov x0, x20\n bl onggi_spawn_entry\n brk #1\n 1:"
               : "+r"(x0)
               : "r"(x8), "r"(x1), "r"(x20)
               : "memory");
  return x0;
#endif
}

}  // namespace

Result<Spawned> spawn(const SpawnArgs& args) {
  int pidfd = -1;
  clone_args clone = {};
  clone.flags =
      args.clone_flags | CLONE_VM | (args.wait ? CLONE_VFORK : 0) | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
  clone.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  clone.exit_signal = SIGCHLD;
  if (args.cgroup_fd >= 0) {
    clone.flags |= CLONE_INTO_CGROUP;
    clone.cgroup = static_cast<uint64_t>(args.cgroup_fd);
  }
  trampoline.args = &args;
  trampoline.caller = args.dies_with_caller ? ::getpid() : 0;
  trampoline.error = 0;
  long pid = clone_with_stack(&clone, &trampoline);
  if (pid < 0) return fail(Error::os("clone3 a process into new namespaces", "", static_cast<int>(-pid)));
  Spawned spawned;
  spawned.pid = static_cast<int>(pid);
  spawned.pidfd = PidFd(pidfd);
  if (args.wait && trampoline.error) {
    (void)wait_pidfd(pidfd);
    return fail(
        Error::os("execute", args.exec_path ? args.exec_path : "the child program", trampoline.error));
  }
  return spawned;
}

int spawn_error() { return trampoline.error; }

namespace {

[[noreturn]] void child_body(const int (&stdio)[3], int report,
                             const std::function<bool(std::string& words)>& body) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int i = 0; i < 3; i++) (void)::dup2(stdio[i], i);
  std::string words;
  bool good = body(words);
  if (!words.empty()) (void)write_all(report, words, "report");
  ::_exit(good ? 0 : 1);
}

}  // namespace

Result<> run_in_child(const int (&stdio)[3], const std::function<bool(std::string& words)>& body) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return fail(Error::os("make a pipe", ""));
  UniqueFd read(ends[0]), write(ends[1]);
  pid_t pid = ::fork();
  if (pid < 0) return fail(Error::os("fork", ""));
  if (pid == 0) child_body(stdio, write.get(), body);
  write.reset();
  // To the end of file: what the child leaves behind has closed its end by executing a program.
  std::string words;
  char block[4096];
  for (ssize_t n; (n = ::read(read.get(), block, sizeof block)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    if (words.size() < 65536) words.append(block, static_cast<size_t>(n));
  }
  ExitStatus status = TRY(wait_pid(pid));
  if (status.code() == 0) return {};
  if (words.empty()) words = "the process for it ended with code " + std::to_string(status.code());
  return fail(Error(ErrorKind::kOs, words));
}

void run_detached(const std::function<void()>& body) {
  if (::fork() != 0) return;
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  (void)::setsid();
  (void)!::chdir("/");
  int null = ::open("/dev/null", O_RDWR);
  for (int i = 0; i < 3; i++) (void)::dup2(null, i);
  (void)::close_range(3, ~0U, 0);
  body();
  ::_exit(0);
}

Result<PidFd> pidfd_open(int pid) {
  long fd = syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) return fail(Error::os("open a pidfd of process", std::to_string(pid)));
  return PidFd(static_cast<int>(fd));
}

Result<> pidfd_signal(int pidfd, int signal) {
  if (syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0) return {};
  int e = errno;
  Error error = Error::os("send signal", std::to_string(signal), e);
  if (e == ESRCH) return fail(Error(ErrorKind::kNotFound, error.text(), e));
  return fail(error);
}

Result<UniqueFd> pidfd_getfd(int pidfd, int fd) {
  long r = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
  if (r < 0) return fail(Error::os("duplicate a descriptor of the container's process", std::to_string(fd)));
  return UniqueFd(static_cast<int>(r));
}

static Result<ExitStatus> wait_id(idtype_t type, int id) {
  siginfo_t info = {};
  int r;
  do {
    r = ::waitid(type, static_cast<id_t>(id), &info, WEXITED);
  } while (r < 0 && errno == EINTR);
  if (r < 0) return fail(Error::os("wait for process", std::to_string(id)));
  return ExitStatus{info.si_code != CLD_EXITED, info.si_status};
}

Result<ExitStatus> wait_pidfd(int pidfd) { return wait_id(static_cast<idtype_t>(P_PIDFD), pidfd); }
Result<ExitStatus> wait_pid(int pid) { return wait_id(P_PID, pid); }

bool wait_exited(int pidfd, int timeout_ms) {
  pollfd p = {pidfd, POLLIN, 0};
  int r;
  do {
    r = ::poll(&p, 1, timeout_ms);
  } while (r < 0 && errno == EINTR);
  return r > 0;
}

bool has_exited(int pidfd) { return wait_exited(pidfd, 0); }

namespace {

// The text after the last ')' of /proc/PID/stat: a command name may itself contain parentheses and spaces.
std::optional<std::string> stat_tail(int pid) {
  auto text = read_file("/proc/" + std::to_string(pid) + "/stat", 8192);
  if (!text) return std::nullopt;
  size_t close = text->rfind(')');
  if (close == std::string::npos || close + 2 >= text->size()) return std::nullopt;
  return text->substr(close + 2);
}

}  // namespace

char process_state(int pid) {
  auto tail = stat_tail(pid);
  return tail ? (*tail)[0] : 0;
}

std::optional<uint64_t> start_time(int pid) {
  auto tail = stat_tail(pid);
  if (!tail || (*tail)[0] == 'Z' || (*tail)[0] == 'X') return std::nullopt;
  // The tail starts with field 3; field 22 is the twentieth of it.
  size_t at = 0;
  for (int field = 3; field < 22; field++) {
    at = tail->find(' ', at);
    if (at == std::string::npos) return std::nullopt;
    at++;
  }
  auto value = parse_u64(std::string_view(*tail).substr(at, tail->find(' ', at) - at), "start time");
  if (!value) return std::nullopt;
  return *value;
}

bool in_user_namespace() {
  auto map = read_file("/proc/self/uid_map", 4096);
  if (!map) return false;
  // The first namespace maps everything onto itself, in one line. Compared as words: sscanf would add 60 kB
  // to the program.
  std::string words;
  for (char c : *map) {
    bool space = c == ' ' || c == '\n';
    if (!space)
      words += c;
    else if (!words.empty() && words.back() != ' ')
      words += ' ';
  }
  return words != "0 0 4294967295 ";
}

bool is_rootless() { return ::geteuid() != 0 || in_user_namespace(); }

}  // namespace onggi::sys
