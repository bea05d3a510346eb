// A service's containers replaced by new ones, with the old kept until the new have proven themselves.
//
// start-first (the default for services with several replicas): the new container starts beside the old one,
// is waited for, then the old one is taken out of the ports and names that they share, drained, and stopped:
// no request fails. stop-first: the old one stops before. When a new one does not start, ends, or is not
// healthy in time, the old ones run again and the new ones go (failure_action `rollback`, the default;
// `pause` leaves everything as it is; `continue` goes on).
//
// Names: the old container is renamed (ID_NAME) before the new one takes its name. After a kill in the middle
// the next `up` finds two containers with one number, keeps the right one and removes the other.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "stack/plan.h"

namespace onggi::stack {

struct UpdateOrder {
  bool start_first = false;
  int parallelism = 1;
  int64_t delay_ns = 0, monitor_ns = 0;
  std::string failure_action;  // "rollback", "pause", "continue"
};
// From deploy.update_config, and what the service is.
UpdateOrder update_order(const Node& service, size_t replicas);

using Told = std::function<void(const std::string& name, const std::string& what)>;
Result<> update_service(engine::Engine& engine, const Project& project, const Node& service,
                        const std::vector<ContainerAction>& actions, const std::string& hash,
                        const UpOptions& options, const Told& told);

// Until it is healthy (or, without a health check, has run for `monitor_ns`). The error says what became of
// it.
Result<> wait_until_good(engine::Engine& engine, const std::string& id, int64_t monitor_ns);
// Takes it out of ports and names, lets its connections end (at most its stop timeout), stops it.
Result<> drain_and_stop(engine::Engine& engine, const Replica& replica, std::optional<int> timeout);

}  // namespace onggi::stack
