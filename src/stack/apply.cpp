#include "stack/apply.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "engine/clock.h"
#include "engine/lifecycle.h"
#include "engine/volumes.h"
#include "stack/complete.h"
#include "stack/crew.h"
#include "stack/identity.h"
#include "stack/networks.h"
#include "stack/request.h"
#include "stack/update.h"

namespace onggi::stack {

namespace {

using Do = ContainerAction::Do;
constexpr int kPollMs = 5;  // of conditions that nobody announces

void tell(const Report& report, const std::string& kind, const std::string& name, const std::string& what) {
  if (report) report(kind, name, what);
}

// Has the dependency come as far as `condition` wants? The error says that it never will.
Result<bool> fulfilled(engine::Engine& engine, const std::string& service,
                       const std::vector<std::string>& ids, Dependency::On condition) {
  if (condition == Dependency::On::kStarted) return true;
  for (const auto& id : ids) {
    auto r = read_replica(engine, id);
    if (!r) return fail(Error::busy("dependency failed to start: container of " + service + " is gone"));
    bool ended = r->status == "exited";
    if (condition == Dependency::On::kCompleted) {
      if (!ended) return false;
      if (r->state.exit_code != 0)
        return fail(Error::busy("service \"" + service + "\" didn't complete successfully: exit " +
                                std::to_string(r->state.exit_code) + " (see: onggi logs " + r->name + ")"));
      continue;
    }
    const auto& test = r->config.health.test;
    if (test.empty() || test[0] == "NONE")
      return fail(Error::invalid("dependency failed to start: container " + r->name +
                                 " has no healthcheck configured"));
    if (r->health == "unhealthy")
      return fail(Error::busy("dependency failed to start: container " + r->name +
                              " is unhealthy (see: onggi why " + r->name + ")"));
    if (ended)
      return fail(Error::busy("dependency failed to start: container " + r->name + " exited (" +
                              std::to_string(r->state.exit_code) + ")"));
    if (r->health != "healthy") return false;
  }
  return true;
}

// One that was held back gets its connections when it can answer them.
Result<> admit_when_good(engine::Engine& engine, const std::string& id) {
  constexpr int64_t kMonitor =
      500'000'000;  // without a health check: late enough for most programs to listen
  if (!is_held(engine, id)) return {};
  TRY_VOID(wait_until_good(engine, id, kMonitor));
  return admit(engine, id);
}

class Conductor {
 public:
  Conductor(engine::Engine& engine, const Project& project, const Plan& plan, const ApplyOptions& options)
      : engine_(engine), project_(project), plan_(plan), options_(options), crew_(engine, options.parallel) {
    for (const auto& a : plan.containers) {
      if (!project.service(a.service)) {
        loose_.push_back(&a);
        continue;
      }
      Part& part = parts_[a.service];
      part.actions.push_back(&a);
    }
    // A service without containers is ready at once.
    for (const auto& [name, hash] : plan.hashes) parts_[name];
    for (auto& [name, part] : parts_)
      for (const auto& d : dependencies_of(*project.service(name)))
        if (parts_.contains(d.service)) part.needs.push_back(d);
  }

  Result<> run() {
    for (const auto* a : loose_) remove(*a, nullptr);
    for (;;) {
      bool waits = false;
      for (auto& [name, part] : parts_)
        if (part.state == Part::kWaiting) waits |= !step(name, part);
      if (crew_.idle() && !waits && done()) break;
      TRY_VOID(crew_.wait(crew_.idle() ? (waits ? kPollMs : 0) : waits ? kPollMs : -1));
    }
    return failure_ ? fail(std::move(*failure_)) : Result<>();
  }

  // Ids of the containers that now are the services'.
  [[nodiscard]] std::vector<std::string> ids() const {
    std::vector<std::string> all;
    for (const auto& [name, part] : parts_) all.insert(all.end(), part.ids.begin(), part.ids.end());
    return all;
  }

