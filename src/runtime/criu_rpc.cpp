#include "runtime/criu_rpc.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/file.h"

namespace onggi::runtime {

namespace {

// Field numbers of criu_req and criu_resp (rpc.proto).
constexpr uint32_t kReqType = 1, kReqOpts = 2, kReqNotifySuccess = 3;
constexpr uint32_t kRespType = 1, kRespSuccess = 2, kRespRestore = 4, kRespNotify = 5, kRespErrno = 7,
                   kRespMessage = 9;
constexpr uint64_t kTypeNotify = 6;
constexpr uint32_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

Error malformed(const char* what) {
  return Error::internal(std::string("criu's answer is not what rpc.proto says: ") + what);
}

}  // namespace

void ProtoWriter::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
  bytes_ += static_cast<char>(value);
}

void ProtoWriter::number(uint32_t field, uint64_t value) {
  varint(field << 3 | kVarint);
  varint(value);
}

void ProtoWriter::text(uint32_t field, std::string_view bytes) {
  varint(field << 3 | kBytes);
  varint(bytes.size());
  bytes_ += bytes;
}

Result<uint64_t> ProtoReader::varint() {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) return fail(malformed("a number is cut short"));
    auto byte = static_cast<uint8_t>(rest_[0]);
    rest_.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return value;
  }
  return fail(malformed("a number is longer than 64 bits"));
}

Result<bool> ProtoReader::next(ProtoField& field) {
  if (rest_.empty()) return false;
  uint64_t tag = TRY(varint());
  field = {};
  field.number = static_cast<uint32_t>(tag >> 3);
  uint64_t length = 0;
  switch (tag & 7) {
    case kVarint:
      field.value = TRY(varint());
      return true;
    case kBytes:
      length = TRY(varint());
      break;
    case kFixed64:
      length = 8;
      break;
    case kFixed32:
      length = 4;
      break;
    default:
      return fail(malformed("an unknown kind of field"));
  }
  if (length > rest_.size()) return fail(malformed("a field is cut short"));
  field.bytes = rest_.substr(0, length);
  rest_.remove_prefix(length);
  return true;
}

Result<CriuAnswer> parse_criu_answer(std::string_view packet) {
  CriuAnswer answer;
  ProtoReader reader(packet);
  ProtoField field, inner;
  while (TRY(reader.next(field))) {
    switch (field.number) {
      case kRespType:
        answer.notify = field.value == kTypeNotify;
        break;
      case kRespSuccess:
        answer.success = field.value != 0;
        break;
      case kRespErrno:
        answer.error = static_cast<int>(field.value);
        break;
      case kRespMessage:
        answer.message = field.bytes;
        break;
      case kRespRestore:
        for (ProtoReader r(field.bytes); TRY(r.next(inner));)
          if (inner.number == 1) answer.pid = static_cast<int>(inner.value);
        break;
      case kRespNotify:
        for (ProtoReader r(field.bytes); TRY(r.next(inner));) {
          if (inner.number == 1) answer.event.script = inner.bytes;
          if (inner.number == 2) answer.event.pid = static_cast<int>(inner.value);
        }
        break;
      default:
        break;
    }
  }
  return answer;
}

