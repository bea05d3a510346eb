// The last step of loading: what the files left open is made explicit, and what they name must be there.
#pragma once

#include "stack/load.h"

namespace onggi::stack {

// env_file and label_file become environment and labels; variables without a value take the project's.
// Services whose environment was resolved before (included projects) have no env_file left.
Result<> environment_of_services(Node& root, const Environment& environment,
                                 const std::function<Result<std::string>(const std::string&)>& read);

// Profiles, defaults, implied dependencies, names, references, cycles.
Result<> complete(Project& project, const LoadRequest& request);

// A service's dependencies as its canonical form says, in the order of names.
struct Dependency {
  std::string service;
  enum class On : uint8_t { kStarted, kHealthy, kCompleted } condition = On::kStarted;
  bool restart = false, required = true;
};
std::vector<Dependency> dependencies_of(const Node& service);
// deploy.replicas or scale; 1 when neither is given.
int64_t replicas_of(const Node& service);

}  // namespace onggi::stack
