#include "engine/network_live.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/file.h"
#include "base/scope.h"
#include "base/sha256.h"
#include "engine/keeper.h"
#include "engine/network_json.h"
#include "engine/network_options.h"
#include "engine/network_ports.h"
#include "engine/network_store.h"
#include "network/firewall.h"
#include "network/links.h"
#include "sys/namespace.h"
#include "sys/process.h"

namespace onggi::engine {

namespace {

std::string live_path(const Engine& engine, const std::string& id) {
  return network_run_path(engine) + "/live/" + id + ".json";
}

Result<> save_live(const Engine& engine, const LiveRecord& record) {
  JsonWriter w;
  json_write(w, record);
  UniqueFd dir = TRY(open_at(AT_FDCWD, network_run_path(engine) + "/live", O_RDONLY | O_DIRECTORY));
  return replace_file_at(dir.get(), record.id + ".json", w.text());
}

// --- the firewall ---

network::FirewallNetwork firewall_network(const Engine& engine, const NetworkConfig& n) {
  network::FirewallNetwork out{network_bridge(engine, n), n.internal, network_masquerades(n), {}};
  for (bool v4 : {true, false})
    if (NetworkSubnet s = subnet_of(n, v4); !s.subnet.empty()) out.subnets.push_back(s.subnet);
  return out;
}

uint32_t most_connections() {
  constexpr uint64_t kMost = 8192, kLeast = 1024, kUsual = 65536;
  auto text = read_file("/proc/sys/net/netfilter/nf_conntrack_max", 64);
  auto all = text ? parse_u64(trim(*text), "nf_conntrack_max") : Result<uint64_t>(kUsual);
  return static_cast<uint32_t>(std::clamp(all.value_or(kUsual) / 8, kLeast, kMost));
}

std::string routing_marker(const Engine& engine) { return network_run_path(engine) + "/only-own-routes"; }

// The caller holds the lock.
Result<> rebuild_locked(Engine& engine) {
  network::Firewall firewall;
  for (const auto& n : TRY(list_networks(engine)))
    if (n.driver == "bridge" && sys::link_index(network_bridge(engine, n)))
      firewall.networks.push_back(firewall_network(engine, n));
  for (const auto& record : all_live(engine)) {
    if (!is_alive(record) || record.draining) continue;
    auto ports = TRY(firewall_ports(record));
    firewall.ports.insert(firewall.ports.end(), ports.begin(), ports.end());
  }
  firewall.only_own_routes = ::access(routing_marker(engine).c_str(), F_OK) == 0;
  firewall.most_connections = most_connections();
  sys::NftBatch batch(firewall_table(engine));
  network::firewall_whole(batch, firewall);
  auto socket = TRY(sys::NetlinkSocket::open(NETLINK_NETFILTER));
  return batch.commit(socket);
}

// A change that the table that is there does not take means that it is not the one that is written down.
Result<> commit_or_rebuild(Engine& engine, sys::NftBatch& batch) {
  if (batch.empty()) return {};
  auto socket = TRY(sys::NetlinkSocket::open(NETLINK_NETFILTER));
  if (batch.commit(socket)) return {};
  return rebuild_locked(engine);
}

// --- links ---

network::BridgePlan bridge_plan(const Engine& engine, const NetworkConfig& n) {
  network::BridgePlan plan;
  plan.name = network_bridge(engine, n);
  plan.mac = network::mac_from("bridge " + n.id);
  plan.mtu = network_mtu(n);
  for (bool v4 : {true, false}) {
    NetworkSubnet s = subnet_of(n, v4);
    if (!s.subnet.empty()) plan.addresses.push_back({s.gateway, s.subnet.length()});
  }
  return plan;
}

// The bridge and its place in the firewall; the host begins to route with the first one.
Result<> ensure_network(Engine& engine, sys::NetlinkSocket& socket, const NetworkConfig& n) {
  if (n.driver != "bridge" || sys::link_index(network_bridge(engine, n))) return {};
  UniqueFd lock = TRY(lock_live_networks(engine));
  if (TRY(network::enable_routing()))
    TRY_VOID(write_file(routing_marker(engine), "", O_CREAT | O_TRUNC, 0600));
  if (!TRY_CTX(network::ensure_bridge(socket, bridge_plan(engine, n)), "network " + n.name)) return {};
  return rebuild_locked(engine);
}

// Links with a name of its own each: the last one of a container that just ended may still be going away.
std::string host_link_name(const std::string& container) {
  return "ogv" + container.substr(0, 6) + random_id().substr(0, 6);
}

Result<network::LinkPlan> link_plan(const Engine& engine, const NetworkConfig& n, const ContainerConfig& c,
                                    const EndpointConfig& e, size_t number, bool gateway) {
  network::LinkPlan plan;
  plan.driver = n.driver;
  plan.interface = "eth" + std::to_string(number);
  plan.mac = TRY(sys::parse_mac(e.mac));
  plan.mtu = network_mtu(n);
  plan.mode = network_mode(n);
  plan.isolated = network_isolates(n);
  if (n.driver == "bridge") {
    plan.master = network_bridge(engine, n);
    plan.host_link = host_link_name(c.id);
  } else {
    plan.master = network_parent(n);
  }
  for (bool v4 : {true, false}) {
    const std::string& text = v4 ? e.ipv4 : e.ipv6;
    if (text.empty() || (!v4 && !network::host_has_ipv6())) continue;
    NetworkSubnet s = subnet_of(n, v4);
    plan.addresses.push_back({TRY(IpAddress::parse(text)), s.subnet.length()});
    if (gateway && !n.internal) (v4 ? plan.gateway4 : plan.gateway6) = s.gateway;
  }
  // In layer 3 there is no gateway to be asked for; the device itself is the way out.
  bool layer3 = n.driver == "ipvlan" && network_mode(n) != 0;
  if (layer3 && gateway && !n.internal) {
    plan.gateway4 = plan.gateway6 = IpAddress();
    plan.device_default = true;
  }
  if (gateway && n.driver == "bridge") plan.resolver = TRY(IpAddress::parse(kResolverAddress));
  return plan;
}

LiveLink live_link(const NetworkConfig& n, const EndpointConfig& e, const network::LinkPlan& plan) {
  return {n.id, n.driver, plan.master, plan.host_link, plan.interface, e.ipv4, e.ipv6, e.mac};
}

// macvlan and ipvlan need their parent; "eth0.50" is made of eth0 when it is not there, an internal network
// without one gets a dummy.
Result<> ensure_parent(sys::NetlinkSocket& socket, const NetworkConfig& n, network::LinkPlan& plan) {
  if (plan.master.empty()) plan.master = "ogd-" + n.id.substr(0, 11);
  if (sys::link_index(plan.master)) return {};
  sys::NetlinkBatch batch;
  sys::LinkArgs link;
  link.name = plan.master;
  link.up = true;
  size_t dot = plan.master.rfind('.');
  if (plan.master.starts_with("ogd-")) {
    sys::add_dummy(batch, link);
  } else {
    link.parent = dot == std::string::npos ? 0 : sys::link_index(plan.master.substr(0, dot));
    auto id = dot == std::string::npos ? Result<uint64_t>(0) : parse_u64(plan.master.substr(dot + 1), "VLAN");
    constexpr uint64_t kMostVlan = 4094;
    if (!link.parent || !id || *id < 1 || *id > kMostVlan)
      return fail(
          Error::not_found("network " + n.name + ": the parent link " + plan.master + " does not exist"));
    sys::add_vlan(batch, link, static_cast<uint16_t>(*id));
  }
  auto made = socket.run(batch);
  return made || made.error().os_errno() == EEXIST ? Result<>() : made;
}

// The first container of a network would find nobody to ask for names for some milliseconds, and its resolver
// would wait a second before it asks again.
void await_names(const Engine& engine, const LiveRecord& record) {
  constexpr int kMostPolls = 500;
  constexpr useconds_t kPoll = 500;
  bool on_bridge = false;
  std::vector<std::string> wanted;
  for (const auto& link : record.links) {
    if (link.driver == "bridge") wanted.push_back(link.network_id);
    on_bridge |= link.driver == "bridge";
  }
  if (!on_bridge && !record.links.empty()) wanted.push_back(record.id);
  for (const auto& id : wanted)
    for (int n = 0; n < kMostPolls && ::access(serving_path(engine, id).c_str(), F_OK) != 0; n++)
      ::usleep(kPoll);
}

struct Prepared {
  std::vector<NetworkConfig> networks;  // of the endpoints, in their order
  std::vector<network::LinkPlan> plans;
  LiveRecord record;
};

Result<Prepared> prepare(Engine& engine, const ContainerConfig& c, int pid) {
  Prepared p;
  p.record.id = c.id;
  p.record.pid = pid;
  p.record.pid_start = sys::start_time(pid).value_or(0);
  p.record.draining = is_held(engine, c.id);
  for (const auto& [key, value] : c.labels)
    if (key == kBalanceLabel) p.record.group = value;
  size_t gateway = gateway_endpoint(engine, c);
  for (size_t n = 0; n < c.endpoints.size(); n++) {
    const EndpointConfig& e = c.endpoints[n];
    auto network = read_network(engine, e.network_id);
    if (!network) return fail(Error::not_found("network " + e.network + " not found: it was removed"));
    p.plans.push_back(TRY(link_plan(engine, *network, c, e, n, n == gateway)));
    p.record.links.push_back(live_link(*network, e, p.plans.back()));
    p.networks.push_back(std::move(*network));
  }
  return p;
}

}  // namespace

std::string network_run_path(const Engine& engine) { return engine.paths().run + "/network"; }

std::string firewall_table(const Engine& engine) {
  const std::string& run = engine.paths().run;
  return run == "/run/onggi" ? "onggi" : "onggi-" + sha256_hex(run).substr(0, 8);
}

Result<UniqueFd> lock_live_networks(const Engine& engine) {
  std::string base = network_run_path(engine);
  auto open_lock = [&] { return open_at(AT_FDCWD, base + "/lock", O_RDWR | O_CREAT, 0600); };
  auto lock = open_lock();
  if (!lock) {
    for (const char* dir : {"", "/live", "/ports"})
      if (::mkdir((base + dir).c_str(), 0700) < 0 && errno != EEXIST)
        return fail(Error::os("make the directory", base + dir));
    lock = open_lock();
  }
  if (!lock) return lock;
  while (::flock(lock->get(), LOCK_EX) < 0)
    if (errno != EINTR) return fail(Error::os("lock the live networks", base));
  return lock;
}

std::string serving_path(const Engine& engine, const std::string& id) {
  return network_run_path(engine) + "/serving/" + id;
}

size_t gateway_endpoint(Engine& engine, const ContainerConfig& c) {
  size_t best = std::string::npos;
  bool best_internal = true;
  for (size_t n = 0; n < c.endpoints.size(); n++) {
    auto network = read_network(engine, c.endpoints[n].network_id);
    if (!network) continue;
    bool better =
        best == std::string::npos || (best_internal && !network->internal) ||
        (best_internal == network->internal && c.endpoints[n].priority > c.endpoints[best].priority);
    if (!better) continue;
    best = n;
    best_internal = network->internal;
  }
  return best;
}

std::optional<LiveRecord> read_live(const Engine& engine, const std::string& id) {
  auto text = read_file(live_path(engine, id), 1 << 20);
  if (!text) return std::nullopt;
  auto record = json_parse<LiveRecord>(*text, "live network record");
  return record ? std::optional(std::move(*record)) : std::nullopt;
}

bool is_alive(const LiveRecord& record) {
  auto start = sys::start_time(record.pid);
  return start && *start == record.pid_start;
}

std::vector<LiveRecord> all_live(const Engine& engine) {
  std::vector<LiveRecord> list;
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir((network_run_path(engine) + "/live").c_str()),
                                          ::closedir);
  if (!dir) return list;
  while (dirent* e = ::readdir(dir.get())) {
    std::string name = e->d_name;
    if (!name.ends_with(".json")) continue;
    if (auto record = read_live(engine, name.substr(0, name.size() - 5))) list.push_back(std::move(*record));
  }
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return list;
}

