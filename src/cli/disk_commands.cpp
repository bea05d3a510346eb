// info, system df, system prune, image prune, image history: what is here and what could go.
#include <fts.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "cli/command.h"
#include "cli/format.h"
#include "engine/clock.h"
#include "engine/lifecycle.h"
#include "engine/listing.h"
#include "engine/networks.h"
#include "engine/slice.h"
#include "engine/volumes.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;
constexpr auto kList = OptionKind::kList;
constexpr int64_t kNano = 1'000'000'000;

// Allocated bytes below `path`; links are counted once for each name.
uint64_t tree_bytes(std::string path) {
  char* const roots[] = {path.data(), nullptr};
  FTS* tree = ::fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, nullptr);
  if (!tree) return 0;
  constexpr uint64_t kBlock = 512;
  uint64_t bytes = 0;
  while (FTSENT* entry = ::fts_read(tree))
    if (entry->fts_info == FTS_F) bytes += static_cast<uint64_t>(entry->fts_statp->st_blocks) * kBlock;
  ::fts_close(tree);
  return bytes;
}

uint64_t volume_bytes(const engine::Engine& engine, const engine::Volume& v) {
  uint64_t disk = engine::volume_usage(engine, v);
  return disk ? disk : tree_bytes(engine::volume_data(engine, v.name));
}

// --- info ---

const Options& info_options() {
  static const Options kOptions = {{"format", 'f', kValue, "string", "Format output (json, or Go template)"}};
  return kOptions;
}

struct Counts {
  size_t containers = 0, running = 0, paused = 0, stopped = 0, images = 0;
};

Result<Counts> count(engine::Engine& engine) {
  Counts n;
  for (const auto& c : TRY(engine::list_containers(engine, {.all = true, .filters = {}}))) {
    n.containers++;
    n.running += c.state == "running" || c.state == "restarting";
    n.paused += c.state == "paused";
    n.stopped += c.state == "exited" || c.state == "created";
  }
  n.images = TRY(TRY(engine.images())->list()).size();
  return n;
}

std::string os_name() {
  auto text = read_file("/etc/os-release", 65536);
  size_t at = text ? text->find("PRETTY_NAME=\"") : std::string::npos;
  if (at == std::string::npos) return "Linux";
  at += 13;
  return text->substr(at, text->find('"', at) - at);
}

std::vector<std::string> warnings_of(engine::Engine& engine) {
  std::vector<std::string> list;
  const engine::HostFacts& host = engine.host();
  if (!host.cgroups)
    list.emplace_back("no cgroups for this user: limits of memory, CPU and processes are not applied");
  if (!host.cgroup_v2) list.emplace_back("cgroup v1: no oom.group and no pressure figures");
  if (!host.rootless && ::access("/dev/loop-control", R_OK) != 0)
    list.emplace_back("no loop devices: writable layers have no bound");
  if (host.cgroups && !host.rootless && !engine::slice_limit(engine))
    list.emplace_back("no common memory limit for all containers (it is set at the first start)");
  return list;
}

std::string info_json(engine::Engine& engine, const Counts& n) {
  utsname host;
  ::uname(&host);
  JsonWriter w("    ");
  w.begin_object();
  w.member_number("Containers", static_cast<int64_t>(n.containers));
  w.member_number("ContainersRunning", static_cast<int64_t>(n.running));
  w.member_number("ContainersPaused", static_cast<int64_t>(n.paused));
  w.member_number("ContainersStopped", static_cast<int64_t>(n.stopped));
  w.member_number("Images", static_cast<int64_t>(n.images));
  w.member("Driver", "overlay");
  w.member("LoggingDriver", "json-file");
  w.member("CgroupDriver", !engine.host().cgroups ? "none" : engine.host().systemd ? "systemd" : "cgroupfs");
  w.member("CgroupVersion", engine.host().cgroup_v2 ? "2" : "1");
  w.member("KernelVersion", host.release);
  w.member("OperatingSystem", os_name());
  w.member("OSType", "linux");
  w.member("Architecture", host.machine);
  w.member_number("NCPU", ::sysconf(_SC_NPROCESSORS_ONLN));
  w.member_number("MemTotal", static_cast<int64_t>(engine.host().memory_total));
  w.member("Name", host.nodename);
  w.member("ServerVersion", ONGGI_VERSION);
  w.member("DefaultRuntime", "onggi-runtime");
  w.member("Runtime", engine.paths().runtime);
  w.member("OnggiRootDir", engine.paths().root);
  w.member("OnggiRunDir", engine.paths().run);
  w.member_bool("Rootless", engine.paths().rootless);
  w.member_strings("SecurityOptions",
                   {"name=userns", "name=seccomp,profile=onggi", "name=cgroupns", "name=no-new-privileges"});
  w.member_strings("Warnings", warnings_of(engine));
  w.end_object();
  return w.take();
}

