// What can be done to a container that exists.
//
// Every function that changes one takes its lock itself, leaves a state that the next command understands
// whatever happens in the middle (a kill -9 included), and records an event.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/monitor_client.h"

namespace onggi::engine {

struct StartOptions {
  bool attach = false;      // connect to its output before it runs
  bool is_restart = false;  // by its policy: the count of restarts goes on
};
struct StartedContainer {
  MonitorClient monitor;
  UniqueFd attach;
  bool already_running = false;
};
Result<StartedContainer> start_container(Engine& engine, const std::string& id, const StartOptions& options);

// SIGTERM (or the image's signal), then SIGKILL after `timeout` seconds (-1: never; nullopt: the container's
// own, else 10). A PID 1 that has no handler for the signal is killed at once, since the kernel would drop
// it.
Result<> stop_container(Engine& engine, const std::string& id, std::optional<int> timeout,
                        const std::string& signal = {});
// Hears how it went for each of several, in the order they were given.
using EachResult = std::function<void(size_t index, const Result<>& result)>;
// As stop_container, side by side: every signal is sent before the first end is waited for.
void stop_containers(Engine& engine, const std::vector<std::string>& ids, std::optional<int> timeout,
                     const std::string& signal, const EachResult& each);
// kBusy when it is not running.
Result<> kill_container(Engine& engine, const std::string& id, const std::string& signal);
Result<> pause_container(Engine& engine, const std::string& id, bool pause);
Result<> restart_container(Engine& engine, const std::string& id, std::optional<int> timeout);
struct RemoveOptions {
  bool force = false;    // kills it first
  bool volumes = false;  // its anonymous volumes, too
};
Result<> remove_container(Engine& engine, const std::string& id, const RemoveOptions& options);
void remove_containers(Engine& engine, const std::vector<std::string>& ids, const RemoveOptions& options,
                       const EachResult& each);
Result<> rename_container(Engine& engine, const std::string& id, const std::string& name);
// Blocks until it is not running ("not-running"), runs next time and ends ("next-exit"), or is gone
// ("removed"). Its exit code.
Result<int> wait_container(Engine& engine, const std::string& id, const std::string& condition);

// "created", "running", "paused", "restarting", "exited"; asks the kernel for "paused".
std::string status_of(Engine& engine, const ContainerConfig& config, const ContainerState& state);

// The monitor's last word (internal exited ID): records how it ended, gives resources back, then removes or
// restarts it as its configuration says.
Result<> container_exited(Engine& engine, const std::string& id);
// For each container in the trash, before its files go: ends what the kernel, the runtime and the image store
// still have of it. May be repeated; what is gone already is left alone.
void finish_removed(Engine& engine, const std::string& id);
// Deletes what was removed: containers in the trash with all that the kernel and the runtime have of them,
// then layers that nothing names.
Result<> sweep(Engine& engine);
// After a reboot or kills: whatever says it runs and does not is cleaned; `restart` starts those whose policy
// wants it.
Result<> recover_containers(Engine& engine, bool restart);
// What the runtime still has of containers that do not run (its delete was killed): state, cgroups,
// processes. `report` hears of each; `repair` ends it.
Result<> check_runtime_states(Engine& engine, bool repair,
                              const std::function<void(const std::string&)>& report);

Result<int> signal_number(const std::string& name);

}  // namespace onggi::engine
