#include "runtime/handover.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "base/file.h"
#include "sys/unix_socket.h"

namespace onggi::runtime {

Result<> Handover::connect(const std::string& console_socket, const std::string& pidfd_socket) {
  if (!console_socket.empty()) console_socket_ = TRY_CTX(sys::connect_unix(console_socket), "console socket");
  if (!pidfd_socket.empty()) pidfd_socket_ = TRY_CTX(sys::connect_unix(pidfd_socket), "pidfd socket");
  return {};
}

Result<> Handover::take_console(UniqueFd master) {
  if (console_socket_) return sys::send_descriptor(console_socket_.get(), master.get(), "/dev/ptmx");
  console_ = std::move(master);
  return {};
}

Result<> Handover::send_pidfd(int pidfd) {
  if (!pidfd_socket_) return {};
  TRY_VOID_CTX(sys::send_descriptor(pidfd_socket_.get(), pidfd, "pidfd"), "pidfd socket");
  return {};
}

Result<> write_pid_file(const std::string& path, int pid) {
  std::string temporary = path + ".tmp." + std::to_string(::getpid());
  // The name can be guessed. Where others make files, too (/tmp), whatever stands there is theirs: taken
  // away, never written through.
  (void)::unlink(temporary.c_str());
  auto written = write_file(temporary, std::to_string(pid), O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
  if (written && ::rename(temporary.c_str(), path.c_str()) == 0) return {};
  Error error = written ? Error::os("rename to", path) : std::move(written).error();
  (void)::unlink(temporary.c_str());
  return fail(std::move(error.wrap("pid file")));
}

}  // namespace onggi::runtime
