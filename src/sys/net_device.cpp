#include "sys/net_device.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include <cstring>

#include "base/fd.h"
#include "base/file.h"
#include "base/scope.h"

namespace onggi::sys {

namespace {

// A netlink request under construction: header, family body, attributes, each aligned to 4 bytes.
class Request {
 public:
  template <class Body>
  Request(uint16_t type, uint16_t flags, const Body& body) {
    buffer_.resize(NLMSG_LENGTH(sizeof body));
    auto* h = header();
    h->nlmsg_type = type;
    h->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    h->nlmsg_seq = 1;
    memcpy(NLMSG_DATA(h), &body, sizeof body);
  }
  void attribute(uint16_t type, const void* data, size_t size) {
    size_t at = NLMSG_ALIGN(buffer_.size());
    buffer_.resize(at + RTA_ALIGN(RTA_LENGTH(size)));
    auto* a = reinterpret_cast<rtattr*>(buffer_.data() + at);
    a->rta_type = type;
    a->rta_len = static_cast<uint16_t>(RTA_LENGTH(size));
    memcpy(RTA_DATA(a), data, size);
  }
  std::string_view bytes() {
    header()->nlmsg_len = static_cast<uint32_t>(buffer_.size());
    return {buffer_.data(), buffer_.size()};
  }

 private:
  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(buffer_.data()); }
  std::vector<char> buffer_;
};

Result<UniqueFd> route_socket() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return fail(Error::os("open a netlink socket", ""));
  return fd;
}

// Sends and reads the answers up to the acknowledgement or the end of a dump.
template <class F>
Result<> talk(int socket, Request& request, const std::string& what, F each) {
  std::string_view bytes = request.bytes();
  if (::send(socket, bytes.data(), bytes.size(), 0) < 0) return fail(Error::os(what, ""));
  alignas(nlmsghdr) static char buffer[32768];
  for (;;) {
    ssize_t n = ::recv(socket, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::os(what, ""));
    auto left = static_cast<unsigned>(n);
    for (auto* h = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
      if (h->nlmsg_type == NLMSG_DONE) return {};
      if (h->nlmsg_type == NLMSG_ERROR) {
        int e = -static_cast<nlmsgerr*>(NLMSG_DATA(h))->error;
        if (e) return fail(Error::os(what, "", e));
        return {};
      }
      each(h);
    }
  }
}

struct Address {
  ifaddrmsg message;
  std::vector<std::pair<uint16_t, std::string>> attributes;
};

Result<std::vector<Address>> permanent_addresses(int socket, unsigned index) {
  std::vector<Address> list;
  ifaddrmsg body = {};
  Request dump(RTM_GETADDR, NLM_F_DUMP, body);
  TRY_VOID(talk(socket, dump, "list addresses", [&](nlmsghdr* h) {
    if (h->nlmsg_type != RTM_NEWADDR) return;
    auto* m = static_cast<ifaddrmsg*>(NLMSG_DATA(h));
    if (m->ifa_index != index || m->ifa_scope != RT_SCOPE_UNIVERSE || !(m->ifa_flags & IFA_F_PERMANENT))
      return;
    Address a = {*m, {}};
    auto left = static_cast<int>(IFA_PAYLOAD(h));
    for (auto* r = IFA_RTA(m); RTA_OK(r, left); r = RTA_NEXT(r, left))
      if (r->rta_type == IFA_ADDRESS || r->rta_type == IFA_LOCAL || r->rta_type == IFA_BROADCAST)
        a.attributes.emplace_back(r->rta_type, std::string(static_cast<char*>(RTA_DATA(r)), RTA_PAYLOAD(r)));
    list.push_back(std::move(a));
  }));
  return list;
}

constexpr auto kIgnore = [](nlmsghdr*) {};

Result<> configure_inside(const std::string& name, const std::vector<Address>& addresses) {
  unsigned index = ::if_nametoindex(name.c_str());
  if (!index) return fail(Error::os("find the moved device", name));
  UniqueFd socket = TRY(route_socket());
  for (const Address& a : addresses) {
    ifaddrmsg body = a.message;
    body.ifa_index = index;
    Request add(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, body);
    for (const auto& [type, data] : a.attributes) add.attribute(type, data.data(), data.size());
    TRY_VOID(talk(socket.get(), add, "add an address to " + name, kIgnore));
  }
  ifinfomsg up = {};
  up.ifi_index = static_cast<int>(index);
  up.ifi_flags = up.ifi_change = IFF_UP;
  Request set(RTM_NEWLINK, NLM_F_ACK, up);
  return talk(socket.get(), set, "bring up " + name, kIgnore);
}

Result<> move_one(int socket, int netns, int own_netns, const NetDeviceMove& d) {
  unsigned index = ::if_nametoindex(d.name.c_str());
  if (!index) return fail(Error::os("find the network device", d.name));
  std::vector<Address> addresses = TRY(permanent_addresses(socket, index));
  const std::string& name = d.new_name.empty() ? d.name : d.new_name;
  ifinfomsg body = {};
  body.ifi_index = static_cast<int>(index);
  Request move(RTM_NEWLINK, NLM_F_ACK, body);
  move.attribute(IFLA_NET_NS_FD, &netns, sizeof netns);
  move.attribute(IFLA_IFNAME, name.c_str(), name.size() + 1);
  TRY_VOID(talk(socket, move, "move " + d.name + " into the container", kIgnore));
  if (::setns(netns, CLONE_NEWNET) < 0) return fail(Error::os("enter the container's network namespace", ""));
  auto configured = configure_inside(name, addresses);
  if (::setns(own_netns, CLONE_NEWNET) < 0)
    return fail(Error::os("return to the runtime's network namespace", ""));
  return configured;
}

}  // namespace

Result<> move_net_devices(int pid, const std::vector<NetDeviceMove>& devices) {
  UniqueFd netns = TRY(open_at(AT_FDCWD, "/proc/" + std::to_string(pid) + "/ns/net", O_RDONLY));
  UniqueFd own = TRY(open_at(AT_FDCWD, "/proc/self/ns/net", O_RDONLY));
  UniqueFd socket = TRY(route_socket());
  for (const auto& d : devices)
    TRY_VOID_CTX(move_one(socket.get(), netns.get(), own.get(), d), "linux.netDevices: " + d.name);
  return {};
}

}  // namespace onggi::sys