Result<int> command_info(const Invocation& i) {
  auto engine = TRY(i.engine());
  Counts n = TRY(count(*engine));
  std::string json = info_json(*engine, n), format = i.args.get("format");
  if (!format.empty()) {
    TRY_VOID(print_document(format, {json}));
    return 0;
  }
  auto document = TRY(JsonDocument::parse(json, "info"));
  std::string text;
  for (size_t m = 0; m < document.root().size(); m++) {
    JsonValue value = document.root().member(m);
    std::string name(document.root().member_name(m));
    if (name == "MemTotal")
      text += " MemTotal: " + human_binary(engine->host().memory_total) + "\n";
    else if (value.kind() == JsonValue::Kind::kString)
      text += " " + name + ": " + std::string(value.string()) + "\n";
    else if (value.kind() == JsonValue::Kind::kNumber)
      text += " " + name + ": " + std::to_string(value.as_int64().value_or(0)) + "\n";
    else if (value.kind() == JsonValue::Kind::kBool)
      text += " " + name + ": " + (value.boolean() ? "true" : "false") + "\n";
    else
      for (size_t k = 0; k < value.size(); k++)
        text += (name == "Warnings" ? "WARNING: " : " " + name + ": ") +
                std::string(value.element(k).string()) + "\n";
  }
  TRY_VOID(print(text));
  return 0;
}

// --- system df ---

const Options& df_options() {
  static const Options kOptions = {
      {"format", 0, kValue, "string", "Format output: table, json, or TEMPLATE (Go template)"},
      {"verbose", 'v', kSwitch, "", "Show detailed information on space usage"}};
  return kOptions;
}

struct Space {
  size_t total = 0, active = 0;
  uint64_t bytes = 0, reclaimable = 0;
};

Row space_row(const char* type, const Space& s) {
  std::string free = human_size(s.reclaimable);
  if (s.bytes) free += " (" + std::to_string(s.reclaimable * 100 / s.bytes) + "%)";
  return {{"Type", type},
          {"TotalCount", std::to_string(s.total)},
          {"Active", std::to_string(s.active)},
          {"Size", human_size(s.bytes)},
          {"Reclaimable", free}};
}

