#include "engine/network_ports.h"

#include <dirent.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>

#include "base/file.h"
#include "engine/network_options.h"
#include "engine/network_store.h"
#include "network/ports.h"
#include "sys/conntrack.h"

namespace onggi::engine {

namespace {

// RUN/network/ports/tcp_8080_0.0.0.0_CID -> GROUP or "-"
struct Claim {
  std::string protocol, address, container, group;
  uint16_t port = 0;
};

std::string claims_path(const Engine& engine) { return network_run_path(engine) + "/ports"; }

std::string claim_name(const LivePort& p, const std::string& container) {
  return p.protocol + "_" + std::to_string(p.host_port) + "_" + p.host_ip + "_" + container;
}

std::vector<Claim> read_claims(const Engine& engine) {
  std::vector<Claim> list;
  std::string path = claims_path(engine);
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  while (dirent* e = dir ? ::readdir(dir.get()) : nullptr) {
    std::string name = e->d_name;
    size_t a = name.find('_'), b = name.find('_', a + 1), c = name.rfind('_');
    if (a == std::string::npos || b == std::string::npos || c <= b) continue;
    Claim claim{name.substr(0, a), name.substr(b + 1, c - b - 1), name.substr(c + 1), "", 0};
    auto port = parse_u64(std::string_view(name).substr(a + 1, b - a - 1), "port");
    char group[512];
    ssize_t n = ::readlink((path + "/" + name).c_str(), group, sizeof group);
    if (!port || n <= 0) continue;
    claim.port = static_cast<uint16_t>(*port);
    claim.group = std::string(group, static_cast<size_t>(n));
    if (claim.group == "-") claim.group.clear();
    list.push_back(std::move(claim));
  }
  return list;
}

bool overlap(const std::string& a, const std::string& b) {
  bool a6 = a.find(':') != std::string::npos, b6 = b.find(':') != std::string::npos;
  if (a6 != b6) return false;
  const char* any = a6 ? "::" : "0.0.0.0";
  return a == b || a == any || b == any;
}

// A program of the host that has the port. Only a look: nothing holds it afterwards but our rule, which is
// first.
Result<> probe_host(const LivePort& p) {
  IpAddress address = TRY(IpAddress::parse(p.host_ip));
  int type = p.protocol == "udp" ? SOCK_DGRAM : SOCK_STREAM;
  UniqueFd fd(::socket(address.is_v4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC,
                       network::protocol_number(p.protocol)));
  if (!fd) return {};  // a host without SCTP or IPv6 has nobody on it
  int on = 1;
  sockaddr_in v4 = {};
  sockaddr_in6 v6 = {};
  v4.sin_family = AF_INET;
  v6.sin6_family = AF_INET6;
  v4.sin_port = v6.sin6_port = htons(p.host_port);
  if (type == SOCK_STREAM) (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  int result;
  if (address.is_v4()) {
    memcpy(&v4.sin_addr, address.bytes().data(), 4);
    result = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&v4), sizeof v4);
  } else {
    (void)::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    memcpy(&v6.sin6_addr, address.bytes().data(), 16);
    result = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&v6), sizeof v6);
  }
  // Listening sockets with SO_REUSEADDR may be bound twice; only listening finds out.
  if (result == 0 && type == SOCK_STREAM && p.protocol == "tcp") result = ::listen(fd.get(), 1);
  if (result == 0 || errno == EACCES) return {};
  std::string where =
      (address.is_v6() ? "[" + p.host_ip + "]" : p.host_ip) + ":" + std::to_string(p.host_port);
  if (errno == EADDRINUSE)
    return fail(Error(ErrorKind::kBusy, "listen " + p.protocol + " " + where +
                                            ": bind: address already in use by a program of the host"));
  return fail(Error::os("listen " + p.protocol, where));
}

class Claimer {
 public:
  Claimer(const Engine& engine, const LiveRecord& record, std::vector<LivePort>& out)
      : engine_(engine), record_(record), claims_(read_claims(engine)), out_(out) {}

  Result<> take(LivePort port) {
    bool shared = false;
    for (const auto& claim : claims_) {
      if (claim.port != port.host_port || claim.protocol != port.protocol ||
          !overlap(claim.address, port.host_ip))
        continue;
      auto other =
          claim.container == record_.id ? std::optional<LiveRecord>() : read_live(engine_, claim.container);
      if (!other || !is_alive(*other)) continue;  // left by a command that was killed
      shared = !record_.group.empty() && claim.group == record_.group && claim.address == port.host_ip;
      if (shared) continue;
      return fail(Error(ErrorKind::kBusy, "Bind for " + port.host_ip + ":" + std::to_string(port.host_port) +
                                              " failed: port is already allocated to container " +
                                              claim.container.substr(0, 12)));
    }
    for (const auto& own : out_)
      if (own.host_port == port.host_port && own.protocol == port.protocol &&
          overlap(own.host_ip, port.host_ip))
        return fail(Error(ErrorKind::kBusy, "Bind for " + port.host_ip + ":" +
                                                std::to_string(port.host_port) +
                                                " failed: port is already allocated"));
    if (!shared) TRY_VOID(probe_host(port));
    std::string link = claims_path(engine_) + "/" + claim_name(port, record_.id);
    (void)::unlink(link.c_str());
    if (::symlink(record_.group.empty() ? "-" : record_.group.c_str(), link.c_str()) < 0)
      return fail(Error::os("claim the port", link));
    out_.push_back(std::move(port));
    return {};
  }

