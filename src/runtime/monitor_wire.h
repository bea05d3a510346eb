// Packets and sockets of the monitor's protocol (protocol.h).
#pragma once

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/protocol.h"

namespace onggi::runtime {

// Never blocks; false when the peer is gone or does not read.
bool send_message(int socket, MonitorMessage type, std::string_view payload);
// Cuts a length-prefixed string off the front.
Result<std::string> take_string(std::string_view& payload);
std::string with_length(std::string_view text);
template <class T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

}  // namespace onggi::runtime
