#include "network/links.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <memory>

#include "base/file.h"
#include "base/scope.h"
#include "base/sha256.h"
#include "sys/namespace.h"

namespace onggi::network {

namespace {

using sys::NetlinkBatch;
using sys::NetlinkSocket;

std::string setting(const char* family, const std::string& link, const char* name) {
  return std::string("/proc/sys/net/") + family + "/conf/" + link + "/" + name;
}

// Settings of a link that is ours; a kernel without IPv6 has no IPv6 settings.
void set_link(const char* family, const std::string& link, const char* name, const char* value) {
  (void)write_file(setting(family, link, name), value);
}

bool is_on(const std::string& path) {
  auto text = read_file(path, 64);
  return text && trim(*text) != "0";
}

// A host that got its routes by router advertisements (accept_ra 1) would drop them when it becomes a router
// itself; 2 says that it goes on listening.
void keep_accepting_advertisements() {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir("/proc/sys/net/ipv6/conf"), ::closedir);
  if (!dir) return;
  while (dirent* e = ::readdir(dir.get())) {
    std::string link = e->d_name;
    if (link[0] == '.' || link == "all" || link == "default" || link == "lo") continue;
    auto text = read_file(setting("ipv6", link, "accept_ra"), 16);
    if (text && trim(*text) == "1" && !is_on(setting("ipv6", link, "forwarding")))
      (void)write_file(setting("ipv6", link, "accept_ra"), "2");
  }
}

void add_link(NetlinkBatch& b, const LinkPlan& p, uint32_t master, int netns) {
  sys::LinkArgs inside;
  inside.name = p.interface;
  inside.netns = netns;
  inside.mtu = p.mtu;
  inside.mac = p.mac;
  if (p.driver == "bridge") {
    sys::LinkArgs host;
    host.name = p.host_link;
    host.master = master;
    host.mtu = p.mtu;
    host.up = true;
    sys::add_veth(b, host, inside);
    return;
  }
  inside.parent = master;
  if (p.driver == "macvlan") return sys::add_macvlan(b, inside, p.mode);
  inside.mac.reset();  // ipvlan has its parent's
  sys::add_ipvlan(b, inside, static_cast<uint16_t>(p.mode));
}

void default_routes(NetlinkBatch& b, uint32_t index, const LinkPlan& p) {
  for (const IpAddress* gateway : {&p.gateway4, &p.gateway6}) {
    bool v4 = gateway == &p.gateway4;
    if (gateway->empty() && !p.device_default) continue;
    bool has_family = false;
    for (const auto& a : p.addresses) has_family |= a.address.is_v4() == v4;
    if (!has_family) continue;
    IpAddress any = v4 ? IpAddress::v4(0) : IpAddress::from_bytes(std::string(16, '\0'));
    sys::add_route(b, index, IpPrefix(any, 0), *gateway);
  }
}

Result<> configure_inside(const std::vector<LinkPlan>& plans, bool first) {
  NetlinkSocket socket = TRY(NetlinkSocket::open(NETLINK_ROUTE));
  NetlinkBatch b;
  if (first) sys::set_up(b, 1);  // the loopback device is always the first
  for (const LinkPlan& p : plans) {
    uint32_t index = sys::link_index(p.interface);
    if (!index) return fail(Error::os("find the link in the container", p.interface));
    for (const auto& a : p.addresses) sys::add_address(b, index, a.address, a.prefix_length);
    sys::set_up(b, index);
    default_routes(b, index, p);
    if (!p.resolver.empty()) sys::add_route(b, index, IpPrefix(p.resolver, 32), {});
  }
  return socket.run(b);
}

}  // namespace

bool host_has_ipv6() { return ::access("/proc/sys/net/ipv6", F_OK) == 0; }

bool host_filters_bridges() { return is_on("/proc/sys/net/bridge/bridge-nf-call-iptables"); }

Result<bool> ensure_bridge(NetlinkSocket& socket, const BridgePlan& plan) {
  if (sys::link_index(plan.name)) return false;
  NetlinkBatch make;
  sys::LinkArgs bridge;
  bridge.name = plan.name;
  bridge.mac = plan.mac;
  bridge.mtu = plan.mtu;
  sys::add_bridge(make, bridge);
  if (auto made = socket.run(make); !made) {
    if (made.error().os_errno() == EEXIST) return false;
    return fail(std::move(made).error());
  }
  Rollback undo;
  undo.push([&] { (void)remove_bridge(socket, plan.name); });
  for (const char* name : {"accept_ra", "autoconf"}) set_link("ipv6", plan.name, name, "0");
  NetlinkBatch b;
  uint32_t index = sys::link_index(plan.name);
  for (const auto& a : plan.addresses)
    if (a.address.is_v4() || host_has_ipv6()) sys::add_address(b, index, a.address, a.prefix_length);
  sys::set_up(b, index);
  TRY_VOID_CTX(socket.run(b), "set up the bridge " + plan.name);
  undo.commit();
  return true;
}

