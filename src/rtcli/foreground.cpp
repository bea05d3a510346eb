#include "rtcli/foreground.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

namespace onggi::rtcli {

Foreground::~Foreground() {
  if (raw_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved_);
}

Result<> Foreground::prepare() {
  sigset_t all;
  ::sigfillset(&all);
  // Faults of this process itself stay deadly.
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) ::sigdelset(&all, signal);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  int fd = ::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return fail(Error::os("open a signalfd", ""));
  signals_ = UniqueFd(fd);
  return {};
}

void Foreground::raw_terminal() {
  if (!::isatty(STDIN_FILENO) || ::tcgetattr(STDIN_FILENO, &saved_) < 0) return;
  termios raw = saved_;
  ::cfmakeraw(&raw);
  raw_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void Foreground::resize(int master) const {
  winsize size;
  if (::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0) (void)::ioctl(master, TIOCSWINSZ, &size);
}

void Foreground::handle_signal(const runtime::Started& started) {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCHLD) {
      // Orphans of the container that this process adopted as subreaper; the process itself is reaped at the
      // end.
      siginfo_t child;
      for (;;) {
        child.si_pid = 0;
        if (::waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) < 0 || !child.si_pid ||
            child.si_pid == started.pid)
          break;
        (void)::waitid(P_PID, static_cast<id_t>(child.si_pid), &child, WEXITED | WNOHANG);
      }
    } else if (signal == SIGWINCH && started.console) {
      resize(started.console.get());
    } else if (signal != SIGPIPE && signal != SIGURG) {
      (void)sys::pidfd_signal(started.pidfd.get(), signal);
    }
  }
}

// False when the terminal's other side is closed.
bool Foreground::relay(runtime::Started& started, short master_events, short input_events) {
  char block[32768];
  if (input_events) {
    ssize_t n = ::read(STDIN_FILENO, block, sizeof block);
    if (n > 0) {
      (void)write_all(started.console.get(), {block, static_cast<size_t>(n)}, "terminal");
    } else if (n == 0 || errno != EINTR) {
      input_open_ = false;
      constexpr char kEndOfTransmission = 4;  // what a person would type to end the input
      if (n == 0) (void)write_all(started.console.get(), {&kEndOfTransmission, 1}, "terminal");
    }
  }
  if (master_events) {
    ssize_t n = ::read(started.console.get(), block, sizeof block);
    if (n > 0)
      return write_all(STDOUT_FILENO, {block, static_cast<size_t>(n)}, "standard output").has_value();
    return n < 0 && errno == EINTR;  // EIO: every descriptor of the slave is closed
  }
  return true;
}

// What the process wrote before it ended is still in the terminal.
void Foreground::drain(int master) {
  (void)::fcntl(master, F_SETFL, O_NONBLOCK);
  char block[32768];
  ssize_t n;
  while ((n = ::read(master, block, sizeof block)) > 0)
    if (!write_all(STDOUT_FILENO, {block, static_cast<size_t>(n)}, "standard output")) return;
}

Result<int> Foreground::wait(runtime::Started started) {
  if (started.console) {
    raw_terminal();
    resize(started.console.get());
  }
  bool relaying = static_cast<bool>(started.console);
  for (;;) {
    pollfd fds[4] = {{started.pidfd.get(), POLLIN, 0},
                     {signals_.get(), POLLIN, 0},
                     {relaying ? started.console.get() : -1, POLLIN, 0},
                     {relaying && input_open_ ? STDIN_FILENO : -1, POLLIN, 0}};
    if (::poll(fds, 4, -1) < 0 && errno != EINTR) return fail(Error::os("wait for the container", ""));
    if (fds[1].revents) handle_signal(started);
    if (relaying && (fds[2].revents || fds[3].revents))
      relaying = relay(started, fds[2].revents, fds[3].revents);
    if (fds[0].revents) break;
  }
  if (started.console) drain(started.console.get());
  return TRY(sys::wait_pidfd(started.pidfd.get())).code();
}

}  // namespace onggi::rtcli
