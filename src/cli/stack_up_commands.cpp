// up, down, create, scale, start, stop, restart, kill, pause, unpause, rm, pull: what changes a stack.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <set>

#include "base/file.h"
#include "cli/command.h"
#include "cli/stack_report.h"
#include "engine/lifecycle.h"
#include "stack/complete.h"
#include "stack/identity.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;
constexpr auto kList = OptionKind::kList;

const Options& up_options() {
  static const Options kOptions = with_project_options(
      {{"abort-on-container-exit", 0, kSwitch, "", "", "follow with onggi stack wait, then onggi down"},
       {"always-recreate-deps", 0, kSwitch, "", "With --force-recreate: dependencies, too"},
       {"attach", 0, kList, "service", "", "choose what is shown with onggi stack logs -f SERVICE"},
       {"build", 0, kSwitch, "", "", "the builder is not built yet; build elsewhere and load the image"},
       {"detach", 'd', kSwitch, "", "Return when the services are started, instead of showing their logs"},
       {"exit-code-from", 0, kValue, "service", "", "use onggi stack wait SERVICE"},
       {"force-recreate", 0, kSwitch, "", "Recreate containers even if nothing changed"},
       {"format", 0, kValue, "string", "With --plan: text (default), json", "", "text json"},
       {"no-build", 0, kSwitch, "", "Nothing is built (there is no builder yet)"},
       {"no-color", 0, kSwitch, "", "No colours in the logs"},
       {"no-deps", 0, kSwitch, "", "Don't start the services that the named ones depend on"},
       {"no-log-prefix", 0, kSwitch, "", "No container's name before each line of the logs"},
       {"no-recreate", 0, kSwitch, "", "Leave containers that exist as they are"},
       {"no-start", 0, kSwitch, "", "Create the containers only"},
       {"parallel", 0, kValue, "int", "Containers that are started at once (default: three per processor)"},
       {"plan", 0, kSwitch, "", "Say what would be done, field by field, and do nothing"},
       {"pull", 0, kValue, "string", "Pull images before (always, missing, never)", "",
        "always missing never"},
       {"quiet", 'q', kSwitch, "", "Say nothing but errors"},
       {"quiet-pull", 0, kSwitch, "", "No progress of pulls"},
       {"remove-orphans", 0, kSwitch, "", "Remove containers of services that the file does not have"},
       {"renew-anon-volumes", 'V', kSwitch, "", "New anonymous volumes for recreated containers"},
       {"scale", 0, kList, "service=n", "Replicas of a service, over what the file says"},
       {"timeout", 't', kValue, "int", "Seconds until a stop becomes a kill"},
       {"timestamps", 0, kSwitch, "", "Show timestamps in the logs"},
       {"wait", 0, kSwitch, "", "Return when all are running and healthy (implies --detach)"},
       {"wait-timeout", 0, kValue, "int", "Seconds that --wait may take"},
       {"watch", 'w', kSwitch, "", "", "use onggi watch"}},
      false);
  return kOptions;
}

Result<std::pair<std::string, int>> scale_of(const std::string& text) {
  size_t equals = text.find('=');
  auto n = equals == std::string::npos ? Result<uint64_t>(fail(Error::invalid("")))
                                       : parse_u64(text.substr(equals + 1), "scale");
  if (!n || equals == 0 || *n > 10000)
    return fail(Error::invalid("invalid scale '" + text + "' (SERVICE=NUMBER)"));
  return std::pair(text.substr(0, equals), static_cast<int>(*n));
}

Result<stack::ApplyOptions> apply_options(const Invocation& i, engine::Engine& engine,
                                          const std::vector<std::string>& services) {
  const Args& a = i.args;
  stack::ApplyOptions o;
  o.up.services = services;
  o.up.no_deps = a.flag("no-deps");
  o.up.force_recreate = a.flag("force-recreate");
  o.up.no_recreate = a.flag("no-recreate");
  o.up.always_recreate_deps = a.flag("always-recreate-deps");
  o.up.remove_orphans = a.flag("remove-orphans");
  o.up.no_start = a.flag("no-start");
  o.up.renew_volumes = a.flag("renew-anon-volumes");
  if (o.up.force_recreate && o.up.no_recreate)
    return fail(Error::invalid("--force-recreate and --no-recreate exclude each other"));
  for (const auto& text : a.all("scale")) o.up.scale.insert(TRY(scale_of(text)));
  if (auto seconds = TRY(a.integer("timeout"))) o.up.stop_timeout = static_cast<int>(*seconds);
  if (auto seconds = TRY(a.integer("wait-timeout"))) o.wait_timeout_ms = *seconds * 1000;
  if (auto most = TRY(a.integer("parallel"))) o.parallel = static_cast<int>(std::max<int64_t>(0, *most));
  o.wait = a.flag("wait");
  o.pull_policy = a.get("pull");
  if (!o.pull_policy.empty() && o.pull_policy != "always" && o.pull_policy != "missing" &&
      o.pull_policy != "never")
    return fail(Error::invalid("--pull takes always, missing or never, not '" + o.pull_policy + "'"));
  o.report = reporter(a.flag("quiet"));
  o.pull = puller(engine, a.flag("quiet-pull") || a.flag("quiet"));
  return o;
}

