// network create, ls, inspect, rm, connect, disconnect, prune.
#include <algorithm>
#include <set>

#include "base/file.h"
#include "base/ip.h"
#include "base/sha256.h"
#include "cli/command.h"
#include "cli/format.h"
#include "cli/inspect_document.h"
#include "cli/network_options.h"
#include "engine/networks.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;
constexpr auto kList = OptionKind::kList;

const Options& create_network_options() {
  static const Options kOptions = {
      {"attachable", 0, kSwitch, "", "Accepted for compatibility: every container may be attached by hand"},
      {"aux-address", 0, kList, "map",
       "Auxiliary IPv4 or IPv6 addresses that are not handed out (NAME=ADDRESS)"},
      {"config-from", 0, kValue, "network", "", "write the options out; networks of a swarm are not built"},
      {"config-only", 0, kSwitch, "", "", "networks of a swarm are not built"},
      {"driver", 'd', kValue, "string",
       "Driver to manage the Network (bridge, macvlan, ipvlan; default bridge)", "", "bridge macvlan ipvlan"},
      {"gateway", 0, kList, "strings", "IPv4 or IPv6 Gateway for the subnet"},
      {"ingress", 0, kSwitch, "", "", "networks of a swarm are not built"},
      {"internal", 0, kSwitch, "", "Restrict external access to the network"},
      {"ip-range", 0, kList, "strings", "Allocate container ip from a sub-range"},
      {"ipam-driver", 0, kValue, "string", "IP Address Management Driver (default)", "", "default"},
      {"ipam-opt", 0, kList, "map", "", "the address management has no options"},
      {"ipv6", 0, kSwitch, "", "Enable IPv6 networking (default true)"},
      {"label", 0, kList, "list", "Set metadata on a network"},
      {"opt", 'o', kList, "map",
       "Set driver specific options (mtu, bridge, icc, masquerade, binding, parent, *_mode)"},
      {"scope", 0, kValue, "string", "Control the network's scope (local)", "", "local"},
      {"subnet", 0, kList, "strings", "Subnet in CIDR format that represents a network segment"}};
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

// Gateways, ranges and auxiliary addresses belong to the subnet that contains them.
Result<engine::SubnetConfig*> subnet_with(std::vector<engine::SubnetConfig>& subnets,
                                          const IpAddress& address, const std::string& what) {
  for (auto& s : subnets)
    if (TRY(IpPrefix::parse(s.subnet, true)).contains(address)) return &s;
  return fail(Error::invalid("no matching subnet for " + what));
}

Result<> subnet_options(const Args& args, engine::NetworkConfig& network) {
  for (const auto& text : args.all("subnet")) {
    network.subnets.push_back({.subnet = TRY(IpPrefix::parse(text, true)).text()});
  }
  for (const auto& text : args.all("ip-range")) {
    IpPrefix range = TRY(IpPrefix::parse(text, true));
    auto* s = TRY(subnet_with(network.subnets, range.address(), "range " + text));
    if (!s->ip_range.empty())
      return fail(Error::invalid("cannot configure multiple ranges (" + text + ") on the same subnet"));
    s->ip_range = range.text();
  }
  for (const auto& text : args.all("gateway")) {
    auto* s = TRY(subnet_with(network.subnets, TRY(IpAddress::parse(text)), "gateway " + text));
    if (!s->gateway.empty())
      return fail(Error::invalid("cannot configure multiple gateways (" + text + ") for the same subnet"));
    s->gateway = text;
  }
  for (const auto& [name, address] : pairs(args.all("aux-address")))
    TRY(subnet_with(network.subnets, TRY(IpAddress::parse(address)), "aux-address " + address))
        ->auxiliary.push_back({name, address});
  return {};
}

Result<int> command_network_create(const Invocation& i) {
  engine::NetworkRequest request;
  engine::NetworkConfig& n = request.config;
  n.name = i.args.words()[0];
  n.driver = i.args.get("driver", "bridge");
  n.internal = i.args.flag("internal");
  n.attachable = i.args.flag("attachable");
  n.ipv6 = i.args.flag("ipv6", true);
  n.labels = pairs(i.args.all("label"));
  n.options = pairs(i.args.all("opt"));
  if (std::string ipam = i.args.get("ipam-driver", "default"); ipam != "default")
    return fail(Error::unsupported("there is no address management driver '" + ipam + "' (default)"));
  if (std::string scope = i.args.get("scope", "local"); scope != "local")
    return fail(Error::unsupported("there is no scope '" + scope + "' (local)"));
  TRY_VOID(subnet_options(i.args, n));
  auto engine = TRY(i.engine());
  TRY_VOID(print(TRY(engine::create_network(*engine, std::move(request))).id + "\n"));
  return 0;
}

// docker shows these two as networks; they are modes.
std::vector<engine::NetworkConfig> modes() {
  std::vector<engine::NetworkConfig> list(2);
  list[0].name = list[0].driver = "host";
  list[1].name = "none";
  list[1].driver = "null";
  for (auto& n : list) {
    n.id = sha256_hex("onggi mode " + n.name);
    n.ipv6 = false;
    n.created = "0001-01-01T00:00:00Z";
  }
  return list;
}

Result<std::vector<engine::NetworkConfig>> shown_networks(engine::Engine& engine) {
  auto list = TRY(engine::list_networks(engine));
  for (auto& mode : modes()) list.push_back(std::move(mode));
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return list;
}

bool is_builtin(const engine::NetworkConfig& n) {
  return n.name == "bridge" || n.name == "host" || n.name == "none";
}

Result<bool> network_matches(engine::Engine& engine, const engine::NetworkConfig& n,
                             const std::string& filter) {
  size_t equals = filter.find('=');
  std::string key = filter.substr(0, equals),
              value = equals == std::string::npos ? "" : filter.substr(equals + 1);
  if (key == "name") return n.name.find(value) != std::string::npos;
  if (key == "id") return n.id.starts_with(value);
  if (key == "driver") return n.driver == value;
  if (key == "scope") return value == "local";
  if (key == "type") return value == (is_builtin(n) ? "builtin" : "custom");
  if (key == "dangling")
    return (!is_builtin(n) && TRY(engine::endpoints_of_network(engine, n)).empty()) ==
           (value == "true" || value == "1");
  if (key != "label")
    return fail(
        Error::invalid("invalid filter '" + key + "' (name, id, driver, scope, type, dangling, label)"));
  size_t inner = value.find('=');
  return std::any_of(n.labels.begin(), n.labels.end(), [&](const auto& l) {
    return l.first == value.substr(0, inner) &&
           (inner == std::string::npos || l.second == value.substr(inner + 1));
  });
}

Row network_row(const engine::NetworkConfig& n, bool full) {
  std::string labels;
  for (const auto& [key, value] : n.labels) labels += (labels.empty() ? "" : ",") + key + "=" + value;
  auto truth = [](bool b) { return std::string(b ? "true" : "false"); };
  return {{"ID", full ? n.id : n.id.substr(0, 12)},
          {"Name", n.name},
          {"Driver", n.driver},
          {"Scope", "local"},
          {"IPv4", truth(n.driver != "host" && n.driver != "null")},
          {"IPv6", truth(n.ipv6)},
          {"Internal", truth(n.internal)},
          {"Labels", labels},
          {"CreatedAt", n.created}};
}

const Options& list_network_options() {
  static const Options kOptions = {
      {"filter", 'f', kList, "filter", "Provide filter values (e.g. \"driver=bridge\")"},
      {"format", 0, kValue, "string", "Format output: table, json, or TEMPLATE (Go template)"},
      {"no-trunc", 0, kSwitch, "", "Do not truncate the output"},
      {"quiet", 'q', kSwitch, "", "Only display network IDs"}};
  return kOptions;
}

Result<int> command_network_ls(const Invocation& i) {
  auto engine = TRY(i.engine());
  bool full = i.args.flag("no-trunc");
  std::vector<Row> rows;
  std::string ids;
  for (const auto& n : TRY(shown_networks(*engine))) {
    // Conditions on one key are alternatives, but for labels.
    std::set<std::string> keys, met;
    bool labels = true;
    for (const auto& filter : i.args.all("filter")) {
      std::string key = filter.substr(0, filter.find('='));
      bool matches = TRY(network_matches(*engine, n, filter));
      if (key == "label") labels &= matches;
      keys.insert(key);
      if (matches) met.insert(key);
    }
    if (!labels || keys.size() != met.size()) continue;
    ids += (full ? n.id : n.id.substr(0, 12)) + "\n";
    rows.push_back(network_row(n, full));
  }
  TRY_VOID(
      i.args.flag("quiet")
          ? print(ids)
          : print_rows(i.args.get("format"),
                       {{"NETWORK ID", "ID"}, {"NAME", "Name"}, {"DRIVER", "Driver"}, {"SCOPE", "Scope"}},
                       rows));
  return 0;
}

void write_map(JsonWriter& w, std::string_view name, const oci::StringMap& map) {
  w.key(name);
  w.begin_object();
  for (const auto& [key, value] : map) w.member(key, value);
  w.end_object();
}

void write_ipam(JsonWriter& w, const engine::NetworkConfig& n) {
  w.key("IPAM");
  w.begin_object();
  w.member("Driver", "default");
  w.key("Options");
  w.null();
  w.key("Config");
  w.begin_array();
  for (const auto& s : n.subnets) {
    w.begin_object();
    w.member("Subnet", s.subnet);
    if (!s.ip_range.empty()) w.member("IPRange", s.ip_range);
    if (!s.gateway.empty()) w.member("Gateway", s.gateway);
    if (!s.auxiliary.empty()) write_map(w, "AuxiliaryAddresses", s.auxiliary);
    w.end_object();
  }
  w.end_array();
  w.end_object();
}

void write_containers(JsonWriter& w, const std::vector<engine::EndpointState>& endpoints) {
  w.key("Containers");
  w.begin_object();
  for (const auto& e : endpoints) {
    if (!e.running) continue;
    w.key(e.container_id);
    w.begin_object();
    w.member("Name", e.container_name);
    w.member("EndpointID", e.endpoint_id);
    w.member("MacAddress", e.mac);
    w.member("IPv4Address", e.ipv4.empty() ? "" : e.ipv4 + "/" + std::to_string(e.prefix4));
    w.member("IPv6Address", e.ipv6.empty() ? "" : e.ipv6 + "/" + std::to_string(e.prefix6));
    w.end_object();
  }
  w.end_object();
}

const Options& inspect_network_options() {
  static const Options kOptions = {
      {"format", 'f', kValue, "string", "Format output using a custom template (json, or Go template)"},
      {"verbose", 'v', kSwitch, "", "Accepted for compatibility: there is nothing more to tell"}};
  return kOptions;
}

}  // namespace