Result<int> command_df(const Invocation& i) {
  auto engine = TRY(i.engine());
  bool verbose = i.args.flag("verbose");
  if (verbose && i.args.has("format"))
    return fail(Error::invalid("--verbose and --format do not go together"));
  auto usage = TRY(TRY(engine->images())->usage());
  Space images{usage.images, usage.images_held, usage.layer_bytes + usage.blob_bytes, usage.reclaimable};
  Space containers, volumes;
  std::vector<std::vector<std::string>> container_cells, volume_cells;
  for (const auto& c : TRY(engine::list_containers(*engine, {.all = true, .filters = {}}))) {
    uint64_t bytes = engine::writable_size(*engine, c.id).value_or(0);
    bool active = c.state == "running" || c.state == "paused" || c.state == "restarting";
    containers.total++;
    containers.active += active;
    containers.bytes += bytes;
    if (!active) containers.reclaimable += bytes;
    container_cells.push_back({c.id.substr(0, 12), c.image, std::to_string(c.local_volumes),
                               human_size(bytes), c.age + " ago", c.status, c.name});
  }
  for (const auto& v : TRY(engine::list_volumes(*engine))) {
    uint64_t bytes = volume_bytes(*engine, v);
    size_t users = TRY(engine::volume_users(*engine, v.name)).size();
    volumes.total++;
    volumes.active += users > 0;
    volumes.bytes += bytes;
    if (!users) volumes.reclaimable += bytes;
    volume_cells.push_back({v.name, std::to_string(users), human_size(bytes)});
  }
  if (!verbose) {
    TRY_VOID(print_rows(i.args.get("format"),
                        {{"TYPE", "Type"},
                         {"TOTAL", "TotalCount"},
                         {"ACTIVE", "Active"},
                         {"SIZE", "Size"},
                         {"RECLAIMABLE", "Reclaimable"}},
                        {space_row("Images", images), space_row("Containers", containers),
                         space_row("Local Volumes", volumes)}));
    return 0;
  }
  std::vector<std::vector<std::string>> image_cells;
  for (const auto& s : TRY(TRY(engine->images())->list()))
    image_cells.push_back(
        {s.names.empty() ? "<none>"
                         : image::Reference::parse(s.names[0]).value_or(image::Reference{}).familiar(),
         std::string(s.id.hex().substr(0, 12)), human_size(s.size), std::to_string(s.holders)});
  TRY_VOID(
      print("Images space usage:\n\n" + table_text({"IMAGE", "IMAGE ID", "SIZE", "CONTAINERS"}, image_cells) +
            "\nContainers space usage:\n\n" +
            table_text({"CONTAINER ID", "IMAGE", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"},
                       container_cells) +
            "\nLocal Volumes space usage:\n\n" + table_text({"VOLUME NAME", "LINKS", "SIZE"}, volume_cells)));
  return 0;
}

// --- prune ---

const Options& image_prune_options() {
  static const Options kOptions = {
      {"all", 'a', kSwitch, "", "Remove all unused images, not just dangling ones"},
      {"filter", 0, kList, "filter",
       "Provide filter values (e.g. \"until=<timestamp>\", \"label=<key>[=<value>]\")"},
      {"force", 'f', kSwitch, "", "Do not prompt for confirmation"}};
  return kOptions;
}
const Options& system_prune_options() {
  static const Options kOptions = [] {
    Options all = image_prune_options();
    all.push_back({"volumes", 0, kSwitch, "", "Prune anonymous volumes"});
    return all;
  }();
  return kOptions;
}

struct PruneFilter {
  int64_t until = 0;                                 // nanoseconds since the epoch; 0: any age
  std::vector<std::pair<std::string, bool>> labels;  // "key[=value]", wanted or not
};

Result<PruneFilter> prune_filter(const Args& args) {
  PruneFilter f;
  for (const auto& text : args.all("filter")) {
    if (text.starts_with("until="))
      f.until = TRY(engine::parse_moment(text.substr(6)));
    else if (text.starts_with("label!="))
      f.labels.push_back({text.substr(7), false});
    else if (text.starts_with("label="))
      f.labels.push_back({text.substr(6), true});
    else
      return fail(Error::invalid("invalid filter '" + text +
                                 "' (until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE])"));
  }
  return f;
}

bool labels_match(const PruneFilter& f, const oci::StringMap& labels) {
  return std::all_of(f.labels.begin(), f.labels.end(), [&](const auto& wanted) {
    size_t equals = wanted.first.find('=');
    bool there = std::any_of(labels.begin(), labels.end(), [&](const auto& l) {
      return l.first == wanted.first.substr(0, equals) &&
             (equals == std::string::npos || l.second == wanted.first.substr(equals + 1));
    });
    return there == wanted.second;
  });
}

// What went, as text to print, and the bytes.
struct Pruned {
  std::string text;
  uint64_t bytes = 0;
};

Result<> prune_images(engine::Engine& engine, bool all, const PruneFilter& f, Pruned& out) {
  image::PrunePolicy policy;
  policy.all = all;
  policy.created_before = f.until / kNano;
  if (!f.labels.empty())
    policy.filter = [&f](const image::ImageRecord& r) { return labels_match(f, r.config.config.labels); };
  image::Removed removed = TRY(TRY(engine.images())->prune(policy));
  if (removed.deleted.empty() && removed.untagged.empty()) return {};
  out.text += "Deleted Images:\n";
  for (const auto& name : removed.untagged) out.text += "untagged: " + name + "\n";
  for (const auto& digest : removed.deleted) out.text += "deleted: " + digest.text() + "\n";
  out.text += "\n";
  out.bytes += removed.freed;
  return {};
}

Result<> prune_containers(engine::Engine& engine, const PruneFilter& f, Pruned& out) {
  std::string text;
  for (const auto& id : TRY(engine.containers().ids())) {
    auto dir = engine.containers().open(id);
    if (!dir) continue;
    auto state = dir->state();
    auto config = dir->config();
    if (!state || !config || (state->status != "exited" && state->status != "created")) continue;
    if (!labels_match(f, config->labels)) continue;
    if (f.until && engine::parse_rfc3339(config->created).value_or(f.until) >= f.until) continue;
    uint64_t bytes = engine::writable_size(engine, id).value_or(0);
    if (!engine::remove_container(engine, id, {.force = false, .volumes = false})) continue;
    text += id + "\n";
    out.bytes += bytes;
  }
  if (!text.empty()) out.text += "Deleted Containers:\n" + text + "\n";
  return {};
}

Result<> prune_volumes(engine::Engine& engine, const PruneFilter& f, Pruned& out) {
  std::string text;
  for (const auto& v : TRY(engine::list_volumes(engine))) {
    if (!v.anonymous || !labels_match(f, v.labels) || !TRY(engine::volume_users(engine, v.name)).empty())
      continue;
    uint64_t bytes = volume_bytes(engine, v);
    if (!engine::remove_volume(engine, v.name)) continue;  // taken meanwhile
    text += v.name + "\n";
    out.bytes += bytes;
  }
  if (!text.empty()) out.text += "Deleted Volumes:\n" + text + "\n";
  return {};
}

Result<int> finish(engine::Engine& engine, const Pruned& out) {
  engine.sweep_in_background();
  TRY_VOID(print(out.text + "Total reclaimed space: " + human_size(out.bytes) + "\n"));
  return 0;
}

Result<int> command_image_prune(const Invocation& i) {
  PruneFilter filter = TRY(prune_filter(i.args));
  auto engine = TRY(i.engine());
  bool all = i.args.flag("all");
  if (!TRY(confirm(i, all ? "This will remove all images without at least one container associated to them."
                          : "This will remove all dangling images.")))
    return 0;
  Pruned out;
  TRY_VOID(prune_images(*engine, all, filter, out));
  return finish(*engine, out);
}

Result<int> command_system_prune(const Invocation& i) {
  PruneFilter filter = TRY(prune_filter(i.args));
  bool all = i.args.flag("all"), volumes = i.args.flag("volumes");
  if (volumes && filter.until)
    return fail(Error::invalid("the \"until\" filter is not supported with \"--volumes\""));
  auto engine = TRY(i.engine());
  std::string what = std::string(
                         "This will remove:\n  - all stopped containers\n  - all networks not used by at "
                         "least one container\n") +
                     (volumes ? "  - all anonymous volumes not used by at least one container\n" : "") +
                     (all ? "  - all images without at least one container associated to them\n"
                          : "  - all dangling images\n");
  if (!TRY(confirm(i, what))) return 0;
  Pruned out;
  TRY_VOID(prune_containers(*engine, filter, out));
  // The images' filters, as far as they are about networks, too.
  std::string networks;
  for (const auto& name : TRY(engine::prune_networks(*engine, i.args.all("filter")))) networks += name + "\n";
  if (!networks.empty()) out.text += "Deleted Networks:\n" + networks + "\n";
  if (volumes) TRY_VOID(prune_volumes(*engine, filter, out));
  TRY_VOID(prune_images(*engine, all, filter, out));
  return finish(*engine, out);
}

// --- history ---

const Options& history_options() {
  static const Options kOptions = {
      {"format", 0, kValue, "string", "Format output: table, json, or TEMPLATE (Go template)"},
      {"human", 'H', kSwitch, "", "Print sizes and dates in human readable format (default true)"},
      {"no-trunc", 0, kSwitch, "", "Don't truncate output"},
      {"quiet", 'q', kSwitch, "", "Only show image IDs"}};
  return kOptions;
}

Result<int> command_history(const Invocation& i) {
  auto engine = TRY(i.engine());
  image::Store* store = TRY(engine->images());
  auto image = TRY(store->resolve(i.args.words()[0]));
  bool whole = i.args.flag("no-trunc"), human = i.args.flag("human", true);
  std::vector<Row> rows;
  size_t layer = 0;
  const auto& ids = image.config.rootfs.diff_ids;
  for (const auto& h : image.config.history) {
    uint64_t bytes = 0;
    if (!h.empty_layer && layer < ids.size())
      if (auto info = TRY(store->layer(ids[layer++]))) bytes = info->size;
    auto when = engine::parse_rfc3339(h.created);
    constexpr size_t kShown = 45;
    std::string by =
        whole || h.created_by.size() <= kShown ? h.created_by : h.created_by.substr(0, kShown - 1) + "…";
    std::string age = when ? engine::human_duration(engine::now_nanoseconds() - *when) + " ago" : "N/A";
    rows.push_back({{"ID", "<missing>"},
                    {"CreatedSince", human ? age : h.created},
                    {"CreatedAt", h.created},
                    {"CreatedBy", by},
                    {"Size", human ? human_size(bytes) : std::to_string(bytes)},
                    {"Comment", h.comment}});
  }
  std::reverse(rows.begin(), rows.end());
  std::string id = whole ? image.id.text() : std::string(image.id.hex().substr(0, 12));
  if (!rows.empty()) rows[0][0].second = id;
  if (i.args.flag("quiet")) {
    std::string text;
    for (const auto& row : rows) text += row[0].second + "\n";
    TRY_VOID(print(text));
    return 0;
  }
  TRY_VOID(print_rows(i.args.get("format"),
                      {{"IMAGE", "ID"},
                       {"CREATED", "CreatedSince"},
                       {"CREATED BY", "CreatedBy"},
                       {"SIZE", "Size"},
                       {"COMMENT", "Comment"}},
                      rows));
  return 0;
}

}  // namespace

const std::vector<Command>& disk_commands() {
  static const std::vector<Command> kCommands = {
      {"info, system info", "", "Display system-wide information", info_options, 0, 0, false, command_info},
      {"system df", "", "Show disk usage", df_options, 0, 0, false, command_df},
      {"system prune", "", "Remove unused data", system_prune_options, 0, 0, false, command_system_prune},
      {"image prune", "", "Remove unused images", image_prune_options, 0, 0, false, command_image_prune},
      {"history, image history", "IMAGE", "Show the history of an image", history_options, 1, 1, false,
       command_history}};
  return kCommands;
}

}  // namespace onggi::cli