 private:
  struct Part {
    std::vector<const ContainerAction*> actions;
    std::vector<Dependency> needs;
    enum { kWaiting, kWorking, kReady, kFailed } state = kWaiting;
    int jobs = 0;
    bool changed = false;  // something of it was started or replaced
    std::vector<std::string> ids;
  };

  [[nodiscard]] bool done() const {
    return std::all_of(parts_.begin(), parts_.end(), [](const auto& p) {
      return p.second.state == Part::kReady || p.second.state == Part::kFailed;
    });
  }

  void fail_part(Part& part, Error error) {
    part.state = Part::kFailed;
    if (!failure_) failure_ = std::move(error);
  }

  // True when the part has left the state of waiting.
  bool step(const std::string& name, Part& part) {
    bool restart = false;
    for (const auto& d : part.needs) {
      Part& other = parts_[d.service];
      if (other.state == Part::kFailed && d.required) {
        fail_part(part, Error::busy("service " + name + " was not started: it depends on " + d.service));
        return true;
      }
      if (other.state != Part::kReady && other.state != Part::kFailed) return false;
      restart |= d.restart && other.changed;
      if (options_.up.no_start || !starts_something(part, restart)) continue;
      auto ok = fulfilled(engine_, d.service, other.ids, d.condition);
      if (ok && !*ok) return false;
      if (!ok && d.required) {
        fail_part(part, std::move(ok).error());
        return true;
      }
    }
    begin(name, part, restart);
    return true;
  }

  static bool starts_something(const Part& part, bool restart) {
    return restart || std::any_of(part.actions.begin(), part.actions.end(),
                                  [](auto* a) { return a->what != Do::kKeep && a->what != Do::kRemove; });
  }

  void begin(const std::string& name, Part& part, bool restart) {
    part.state = Part::kWorking;
    part.jobs++;  // held until all are added
    std::vector<ContainerAction> stale;
    for (const auto* a : part.actions) {
      switch (a->what) {
        case Do::kKeep:
          part.ids.push_back(a->id);
          if (restart && !options_.up.no_start) restart_one(*a, part);
          break;
        case Do::kStart:
          start(*a, part);
          break;
        case Do::kCreate:
          create(name, *a, part);
          break;
        case Do::kRecreate:
          stale.push_back(*a);
          break;
        case Do::kRemove:
          break;
      }
    }
    if (!stale.empty()) update(name, std::move(stale), part);
    ended(part);
  }

  void ended(Part& part) {
    if (--part.jobs || part.state != Part::kWorking) return;
    part.state = Part::kReady;
    // What is not wanted any more goes when its successors run.
    for (const auto* a : part.actions)
      if (a->what == Do::kRemove) remove(*a, &part);
  }

  void job(Part& part, Crew::Work work, std::function<void(const Outcome&)> then) {
    part.jobs++;
    crew_.add(std::move(work), [this, &part, then = std::move(then)](Outcome out) {
      for (const auto& [name, what] : out.told) tell(options_.report, "Container", name, what);
      if (!out.result) {
        fail_part(part, std::move(out.result).error());
        part.jobs--;
        return;
      }
      part.changed = true;
      then(out);
      ended(part);
    });
  }

  void start(const ContainerAction& a, Part& part) {
    job(
        part,
        [&a](engine::Engine& engine, const Told& told) -> Result<std::string> {
          TRY_CTX(engine::start_container(engine, a.id, {}), "start " + a.name);
          TRY_VOID_CTX(admit_when_good(engine, a.id), "start " + a.name);
          told(a.name, "Started");
          return a.id;
        },
        [&part](const Outcome& out) { part.ids.push_back(out.id); });
  }

  void restart_one(const ContainerAction& a, Part& part) {
    job(
        part,
        [&a](engine::Engine& engine, const Told& told) -> Result<std::string> {
          TRY_VOID_CTX(engine::restart_container(engine, a.id, {}), "restart " + a.name);
          told(a.name, "Restarted");
          return a.id;
        },
        [](const Outcome&) {});
  }

