// TCP and UDP sockets of a network namespace, as /proc/PID/net/{tcp,tcp6,udp,udp6} tell (proc_pid_net(5)).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/ip.h"

namespace onggi::engine {

inline constexpr uint8_t kSocketEstablished = 1, kSocketTimeWait = 6, kSocketListens = 10;  // TCP_*

struct SocketEntry {
  IpAddress local, remote;  // an IPv4 address in a tcp6 table is IPv4 here
  uint16_t local_port = 0, remote_port = 0;
  uint8_t state = 0;  // TCP_*
};
// Lines that are not as the kernel writes them are left out. Pure.
std::vector<SocketEntry> parse_socket_table(std::string_view text);
// Both families of `protocol` ("tcp", "udp") of the process's network namespace; at most 1 MiB of each table.
std::vector<SocketEntry> sockets_of(int pid, const char* protocol);

}  // namespace onggi::engine