// Plan and do, under the stack's lock.
Result<> bring_up(engine::Engine& engine, const stack::Project& project, const stack::ApplyOptions& options) {
  TRY_VOID(stack::check_runnable(
      project, stack::with_dependencies(project, options.up.services, !options.up.no_deps)));
  stack::StackDirectory directory = TRY(stack::StackDirectory::open(engine, project.name));
  Result<> failed;
  stack::Facts facts = stack::gather_facts(engine, project, directory, failed);
  TRY_VOID(std::move(failed));
  stack::Plan plan = TRY(stack::make_plan(project, options.up, facts));
  if (!plan.orphans.empty()) {
    std::string names;
    for (const auto& name : plan.orphans) names += (names.empty() ? "" : ", ") + name;
    print_error("WARNING: containers of services that the file does not have: " + names +
                " (--remove-orphans takes them away)");
  }
  if (plan.changes_something() || options.wait)
    TRY_VOID(stack::apply_plan(engine, project, plan, directory, options));
  std::vector<std::string> used;
  for (const auto& r : facts.replicas) used.push_back(r.hash);
  for (const auto& [service, hash] : plan.hashes) used.push_back(hash);
  if (plan.changes_something()) directory.keep_only(used);
  return {};
}

Result<int> show_plan(const Invocation& i, engine::Engine& engine, const stack::Project& project,
                      const stack::UpOptions& options) {
  stack::StackDirectory directory = TRY(stack::StackDirectory::open(engine, project.name));
  Result<> failed;
  stack::Facts facts = stack::gather_facts(engine, project, directory, failed);
  TRY_VOID(std::move(failed));
  if (facts.replicas.empty()) directory.remove();
  stack::Plan plan = TRY(stack::make_plan(project, options, facts));
  std::string format = i.args.get("format", "text");
  if (format != "text" && format != "json")
    return fail(Error::invalid("--format takes text or json, not '" + format + "'"));
  TRY_VOID(print(format == "json" ? stack::plan_json(plan, project.name) : stack::plan_text(plan)));
  return 0;
}

// Until all have ended, or somebody has had enough: then the stack is stopped.
Result<int> follow(const Invocation& i, engine::Engine& engine, const stack::Project& project,
                   const std::vector<std::string>& services) {
  std::vector<stack::Replica> shown;
  for (auto& r : TRY(stack::read_replicas(engine, project.name))) {
    const stack::Node* s = project.service(r.service);
    bool named = services.empty() || std::find(services.begin(), services.end(), r.service) != services.end();
    if (s && named && !r.oneoff && s->flag("attach", true)) shown.push_back(std::move(r));
  }
  LogView view;
  view.range.follow = true;
  view.timestamps = i.args.flag("timestamps");
  view.prefix = !i.args.flag("no-log-prefix");
  view.color = !i.args.flag("no-color");
  if (TRY(show_logs(engine, shown, view))) return 0;
  print_error("Gracefully stopping... (once more to leave at once)");
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  (void)::sigprocmask(SIG_UNBLOCK, &set, nullptr);
  TRY_VOID(stack::each_container(
      engine, TRY(stack::read_replicas(engine, project.name)), true, reporter(false), "Stopped",
      [](engine::Engine& own, const stack::Replica& r) { return engine::stop_container(own, r.id, {}); }));
  constexpr int kInterrupted = 130;
  return kInterrupted;
}

