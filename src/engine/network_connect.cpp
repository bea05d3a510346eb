// Connecting and disconnecting containers, and what is to be seen of endpoints.
#include <algorithm>

#include "base/file.h"
#include "base/scope.h"
#include "base/sha256.h"
#include "engine/container_files.h"
#include "engine/events.h"
#include "engine/network_live.h"
#include "engine/network_store.h"
#include "engine/networks.h"

namespace onggi::engine {

namespace {

EndpointState state_of(const NetworkConfig& n, const std::string& container, const std::string& name,
                       const std::vector<std::string>& aliases, const std::string& mac,
                       const std::optional<LiveRecord>& live) {
  EndpointState s;
  s.network = n.name;
  s.network_id = n.id;
  s.driver = n.driver;
  s.container_id = container;
  s.container_name = name;
  s.endpoint_id = sha256_hex(n.id + container);
  s.aliases = aliases;
  s.names = {name};
  s.names.insert(s.names.end(), aliases.begin(), aliases.end());
  s.names.push_back(container.substr(0, 12));
  s.mac = mac;
  NetworkSubnet four = subnet_of(n, true), six = subnet_of(n, false);
  s.gateway4 = n.internal ? "" : four.gateway.text();
  s.gateway6 = n.internal ? "" : six.gateway.text();
  s.prefix4 = static_cast<int>(four.subnet.length());
  s.prefix6 = static_cast<int>(six.subnet.length());
  if (!live || !is_alive(*live)) return s;
  for (const auto& link : live->links)
    if (link.network_id == n.id) {
      s.running = true;
      s.interface = link.interface;
    }
  return s;
}

Result<> check_connectable(const ContainerConfig& c) {
  if (c.network == "host")
    return fail(Error::invalid("container " + c.name +
                               " cannot be disconnected from host network or connected to another"));
  if (c.network == "none")
    return fail(Error::invalid(
        "container " + c.name +
        " cannot be connected to multiple networks with one of the networks in private (none) mode"));
  if (c.network.starts_with("container:"))
    return fail(Error::invalid(
        "container sharing network namespace with another container or host cannot be connected "
        "to any other network"));
  return {};
}

void event(Engine& engine, const NetworkConfig& n, const char* action, const std::string& container) {
  record_event(engine.paths(),
               {"network", action, n.id, n.name, "", {{"container", container}, {"type", n.driver}}});
}

}  // namespace

Result<> connect_network(Engine& engine, const std::string& network, const std::string& container,
                         EndpointConfig endpoint) {
  NetworkConfig n = TRY(find_network(engine, network));
  ContainerDir dir = TRY(engine.containers().find(container));
  TRY_VOID(dir.lock());
  ContainerConfig c = TRY(dir.config());
  TRY_VOID(check_connectable(c));
  for (const auto& e : c.endpoints)
    if (e.network_id == n.id)
      return fail(
          Error(ErrorKind::kExists, "endpoint with name " + c.name + " already exists in network " + n.name));
  endpoint.network = n.name;
  TRY_VOID(reserve_endpoint(engine, c, endpoint));
  Rollback undo;
  undo.push([&] { release_endpoint(engine, c.id, endpoint); });
  ContainerConfig old = c;
  c.endpoints.push_back(endpoint);
  TRY_VOID(dir.save_config(c));
  undo.push([&] { (void)dir.save_config(old); });
  if (TRY(dir.state()).status == "running") TRY_VOID(attach_running(engine, c, endpoint));
  TRY_VOID(write_own_files(engine, c, dir.fd(), true));
  undo.commit();
  event(engine, n, "connect", c.id);
  return {};
}

Result<> disconnect_network(Engine& engine, const std::string& network, const std::string& container,
                            bool force) {
  NetworkConfig n = TRY(find_network(engine, network));
  auto found = engine.containers().find(container);
  // --force: a container that is gone has nothing to be disconnected.
  if (!found && force && found.error().kind() == ErrorKind::kNotFound)
    return sweep_networks(engine, true, {});
  if (!found) return fail(std::move(found).error());
  ContainerDir& dir = *found;
  TRY_VOID(dir.lock());
  ContainerConfig c = TRY(dir.config());
  auto at = std::find_if(c.endpoints.begin(), c.endpoints.end(),
                         [&](const auto& e) { return e.network_id == n.id; });
  if (at == c.endpoints.end())
    return fail(Error::invalid("container " + c.id + " is not connected to network " + n.name));
  EndpointConfig endpoint = *at;
  c.endpoints.erase(at);
  // First what is written: whatever is left of the link when this command dies goes with the container.
  TRY_VOID(dir.save_config(c));
  TRY_VOID(detach_running(engine, c, endpoint));
  release_endpoint(engine, c.id, endpoint);
  TRY_VOID(write_own_files(engine, c, dir.fd(), true));
  event(engine, n, "disconnect", c.id);
  return {};
}

Result<std::vector<EndpointState>> endpoints_of_container(Engine& engine, const ContainerConfig& c) {
  std::vector<EndpointState> list;
  auto live = read_live(engine, c.id);
  for (const auto& e : c.endpoints) {
    auto network = read_network(engine, e.network_id);
    NetworkConfig n = network ? std::move(*network) : NetworkConfig{};
    n.name = e.network;
    EndpointState s = state_of(n, c.id, c.name, e.aliases, e.mac, live);
    s.ipv4 = e.ipv4;
    s.ipv6 = e.ipv6;
    list.push_back(std::move(s));
  }
  return list;
}

Result<std::vector<EndpointState>> endpoints_of_network(Engine& engine, const NetworkConfig& n) {
  std::vector<EndpointState> list;
  for (const auto& r : TRY(read_endpoints(engine, n.id))) {
    EndpointState s = state_of(n, r.container, r.name, r.aliases, r.mac, read_live(engine, r.container));
    s.ipv4 = r.ipv4;
    s.ipv6 = r.ipv6;
    list.push_back(std::move(s));
  }
  return list;
}

}  // namespace onggi::engine
