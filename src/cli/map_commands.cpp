// map: who talks to whom.
#include <algorithm>

#include "cli/command.h"
#include "cli/map_draw.h"
#include "cli/stack_report.h"

namespace onggi::cli {

namespace {

constexpr auto kValue = OptionKind::kValue;

const Options& map_options() {
  static const Options kOptions = {
      {"format", 0, kValue, "string", "text (default), json, dot (Graphviz), svg", "", "text json dot svg"},
      {"project-name", 'p', kValue, "string", "Only what has an end in this stack"}};
  return kOptions;
}

Result<int> command_map(const Invocation& i) {
  std::string format = i.args.get("format", "text");
  if (format != "text" && format != "json" && format != "dot" && format != "svg")
    return fail(Error::invalid("map --format: '" + format + "' is none of text, json, dot, svg"));
  auto engine = TRY(i.engine());
  std::string warning, project = i.args.get("project-name");
  Edges edges = TRY(engine::read_traffic(*engine, warning));
  if (!warning.empty()) print_error("WARNING: " + warning);
  if (!project.empty()) {
    std::vector<std::string> members;
    for (const auto& r : TRY(stack::read_replicas(*engine, project))) members.push_back(r.name);
    if (members.empty()) return fail(Error::not_found("no such stack: " + project + " (onggi stack ls)"));
    auto member = [&](const std::string& name) {
      return std::find(members.begin(), members.end(), name) != members.end();
    };
    std::erase_if(edges, [&](const auto& e) { return !member(e.from) && !member(e.to); });
  }
  TRY_VOID(print(format == "json"  ? map_as_json(edges)
                 : format == "dot" ? map_as_dot(edges)
                 : format == "svg" ? map_as_svg(edges)
                                   : map_as_text(edges)));
  return 0;
}

}  // namespace

const std::vector<Command>& map_commands() {
  static const std::vector<Command> kCommands = {
      {"map", "", "Show who talks to whom: containers, the host and the world", map_options, 0, 0, false,
       command_map}};
  return kCommands;
}

}  // namespace onggi::cli