Result<int> command_up(const Invocation& i) {
  stack::Project project = TRY(load_project(i, i.args.words()));
  auto engine = TRY(i.engine());
  stack::ApplyOptions options = TRY(apply_options(i, *engine, i.args.words()));
  if (i.args.flag("plan")) {
    TRY_VOID(stack::check_runnable(
        project, stack::with_dependencies(project, options.up.services, !options.up.no_deps)));
    return show_plan(i, *engine, project, options.up);
  }
  TRY_VOID(bring_up(*engine, project, options));
  if (i.args.flag("detach") || options.wait || options.up.no_start) return 0;
  return follow(i, *engine, project, i.args.words());
}

const Options& create_stack_options() {
  static const Options kOptions = with_project_options(
      {{"build", 0, kSwitch, "", "", "the builder is not built yet; build elsewhere and load the image"},
       {"force-recreate", 0, kSwitch, "", "Recreate containers even if nothing changed"},
       {"no-recreate", 0, kSwitch, "", "Leave containers that exist as they are"},
       {"pull", 0, kValue, "string", "Pull images before (always, missing, never)", "",
        "always missing never"},
       {"quiet-pull", 0, kSwitch, "", "No progress of pulls"},
       {"remove-orphans", 0, kSwitch, "", "Remove containers of services that the file does not have"},
       {"scale", 0, kList, "service=n", "Replicas of a service, over what the file says"}},
      true);
  return kOptions;
}

Result<int> command_create(const Invocation& i) {
  stack::Project project = TRY(load_project(i, i.args.words()));
  auto engine = TRY(i.engine());
  stack::ApplyOptions options = TRY(apply_options(i, *engine, i.args.words()));
  options.up.no_start = true;
  TRY_VOID(bring_up(*engine, project, options));
  return 0;
}

const Options& scale_options() {
  static const Options kOptions = with_project_options(
      {{"no-deps", 0, kSwitch, "", "Don't start the services that the named ones depend on"}}, true);
  return kOptions;
}

Result<int> command_scale(const Invocation& i) {
  std::vector<std::string> names;
  std::map<std::string, int> wanted;
  for (const auto& word : i.args.words()) {
    auto entry = TRY(scale_of(word));
    names.push_back(entry.first);
    wanted.insert(std::move(entry));
  }
  stack::Project project = TRY(load_project(i, names));
  auto engine = TRY(i.engine());
  stack::ApplyOptions options = TRY(apply_options(i, *engine, names));
  options.up.scale = std::move(wanted);
  options.up.no_recreate = true;
  TRY_VOID(bring_up(*engine, project, options));
  return 0;
}

const Options& down_options() {
  static const Options kOptions = with_project_options(
      {{"remove-orphans", 0, kSwitch, "", "Containers of services that the file does not have, too"},
       {"rmi", 0, kValue, "string", "Remove the images, too (local: those without image:, all)", "",
        "local all"},
       {"quiet", 'q', kSwitch, "", "Say nothing but errors"},
       {"timeout", 't', kValue, "int", "Seconds until a stop becomes a kill"},
       {"volumes", 'v', kSwitch, "", "Named volumes of the stack, too"}},
      true);
  return kOptions;
}

Result<int> command_down(const Invocation& i) {
  StackView v = TRY(view_stack(i, i.args.words()));
  stack::DownOptions options;
  options.services = i.args.words();
  options.remove_orphans = i.args.flag("remove-orphans");
  options.volumes = i.args.flag("volumes");
  options.images = i.args.get("rmi");
  if (!options.images.empty() && options.images != "local" && options.images != "all")
    return fail(Error::invalid("--rmi takes local or all, not '" + options.images + "'"));
  if (auto seconds = TRY(i.args.integer("timeout"))) options.timeout = static_cast<int>(*seconds);
  options.report = reporter(i.args.flag("quiet"));
  TRY_VOID(stack::take_down(*v.engine, v.name, v.project ? &*v.project : nullptr, options));
  return 0;
}

// --- operations on the containers that there are ---

const Options& timeout_options() {
  static const Options kOptions =
      with_project_options({{"timeout", 't', kValue, "int", "Seconds until a stop becomes a kill"},
                            {"no-deps", 0, kSwitch, "", "Don't restart dependent services"}},
                           true);
  return kOptions;
}
const Options& stack_options() {
  static const Options kOptions = with_project_options({}, true);
  return kOptions;
}

Result<std::optional<int>> timeout_of(const Invocation& i) {
  auto seconds = TRY(i.args.integer("timeout"));
  return seconds ? std::optional<int>(static_cast<int>(*seconds)) : std::optional<int>();
}