Result<> remove_bridge(NetlinkSocket& socket, const std::string& name) {
  if (!sys::link_index(name)) return {};
  NetlinkBatch b;
  sys::delete_link(b, name);
  auto removed = socket.run(b);
  return !removed && removed.error().os_errno() == ENODEV ? Result<>() : removed;
}

Result<> allow_localhost(const std::string& bridge) {
  std::string path = setting("ipv4", bridge, "route_localnet");
  return is_on(path) ? Result<>() : write_file(path, "1");
}

Result<bool> enable_routing() {
  bool routed = is_on("/proc/sys/net/ipv4/ip_forward");
  if (!routed) TRY_VOID_CTX(write_file("/proc/sys/net/ipv4/ip_forward", "1"), "turn on IPv4 routing");
  std::string six = setting("ipv6", "all", "forwarding");
  if (host_has_ipv6() && !is_on(six)) {
    keep_accepting_advertisements();
    TRY_VOID_CTX(write_file(six, "1"), "turn on IPv6 routing");
  }
  return !routed;
}

Result<> attach_links(NetlinkSocket& host, int netns, const std::vector<LinkPlan>& plans, bool first) {
  NetlinkBatch b;
  for (const LinkPlan& p : plans) {
    uint32_t master = sys::link_index(p.master);
    if (!master) return fail(Error::not_found("the network's device " + p.master + " is not there"));
    add_link(b, p, master, netns);
  }
  Rollback undo;
  // One end takes the other along.
  undo.push([&] {
    auto visit = sys::NetworkVisit::enter_fd(netns, "the container's");
    if (!visit) return;
    auto socket = NetlinkSocket::open(NETLINK_ROUTE);
    for (const LinkPlan& p : plans) {
      NetlinkBatch remove;
      sys::delete_link(remove, p.interface);
      if (socket) (void)socket->run(remove);
    }
  });
  TRY_VOID(host.run(b));
  NetlinkBatch ports;
  for (const LinkPlan& p : plans)
    if ((p.isolated || p.hairpin) && p.driver == "bridge")
      sys::set_port(ports, sys::link_index(p.host_link), p.isolated, p.hairpin);
  TRY_VOID(host.run(ports));
  {
    auto visit = TRY(sys::NetworkVisit::enter_fd(netns, "the container's"));
    TRY_VOID(configure_inside(plans, first));
  }
  undo.commit();
  return {};
}

Result<> detach_link(int netns, const std::string& interface) {
  auto visit = TRY(sys::NetworkVisit::enter_fd(netns, "the container's"));
  NetlinkSocket socket = TRY(NetlinkSocket::open(NETLINK_ROUTE));
  NetlinkBatch b;
  sys::delete_link(b, interface);
  auto removed = socket.run(b);
  return !removed && removed.error().os_errno() == ENODEV ? Result<>() : removed;
}

Result<> set_default_routes(int netns, const LinkPlan& plan) {
  auto visit = TRY(sys::NetworkVisit::enter_fd(netns, "the container's"));
  NetlinkSocket socket = TRY(NetlinkSocket::open(NETLINK_ROUTE));
  NetlinkBatch b;
  uint32_t index = sys::link_index(plan.interface);
  default_routes(b, index, plan);
  if (!plan.resolver.empty()) sys::add_route(b, index, IpPrefix(plan.resolver, 32), {});
  return socket.run(b);
}

sys::MacAddress mac_from(std::string_view seed) {
  std::string hex = sha256_hex(seed);
  sys::MacAddress mac;
  for (size_t n = 0; n < 6; n++) {
    auto digit = [&](char c) { return static_cast<uint8_t>(c <= '9' ? c - '0' : c - 'a' + 10); };
    mac.bytes[n] = static_cast<uint8_t>(digit(hex[2 * n]) << 4 | digit(hex[2 * n + 1]));
  }
  // Locally administered, of one station.
  mac.bytes[0] = static_cast<uint8_t>((mac.bytes[0] & 0xfc) | 2);
  return mac;
}

}  // namespace onggi::network
