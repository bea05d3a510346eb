// volume create, ls, inspect, rm, prune.
#include <algorithm>

#include "cli/command.h"
#include "cli/format.h"
#include "cli/inspect_document.h"
#include "engine/volumes.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;
constexpr auto kList = OptionKind::kList;

const Options& create_volume_options() {
  static const Options kOptions = {
      {"driver", 'd', kValue, "string", "Specify volume driver name (local)"},
      {"label", 0, kList, "list", "Set metadata for a volume"},
      {"name", 0, kValue, "string", "Specify volume name"},
      {"opt", 'o', kList, "map", "Set driver specific options (size=BYTES: a bound, like size=1g)"}};
  return kOptions;
}

oci::StringMap pairs(const std::vector<std::string>& texts) {
  oci::StringMap map;
  for (const auto& text : texts) {
    size_t equals = text.find('=');
    map.push_back({text.substr(0, equals), equals == std::string::npos ? "" : text.substr(equals + 1)});
  }
  return map;
}

Result<int> command_volume_create(const Invocation& i) {
  auto engine = TRY(i.engine());
  engine::Volume volume;
  volume.name = i.args.words().empty() ? i.args.get("name") : i.args.words()[0];
  volume.driver = i.args.get("driver", "local");
  volume.labels = pairs(i.args.all("label"));
  volume.options = pairs(i.args.all("opt"));
  TRY_VOID(print(TRY(engine::create_volume(*engine, std::move(volume))).name + "\n"));
  return 0;
}

Row volume_row(engine::Engine& engine, const engine::Volume& v) {
  std::string labels;
  for (const auto& [key, value] : v.labels) labels += (labels.empty() ? "" : ",") + key + "=" + value;
  return {{"Driver", v.driver}, {"Name", v.name},   {"Mountpoint", engine::volume_place(engine, v)},
          {"Scope", "local"},   {"Labels", labels}, {"CreatedAt", v.created}};
}

}  // namespace

std::string volume_document(engine::Engine& engine, const engine::Volume& v) {
  JsonWriter w("    ");
  w.begin_object();
  w.member("CreatedAt", v.created);
  w.member("Driver", v.driver);
  w.key("Labels");
  json_write(w, v.labels);
  w.member("Mountpoint", engine::volume_place(engine, v));
  w.member("Name", v.name);
  w.key("Options");
  json_write(w, v.options);
  w.member("Scope", "local");
  if (int64_t bytes = engine::volume_bound(v).value_or(0)) {
    w.key("Status");
    w.begin_object();
    w.member("Form", "ext4 in a file");
    w.member_number("Bound", bytes);
    w.member_number("OnDisk", static_cast<int64_t>(engine::volume_usage(engine, v)));
    w.end_object();
  }
  w.end_object();
  return w.take();
}

