// The parts of a container's document that are about networks.
#pragma once

#include "cli/inspect_writer.h"
#include "engine/engine.h"

namespace onggi::cli {

// HostConfig.PortBindings: what was asked for.
void write_port_bindings(Writer& w, const engine::ContainerConfig& config);
// NetworkSettings: what is. `pid` 0: it does not run.
Result<> write_network(Writer& w, engine::Engine& engine, const engine::ContainerConfig& config, int pid);

}  // namespace onggi::cli