Result<int> command_stop(const Invocation& i) {
  StackView v = TRY(view_stack(i, i.args.words()));
  auto timeout = TRY(timeout_of(i));
  TRY_VOID(stack::each_container(*v.engine, v.replicas, true, reporter(false), "Stopped",
                                 [&](engine::Engine& own, const stack::Replica& r) {
                                   return engine::stop_container(own, r.id, timeout);
                                 }));
  return 0;
}

Result<int> command_start(const Invocation& i) {
  StackView v = TRY(view_stack(i, i.args.words()));
  if (v.replicas.empty())
    return fail(Error::not_found("the stack " + v.name + " has no containers; create them with onggi up"));
  TRY_VOID(stack::start_replicas(*v.engine, v.replicas, reporter(false)));
  return 0;
}

// Dependents with `restart: true` are restarted with what they depend on.
Result<int> command_restart(const Invocation& i) {
  StackView v = TRY(view_stack(i, i.args.words()));
  auto timeout = TRY(timeout_of(i));
  if (!i.args.flag("no-deps") && !i.args.words().empty()) {
    std::set<std::string> services(i.args.words().begin(), i.args.words().end());
    auto all = TRY(stack::read_replicas(*v.engine, v.name));
    for (bool more = true; more;) {
      more = false;
      for (const auto& r : all)
        for (const auto& d : stack::dependencies_by_label(r.config))
          if (d.restart && services.contains(d.service) && !r.oneoff && services.insert(r.service).second)
            more = true;
    }
    v.replicas.clear();
    for (auto& r : all)
      if (services.contains(r.service) && !r.oneoff) v.replicas.push_back(std::move(r));
  }
  if (v.replicas.empty())
    return fail(Error::not_found("the stack " + v.name + " has no containers; create them with onggi up"));
  TRY_VOID(stack::each_container(*v.engine, v.replicas, true, {}, "",
                                 [&](engine::Engine& own, const stack::Replica& r) {
                                   return engine::stop_container(own, r.id, timeout);
                                 }));
  for (auto& r : v.replicas) r.status = "restarted";  // all are started, also those that had ended well
  TRY_VOID(stack::start_replicas(*v.engine, v.replicas, reporter(false)));
  return 0;
}

const Options& kill_options() {
  static const Options kOptions =
      with_project_options({{"signal", 's', kValue, "string", "Signal to send (default KILL)"},
                            {"remove-orphans", 0, kSwitch, "", "", "use onggi down --remove-orphans"}},
                           true);
  return kOptions;
}

// Only those that the operation can mean something for.
Result<int> each_running(const Invocation& i, const char* status, const char* done,
                         const std::function<Result<>(engine::Engine&, const stack::Replica&)>& operation) {
  StackView v = TRY(view_stack(i, i.args.words()));
  std::erase_if(v.replicas, [&](const auto& r) { return r.status != status; });
  TRY_VOID(stack::each_container(*v.engine, v.replicas, true, reporter(false), done, operation));
  return 0;
}

Result<int> command_kill(const Invocation& i) {
  return each_running(i, "running", "Killed", [&](engine::Engine& own, const stack::Replica& r) {
    return engine::kill_container(own, r.id, i.args.get("signal"));
  });
}
Result<int> command_pause(const Invocation& i) {
  return each_running(i, "running", "Paused", [](engine::Engine& own, const stack::Replica& r) {
    return engine::pause_container(own, r.id, true);
  });
}
Result<int> command_unpause(const Invocation& i) {
  return each_running(i, "paused", "Unpaused", [](engine::Engine& own, const stack::Replica& r) {
    return engine::pause_container(own, r.id, false);
  });
}

const Options& rm_options() {
  static const Options kOptions =
      with_project_options({{"force", 'f', kSwitch, "", "Don't ask"},
                            {"stop", 's', kSwitch, "", "Stop them first"},
                            {"volumes", 'v', kSwitch, "", "Their anonymous volumes, too"}},
                           false);
  return kOptions;
}

Result<int> command_rm(const Invocation& i) {
  StackView v = TRY(view_stack(i, i.args.words(), true));
  bool stop = i.args.flag("stop");
  if (!stop)
    std::erase_if(v.replicas, [](const auto& r) {
      return r.status == "running" || r.status == "paused" || r.status == "restarting";
    });
  if (v.replicas.empty()) {
    TRY_VOID(print("No stopped containers\n"));
    return 0;
  }
  std::string names;
  for (const auto& r : v.replicas) names += (names.empty() ? "" : ", ") + r.name;
  if (!TRY(confirm(i, "This will remove " + names + "."))) return 0;
  TRY_VOID(stack::each_container(*v.engine, v.replicas, true, reporter(false), "Removed",
                                 [&](engine::Engine& own, const stack::Replica& r) -> Result<> {
                                   if (stop) TRY_VOID(engine::stop_container(own, r.id, {}));
                                   return engine::remove_container(
                                       own, r.id, {.force = stop, .volumes = i.args.flag("volumes")});
                                 }));
  return 0;
}

