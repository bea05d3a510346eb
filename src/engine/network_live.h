// Networks of running containers: links, published ports, and the firewall's table.
//
// RUN/network/live/CID.json is written before anything is made for a container and removed after it is
// unmade; with the definitions it is all that the firewall is made of. Whoever changes live records, claims
// of ports or the table holds one lock (a flock on RUN/network/lock). When a change does not fit the table
// that is there (somebody flushed it, a command was killed half-way), the table is made again whole.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/networks.h"

namespace onggi::engine {

struct LiveLink {
  std::string network_id, driver, master, host_link, interface, ipv4, ipv6, mac;
};
struct LivePort {
  std::string host_ip;  // "0.0.0.0", "::", or the address
  uint16_t host_port = 0, container_port = 0;
  std::string protocol, target;  // address of the container
};
struct LiveRecord {
  std::string id;
  int pid = 0;
  uint64_t pid_start = 0;
  std::string group;  // of kBalanceLabel
  bool draining = false;
  std::vector<LiveLink> links;
  std::vector<LivePort> ports;
};

// Where every container finds its network's name service: link-local, so that it is nobody's on the host.
inline constexpr const char* kResolverAddress = "169.254.53.53";
// In the namespace of a container that is on no bridge (macvlan, ipvlan).
inline constexpr const char* kLocalResolverAddress = "127.0.0.11";

std::string network_run_path(const Engine& engine);
// "onggi", and one of its own for a store elsewhere.
std::string firewall_table(const Engine& engine);

// Between create and start of the runtime: makes links in the network namespace of `pid` and publishes ports.
// Leaves nothing when it fails.
Result<> network_up(Engine& engine, const ContainerConfig& config, int pid);
// After its end; also of one that never came up. What is gone already is left alone.
void network_down(Engine& engine, const std::string& id);
// Of a network that has no running containers: bridge and rules.
Result<> network_removed(Engine& engine, const NetworkConfig& network);
Result<> attach_running(Engine& engine, const ContainerConfig& config, const EndpointConfig& endpoint);
Result<> detach_running(Engine& engine, const ContainerConfig& config, const EndpointConfig& endpoint);

// The endpoint that has the default route, or npos.
size_t gateway_endpoint(Engine& engine, const ContainerConfig& config);

// The lock of live records, claims of ports and the table; makes RUN/network where it is missing.
Result<UniqueFd> lock_live_networks(const Engine& engine);
// Exists while the keeper answers on the network (by its id), or in the container.
std::string serving_path(const Engine& engine, const std::string& id);

std::optional<LiveRecord> read_live(const Engine& engine, const std::string& id);
bool is_alive(const LiveRecord& record);
std::vector<LiveRecord> all_live(const Engine& engine);
// Takes the lock, and makes the table whole from what is written down.
Result<> rebuild_firewall(Engine& engine);
// Live records and claims of ports whose container does not run.
Result<> sweep_live_networks(Engine& engine, bool repair,
                             const std::function<void(const std::string&)>& report);

}  // namespace onggi::engine
