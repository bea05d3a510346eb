#include "runtime/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "base/file.h"
#include "base/scope.h"
#include "runtime/copy_up.h"
#include "sys/process.h"

extern "C" const char onggi_child_elf[], onggi_child_elf_end[];

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif

namespace onggi::runtime {

namespace {

// The child's executable: a sealed copy in memory, so that whoever opens /proc/PID/exe in the container finds
// something that can be neither changed nor used to reach the host's binary.
Result<UniqueFd> child_program() {
  int fd = ::memfd_create("onggi-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  if (fd < 0 && errno == EINVAL)
    fd = ::memfd_create("onggi-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);  // before 6.3
  if (fd < 0) return fail(Error::os("create a memfd for the child program", ""));
  UniqueFd program(fd);
  TRY_VOID(write_all(fd, {onggi_child_elf, static_cast<size_t>(onggi_child_elf_end - onggi_child_elf)},
                     "child program"));
  constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (::fcntl(fd, F_ADD_SEALS, kSeals) < 0) return fail(Error::os("seal the child program", ""));
  return program;
}

Result<UniqueFd> plan_file(const CompiledPlan& plan) {
  UniqueFd fd(::memfd_create("onggi-plan", MFD_CLOEXEC));
  if (!fd) return fail(Error::os("create a memfd for the plan", ""));
  std::vector<char> image = plan.builder.image();
  TRY_VOID(write_all(fd.get(), {image.data(), image.size()}, "plan"));
  return fd;
}

struct Received {
  ssize_t size = 0;
  ChildMessage message;
  std::vector<UniqueFd> fds;
};

Result<Received> receive(int socket) {
  Received r;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)];
  iovec iov = {&r.message, sizeof r.message};
  msghdr m = {};
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  do {
    r.size = ::recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
  } while (r.size < 0 && errno == EINTR);
  // A child that was killed with unread data in flight shows as a reset.
  if (r.size < 0 && errno == ECONNRESET) r.size = 0;
  if (r.size < 0) return fail(Error::os("receive from the child", ""));
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    int list[4];
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(list, CMSG_DATA(c), count * sizeof(int));
    for (size_t i = 0; i < count; i++) r.fds.emplace_back(list[i]);
  }
  return r;
}

void answer(int socket, bool ok, const std::vector<UniqueFd>& fds = {}) {
  char byte = ok ? 'K' : 'X';
  iovec iov = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)] = {};
  msghdr m = {};
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  if (!fds.empty()) {
    size_t count = std::min<size_t>(fds.size(), 16);
    m.msg_control = control;
    m.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * count);
    auto* slots = reinterpret_cast<int*>(CMSG_DATA(c));
    for (size_t i = 0; i < count; i++) slots[i] = fds[i].get();
  }
  // A child that is gone is found by the next receive.
  (void)::sendmsg(socket, &m, MSG_NOSIGNAL);
}

// Words for a program that cannot be executed; engines recognise these phrases and turn them into exit codes
// 126 and 127.
Error exec_error(const CompiledPlan& plan, const ChildMessage& m) {
  std::string program = plan.builder.program_name();
  std::string text = "exec: \"" + program + "\": ";
  bool path = program.find('/') != std::string::npos;
  if (m.error == ENOENT && !path)
    text += "executable file not found in $PATH";
  else if (m.error == ENOENT)
    text += "stat " + program + ": no such file or directory";
  else if (m.error == EACCES)
    text += "permission denied";
  else if (m.error == EISDIR)
    text += "is a directory";
  else if (m.error == ENOEXEC)
    text += "exec format error (built for another architecture, or a script without #!)";
  else
    text += errno_text(m.error);
  return {m.error == ENOENT ? ErrorKind::kNotFound : ErrorKind::kPermission, text, m.error};
}

Error step_error(const CompiledPlan& plan, const ChildMessage& m) {
  const auto& steps = plan.builder.steps();
  if (m.step < steps.size() && (steps[m.step].op == Op::kFindExec || steps[m.step].op == Op::kExec))
    return exec_error(plan, m);
  std::string text = plan.builder.describe(m.step) + " (step " + std::to_string(m.step) + ")";
  std::string detail(m.detail, strnlen(m.detail, sizeof m.detail));
  while (!detail.empty() && detail.back() == '\n') detail.pop_back();
  text += ": ";
  if (!detail.empty()) text += detail + ": ";
  text += errno_text(m.error);
  if (m.error == EAGAIN && m.step < steps.size() && steps[m.step].op == Op::kClone)
    text += " (the pids limit of the cgroup must allow at least 2 processes while the container is set up)";
  return {m.error == EPERM || m.error == EACCES ? ErrorKind::kPermission : ErrorKind::kOs, text, m.error};
}

