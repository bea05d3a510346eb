#include "cli/session.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <cstring>

#include "base/file.h"
#include "sys/process.h"

namespace onggi::cli {

namespace {

constexpr size_t kBlock = 16384;

// Raw while it lives.
class RawTerminal {
 public:
  explicit RawTerminal(bool wanted) {
    if (!wanted || !::isatty(STDIN_FILENO) || ::tcgetattr(STDIN_FILENO, &saved_) < 0) return;
    termios raw = saved_;
    ::cfmakeraw(&raw);
    raw_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() {
    if (raw_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_);
  }

 private:
  termios saved_ = {};
  bool raw_ = false;
};

// Looks for the key sequence in what is typed. Keys that began one and did not finish it are passed on.
class DetachKeys {
 public:
  explicit DetachKeys(std::string keys) : keys_(std::move(keys)) {}
  // Fills `out` with what goes to the container; true when the sequence was completed.
  bool feed(std::string_view typed, std::string& out) {
    for (char c : typed) {
      if (!keys_.empty() && c == keys_[matched_]) {
        if (++matched_ == keys_.size()) return true;
        continue;
      }
      out.append(keys_, 0, matched_);
      matched_ = !keys_.empty() && c == keys_[0] ? 1 : 0;
      if (!matched_) out += c;
    }
    return false;
  }

 private:
  std::string keys_;
  size_t matched_ = 0;
};

std::optional<winsize> terminal_size() {
  winsize size;
  for (int fd : {STDOUT_FILENO, STDIN_FILENO, STDERR_FILENO})
    if (::isatty(fd) && ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row) return size;
  return std::nullopt;
}

class Session {
 public:
  Session(const engine::MonitorClient& monitor, const UniqueFd& attach, const Signals& signals,
          const SessionOptions& options, std::string keys)
      : monitor_(monitor),
        attach_(attach),
        signals_(signals),
        options_(options),
        keys_(options.tty ? std::move(keys) : "") {}

  Result<SessionEnd> run() {
    RawTerminal raw(options_.tty && options_.input);
    send_size();
    while (!over_) TRY_VOID(step());
    return end_;
  }

 private:
  Result<> step() {
    bool read_input = options_.input && !input_ended_ && pending_.empty();
    pollfd fds[4] = {
        {attach_open_ ? attach_.get() : -1, static_cast<short>(POLLIN | (pending_.empty() ? 0 : POLLOUT)), 0},
        {exited_ ? -1 : monitor_.fd(), POLLIN, 0},
        {signals_.fd(), POLLIN, 0},
        {read_input ? STDIN_FILENO : -1, POLLIN, 0}};
    if (::poll(fds, 4, -1) < 0 && errno != EINTR) return fail(Error::os("wait for the container", ""));
    if (fds[2].revents) handle_signals();
    if (fds[0].revents & ~POLLOUT) TRY_VOID(take_output());
    if (attach_open_ && (fds[0].revents & POLLOUT)) flush();
    if (fds[1].revents) take_message();
    if (fds[3].revents) read_stdin();
    // The last output is in the socket when the exit is told: the end is when both have ended.
    if (exited_ && !attach_open_) over_ = true;
    return {};
  }