std::string find_program(const std::string& name) {
  const char* path = ::getenv("PATH");
  std::string list = std::string(path ? path : "") + ":/usr/local/sbin:/usr/sbin:/sbin";
  for (size_t at = 0; at <= list.size();) {
    size_t end = std::min(list.find(':', at), list.size());
    std::string candidate = list.substr(at, end - at) + "/" + name;
    // Relative entries of $PATH are left out: what runs as root must not depend on the working directory.
    if (candidate[0] == '/' && end > at && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    at = end + 1;
  }
  return {};
}

Result<CriuSession> CriuSession::start(const std::vector<int>& inherit, bool quiet) {
  std::string criu = find_program("criu");
  if (criu.empty())
    return fail(Error::not_found(
        "criu is not installed: it is neither in $PATH nor in /usr/local/sbin or /usr/sbin; install criu"));
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    return fail(Error::os("make a socket pair for", criu));
  CriuSession session;
  session.socket_ = UniqueFd(ends[0]);
  UniqueFd theirs(ends[1]);
  std::string number = std::to_string(theirs.get());
  const char* argv[] = {criu.c_str(), "swrk", number.c_str(), nullptr};
  std::vector<int> passed = inherit;
  passed.push_back(theirs.get());
  sys::SpawnArgs spawn;
  UniqueFd null;
  if (quiet) null = TRY(open_at(AT_FDCWD, "/dev/null", O_RDWR));
  for (int& stream : spawn.stdio) stream = null.get();
  spawn.exec_path = criu.c_str();
  spawn.argv = argv;
  spawn.envp = environ;
  spawn.inherit = passed.data();
  spawn.inherit_count = static_cast<int>(passed.size());
  session.process_ = TRY_CTX(sys::spawn(spawn), "run criu");
  return session;
}

CriuSession::~CriuSession() { finish(); }

void CriuSession::finish() {
  socket_.reset();
  if (!process_.pidfd) return;
  // It ends by itself when its socket is closed; a worker that hangs is not waited for.
  constexpr int kPatienceMs = 10000;
  if (!sys::wait_exited(process_.pidfd.get(), kPatienceMs))
    (void)sys::pidfd_signal(process_.pidfd.get(), SIGKILL);
  (void)sys::wait_pidfd(process_.pidfd.get());
  process_.pidfd.reset();
}

Result<> CriuSession::send(const ProtoWriter& message) {
  ssize_t n;
  do {
    n = ::send(socket_.get(), message.bytes().data(), message.bytes().size(), MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return fail(Error::os("send a request to", "criu"));
  return {};
}

Result<CriuAnswer> CriuSession::receive() {
  constexpr size_t kLargest = 65536;  // criu's own buffer is smaller
  std::string packet(kLargest, '\0');
  iovec iov = {packet.data(), packet.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr m = {};
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  // Tasks that a crashed criu leaves half-made have the other end of the socket, too: its end is not to be
  // seen there.
  pollfd either[2] = {{socket_.get(), POLLIN, 0}, {process_.pidfd.get(), POLLIN, 0}};
  ssize_t n;
  do {
    n = ::poll(either, 2, -1);
  } while (n < 0 && errno == EINTR);
  if (!either[0].revents) return fail(Error::internal("criu ended without an answer"));
  do {
    n = ::recvmsg(socket_.get(), &m, MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return fail(Error::os("wait for the answer of", "criu"));
  UniqueFd fd;
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    int number;
    memcpy(&number, CMSG_DATA(c), sizeof number);
    fd = UniqueFd(number);
  }
  if (n == 0) return fail(Error::internal("criu ended without an answer"));
  if (m.msg_flags & MSG_TRUNC) return fail(malformed("it is longer than 64 KiB"));
  CriuAnswer answer = TRY(parse_criu_answer({packet.data(), static_cast<size_t>(n)}));
  answer.event.fd = std::move(fd);
  return answer;
}

Result<CriuAnswer> CriuSession::call(CriuRequest kind, const ProtoWriter& options,
                                     const std::function<Result<>(CriuEvent&)>& on_event) {
  ProtoWriter request;
  request.number(kReqType, static_cast<uint64_t>(kind));
  request.message(kReqOpts, options);
  TRY_VOID(send(request));
  std::optional<Error> refusal;  // why this side told criu to undo
  for (;;) {
    auto answer = receive();
    if (!answer && refusal) return fail(std::move(*refusal));
    if (!answer) return answer;
    if (answer->notify) {
      Result<> done = refusal ? Result<>() : on_event(answer->event);
      if (!done) refusal = std::move(done).error();
      ProtoWriter reply;
      reply.number(kReqType, kTypeNotify);
      reply.number(kReqNotifySuccess, refusal ? 0 : 1);
      if (auto sent = send(reply); !sent)
        return fail(refusal ? std::move(*refusal) : std::move(sent).error());
      continue;
    }
    if (refusal) return fail(std::move(*refusal));
    if (answer->success) return answer;
    std::string why = answer->message;
    if (answer->error) why += (why.empty() ? "" : ": ") + errno_text(answer->error);
    return fail(Error(ErrorKind::kOs, why, answer->error));
  }
}

}  // namespace onggi::runtime
