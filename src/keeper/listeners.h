// Does a service listen on IPv4 alone? Its name then has no AAAA record: programs that try only the first
// address of a name (glibc prefers IPv6) would be refused by a service that is there.
#pragma once

#include <string>
#include <string_view>

namespace onggi::keeper {

// From the texts of /proc/PID/net/tcp and tcp6 (proc_pid_net(5)): some port is listened at beyond loopback on
// IPv4 and not on IPv6. A socket for both families stands in tcp6. Pure.
bool listens_on_v4_alone(std::string_view tcp, std::string_view tcp6);
// The same of the network namespace of process `pid`; false when that cannot be read.
bool process_listens_on_v4_alone(int pid);

}  // namespace onggi::keeper
