// images, pull, rmi, tag.
#include <algorithm>

#include "cli/command.h"
#include "cli/format.h"
#include "cli/image_worker.h"
#include "engine/clock.h"
#include "image/reference.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;
constexpr auto kList = OptionKind::kList;

const Options& pull_options() {
  static const Options kOptions = {
      {"all-tags", 'a', kSwitch, "", "", "pull the tags one by one"},
      {"disable-content-trust", 0, kSwitch, "", "Accepted for compatibility: digests are always verified"},
      {"platform", 0, kValue, "string", "Platform of the image (os/arch[/variant])"},
      {"quiet", 'q', kSwitch, "", "Suppress verbose output"}};
  return kOptions;
}

Result<int> command_pull(const Invocation& i) {
  auto engine = TRY(i.engine());
  const std::string& name = i.args.words()[0];
  TRY_VOID(pull_image(*engine, name, {i.args.get("platform"), i.args.flag("quiet")}));
  TRY_VOID(print(TRY(image::Reference::parse(name)).canonical() + "\n"));
  return 0;
}

const Options& images_options() {
  static const Options kOptions = {
      {"all", 'a', kSwitch, "", "Show all images (there are no hidden ones)"},
      {"digests", 0, kSwitch, "", "Show digests"},
      {"filter", 'f', kList, "filter", "Filter output based on conditions provided"},
      {"format", 0, kValue, "string", "Format output: table, json, or TEMPLATE (Go template)"},
      {"no-trunc", 0, kSwitch, "", "Don't truncate output"},
      {"quiet", 'q', kSwitch, "", "Only show image IDs"},
      {"tree", 0, kSwitch, "", "", "images of several platforms are listed one by one"}};
  return kOptions;
}

Row image_row(const image::ImageSummary& s, const std::string& repository, const std::string& tag,
              const std::string& digest, bool whole) {
  std::string id = whole ? s.id.text() : std::string(s.id.hex().substr(0, 12));
  int64_t created = s.created * 1'000'000'000;
  return {{"Repository", repository},
          {"Tag", tag},
          {"Digest", digest},
          {"ID", id},
          {"CreatedSince",
           s.created ? engine::human_duration(engine::now_nanoseconds() - created) + " ago" : "N/A"},
          {"CreatedAt", s.created ? engine::rfc3339(created) : "N/A"},
          {"Size", human_size(s.size)},
          {"Containers", std::to_string(s.holders)},
          {"SharedSize", "N/A"},
          {"UniqueSize", "N/A"},
          {"VirtualSize", human_size(s.size)}};
}

// docker's familiar spelling: "nginx" and "1.25".
std::pair<std::string, std::string> split_name(const std::string& canonical) {
  auto ref = image::Reference::parse(canonical);
  if (!ref) return {canonical, "<none>"};
  return {ref->familiar_name(), ref->tag.empty() ? "<none>" : ref->tag};
}

void add_rows(std::vector<Row>& rows, const image::ImageSummary& s, const std::string& wanted, bool whole) {
  std::string digest = s.digests.empty() ? "<none>" : s.digests[0].substr(s.digests[0].rfind('@') + 1);
  if (s.names.empty() && wanted.empty())
    rows.push_back(
        image_row(s, s.digests.empty() ? "<none>" : split_name(s.digests[0]).first, "<none>", digest, whole));
  for (const auto& name : s.names) {
    auto [repository, tag] = split_name(name);
    if (wanted.empty() || wanted == repository || wanted == repository + ":" + tag)
      rows.push_back(image_row(s, repository, tag, digest, whole));
  }
}

