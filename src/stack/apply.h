// Makes a plan true. Services start in the order of their dependencies, in parallel, each as soon as what it
// waits for is ready; one step of one container is done by one worker (sys/worker.h), so that nothing waits
// for anything else, and a kill of this program kills them, too. Every step leaves what the next command
// understands: after a kill -9 at any moment `up` goes on and `down` takes all away.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/create.h"
#include "stack/plan.h"

namespace onggi::stack {

// "Container", "demo-web-1", "Started". Called by the parent only.
using Report = std::function<void(const std::string& kind, const std::string& name, const std::string& what)>;
// Makes an image come here; progress is its own affair.
using Pull = std::function<Result<>(const std::string& reference, const std::string& platform)>;

struct ApplyOptions {
  UpOptions up;
  Report report;
  Pull pull;
  std::string pull_policy;      // over the services' own: "", "always", "missing", "never"
  bool wait = false;            // return when all are healthy (or running, without a health check)
  int64_t wait_timeout_ms = 0;  // 0: without bound
  int parallel = 0;             // workers at once; 0: by the number of processors
};

// Facts for make_plan, from the engine; `directory` for the definitions.
Facts gather_facts(engine::Engine& engine, const Project& project, const StackDirectory& directory,
                   Result<>& failed);
// kInvalid lists what is not supported, with places.
Result<> check_runnable(const Project& project, const std::vector<std::string>& services);

// Networks and volumes, then containers. The error is the first service's that failed; what did not depend on
// it was still done.
Result<> apply_plan(engine::Engine& engine, const Project& project, const Plan& plan,
                    const StackDirectory& directory, const ApplyOptions& options);

// Before `run`: the services that it needs, its image, its networks and volumes.
Result<> prepare_run(engine::Engine& engine, const Project& project, const Node& service,
                     const std::vector<std::string>& needed, const ApplyOptions& options);

struct DownOptions {
  std::vector<std::string> services;  // empty: all
  bool remove_orphans = false, volumes = false;
  std::string images;  // "", "local", "all"
  std::optional<int> timeout;
  Report report;
};
// By labels: no file is needed. `project` may be nullptr.
Result<> take_down(engine::Engine& engine, const std::string& name, const Project* project,
                   const DownOptions& options);

// One operation on many containers, level by level (`reverse`: dependents first), each level at once. Errors
// are joined.
Result<> each_container(engine::Engine& engine, const std::vector<Replica>& replicas, bool reverse,
                        const Report& report, const char* done,
                        const std::function<Result<>(engine::Engine&, const Replica&)>& operation);

// start, restart: waits for dependencies' conditions as `up` does.
Result<> start_replicas(engine::Engine& engine, const std::vector<Replica>& replicas, const Report& report);

// --- inside a worker ---

// Creates (and starts) one container; its id.
Result<std::string> make_replica(engine::Engine& engine, const Project& project, const Node& service,
                                 int number, const std::string& name, const std::string& hash,
                                 const Replica* instead_of, bool renew_volumes);
// The containers of other services whose namespaces or volumes the service shares.
Result<std::vector<std::pair<std::string, std::string>>> shared_containers(engine::Engine& engine,
                                                                           const Project& project,
                                                                           const Node& service);

}  // namespace onggi::stack
