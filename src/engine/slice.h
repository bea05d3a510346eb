// The cgroup above all containers: together they leave a part of the machine's memory to the host, so that a
// crowd of them, each within its own limit, cannot starve the system that runs them.
#pragma once

#include <string>

#include "engine/engine.h"

namespace onggi::engine {

inline constexpr const char* kSlice = "/onggi";
inline constexpr uint64_t kHostPercent = 10;  // of memory, kept for the host

// Makes the slice and sets its limit once per boot; later calls cost one look. Where this user may not,
// containers run without it (inspect --isolation says so).
void ensure_slice(Engine& engine);
// Its memory limit now, bytes; 0: none.
uint64_t slice_limit(Engine& engine);

}  // namespace onggi::engine
