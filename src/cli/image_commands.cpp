// images, pull, rmi, tag.
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "cli/command.h"
#include "cli/format.h"
#include "cli/image_worker.h"
#include "cli/prompt.h"
#include "engine/changes.h"
#include "engine/clock.h"
#include "engine/events.h"
#include "image/reference.h"
#include "oci/image_emit.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;
constexpr auto kList = OptionKind::kList;

constexpr const char* kAuthFileHelp =
    "Credentials file (default: ~/.docker/config.json, then podman's auth.json)";
constexpr const char* kCaFileHelp = "Certificate authority of the registry, beside certs.d and the system's";
constexpr const char* kFormHelp =
    "Form of layers on disk: directory, erofs (a tar and its index), auto (default: $ONGGI_STORAGE_FORM, or "
    "directory)";
constexpr const char* kMaxLayerHelp = "Refuse layers that unpack to more than this (default: 128g)";

Result<uint64_t> max_layer_bytes(const Invocation& i) {
  std::string text = i.args.get("max-layer-size");
  if (text.empty()) return 0;
  int64_t bytes = TRY(parse_bytes(text, "--max-layer-size"));
  if (bytes <= 0) return fail(Error::invalid("--max-layer-size: must be more than 0"));
  return static_cast<uint64_t>(bytes);
}

const Options& pull_options() {
  static const Options kOptions = {
      {"all-tags", 'a', kSwitch, "", "Download all tagged images in the repository"},
      {"authfile", 0, kValue, "file", kAuthFileHelp, "", "file"},
      {"cacert", 0, kValue, "file", kCaFileHelp, "", "file"},
      {"max-layer-size", 0, kValue, "bytes", kMaxLayerHelp},
      {"disable-content-trust", 0, kSwitch, "", "Accepted for compatibility: digests are always verified"},
      {"platform", 0, kValue, "string", "Platform of the image (os/arch[/variant])"},
      {"quiet", 'q', kSwitch, "", "Suppress verbose output"},
      {"storage-form", 0, kValue, "string", kFormHelp, "", "directory erofs auto"}};
  return kOptions;
}

Result<int> command_pull(const Invocation& i) {
  auto engine = TRY(i.engine());
  PullOptions options{i.args.get("platform"),    i.args.flag("quiet"), i.args.flag("all-tags"),
                      i.args.get("authfile"),    i.args.get("cacert"), TRY(max_layer_bytes(i)),
                      i.args.get("storage-form")};
  image::Reference name = TRY(options.all_tags ? image::Reference::parse_untagged(i.args.words()[0])
                                               : image::Reference::parse(i.args.words()[0]));
  image::TransferEvent result = TRY(pull_image(*engine, i.args.words()[0], options));
  if (!options.quiet)
    TRY_VOID(print("Digest: " + result.digest + "\nStatus: " +
                   (result.changed ? "Downloaded newer image for " : "Image is up to date for ") +
                   name.familiar() + "\n"));
  TRY_VOID(print(name.canonical() + "\n"));
  return 0;
}

const Options& push_options() {
  static const Options kOptions = {
      {"all-tags", 'a', kSwitch, "", "Push all tags of an image to the repository"},
      {"authfile", 0, kValue, "file", kAuthFileHelp, "", "file"},
      {"cacert", 0, kValue, "file", kCaFileHelp, "", "file"},
      {"disable-content-trust", 0, kSwitch, "", "Accepted for compatibility: nothing is signed"},
      {"platform", 0, kValue, "string", "", "the store keeps one platform of an image"},
      {"quiet", 'q', kSwitch, "", "Suppress verbose output"}};
  return kOptions;
}

Result<int> command_push(const Invocation& i) {
  auto engine = TRY(i.engine());
  image::Reference name = TRY(image::Reference::parse(i.args.words()[0]));
  image::TransferRequest request;
  request.operation = "push";
  request.references = {name.canonical()};
  request.all_tags = i.args.flag("all-tags");
  request.auth_file = i.args.get("authfile");
  request.ca_file = i.args.get("cacert");
  image::TransferEvent result = TRY(transfer(*engine, std::move(request), i.args.flag("quiet")));
  TRY_VOID(
      print(i.args.flag("quiet") ? name.canonical() + "\n" : name.tag + ": digest: " + result.digest + "\n"));
  engine::record_event(engine->paths(), {"image", "push", name.canonical(), name.familiar(), "", {}});
  return 0;
}

const Options& load_options() {
  static const Options kOptions = {
      {"max-layer-size", 0, kValue, "bytes", kMaxLayerHelp},
      {"input", 'i', kValue, "string",
       "Read from a file or oci:DIR, oci-archive:FILE, docker-archive:FILE (default: STDIN)", "", "file"},
      {"platform", 0, kValue, "string", "Load only the given platform variant"},
      {"quiet", 'q', kSwitch, "", "Suppress the load output"},
      {"storage-form", 0, kValue, "string", kFormHelp, "", "directory erofs auto"}};
  return kOptions;
}

Result<int> command_load(const Invocation& i) {
  auto engine = TRY(i.engine());
  image::TransferRequest request;
  request.operation = "load";
  request.path = i.args.get("input", "-");
  request.storage_form = i.args.get("storage-form");
  request.max_layer_bytes = TRY(max_layer_bytes(i));
  request.platform = i.args.get("platform");
  if (request.path == "-" && ::isatty(STDIN_FILENO))
    return fail(
        Error::invalid("requested load from stdin, but stdin is a terminal; give a file with --input"));
  image::TransferEvent result =
      TRY(transfer(*engine, request, i.args.flag("quiet"), request.path == "-" ? STDIN_FILENO : -1));
  std::string text;
  for (const auto& name : result.references) {
    auto ref = image::Reference::parse(name);
    text += "Loaded image: " + (ref ? ref->familiar() : name) + "\n";
  }
  if (result.references.empty())
    for (const auto& id : result.ids) text += "Loaded image ID: " + id + "\n";
  TRY_VOID(print(text));
  return 0;
}

