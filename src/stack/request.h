// A service of the file -> what the engine is asked to create.
#pragma once

#include <string>
#include <vector>

#include "engine/create.h"
#include "stack/load.h"

namespace onggi::stack {

// Fields that the specification has and this engine cannot do, or not yet: each with its place and the
// reason. Empty: all of it runs. `services`: only these; empty: all.
std::vector<Error> unsupported(const Project& project, const std::vector<std::string>& services);

struct ReplicaRequest {
  int number = 1;
  std::string name;  // of the container
  std::string hash;  // service_hash()
  bool oneoff = false;
  // Container ids of services that `network_mode: service:x` and the like name (the first replica's).
  std::vector<std::pair<std::string, std::string>> containers;
};
// Reads the contents of configs and secrets. Errors carry places.
Result<engine::CreateRequest> request_of(const Project& project, const Node& service,
                                         const ReplicaRequest& replica);

// Seconds that a stop may take.
int stop_seconds(const Node& service);
bool has_healthcheck(const Node& service);

}  // namespace onggi::stack
