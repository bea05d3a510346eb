// ps, logs, top, events, port.
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "cli/command.h"
#include "cli/format.h"
#include "engine/clock.h"
#include "engine/events.h"
#include "engine/lifecycle.h"
#include "engine/listing.h"
#include "engine/logs.h"
#include "engine/runtime_call.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;
constexpr auto kList = OptionKind::kList;

const Options& ps_options() {
  static const Options kOptions = {
      {"all", 'a', kSwitch, "", "Show all containers (default shows just running)"},
      {"filter", 'f', kList, "filter", "Filter output based on conditions provided"},
      {"format", 0, kValue, "string",
       "Format output: table, table TEMPLATE, json, or TEMPLATE (Go template)"},
      {"last", 'n', kValue, "int", "Show n last created containers (includes all states)"},
      {"latest", 'l', kSwitch, "", "Show the latest created container (includes all states)"},
      {"no-trunc", 0, kSwitch, "", "Don't truncate output"},
      {"quiet", 'q', kSwitch, "", "Only display container IDs"},
      {"size", 's', kSwitch, "", "Display total file sizes"}};
  return kOptions;
}

std::string shorten(const std::string& text, size_t width) {
  return text.size() <= width ? text : text.substr(0, width - 1) + "…";
}

Row ps_row(const engine::ListedContainer& c, bool whole) {
  std::string command = "\"" + (whole ? c.command : shorten(c.command, 20)) + "\"";
  return {{"ID", whole ? c.id : c.id.substr(0, 12)},
          {"Image", c.image},
          {"Command", command},
          {"CreatedAt", c.created},
          {"RunningFor", c.age + " ago"},
          {"Ports", c.ports},
          {"State", c.state},
          {"Status", c.status},
          {"Names", c.name},
          {"Labels", c.labels},
          {"Mounts", c.mounts},
          {"Networks", c.network},
          {"LocalVolumes", std::to_string(c.local_volumes)},
          {"Size", c.size},
          {"Isolation", "container"}};
}

Result<int> command_ps(const Invocation& i) {
  auto engine = TRY(i.engine());
  engine::ListRequest request;
  int64_t last = i.args.flag("latest") ? 1 : TRY(i.args.integer("last")).value_or(-1);
  request.all = i.args.flag("all") || last >= 0;
  request.last = last;
  request.filters = i.args.all("filter");
  request.size = i.args.flag("size");
  auto list = TRY(engine::list_containers(*engine, request));
  bool whole = i.args.flag("no-trunc");
  if (i.args.flag("quiet")) {
    std::string text;
    for (const auto& c : list) text += (whole ? c.id : c.id.substr(0, 12)) + "\n";
    TRY_VOID(print(text));
    return 0;
  }
  std::vector<Row> rows;
  for (const auto& c : list) rows.push_back(ps_row(c, whole));
  std::vector<Column> columns = {{"CONTAINER ID", "ID"},    {"IMAGE", "Image"},   {"COMMAND", "Command"},
                                 {"CREATED", "RunningFor"}, {"STATUS", "Status"}, {"PORTS", "Ports"},
                                 {"NAMES", "Names"}};
  if (request.size) columns.push_back({"SIZE", "Size"});
  TRY_VOID(print_rows(i.args.get("format"), columns, rows));
  return 0;
}

const Options& logs_options() {
  static const Options kOptions = {
      {"details", 0, kSwitch, "", "Show extra details provided to logs"},
      {"follow", 'f', kSwitch, "", "Follow log output"},
      {"since", 0, kValue, "string",
       "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\")"},
      {"tail", 'n', kValue, "string", "Number of lines to show from the end of the logs (default \"all\")"},
      {"timestamps", 't', kSwitch, "", "Show timestamps"},
      {"until", 0, kValue, "string", "Show logs before a timestamp or relative (e.g. \"42m\")"}};
  return kOptions;
}