// What the child has reached when it asks.
const char* sync_name(SyncPoint point) {
  switch (point) {
    case SyncPoint::kMapped:
      return "child: user namespace";
    case SyncPoint::kCgroup:
      return "child: namespaces and mounts";
    case SyncPoint::kNetDevices:
      return "child: network namespace";
    case SyncPoint::kHooks:
      return "child: ready for hooks";
    case SyncPoint::kCreated:
      return "child: identity and program";
  }
  return "child";
}

class Session {
 public:
  Session(const LaunchArgs& args, const LaunchHandlers& handlers)
      : args_(args), handlers_(handlers), created_(args.bare) {}

  Result<Launched> run();

 private:
  Result<> start();
  Result<bool> handle(Received& r);  // true: finished with success
  Result<> handle_sync(SyncPoint point);
  Result<> handle_pid(int pid);
  Error ended_early();
  [[nodiscard]] bool comes_too_early(const ChildMessage& m) const;
  void phase(const char* name) const {
    if (handlers_.phase) handlers_.phase(name);
  }
  Error abort(Error error);

  const LaunchArgs& args_;
  const LaunchHandlers& handlers_;
  UniqueFd socket_;
  Launched child_;
  std::string plan_number_, sync_number_;
  const char* argv_[4] = {"onggi-init", nullptr, nullptr, nullptr};
  const char* envp_[1] = {nullptr};
  std::vector<int> inherit_;
  sys::SpawnArgs spawn_;
  bool created_ = false;
  // A staged start: the process that goes on may be heard before the first one has told its pid. Until then
  // it is not answered.
  size_t clone_step_ = SIZE_MAX;
  std::vector<Received> held_;
};

Result<> Session::start() {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return fail(Error::os("create a socket pair", ""));
  socket_ = UniqueFd(pair[0]);
  UniqueFd theirs(pair[1]);
  UniqueFd program = TRY(child_program());
  UniqueFd plan = TRY(plan_file(*args_.plan));
  // The new process reads these while it is on its way to exec; this object lives until it has answered.
  plan_number_ = std::to_string(plan.get());
  sync_number_ = std::to_string(theirs.get());
  argv_[1] = plan_number_.c_str();
  argv_[2] = sync_number_.c_str();
  inherit_ = args_.plan->fds;
  inherit_.push_back(plan.get());
  inherit_.push_back(theirs.get());
  spawn_.clone_flags = args_.plan->clone_flags;
  const auto& steps = args_.plan->builder.steps();
  for (size_t i = 0; i < steps.size(); i++) {
    if (steps[i].op == Op::kClone) clone_step_ = i;
  }
  spawn_.exec_fd = program.get();
  spawn_.argv = argv_;
  spawn_.envp = envp_;
  spawn_.cgroup_fd = args_.cgroup_fd;
  spawn_.inherit = inherit_.data();
  spawn_.inherit_count = static_cast<int>(inherit_.size());
  // Only with other work to do meanwhile is it worth not to wait.
  spawn_.wait = !handlers_.after_spawn;
  for (int i = 0; i < 3; i++) spawn_.stdio[i] = args_.stdio[i];
  sys::Spawned s = TRY(sys::spawn(spawn_));
  child_.pid = s.pid;
  child_.pidfd = std::move(s.pidfd);
  return {};
}

Result<> Session::handle_pid(int pid) {
  // Once, and of a process of this one's: it is going to be waited for, signalled and recorded.
  if (clone_step_ == SIZE_MAX)
    return fail(Error::internal("the child named a process that nobody asked for"));
  // The first process only prepared; it is reaped here, and the process that it left behind is this one's
  // child, too.
  (void)sys::wait_pidfd(child_.pidfd.get());
  child_.pid = pid;
  child_.pidfd = TRY(sys::pidfd_open(pid));
  clone_step_ = SIZE_MAX;
  return {};
}

Result<> Session::handle_sync(SyncPoint point) {
  std::vector<UniqueFd> fds;
  switch (point) {
    case SyncPoint::kMapped:
      if (handlers_.map_ids) TRY_VOID(handlers_.map_ids(child_.pid));
      break;
    case SyncPoint::kCgroup:
      if (handlers_.join_cgroup) fds = TRY(handlers_.join_cgroup(child_.pid));
      break;
    case SyncPoint::kNetDevices:
      if (handlers_.net_devices) TRY_VOID(handlers_.net_devices(child_.pid));
      break;
    case SyncPoint::kHooks:
      if (handlers_.hooks) TRY_VOID(handlers_.hooks(child_.pid, child_.pidfd.get()));
      break;
    case SyncPoint::kCreated:
      if (handlers_.created) TRY_VOID(handlers_.created(child_.pid));
      created_ = true;
      break;
  }
  answer(socket_.get(), true, fds);
  close_all(fds);
  return {};
}

