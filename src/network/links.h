// A network's bridge on the host, and a container's links: plain data to kernel objects.
//
// What is made here goes by itself: a container's links with its network namespace, whose last process or
// descriptor takes them along. Nothing is removed synchronously on the way of a container's end.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "sys/links.h"

namespace onggi::network {

struct HostAddress {
  IpAddress address;
  unsigned prefix_length = 0;
};

struct BridgePlan {
  std::string name;
  sys::MacAddress mac;
  std::vector<HostAddress> addresses;
  uint32_t mtu = 0;
};
// Makes the bridge with its addresses and brings it up. True when it was not there before. It takes no router
// advertisements. Whatever fails leaves no bridge.
Result<bool> ensure_bridge(sys::NetlinkSocket& socket, const BridgePlan& plan);
Result<> remove_bridge(sys::NetlinkSocket& socket, const std::string& name);
// Lets packets with loopback addresses cross it: for ports that are published on localhost.
Result<> allow_localhost(const std::string& bridge);
// IPv4 and IPv6 routing on. True when the host did not route IPv4 before.
Result<bool> enable_routing();
bool host_has_ipv6();
// Bridged packets meet the firewall (bridge-nf-call-iptables): a translation may happen within the bridge.
bool host_filters_bridges();

struct LinkPlan {
  std::string driver = "bridge";  // "bridge", "macvlan", "ipvlan"
  std::string host_link;          // the host's end of a veth
  std::string master;             // bridge, or parent of macvlan and ipvlan
  std::string interface;          // in the container
  sys::MacAddress mac;
  uint32_t mtu = 0, mode = 0;
  bool isolated = false;  // reaches no other isolated port of the bridge
  // Its packets may go back to it: a published port asked by its own container, where bridged packets meet
  // the firewall.
  bool hairpin = false;
  std::vector<HostAddress> addresses;
  // Default routes; a family without a gateway has none. Empty gateways with `device_default`: by the device.
  IpAddress gateway4, gateway6;
  bool device_default = false;
  IpAddress resolver;  // reached on this link; empty: none
};
// Makes the links and configures them in the network namespace; brings its loopback device up when `first`.
// On an error all links made by this call are gone.
Result<> attach_links(sys::NetlinkSocket& host, int netns, const std::vector<LinkPlan>& plans, bool first);
// Removes one link of a container (by its name there).
Result<> detach_link(int netns, const std::string& interface);
// New default routes by this link; those that other links had are replaced.
Result<> set_default_routes(int netns, const LinkPlan& plan);

// Stable for what it is made of, so that a restarted container or resolver keeps its neighbours' caches
// right.
sys::MacAddress mac_from(std::string_view seed);

}  // namespace onggi::network
