// Links, addresses and routes (rtnetlink) as requests for a NetlinkBatch, and the few questions that the
// engine asks about them. Links are named by index; a link in another network namespace is configured by a
// socket that was opened there (NetlinkSocket::open_in).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"
#include "sys/netlink.h"

namespace onggi::sys {

// Six bytes; "02:42:..." as text.
struct MacAddress {
  std::array<uint8_t, 6> bytes{};
  bool operator==(const MacAddress&) const = default;
};
Result<MacAddress> parse_mac(std::string_view text);  // kInvalid, also for multicast addresses
std::string mac_text(const MacAddress& mac);

struct LinkArgs {
  std::string name;
  uint32_t index = 0;   // 0: the kernel's choice
  uint32_t mtu = 0;     // 0: the kernel's choice
  uint32_t master = 0;  // a bridge
  uint32_t parent = 0;  // macvlan, ipvlan
  int netns = -1;       // made there (of a veth: its peer)
  std::optional<MacAddress> mac;
  bool up = false;
};

void add_bridge(NetlinkBatch& batch, const LinkArgs& bridge);
// The peer has its own name, index and address; `peer.netns` is where it is made.
void add_veth(NetlinkBatch& batch, const LinkArgs& link, const LinkArgs& peer);
// `mode`: IPVLAN_MODE_* or MACVLAN_MODE_*.
void add_macvlan(NetlinkBatch& batch, const LinkArgs& link, uint32_t mode);
void add_ipvlan(NetlinkBatch& batch, const LinkArgs& link, uint16_t mode);
void add_vlan(NetlinkBatch& batch, const LinkArgs& link, uint16_t id);
void add_dummy(NetlinkBatch& batch, const LinkArgs& link);
void set_up(NetlinkBatch& batch, uint32_t index);
void rename_link(NetlinkBatch& batch, uint32_t index, const std::string& name);
void delete_link(NetlinkBatch& batch, const std::string& name);
// A bridge's port: whether it reaches no other isolated port, and whether packets may go out where they came
// in.
void set_port(NetlinkBatch& batch, uint32_t index, bool isolated, bool hairpin);
// IPv6 addresses without duplicate detection: they are usable at once.
void add_address(NetlinkBatch& batch, uint32_t index, const IpAddress& address, unsigned prefix_length);
// `gateway` empty: on the link itself. `source`: preferred source, may be empty.
void add_route(NetlinkBatch& batch, uint32_t index, const IpPrefix& to, const IpAddress& gateway,
               const IpAddress& source = {}, uint32_t metric = 0);
void delete_default_route(NetlinkBatch& batch, uint32_t index, bool v4);

uint32_t link_index(const std::string& name);  // 0: there is none
std::string link_name(uint32_t index);
struct RouteEntry {
  IpPrefix to;
  uint32_t index = 0;
  IpAddress gateway;
};
// Routes of the main and local tables of both families, without the default routes: what addresses mean on
// this host.
Result<std::vector<RouteEntry>> routes(NetlinkSocket& socket);
struct LinkEntry {
  uint32_t index = 0, master = 0;
  std::string name;
  std::string kind;  // "bridge", "veth", ...
};
Result<std::vector<LinkEntry>> links(NetlinkSocket& socket);

}  // namespace onggi::sys
