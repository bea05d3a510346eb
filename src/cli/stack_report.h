// What the commands of stacks say while they work, and which containers of a stack their words mean.
#pragma once

#include "cli/stack_project.h"
#include "engine/logs.h"
#include "stack/apply.h"

namespace onggi::cli {

// " Container demo-web-1  Started" on standard error.
stack::Report reporter(bool quiet);
stack::Pull puller(engine::Engine& engine, bool quiet);

// `up` with no more than defaults, for commands that come after it.
Result<> bring_up_services(engine::Engine& engine, const stack::Project& project,
                           const std::vector<std::string>& services, stack::Report report, stack::Pull pull);

// A stack as a command of its containers sees it: by labels alone when there is no file.
struct StackView {
  std::unique_ptr<engine::Engine> engine;
  std::string name;
  std::optional<stack::Project> project;
  std::vector<stack::Replica> replicas;  // of the services that were named (all without names), not of `run`
};
// kNotFound for a service that neither the file nor a container knows. `oneoff`: those of `run`, too.
Result<StackView> view_stack(const Invocation& i, const std::vector<std::string>& services,
                             bool oneoff = false);
// The container of a service: number `index`, else its first. kNotFound says so.
Result<stack::Replica> one_replica(const Invocation& i, engine::Engine& engine, const std::string& service,
                                   int64_t index);

// Lines of all containers, each with its container's name before it; follows them when `range.follow`.
// Returns when none is left (or, following, on SIGINT: false).
struct LogView {
  engine::LogRange range;
  bool timestamps = false, prefix = true, color = true;
};
Result<bool> show_logs(engine::Engine& engine, const std::vector<stack::Replica>& replicas,
                       const LogView& view);

}  // namespace onggi::cli
