#include "engine/network_options.h"

#include <net/if.h>
// After the C library's own.
#include <linux/if_link.h>

#include <algorithm>

#include "base/file.h"
#include "engine/clock.h"

namespace onggi::engine {

namespace {

struct Known {
  const char* name;    // ours
  const char* docker;  // docker's, or nullptr
  const char* drivers;
};
constexpr Known kKnown[] = {
    {"mtu", "com.docker.network.driver.mtu", "bridge macvlan ipvlan"},
    {"bridge", "com.docker.network.bridge.name", "bridge"},
    {"icc", "com.docker.network.bridge.enable_icc", "bridge"},
    {"masquerade", "com.docker.network.bridge.enable_ip_masquerade", "bridge"},
    {"binding", "com.docker.network.bridge.host_binding_ipv4", "bridge"},
    {"parent", nullptr, "macvlan ipvlan"},
    {"macvlan_mode", nullptr, "macvlan"},
    {"ipvlan_mode", nullptr, "ipvlan"},
};

std::string option(const NetworkConfig& network, const std::string& name) {
  for (const auto& known : kKnown)
    if (name == known.name)
      for (const auto& [key, value] : network.options)
        if (key == known.name || (known.docker && key == known.docker)) return value;
  return "";
}

bool is_truth(const std::string& v) { return v == "true" || v == "1" || v == "false" || v == "0"; }

struct Mode {
  const char* driver;
  const char* name;
  uint32_t value;
};
constexpr Mode kModes[] = {
    {"macvlan", "bridge", MACVLAN_MODE_BRIDGE}, {"macvlan", "private", MACVLAN_MODE_PRIVATE},
    {"macvlan", "vepa", MACVLAN_MODE_VEPA},     {"macvlan", "passthru", MACVLAN_MODE_PASSTHRU},
    {"ipvlan", "l2", IPVLAN_MODE_L2},           {"ipvlan", "l3", IPVLAN_MODE_L3},
    {"ipvlan", "l3s", IPVLAN_MODE_L3S}};

const Mode* mode_of(const NetworkConfig& network) {
  std::string given = option(network, network.driver + "_mode");
  for (const auto& m : kModes)
    if (network.driver == m.driver && (given.empty() || given == m.name)) return &m;
  return nullptr;
}

Result<> check_value(const NetworkConfig& network, const std::string& name, const std::string& value) {
  auto invalid = [&](const char* how) {
    return fail(Error::invalid("network option " + name + "=" + value + ": " + how));
  };
  constexpr uint64_t kLeastMtu = 68, kMostMtu = 65535;
  if (name == "mtu") {
    auto n = parse_u64(value, "mtu");
    if (!n || *n < kLeastMtu || *n > kMostMtu) return invalid("an MTU is 68 to 65535");
  }
  if ((name == "icc" || name == "masquerade") && !is_truth(value)) return invalid("true or false");
  if (name == "binding" && !IpAddress::parse(value)) return invalid("not an IP address");
  if ((name == "bridge" || name == "parent") && (value.empty() || value.size() >= IF_NAMESIZE))
    return invalid("a link's name has 1 to 15 characters");
  if (name.ends_with("_mode") && !mode_of(network)) return invalid("there is no such mode");
  return {};
}

}  // namespace

Result<> check_network_options(const NetworkConfig& network) {
  const std::string& driver = network.driver;
  if (driver != "bridge" && driver != "macvlan" && driver != "ipvlan")
    return fail(
        Error::unsupported("network driver \"" + driver + "\" is not built (bridge, macvlan, ipvlan)"));
  for (const auto& [key, value] : network.options) {
    auto known = std::find_if(std::begin(kKnown), std::end(kKnown),
                              [&](const Known& k) { return key == k.name || (k.docker && key == k.docker); });
    if (known == std::end(kKnown) || std::string(known->drivers).find(driver) == std::string::npos)
      return fail(Error::invalid("unknown option \"" + key + "\" of the network driver " + driver));
    TRY_VOID(check_value(network, known->name, value));
  }
  return {};
}

Result<bool> prune_matches(const NetworkConfig& network, const std::string& filter) {
  size_t equals = filter.find('=');
  std::string key = filter.substr(0, equals),
              value = equals == std::string::npos ? "" : filter.substr(equals + 1);
  if (key == "until") {
    int64_t until = TRY(parse_moment(value));
    return TRY(parse_rfc3339(network.created)) < until;
  }
  if (key != "label" && key != "label!")
    return fail(Error::invalid("invalid filter '" + key + "' (label, label!, until)"));
  size_t inner = value.find('=');
  bool has = std::any_of(network.labels.begin(), network.labels.end(), [&](const auto& l) {
    return l.first == value.substr(0, inner) &&
           (inner == std::string::npos || l.second == value.substr(inner + 1));
  });
  return has == (key == "label");
}

uint32_t network_mtu(const NetworkConfig& network) {
  auto n = parse_u64(option(network, "mtu"), "mtu");
  return n ? static_cast<uint32_t>(*n) : 0;
}
bool network_isolates(const NetworkConfig& network) {
  std::string v = option(network, "icc");
  return network.isolated || v == "false" || v == "0";
}
bool network_masquerades(const NetworkConfig& network) {
  std::string v = option(network, "masquerade");
  return v != "false" && v != "0";
}
std::string network_parent(const NetworkConfig& network) { return option(network, "parent"); }
uint32_t network_mode(const NetworkConfig& network) {
  const Mode* mode = mode_of(network);
  return mode ? mode->value : 0;
}
std::string network_bridge(const Engine& engine, const NetworkConfig& network) {
  std::string given = option(network, "bridge");
  if (!given.empty()) return given;
  // The one that people look for; stores elsewhere (tests, a second installation) have their own.
  if (network.name == kDefaultNetwork && engine.paths().root == "/var/lib/onggi") return "onggi0";
  return "og-" + network.id.substr(0, 12);
}
IpAddress network_binding(const NetworkConfig& network) {
  auto a = IpAddress::parse(option(network, "binding"));
  return a && !a->is_unspecified() ? *a : IpAddress();
}

}  // namespace onggi::engine
