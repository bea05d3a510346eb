// The monitor does no work of its own on the container: `create` and `start` happen in forked children, it
// adopts the container's init as subreaper, and then only moves bytes. So its memory is a poll loop, a few
// buffers and the log writer, whatever the configuration's size, and it can be killed without harm to the
// container.
#include "runtime/monitor.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "base/file.h"
#include "base/json.h"
#include "runtime/monitor_log.h"
#include "runtime/monitor_wire.h"
#include "runtime/protocol.h"
#include "sys/overlay.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace onggi::runtime {

namespace {

constexpr size_t kMaxClients = 16;  // per socket; further ones are refused by closing
constexpr size_t kBlock = 16384;
char block[kBlock + 1];

// Somebody who watches: engines' attach, logs in a terminal.
struct Watcher {
  UniqueFd socket;
  bool lossless = false;  // asked that output waits for it (attach.sock, packet 3)
};

class Monitor {
 public:
  Monitor(const RuntimeContext& context, int control) : context_(context) {
    controls_.emplace_back(::fcntl(control, F_DUPFD_CLOEXEC, 3));
  }
  Result<> run();
  // Executes the engine's command for the end in this process's place; returns only when there is none.
  void hand_over();

 private:
  Result<> create(std::string_view payload, UniqueFd root);
  Result<> open_streams(bool stdin_open, UniqueFd (&child)[3]);
  Result<> receive_console();
  static Result<> in_child(const UniqueFd (&stdio)[3], const std::function<Result<>()>& command);
  Result<> start();
  Result<> adopt();
  void serve();
  void tell(MonitorMessage type, std::string_view payload);
  void handle_control(UniqueFd& client);
  void handle_attach(Watcher& client);
  Result<> attach_root(UniqueFd mount);
  void flush_input();
  [[nodiscard]] bool output_waits() const;
  void handle_command(int client, MonitorMessage type, std::string_view payload, UniqueFd descriptor);
  void accept_control();
  void accept_watchers();
  bool forward(UniqueFd& from, int stream);
  void feed(std::string_view data);
  void resize(std::string_view payload);
  void look_for_ooms();
  void reap();
  void wait_for_watchers();
  void finish();

