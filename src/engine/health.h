// Health checks: one small process beside a container that has them, from its start to its end.
//
// HTTP, TCP and Unix probes are made by this process from inside the container's network (or root directory)
// and start nothing in it; CMD and CMD-SHELL run in the container as `exec` does.
#pragma once

#include "engine/engine.h"

namespace onggi::engine {

struct ProbeResult {
  int exit_code = 0;  // 0: healthy
  std::string output;
};
// One probe; `timeout_ms` bounds it. Errors become an unhealthy result.
ProbeResult probe_once(Engine& engine, const ContainerConfig& config, int pid, int timeout_ms);

// Until the container ends: probes, keeps RUN/containers/ID/health.json, tells events, and does what
// --on-unhealthy wants.
Result<> watch_health(Engine& engine, const std::string& id);

// The next state after a result; pure.
HealthState next_health(HealthState state, const HealthConfig& config, const HealthResult& result,
                        bool in_start_period);

}  // namespace onggi::engine
