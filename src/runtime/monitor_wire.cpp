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
