#include "sys/links.h"

#include <net/if.h>
#include <netinet/in.h>
// These come after the C library's own.
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include <cstdio>
#include <cstring>

namespace onggi::sys {

namespace {

ifinfomsg link_body(uint32_t index, bool up) {
  ifinfomsg m = {};
  m.ifi_family = AF_UNSPEC;
  m.ifi_index = static_cast<int>(index);
  if (up) m.ifi_flags = m.ifi_change = IFF_UP;
  return m;
}

std::string_view as_bytes(const auto& value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

std::string_view mac_bytes(const MacAddress& mac) {
  return {reinterpret_cast<const char*>(mac.bytes.data()), mac.bytes.size()};
}

void put_link(NetlinkBatch& b, const LinkArgs& l) {
  if (!l.name.empty()) b.put_string(IFLA_IFNAME, l.name);
  if (l.mtu) b.put_u32(IFLA_MTU, l.mtu);
  if (l.master) b.put_u32(IFLA_MASTER, l.master);
  if (l.parent) b.put_u32(IFLA_LINK, l.parent);
  if (l.netns >= 0) b.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(l.netns));
  if (l.mac) b.put(IFLA_ADDRESS, mac_bytes(*l.mac));
}

template <class F>
void new_link(NetlinkBatch& b, const LinkArgs& l, const char* kind, F data) {
  b.begin(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, link_body(l.index, l.up),
          std::string("make the ") + kind + " link " + l.name);
  put_link(b, l);
  size_t info = b.open(IFLA_LINKINFO);
  b.put(IFLA_INFO_KIND, kind);
  size_t inner = b.open(IFLA_INFO_DATA);
  data();
  b.close_nested(inner);
  b.close_nested(info);
}

uint8_t family_of(const IpAddress& a) { return a.is_v4() ? AF_INET : AF_INET6; }

}  // namespace

Result<MacAddress> parse_mac(std::string_view text) {
  MacAddress mac;
  unsigned v[6];
  char rest = 0;
  std::string copy(text);
  bool ok = ::sscanf(copy.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%c", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5],
                     &rest) == 6 &&
            copy.size() == 17;
  for (size_t n = 0; ok && n < 6; n++) mac.bytes[n] = static_cast<uint8_t>(v[n]);
  if (!ok || (mac.bytes[0] & 1)) return fail(Error::invalid(copy + " is not a valid mac address"));
  return mac;
}

std::string mac_text(const MacAddress& m) {
  char out[18];
  snprintf(out, sizeof out, "%02x:%02x:%02x:%02x:%02x:%02x", m.bytes[0], m.bytes[1], m.bytes[2], m.bytes[3],
           m.bytes[4], m.bytes[5]);
  return out;
}

void add_bridge(NetlinkBatch& b, const LinkArgs& bridge) {
  new_link(b, bridge, "bridge", [&] {
    // No spanning tree: a port forwards from its first packet.
    b.put_u32(IFLA_BR_STP_STATE, 0);
    b.put_u32(IFLA_BR_FORWARD_DELAY, 0);
  });
}

void add_veth(NetlinkBatch& b, const LinkArgs& link, const LinkArgs& peer) {
  new_link(b, link, "veth", [&] {
    ifinfomsg body = link_body(peer.index, peer.up);
    size_t inner = b.open(VETH_INFO_PEER, as_bytes(body));
    put_link(b, peer);
    b.close_nested(inner);
  });
}

void add_macvlan(NetlinkBatch& b, const LinkArgs& link, uint32_t mode) {
  new_link(b, link, "macvlan", [&] { b.put_u32(IFLA_MACVLAN_MODE, mode); });
}
void add_ipvlan(NetlinkBatch& b, const LinkArgs& link, uint16_t mode) {
  new_link(b, link, "ipvlan", [&] { b.put_u16(IFLA_IPVLAN_MODE, mode); });
}
void add_vlan(NetlinkBatch& b, const LinkArgs& link, uint16_t id) {
  new_link(b, link, "vlan", [&] { b.put_u16(IFLA_VLAN_ID, id); });
}
void add_dummy(NetlinkBatch& b, const LinkArgs& link) {
  new_link(b, link, "dummy", [] {});
}

void set_up(NetlinkBatch& b, uint32_t index) {
  b.begin(RTM_NEWLINK, NLM_F_ACK, link_body(index, true), "bring up link " + std::to_string(index));
}

void rename_link(NetlinkBatch& b, uint32_t index, const std::string& name) {
  b.begin(RTM_NEWLINK, NLM_F_ACK, link_body(index, false), "name a link " + name);
  b.put_string(IFLA_IFNAME, name);
}

void delete_link(NetlinkBatch& b, const std::string& name) {
  b.begin(RTM_DELLINK, NLM_F_ACK, link_body(0, false), "remove the link " + name);
  b.put_string(IFLA_IFNAME, name);
}

void set_port(NetlinkBatch& b, uint32_t index, bool isolated, bool hairpin) {
  ifinfomsg body = link_body(index, false);
  body.ifi_family = AF_BRIDGE;
  b.begin(RTM_SETLINK, NLM_F_ACK, body, "set up the bridge port " + std::to_string(index));
  size_t info = b.open(IFLA_PROTINFO | NLA_F_NESTED);
  b.put_u8(IFLA_BRPORT_ISOLATED, isolated);
  b.put_u8(IFLA_BRPORT_MODE, hairpin);
  b.close_nested(info);
}

void add_address(NetlinkBatch& b, uint32_t index, const IpAddress& address, unsigned prefix_length) {
  ifaddrmsg m = {};
  m.ifa_family = family_of(address);
  m.ifa_prefixlen = static_cast<uint8_t>(prefix_length);
  m.ifa_index = index;
  m.ifa_flags = address.is_v6() ? IFA_F_NODAD : 0;
  b.begin(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, m, "add the address " + address.text());
  b.put(IFA_LOCAL, address.bytes());
  b.put(IFA_ADDRESS, address.bytes());
  if (address.is_v4() && prefix_length < 31)
    b.put(IFA_BROADCAST, IpPrefix(address, prefix_length).last().bytes());
}

void add_route(NetlinkBatch& b, uint32_t index, const IpPrefix& to, const IpAddress& gateway,
               const IpAddress& source, uint32_t metric) {
  rtmsg m = {};
  m.rtm_family = family_of(to.address());
  m.rtm_dst_len = static_cast<uint8_t>(to.length());
  m.rtm_table = RT_TABLE_MAIN;
  m.rtm_protocol = RTPROT_BOOT;
  m.rtm_scope = gateway.empty() ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  m.rtm_type = RTN_UNICAST;
  b.begin(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, m,
          "add the route " + to.text() + (gateway.empty() ? "" : " by " + gateway.text()));
  if (to.length()) b.put(RTA_DST, to.address().bytes());
  if (!gateway.empty()) b.put(RTA_GATEWAY, gateway.bytes());
  if (!source.empty()) b.put(RTA_PREFSRC, source.bytes());
  if (metric) b.put_u32(RTA_PRIORITY, metric);
  b.put_u32(RTA_OIF, index);
}

void delete_default_route(NetlinkBatch& b, uint32_t index, bool v4) {
  rtmsg m = {};
  m.rtm_family = v4 ? AF_INET : AF_INET6;
  m.rtm_table = RT_TABLE_MAIN;
  m.rtm_scope = RT_SCOPE_NOWHERE;
  b.begin(RTM_DELROUTE, NLM_F_ACK, m, "remove the default route");
  b.put_u32(RTA_OIF, index);
}

uint32_t link_index(const std::string& name) { return ::if_nametoindex(name.c_str()); }

std::string link_name(uint32_t index) {
  char name[IF_NAMESIZE] = {};
  return ::if_indextoname(index, name) ? name : "";
}

Result<std::vector<RouteEntry>> routes(NetlinkSocket& socket) {
  std::vector<RouteEntry> list;
  for (unsigned char family : {AF_INET, AF_INET6}) {
    NetlinkBatch batch;
    rtmsg body = {};
    body.rtm_family = family;
    batch.begin(RTM_GETROUTE, NLM_F_DUMP, body, "list the host's routes");
    TRY_VOID(socket.dump(batch, [&](const nlmsghdr* h) {
      if (h->nlmsg_type != RTM_NEWROUTE) return;
      auto* m = static_cast<const rtmsg*>(NLMSG_DATA(const_cast<nlmsghdr*>(h)));
      if (m->rtm_type != RTN_UNICAST || m->rtm_dst_len == 0) return;
      RouteEntry entry;
      each_attribute(attributes_of(h, sizeof *m), [&](uint16_t type, std::string_view data) {
        if (type == RTA_DST) entry.to = IpPrefix(IpAddress::from_bytes(data), m->rtm_dst_len);
        if (type == RTA_GATEWAY) entry.gateway = IpAddress::from_bytes(data);
        if (type == RTA_OIF && data.size() == 4) memcpy(&entry.index, data.data(), 4);
      });
      if (!entry.to.empty()) list.push_back(entry);
    }));
  }
  return list;
}

Result<std::vector<LinkEntry>> links(NetlinkSocket& socket) {
  std::vector<LinkEntry> list;
  NetlinkBatch batch;
  batch.begin(RTM_GETLINK, NLM_F_DUMP, link_body(0, false), "list the links");
  TRY_VOID(socket.dump(batch, [&](const nlmsghdr* h) {
    if (h->nlmsg_type != RTM_NEWLINK) return;
    auto* m = static_cast<const ifinfomsg*>(NLMSG_DATA(const_cast<nlmsghdr*>(h)));
    LinkEntry entry;
    entry.index = static_cast<uint32_t>(m->ifi_index);
    each_attribute(attributes_of(h, sizeof *m), [&](uint16_t type, std::string_view data) {
      if (type == IFLA_IFNAME) entry.name = std::string(data.data(), ::strnlen(data.data(), data.size()));
      if (type == IFLA_MASTER && data.size() == 4) memcpy(&entry.master, data.data(), 4);
      if (type == IFLA_LINKINFO)
        each_attribute(data, [&](uint16_t inner, std::string_view kind) {
          if (inner == IFLA_INFO_KIND)
            entry.kind = std::string(kind.data(), ::strnlen(kind.data(), kind.size()));
        });
    });
    list.push_back(std::move(entry));
  }));
  return list;
}

}  // namespace onggi::sys
