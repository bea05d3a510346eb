// config: the project as it was understood.
#include <fcntl.h>

#include <algorithm>

#include "base/file.h"
#include "cli/command.h"
#include "cli/stack_project.h"
#include "stack/complete.h"
#include "stack/emit.h"
#include "stack/identity.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;

const Options& config_options() {
  static const Options kOptions = with_project_options(
      {{"format", 0, kValue, "string", "Form of the output (yaml, json)", "", "yaml json"},
       {"services", 0, kSwitch, "", "Print the services' names, one per line"},
       {"volumes", 0, kSwitch, "", "Print the volumes' names, one per line"},
       {"networks", 0, kSwitch, "", "Print the networks' names, one per line"},
       {"profiles", 0, kSwitch, "", "Print the profiles' names, one per line"},
       {"images", 0, kSwitch, "", "Print the images' names, one per line"},
       {"environment", 0, kSwitch, "", "Print the variables that values are interpolated with"},
       {"hash", 0, kValue, "services", "Print the hash of each service's configuration (\"*\": of all)"},
       {"no-interpolate", 0, kSwitch, "", "Leave variables as they are"},
       {"output", 'o', kValue, "file", "Write to this file", "", "file"},
       {"quiet", 'q', kSwitch, "", "Only check the configuration"},
       {"resolve-image-digests", 0, kSwitch, "", "",
        "images are pinned by writing NAME@sha256:... in the file"},
       {"no-consistency", 0, kSwitch, "", "", "a file that cannot be run is an error here, too"},
       {"no-normalize", 0, kSwitch, "", "", "there is one form of output"},
       {"no-path-resolution", 0, kSwitch, "", "", "paths are always absolute in the output"}},
      true);
  return kOptions;
}

std::string lines(std::vector<std::string> words) {
  std::string text;
  for (const auto& w : words) text += w + "\n";
  return text;
}

std::vector<std::string> keys(const stack::Project& project, const char* section) {
  std::vector<std::string> names;
  if (const auto* all = project.root.get(section))
    for (const auto& item : all->items) names.push_back(item.key);
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::string> hashes(const stack::Project& project, const std::string& wanted) {
  std::string text;
  for (const auto& name : project.service_names()) {
    if (wanted != "*" && ("," + wanted + ",").find("," + name + ",") == std::string::npos) continue;
    text += name + " " + TRY(stack::service_hash(project, *project.service(name))) + "\n";
  }
  return text;
}

// Only the named services, and what they depend on.
void keep_services(stack::Project& project, const std::vector<std::string>& names) {
  if (names.empty()) return;
  std::vector<std::string> queue = names;
  std::set<std::string> keep;
  while (!queue.empty()) {
    std::string name = queue.back();
    queue.pop_back();
    const stack::Node* service = project.service(name);
    if (!service || !keep.insert(name).second) continue;
    for (const auto& d : stack::dependencies_of(*service)) queue.push_back(d.service);
  }
  std::erase_if(project.root.find("services")->items,
                [&](const stack::Node& s) { return !keep.contains(s.key); });
}

Result<std::string> config_text(const Invocation& i, stack::Project& project) {
  const Args& a = i.args;
  if (a.flag("services")) return lines(project.service_names());
  if (a.flag("volumes")) return lines(keys(project, "volumes"));
  if (a.flag("networks")) return lines(keys(project, "networks"));
  if (a.flag("profiles")) return lines(project.all_profiles);
  if (a.flag("images")) {
    std::vector<std::string> names;
    for (const auto& name : project.service_names())
      names.push_back(stack::image_of(project, *project.service(name)));
    return lines(std::move(names));
  }
  if (a.flag("environment")) {
    std::vector<std::string> entries;
    for (const auto& [name, value] : project.environment) entries.push_back(name + "=" + value);
    return lines(std::move(entries));
  }
  if (auto wanted = a.find("hash")) return hashes(project, *wanted);
  stack::EmitOptions options{.escape_dollars = !a.flag("no-interpolate")};
  std::string format = a.get("format", "yaml");
  if (format == "json") return stack::to_json(project.root, "  ", options) + "\n";
  if (format != "yaml") return fail(Error::invalid("unsupported format \"" + format + "\" (yaml, json)"));
  return stack::to_yaml(project.root, options);
}

Result<int> command_config(const Invocation& i) {
  stack::Project project = TRY(load_project(i, i.args.words(), !i.args.flag("no-interpolate")));
  keep_services(project, i.args.words());
  if (i.args.flag("quiet")) return 0;
  std::string text = TRY(config_text(i, project));
  if (auto path = i.args.find("output")) {
    TRY_VOID(write_file(*path, text, O_CREAT | O_TRUNC, 0644));
    return 0;
  }
  TRY_VOID(print(text));
  return 0;
}

}  // namespace

const std::vector<Command>& stack_config_commands() {
  static const std::vector<Command> kCommands = {{"config, stack config, compose config, compose convert",
                                                  "[SERVICE...]",
                                                  "Check a Compose file and print it in its canonical form",
                                                  config_options, 0, kAnyWords, false, command_config}};
  return kCommands;
}

}  // namespace onggi::cli