Result<> rebuild_firewall(Engine& engine) {
  UniqueFd lock = TRY(lock_live_networks(engine));
  return rebuild_locked(engine);
}

Result<> network_up(Engine& engine, const ContainerConfig& c, int pid) {
  if (c.endpoints.empty()) return {};
  Prepared p = TRY(prepare(engine, c, pid));
  auto socket = TRY(sys::NetlinkSocket::open(NETLINK_ROUTE));
  for (size_t n = 0; n < p.plans.size(); n++) {
    TRY_VOID(ensure_network(engine, socket, p.networks[n]));
    if (p.plans[n].driver != "bridge") TRY_VOID(ensure_parent(socket, p.networks[n], p.plans[n]));
    p.record.links[n].master = p.plans[n].master;
  }
  UniqueFd netns = TRY(open_at(AT_FDCWD, "/proc/" + std::to_string(pid) + "/ns/net", O_RDONLY));
  Rollback undo;
  undo.push([&] { network_down(engine, c.id); });
  {
    UniqueFd lock = TRY(lock_live_networks(engine));
    p.record.ports = TRY(claim_ports(engine, c, p.record, p.networks));
    TRY_VOID(save_live(engine, p.record));
    sys::NftBatch batch(firewall_table(engine));
    if (!p.record.draining) TRY_VOID(add_record_ports(engine, batch, p.record));
    TRY_VOID(commit_or_rebuild(engine, batch));
  }
  for (auto& plan : p.plans) plan.hairpin = !p.record.ports.empty() && network::host_filters_bridges();
  TRY_VOID_CTX(network::attach_links(socket, netns.get(), p.plans, true), "network of " + c.name);
  for (const auto& port : p.record.ports)
    if (port.host_ip == "0.0.0.0" || port.host_ip.starts_with("127."))
      for (const auto& plan : p.plans)
        if (plan.driver == "bridge") TRY_VOID(network::allow_localhost(plan.master));
  undo.commit();
  ensure_keeper(engine);
  await_names(engine, p.record);
  return {};
}

