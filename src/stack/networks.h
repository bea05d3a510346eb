// A stack's networks and volumes.
#pragma once

#include <string>

#include "engine/engine.h"
#include "stack/load.h"
#include "stack/plan.h"

namespace onggi::stack {

// "": there is none of that name; "?": there is one that no stack made; else the hash that it was made from.
std::string network_hash(engine::Engine& engine, const std::string& name);
Result<> make_network(engine::Engine& engine, const Project& project, const Node& network);
Result<> remove_network(engine::Engine& engine, const std::string& name);
// Names of the networks that the stack made.
Result<std::vector<std::string>> networks_of(engine::Engine& engine, const std::string& project);
Result<> make_volume(engine::Engine& engine, const Project& project, const Node& volume);
Result<std::vector<std::string>> volumes_of(engine::Engine& engine, const std::string& project);
// A new replica beside others: it gets no connections and no name until it is admitted.
Result<> hold(engine::Engine& engine, const std::string& id);
Result<> admit(engine::Engine& engine, const std::string& id);
bool is_held(const engine::Engine& engine, const std::string& id);
// Lets the connections of a running container end, at most `seconds`.
void drain(engine::Engine& engine, const Replica& replica, int seconds);

}  // namespace onggi::stack