// The journal has its own reader; its options are the same ones.
Result<int> logs_of_journal(const Args& args, const std::string& id) {
  std::vector<std::string> words = {"journalctl",
                                    "--no-pager",
                                    "--quiet",
                                    "--output",
                                    args.flag("timestamps") ? "short-iso-precise" : "cat",
                                    "CONTAINER_ID_FULL=" + id};
  if (args.flag("follow")) words.push_back("--follow");
  std::string tail = args.get("tail", "all");
  words.insert(words.end(), {"--lines", parse_u64(tail, "--tail") ? tail : "all"});
  for (const char* name : {"since", "until"})
    if (auto text = args.find(name))
      words.insert(words.end(), {std::string("--") + name,
                                 "@" + std::to_string(TRY(engine::parse_moment(*text)) / 1'000'000'000)});
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  ::execvp("journalctl", argv.data());
  return fail(Error::os("execute", "journalctl"));
}

Result<int> command_logs(const Invocation& i) {
  auto engine = TRY(i.engine());
  engine::ContainerDir dir = TRY(engine->containers().find(i.args.words()[0]));
  engine::ContainerConfig config = TRY(dir.config());
  if (config.log_driver == "none")
    return fail(Error::unsupported("the container " + config.name + " keeps no log (--log-driver none)"));
  if (config.log_driver == "journald") return logs_of_journal(i.args, config.id);
  engine::LogRange range;
  range.follow = i.args.flag("follow");
  if (auto text = i.args.find("since")) range.since = TRY(engine::parse_moment(*text));
  if (auto text = i.args.find("until")) range.until = TRY(engine::parse_moment(*text));
  if (auto text = i.args.find("tail"); text && *text != "all") {
    auto n = parse_i64(*text, "--tail");
    if (n && *n >= 0) range.tail = static_cast<uint64_t>(*n);  // docker takes anything else for "all"
  }
  bool stamps = i.args.flag("timestamps");
  auto running = [&] {
    auto state = dir.state();
    return state && (state->status == "running" || state->status == "restarting");
  };
  TRY_VOID(engine::read_logs(
      engine->paths().container(dir.id()) + "/log", range, running, [&](const engine::LogLine& line) {
        std::string text = stamps ? line.time + " " + line.text : line.text;
        return write_all(line.stream == 2 ? STDERR_FILENO : STDOUT_FILENO, text, "output").has_value();
      }));
  return 0;
}

Result<int> command_top(const Invocation& i) {
  auto engine = TRY(i.engine());
  std::string id = TRY(engine->containers().resolve(i.args.words()[0]));
  if (TRY(TRY(engine->containers().open(id)).state()).status != "running")
    return fail(Error::busy("container " + id + " is not running"));
  std::vector<std::string> words = {"ps", id};
  words.insert(words.end(), i.args.words().begin() + 1, i.args.words().end());
  TRY_VOID(print(TRY(engine::call_runtime(engine->paths(), words)).out));
  return 0;
}

const Options& events_options() {
  static const Options kOptions = {
      {"filter", 'f', kList, "filter", "Filter output based on conditions provided"},
      {"format", 0, kValue, "string", "Format output: json, or TEMPLATE (Go template)"},
      {"since", 0, kValue, "string", "Show all events created since timestamp"},
      {"until", 0, kValue, "string", "Stream events until this timestamp"}};
  return kOptions;
}

std::string event_text(const engine::Event& e) {
  std::string text = e.time + " " + e.type + " " + e.action + " " + e.id + " (";
  if (!e.image.empty()) text += "image=" + e.image + ", ";
  text += "name=" + e.name;
  for (const auto& [key, value] : e.attributes) text += ", " + key + "=" + value;
  return text + ")\n";
}

// The document of docker's API (system events).
std::string event_json(const engine::Event& e) {
  JsonWriter w;
  w.begin_object();
  w.member("status", e.action);
  w.member("id", e.id);
  w.member("from", e.image);
  w.member("Type", e.type);
  w.member("Action", e.action);
  w.key("Actor");
  w.begin_object();
  w.member("ID", e.id);
  w.key("Attributes");
  w.begin_object();
  w.member("name", e.name);
  if (!e.image.empty()) w.member("image", e.image);
  for (const auto& [key, value] : e.attributes)
    if (key != "name" && key != "image") w.member(key, value);
  w.end_object();
  w.end_object();
  w.member("scope", "local");
  constexpr int64_t kNano = 1'000'000'000;
  int64_t when = engine::parse_rfc3339(e.time).value_or(0);
  w.member_number("time", when / kNano);
  w.member_number("timeNano", when);
  w.end_object();
  return w.take();
}

Result<bool> event_matches(const engine::Event& e, const std::vector<std::string>& filters) {
  // Conditions on one key are alternatives, those on different keys must all hold.
  std::vector<std::pair<std::string, bool>> seen;
  for (const auto& filter : filters) {
    size_t equals = filter.find('=');
    std::string key = filter.substr(0, equals),
                value = equals == std::string::npos ? "" : filter.substr(equals + 1);
    bool hit;
    if (key == "event")
      hit = e.action == value;
    else if (key == "type")
      hit = e.type == value;
    else if (key == "container")
      hit = e.type == "container" && (e.name == value || e.id.starts_with(value));
    else if (key == "image")
      hit = e.image == value || (e.type == "image" && e.id.starts_with(value));
    else if (key == "volume")
      hit = e.type == "volume" && e.id == value;
    else
      return fail(Error::invalid("invalid filter '" + key + "' (event, type, container, image, volume)"));
    auto it = std::find_if(seen.begin(), seen.end(), [&](const auto& s) { return s.first == key; });
    if (it == seen.end())
      seen.push_back({key, hit});
    else
      it->second |= hit;
  }
  return std::all_of(seen.begin(), seen.end(), [](const auto& s) { return s.second; });
}

Result<int> command_events(const Invocation& i) {
  auto engine = TRY(i.engine());
  engine::EventRange range;
  range.follow = true;
  range.since = engine::now_nanoseconds();
  if (auto text = i.args.find("since")) range.since = TRY(engine::parse_moment(*text));
  if (auto text = i.args.find("until")) range.until = TRY(engine::parse_moment(*text));
  auto filters = i.args.all("filter");
  TRY(event_matches({}, filters));
  std::string format = i.args.get("format");
  Result<> outcome;
  TRY_VOID(engine::read_events(engine->paths(), range, [&](const std::string&, const engine::Event& event) {
    auto hit = event_matches(event, filters);
    if (!hit || !*hit) return true;
    outcome = format.empty()     ? print(event_text(event))
              : format == "json" ? print(event_json(event) + "\n")
                                 : print_document(format, {event_json(event)});
    return outcome.has_value();
  }));
  if (!outcome) return fail(std::move(outcome).error());
  return 0;
}

}  // namespace

const std::vector<Command>& query_commands() {
  static const std::vector<Command> kCommands = {
      {"ps, container ls, container ps, container list", "", "List containers", ps_options, 0, 0, false,
       command_ps},
      {"logs, container logs", "CONTAINER", "Fetch the logs of a container", logs_options, 1, 1, false,
       command_logs},
      {"top, container top", "CONTAINER [ps OPTIONS]", "Display the running processes of a container",
       no_options, 1, kAnyWords, true, command_top},
      {"events, system events", "", "Get real time events", events_options, 0, 0, false, command_events}};
  return kCommands;
}

}  // namespace onggi::cli