  void create(const std::string& name, const ContainerAction& a, Part& part) {
    job(
        part,
        [this, &a, name](engine::Engine& engine, const Told& told) -> Result<std::string> {
          const Node& service = *project_.service(name);
          std::string id = TRY(make_replica(engine, project_, service, a.number, a.name,
                                            plan_.hashes.at(name), nullptr, false));
          if (options_.up.no_start) {
            told(a.name, "Created");
            return id;
          }
          if (a.beside) TRY_VOID(hold(engine, id));
          TRY_CTX(engine::start_container(engine, id, {}), "start " + a.name);
          TRY_VOID_CTX(admit_when_good(engine, id), "start " + a.name);
          told(a.name, "Started");
          return id;
        },
        [&part](const Outcome& out) { part.ids.push_back(out.id); });
  }

  void update(const std::string& name, std::vector<ContainerAction> stale, Part& part) {
    job(
        part,
        [this, name, stale](engine::Engine& engine, const Told& told) -> Result<std::string> {
          TRY_VOID(update_service(engine, project_, *project_.service(name), stale, plan_.hashes.at(name),
                                  options_.up, told));
          return std::string();
        },
        [this, stale, &part](const Outcome&) {
          for (const auto& a : stale)
            if (auto id = engine_.containers().resolve(a.name)) part.ids.push_back(*id);
        });
  }

  void remove(const ContainerAction& a, Part* part) {
    crew_.add(
        [this, &a](engine::Engine& engine, const Told& told) -> Result<std::string> {
          auto r = read_replica(engine, a.id);
          if (!r) return std::string();
          TRY_VOID(drain_and_stop(engine, *r, options_.up.stop_timeout));
          TRY_VOID(engine::remove_container(engine, a.id, {.force = true, .volumes = true}));
          told(a.name, "Removed");
          return std::string();
        },
        [this, part](Outcome out) {
          for (const auto& [name, what] : out.told) tell(options_.report, "Container", name, what);
          if (out.result) return;
          if (part)
            fail_part(*part, std::move(out.result).error());
          else if (!failure_)
            failure_ = std::move(out.result).error();
        });
  }