void network_down(Engine& engine, const std::string& id) {
  if (::access(live_path(engine, id).c_str(), F_OK) != 0) return;
  auto lock = lock_live_networks(engine);
  auto record = read_live(engine, id);
  if (!lock) return;
  if (record) {
    release_ports(engine, *record);
    sys::NftBatch batch(firewall_table(engine));
    // The record goes first: what a rebuild reads must not have it any more.
    (void)::unlink(live_path(engine, id).c_str());
    if (!record->draining && remove_record_ports(engine, batch, *record))
      (void)commit_or_rebuild(engine, batch);
    forget_flows(*record);
  }
  (void)::unlink(live_path(engine, id).c_str());
}

Result<> network_removed(Engine& engine, const NetworkConfig& n) {
  auto socket = TRY(sys::NetlinkSocket::open(NETLINK_ROUTE));
  if (n.driver != "bridge") return network::remove_bridge(socket, "ogd-" + n.id.substr(0, 11));
  std::string bridge = network_bridge(engine, n);
  if (!sys::link_index(bridge)) return {};
  UniqueFd lock = TRY(lock_live_networks(engine));
  TRY_VOID(network::remove_bridge(socket, bridge));
  sys::NftBatch batch(firewall_table(engine));
  network::firewall_remove_network(batch, firewall_network(engine, n));
  return commit_or_rebuild(engine, batch);
}

