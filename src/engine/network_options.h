// Options of network drivers: the only place that knows their names. What is not here is refused.
#pragma once

#include <cstdint>
#include <string>

#include "base/ip.h"
#include "engine/networks.h"

namespace onggi::engine {

// kInvalid or kUnsupported for a driver or an option that there is not, or a value that makes no sense.
Result<> check_network_options(const NetworkConfig& network);
// "label=key[=value]", "until=TIME", "label!=...".
Result<bool> prune_matches(const NetworkConfig& network, const std::string& filter);

uint32_t network_mtu(const NetworkConfig& network);   // 0: the kernel's
bool network_isolates(const NetworkConfig& network);  // its containers do not reach each other
bool network_masquerades(const NetworkConfig& network);
std::string network_parent(const NetworkConfig& network);  // macvlan, ipvlan: "eth0", "eth0.50"
uint32_t network_mode(const NetworkConfig& network);       // MACVLAN_MODE_*, IPVLAN_MODE_*
std::string network_bridge(const Engine& engine, const NetworkConfig& network);
// Where published ports are bound when nobody says; empty address: everywhere.
IpAddress network_binding(const NetworkConfig& network);

}  // namespace onggi::engine