const Options& pull_options() {
  static const Options kOptions = with_project_options(
      {{"ignore-pull-failures", 0, kSwitch, "", "Pull what can be pulled"},
       {"ignore-buildable", 0, kSwitch, "", "Leave out images of services with a build"},
       {"include-deps", 0, kSwitch, "", "Images of dependencies, too"},
       {"policy", 0, kValue, "string", "missing: only what is not here", "", "missing always"},
       {"quiet", 'q', kSwitch, "", "No progress"}},
      true);
  return kOptions;
}

Result<int> command_pull(const Invocation& i) {
  stack::Project project = TRY(load_project(i, i.args.words()));
  auto engine = TRY(i.engine());
  auto pull = puller(*engine, i.args.flag("quiet"));
  std::set<std::string> seen;
  int code = 0;
  for (const auto& name : stack::with_dependencies(project, i.args.words(), i.args.flag("include-deps"))) {
    const stack::Node& s = *project.service(name);
    if (s.get("build") && (i.args.flag("ignore-buildable") || !s.get("image"))) continue;
    std::string image = stack::image_of(project, s);
    if (!seen.insert(image).second) continue;
    if (i.args.get("policy") == "missing")
      if (auto* store = TRY(engine->images()); store->resolve(image)) continue;
    auto pulled = pull(image, s.text_of("platform"));
    if (pulled) {
      if (!i.args.flag("quiet")) reporter(false)("Image", image, "Pulled");
      continue;
    }
    if (!i.args.flag("ignore-pull-failures")) return fail(std::move(pulled).error().wrap("service " + name));
    print_error("WARNING: service " + name + ": " + pulled.error().text());
    code = 0;
  }
  return code;
}

}  // namespace

Result<> bring_up_services(engine::Engine& engine, const stack::Project& project,
                           const std::vector<std::string>& services, stack::Report report, stack::Pull pull) {
  stack::ApplyOptions options;
  options.up.services = services;
  options.report = std::move(report);
  options.pull = std::move(pull);
  return bring_up(engine, project, options);
}

const std::vector<Command>& stack_up_commands() {
  static const std::vector<Command> kCommands = {
      {"up, stack up, compose up", "[SERVICE...]", "Create and start the services of a Compose file",
       up_options, 0, kAnyWords, false, command_up},
      {"down, stack down, compose down", "[SERVICE...]",
       "Stop and remove the containers and networks of a stack", down_options, 0, kAnyWords, false,
       command_down},
      {"scale, stack scale, compose scale", "SERVICE=N [SERVICE=N...]",
       "Change the number of replicas of services", scale_options, 1, kAnyWords, false, command_scale},
      {"stack create, compose create", "[SERVICE...]", "Create the containers of services",
       create_stack_options, 0, kAnyWords, false, command_create},
      {"stack start, compose start", "[SERVICE...]",
       "Start services that were stopped, in the order of their dependencies", stack_options, 0, kAnyWords,
       false, command_start},
      {"stack stop, compose stop", "[SERVICE...]", "Stop services, dependents first", timeout_options, 0,
       kAnyWords, false, command_stop},
      {"stack restart, compose restart", "[SERVICE...]", "Restart services", timeout_options, 0, kAnyWords,
       false, command_restart},
      {"stack kill, compose kill", "[SERVICE...]", "Send a signal to the services' containers", kill_options,
       0, kAnyWords, false, command_kill},
      {"stack pause, compose pause", "[SERVICE...]", "Pause services", stack_options, 0, kAnyWords, false,
       command_pause},
      {"stack unpause, compose unpause", "[SERVICE...]", "Unpause services", stack_options, 0, kAnyWords,
       false, command_unpause},
      {"stack rm, compose rm", "[SERVICE...]", "Remove stopped containers of services", rm_options, 0,
       kAnyWords, false, command_rm},
      {"stack pull, compose pull", "[SERVICE...]", "Pull the services' images", pull_options, 0, kAnyWords,
       false, command_pull}};
  return kCommands;
}

}  // namespace onggi::cli