Result<> attach_running(Engine& engine, const ContainerConfig& c, const EndpointConfig& e) {
  auto record = read_live(engine, c.id);
  ContainerState state = TRY(TRY(engine.containers().open(c.id)).state());
  if (!record) record = LiveRecord{c.id, state.pid, state.pid_start, "", false, {}, {}};
  if (!is_alive(*record)) return fail(Error::busy("container " + c.name + " ended just now; try again"));
  NetworkConfig network = TRY(read_network(engine, e.network_id));
  UniqueFd netns = TRY(open_at(AT_FDCWD, "/proc/" + std::to_string(record->pid) + "/ns/net", O_RDONLY));
  size_t number = 0;
  auto taken = [&](const LiveLink& l) { return l.interface == "eth" + std::to_string(number); };
  while (std::any_of(record->links.begin(), record->links.end(), taken)) number++;
  size_t gateway = gateway_endpoint(engine, c);
  bool is_gateway = gateway < c.endpoints.size() && c.endpoints[gateway].network_id == e.network_id;
  auto plan = TRY(link_plan(engine, network, c, e, number, is_gateway));
  auto socket = TRY(sys::NetlinkSocket::open(NETLINK_ROUTE));
  TRY_VOID(ensure_network(engine, socket, network));
  if (plan.driver != "bridge") TRY_VOID(ensure_parent(socket, network, plan));
  UniqueFd lock = TRY(lock_live_networks(engine));
  bool first = record->links.empty();
  record->links.push_back(live_link(network, e, plan));
  TRY_VOID(save_live(engine, *record));
  auto attached = network::attach_links(socket, netns.get(), {plan}, first);
  if (!attached) {
    record->links.pop_back();
    (void)save_live(engine, *record);
    return attached;
  }
  lock.reset();
  ensure_keeper(engine);
  return {};
}

