#include "sys/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
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

}  // namespace onggi::sys
