// Networks as their user sees them: definitions on disk, who is on which, and what is published.
//
//   ROOT/networks/ID/network.json       a definition; without it the network does not exist
//   ROOT/networks/ID/addresses/A -> CID  symlinks: their creation decides who gets an address
//   ROOT/networks/ID/endpoints/CID.json  who is on it and by which names: the name service reads these
//   ROOT/networks/names/NAME -> ID       symlinks: their creation decides who gets a name
//   RUN/network/live/CID.json            a running container's links and published ports: what the firewall
//   is
//                                        made of, so that it can be made again whole at any time
//   RUN/network/ports/...                symlinks: their creation decides who publishes a port
//
// Everything here may be done by several commands at once and be killed at any step: what a dead owner left
// is taken over, or swept.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "engine/container_config.h"
#include "engine/engine.h"

namespace onggi::engine {

inline constexpr const char* kDefaultNetwork = "bridge";

struct SubnetConfig {
  std::string subnet;    // "10.208.0.0/22", "fd12:3456:789a::/64"
  std::string gateway;   // the host's address on it; empty only for internal macvlan and ipvlan networks
  std::string ip_range;  // addresses are chosen from here; empty: from all of the subnet
  StringMap auxiliary;   // name -> address that is not handed out
};

struct NetworkConfig {
  std::string id;  // 64 hexadecimal digits
  std::string name;
  std::string created;  // RFC 3339, UTC
  std::string driver;   // "bridge", "macvlan", "ipvlan"
  bool internal = false, ipv6 = true, attachable = false, isolated = false;
  std::vector<SubnetConfig> subnets;
  StringMap options, labels;
};

struct NetworkRequest {
  NetworkConfig config;  // id and created are chosen; missing subnets, too
};
Result<NetworkConfig> create_network(Engine& engine, NetworkRequest request);
// By name, id or unambiguous prefix of an id. kNotFound: "network x not found". "bridge" always exists.
Result<NetworkConfig> find_network(Engine& engine, const std::string& reference);
// Sorted by name.
Result<std::vector<NetworkConfig>> list_networks(Engine& engine);
// kBusy while a container that runs is on it, and for "bridge".
Result<> remove_network(Engine& engine, const std::string& reference);
// Those without containers; their names.
Result<std::vector<std::string>> prune_networks(Engine& engine, const std::vector<std::string>& filters);

// Both work on containers that run and on those that do not.
Result<> connect_network(Engine& engine, const std::string& network, const std::string& container,
                         EndpointConfig endpoint);
Result<> disconnect_network(Engine& engine, const std::string& network, const std::string& container,
                            bool force);

// A container on a network, as it is.
struct EndpointState {
  std::string network, network_id, driver;
  std::string container_id, container_name;
  std::string endpoint_id;  // 64 hexadecimal digits
  std::string interface;    // in the container; empty when it does not run
  std::string ipv4, ipv6, gateway4, gateway6, mac;
  int prefix4 = 0, prefix6 = 0;
  std::vector<std::string> aliases, names;
  bool running = false;
};
Result<std::vector<EndpointState>> endpoints_of_container(Engine& engine, const ContainerConfig& config);
Result<std::vector<EndpointState>> endpoints_of_network(Engine& engine, const NetworkConfig& network);

// A port as it is published now; `host_port` is the one that was chosen where none was asked for.
struct PublishedPort {
  std::string host_ip;  // "0.0.0.0", "::", or the address
  uint16_t host_port = 0, container_port = 0;
  std::string protocol;  // "tcp", "udp", "sctp"
};
// Of a running container; empty for others.
std::vector<PublishedPort> published_ports(Engine& engine, const std::string& container_id);

// Containers with the same value of this label may publish the same port: it is balanced over them.
inline constexpr const char* kBalanceLabel = "onggi.balance";
// Takes a running container out of the ports that it shares and out of the name service, lets its
// connections go on, and returns when there are none any more or time is up (false).
Result<bool> drain_endpoint(Engine& engine, const std::string& container_id,
                            std::chrono::milliseconds timeout);

// A new replica beside others: no connections by ports that it shares and no name until it is admitted. It
// may be running or not, and stays held over restarts.
Result<> hold_endpoint(Engine& engine, const std::string& container_id);
Result<> admit_endpoint(Engine& engine, const std::string& container_id);
bool is_held(const Engine& engine, const std::string& container_id);

}  // namespace onggi::engine
