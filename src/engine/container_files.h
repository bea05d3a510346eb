// The files that the engine gives every container: /etc/hosts, /etc/hostname, /etc/resolv.conf.
#pragma once

#include "engine/container_config.h"
#include "engine/engine.h"

namespace onggi::engine {

// In the container's directory `dir`. `in_place`: it may be running and have them mounted, so they are
// written without being replaced (hostname and resolv.conf only when the container did not change them).
Result<> write_own_files(Engine& engine, const ContainerConfig& config, int dir, bool in_place);

}  // namespace onggi::engine