Result<> detach_running(Engine& engine, const ContainerConfig& c, const EndpointConfig& e) {
  UniqueFd lock = TRY(lock_live_networks(engine));
  auto record = read_live(engine, c.id);
  if (!record || !is_alive(*record)) return {};
  auto link = std::find_if(record->links.begin(), record->links.end(),
                           [&](const auto& l) { return l.network_id == e.network_id; });
  if (link == record->links.end()) return {};
  UniqueFd netns = TRY(open_at(AT_FDCWD, "/proc/" + std::to_string(record->pid) + "/ns/net", O_RDONLY));
  TRY_VOID(network::detach_link(netns.get(), link->interface));
  record->links.erase(link);
  // Ports lead to where they were published first; without that network they are gone.
  LiveRecord gone = *record;
  auto lost = [&](const LivePort& p) { return p.target == e.ipv4 || p.target == e.ipv6; };
  std::erase_if(gone.ports, [&](const auto& p) { return !lost(p); });
  std::erase_if(record->ports, lost);
  release_ports(engine, gone);
  TRY_VOID(save_live(engine, *record));
  sys::NftBatch batch(firewall_table(engine));
  TRY_VOID(remove_record_ports(engine, batch, gone));
  TRY_VOID(commit_or_rebuild(engine, batch));
  // Another network takes over the way out.
  size_t gateway = gateway_endpoint(engine, c);
  for (const auto& l : record->links) {
    if (gateway >= c.endpoints.size() || l.network_id != c.endpoints[gateway].network_id) continue;
    NetworkConfig network = TRY(read_network(engine, l.network_id));
    auto plan = TRY(link_plan(engine, network, c, c.endpoints[gateway], 0, true));
    plan.interface = l.interface;
    TRY_VOID(network::set_default_routes(netns.get(), plan));
  }
  return {};
}

