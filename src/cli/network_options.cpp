#include "cli/network_options.h"

#include <algorithm>

#include "base/file.h"
#include "base/ip.h"
#include "network/ports.h"
#include "sys/links.h"

namespace onggi::cli {

namespace {

using engine::ContainerConfig;
using engine::EndpointConfig;

bool is_mode(const std::string& text) {
  return text == "none" || text == "host" || text.starts_with("container:");
}

Result<std::string> address_of(const std::string& text, bool v4, const char* option) {
  auto a = IpAddress::parse(text);
  if (a && a->is_v4() == v4) return a->text();
  return fail(Error::invalid(std::string("invalid ") + option + " address: " + text));
}

// Options without a network's name are about the only one.
Result<> plain_endpoint_options(const Args& args, EndpointConfig& e) {
  if (auto ip = args.find("ip")) e.ipv4 = TRY(address_of(*ip, true, "IPv4"));
  if (auto ip6 = args.find("ip6")) e.ipv6 = TRY(address_of(*ip6, false, "IPv6"));
  if (auto mac = args.find("mac-address")) e.mac = sys::mac_text(TRY(sys::parse_mac(*mac)));
  for (const auto& alias : args.all("network-alias")) e.aliases.push_back(alias);
  return {};
}

Result<> endpoints(const Args& args, ContainerConfig& c) {
  auto words = args.all("network");
  for (const auto& word : args.all("net")) words.push_back(word);
  bool plain = args.has("ip") || args.has("ip6") || args.has("mac-address") || args.has("network-alias");
  for (const auto& word : words) {
    if (!is_mode(word)) {
      c.endpoints.push_back(TRY(parse_endpoint(word)));
      continue;
    }
    if (words.size() > 1)
      return fail(Error::invalid(
          "conflicting options: cannot attach both user-defined and non-user-defined network-modes"));
    if (word == "container:")
      return fail(Error::invalid("--network container: needs a name: container:NAME"));
    c.network = word;
  }
  if (words.empty() && plain) c.endpoints.push_back({.network = "bridge"});
  if (!plain) return {};
  if (c.endpoints.empty())
    return fail(Error::invalid(
        "conflicting options: --ip, --ip6, --mac-address and --network-alias need a network, not --network " +
        c.network));
  if (c.endpoints.size() > 1)
    return fail(
        Error::invalid("--ip, --ip6, --mac-address and --network-alias are ambiguous with several networks; "
                       "write them with each: --network name=NET,ip=ADDRESS,alias=NAME"));
  return plain_endpoint_options(args, c.endpoints[0]);
}

}  // namespace

Result<EndpointConfig> parse_endpoint(const std::string& text) {
  EndpointConfig e;
  if (text.find('=') == std::string::npos) {
    e.network = text == "nat" ? "bridge" : text;
    if (e.network.empty()) return fail(Error::invalid("--network needs a name"));
    return e;
  }
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    std::string part = text.substr(at, end - at);
    size_t equals = part.find('=');
    std::string key = part.substr(0, equals),
                value = equals == std::string::npos ? "" : part.substr(equals + 1);
    if (key == "name")
      e.network = value;
    else if (key == "alias")
      e.aliases.push_back(value);
    else if (key == "ip")
      e.ipv4 = TRY(address_of(value, true, "IPv4"));
    else if (key == "ip6")
      e.ipv6 = TRY(address_of(value, false, "IPv6"));
    else if (key == "mac-address")
      e.mac = sys::mac_text(TRY(sys::parse_mac(value)));
    else if (key == "gw-priority")
      e.priority = TRY(parse_i64(value, "gw-priority"));
    else
      return fail(Error::invalid("invalid field " + (key.empty() ? part : key) + " in --network " + text +
                                 " (name, alias, ip, ip6, mac-address, gw-priority)"));
    at = end + 1;
  }
  if (e.network.empty()) return fail(Error::invalid("network name is missing in --network " + text));
  return e;
}

Result<> network_options(const Args& args, ContainerConfig& c) {
  TRY_VOID(endpoints(args, c));
  if (c.network.starts_with("container:") && args.has("hostname"))
    return fail(Error::invalid("conflicting options: hostname and the network mode"));
  c.publish_all = args.flag("publish-all");
  for (const auto& text : args.all("publish"))
    for (const auto& spec : TRY(network::parse_publish(text))) {
      std::string port = network::port_text(spec);
      if (std::find(c.ports.begin(), c.ports.end(), port) == c.ports.end()) c.ports.push_back(port);
      std::string inside = std::to_string(spec.container_port) + "/" + spec.protocol;
      if (std::find(c.expose.begin(), c.expose.end(), inside) == c.expose.end()) c.expose.push_back(inside);
    }
  for (const auto& text : args.all("expose"))
    for (auto& port : TRY(network::parse_expose(text)))
      if (std::find(c.expose.begin(), c.expose.end(), port) == c.expose.end())
        c.expose.push_back(std::move(port));
  c.dns = args.all("dns");
  for (const auto& address : c.dns)
    if (!IpAddress::parse(address)) return fail(Error::invalid("--dns '" + address + "': not an IP address"));
  c.dns_search = args.all("dns-search");
  c.dns_options = args.all("dns-option");
  for (const auto& text : args.all("add-host")) {
    size_t at = text.find_first_of(":=");
    if (at == std::string::npos || at == 0)
      return fail(Error::invalid("bad format for add-host: \"" + text + "\" (HOST:IP)"));
    std::string address = text.substr(at + 1);
    if (address.size() > 2 && address.front() == '[' && address.back() == ']')
      address = address.substr(1, address.size() - 2);
    if (address != "host-gateway" && !IpAddress::parse(address))
      return fail(Error::invalid("invalid IP address in add-host: \"" + address + "\""));
    c.extra_hosts.push_back({text.substr(0, at), address});
  }
  return {};
}

}  // namespace onggi::cli
