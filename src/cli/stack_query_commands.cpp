// ps, ls, logs, exec, run, port, wait, cp, events, images, processes: looking at a stack, and into it.
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/file.h"
#include "cli/command.h"
#include "cli/format.h"
#include "cli/run_options.h"
#include "cli/stack_report.h"
#include "engine/clock.h"
#include "engine/events.h"
#include "engine/lifecycle.h"
#include "engine/listing.h"
#include "stack/canonical.h"
#include "stack/complete.h"
#include "stack/identity.h"
#include "stack/request.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;
constexpr auto kList = OptionKind::kList;

// Another command of the table, with words of its own.
Result<int> run_command(const Invocation& i, const std::string& name, const std::vector<std::string>& words) {
  for (const auto& c : command_table())
    for (const auto& n : names_of(c))
      if (n == name) {
        Invocation other;
        other.paths = i.paths;
        other.debug = i.debug;
        other.args = TRY(Args::parse(c.options(), words, c.program));
        return c.run(other);
      }
  return fail(Error::internal("no command " + name));
}

const Options& stack_options() {
  static const Options kOptions = with_project_options({}, true);
  return kOptions;
}

// --- ps, ls, images ---

const Options& ps_options() {
  static const Options kOptions = with_project_options(
      {{"all", 'a', kSwitch, "", "Stopped containers, too, and those of `run`"},
       {"filter", 0, kList, "filter", "status=running, ..."},
       {"format", 0, kValue, "string", "Format output: table, json, or TEMPLATE (Go template)"},
       {"no-trunc", 0, kSwitch, "", "Don't truncate output"},
       {"orphans", 0, kSwitch, "", "Containers of services that the file does not have (default true)"},
       {"quiet", 'q', kSwitch, "", "Only display container IDs"},
       {"services", 0, kSwitch, "", "Only display services"},
       {"status", 0, kList, "status", "Only those (running, paused, restarting, exited, created)"}},
      true);
  return kOptions;
}

Result<std::set<std::string>> wanted_statuses(const Args& args) {
  std::set<std::string> wanted;
  for (const auto& s : args.all("status")) wanted.insert(s);
  for (const auto& f : args.all("filter")) {
    if (!f.starts_with("status=")) return fail(Error::invalid("invalid filter '" + f + "' (status=...)"));
    wanted.insert(f.substr(7));
  }
  return wanted;
}

Result<int> command_ps(const Invocation& i) {
  StackView v = TRY(view_stack(i, i.args.words(), i.args.flag("all")));
  auto wanted = TRY(wanted_statuses(i.args));
  std::erase_if(v.replicas, [&](const auto& r) {
    if (!wanted.empty()) return !wanted.contains(r.status);
    bool orphan = v.project && !v.project->service(r.service);
    if (orphan && !i.args.flag("orphans", true)) return true;
    return !i.args.flag("all") && r.status != "running" && r.status != "paused" && r.status != "restarting";
  });
  if (i.args.flag("services")) {
    std::set<std::string> names;
    for (const auto& r : v.replicas) names.insert(r.service);
    for (const auto& n : names) TRY_VOID(print(n + "\n"));
    return 0;
  }
  if (i.args.flag("quiet")) {
    for (const auto& r : v.replicas)
      TRY_VOID(print((i.args.flag("no-trunc") ? r.id : r.id.substr(0, 12)) + "\n"));
    return 0;
  }
  // The engine's own words for a container's state.
  std::map<std::string, engine::ListedContainer> listed;
  if (!v.replicas.empty())
    for (auto& l : TRY(engine::list_containers(
             *v.engine,
             {.all = true, .filters = {std::string("label=") + stack::kProjectLabel + "=" + v.name}})))
      listed[l.id] = std::move(l);
  std::vector<Row> rows;
  for (const auto& r : v.replicas) {
    const auto& l = listed[r.id];
    std::string command =
        l.command.size() > 20 && !i.args.flag("no-trunc") ? l.command.substr(0, 19) + "…" : l.command;
    rows.push_back({{"ID", r.id},
                    {"Name", r.name},
                    {"Names", r.name},
                    {"Image", r.config.image},
                    {"Command", "\"" + command + "\""},
                    {"Project", v.name},
                    {"Service", r.service},
                    {"CreatedAt", l.created},
                    {"RunningFor", l.age + " ago"},
                    {"State", r.status},
                    {"Status", l.status},
                    {"Health", r.health},
                    {"ExitCode", std::to_string(r.state.exit_code)},
                    {"Ports", l.ports},
                    {"Labels", l.labels},
                    {"Networks", l.network},
                    {"Mounts", l.mounts}});
  }
  TRY_VOID(print_rows(i.args.get("format"),
                      {{"NAME", "Name"},
                       {"IMAGE", "Image"},
                       {"COMMAND", "Command"},
                       {"SERVICE", "Service"},
                       {"CREATED", "RunningFor"},
                       {"STATUS", "Status"},
                       {"PORTS", "Ports"}},
                      rows));
  return 0;
}