  Result<> take_output() {
    char packet[kBlock + 1];
    ssize_t n = ::recv(attach_.get(), packet, sizeof packet, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    if (n <= 0) {
      attach_open_ = false;
      return {};
    }
    bool to_error = packet[0] == 2;
    if (to_error ? !options_.err : !options_.out) return {};
    // Nobody to write for (a closed pipe): the container goes on, its client's output ends.
    (void)write_all(to_error ? STDERR_FILENO : STDOUT_FILENO, {packet + 1, static_cast<size_t>(n) - 1},
                    "standard output");
    return {};
  }

  void take_message() {
    auto m = monitor_.receive();
    if (!m) {
      exited_ = true;
      return;
    }
    if (m->type != runtime::MonitorMessage::kExited || m->payload.size() < 4) return;
    int32_t code;
    memcpy(&code, m->payload.data(), sizeof code);
    end_.exit_code = code;
    exited_ = true;
  }

  void read_stdin() {
    char block[kBlock];
    ssize_t n = ::read(STDIN_FILENO, block + 1, sizeof block - 1);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    std::string out(1, '\0');
    if (n <= 0) {
      input_ended_ = true;
      out[0] = 2;
    } else if (keys_.feed({block + 1, static_cast<size_t>(n)}, out)) {
      end_.detached = over_ = true;
      return;
    }
    if (out.size() == 1 && out[0] == 0) return;
    pending_ = std::move(out);
    flush();
  }

  void flush() {
    if (pending_.empty()) return;
    ssize_t n = ::send(attach_.get(), pending_.data(), pending_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    pending_.clear();
  }

  void send_size() {
    auto size = options_.tty ? terminal_size() : std::nullopt;
    if (!size) return;
    char payload[4];
    memcpy(payload, &size->ws_row, 2);
    memcpy(payload + 2, &size->ws_col, 2);
    (void)monitor_.send(runtime::MonitorMessage::kResize, {payload, 4});
  }

  void handle_signals() {
    signalfd_siginfo info;
    while (::read(signals_.fd(), &info, sizeof info) == sizeof info) {
      uint32_t number = info.ssi_signo;
      if (number == SIGWINCH) {
        send_size();
      } else if (number == SIGCHLD || number == SIGPIPE || number == SIGURG) {
        continue;
      } else if (options_.signals) {
        (void)monitor_.send(runtime::MonitorMessage::kSignal, {reinterpret_cast<char*>(&number), 4});
      } else {
        end_.detached = over_ = true;
        end_.exit_code = 128 + static_cast<int>(number);
      }
    }
  }

  const engine::MonitorClient& monitor_;
  const UniqueFd& attach_;
  const Signals& signals_;
  SessionOptions options_;
  DetachKeys keys_;
  SessionEnd end_;
  std::string pending_;  // one packet that the monitor has not taken yet
  bool over_ = false, exited_ = false, attach_open_ = true, input_ended_ = false;
};

}  // namespace

Result<Signals> Signals::block() {
  sigset_t all;
  ::sigfillset(&all);
  // Faults of this process itself stay deadly, and stopping it stays possible.
  for (int signal :
       {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT})
    ::sigdelset(&all, signal);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  Signals signals;
  signals.fd_ = UniqueFd(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.fd_) return fail(Error::os("open a signalfd", ""));
  return signals;
}

Result<std::string> parse_detach_keys(const std::string& text) {
  std::string keys;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    std::string part = text.substr(at, end - at);
    at = end + 1;
    if (part.size() == 1) {
      keys += part;
      continue;
    }
    char c = part.size() == 6 && part.starts_with("ctrl-")
                 ? static_cast<char>(::toupper(static_cast<unsigned char>(part[5])))
                 : 0;
    if (c < '@' || c > '_')
      return fail(Error::invalid("invalid detach keys '" + text + "': unknown character '" + part +
                                 "' (a letter, or ctrl- and one of a-z @ [ \\ ] ^ _)"));
    keys += static_cast<char>(c - '@');
  }
  return keys;
}

Result<SessionEnd> run_session(const engine::MonitorClient& monitor, const UniqueFd& attach,
                               const Signals& signals, const SessionOptions& options) {
  return Session(monitor, attach, signals, options, TRY(parse_detach_keys(options.detach_keys))).run();
}

namespace {

// The relay of one exec'd process: its terminal, or its three pipes.
class ExecSession {
 public:
  ExecSession(engine::ExecStarted& process, const Signals& signals, const SessionOptions& options,
              std::string keys)
      : p_(process), signals_(signals), keys_(process.console ? std::move(keys) : ""), input_(options.input) {
    tty_ = static_cast<bool>(p_.console);
    if (p_.input) (void)::fcntl(p_.input.get(), F_SETFL, O_NONBLOCK);
  }