namespace {

const Options& list_volume_options() {
  static const Options kOptions = {
      {"filter", 'f', kList, "filter", "Provide filter values (e.g. \"dangling=true\")"},
      {"format", 0, kValue, "string", "Format output: table, json, or TEMPLATE (Go template)"},
      {"quiet", 'q', kSwitch, "", "Only display volume names"}};
  return kOptions;
}

Result<bool> volume_matches(engine::Engine& engine, const engine::Volume& v, const std::string& filter) {
  size_t equals = filter.find('=');
  std::string key = filter.substr(0, equals),
              value = equals == std::string::npos ? "" : filter.substr(equals + 1);
  if (key == "name") return v.name.find(value) != std::string::npos;
  if (key == "driver") return v.driver == value;
  if (key == "dangling")
    return TRY(engine::volume_users(engine, v.name)).empty() == (value == "true" || value == "1");
  if (key != "label")
    return fail(Error::invalid("invalid filter '" + key + "' (name, driver, dangling, label)"));
  size_t inner = value.find('=');
  return std::any_of(v.labels.begin(), v.labels.end(), [&](const auto& l) {
    return l.first == value.substr(0, inner) &&
           (inner == std::string::npos || l.second == value.substr(inner + 1));
  });
}

Result<int> command_volume_ls(const Invocation& i) {
  auto engine = TRY(i.engine());
  std::vector<Row> rows;
  std::string names;
  for (const auto& v : TRY(engine::list_volumes(*engine))) {
    bool wanted = true;
    for (const auto& filter : i.args.all("filter")) wanted &= TRY(volume_matches(*engine, v, filter));
    if (!wanted) continue;
    names += v.name + "\n";
    rows.push_back(volume_row(*engine, v));
  }
  TRY_VOID(i.args.flag("quiet")
               ? print(names)
               : print_rows(i.args.get("format"), {{"DRIVER", "Driver"}, {"VOLUME NAME", "Name"}}, rows));
  return 0;
}

const Options& format_options() {
  static const Options kOptions = {
      {"format", 'f', kValue, "string", "Format output using a custom template (json, or Go template)"}};
  return kOptions;
}

Result<int> command_volume_inspect(const Invocation& i) {
  auto engine = TRY(i.engine());
  std::vector<std::string> documents;
  int code = TRY(for_each_word(i, [&](const std::string& name) -> Result<> {
    documents.push_back(volume_document(*engine, TRY(engine::find_volume(*engine, name))));
    return {};
  }));
  TRY_VOID(print_document(i.args.get("format"), documents));
  return code;
}

const Options& remove_volume_options() {
  static const Options kOptions = {
      {"force", 'f', kSwitch, "", "Do not complain about volumes that are not there"}};
  return kOptions;
}

Result<int> command_volume_rm(const Invocation& i) {
  auto engine = TRY(i.engine());
  bool force = i.args.flag("force");
  return for_each_word(i, [&](const std::string& name) -> Result<> {
    auto r = engine::remove_volume(*engine, name);
    if (!r && force && r.error().kind() == ErrorKind::kNotFound) return {};
    TRY_VOID(r);
    return print(name + "\n");
  });
}

const Options& prune_volume_options() {
  static const Options kOptions = {
      {"all", 'a', kSwitch, "", "Remove all unused volumes, not just anonymous ones"},
      {"filter", 0, kList, "filter", "Provide filter values (e.g. \"label=<label>\")"},
      {"force", 'f', kSwitch, "", "Do not prompt for confirmation"}};
  return kOptions;
}

Result<int> command_volume_prune(const Invocation& i) {
  auto engine = TRY(i.engine());
  if (!TRY(confirm(i, "This will remove " + std::string(i.args.flag("all") ? "all" : "anonymous local") +
                          " volumes not used by at least one container.")))
    return 0;
  std::string removed;
  for (const auto& v : TRY(engine::list_volumes(*engine))) {
    bool wanted = (i.args.flag("all") || v.anonymous) && TRY(engine::volume_users(*engine, v.name)).empty();
    for (const auto& filter : i.args.all("filter"))
      wanted = wanted && TRY(volume_matches(*engine, v, filter));
    if (!wanted) continue;
    TRY_VOID(engine::remove_volume(*engine, v.name));
    removed += v.name + "\n";
  }
  TRY_VOID(print(removed.empty() ? "" : "Deleted Volumes:\n" + removed));
  return 0;
}

}  // namespace

const std::vector<Command>& volume_commands() {
  static const std::vector<Command> kCommands = {
      {"volume create", "[VOLUME]", "Create a volume", create_volume_options, 0, 1, false,
       command_volume_create},
      {"volume ls, volume list", "", "List volumes", list_volume_options, 0, 0, false, command_volume_ls},
      {"volume inspect", "VOLUME [VOLUME...]", "Display detailed information on volumes", format_options, 1,
       kAnyWords, false, command_volume_inspect},
      {"volume rm, volume remove", "VOLUME [VOLUME...]", "Remove volumes", remove_volume_options, 1,
       kAnyWords, false, command_volume_rm},
      {"volume prune", "", "Remove unused local volumes", prune_volume_options, 0, 0, false,
       command_volume_prune}};
  return kCommands;
}

}  // namespace onggi::cli
