// port: which ports of the host lead to a container.
#include "cli/command.h"
#include "engine/networks.h"
#include "engine/port_explain.h"

namespace onggi::cli {

namespace {

std::string host_side(const engine::PublishedPort& p) {
  return (p.host_ip.find(':') == std::string::npos ? p.host_ip : "[" + p.host_ip + "]") + ":" +
         std::to_string(p.host_port);
}

const Options& port_options() {
  static const Options kOptions = {{"explain", 0, OptionKind::kSwitch, "",
                                    "What a packet to the port meets on its way, as the kernel has it"}};
  return kOptions;
}

// 0: nothing stands in the way; 1: something does.
Result<int> explain(const Invocation& i) {
  if (i.args.words().size() < 2)
    return fail(Error::invalid("--explain needs a port: onggi port --explain CONTAINER PORT[/PROTO]"));
  auto engine = TRY(i.engine());
  std::string text;
  bool good = true;
  for (const auto& path : TRY(engine::explain_port(*engine, i.args.words()[0], i.args.words()[1]))) {
    text += (text.empty() ? "" : "\n") + path.from + " -> " + path.to + "\n";
    for (const auto& step : path.steps) {
      text += (step.good ? "  ok    " : "  STOP  ") + step.what + "\n";
      good &= step.good;
    }
  }
  TRY_VOID(print(text));
  return good ? 0 : 1;
}

Result<int> command_port(const Invocation& i) {
  if (i.args.flag("explain")) return explain(i);
  auto engine = TRY(i.engine());
  auto config = TRY(TRY(engine->containers().find(i.args.words()[0])).config());
  std::string wanted = i.args.words().size() > 1 ? i.args.words()[1] : "", text;
  if (!wanted.empty() && wanted.find('/') == std::string::npos) wanted += "/tcp";
  for (const auto& port : engine::published_ports(*engine, config.id)) {
    std::string inside = std::to_string(port.container_port) + "/" + port.protocol;
    if (wanted.empty()) text += inside + " -> " + host_side(port) + "\n";
    if (wanted == inside) text += host_side(port) + "\n";
  }
  if (!wanted.empty() && text.empty())
    return fail(Error::not_found("No public port '" + wanted + "' published for " + config.name));
  TRY_VOID(print(text));
  return 0;
}

}  // namespace

const std::vector<Command>& port_commands() {
  static const std::vector<Command> kCommands = {{"port, container port", "CONTAINER [PRIVATE_PORT[/PROTO]]",
                                                  "List the published ports of a container", port_options, 1,
                                                  2, false, command_port}};
  return kCommands;
}

}  // namespace onggi::cli
