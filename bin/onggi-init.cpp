// PID 1 of a container: starts its program, passes signals on, buries orphans, and ends as the program did.
//
// A program that runs as PID 1 itself gets no signal that it has no handler for and inherits every orphan;
// behind this it is an ordinary process. Usage: onggi-init -- PROGRAM [ARG...]. Exit code: the program's, 128
// + signal, 126 or 127 when it could not be executed.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

namespace {

// The program gets a process group of its own in the foreground, so that the terminal's signals are its.
[[noreturn]] void run_program(char** argv, const sigset_t& before) {
  setpgid(0, 0);
  signal(SIGTTOU, SIG_IGN);
  if (isatty(0)) tcsetpgrp(0, getpid());
  signal(SIGTTOU, SIG_DFL);
  sigprocmask(SIG_SETMASK, &before, nullptr);
  execvp(argv[0], argv);
  int e = errno;
  const char* reason = strerror(e);
  for (const char* part : {"exec ", static_cast<const char*>(argv[0]), ": ", reason, "\n"})
    (void)!write(2, part, strlen(part));
  _exit(e == ENOENT || e == ENOTDIR ? 127 : 126);
}

}  // namespace

int main(int argc, char** argv) {
  int first = argc > 1 && strcmp(argv[1], "--") == 0 ? 2 : 1;
  if (first >= argc) return 127;
  sigset_t all, before;
  sigfillset(&all);
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU})
    sigdelset(&all, fault);
  sigprocmask(SIG_BLOCK, &all, &before);
  pid_t child = fork();
  if (child < 0) return 126;
  if (child == 0) run_program(argv + first, before);
  // Nothing of this process's is open that could hold a pipe of the program's.
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3 && null >= 0; fd++) dup2(null, fd);
  for (;;) {
    siginfo_t info;
    int number = sigwaitinfo(&all, &info);
    if (number < 0) continue;
    if (number != SIGCHLD) {
      kill(child, number);
      continue;
    }
    int status;
    for (pid_t dead; (dead = waitpid(-1, &status, WNOHANG)) > 0;)
      if (dead == child) _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  }
}