  engine::Engine& engine_;
  const Project& project_;
  const Plan& plan_;
  const ApplyOptions& options_;
  Crew crew_;
  std::map<std::string, Part> parts_;
  std::vector<const ContainerAction*> loose_;
  std::optional<Error> failure_;
};

// Images first, one after the other (a worker of its own uses all processors), before anything is stopped for
// them.
Result<> pull_images(engine::Engine& engine, const Project& project, const Plan& plan,
                     const ApplyOptions& options) {
  std::set<std::string> seen;
  image::Store* store = TRY(engine.images());
  for (const auto& a : plan.containers) {
    const Node* s = project.service(a.service);
    if (!s || (a.what != Do::kCreate && a.what != Do::kRecreate)) continue;
    std::string image = image_of(project, *s);
    if (!seen.insert(image).second) continue;
    std::string policy =
        options.pull_policy.empty() ? s->text_of("pull_policy", "missing") : options.pull_policy;
    bool here = store->resolve(image).has_value();
    if (here && policy != "always") continue;
    if (s->get("build") && !here)
      return fail(error_at(s->find("build")->key_mark,
                           "services." + a.service + ".build: the image " + image +
                               " is not here, and building comes with the builder, which is not built yet; "
                               "build it elsewhere and load it (onggi load)",
                           ErrorKind::kUnsupported));
    if (policy == "never" || !options.pull)
      return fail(
          error_at(s->key_mark,
                   "the image " + image + " of service " + a.service + " is not here (pull_policy: never)",
                   ErrorKind::kNotFound));
    tell(options.report, "Image", image, "Pulling");
    TRY_VOID_CTX(options.pull(image, s->text_of("platform")), "service " + a.service);
    tell(options.report, "Image", image, "Pulled");
  }
  return {};
}

// A network that changed is made anew; what is on it goes first, and comes back with the containers' own part
// of the plan.
Result<Plan> apply_resources(engine::Engine& engine, const Project& project, const Plan& given,
                             const ApplyOptions& options) {
  Plan plan = given;
  for (const auto& r : plan.resources) {
    const Node* section = project.root.get(r.kind == "network" ? "networks" : "volumes");
    const Node& node = *section->find(r.key);
    if (r.what == ResourceAction::Do::kKeep) {
      if (r.kind == "network" && node.flag("external") && network_hash(engine, r.name).empty())
        return fail(error_at(node.key_mark,
                             "network " + r.name + " declared as external, but could not be found",
                             ErrorKind::kNotFound));
      if (r.kind == "volume" && node.flag("external") && !engine::find_volume(engine, r.name))
        return fail(
            error_at(node.key_mark, "external volume \"" + r.name + "\" not found", ErrorKind::kNotFound));
      continue;
    }
    if (r.what == ResourceAction::Do::kRecreate) {
      for (auto& a : plan.containers) {
        const Node* s = project.service(a.service);
        const Node* used = s ? s->get("networks") : nullptr;
        if (a.what != Do::kRecreate || !used || !used->find(r.key)) continue;
        TRY_VOID(engine::stop_container(engine, a.id, options.up.stop_timeout));
        TRY_VOID(engine::remove_container(engine, a.id, {.force = true, .volumes = true}));
        a.what = Do::kCreate;
        a.id.clear();
      }
      TRY_VOID(remove_network(engine, r.name));
    }
    TRY_VOID(r.kind == "network" ? make_network(engine, project, node) : make_volume(engine, project, node));
    tell(options.report, r.kind == "network" ? "Network" : "Volume", r.name, "Created");
  }
  return plan;
}

Result<> wait_for_all(engine::Engine& engine, const std::vector<std::string>& ids, int64_t timeout_ms) {
  int64_t begin = engine::now_nanoseconds();
  for (const auto& id : ids)
    for (;;) {
      Replica r = TRY(read_replica(engine, id));
      if (r.health == "unhealthy") return fail(Error::busy("container " + r.name + " is unhealthy"));
      if (r.status == "exited" && r.state.exit_code != 0)
        return fail(
            Error::busy("container " + r.name + " exited (" + std::to_string(r.state.exit_code) + ")"));
      if (r.status == "exited" || (r.status == "running" && (r.health.empty() || r.health == "healthy")))
        break;
      if (timeout_ms && engine::now_nanoseconds() - begin > timeout_ms * 1'000'000)
        return fail(Error::busy("container " + r.name + " is not healthy after " +
                                std::to_string(timeout_ms / 1000) + " s"));
      ::usleep(kPollMs * 1000);
    }
  return {};
}

}  // namespace

Facts gather_facts(engine::Engine& engine, const Project& project, const StackDirectory& directory,
                   Result<>& failed) {
  Facts facts;
  auto replicas = read_replicas(engine, project.name);
  if (replicas)
    facts.replicas = std::move(*replicas);
  else
    failed = fail(std::move(replicas).error());
  auto known = std::make_shared<std::map<std::string, std::string>>();
  facts.image_id = [&engine, known](const std::string& image) -> std::string {
    auto found = known->find(image);
    if (found != known->end()) return found->second;
    auto store = engine.images();
    auto record = store ? (*store)->resolve(image) : Result<image::ImageRecord>(fail(store.error()));
    return (*known)[image] = record ? record->id.text() : "";
  };
  facts.definition = [&directory](const std::string& hash) { return directory.definition(hash); };
  facts.network_hash = [&engine](const std::string& name) { return network_hash(engine, name); };
  facts.volume_exists = [&engine](const std::string& name) {
    return engine::find_volume(engine, name).has_value();
  };
  return facts;
}

Result<> check_runnable(const Project& project, const std::vector<std::string>& services) {
  auto problems = unsupported(project, services);
  if (problems.empty()) return {};
  std::string text;
  for (const auto& p : problems) text += (text.empty() ? "" : "\n") + p.text();
  return fail(Error::unsupported(text));
}

Result<> apply_plan(engine::Engine& engine, const Project& project, const Plan& plan,
                    const StackDirectory& directory, const ApplyOptions& options) {
  TRY_VOID(pull_images(engine, project, plan, options));
  for (const auto& [service, hash] : plan.hashes)
    TRY_VOID(directory.save_definition(hash, plan.definitions.at(service)));
  engine.hold_sweeps(true);
  Plan rest = TRY(apply_resources(engine, project, plan, options));
  Conductor conductor(engine, project, rest, options);
  auto done = conductor.run();
  engine.hold_sweeps(false);
  bool removed = std::any_of(plan.containers.begin(), plan.containers.end(),
                             [](const auto& a) { return a.what == Do::kRemove || a.what == Do::kRecreate; });
  if (removed) engine.sweep_in_background();
  TRY_VOID(std::move(done));
  if (options.wait && !options.up.no_start)
    TRY_VOID(wait_for_all(engine, conductor.ids(), options.wait_timeout_ms));
  return {};
}

Result<> prepare_run(engine::Engine& engine, const Project& project, const Node& service,
                     const std::vector<std::string>& needed, const ApplyOptions& given) {
  StackDirectory directory = TRY(StackDirectory::open(engine, project.name));
  ApplyOptions options = given;
  Result<> failed;
  Facts facts = gather_facts(engine, project, directory, failed);
  TRY_VOID(std::move(failed));
  if (!needed.empty()) {
    options.up.services = needed;
    Plan plan = TRY(make_plan(project, options.up, facts));
    if (plan.changes_something()) TRY_VOID(apply_plan(engine, project, plan, directory, options));
    // Ready as the service's own words say.
    for (const auto& d : dependencies_of(service)) {
      std::vector<std::string> ids;
      for (const auto& r : TRY(read_replicas(engine, project.name)))
        if (r.service == d.service && !r.oneoff) ids.push_back(r.id);
      while (!TRY(fulfilled(engine, d.service, ids, d.condition))) ::usleep(kPollMs * 1000);
    }
  }
  options.up.services = {service.key};
  options.up.no_deps = true;
  Plan own = TRY(make_plan(project, options.up, facts));
  own.containers.clear();
  TRY(apply_resources(engine, project, own, options));
  return {};
}

Result<std::vector<std::pair<std::string, std::string>>> shared_containers(engine::Engine& engine,
                                                                           const Project& project,
                                                                           const Node& service) {
  std::set<std::string> names;
  for (const char* field : {"network_mode", "ipc", "pid"})
    if (std::string mode = service.text_of(field); mode.starts_with("service:")) names.insert(mode.substr(8));
  if (const Node* from = service.get("volumes_from"))
    for (const auto& f : from->items)
      if (!f.text.starts_with("container:")) names.insert(f.text.substr(0, f.text.find(':')));
  std::vector<std::pair<std::string, std::string>> out;
  if (names.empty()) return out;
  for (const auto& r : TRY(read_replicas(engine, project.name)))
    if (!r.oneoff && names.erase(r.service)) out.emplace_back(r.service, r.id);
  return out;
}

Result<std::string> make_replica(engine::Engine& engine, const Project& project, const Node& service,
                                 int number, const std::string& name, const std::string& hash,
                                 const Replica* instead_of, bool renew_volumes) {
  ReplicaRequest replica;
  replica.number = number;
  replica.name = name;
  replica.hash = hash;
  replica.containers = TRY(shared_containers(engine, project, service));
  engine::CreateRequest request = TRY(request_of(project, service, replica));
  request.config.labels.push_back({"onggi.level", std::to_string(depth_of_services(project)[service.key])});
  request.pull = "never";  // it was pulled before
  // Volumes without a name belong to the container's place, not to this one of its lives.
  if (instead_of && !renew_volumes)
    for (const auto& m : instead_of->config.mounts) {
      if (m.type != "volume" || !m.anonymous) continue;
      auto& mounts = request.config.mounts;
      auto same =
          std::find_if(mounts.begin(), mounts.end(), [&](const auto& n) { return n.target == m.target; });
      if (same == mounts.end())
        mounts.push_back(m);
      else if (same->anonymous)
        same->source = m.source;
    }
  return TRY_CTX(engine::create_container(engine, std::move(request)), "create " + name).id;
}

}  // namespace onggi::stack