  Result<SessionEnd> run(bool raw_wanted) {
    RawTerminal raw(tty_ && raw_wanted);
    resize();
    while (!sys::has_exited(p_.process.get()) && !end_.detached) TRY_VOID(step());
    if (end_.detached) return end_;
    // What it wrote before it ended; a background process that keeps the pipe open does not hold this up.
    while (drain_left()) {
    }
    end_.exit_code = TRY(sys::wait_pidfd(p_.process.get())).code();
    return end_;
  }

 private:
  Result<> step() {
    bool take = input_ && pending_.empty();
    int to = tty_ ? p_.console.get() : p_.input.get();
    pollfd fds[6] = {{p_.process.get(), POLLIN, 0},
                     {signals_.fd(), POLLIN, 0},
                     {tty_ ? p_.console.get() : p_.output.get(), POLLIN, 0},
                     {p_.error.get(), POLLIN, 0},
                     {take ? STDIN_FILENO : -1, POLLIN, 0},
                     {pending_.empty() ? -1 : to, POLLOUT, 0}};
    if (::poll(fds, 6, -1) < 0 && errno != EINTR) return fail(Error::os("wait for the process", ""));
    if (fds[1].revents) handle_signals();
    if (fds[2].revents) move(tty_ ? p_.console : p_.output, STDOUT_FILENO);
    if (fds[3].revents) move(p_.error, STDERR_FILENO);
    if (fds[4].revents) read_stdin();
    if (fds[5].revents) flush();
    return {};
  }

  // One block; the end closes it.
  bool move(UniqueFd& from, int to) {
    char block[kBlock];
    ssize_t n = ::read(from.get(), block, sizeof block);
    if (n < 0 && errno == EINTR) return true;
    if (n <= 0 || !write_all(to, {block, static_cast<size_t>(n)}, "standard output")) {
      from.reset();
      return false;
    }
    return true;
  }

  bool drain_left() {
    bool any = false;
    for (auto [from, to] : {std::pair<UniqueFd*, int>{&p_.console, STDOUT_FILENO},
                            {&p_.output, STDOUT_FILENO},
                            {&p_.error, STDERR_FILENO}}) {
      pollfd left = {from->get(), POLLIN, 0};
      if (*from && ::poll(&left, 1, 0) > 0) any |= move(*from, to);
    }
    return any;
  }

  void read_stdin() {
    char block[kBlock];
    ssize_t n = ::read(STDIN_FILENO, block, sizeof block);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n > 0 && keys_.feed({block, static_cast<size_t>(n)}, pending_)) {
      end_.detached = true;
      return;
    }
    if (n <= 0) input_ = false;
    if (n <= 0 && tty_) pending_ += '\x04';  // what a person types to end the input
    if (n <= 0 && !tty_) p_.input.reset();
    flush();
  }

  void flush() {
    int to = tty_ ? p_.console.get() : p_.input.get();
    if (to < 0 || pending_.empty()) return;
    ssize_t n = ::write(to, pending_.data(), pending_.size());
    if (n > 0) pending_.erase(0, static_cast<size_t>(n));
    if (n >= 0 || errno == EAGAIN || errno == EINTR) return;
    pending_.clear();  // it reads no more
    input_ = false;
    p_.input.reset();
  }

  void handle_signals() {
    signalfd_siginfo info;
    while (::read(signals_.fd(), &info, sizeof info) == sizeof info) {
      int number = static_cast<int>(info.ssi_signo);
      if (number == SIGWINCH)
        resize();
      else if (number != SIGCHLD && number != SIGPIPE && number != SIGURG)
        (void)sys::pidfd_signal(p_.process.get(), number);
    }
  }

  void resize() {
    auto size = tty_ ? terminal_size() : std::nullopt;
    if (size) (void)::ioctl(p_.console.get(), TIOCSWINSZ, &*size);
  }

  engine::ExecStarted& p_;
  const Signals& signals_;
  DetachKeys keys_;
  SessionEnd end_;
  std::string pending_;
  bool input_, tty_ = false;
};

}  // namespace

Result<SessionEnd> run_exec_session(engine::ExecStarted& process, const Signals& signals,
                                    const SessionOptions& options) {
  return ExecSession(process, signals, options, TRY(parse_detach_keys(options.detach_keys)))
      .run(options.input);
}

}  // namespace onggi::cli
