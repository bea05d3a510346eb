// inspect, container inspect, image inspect, volume inspect (the document is volume_commands.cpp's).
#include <unistd.h>

#include "cli/command.h"
#include "cli/format.h"
#include "cli/inspect_document.h"
#include "cli/isolation.h"
#include "engine/volumes.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;

const Options& inspect_options() {
  static const Options kOptions = {
      {"format", 'f', kValue, "string", "Format output using a custom template (json, or Go template)"},
      {"isolation", 0, kSwitch, "", "What confines a running container, row by row, as the kernel tells"},
      {"size", 's', kSwitch, "", "Display total file sizes if the type is container"},
      {"type", 0, kValue, "string", "Return JSON for the specified type", "",
       "container image network volume"}};
  return kOptions;
}
const Options& plain_inspect_options() {
  static const Options kOptions = {inspect_options()[0]};
  return kOptions;
}
const Options& container_inspect_options() {
  static const Options kOptions = {inspect_options()[0], inspect_options()[1], inspect_options()[2]};
  return kOptions;
}

// kNotFound lets the next type have a try; any other error is the answer.
Result<std::string> document_of(engine::Engine& engine, const std::string& type, const std::string& word,
                                bool size) {
  if (type.empty() || type == "container") {
    auto id = engine.containers().resolve(word);
    if (id) return container_document(engine, *id, size);
    if (!type.empty() || id.error().kind() != ErrorKind::kNotFound) return fail(id.error());
  }
  if (type.empty() || type == "image") {
    auto image = TRY(engine.images())->resolve(word);
    if (image) return image_document(engine, *image);
    if (!type.empty() || image.error().kind() != ErrorKind::kNotFound) {
      // A word that cannot be an image's name can still be that of nothing.
      if (!type.empty() || image.error().kind() != ErrorKind::kInvalid) return fail(image.error());
    }
  }
  if (type.empty() || type == "volume") {
    auto volume = engine::find_volume(engine, word);
    if (volume) return volume_document(engine, *volume);
    if (!type.empty()) return fail(volume.error());
  }
  if (type.empty() || type == "network") {
    auto network = network_document(engine, word);
    if (network || !type.empty()) return network;
  }
  return fail(Error::not_found("No such object: " + word +
                               " (no container, image, volume or network has this name or id)"));
}

Result<int> inspect_isolation(const Invocation& i) {
  auto engine = TRY(i.engine());
  std::vector<std::string> documents;
  std::string format = i.args.get("format"), text;
  int code = TRY(for_each_word(i, [&](const std::string& word) -> Result<> {
    std::string id = TRY(engine->containers().resolve(word));
    auto rows = TRY(isolation_of(*engine, id));
    std::string name = TRY(TRY(engine->containers().open(id)).config()).name;
    if (i.args.words().size() > 1) text += (text.empty() ? "" : "\n") + name + "\n";
    text += isolation_text(rows);
    documents.push_back(isolation_json(name, rows));
    return {};
  }));
  TRY_VOID(format.empty()     ? print(text)
           : format == "json" ? print_document("", documents)
                              : print_document(format, documents));
  return code;
}

Result<int> inspect(const Invocation& i, const std::string& type) {
  if (!type.empty() && type != "container" && type != "image" && type != "volume" && type != "network")
    return fail(Error::invalid("\"" + type +
                               "\" is not a valid value for --type (container, image, volume, network)"));
  if (i.args.flag("isolation")) {
    if (!type.empty() && type != "container")
      return fail(Error::invalid("--isolation is about containers, not about a " + type));
    return inspect_isolation(i);
  }
  auto engine = TRY(i.engine());
  std::vector<std::string> documents;
  int code = TRY(for_each_word(i, [&](const std::string& word) -> Result<> {
    documents.push_back(TRY(document_of(*engine, type, word, i.args.flag("size"))));
    return {};
  }));
  TRY_VOID(print_document(i.args.get("format"), documents));
  return code;
}

Result<int> command_inspect(const Invocation& i) { return inspect(i, i.args.get("type")); }
Result<int> command_container_inspect(const Invocation& i) { return inspect(i, "container"); }
Result<int> command_image_inspect(const Invocation& i) { return inspect(i, "image"); }

}  // namespace

const std::vector<Command>& inspect_commands() {
  static const std::vector<Command> kCommands = {
      {"inspect", "NAME|ID [NAME|ID...]", "Return low-level information on containers, images and volumes",
       inspect_options, 1, kAnyWords, false, command_inspect},
      {"container inspect", "CONTAINER [CONTAINER...]", "Display detailed information on containers",
       container_inspect_options, 1, kAnyWords, false, command_container_inspect},
      {"image inspect", "IMAGE [IMAGE...]", "Display detailed information on images", plain_inspect_options,
       1, kAnyWords, false, command_image_inspect}};
  return kCommands;
}

}  // namespace onggi::cli
