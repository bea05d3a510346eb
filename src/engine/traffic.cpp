#include "engine/traffic.h"

#include <netinet/in.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "engine/network_live.h"
#include "engine/networks.h"
#include "engine/socket_table.h"
#include "sys/conntrack.h"
#include "sys/netlink.h"

namespace onggi::engine {

namespace {

using Key = std::tuple<std::string, std::string, uint16_t, std::string>;  // from, to, port, protocol
struct Count {
  uint64_t open = 0, recent = 0;
};
using Counts = std::map<Key, Count>;

struct Names {
  std::map<IpAddress, std::string> by_address;

  [[nodiscard]] std::string of(const IpAddress& a) const {
    if (a.is_loopback()) return kHostNode;  // of the host: a container's own loopback is nobody's peer
    auto at = by_address.find(a);
    return at == by_address.end() ? kWorldNode : at->second;
  }
};

void add(Names& names, const std::string& text, const std::string& name) {
  if (auto a = IpAddress::parse(text)) names.by_address.emplace(*a, name);
}

void count(Counts& counts, const Key& key, bool open) {
  Count& c = counts[key];
  (open ? c.open : c.recent)++;
}

// Two looks at the same connections: where both ends are containers each knows its own end of them.
void merge(Counts& into, const Counts& other) {
  for (const auto& [key, c] : other) {
    Count& mine = into[key];
    mine.open = std::max(mine.open, c.open);
    mine.recent = std::max(mine.recent, c.recent);
  }
}

void count_sockets(const std::string& name, int pid, const Names& names, Counts& incoming, Counts& outgoing) {
  auto sockets = sockets_of(pid, "tcp");
  std::set<uint16_t> listening;
  for (const auto& s : sockets)
    if (s.state == kSocketListens) listening.insert(s.local_port);
  auto resolver = IpAddress::parse(kResolverAddress);
  for (const auto& s : sockets) {
    if (s.state == kSocketListens || s.remote.is_unspecified() || s.remote.is_loopback() ||
        (resolver && s.remote == *resolver))
      continue;
    std::string peer = names.of(s.remote);
    bool open = s.state == kSocketEstablished;
    if (listening.contains(s.local_port))
      count(incoming, {peer, name, s.local_port, "tcp"}, open);
    else if (peer != name)
      count(outgoing, {name, peer, s.remote_port, "tcp"}, open);
  }
}

Result<Counts> count_flows(const Names& names) {
  Counts counts;
  auto resolver = IpAddress::parse(kResolverAddress);
  auto socket = TRY(sys::NetlinkSocket::open(NETLINK_NETFILTER));
  TRY_VOID(sys::each_flow(socket, [&](const sys::Flow& f) {
    if (f.protocol != IPPROTO_TCP && f.protocol != IPPROTO_UDP) return;
    if (resolver && f.reply_source == *resolver) return;  // everybody asks for names
    // Where it went is who answers; the first packet's destination may be a published port.
    std::string from = names.of(f.source), to = names.of(f.reply_source);
    bool ours = (from != kWorldNode && from != kHostNode) || (to != kWorldNode && to != kHostNode);
    if (!ours) return;
    constexpr uint8_t kEstablished = 3;  // TCP_CONNTRACK_ESTABLISHED
    bool tcp = f.protocol == IPPROTO_TCP;
    count(counts, {from, to, f.reply_source_port, tcp ? "tcp" : "udp"}, !tcp || f.tcp_state == kEstablished);
  }));
  return counts;
}

Result<Names> all_names(Engine& engine, std::vector<std::pair<std::string, int>>& running) {
  Names names;
  for (const auto& record : all_live(engine)) {
    if (!is_alive(record)) continue;
    auto dir = engine.containers().open(record.id);
    auto config = dir ? dir->config() : Result<ContainerConfig>(fail(dir.error()));
    if (!config) continue;
    running.emplace_back(config->name, record.pid);
    for (const auto& link : record.links)
      for (const std::string* text : {&link.ipv4, &link.ipv6}) add(names, *text, config->name);
  }
  for (const auto& network : TRY(list_networks(engine)))
    for (const auto& subnet : network.subnets) add(names, subnet.gateway, kHostNode);
  return names;
}

}  // namespace

Result<std::vector<TrafficEdge>> read_traffic(Engine& engine, std::string& warning) {
  std::vector<std::pair<std::string, int>> running;
  Names names = TRY(all_names(engine, running));
  Counts counts, incoming, outgoing;
  for (const auto& [name, pid] : running) count_sockets(name, pid, names, incoming, outgoing);
  merge(counts, incoming);
  merge(counts, outgoing);
  if (auto flows = count_flows(names))
    merge(counts, *flows);
  else
    warning = "only what the containers' own sockets tell: " + flows.error().text();
  std::vector<TrafficEdge> edges;
  for (const auto& [key, c] : counts) {
    const auto& [from, to, port, protocol] = key;
    edges.push_back({from, to, port, protocol, c.open, c.recent});
  }
  return edges;
}

}  // namespace onggi::engine
