// The keeper: the one process that networks need beside the containers. It answers names and puts the
// firewall back when somebody removes it; no container stops when it does, and who starts a container starts
// it, too.
#pragma once

#include <string>

#include "engine/engine.h"

namespace onggi::engine {

// RUN/network/keeper.lock: held (flock) by the keeper as long as it lives.
std::string keeper_lock_path(const Engine& engine);
bool keeper_runs(const Engine& engine);
// Starts it when it does not run; returns at once. Its absence is no error of the operation that asked.
void ensure_keeper(Engine& engine);
// For every command: starts one where containers are on networks and keeper and watcher were both killed.
void heal_keeper(Engine& engine);

}  // namespace onggi::engine
