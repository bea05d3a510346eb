// Handing descriptors over Unix sockets that engines listen on.
#pragma once

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

// Connects a socket (SOCK_STREAM or SOCK_SEQPACKET) to the socket file at `path` (also when it is longer than
// the 107 bytes of sun_path).
Result<UniqueFd> connect_unix(const std::string& path, int type = 1 /* SOCK_STREAM */);
// One message with `data` (at least one byte) and the descriptor as SCM_RIGHTS.
Result<> send_descriptor(int socket, int fd, std::string_view data);
// A listening, non-blocking socket at `path`, mode 0600; a stale file there is replaced.
Result<UniqueFd> listen_unix(const std::string& path, int type);
// One descriptor from a stream socket; blocks until it comes.
Result<UniqueFd> receive_descriptor(int socket);

}  // namespace onggi::sys
