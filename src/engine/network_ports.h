// Published ports of running containers: who has which (RUN/network/ports), and their place in the firewall.
// The caller of everything that changes something holds the lock of network_live.h.
#pragma once

#include <string>
#include <vector>

#include "engine/network_live.h"
#include "network/firewall.h"

namespace onggi::engine {

// Chooses and claims the host's ports. kBusy: "Bind for 0.0.0.0:80 failed: port is already allocated".
// `networks` are those of the record's links.
Result<std::vector<LivePort>> claim_ports(Engine& engine, const ContainerConfig& config,
                                          const LiveRecord& record,
                                          const std::vector<NetworkConfig>& networks);
void release_ports(const Engine& engine, const LiveRecord& record);
Result<std::vector<network::FirewallPort>> firewall_ports(const LiveRecord& record);
// Shared ports are written with all of their present targets.
Result<> add_record_ports(Engine& engine, sys::NftBatch& batch, const LiveRecord& record);
Result<> remove_record_ports(Engine& engine, sys::NftBatch& batch, const LiveRecord& record);
// What connection tracking remembers of connections to its ports. Of a container that is gone, or goes: a
// client's port that comes round again, and datagrams, would be led to where its last ones went.
// `closed_only`: of TCP connections that have ended.
void forget_flows(const LiveRecord& record, bool closed_only = false);
// Established TCP connections that came in, in the network namespace of the process.
size_t open_connections(int pid);

}  // namespace onggi::engine