 private:
  const Engine& engine_;
  const LiveRecord& record_;
  std::vector<Claim> claims_;
  std::vector<LivePort>& out_;
};

// From the range of ports that programs get by themselves (ip_local_port_range).
std::pair<uint16_t, uint16_t> chosen_range() {
  unsigned first = 32768, last = 60999;
  if (auto text = read_file("/proc/sys/net/ipv4/ip_local_port_range", 64))
    if (::sscanf(text->c_str(), "%u %u", &first, &last) != 2 || first > last || last > 65535)
      first = 32768, last = 60999;
  return {static_cast<uint16_t>(first), static_cast<uint16_t>(last)};
}

// The same port on all of the places, or none of them.
Result<> take_all(Claimer& claimer, const std::vector<LivePort>& places, std::vector<LivePort>& out,
                  const std::function<void(const LivePort&)>& give_back) {
  size_t before = out.size();
  for (const auto& place : places) {
    auto taken = claimer.take(place);
    if (taken) continue;
    while (out.size() > before) {
      give_back(out.back());
      out.pop_back();
    }
    return taken;
  }
  return {};
}

Result<> claim_one(Claimer& claimer, const network::PortSpec& spec, std::vector<LivePort> places,
                   std::vector<LivePort>& out, const std::function<void(const LivePort&)>& give_back) {
  auto [first, last] =
      spec.host_port ? std::pair(spec.host_port, std::max(spec.host_last, spec.host_port)) : chosen_range();
  uint32_t count = last - first + 1u, start = 0;
  if (!spec.host_port) (void)!::getrandom(&start, sizeof start, 0);
  Result<> outcome;
  constexpr uint32_t kMostTries = 2048;
  for (uint32_t n = 0; n < std::min(count, kMostTries); n++) {
    for (auto& place : places) place.host_port = static_cast<uint16_t>(first + (start % count + n) % count);
    outcome = take_all(claimer, places, out, give_back);
    if (outcome) return {};
  }
  return outcome;
}

// IPv4 and IPv6 address of the container where its ports lead to: its first network that has a way in.
struct Target {
  std::string v4, v6;
  IpAddress binding;
};
Result<Target> port_target(Engine& engine, const ContainerConfig& c, const LiveRecord& record,
                           const std::vector<NetworkConfig>& networks) {
  size_t gateway = gateway_endpoint(engine, c);
  for (size_t pass = 0; pass < 2; pass++)
    for (size_t n = 0; n < record.links.size(); n++)
      if (networks[n].driver == "bridge" && !networks[n].internal && (pass == 1 || n == gateway))
        return Target{record.links[n].ipv4, record.links[n].ipv6, network_binding(networks[n])};
  return fail(Error::invalid("publish ports of " + c.name +
                             ": it is on no bridge network that has a way in (internal, macvlan and ipvlan "
                             "networks have none)"));
}

Result<std::vector<network::PortSpec>> wanted_ports(const ContainerConfig& c) {
  std::vector<network::PortSpec> specs;
  for (const auto& text : c.ports)
    for (auto& spec : TRY(network::parse_publish(text))) specs.push_back(std::move(spec));
  if (!c.publish_all) return specs;
  for (const auto& text : c.expose)
    for (const auto& port : TRY(network::parse_expose(text))) {
      auto spec = TRY(network::parse_publish(port))[0];
      bool there = std::any_of(specs.begin(), specs.end(), [&](const auto& s) {
        return s.container_port == spec.container_port && s.protocol == spec.protocol;
      });
      if (!there) specs.push_back(std::move(spec));
    }
  return specs;
}

}  // namespace

Result<std::vector<LivePort>> claim_ports(Engine& engine, const ContainerConfig& c, const LiveRecord& record,
                                          const std::vector<NetworkConfig>& networks) {
  std::vector<LivePort> out;
  auto specs = TRY(wanted_ports(c));
  if (specs.empty()) return out;
  Target target = TRY(port_target(engine, c, record, networks));
  auto give_back = [&](const LivePort& p) {
    (void)::unlink((claims_path(engine) + "/" + claim_name(p, c.id)).c_str());
  };
  Claimer claimer(engine, record, out);
  for (const auto& spec : specs) {
    std::vector<LivePort> places;
    auto add = [&](const std::string& host, const std::string& inside) {
      if (!inside.empty()) places.push_back({host, 0, spec.container_port, spec.protocol, inside});
    };
    IpAddress host = spec.host ? *spec.host : target.binding;
    if (host.empty()) {
      add("0.0.0.0", target.v4);
      add("::", target.v6);
    } else {
      add(host.text(), host.is_v4() ? target.v4 : target.v6);
    }
    if (places.empty())
      return fail(Error::invalid("publish " + network::port_text(spec) +
                                 ": the container has no address of that family"));
    auto claimed = claim_one(claimer, spec, places, out, give_back);
    if (claimed) continue;
    for (const auto& p : out) give_back(p);
    return fail(std::move(claimed).error().wrap("publish ports of " + c.name));
  }
  return out;
}