const Options& ls_options() {
  static const Options kOptions = {
      {"all", 'a', kSwitch, "", "Stacks without a running container, too"},
      {"filter", 0, kList, "filter", "name=TEXT"},
      {"format", 0, kValue, "string", "Format output: table, json, or TEMPLATE (Go template)"},
      {"quiet", 'q', kSwitch, "", "Only display names"}};
  return kOptions;
}

Result<int> command_ls(const Invocation& i) {
  auto engine = TRY(i.engine());
  std::vector<Row> rows;
  for (const auto& s : TRY(stack::list_stacks(*engine))) {
    bool live = false, wanted = true;
    std::string status;
    for (const auto& [state, count] : s.states) {
      live |= state == "running" || state == "paused" || state == "restarting";
      status += (status.empty() ? "" : ", ") + state + "(" + std::to_string(count) + ")";
    }
    for (const auto& f : i.args.all("filter")) {
      if (!f.starts_with("name=")) return fail(Error::invalid("invalid filter '" + f + "' (name=TEXT)"));
      wanted &= s.name.find(f.substr(5)) != std::string::npos;
    }
    if (!wanted || (!live && !i.args.flag("all"))) continue;
    if (i.args.flag("quiet")) TRY_VOID(print(s.name + "\n"));
    rows.push_back({{"Name", s.name}, {"Status", status}, {"ConfigFiles", s.files}});
  }
  if (!i.args.flag("quiet"))
    TRY_VOID(print_rows(i.args.get("format"),
                        {{"NAME", "Name"}, {"STATUS", "Status"}, {"CONFIG FILES", "ConfigFiles"}}, rows));
  return 0;
}

const Options& images_options() {
  static const Options kOptions = with_project_options(
      {{"format", 0, kValue, "string", "Format output: table, json, or TEMPLATE (Go template)"},
       {"quiet", 'q', kSwitch, "", "Only display IDs"}},
      true);
  return kOptions;
}

Result<int> command_images(const Invocation& i) {
  StackView v = TRY(view_stack(i, i.args.words()));
  std::vector<Row> rows;
  std::set<std::string> seen;
  for (const auto& r : v.replicas) {
    std::string id = r.config.image_id.substr(r.config.image_id.find(':') + 1).substr(0, 12);
    if (i.args.flag("quiet")) {
      if (seen.insert(id).second) TRY_VOID(print(id + "\n"));
      continue;
    }
    size_t colon = r.config.image.rfind(':');
    bool tagged = colon != std::string::npos && r.config.image.find('/', colon) == std::string::npos;
    rows.push_back({{"ContainerName", r.name},
                    {"Repository", r.config.image.substr(0, tagged ? colon : std::string::npos)},
                    {"Tag", tagged ? r.config.image.substr(colon + 1) : "latest"},
                    {"ID", id}});
  }
  if (!i.args.flag("quiet"))
    TRY_VOID(print_rows(
        i.args.get("format"),
        {{"CONTAINER", "ContainerName"}, {"REPOSITORY", "Repository"}, {"TAG", "Tag"}, {"IMAGE ID", "ID"}},
        rows));
  return 0;
}

