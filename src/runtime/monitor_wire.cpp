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

}  // namespace onggi::runtime