void release_ports(const Engine& engine, const LiveRecord& record) {
  for (const auto& p : record.ports)
    (void)::unlink((claims_path(engine) + "/" + claim_name(p, record.id)).c_str());
}

Result<std::vector<network::FirewallPort>> firewall_ports(const LiveRecord& record) {
  std::vector<network::FirewallPort> list;
  for (const auto& p : record.ports) {
    network::FirewallPort f;
    f.protocol = network::protocol_number(p.protocol);
    f.host = TRY(IpAddress::parse(p.host_ip));
    f.host_port = p.host_port;
    f.target = TRY(IpAddress::parse(p.target));
    f.target_port = p.container_port;
    f.group = record.group;
    list.push_back(std::move(f));
  }
  return list;
}

namespace {

// Those of other containers that share the place.
Result<std::vector<network::FirewallPort>> partners(Engine& engine, const LiveRecord& record,
                                                    const network::FirewallPort& place) {
  std::vector<network::FirewallPort> list;
  for (const auto& claim : read_claims(engine)) {
    if (claim.container == record.id || claim.port != place.host_port || claim.group != record.group)
      continue;
    auto other = read_live(engine, claim.container);
    if (!other || other->draining || !is_alive(*other)) continue;
    for (auto& port : TRY(firewall_ports(*other)))
      if (port.same_place(place) && std::find_if(list.begin(), list.end(), [&](const auto& l) {
                                      return l.target == port.target && l.target_port == port.target_port;
                                    }) == list.end())
        list.push_back(std::move(port));
  }
  return list;
}

}  // namespace

Result<> add_record_ports(Engine& engine, sys::NftBatch& batch, const LiveRecord& record) {
  for (const auto& port : TRY(firewall_ports(record))) {
    if (record.group.empty()) {
      network::firewall_add_port(batch, port);
      continue;
    }
    auto targets = TRY(partners(engine, record, port));
    bool existed = !targets.empty();
    targets.push_back(port);
    network::firewall_set_shared(batch, port, targets, existed);
  }
  return {};
}

Result<> remove_record_ports(Engine& engine, sys::NftBatch& batch, const LiveRecord& record) {
  for (const auto& port : TRY(firewall_ports(record))) {
    if (record.group.empty())
      network::firewall_remove_port(batch, port);
    else
      network::firewall_set_shared(batch, port, TRY(partners(engine, record, port)), true);
  }
  return {};
}

void forget_flows(const LiveRecord& record, bool closed_only) {
  std::vector<IpAddress> targets;
  for (const auto& p : record.ports)
    if (auto a = IpAddress::parse(p.target)) targets.push_back(*a);
  if (targets.empty()) return;
  constexpr uint8_t kTimeWait = 7;  // TCP_CONNTRACK_TIME_WAIT; CLOSE comes after it
  if (auto socket = sys::NetlinkSocket::open(NETLINK_NETFILTER))
    (void)sys::forget_flows(*socket, [&](const sys::Flow& flow) {
      if (std::find(targets.begin(), targets.end(), flow.reply_source) == targets.end()) return false;
      return !closed_only || (flow.protocol == IPPROTO_TCP && flow.tcp_state >= kTimeWait);
    });
}

size_t open_connections(int pid) {
  std::set<unsigned> listening;
  std::vector<unsigned> established;
  for (const char* file : {"tcp", "tcp6"}) {
    auto text = read_file("/proc/" + std::to_string(pid) + "/net/" + file, 64u << 20);
    if (!text) continue;
    for (size_t at = text->find('\n'); at != std::string::npos && at + 1 < text->size();
         at = text->find('\n', at + 1)) {
      unsigned local = 0, remote = 0, state = 0;
      // "  0: 0100007F:1F90 00000000:0000 0A ..."
      if (::sscanf(text->c_str() + at + 1, " %*u: %*[0-9A-F]:%x %*[0-9A-F]:%x %x", &local, &remote, &state) !=
          3)
        continue;
      constexpr unsigned kEstablished = 1, kListen = 10;
      if (state == kListen) listening.insert(local);
      if (state == kEstablished) established.push_back(local);
    }
  }
  return static_cast<size_t>(std::count_if(established.begin(), established.end(),
                                           [&](unsigned port) { return listening.count(port) != 0; }));
}

std::vector<PublishedPort> published_ports(Engine& engine, const std::string& container_id) {
  std::vector<PublishedPort> list;
  auto record = read_live(engine, container_id);
  if (!record || !is_alive(*record)) return list;
  for (const auto& p : record->ports) list.push_back({p.host_ip, p.host_port, p.container_port, p.protocol});
  return list;
}

}  // namespace onggi::engine
