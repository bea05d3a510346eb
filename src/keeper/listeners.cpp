#include "keeper/listeners.h"

#include <algorithm>
#include <set>

namespace onggi::keeper {

bool listens_on_v4_alone(const std::vector<engine::SocketEntry>& sockets) {
  std::set<uint16_t> four, six;
  for (const auto& s : sockets) {
    if (s.state != engine::kSocketListens) continue;
    if (s.local.is_v6())
      six.insert(s.local_port);
    else if (!s.local.is_loopback())
      four.insert(s.local_port);
  }
  return std::any_of(four.begin(), four.end(), [&](uint16_t port) { return !six.contains(port); });
}

}  // namespace onggi::keeper
