// The engine's firewall as a value, and the transactions that make the kernel's table like it.
//
// One table of family inet, ours alone. What depends on containers stands in maps and sets, so that a
// published port is one element and a start without ports touches nothing here:
//
//   bridges, internal, routed     interfaces of networks
//   same                          pairs (a bridge, itself)
//   hairpin4, hairpin6            pairs (a subnet, itself)
//   ports4, ports6                protocol . address . port -> address . port     bound to one address
//   any4, any6                    protocol . port -> address . port               to every local address
//   shared4, shared6              protocol . address . port -> chain              balanced
//   sharedany4, sharedany6        protocol . port -> chain                        balanced, on every address
//
// firewall_whole() replaces the table in one transaction: packets meet the old one or the new one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ip.h"
#include "sys/nftables.h"

namespace onggi::network {

struct FirewallNetwork {
  std::string bridge;
  bool internal = false;
  bool masquerade = true;
  std::vector<IpPrefix> subnets;
};

// One port that leads to one container. Where several have the same host side and group, it is balanced.
struct FirewallPort {
  uint8_t protocol = 6;  // IPPROTO_*
  IpAddress host;        // unspecified (0.0.0.0, ::): every local address
  uint16_t host_port = 0;
  IpAddress target;  // of the same family
  uint16_t target_port = 0;
  std::string group;  // empty: nobody else may have it
  // Same protocol, address and port.
  [[nodiscard]] bool same_place(const FirewallPort& other) const {
    return protocol == other.protocol && host == other.host && host_port == other.host_port;
  }
};

struct Firewall {
  std::vector<FirewallNetwork> networks;
  std::vector<FirewallPort> ports;
  // The host did not route before the engine turned routing on: it still routes nothing else.
  bool only_own_routes = false;
  uint32_t most_connections = 0;  // of one source at a time; 0: without bound
};

// The whole table: removed, if there is one, and made.
void firewall_whole(sys::NftBatch& batch, const Firewall& firewall);

void firewall_add_network(sys::NftBatch& batch, const FirewallNetwork& network);
void firewall_remove_network(sys::NftBatch& batch, const FirewallNetwork& network);
// Ports without a group.
void firewall_add_port(sys::NftBatch& batch, const FirewallPort& port);
void firewall_remove_port(sys::NftBatch& batch, const FirewallPort& port);
// All targets of one shared place; `place` names it where there are none (any more). `existed`: it has a map
// already. Connections that are tracked go on wherever they were.
void firewall_set_shared(sys::NftBatch& batch, const FirewallPort& place,
                         const std::vector<FirewallPort>& targets, bool existed);
std::string shared_chain(const FirewallPort& place);
// The element that a port is: for whoever looks it up. `value` is empty for a shared one.
struct FirewallPlace {
  std::string map, key, value;
};
FirewallPlace firewall_place(const FirewallPort& port);

}  // namespace onggi::network