Result<std::string> network_document(engine::Engine& engine, const std::string& reference) {
  engine::NetworkConfig n;
  for (auto& mode : modes())
    if (mode.name == reference || mode.id == reference) n = std::move(mode);
  std::vector<engine::EndpointState> endpoints;
  if (n.id.empty()) {
    n = TRY(engine::find_network(engine, reference));
    endpoints = TRY(engine::endpoints_of_network(engine, n));
  }
  JsonWriter w("    ");
  w.begin_object();
  w.member("Name", n.name);
  w.member("Id", n.id);
  w.member("Created", n.created);
  w.member("Scope", "local");
  w.member("Driver", n.driver);
  w.member_bool("EnableIPv4", n.driver != "host" && n.driver != "null");
  w.member_bool("EnableIPv6", n.ipv6);
  write_ipam(w, n);
  w.member_bool("Internal", n.internal);
  w.member_bool("Attachable", n.attachable);
  w.member_bool("Ingress", false);
  w.key("ConfigFrom");
  w.begin_object();
  w.member("Network", "");
  w.end_object();
  w.member_bool("ConfigOnly", false);
  write_containers(w, endpoints);
  write_map(w, "Options", n.options);
  write_map(w, "Labels", n.labels);
  w.end_object();
  return w.take();
}

