// completion, and what the shells' scripts and the documents are made with.
#include "cli/complete.h"
#include "engine/listing.h"
#include "engine/networks.h"
#include "engine/volumes.h"

namespace onggi::cli {

namespace {

Result<int> command_completion(const Invocation& i) {
  TRY_VOID(print(TRY(completion_script(i.args.words()[0]))));
  return 0;
}

// Completion is a convenience: where there is no store, there are no names.
std::vector<std::string> object_names(const Invocation& i, const std::string& kind) {
  std::vector<std::string> names;
  auto engine = i.engine();
  if (!engine) return names;
  if (kind == "container") {
    if (auto list = engine::list_containers(**engine, {.all = true, .filters = {}}))
      for (const auto& c : *list) names.push_back(c.name);
  } else if (kind == "volume") {
    if (auto list = engine::list_volumes(**engine))
      for (const auto& v : *list) names.push_back(v.name);
  } else if (kind == "network") {
    if (auto list = engine::list_networks(**engine))
      for (const auto& n : *list) names.push_back(n.name);
    for (const char* mode : {"none", "host"}) names.emplace_back(mode);
  } else if (auto store = (*engine)->images()) {
    if (auto list = (*store)->list())
      for (const auto& image : *list)
        for (const auto& name : image.names)
          if (auto ref = image::Reference::parse(name)) names.push_back(ref->familiar());
  }
  return names;
}

Result<int> command_complete(const Invocation& i) {
  auto found = complete(i.args.words(), [&](const std::string& kind) { return object_names(i, kind); });
  std::string text;
  for (const auto& [word, meaning] : found.words) text += word + "\t" + meaning + "\n";
  TRY_VOID(print(text + (found.files ? ":file\n" : "")));
  return 0;
}

Result<int> command_manual(const Invocation& i) {
  std::string name;
  for (const auto& word : i.args.words()) name += (name.empty() ? "" : " ") + word;
  TRY_VOID(print(TRY(manual_page(name))));
  return 0;
}

Result<int> command_tables(const Invocation&) {
  TRY_VOID(print(tables_json() + "\n"));
  return 0;
}

}  // namespace

const std::vector<Command>& document_commands() {
  static const std::vector<Command> kCommands = {
      {"completion", "SHELL", "Print the completion script of a shell (bash, zsh, fish)", no_options, 1, 1,
       false, command_completion},
      {"internal complete", "-- [WORD...]", "What could stand in the place of the last word", no_options, 0,
       kAnyWords, true, command_complete, true},
      {"internal man", "[COMMAND]", "Print a page of the manual", no_options, 0, 2, false, command_manual,
       true},
      {"internal tables", "", "Print all commands and options as JSON", no_options, 0, 0, false,
       command_tables, true}};
  return kCommands;
}

}  // namespace onggi::cli