// --- logs, events ---

const Options& logs_options() {
  static const Options kOptions = with_project_options(
      {{"follow", 'f', kSwitch, "", "Follow log output"},
       {"index", 0, kValue, "int", "Of this container of a service only"},
       {"no-color", 0, kSwitch, "", "No colours"},
       {"no-log-prefix", 0, kSwitch, "", "No container's name before each line"},
       {"since", 0, kValue, "string", "Logs since a timestamp or relative (e.g. 42m)"},
       {"tail", 'n', kValue, "string", "Number of lines from the end of each container's log (default all)"},
       {"timestamps", 't', kSwitch, "", "Show timestamps"},
       {"until", 0, kValue, "string", "Logs before a timestamp or relative (e.g. 42m)"}},
      false);
  return kOptions;
}

Result<int> command_logs(const Invocation& i) {
  StackView v = TRY(view_stack(i, i.args.words()));
  if (auto index = TRY(i.args.integer("index")))
    std::erase_if(v.replicas, [&](const auto& r) { return r.number != *index; });
  LogView view;
  view.range.follow = i.args.flag("follow");
  if (auto text = i.args.find("since")) view.range.since = TRY(engine::parse_moment(*text));
  if (auto text = i.args.find("until")) view.range.until = TRY(engine::parse_moment(*text));
  if (auto text = i.args.find("tail"); text && *text != "all")
    view.range.tail = TRY(parse_u64(*text, "--tail"));
  view.timestamps = i.args.flag("timestamps");
  view.prefix = !i.args.flag("no-log-prefix");
  view.color = !i.args.flag("no-color");
  constexpr int kInterrupted = 130;
  return TRY(show_logs(*v.engine, v.replicas, view)) ? 0 : kInterrupted;
}

const Options& events_options() {
  static const Options kOptions =
      with_project_options({{"json", 0, kSwitch, "", "One JSON object per line"},
                            {"since", 0, kValue, "string", "Show all events created since timestamp"},
                            {"until", 0, kValue, "string", "Stream events until this timestamp"}},
                           true);
  return kOptions;
}

Result<int> command_events(const Invocation& i) {
  StackView v = TRY(view_stack(i, {}, true));
  std::map<std::string, std::string> services;  // container id -> service
  auto learn = [&]() -> Result<> {
    for (const auto& r : TRY(stack::read_replicas(*v.engine, v.name))) services[r.id] = r.service;
    return {};
  };
  TRY_VOID(learn());
  engine::EventRange range;
  range.follow = true;
  range.since = engine::now_nanoseconds();
  if (auto text = i.args.find("since")) range.since = TRY(engine::parse_moment(*text));
  if (auto text = i.args.find("until")) range.until = TRY(engine::parse_moment(*text));
  const auto& wanted = i.args.words();
  TRY_VOID(engine::read_events(v.engine->paths(), range, [&](const std::string&, const engine::Event& e) {
    if (e.type != "container") return true;
    if (!services.contains(e.id) && e.action == "create") (void)learn();
    auto found = services.find(e.id);
    if (found == services.end()) return true;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), found->second) == wanted.end())
      return true;
    if (!i.args.flag("json"))
      return print(e.time + " container " + e.action + " " + e.id + " (image=" + e.image +
                   ", name=" + e.name + ")\n")
          .has_value();
    JsonWriter w;
    w.begin_object();
    w.member("time", e.time);
    w.member("type", "container");
    w.member("service", found->second);
    w.member("id", e.id);
    w.member("action", e.action);
    w.key("attributes");
    w.begin_object();
    w.member("image", e.image);
    w.member("name", e.name);
    for (const auto& [key, value] : e.attributes) w.member(key, value);
    w.end_object();
    w.end_object();
    return print(w.take() + "\n").has_value();
  }));
  return 0;
}

