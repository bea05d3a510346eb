// Moving network devices of the host into a container (linux.netDevices), by raw netlink.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace onggi::sys {

struct NetDeviceMove {
  std::string name;      // on the host
  std::string new_name;  // in the container; empty: the same
};

// Moves each device into the network namespace of `pid`, keeps its permanent addresses of global scope, and
// brings it up there. When one fails, those moved before come back by themselves only with the namespace; the
// error says which failed.
Result<> move_net_devices(int pid, const std::vector<NetDeviceMove>& devices);

}  // namespace onggi::sys