Result<bool> image_matches(engine::Engine& engine, const image::ImageSummary& s, const std::string& filter) {
  size_t equals = filter.find('=');
  std::string key = filter.substr(0, equals),
              value = equals == std::string::npos ? "" : filter.substr(equals + 1);
  if (key == "dangling") return s.names.empty() == (value == "true" || value == "1");
  if (key == "reference")
    return std::any_of(s.names.begin(), s.names.end(), [&](const auto& n) {
      auto [repository, tag] = split_name(n);
      return repository == value || repository + ":" + tag == value;
    });
  if (key == "before" || key == "since") {
    int64_t other = TRY(TRY(engine.images())->resolve(value)).created;
    return key == "before" ? s.created < other : s.created > other;
  }
  if (key != "label")
    return fail(Error::invalid("invalid filter '" + key + "' (dangling, reference, before, since, label)"));
  auto record = TRY(TRY(engine.images())->resolve(s.id.text()));
  size_t inner = value.find('=');
  return std::any_of(record.config.config.labels.begin(), record.config.config.labels.end(),
                     [&](const auto& l) {
                       return l.first == value.substr(0, inner) &&
                              (inner == std::string::npos || l.second == value.substr(inner + 1));
                     });
}

Result<int> command_images(const Invocation& i) {
  auto engine = TRY(i.engine());
  bool whole = i.args.flag("no-trunc");
  auto list = TRY(TRY(engine->images())->list());
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.created > b.created; });
  std::vector<Row> rows;
  std::string wanted = i.args.words().empty() ? "" : i.args.words()[0];
  for (const auto& s : list) {
    bool hit = true;
    for (const auto& filter : i.args.all("filter")) hit = hit && TRY(image_matches(*engine, s, filter));
    if (hit) add_rows(rows, s, wanted, whole);
  }
  if (i.args.flag("quiet")) {
    std::string text, last;
    for (const auto& row : rows)
      for (const auto& [name, value] : row)
        if (name == "ID" && value != last) text += (last = value) + "\n";
    TRY_VOID(print(text));
    return 0;
  }
  std::vector<Column> columns = {{"REPOSITORY", "Repository"}, {"TAG", "Tag"}};
  if (i.args.flag("digests")) columns.push_back({"DIGEST", "Digest"});
  for (const Column& c : {Column{"IMAGE ID", "ID"}, {"CREATED", "CreatedSince"}, {"SIZE", "Size"}})
    columns.push_back(c);
  TRY_VOID(print_rows(i.args.get("format"), columns, rows));
  return 0;
}

const Options& rmi_options() {
  static const Options kOptions = {
      {"force", 'f', kSwitch, "", "Force removal of the image"},
      {"no-prune", 0, kSwitch, "", "", "layers are kept by reference: there are no parents to keep"}};
  return kOptions;
}

Result<int> command_rmi(const Invocation& i) {
  auto engine = TRY(i.engine());
  image::Store* store = TRY(engine->images());
  int code = TRY(for_each_word(i, [&](const std::string& word) -> Result<> {
    image::Removed removed = TRY(store->remove(word, i.args.flag("force")));
    std::string text;
    for (const auto& name : removed.untagged) text += "Untagged: " + name + "\n";
    for (const auto& digest : removed.deleted) text += "Deleted: " + digest.text() + "\n";
    return print(text);
  }));
  engine->sweep_in_background();
  return code;
}

Result<int> command_tag(const Invocation& i) {
  auto engine = TRY(i.engine());
  TRY_VOID(TRY(engine->images())->tag(i.args.words()[0], TRY(image::Reference::parse(i.args.words()[1]))));
  return 0;
}

}  // namespace

const std::vector<Command>& image_commands() {
  static const std::vector<Command> kCommands = {
      {"pull, image pull", "NAME[:TAG|@DIGEST]", "Download an image from a registry", pull_options, 1, 1,
       false, command_pull},
      {"images, image ls, image list", "[REPOSITORY[:TAG]]", "List images", images_options, 0, 1, false,
       command_images},
      {"rmi, image rm, image remove", "IMAGE [IMAGE...]", "Remove images", rmi_options, 1, kAnyWords, false,
       command_rmi},
      {"tag, image tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Create a tag that refers to an image",
       no_options, 2, 2, false, command_tag}};
  return kCommands;
}

}  // namespace onggi::cli