Result<bool> Session::handle(Received& r) {
  const ChildMessage& m = r.message;
  switch (m.kind) {
    case ChildMessageKind::kFailed:
      return fail(step_error(*args_.plan, m));
    case ChildMessageKind::kSync:
      phase(sync_name(static_cast<SyncPoint>(m.value)));
      TRY_VOID(handle_sync(static_cast<SyncPoint>(m.value)));
      return created_ && args_.waits_for_start;
    case ChildMessageKind::kReady:
      phase("child: ready");
      created_ = true;
      return false;
    case ChildMessageKind::kPid:
      TRY_VOID(handle_pid(m.value));
      return false;
    case ChildMessageKind::kConsole:
      if (r.fds.size() != 1) return fail(Error::internal("the child sent a console without a descriptor"));
      if (handlers_.console) TRY_VOID(handlers_.console(std::move(r.fds[0])));
      break;
    case ChildMessageKind::kSeccompFd: {
      UniqueFd listener = TRY(sys::pidfd_getfd(child_.pidfd.get(), m.value));
      if (handlers_.seccomp_listener) TRY_VOID(handlers_.seccomp_listener(std::move(listener), child_.pid));
      break;
    }
    case ChildMessageKind::kCopyUp:
      if (r.fds.size() != 2)
        return fail(Error::internal("the child asked for a copy without two descriptors"));
      TRY_VOID(copy_up(r.fds[0].get(), r.fds[1].get()));
      break;
    case ChildMessageKind::kWarning:
      if (handlers_.warning)
        handlers_.warning(args_.plan->builder.describe(m.step) +
                          ": not raised above the runtime's own limit, which needs CAP_SYS_RESOURCE");
      return false;
  }
  answer(socket_.get(), true);
  return false;
}

Error Session::ended_early() {
  auto status = sys::wait_pidfd(child_.pidfd.get());
  if (!spawn_.wait && sys::spawn_error())
    return Error::os("execute the child program", "", sys::spawn_error());
  std::string text = "the container's first process ended before it could start";
  if (status && status->signalled)
    text += ": killed by signal " + std::to_string(status->value) +
            (status->value == SIGKILL ? " (is its memory limit too low?)" : "");
  else if (status)
    text += ": exit code " + std::to_string(status->value);
  return Error(ErrorKind::kOs, text);
}

Error Session::abort(Error error) {
  socket_.reset();
  if (child_.pidfd) {
    (void)sys::pidfd_signal(child_.pidfd.get(), SIGKILL);
    (void)sys::wait_pidfd(child_.pidfd.get());
  }
  return error;
}

// True for what the second process of a staged start says before its pid is known. The first one only ever
// fails, or meets the parent, at steps up to the clone.
bool Session::comes_too_early(const ChildMessage& m) const {
  if (clone_step_ == SIZE_MAX || m.kind == ChildMessageKind::kPid) return false;
  bool of_first = m.kind == ChildMessageKind::kSync || m.kind == ChildMessageKind::kFailed;
  return !of_first || m.step > clone_step_;
}

Result<Launched> Session::run() {
  TRY_VOID(start());
  phase("spawn");
  if (handlers_.after_spawn)
    if (auto r = handlers_.after_spawn(child_.pid); !r) return fail(abort(std::move(r).error()));
  phase("cgroup made");
  for (;;) {
    auto received = receive(socket_.get());
    if (!received) return fail(abort(std::move(received).error()));
    if (received->size == 0) {
      // End of file: the exec closed the socket, or the process died. A process that died before "created"
      // never ran.
      if (created_) break;
      return fail(ended_early());
    }
    if (comes_too_early(received->message)) {
      held_.push_back(std::move(*received));
      continue;
    }
    auto done = handle(*received);
    if (done && received->message.kind == ChildMessageKind::kPid) {
      for (size_t i = 0; done && !*done && i < held_.size(); i++) done = handle(held_[i]);
      held_.clear();
    }
    if (!done) return fail(abort(std::move(done).error()));
    if (*done) break;
  }
  phase("exec");
  return std::move(child_);
}

}  // namespace

Result<Launched> launch(const LaunchArgs& args, const LaunchHandlers& handlers) {
  Session session(args, handlers);
  return session.run();
}

}  // namespace onggi::runtime
