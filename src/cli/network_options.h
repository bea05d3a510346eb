// --network and its company: words of `run`, `create` and `network connect` to endpoints.
#pragma once

#include "cli/args.h"
#include "engine/container_config.h"

namespace onggi::cli {

// The network mode, its endpoints, published and exposed ports, extra hosts and name servers.
Result<> network_options(const Args& args, engine::ContainerConfig& config);
// "NAME" or "name=NAME,alias=A,ip=...,ip6=...,mac-address=...,gw-priority=N".
Result<engine::EndpointConfig> parse_endpoint(const std::string& text);

}  // namespace onggi::cli
