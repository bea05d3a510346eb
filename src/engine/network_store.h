// Networks on disk (the layout is in networks.h): definitions, addresses, and who is on which network.
//
// Definitions change under one lock (a flock on ROOT/networks, which goes with its holder); addresses need
// none, since a symlink's creation decides. Readers never lock.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/scope.h"
#include "engine/networks.h"

namespace onggi::engine {

// ROOT/networks/ID/endpoints/CID.json: what the name service answers from.
struct EndpointRecord {
  std::string container, name;
  std::vector<std::string> aliases;
  std::string hostname, ipv4, ipv6, mac;
  std::vector<std::string> ports;      // "80/tcp": exposed and published, for SRV
  std::vector<std::string> resolvers;  // --dns: where its other questions go
  bool drained = false;                // answers to nobody
};

std::string networks_path(const Engine& engine);
std::string network_path(const Engine& engine, const std::string& id);
Result<UniqueFd> lock_networks(Engine& engine);
Result<NetworkConfig> read_network(const Engine& engine, const std::string& id);
Result<EndpointRecord> read_endpoint(const Engine& engine, const std::string& network_id,
                                     const std::string& container);
Result<std::vector<EndpointRecord>> read_endpoints(const Engine& engine, const std::string& network_id);

// The subnets of one family as values; empty when it has none.
struct NetworkSubnet {
  IpPrefix subnet, range;
  IpAddress gateway;
  std::vector<IpAddress> reserved;  // the gateway and what auxiliary addresses name
};
NetworkSubnet subnet_of(const NetworkConfig& network, bool v4);

// Reserves addresses for the container on all networks that its configuration names, fills them in, and makes
// it known to the name service. `undo` gives all of it back.
Result<> reserve_endpoints(Engine& engine, ContainerConfig& config, Rollback& undo);
Result<> reserve_endpoint(Engine& engine, const ContainerConfig& config, EndpointConfig& endpoint);
void release_endpoint(Engine& engine, const std::string& container, const EndpointConfig& endpoint);
void release_endpoints(Engine& engine, const ContainerConfig& config);
// After a rename, or when what the name service should say has changed.
Result<> save_endpoint(Engine& engine, const ContainerConfig& config, const EndpointConfig& endpoint,
                       bool drained = false);
// Addresses and endpoints whose container is gone, half-made networks, names of none.
Result<> sweep_networks(Engine& engine, bool repair, const std::function<void(const std::string&)>& report);

}  // namespace onggi::engine
