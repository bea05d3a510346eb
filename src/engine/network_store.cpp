#include "engine/network_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/file.h"
#include "engine/network_json.h"
#include "network/links.h"
#include "network/pools.h"
#include "network/ports.h"

namespace onggi::engine {

namespace {

std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  if (!dir) return names;
  while (dirent* e = ::readdir(dir.get()))
    if (e->d_name[0] != '.') names.emplace_back(e->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

bool exists(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0;
}

bool container_exists(const Engine& engine, const std::string& id) {
  return exists(engine.paths().container(id)) || exists(engine.paths().root + "/trash/" + id);
}

std::string address_link(const Engine& engine, const std::string& network, const IpAddress& a) {
  return network_path(engine, network) + "/addresses/" + a.text();
}

// What the user asked for must be possible; what is taken is said.
Result<IpAddress> claim_asked(Engine& engine, const NetworkConfig& network, const NetworkSubnet& subnet,
                              const std::string& text, const std::string& container) {
  IpAddress address = TRY(IpAddress::parse(text));
  if (subnet.subnet.empty())
    return fail(
        Error::invalid("invalid address " + text + ": the network " + network.name + " has no such subnet"));
  TRY_VOID(network::check_host_address(subnet.subnet, address));
  bool reserved = std::find(subnet.reserved.begin(), subnet.reserved.end(), address) != subnet.reserved.end();
  if (!reserved && TRY(take_link(engine.paths(), address_link(engine, network.id, address), container)))
    return address;
  return fail(
      Error(ErrorKind::kExists, "Address already in use: " + text + " on the network " + network.name));
}

Result<IpAddress> claim_free(Engine& engine, const NetworkConfig& network, const NetworkSubnet& subnet,
                             const std::string& container) {
  auto taken = names_in(network_path(engine, network.id) + "/addresses");
  auto skip = [&](const IpAddress& a) {
    return std::find(subnet.reserved.begin(), subnet.reserved.end(), a) != subnet.reserved.end() ||
           std::binary_search(taken.begin(), taken.end(), a.text());
  };
  auto claim = [&](const IpAddress& a) {
    return take_link(engine.paths(), address_link(engine, network.id, a), container);
  };
  return network::choose_address(subnet.subnet, subnet.range, skip, claim);
}

// The same place in the IPv6 subnet as in the IPv4 one, when it is free: easier on the eyes.
Result<IpAddress> claim_like(Engine& engine, const NetworkConfig& network, const NetworkSubnet& subnet,
                             const std::string& container, uint64_t offset) {
  IpAddress like = subnet.subnet.address().plus(offset);
  bool free = subnet.range.contains(like) &&
              std::find(subnet.reserved.begin(), subnet.reserved.end(), like) == subnet.reserved.end();
  if (free && TRY(take_link(engine.paths(), address_link(engine, network.id, like), container))) return like;
  return claim_free(engine, network, subnet, container);
}

Result<> claim_addresses(Engine& engine, const NetworkConfig& network, const std::string& container,
                         EndpointConfig& e) {
  NetworkSubnet four = subnet_of(network, true), six = subnet_of(network, false);
  e.fixed = !e.ipv4.empty() || !e.ipv6.empty();
  if (!e.ipv4.empty() || !four.subnet.empty()) {
    IpAddress a = TRY(e.ipv4.empty() ? claim_free(engine, network, four, container)
                                     : claim_asked(engine, network, four, e.ipv4, container));
    e.ipv4 = a.text();
  }
  if (e.ipv6.empty() && six.subnet.empty()) return {};
  uint64_t offset = 2;
  if (!e.ipv4.empty()) offset = TRY(IpAddress::parse(e.ipv4)).distance_from(four.subnet.address());
  IpAddress a = TRY(e.ipv6.empty() ? claim_like(engine, network, six, container, offset)
                                   : claim_asked(engine, network, six, e.ipv6, container));
  e.ipv6 = a.text();
  return {};
}

Result<> check_alias(const std::string& alias) {
  bool ok = !alias.empty() && alias.size() <= 253;
  for (char c : alias) ok &= ::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
  return ok ? Result<>() : fail(Error::invalid("invalid network alias '" + alias + "'"));
}

}  // namespace

std::string networks_path(const Engine& engine) { return engine.paths().root + "/networks"; }
std::string network_path(const Engine& engine, const std::string& id) {
  return networks_path(engine) + "/" + id;
}

Result<UniqueFd> lock_networks(Engine& engine) {
  std::string path = networks_path(engine);
  for (const auto& dir : {path, path + "/names"})
    if (::mkdir(dir.c_str(), 0700) < 0 && errno != EEXIST) return fail(Error::os("make the directory", dir));
  UniqueFd lock = TRY(open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
  while (::flock(lock.get(), LOCK_EX) < 0)
    if (errno != EINTR) return fail(Error::os("lock the networks", path));
  return lock;
}

Result<NetworkConfig> read_network(const Engine& engine, const std::string& id) {
  auto text = read_file(network_path(engine, id) + "/network.json", 1 << 20);
  if (!text && text.error().os_errno() == ENOENT)
    return fail(Error::not_found("network " + id + " not found"));
  if (!text) return fail(std::move(text).error());
  return json_parse<NetworkConfig>(*text, "definition of the network " + id.substr(0, 12));
}

Result<EndpointRecord> read_endpoint(const Engine& engine, const std::string& network_id,
                                     const std::string& container) {
  std::string path = network_path(engine, network_id) + "/endpoints/" + container + ".json";
  std::string text = TRY(read_file(path, 1 << 20));
  return json_parse<EndpointRecord>(text, "endpoint " + path);
}

Result<std::vector<EndpointRecord>> read_endpoints(const Engine& engine, const std::string& network_id) {
  std::vector<EndpointRecord> list;
  std::string path = network_path(engine, network_id) + "/endpoints";
  for (const auto& name : names_in(path)) {
    if (!name.ends_with(".json")) continue;
    auto record = read_endpoint(engine, network_id, name.substr(0, name.size() - 5));
    if (record) list.push_back(std::move(*record));  // removed meanwhile, or the sweep's
  }
  return list;
}

NetworkSubnet subnet_of(const NetworkConfig& network, bool v4) {
  NetworkSubnet out;
  for (const auto& s : network.subnets) {
    auto subnet = IpPrefix::parse(s.subnet);
    if (!subnet || subnet->is_v4() != v4) continue;
    out.subnet = out.range = *subnet;
    if (auto range = IpPrefix::parse(s.ip_range)) out.range = *range;
    if (auto gateway = IpAddress::parse(s.gateway)) {
      out.gateway = *gateway;
      out.reserved.push_back(*gateway);
    }
    for (const auto& [name, address] : s.auxiliary)
      if (auto a = IpAddress::parse(address)) out.reserved.push_back(*a);
    break;
  }
  return out;
}

Result<> save_endpoint(Engine& engine, const ContainerConfig& c, const EndpointConfig& e, bool drained) {
  EndpointRecord r;
  r.container = c.id;
  r.name = c.name;
  r.aliases = e.aliases;
  r.hostname = c.hostname;
  r.ipv4 = e.ipv4;
  r.ipv6 = e.ipv6;
  r.mac = e.mac;
  r.resolvers = c.dns;
  r.drained = drained || is_held(engine, c.id);
  r.ports = c.expose;
  for (const auto& text : c.ports)
    if (auto specs = network::parse_publish(text))
      for (const auto& s : *specs) {
        std::string port = std::to_string(s.container_port) + "/" + s.protocol;
        if (std::find(r.ports.begin(), r.ports.end(), port) == r.ports.end()) r.ports.push_back(port);
      }
  JsonWriter w;
  json_write(w, r);
  std::string path = network_path(engine, e.network_id) + "/endpoints";
  auto dir = open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
  if (!dir) return fail(Error::not_found("network " + e.network + " not found: it was removed"));
  return replace_file_at(dir->get(), c.id + ".json", w.text());
}

Result<> reserve_endpoint(Engine& engine, const ContainerConfig& c, EndpointConfig& e) {
  NetworkConfig network = TRY(find_network(engine, e.network));
  e.network = network.name;
  e.network_id = network.id;
  for (const auto& alias : e.aliases) TRY_VOID(check_alias(alias));
  if (!e.mac.empty())
    e.mac = sys::mac_text(TRY(sys::parse_mac(e.mac)));
  else
    e.mac = sys::mac_text(network::mac_from(network.id + c.id));
  Rollback undo;
  undo.push([&] { release_endpoint(engine, c.id, e); });
  TRY_VOID(claim_addresses(engine, network, c.id, e));
  TRY_VOID(save_endpoint(engine, c, e));
  undo.commit();
  return {};
}

Result<> reserve_endpoints(Engine& engine, ContainerConfig& c, Rollback& undo) {
  for (size_t n = 0; n < c.endpoints.size(); n++) {
    EndpointConfig& e = c.endpoints[n];
    TRY_VOID(reserve_endpoint(engine, c, e));
    undo.push([&engine, id = c.id, endpoint = e] { release_endpoint(engine, id, endpoint); });
    for (size_t before = 0; before < n; before++)
      if (c.endpoints[before].network_id == e.network_id)
        return fail(Error::invalid("network \"" + e.network + "\" is specified multiple times"));
  }
  return {};
}

void release_endpoint(Engine& engine, const std::string& container, const EndpointConfig& e) {
  if (e.network_id.empty()) return;
  std::string path = network_path(engine, e.network_id);
  (void)::unlink((path + "/endpoints/" + container + ".json").c_str());
  for (const std::string* text : {&e.ipv4, &e.ipv6}) {
    char owner[80];
    std::string link = path + "/addresses/" + *text;
    ssize_t n = text->empty() ? -1 : ::readlink(link.c_str(), owner, sizeof owner);
    if (n > 0 && std::string_view(owner, static_cast<size_t>(n)) == container) (void)::unlink(link.c_str());
  }
}

void release_endpoints(Engine& engine, const ContainerConfig& config) {
  for (const auto& e : config.endpoints) release_endpoint(engine, config.id, e);
}

namespace {

void sweep_one(Engine& engine, const NetworkConfig& network, bool repair,
               const std::function<void(const std::string&)>& report) {
  std::string path = network_path(engine, network.id);
  for (const auto& name : names_in(path + "/addresses")) {
    char owner[80];
    ssize_t n = ::readlink((path + "/addresses/" + name).c_str(), owner, sizeof owner);
    if (n <= 0 || container_exists(engine, std::string(owner, static_cast<size_t>(n)))) continue;
    if (report) report("network " + network.name + ": the address " + name + " belongs to no container");
    if (repair) (void)::unlink((path + "/addresses/" + name).c_str());
  }
  for (const auto& name : names_in(path + "/endpoints")) {
    if (name.ends_with(".json") && container_exists(engine, name.substr(0, name.size() - 5))) continue;
    if (report)
      report("network " + network.name + ": the endpoint " + name.substr(0, 12) + " belongs to no container");
    if (repair) (void)::unlink((path + "/endpoints/" + name).c_str());
  }
}

}  // namespace

Result<> sweep_networks(Engine& engine, bool repair, const std::function<void(const std::string&)>& report) {
  if (!exists(networks_path(engine))) return {};
  UniqueFd lock = TRY(lock_networks(engine));
  for (const auto& id : names_in(networks_path(engine))) {
    constexpr size_t kIdLength = 64;
    if (id.size() != kIdLength) continue;
    auto network = read_network(engine, id);
    if (network) {
      sweep_one(engine, *network, repair, report);
    } else if (network.error().kind() == ErrorKind::kNotFound) {
      if (report) report("network " + id.substr(0, 12) + ": its creation was interrupted");
      if (repair)
        (void)::rename(network_path(engine, id).c_str(),
                       (engine.paths().root + "/trash/network-" + id).c_str());
    }
  }
  std::string names = networks_path(engine) + "/names";
  for (const auto& name : names_in(names)) {
    char id[80];
    ssize_t n = ::readlink((names + "/" + name).c_str(), id, sizeof id);
    if (n > 0 && exists(network_path(engine, std::string(id, static_cast<size_t>(n))))) continue;
    if (report) report("networks/names/" + name + ": belongs to no network");
    if (repair) (void)::unlink((names + "/" + name).c_str());
  }
  return {};
}

}  // namespace onggi::engine
