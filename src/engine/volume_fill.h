// A new volume begins with what the image has where it is mounted.
#pragma once

#include "engine/engine.h"

namespace onggi::engine {

// Copies for each volume of the container that was never filled and is empty. Ids stay the image's (0..).
Result<> fill_volumes(Engine& engine, const ContainerConfig& config);

}  // namespace onggi::engine
