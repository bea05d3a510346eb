// Taking a stack away, and operations on all of its containers, level by level.
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "engine/lifecycle.h"
#include "engine/volumes.h"
#include "stack/apply.h"
#include "stack/crew.h"
#include "stack/identity.h"
#include "stack/networks.h"

namespace onggi::stack {

namespace {

constexpr int kAllAtOnce = 1000;

// Each replica of the level in a worker of its own; all errors, joined.
Result<> one_level(engine::Engine& engine, const std::vector<const Replica*>& level, const Report& report,
                   const char* done,
                   const std::function<Result<>(engine::Engine&, const Replica&)>& operation) {
  Crew crew(engine, kAllAtOnce);
  std::string errors;
  ErrorKind kind = ErrorKind::kOs;
  for (const Replica* r : level)
    crew.add(
        [r, &operation](engine::Engine& own, const Told&) -> Result<std::string> {
          TRY_VOID(operation(own, *r));
          return std::string();
        },
        [&, r](Outcome out) {
          if (out.result) {
            if (report) report("Container", r->name, done);
            return;
          }
          kind = out.result.error().kind();
          errors += (errors.empty() ? "" : "\n") + out.result.error().text();
        });
  TRY_VOID(crew.finish());
  if (!errors.empty()) return fail(Error(kind, errors));
  return {};
}

bool gone(const Result<>& r) { return !r && r.error().kind() == ErrorKind::kNotFound; }

Result<> remove_images(engine::Engine& engine, const std::vector<Replica>& replicas, const Project* project,
                       const DownOptions& options) {
  if (options.images.empty()) return {};
  if (options.images != "all" && options.images != "local")
    return fail(Error::invalid("--rmi takes local or all, not '" + options.images + "'"));
  std::set<std::string> names;
  for (const auto& r : replicas) {
    const Node* s = project ? project->service(r.service) : nullptr;
    bool local = s && !s->get("image");
    if (options.images == "all" || local) names.insert(r.config.image);
  }
  image::Store* store = TRY(engine.images());
  for (const auto& name : names)
    if (auto removed = store->remove(name, false); removed && options.report)
      options.report("Image", name, "Removed");
  return {};
}

}  // namespace

Result<> each_container(engine::Engine& engine, const std::vector<Replica>& replicas, bool reverse,
                        const Report& report, const char* done,
                        const std::function<Result<>(engine::Engine&, const Replica&)>& operation) {
  auto levels = levels_of(replicas);
  if (reverse) std::reverse(levels.begin(), levels.end());
  std::string errors;
  ErrorKind kind = ErrorKind::kOs;
  for (const auto& level : levels) {
    std::vector<const Replica*> own;
    for (const auto& r : replicas)
      if (std::find(level.begin(), level.end(), r.service) != level.end()) own.push_back(&r);
    if (auto r = one_level(engine, own, report, done, operation); !r) {
      kind = r.error().kind();
      errors += (errors.empty() ? "" : "\n") + r.error().text();
    }
  }
  if (!errors.empty()) return fail(Error(kind, errors));
  return {};
}

Result<> start_replicas(engine::Engine& engine, const std::vector<Replica>& replicas, const Report& report) {
  // Who must be healthy or have ended before anybody of a later level starts.
  std::map<std::string, std::string> wanted;
  for (const auto& r : replicas)
    for (const auto& d : dependencies_by_label(r.config))
      if (d.condition != "service_started") wanted[d.service] = d.condition;
  for (const auto& level : levels_of(replicas)) {
    std::vector<const Replica*> own;
    for (const auto& r : replicas)
      if (std::find(level.begin(), level.end(), r.service) != level.end() && !r.oneoff) own.push_back(&r);
    TRY_VOID(one_level(engine, own, report, "Started", [&](engine::Engine& e, const Replica& r) -> Result<> {
      bool ended_well = r.status == "exited" && r.state.exit_code == 0 && wanted.contains(r.service) &&
                        wanted.at(r.service) == "service_completed_successfully";
      if (!ended_well) TRY_CTX(engine::start_container(e, r.id, {}), "start " + r.name);
      return {};
    }));
    for (const Replica* r : own) {
      auto condition = wanted.find(r->service);
      if (condition == wanted.end()) continue;
      for (;;) {
        Replica now = TRY(read_replica(engine, r->id));
        bool ended = now.status == "exited";
        if (condition->second == "service_completed_successfully" && ended && now.state.exit_code == 0) break;
        if (ended || now.health == "unhealthy")
          return fail(Error::busy(
              "dependency failed to start: container " + now.name +
              (ended ? " exited (" + std::to_string(now.state.exit_code) + ")" : " is unhealthy")));
        if (condition->second == "service_healthy" && (now.health == "healthy" || now.health.empty())) break;
        ::usleep(10'000);
      }
    }
  }
  return {};
}

Result<> take_down(engine::Engine& engine, const std::string& name, const Project* project,
                   const DownOptions& options) {
  StackDirectory directory = TRY(StackDirectory::open(engine, name));
  std::vector<Replica> all = TRY(read_replicas(engine, name)), chosen;
  bool whole = options.services.empty();
  size_t orphans = 0;
  for (const auto& r : all) {
    bool known =
        !project || project->service(r.service) ||
        std::find(project->disabled.begin(), project->disabled.end(), r.service) != project->disabled.end();
    bool named = whole || std::find(options.services.begin(), options.services.end(), r.service) !=
                              options.services.end();
    if (named && (known || options.remove_orphans))
      chosen.push_back(r);
    else if (!known)
      orphans++;
  }
  engine.hold_sweeps(true);
  auto removed = each_container(engine, chosen, true, options.report, "Removed",
                                [&](engine::Engine& own, const Replica& r) -> Result<> {
                                  auto stopped = engine::stop_container(own, r.id, options.timeout);
                                  if (!stopped && !gone(stopped))
                                    return fail(std::move(stopped).error().wrap("stop " + r.name));
                                  auto away =
                                      engine::remove_container(own, r.id, {.force = true, .volumes = true});
                                  return gone(away) ? Result<>() : std::move(away);
                                });
  engine.hold_sweeps(false);
  engine.sweep_in_background();
  TRY_VOID(std::move(removed));
  if (!whole || orphans) {
    if (orphans && options.report)
      options.report("Stack", name,
                     std::to_string(orphans) +
                         " containers of services that the file does not have are left (--remove-orphans)");
    return {};
  }
  for (const auto& network : TRY(networks_of(engine, name))) {
    auto r = remove_network(engine, network);
    if (!r) return fail(std::move(r).error().wrap("remove network " + network));
    if (options.report) options.report("Network", network, "Removed");
  }
  if (options.volumes)
    for (const auto& volume : TRY(volumes_of(engine, name))) {
      TRY_VOID(engine::remove_volume(engine, volume));
      if (options.report) options.report("Volume", volume, "Removed");
    }
  TRY_VOID(remove_images(engine, all, project, options));
  directory.remove();
  return {};
}

}  // namespace onggi::stack
