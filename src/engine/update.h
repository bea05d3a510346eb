// `update`: new limits for a container that exists, running or not.
#pragma once

#include <functional>

#include "engine/engine.h"

namespace onggi::engine {

// Applies what `change` does to the configuration: to the record, and to the kernel when it runs. When the
// kernel refuses, both are as before. Only resources and the restart policy may be changed.
Result<> update_container(Engine& engine, const std::string& id,
                          const std::function<Result<>(ContainerConfig& config)>& change);

}  // namespace onggi::engine