Result<bool> drain_endpoint(Engine& engine, const std::string& id, std::chrono::milliseconds timeout) {
  ContainerConfig config = TRY(TRY(engine.containers().find(id)).config());
  {
    UniqueFd lock = TRY(lock_live_networks(engine));
    auto record = read_live(engine, config.id);
    if (!record || !is_alive(*record)) return true;
    for (const auto& e : config.endpoints) TRY_VOID(save_endpoint(engine, config, e, true));
    if (!record->draining) {
      record->draining = true;
      TRY_VOID(save_live(engine, *record));
      sys::NftBatch batch(firewall_table(engine));
      TRY_VOID(remove_record_ports(engine, batch, *record));
      TRY_VOID(commit_or_rebuild(engine, batch));
    }
    forget_flows(*record, true);
  }
  auto end = std::chrono::steady_clock::now() + timeout;
  constexpr useconds_t kPoll = 20'000;
  ::usleep(kPoll);  // what was on its way when the door was closed
  while (auto record = read_live(engine, config.id)) {
    if (!is_alive(*record) || open_connections(record->pid) == 0) {
      forget_flows(*record, true);
      return true;
    }
    if (std::chrono::steady_clock::now() >= end) return false;
    ::usleep(kPoll);
  }
  return true;
}

namespace {

std::string held_path(const Engine& engine, const std::string& id) {
  return engine.paths().container(id) + "/held";
}

}  // namespace

bool is_held(const Engine& engine, const std::string& id) {
  return ::access(held_path(engine, id).c_str(), F_OK) == 0;
}

Result<> hold_endpoint(Engine& engine, const std::string& id) {
  ContainerConfig config = TRY(TRY(engine.containers().find(id)).config());
  TRY_VOID(write_file(held_path(engine, config.id), "", O_CREAT | O_TRUNC, 0600));
  for (const auto& e : config.endpoints) TRY_VOID(save_endpoint(engine, config, e, true));
  UniqueFd lock = TRY(lock_live_networks(engine));
  auto record = read_live(engine, config.id);
  if (!record || record->draining) return {};
  record->draining = true;
  TRY_VOID(save_live(engine, *record));
  sys::NftBatch batch(firewall_table(engine));
  TRY_VOID(remove_record_ports(engine, batch, *record));
  return commit_or_rebuild(engine, batch);
}

Result<> admit_endpoint(Engine& engine, const std::string& id) {
  ContainerConfig config = TRY(TRY(engine.containers().find(id)).config());
  if (::unlink(held_path(engine, config.id).c_str()) < 0 && errno != ENOENT)
    return fail(Error::os("admit the container", config.name));
  for (const auto& e : config.endpoints) TRY_VOID(save_endpoint(engine, config, e, false));
  UniqueFd lock = TRY(lock_live_networks(engine));
  auto record = read_live(engine, config.id);
  if (!record || !record->draining) return {};
  record->draining = false;
  TRY_VOID(save_live(engine, *record));
  sys::NftBatch batch(firewall_table(engine));
  TRY_VOID(add_record_ports(engine, batch, *record));
  return commit_or_rebuild(engine, batch);
}

Result<> sweep_live_networks(Engine& engine, bool repair,
                             const std::function<void(const std::string&)>& report) {
  if (::access(network_run_path(engine).c_str(), F_OK) != 0) return {};
  for (const auto& record : all_live(engine)) {
    if (is_alive(record)) continue;
    // Its monitor's last word may be on the way.
    if (auto dir = engine.containers().open(record.id)) {
      if (!dir->lock(100)) continue;
      auto state = dir->state();
      if (state && (state->status == "running" || state->status == "starting")) continue;
    }
    if (report) report("network of " + record.id.substr(0, 12) + ": the container does not run any more");
    if (repair) network_down(engine, record.id);
  }
  return {};
}

}  // namespace onggi::engine
