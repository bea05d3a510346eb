#include "runtime/monitor_wire.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/file.h"

namespace onggi::runtime {

bool send_message(int socket, MonitorMessage type, std::string_view payload) {
  MessageHeader header;
  header.type = type;
  payload = payload.substr(0, kMaxMessage - sizeof header);
  header.length = static_cast<uint32_t>(payload.size());
  std::string packet(bytes_of(header));
  packet += payload;
  return ::send(socket, packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

Result<std::string> take_string(std::string_view& payload) {
  uint32_t length = 0;
  if (payload.size() < sizeof length) return fail(Error::invalid("monitor: a string is missing"));
  memcpy(&length, payload.data(), sizeof length);
  payload.remove_prefix(sizeof length);
  if (length > payload.size()) return fail(Error::invalid("monitor: a string is longer than its message"));
  std::string text(payload.substr(0, length));
  payload.remove_prefix(length);
  if (text.find('\0') != std::string::npos) return fail(Error::invalid("monitor: a string contains NUL"));
  return text;
}

std::string with_length(std::string_view text) {
  auto length = static_cast<uint32_t>(text.size());
  return std::string(bytes_of(length)) + std::string(text);
}

Result<UniqueFd> listen_unix(const std::string& path, int type) {
  size_t slash = path.find_last_of('/');
  UniqueFd directory = TRY(open_at(AT_FDCWD, path.substr(0, slash), O_PATH | O_DIRECTORY));
  // By way of the descriptor the path always fits into sun_path.
  std::string short_path = "/proc/self/fd/" + std::to_string(directory.get()) + path.substr(slash);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (short_path.size() >= sizeof address.sun_path) return fail(Error::os("listen at", path, ENAMETOOLONG));
  memcpy(address.sun_path, short_path.c_str(), short_path.size() + 1);
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(Error::os("create a socket", ""));
  (void)::unlinkat(directory.get(), path.c_str() + slash + 1, 0);
  mode_t before = ::umask(0177);
  int r = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  int e = errno;
  ::umask(before);
  if (r < 0) return fail(Error::os("bind", path, e));
  if (::listen(fd.get(), 8) < 0) return fail(Error::os("listen at", path));
  return fd;
}

Result<UniqueFd> receive_descriptor(int socket) {
  char data[256];
  iovec iov = {data, sizeof data};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr m = {};
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  ssize_t n;
  do {
    n = ::recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return fail(Error::os("receive a descriptor", ""));
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
    return fail(Error::internal("expected a descriptor"));
  int fd;
  memcpy(&fd, CMSG_DATA(c), sizeof fd);
  return UniqueFd(fd);
}

std::string error_message(const std::string& log) {
  constexpr std::string_view kMark = "level=error msg=\"";
  size_t at = log.rfind(kMark);
  if (at == std::string::npos) return std::string(trim(log));
  std::string text = log.substr(at + kMark.size());
  if (size_t end = text.find("\"\n"); end != std::string::npos) text.resize(end);
  std::string plain;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 1 < text.size()) i++;
    plain += text[i];
  }
  return plain;
}

}  // namespace onggi::runtime