// --- into a container ---

const Options& exec_options() {
  static const Options kOptions = with_project_options(
      {{"detach", 'd', kSwitch, "", "Run the command in the background"},
       {"env", 'e', kList, "list", "Set environment variables"},
       {"index", 0, kValue, "int", "The container's number, when the service has several"},
       {"interactive", 'i', kSwitch, "", "Keep STDIN open (default true)"},
       {"no-TTY", 'T', kSwitch, "", "No pseudo-TTY (default: one when standard input is a terminal)"},
       {"privileged", 0, kSwitch, "", "All capabilities of the container's user namespace"},
       {"tty", 't', kSwitch, "", "A pseudo-TTY"},
       {"user", 'u', kValue, "string", "Username or UID"},
       {"workdir", 'w', kValue, "string", "Working directory"}},
      false);
  return kOptions;
}

Result<int> command_exec(const Invocation& i) {
  std::string id;
  {
    auto engine = TRY(i.engine());
    id = TRY(one_replica(i, *engine, i.args.words()[0], TRY(i.args.integer("index")).value_or(0))).id;
  }
  std::vector<std::string> words;
  bool terminal = ::isatty(STDIN_FILENO) && ::isatty(STDOUT_FILENO);
  bool detach = i.args.flag("detach");
  if (i.args.flag("interactive", true) && !detach) words.push_back("-i");
  if ((i.args.flag("tty") || terminal) && !i.args.flag("no-TTY") && !detach) words.push_back("-t");
  if (detach) words.push_back("-d");
  if (i.args.flag("privileged")) words.push_back("--privileged");
  for (const auto& e : i.args.all("env")) words.insert(words.end(), {"-e", e});
  for (const char* name : {"user", "workdir"})
    if (auto value = i.args.find(name)) words.insert(words.end(), {std::string("--") + name, *value});
  words.push_back(id);
  words.insert(words.end(), i.args.words().begin() + 1, i.args.words().end());
  return run_command(i, "exec", words);
}

const Options& run_options() {
  static const Options kOptions = with_project_options(
      {{"build", 0, kSwitch, "", "", "the builder is not built yet"},
       {"detach", 'd', kSwitch, "", "Run in the background and print the container ID"},
       {"entrypoint", 0, kValue, "string", "Override the entrypoint"},
       {"env", 'e', kList, "list", "Set environment variables"},
       {"interactive", 'i', kSwitch, "", "Keep STDIN open (default true)"},
       {"label", 'l', kList, "list", "Add a label"},
       {"name", 0, kValue, "string", "Name of the container"},
       {"no-TTY", 'T', kSwitch, "", "No pseudo-TTY (default: one when standard input is a terminal)"},
       {"no-deps", 0, kSwitch, "", "Don't start the services that this one depends on"},
       {"quiet-pull", 0, kSwitch, "", "No progress of pulls"},
       {"rm", 0, kSwitch, "", "Remove the container when it ends"},
       {"user", 'u', kValue, "string", "Username or UID"},
       {"volume", 'v', kList, "list", "Bind mount a volume"},
       {"workdir", 'w', kValue, "string", "Working directory"}},
      false);
  return kOptions;
}

