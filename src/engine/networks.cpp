#include "engine/networks.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/file.h"
#include "base/scope.h"
#include "engine/clock.h"
#include "engine/events.h"
#include "engine/network_json.h"
#include "engine/network_live.h"
#include "engine/network_options.h"
#include "engine/network_store.h"
#include "network/links.h"
#include "network/pools.h"

namespace onggi::engine {

namespace {

constexpr size_t kIdLength = 64;

std::string read_link(const std::string& path) {
  char text[80];
  ssize_t n = ::readlink(path.c_str(), text, sizeof text);
  return n > 0 ? std::string(text, static_cast<size_t>(n)) : "";
}

bool exists(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0;
}

std::vector<std::string> network_ids(const Engine& engine) {
  std::vector<std::string> ids;
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(networks_path(engine).c_str()), ::closedir);
  if (!dir) return ids;
  while (dirent* e = ::readdir(dir.get()))
    if (std::string name = e->d_name; name.size() == kIdLength) ids.push_back(std::move(name));
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::vector<NetworkConfig> all_networks(const Engine& engine) {
  std::vector<NetworkConfig> list;
  for (const auto& id : network_ids(engine))
    if (auto network = read_network(engine, id)) list.push_back(std::move(*network));
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return list;
}

Result<> check_network_name(const std::string& name) {
  for (const char* reserved : {"host", "none", "default", "container", "nat", "private"})
    if (name == reserved)
      return fail(Error::invalid("network with name " + name + " is reserved: operation is not permitted"));
  if (check_container_name(name) && name.size() <= 128) return {};
  return fail(Error::invalid("invalid network name \"" + name +
                             "\": only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, two to 128 characters"));
}

// Once for this store: 40 random bits, so that two machines' networks can be joined one day (RFC 4193).
Result<IpPrefix> own_unique_local(const Engine& engine) {
  std::string path = networks_path(engine) + "/unique-local";
  if (auto text = read_file(path, 128)) return IpPrefix::parse(trim(*text));
  char random[5];
  (void)!::getrandom(random, sizeof random, 0);
  IpPrefix prefix = network::unique_local_prefix({random, sizeof random});
  UniqueFd dir = TRY(open_at(AT_FDCWD, networks_path(engine), O_RDONLY | O_DIRECTORY));
  TRY_VOID(replace_file_at(dir.get(), "unique-local", prefix.text() + "\n"));
  return prefix;
}

// Everything that means something already: other networks and, for new subnets, the host's routes.
struct Taken {
  std::vector<IpPrefix> networks, routes;
};
Result<Taken> taken_subnets(const Engine& engine) {
  Taken taken;
  for (const auto& network : all_networks(engine))
    for (const auto& s : network.subnets)
      if (auto subnet = IpPrefix::parse(s.subnet)) taken.networks.push_back(*subnet);
  auto socket = TRY(sys::NetlinkSocket::open(NETLINK_ROUTE));
  for (const auto& route : TRY(sys::routes(socket))) taken.routes.push_back(route.to);
  return taken;
}

Result<> check_asked(const NetworkConfig& network, SubnetConfig& s, const Taken& taken) {
  IpPrefix subnet = TRY(IpPrefix::parse(s.subnet, true));
  s.subnet = subnet.text();
  for (const auto& other : taken.networks)
    if (other.overlaps(subnet))
      return fail(Error::invalid("Pool overlaps with other one on this address space: " + s.subnet + " and " +
                                 other.text()));
  // macvlan and ipvlan are on the parent's network on purpose.
  for (const auto& route : taken.routes)
    if (network.driver == "bridge" && route.overlaps(subnet) && (subnet.is_v4() || route.length() > 7))
      return fail(Error::invalid("the subnet " + s.subnet + " overlaps the host's route to " + route.text() +
                                 "; choose another one"));
  bool needs_gateway = network.driver == "bridge" || !network.internal;
  if (s.gateway.empty() && needs_gateway) s.gateway = network::default_gateway(subnet).text();
  if (!s.gateway.empty()) {
    IpAddress gateway = TRY(IpAddress::parse(s.gateway));
    if (!subnet.contains(gateway)) return fail(Error::invalid("no matching subnet for gateway " + s.gateway));
    s.gateway = gateway.text();
  }
  if (!s.ip_range.empty() && !subnet.contains(TRY(IpPrefix::parse(s.ip_range))))
    return fail(Error::invalid("no matching subnet for range " + s.ip_range));
  for (const auto& [name, address] : s.auxiliary)
    if (!subnet.contains(TRY(IpAddress::parse(address))))
      return fail(Error::invalid("no matching subnet for aux-address " + address));
  return {};
}

Result<> choose_subnets(const Engine& engine, NetworkConfig& network) {
  Taken taken = TRY(taken_subnets(engine));
  bool has_v4 = false, has_v6 = false;
  for (auto& s : network.subnets) {
    TRY_VOID(check_asked(network, s, taken));
    IpPrefix subnet = TRY(IpPrefix::parse(s.subnet));
    bool& seen = subnet.is_v4() ? has_v4 : has_v6;
    if (std::exchange(seen, true))
      return fail(
          Error::unsupported("a network has at most one subnet of each family; make a second network"));
    taken.networks.push_back(subnet);
  }
  taken.networks.insert(taken.networks.end(), taken.routes.begin(), taken.routes.end());
  network.ipv6 |= has_v6;
  if (!has_v4) {
    std::vector<IpPrefix> pools;
    for (const char* pool : network::kPools) pools.push_back(TRY(IpPrefix::parse(pool)));
    IpPrefix subnet = TRY(network::choose_subnet(pools, network::kPoolLength, taken.networks));
    network.subnets.insert(network.subnets.begin(),
                           {subnet.text(), network::default_gateway(subnet).text(), "", {}});
  }
  if (has_v6 || !network.ipv6) return {};
  IpPrefix prefix = TRY(own_unique_local(engine));
  constexpr unsigned kSubnetLength = 64;
  IpPrefix subnet = TRY(network::choose_subnet({prefix}, kSubnetLength, taken.networks));
  network.subnets.push_back({subnet.text(), network::default_gateway(subnet).text(), "", {}});
  return {};
}

// The caller holds the lock.
Result<NetworkConfig> create_locked(Engine& engine, NetworkConfig network) {
  network.id = random_id();
  network.created = now_rfc3339();
  std::string link = networks_path(engine) + "/names/" + network.name;
  std::string owner = read_link(link);
  if (!owner.empty() && exists(network_path(engine, owner) + "/network.json"))
    return fail(Error(ErrorKind::kExists, "network with name " + network.name + " already exists"));
  TRY_VOID(choose_subnets(engine, network));
  std::string path = network_path(engine, network.id);
  Rollback undo;
  for (const auto& dir : {path, path + "/addresses", path + "/endpoints"})
    if (::mkdir(dir.c_str(), 0700) < 0) return fail(Error::os("make the directory", dir));
  undo.push([&] {
    (void)::rename(path.c_str(), (engine.paths().root + "/trash/network-" + network.id).c_str());
    engine.sweep_in_background();
  });
  // The name first: one that leads to a network without a definition is nobody's.
  (void)::unlink(link.c_str());
  if (::symlink(network.id.c_str(), link.c_str()) < 0)
    return fail(Error::os("name the network", network.name));
  JsonWriter w;
  json_write(w, network);
  UniqueFd dir = TRY(open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
  TRY_VOID(replace_file_at(dir.get(), "network.json", w.text()));
  undo.commit();
  record_event(engine.paths(),
               {"network", "create", network.id, network.name, "", {{"type", network.driver}}});
  return network;
}

Result<NetworkConfig> default_network(Engine& engine) {
  UniqueFd lock = TRY(lock_networks(engine));
  std::string id = read_link(networks_path(engine) + "/names/" + kDefaultNetwork);
  if (!id.empty())
    if (auto network = read_network(engine, id)) return network;
  NetworkConfig network;
  network.name = kDefaultNetwork;
  network.driver = "bridge";
  return create_locked(engine, std::move(network));
}

}  // namespace

Result<NetworkConfig> create_network(Engine& engine, NetworkRequest request) {
  NetworkConfig& network = request.config;
  if (network.driver.empty()) network.driver = "bridge";
  TRY_VOID(check_network_name(network.name));
  TRY_VOID(check_network_options(network));
  if (network.name == kDefaultNetwork)
    return fail(Error(ErrorKind::kExists, "network with name bridge already exists"));
  if (engine.paths().rootless)
    return fail(
        Error::unsupported("create the network " + network.name +
                           ": a rootless engine has no bridges (--network none, host, container:NAME)"));
  UniqueFd lock = TRY(lock_networks(engine));
  return create_locked(engine, std::move(network));
}

Result<NetworkConfig> find_network(Engine& engine, const std::string& reference) {
  auto none = [&] { return fail(Error::not_found("network " + reference + " not found")); };
  if (reference.empty() || reference.find('/') != std::string::npos || reference[0] == '.') return none();
  std::string name = reference == "default" ? kDefaultNetwork : reference;
  std::string id = read_link(networks_path(engine) + "/names/" + name);
  if (!id.empty()) {
    auto network = read_network(engine, id);
    if (network || network.error().kind() != ErrorKind::kNotFound) return network;
  }
  if (name == kDefaultNetwork) return default_network(engine);
  std::string found;
  for (const auto& candidate : network_ids(engine)) {
    if (!candidate.starts_with(reference)) continue;
    if (!found.empty())
      return fail(Error::invalid("network " + reference + " is ambiguous; give more of its id"));
    found = candidate;
  }
  if (found.empty()) return none();
  auto network = read_network(engine, found);
  return network ? std::move(network) : none();
}

Result<std::vector<NetworkConfig>> list_networks(Engine& engine) {
  if (!engine.paths().rootless) TRY(find_network(engine, kDefaultNetwork));
  return all_networks(engine);
}

Result<> remove_network(Engine& engine, const std::string& reference) {
  NetworkConfig network = TRY(find_network(engine, reference));
  if (network.name == kDefaultNetwork)
    return fail(Error(ErrorKind::kPermission, "bridge is a pre-defined network and cannot be removed"));
  UniqueFd lock = TRY(lock_networks(engine));
  std::string users;
  for (const auto& e : TRY(endpoints_of_network(engine, network)))
    if (e.running) users += (users.empty() ? "" : ", ") + e.container_name;
  if (!users.empty())
    return fail(Error::busy("error while removing network: network " + network.name + " id " + network.id +
                            " has active endpoints: " + users + "; stop them, or onggi network disconnect"));
  std::string trash = engine.paths().root + "/trash/network-" + network.id;
  if (::rename(network_path(engine, network.id).c_str(), trash.c_str()) < 0)
    return fail(Error::os("remove the network", network.name));
  (void)::unlink((networks_path(engine) + "/names/" + network.name).c_str());
  TRY_VOID(network_removed(engine, network));
  record_event(engine.paths(),
               {"network", "destroy", network.id, network.name, "", {{"type", network.driver}}});
  engine.sweep_in_background();
  return {};
}

Result<std::vector<std::string>> prune_networks(Engine& engine, const std::vector<std::string>& filters) {
  std::vector<std::string> removed;
  for (const auto& network : all_networks(engine)) {
    if (network.name == kDefaultNetwork || !TRY(endpoints_of_network(engine, network)).empty()) continue;
    bool wanted = true;
    for (const auto& filter : filters) wanted &= TRY(prune_matches(network, filter));
    if (!wanted || !remove_network(engine, network.id)) continue;
    removed.push_back(network.name);
  }
  return removed;
}

}  // namespace onggi::engine