const Options& save_options() {
  static const Options kOptions = {
      {"output", 'o', kValue, "string",
       "Write to a file or oci:DIR, oci-archive:FILE, docker-archive:FILE (default: STDOUT)", "", "file"},
      {"platform", 0, kValue, "string", "", "the store keeps one platform of an image"}};
  return kOptions;
}

Result<int> command_save(const Invocation& i) {
  auto engine = TRY(i.engine());
  image::TransferRequest request;
  request.operation = "save";
  request.references = i.args.words();
  request.path = i.args.get("output", "-");
  if (request.path == "-" && ::isatty(STDOUT_FILENO))
    return fail(Error::invalid("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
  TRY(transfer(*engine, request, true, request.path == "-" ? STDOUT_FILENO : -1));
  return 0;
}

const Options& import_options() {
  static const Options kOptions = {
      {"change", 'c', kList, "list", "Apply a Dockerfile instruction to the created image"},
      {"max-layer-size", 0, kValue, "bytes", kMaxLayerHelp},
      {"message", 'm', kValue, "string", "Set commit message for the imported image"},
      {"platform", 0, kValue, "string", "Platform of the image (os/arch[/variant])"}};
  return kOptions;
}

Result<int> command_import(const Invocation& i) {
  auto engine = TRY(i.engine());
  image::TransferRequest request;
  request.operation = "import";
  request.path = i.args.words()[0];
  request.max_layer_bytes = TRY(max_layer_bytes(i));
  request.message = i.args.get("message");
  request.platform = i.args.get("platform");
  if (i.args.words().size() > 1)
    request.references = {TRY(image::Reference::parse(i.args.words()[1])).canonical()};
  oci::ContainerDefaults defaults;
  for (const auto& change : i.args.all("change")) TRY_VOID(engine::apply_change(change, defaults));
  request.config = oci::emit_container_defaults(defaults);
  image::TransferEvent result =
      TRY(transfer(*engine, request, true, request.path == "-" ? STDIN_FILENO : -1));
  for (const auto& id : result.ids) TRY_VOID(print(id + "\n"));
  return 0;
}

const Options& login_options() {
  static const Options kOptions = {
      {"authfile", 0, kValue, "file", kAuthFileHelp, "", "file"},
      {"cacert", 0, kValue, "file", kCaFileHelp, "", "file"},
      {"password", 'p', kValue, "string", "Password or Personal Access Token (PAT)"},
      {"password-stdin", 0, kSwitch, "", "Take the Password from stdin"},
      {"username", 'u', kValue, "string", "Username"}};
  return kOptions;
}

Result<std::string> ask(const char* what, bool hidden) {
  if (!::isatty(STDIN_FILENO))
    return fail(Error::invalid("cannot ask for the " + std::string(what) +
                               ": STDIN is not a terminal; use --username and --password-stdin"));
  print_prompt(std::string(what) + ": ");
  return read_answer(hidden);
}

Result<int> command_login(const Invocation& i) {
  auto engine = TRY(i.engine());
  image::TransferRequest request;
  request.operation = "login";
  std::string registry = i.args.words().empty() ? std::string(image::kDefaultRegistry) : i.args.words()[0];
  request.references = {registry};
  request.auth_file = i.args.get("authfile");
  request.ca_file = i.args.get("cacert");
  request.username = i.args.get("username");
  request.password = i.args.get("password");
  if (i.args.flag("password-stdin"))
    request.password = trim(TRY(read_fd(STDIN_FILENO, "standard input", 65536)));
  if (request.username.empty()) request.username = TRY(ask("Username", false));
  if (request.password.empty()) request.password = TRY(ask("Password", true));
  TRY(transfer(*engine, std::move(request), true));
  TRY_VOID(print("Login Succeeded\n"));
  return 0;
}

Result<int> command_logout(const Invocation& i) {
  auto engine = TRY(i.engine());
  image::TransferRequest request;
  request.operation = "logout";
  request.references = {i.args.words().empty() ? std::string(image::kDefaultRegistry) : i.args.words()[0]};
  TRY(transfer(*engine, request, true));
  TRY_VOID(print("Removing login credentials for " + request.references[0] + "\n"));
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
      {"push, image push", "NAME[:TAG]", "Upload an image to a registry", push_options, 1, 1, false,
       command_push},
      {"load, image load", "", "Load images from a tar archive, an OCI layout or STDIN", load_options, 0, 0,
       false, command_load},
      {"save, image save", "IMAGE [IMAGE...]", "Save images to a tar archive or an OCI layout", save_options,
       1, kAnyWords, false, command_save},
      {"import, image import", "file|- [REPOSITORY[:TAG]]", "Import a root file system's tarball as an image",
       import_options, 1, 2, false, command_import},
      {"login", "[SERVER]", "Authenticate to a registry", login_options, 0, 1, false, command_login},
      {"logout", "[SERVER]", "Log out from a registry", no_options, 0, 1, false, command_logout},
      {"images, image ls, image list", "[REPOSITORY[:TAG]]", "List images", images_options, 0, 1, false,
       command_images},
      {"rmi, image rm, image remove", "IMAGE [IMAGE...]", "Remove images", rmi_options, 1, kAnyWords, false,
       command_rmi},
      {"tag, image tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Create a tag that refers to an image",
       no_options, 2, 2, false, command_tag}};
  return kCommands;
}

}  // namespace onggi::cli
