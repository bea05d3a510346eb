// Does a service listen on IPv4 alone? Its name then has no AAAA record: programs that try only the first
// address of a name (glibc prefers IPv6) would be refused by a service that is there.
#pragma once

#include <vector>

#include "engine/socket_table.h"

namespace onggi::keeper {

// Some port is listened at beyond loopback on IPv4 and not on IPv6; a socket for both families is an IPv6
// one. `sockets` are those of a network namespace (engine::sockets_of). Pure.
bool listens_on_v4_alone(const std::vector<engine::SocketEntry>& sockets);

}  // namespace onggi::keeper
