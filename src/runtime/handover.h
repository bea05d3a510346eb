// What a command hands to its caller about the process it started: the terminal's master, a pidfd, the pid
// file.
//
// Owns the connections, made before anything has an effect: a caller that does not listen is an error while
// there is nothing to undo.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::runtime {

class Handover {
 public:
  // Connects to the sockets that are named; an empty path is none.
  Result<> connect(const std::string& console_socket, const std::string& pidfd_socket);
  // Sends the pty's master to the console socket, or keeps it for console() when there is none.
  Result<> take_console(UniqueFd master);
  // The master that nobody else got; invalid when there is none.
  UniqueFd console() { return std::move(console_); }
  // Nothing without a pidfd socket.
  Result<> send_pidfd(int pidfd);

 private:
  UniqueFd console_socket_, pidfd_socket_, console_;
};

// Writes the pid, without a newline as engines expect it, into a new file that replaces `path`: whoever waits
// for the file finds it complete. On failure no file of this call is left.
Result<> write_pid_file(const std::string& path, int pid);

}  // namespace onggi::runtime
