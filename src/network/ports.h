// Published ports: what people write and what it means. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"

namespace onggi::network {

struct PortSpec {
  std::optional<IpAddress> host;  // nullopt: every address, IPv4 and IPv6
  uint16_t host_port = 0;         // 0: chosen at each start
  // Chosen from host_port..host_last, where a range was given for one container port.
  uint16_t host_last = 0;
  uint16_t container_port = 0;
  std::string protocol = "tcp";  // "tcp", "udp", "sctp"
  bool operator==(const PortSpec&) const = default;
};

// "[IP:][HOST[-HOST]:]CONTAINER[-CONTAINER][/PROTO]", IPv6 in brackets, or the long form
// "target=80,published=8080,protocol=tcp,mode=host". One entry for each port; messages as the field words
// them.
Result<std::vector<PortSpec>> parse_publish(const std::string& text);
// "IP:HOST[-HOST]:CONTAINER/PROTO" and back, as ContainerConfig::ports has it.
std::string port_text(const PortSpec& spec);
// "80", "80/udp", "8000-8010/tcp" -> "80/tcp", ... one for each.
Result<std::vector<std::string>> parse_expose(const std::string& text);

uint8_t protocol_number(const std::string& name);  // 0: unknown
std::string protocol_name(uint8_t number);

}  // namespace onggi::network