// The container of `run`: as the service's, with what was said on the command line over it, and without ports
// and aliases.
Result<std::string> create_oneoff(const Invocation& i, engine::Engine& engine, const stack::Project& project,
                                  const stack::Node& service) {
  stack::ReplicaRequest replica;
  replica.oneoff = true;
  replica.name =
      i.args.get("name", project.name + "-" + service.key + "-run-" + engine::random_id().substr(0, 12));
  replica.hash = TRY(stack::service_hash(project, service));
  replica.containers = TRY(stack::shared_containers(engine, project, service));
  engine::CreateRequest request = TRY(stack::request_of(project, service, replica));
  engine::ContainerConfig& c = request.config;
  if (auto entry = i.args.find("entrypoint")) {
    auto words = stack::shell_words(*entry);
    request.entrypoint = words ? *words : std::vector<std::string>{*entry};
    c.command.clear();
  }
  if (i.args.words().size() > 1) c.command.assign(i.args.words().begin() + 1, i.args.words().end());
  for (const auto& e : i.args.all("env")) {
    const char* value = e.find('=') == std::string::npos ? ::getenv(e.c_str()) : nullptr;
    std::erase_if(c.env,
                  [&](const auto& old) { return old.substr(0, old.find('=')) == e.substr(0, e.find('=')); });
    c.env.push_back(value ? e + "=" + value : e);
  }
  for (const auto& l : i.args.all("label"))
    c.labels.push_back(
        {l.substr(0, l.find('=')), l.find('=') == std::string::npos ? "" : l.substr(l.find('=') + 1)});
  for (const auto& v : i.args.all("volume")) c.mounts.push_back(TRY(parse_volume(v)));
  if (auto user = i.args.find("user")) c.user = *user;
  if (auto dir = i.args.find("workdir")) c.working_dir = *dir;
  bool terminal = ::isatty(STDIN_FILENO) && ::isatty(STDOUT_FILENO);
  c.tty = terminal && !i.args.flag("no-TTY") && !i.args.flag("detach");
  c.open_stdin = i.args.flag("interactive", true) && !i.args.flag("detach");
  c.auto_remove = i.args.flag("rm");
  request.pull_image = puller(engine, i.args.flag("quiet-pull"));
  return TRY(engine::create_container(engine, std::move(request))).id;
}

Result<int> command_run(const Invocation& i) {
  const std::string& name = i.args.words()[0];
  stack::Project project = TRY(load_project(i, {name}));
  std::string id;
  {
    auto engine = TRY(i.engine());
    const stack::Node& service = *project.service(name);
    TRY_VOID(stack::check_runnable(project, {name}));
    std::vector<std::string> needed;
    if (!i.args.flag("no-deps"))
      for (const auto& d : stack::dependencies_of(service)) needed.push_back(d.service);
    stack::ApplyOptions options;
    options.report = reporter(false);
    options.pull = puller(*engine, i.args.flag("quiet-pull"));
    TRY_VOID(stack::prepare_run(*engine, project, service, needed, options));
    id = TRY(create_oneoff(i, *engine, project, service));
  }
  if (i.args.flag("detach")) {
    auto engine = TRY(i.engine());
    TRY(engine::start_container(*engine, id, {}));
    TRY_VOID(print(id + "\n"));
    return 0;
  }
  return run_command(i, "start", {"--attach", "--interactive", id});
}

const Options& index_options() {
  static const Options kOptions = with_project_options(
      {{"index", 0, kValue, "int", "The container's number, when the service has several"},
       {"protocol", 0, kValue, "string", "tcp (default) or udp"}},
      true);
  return kOptions;
}

Result<int> command_port(const Invocation& i) {
  auto engine = TRY(i.engine());
  auto replica = TRY(one_replica(i, *engine, i.args.words()[0], TRY(i.args.integer("index")).value_or(0)));
  std::vector<std::string> words = {replica.id};
  if (i.args.words().size() > 1) words.push_back(i.args.words()[1] + "/" + i.args.get("protocol", "tcp"));
  return run_command(i, "port", words);
}

const Options& wait_options() {
  static const Options kOptions = with_project_options(
      {{"down-project", 0, kSwitch, "", "Take the stack down when the first one has ended"}}, true);
  return kOptions;
}

Result<int> command_wait(const Invocation& i) {
  StackView v = TRY(view_stack(i, i.args.words()));
  int code = 0;
  for (const auto& r : v.replicas) {
    code = TRY(engine::wait_container(*v.engine, r.id, ""));
    TRY_VOID(print(std::to_string(code) + "\n"));
    if (i.args.flag("down-project")) {
      TRY_VOID(stack::take_down(*v.engine, v.name, v.project ? &*v.project : nullptr,
                                {.report = reporter(false)}));
      break;
    }
  }
  return code;
}

