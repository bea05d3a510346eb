// What there is of a stack: its containers, as their labels, files and the kernel tell. No lock is taken and
// no process started.
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "engine/engine.h"
#include "stack/load.h"

namespace onggi::stack {

struct Replica {
  std::string id, name, service, hash;
  int number = 0;
  bool oneoff = false;
  bool held = false;  // it was not admitted to its service's ports and names yet
  engine::ContainerConfig config;
  engine::ContainerState state;
  std::string status;  // "created", "running", "paused", "restarting", "exited"
  std::string health;  // "", "starting", "healthy", "unhealthy"
};

std::string label_of(const engine::ContainerConfig& config, std::string_view name);
// Sorted by service, number, and creation.
Result<std::vector<Replica>> read_replicas(engine::Engine& engine, const std::string& project);
// One container, read again; kNotFound when it is gone.
Result<Replica> read_replica(engine::Engine& engine, const std::string& id);
// Dependencies as the labels tell them: of a stack whose file is not at hand.
struct LabelDependency {
  std::string service, condition;
  bool restart = false;
};
std::vector<LabelDependency> dependencies_by_label(const engine::ContainerConfig& config);

// Services in levels: each needs only those of earlier levels. Cycles (labels may lie) end up in the last
// level.
std::vector<std::vector<std::string>> levels_of(const std::vector<Replica>& replicas);

struct StackSummary {
  std::string name, files;
  std::vector<std::pair<std::string, int>> states;  // "running" -> 3
};
Result<std::vector<StackSummary>> list_stacks(engine::Engine& engine);

// ROOT/stacks/NAME: the lock that commands which change a stack hold, and the definitions that its containers
// were made from.
class StackDirectory {
 public:
  // Makes it and takes the lock; waits for another command's end, at most `timeout_ms`.
  static Result<StackDirectory> open(const engine::Engine& engine, const std::string& project,
                                     int timeout_ms = 600'000);
  Result<> save_definition(const std::string& hash, const Node& definition) const;
  // The definition with that hash; kNotFound when this store never saw it.
  [[nodiscard]] Result<Node> definition(const std::string& hash) const;
  // Deletes definitions that none of `used` names.
  void keep_only(const std::vector<std::string>& used) const;
  // Deletes it all; the lock goes with the object.
  void remove() const;

 private:
  std::string path_;
  UniqueFd dir_;
};

}  // namespace onggi::stack
