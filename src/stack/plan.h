// What has to be done so that what there is becomes what the file says. Pure: facts come in, a list of
// actions comes out.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "stack/state.h"

namespace onggi::stack {

struct UpOptions {
  std::vector<std::string> services;  // empty: all
  bool no_deps = false, force_recreate = false, no_recreate = false, always_recreate_deps = false;
  bool remove_orphans = false, no_start = false, renew_volumes = false;
  std::map<std::string, int> scale;
  std::optional<int> stop_timeout;  // seconds
};

struct FieldChange {
  std::string field, from, to;  // JSON; empty: absent
};

struct ContainerAction {
  enum class Do : uint8_t { kKeep, kStart, kCreate, kRecreate, kRemove } what = Do::kKeep;
  std::string service, name, id;  // id: of the container that there is
  int number = 0;
  bool beside = false;  // others of its service run already: it gets connections when it is good
  std::string reason;
  std::vector<FieldChange> changes;
};

struct ResourceAction {
  enum class Do : uint8_t { kKeep, kCreate, kRecreate } what = Do::kKeep;
  std::string kind, key, name;  // kind: "network", "volume"
  std::string reason;
};

struct Plan {
  std::vector<ResourceAction> resources;
  std::vector<ContainerAction> containers;    // sorted by service and number
  std::vector<std::string> orphans;           // names of containers whose service the file does not have
  std::map<std::string, std::string> hashes;  // of the services in question
  std::map<std::string, Node> definitions;
  [[nodiscard]] bool changes_something() const;
};

// Facts from the engine.
struct Facts {
  std::vector<Replica> replicas;
  std::function<std::string(const std::string& image)> image_id;    // "" when it is not here
  std::function<Result<Node>(const std::string& hash)> definition;  // of what a container was made from
  std::function<std::string(const std::string& network)>
      network_hash;  // "": there is no such network; else its hash label, or "?"
  std::function<bool(const std::string& volume)> volume_exists;
};

Result<Plan> make_plan(const Project& project, const UpOptions& options, const Facts& facts);
// Field by field; paths like "environment.A" or "ports[0].published".
std::vector<FieldChange> differences(const Node& from, const Node& to);
// The services that `names` need, and they; all when `names` is empty. Dependencies first.
std::vector<std::string> with_dependencies(const Project& project, const std::vector<std::string>& names,
                                           bool dependencies);
// Longest way from a service without dependencies.
std::map<std::string, int> depth_of_services(const Project& project);

std::string plan_text(const Plan& plan);
std::string plan_json(const Plan& plan, const std::string& project);

}  // namespace onggi::stack
