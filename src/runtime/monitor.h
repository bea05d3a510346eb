// `onggi-runtime monitor`: the companion of one container, from create to exit. See protocol.h.
#pragma once

#include "base/result.h"
#include "runtime/container.h"

namespace onggi::runtime {

// Serves until the container has ended and its output is written. The container is left for the engine to
// delete. Borrows `control`.
Result<> run_monitor(const RuntimeContext& context, int control);

}  // namespace onggi::runtime
