#include "sys/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/file.h"

namespace onggi::sys {

Result<UniqueFd> connect_unix(const std::string& path, int type) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::string shown = path;
  UniqueFd directory;
  if (path.size() >= sizeof address.sun_path) {
    // Too long for the address: reach it through its directory.
    size_t slash = path.find_last_of('/');
    directory = TRY(open_at(AT_FDCWD, path.substr(0, slash), O_PATH | O_DIRECTORY));
    shown = "/proc/self/fd/" + std::to_string(directory.get()) + path.substr(slash);
    if (shown.size() >= sizeof address.sun_path) return fail(Error::os("connect to", path, ENAMETOOLONG));
  }
  memcpy(address.sun_path, shown.c_str(), shown.size() + 1);
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!fd) return fail(Error::os("create a socket", ""));
  int r;
  do {
    r = ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  } while (r < 0 && errno == EINTR);
  if (r < 0) return fail(Error::os("connect to", path));
  return fd;
}

Result<> send_descriptor(int socket, int fd, std::string_view data) {
  iovec iov = {const_cast<char*>(data.data()), data.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr m = {};
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &fd, sizeof fd);
  ssize_t n;
  do {
    n = ::sendmsg(socket, &m, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return fail(Error::os("send a descriptor", ""));
  if (static_cast<size_t>(n) < data.size())
    return write_all(socket, data.substr(static_cast<size_t>(n)), "socket");
  return {};
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

}  // namespace onggi::sys