  const RuntimeContext& context_;
  CreateBody options_;
  std::string id_, bundle_, directory_;
  LogWriter log_;
  std::vector<std::string> exit_command_;
  std::vector<UniqueFd> controls_;
  std::vector<Watcher> attached_;
  std::string pending_input_;  // what the container has not taken yet; while there is some, no more is read
  bool input_ends_ = false;
  UniqueFd control_listener_, attach_listener_, console_listener_;
  UniqueFd input_, out_, err_, master_, oom_, signals_;
  PidFd init_;
  int pid_ = -1;
  bool created_ = false, started_ = false, ended_ = false;
  uint64_t ooms_ = 0;
  sys::ExitStatus status_;
  std::unique_ptr<Cgroup> cgroup_;
};

Result<> Monitor::open_streams(bool stdin_open, UniqueFd (&child)[3]) {
  auto make = [](UniqueFd& read, UniqueFd& write) -> Result<> {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return fail(Error::os("make a pipe", ""));
    read = UniqueFd(ends[0]);
    write = UniqueFd(ends[1]);
    return {};
  };
  if (stdin_open) {
    TRY_VOID(make(child[0], input_));
    (void)::fcntl(input_.get(), F_SETFL, O_NONBLOCK);
  } else {
    child[0] = TRY(open_at(AT_FDCWD, "/dev/null", O_RDONLY));
  }
  TRY_VOID(make(out_, child[1]));
  TRY_VOID(make(err_, child[2]));
  if (options_.stdio_owner == 0) return {};
  for (const auto& end : child)
    if (struct stat st; ::fstat(end.get(), &st) == 0 && S_ISFIFO(st.st_mode) &&
                        ::fchown(end.get(), options_.stdio_owner, options_.stdio_owner) < 0)
      return fail(Error::os("give the standard streams to the container", ""));
  return {};
}

// One command of the runtime, in a process that ends with it: what a configuration takes in memory goes with
// that process, and the container's init becomes this one's child.
Result<> Monitor::in_child(const UniqueFd (&stdio)[3], const std::function<Result<>()>& command) {
  int fds[3] = {stdio[0].get(), stdio[1].get(), stdio[2].get()};
  return sys::run_in_child(fds, [&](std::string& words) {
    auto done = command();
    if (!done) words = done.error().text();
    return done.has_value();
  });
}

Result<> Monitor::receive_console() {
  UniqueFd connection(::accept4(console_listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection) return fail(Error::os("accept the terminal", ""));
  master_ = TRY(sys::receive_descriptor(connection.get()));
  console_listener_.reset();
  (void)::unlink((directory_ + "/console.sock").c_str());
  return {};
}

// The engine started this process in a mount namespace of its own, so the root exists for it and its
// container only.
Result<> Monitor::attach_root(UniqueFd mount) {
  TRY_VOID(sys::make_mounts_slave());
  return sys::attach_mount(mount.get(), bundle_ + "/rootfs");
}

Result<> Monitor::create(std::string_view payload, UniqueFd root) {
  if (payload.size() < sizeof options_) return fail(Error::invalid("monitor: kCreate is too short"));
  memcpy(&options_, payload.data(), sizeof options_);
  payload.remove_prefix(sizeof options_);
  std::string log_path;
  for (std::string* field : {&id_, &bundle_, &directory_, &log_path}) *field = TRY(take_string(payload));
  std::vector<std::string> rotation_command;
  for (auto* list = &exit_command_; !payload.empty();) {
    std::string word = TRY(take_string(payload));
    if (word.empty() && list == &exit_command_)
      list = &rotation_command;
    else
      list->push_back(std::move(word));
  }
  if (root) TRY_VOID(attach_root(std::move(root)));
  if (directory_.empty() || directory_[0] != '/')
    return fail(Error::invalid("monitor: the directory must be absolute: '" + directory_ + "'"));
  if (::mkdir(directory_.c_str(), 0700) < 0 && errno != EEXIST)
    return fail(Error::os("make the monitor's directory", directory_));
  log_ = TRY(LogWriter::open(log_path, options_.log_max_bytes, options_.log_max_files));
  log_.set_rotation_command(std::move(rotation_command));
  control_listener_ = TRY(sys::listen_unix(directory_ + "/control.sock", SOCK_SEQPACKET));
  attach_listener_ = TRY(sys::listen_unix(directory_ + "/attach.sock", SOCK_SEQPACKET));
  UniqueFd stdio[3];
  CreateOptions options;
  options.id = id_;
  options.bundle = bundle_;
  options.pid_file = directory_ + "/pid";
  if (options_.terminal) {
    console_listener_ = TRY(sys::listen_unix(directory_ + "/console.sock", SOCK_STREAM));
    options.console_socket = directory_ + "/console.sock";
    for (auto& fd : stdio) fd = TRY(open_at(AT_FDCWD, "/dev/null", O_RDWR));
  } else {
    TRY_VOID(open_streams(options_.stdin_open != 0, stdio));
  }
  TRY_VOID(in_child(stdio, [&]() -> Result<> {
    (void)TRY(create_container(context_, options));
    return {};
  }));
  for (auto& fd : stdio) fd.reset();
  if (options_.terminal) {
    TRY_VOID(receive_console());
    (void)::fcntl(master_.get(), F_SETFL, O_NONBLOCK);
  }
  return adopt();
}

// init was a child of `create`, which has ended: as subreaper this process is its parent now.
Result<> Monitor::adopt() {
  std::string text = TRY(read_file(directory_ + "/pid", 64));
  pid_ = static_cast<int>(TRY(parse_u64(trim(text), "pid file")));
  init_ = TRY(sys::pidfd_open(pid_));
  StateDir state = TRY(StateDir::open(context_.root, id_));
  StateRecord record = TRY(state.load());
  if (!record.cgroup.paths.empty()) {
    cgroup_ = TRY(Cgroup::load(record.cgroup));
    if (auto fd = cgroup_->oom_event_fd()) oom_ = std::move(*fd);
  }
  created_ = true;
  uint32_t pid = static_cast<uint32_t>(pid_);
  tell(MonitorMessage::kCreated, bytes_of(pid));
  ::malloc_trim(0);
  return {};
}

Result<> Monitor::start() {
  UniqueFd stdio[3];
  for (auto& fd : stdio) fd = TRY(open_at(AT_FDCWD, "/dev/null", O_RDWR));
  TRY_VOID(in_child(stdio, [this] { return start_container(context_, id_); }));
  started_ = true;
  tell(MonitorMessage::kStarted, "");
  return {};
}

void Monitor::tell(MonitorMessage type, std::string_view payload) {
  for (auto& c : controls_)
    if (c && !send_message(c.get(), type, payload)) c.reset();
}

// Input waits for the container, and its senders with it: nothing is lost, and nothing but their own sockets
// fills.
void Monitor::feed(std::string_view data) {
  if (!master_ && !input_) return;
  pending_input_.append(data);
  flush_input();
}

void Monitor::flush_input() {
  int to = master_ ? master_.get() : input_.get();
  while (!pending_input_.empty()) {
    ssize_t n = to < 0 ? -1 : ::write(to, pending_input_.data(), pending_input_.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {  // nobody reads any more
      pending_input_.clear();
      input_.reset();
      break;
    }
    pending_input_.erase(0, static_cast<size_t>(n));
  }
  pending_input_.shrink_to_fit();
  if (!input_ends_) return;
  input_ends_ = false;
  input_.reset();
}

void Monitor::resize(std::string_view payload) {
  if (payload.size() < 4 || !master_) return;
  winsize size = {};
  memcpy(&size.ws_row, payload.data(), 2);
  memcpy(&size.ws_col, payload.data() + 2, 2);
  (void)::ioctl(master_.get(), TIOCSWINSZ, &size);
}

void Monitor::handle_command(int client, MonitorMessage type, std::string_view payload, UniqueFd descriptor) {
  Result<> r = {};
  switch (type) {
    case MonitorMessage::kCreate:
      r = created_ ? fail(Error::invalid("monitor: kCreate was sent before"))
                   : create(payload, std::move(descriptor));
      ended_ |= !r && !created_;
      break;
    case MonitorMessage::kStart:
      r = created_ ? start() : fail(Error::invalid("monitor: kStart before kCreate"));
      break;
    case MonitorMessage::kSignal: {
      uint32_t signal = 0;
      if (payload.size() != 4 || !init_)
        r = fail(Error::invalid("monitor: kSignal needs four bytes and a container"));
      else
        memcpy(&signal, payload.data(), 4), r = sys::pidfd_signal(init_.get(), static_cast<int>(signal));
      break;
    }
    case MonitorMessage::kResize:
      resize(payload);
      break;
    case MonitorMessage::kStdin:
      feed(payload);
      break;
    case MonitorMessage::kCloseStdin:
      input_ends_ = true;
      flush_input();
      break;
    default:
      r = fail(Error::invalid("monitor: unknown message " + std::to_string(static_cast<int>(type))));
  }
  if (!r) send_message(client, MonitorMessage::kError, with_length(r.error().text()));
}

// One packet, and the descriptor that may come with it.
ssize_t receive_packet(int socket, char* packet, size_t size, UniqueFd& descriptor) {
  iovec part = {packet, size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (cmsghdr* c = n > 0 ? CMSG_FIRSTHDR(&message) : nullptr; c && c->cmsg_type == SCM_RIGHTS) {
    int fd;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    descriptor = UniqueFd(fd);
  }
  return n;
}

void Monitor::handle_control(UniqueFd& client) {
  static char packet[kMaxMessage];
  UniqueFd descriptor;
  ssize_t n = receive_packet(client.get(), packet, sizeof packet, descriptor);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return client.reset();
  MessageHeader header;
  if (static_cast<size_t>(n) < sizeof header) return;
  memcpy(&header, packet, sizeof header);
  size_t size = static_cast<size_t>(n) - sizeof header;
  if (header.version != kProtocolVersion || header.length != size) {
    send_message(client.get(), MonitorMessage::kError,
                 with_length("monitor: bad message: version or length (this is version 1)"));
    return;
  }
  handle_command(client.get(), header.type, {packet + sizeof header, size}, std::move(descriptor));
}

void Monitor::handle_attach(Watcher& client) {
  ssize_t n = ::recv(client.socket.get(), block, kBlock, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return client.socket.reset();
  std::string_view payload(block + 1, static_cast<size_t>(n) - 1);
  if (block[0] == 0)
    feed(payload);
  else if (block[0] == 1)
    resize(payload);
  else if (block[0] == 2)
    input_ends_ = true, flush_input();
  else if (block[0] == 3)
    client.lossless = true;
}

void Monitor::accept_control() {
  UniqueFd client(::accept4(control_listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  std::erase_if(controls_, [](const UniqueFd& c) { return !c; });
  if (client && controls_.size() < kMaxClients) controls_.push_back(std::move(client));
}

// All that wait, and the first word of each: whoever connected before output was written is owed that output.
// The places of those who are there already stay what they are.
void Monitor::accept_watchers() {
  for (pollfd waiting = {attach_listener_.get(), POLLIN, 0}; ::poll(&waiting, 1, 0) > 0;) {
    UniqueFd client(::accept4(attach_listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client) return;
    if (attached_.size() >= kMaxClients) continue;
    attached_.push_back({std::move(client)});
    handle_attach(attached_.back());
  }
}

// Somebody asked not to lose anything and does not read now.
bool Monitor::output_waits() const {
  for (const auto& c : attached_) {
    pollfd one = {c.socket.get(), POLLOUT, 0};
    if (c.lossless && c.socket && ::poll(&one, 1, 0) == 0) return true;
  }
  return false;
}

// One block of output to the log and to whoever watches. False at the end of the stream.
bool Monitor::forward(UniqueFd& from, int stream) {
  ssize_t n = ::read(from.get(), block + 1, kBlock);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) {  // a terminal's end is EIO
    from.reset();
    return false;
  }
  log_.write(stream, {block + 1, static_cast<size_t>(n)});
  block[0] = static_cast<char>(stream);
  for (auto& c : attached_)
    if (c.socket &&
        ::send(c.socket.get(), block, static_cast<size_t>(n) + 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
      c.socket.reset();
  return true;
}

void Monitor::look_for_ooms() {
  if (!cgroup_) return;
  auto now = cgroup_->oom_kills();
  if (!now || *now <= ooms_) return;
  ooms_ = *now;
  tell(MonitorMessage::kOom, bytes_of(ooms_));
}

// All children: init, and whatever it left behind.
void Monitor::reap() {
  siginfo_t info;
  for (;;) {
    info.si_pid = 0;
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0 || !info.si_pid) return;
    if (info.si_pid != pid_) continue;
    status_ = {info.si_code != CLD_EXITED, info.si_status};
    ended_ = true;
  }
}

std::string exit_reason(const sys::ExitStatus& s, uint64_t ooms) {
  if (!s.signalled) return "exited with code " + std::to_string(s.value);
  std::string text = "killed by signal " + std::to_string(s.value);
  if (s.value == SIGKILL && ooms)
    text += ": out of memory (" + std::to_string(ooms) + " kills in its cgroup)";
  return text;
}

// At the end there is a last moment: who asked for every byte gets it if it reads within ten seconds.
void Monitor::wait_for_watchers() {
  for (auto& c : attached_) {
    pollfd one = {c.socket.get(), POLLOUT, 0};
    if (c.lossless && c.socket && ::poll(&one, 1, 10'000) == 0) c.socket.reset();
  }
}

void Monitor::finish() {
  for (auto& c : attached_)
    if (c.socket) handle_attach(c);
  if (attach_listener_) accept_watchers();
  // Output that is still in the pipes; a daemon that inherited them does not hold the monitor up.
  for (auto [fd, stream] : {std::pair<UniqueFd*, int>{&out_, 1}, {&err_, 2}, {&master_, 1}}) {
    if (!*fd) continue;
    (void)::fcntl(fd->get(), F_SETFL, O_NONBLOCK);
    int available = 0;
    while (*fd && ::ioctl(fd->get(), FIONREAD, &available) == 0 && available > 0) {
      wait_for_watchers();
      if (!forward(*fd, stream)) break;
    }
  }
  log_.finish();
  if (!created_) return;
  look_for_ooms();
  std::string reason = exit_reason(status_, ooms_);
  JsonWriter w;
  w.begin_object();
  w.member_number("pid", pid_);
  w.member_number("exitCode", status_.code());
  w.member_number("signal", status_.signalled ? status_.value : 0);
  w.member_number("oomKills", static_cast<int64_t>(ooms_));
  w.member("reason", reason);
  w.member("finishedAt", now_rfc3339());
  w.end_object();
  if (auto dir = open_at(AT_FDCWD, directory_, O_RDONLY | O_DIRECTORY))
    (void)replace_file_at(dir->get(), "exit.json", w.text());
  ExitBody body = {status_.code(), status_.signalled ? status_.value : 0, ooms_};
  tell(MonitorMessage::kExited, std::string(bytes_of(body)) + with_length(reason));
  for (const char* name : {"/control.sock", "/attach.sock"}) (void)::unlink((directory_ + name).c_str());
}

void Monitor::serve() {
  std::erase_if(attached_, [](const Watcher& c) { return !c.socket; });
  std::vector<pollfd> fds;
  auto watch = [&](const UniqueFd& fd, bool wanted = true, short events = POLLIN) {
    fds.push_back({wanted ? fd.get() : -1, events, 0});
  };
  bool output = !output_waits(), input = pending_input_.empty();
  watch(signals_);
  for (const UniqueFd* fd : {&out_, &err_}) watch(*fd, output);
  watch(master_, output || !input, static_cast<short>((output ? POLLIN : 0) | (input ? 0 : POLLOUT)));
  watch(oom_);
  watch(control_listener_);
  watch(attach_listener_);
  watch(input_, !input, POLLOUT);
  constexpr size_t kFixed = 8;
  size_t controls = controls_.size(), attached = attached_.size();
  for (auto& c : controls_) watch(c);
  // One that output waits for is asked whether it can take more.
  for (auto& c : attached_)
    watch(c.socket, true, static_cast<short>((input ? POLLIN : 0) | (output || !c.lossless ? 0 : POLLOUT)));
  if (::poll(fds.data(), fds.size(), -1) < 0) return;
  auto ready = [&](size_t i) { return fds[i].fd >= 0 && fds[i].revents != 0; };
  if (ready(6)) accept_watchers();  // before any output is moved
  if (ready(1)) forward(out_, 1);
  if (ready(2)) forward(err_, 2);
  if (ready(3) && (fds[3].revents & ~POLLOUT)) forward(master_, 1);
  if (!input) flush_input();
  if (ready(4)) {
    (void)!::read(oom_.get(), block, 64);
    look_for_ooms();
  }
  for (size_t i = 0; i < controls; i++)
    if (ready(kFixed + i)) handle_control(controls_[i]);
  for (size_t i = 0; i < attached; i++)
    if (ready(kFixed + controls + i) && (fds[kFixed + controls + i].revents & ~POLLOUT))
      handle_attach(attached_[i]);
  if (ready(5)) accept_control();
  if (ready(0)) {
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof info) == sizeof info)
      if (info.ssi_signo == SIGTERM && init_) (void)sys::pidfd_signal(init_.get(), SIGTERM);
    reap();
  }
  // An engine that went away before the container was let go leaves nothing to watch.
  bool alone = std::none_of(controls_.begin(), controls_.end(),
                            [](const UniqueFd& c) { return static_cast<bool>(c); });
  if (alone && !created_) ended_ = true;
  if (alone && created_ && !started_ && !ended_) (void)sys::pidfd_signal(init_.get(), SIGKILL);
}

Result<> Monitor::run() {
  if (!controls_[0]) return fail(Error::os("monitor: the control descriptor", ""));
  (void)::setsid();  // the terminal's signals are for whoever watches, not for the service
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal : {SIGCHLD, SIGTERM, SIGPIPE}) ::sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return fail(Error::os("monitor: open a signalfd", ""));
  while (!ended_) serve();
  finish();
  return {};
}

void Monitor::hand_over() {
  if (exit_command_.empty() || !created_) return;
  std::vector<char*> argv;
  for (auto& word : exit_command_) argv.push_back(word.data());
  argv.push_back(nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(argv[0], argv.data());
}

}  // namespace

Result<> run_monitor(const RuntimeContext& context, int control) {
  Monitor monitor(context, control);
  TRY_VOID(monitor.run());
  monitor.hand_over();
  return {};
}

}  // namespace onggi::runtime