const Options& cp_options() {
  static const Options kOptions = with_project_options(
      {{"archive", 'a', kSwitch, "", "Keep numeric owners"},
       {"follow-link", 'L', kSwitch, "", "Follow a symlink that is the source"},
       {"index", 0, kValue, "int", "The container's number (default: the first, into it: all)"}},
      true);
  return kOptions;
}

Result<int> command_cp(const Invocation& i) {
  std::vector<std::string> from = {i.args.words()[0]}, to = {i.args.words()[1]};
  int64_t index = TRY(i.args.integer("index")).value_or(0);
  auto expand = [&](std::vector<std::string>& side, bool all) -> Result<> {
    size_t colon = side[0].find(':');
    if (colon == std::string::npos || side[0][0] == '/' || side[0][0] == '.') return {};
    std::string service = side[0].substr(0, colon), path = side[0].substr(colon);
    StackView v = TRY(view_stack(i, {service}));
    side.clear();
    for (const auto& r : v.replicas)
      if (index <= 0 ? (all || side.empty()) : r.number == index) side.push_back(r.id + path);
    if (side.empty())
      return fail(Error::not_found("service \"" + service + "\" has no container" +
                                   (index > 0 ? " #" + std::to_string(index) : "")));
    return {};
  };
  TRY_VOID(expand(from, false));
  TRY_VOID(expand(to, true));
  for (const auto& target : to) {
    std::vector<std::string> words;
    if (i.args.flag("archive")) words.push_back("-a");
    if (i.args.flag("follow-link")) words.push_back("-L");
    words.insert(words.end(), {from[0], target});
    int code = TRY(run_command(i, "cp", words));
    if (code) return code;
  }
  return 0;
}

Result<int> command_processes(const Invocation& i) {
  StackView v = TRY(view_stack(i, i.args.words()));
  for (const auto& r : v.replicas) {
    if (r.status != "running" && r.status != "paused") continue;
    TRY_VOID(print(r.name + "\n"));
    TRY(run_command(i, "top", {r.id}));
    TRY_VOID(print("\n"));
  }
  return 0;
}

}  // namespace

const std::vector<Command>& stack_query_commands() {
  static const std::vector<Command> kCommands = {
      {"stack ps, compose ps", "[SERVICE...]", "List the containers of a stack", ps_options, 0, kAnyWords,
       false, command_ps},
      {"stack ls, compose ls", "", "List stacks", ls_options, 0, 0, false, command_ls},
      {"stack images, compose images", "[SERVICE...]", "List the images of a stack's containers",
       images_options, 0, kAnyWords, false, command_images},
      {"stack logs, compose logs", "[SERVICE...]", "Fetch the logs of services", logs_options, 0, kAnyWords,
       false, command_logs},
      {"stack events, compose events", "[SERVICE...]", "Get real time events of a stack", events_options, 0,
       kAnyWords, false, command_events},
      {"stack exec, compose exec", "SERVICE COMMAND [ARG...]", "Execute a command in a service's container",
       exec_options, 2, kAnyWords, true, command_exec},
      {"stack run, compose run", "SERVICE [COMMAND] [ARG...]",
       "Run a command in a new container of a service", run_options, 1, kAnyWords, true, command_run},
      {"stack port, compose port", "SERVICE [PORT]", "Print where a service's port is published",
       index_options, 1, 2, false, command_port},
      {"stack wait, compose wait", "SERVICE [SERVICE...]",
       "Block until the services' containers stop, and print their exit codes", wait_options, 1, kAnyWords,
       false, command_wait},
      {"stack cp, compose cp", "SERVICE:PATH PATH | PATH SERVICE:PATH",
       "Copy between a service's containers and the host", cp_options, 2, 2, false, command_cp},
      {"stack processes, compose top", "[SERVICE...]", "Display the running processes of services",
       stack_options, 0, kAnyWords, false, command_processes}};
  return kCommands;
}

}  // namespace onggi::cli
