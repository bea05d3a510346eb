// Who talks to whom: connections between containers, the host and the world.
//
// Two sources, since neither sees all: the sockets of every container (what a bridge carries is not tracked),
// and the host's connection tracking (what is routed or published, also a while after it has ended, and UDP).
// A connection that both know counts once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace onggi::engine {

inline constexpr const char* kHostNode = "host";    // an address of a network's gateway
inline constexpr const char* kWorldNode = "world";  // any other that is no container's

struct TrafficEdge {
  std::string from, to;  // names of containers, or one of the above; `from` made the connection
  uint16_t port = 0;     // of `to`
  std::string protocol;  // "tcp", "udp"
  uint64_t open = 0;     // connections now
  uint64_t recent = 0;   // ended, and still known to the kernel (a minute or two)
};
// Sorted by from, to, port. Takes no lock. `warning` says what could not be read.
Result<std::vector<TrafficEdge>> read_traffic(Engine& engine, std::string& warning);

}  // namespace onggi::engine