namespace {

Result<int> command_network_inspect(const Invocation& i) {
  auto engine = TRY(i.engine());
  std::vector<std::string> documents;
  int code = TRY(for_each_word(i, [&](const std::string& name) -> Result<> {
    documents.push_back(TRY(network_document(*engine, name)));
    return {};
  }));
  TRY_VOID(print_document(i.args.get("format"), documents));
  return code;
}

const Options& remove_network_options() {
  static const Options kOptions = {
      {"force", 'f', kSwitch, "", "Do not complain about networks that are not there"}};
  return kOptions;
}

Result<int> command_network_rm(const Invocation& i) {
  auto engine = TRY(i.engine());
  bool force = i.args.flag("force");
  return for_each_word(i, [&](const std::string& name) -> Result<> {
    for (const auto& mode : modes())
      if (mode.name == name)
        return fail(Error(ErrorKind::kPermission, name + " is a pre-defined network and cannot be removed"));
    auto r = engine::remove_network(*engine, name);
    if (!r && force && r.error().kind() == ErrorKind::kNotFound) return {};
    TRY_VOID(r);
    return print(name + "\n");
  });
}

const Options& connect_options() {
  static const Options kOptions = {
      {"alias", 0, kList, "strings", "Add a name on the network for the container"},
      {"driver-opt", 0, kList, "strings", "", "the drivers have no options of one endpoint"},
      {"gw-priority", 0, kValue, "int", "Highest gw-priority provides the default gateway (default 0)"},
      {"ip", 0, kValue, "string", "IPv4 address"},
      {"ip6", 0, kValue, "string", "IPv6 address"},
      {"link", 0, kList, "list", "",
       "containers on one network reach each other by name; give aliases with --alias"},
      {"link-local-ip", 0, kList, "strings", "", "the kernel gives every link its own link-local address"}};
  return kOptions;
}

Result<int> command_network_connect(const Invocation& i) {
  engine::EndpointConfig e;
  e.aliases = i.args.all("alias");
  e.ipv4 = i.args.get("ip");
  e.ipv6 = i.args.get("ip6");
  e.priority = TRY(i.args.integer("gw-priority")).value_or(0);
  auto engine = TRY(i.engine());
  TRY_VOID(engine::connect_network(*engine, i.args.words()[0], i.args.words()[1], std::move(e)));
  return 0;
}

const Options& disconnect_options() {
  static const Options kOptions = {
      {"force", 'f', kSwitch, "", "Force the container to disconnect from a network"}};
  return kOptions;
}

Result<int> command_network_disconnect(const Invocation& i) {
  auto engine = TRY(i.engine());
  TRY_VOID(engine::disconnect_network(*engine, i.args.words()[0], i.args.words()[1], i.args.flag("force")));
  return 0;
}

const Options& prune_network_options() {
  static const Options kOptions = {
      {"filter", 0, kList, "filter", "Provide filter values (e.g. \"until=<timestamp>\")"},
      {"force", 'f', kSwitch, "", "Do not prompt for confirmation"}};
  return kOptions;
}

Result<int> command_network_prune(const Invocation& i) {
  auto engine = TRY(i.engine());
  if (!TRY(confirm(i, "This will remove all custom networks not used by at least one container."))) return 0;
  std::string removed;
  for (const auto& name : TRY(engine::prune_networks(*engine, i.args.all("filter")))) removed += name + "\n";
  TRY_VOID(print(removed.empty() ? "" : "Deleted Networks:\n" + removed));
  return 0;
}

}  // namespace

const std::vector<Command>& network_commands() {
  static const std::vector<Command> kCommands = {
      {"network create", "NETWORK", "Create a network", create_network_options, 1, 1, false,
       command_network_create},
      {"network ls, network list", "", "List networks", list_network_options, 0, 0, false,
       command_network_ls},
      {"network inspect", "NETWORK [NETWORK...]", "Display detailed information on one or more networks",
       inspect_network_options, 1, kAnyWords, false, command_network_inspect},
      {"network rm, network remove", "NETWORK [NETWORK...]", "Remove one or more networks",
       remove_network_options, 1, kAnyWords, false, command_network_rm},
      {"network connect", "NETWORK CONTAINER", "Connect a container to a network", connect_options, 2, 2,
       false, command_network_connect},
      {"network disconnect", "NETWORK CONTAINER", "Disconnect a container from a network", disconnect_options,
       2, 2, false, command_network_disconnect},
      {"network prune", "", "Remove all unused networks", prune_network_options, 0, 0, false,
       command_network_prune}};
  return kCommands;
}

}  // namespace onggi::cli
