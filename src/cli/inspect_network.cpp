#include "cli/inspect_network.h"

#include <algorithm>

#include "engine/networks.h"
#include "network/ports.h"

namespace onggi::cli {

namespace {

using engine::ContainerConfig;
using engine::EndpointState;

void write_binding(Writer& w, const std::string& ip, const std::string& port) {
  w.begin_object();
  w.member("HostIp", ip);
  w.member("HostPort", port);
  w.end_object();
}

// {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": null}
void write_published(Writer& w, const std::vector<engine::PublishedPort>& ports, const ContainerConfig& c,
                     bool running) {
  w.object("Ports");
  std::vector<std::string> inside;
  auto add = [&](const std::string& port) {
    if (std::find(inside.begin(), inside.end(), port) == inside.end()) inside.push_back(port);
  };
  for (const auto& p : ports) add(std::to_string(p.container_port) + "/" + p.protocol);
  for (const auto& p : c.expose)
    if (running) add(p);
  for (const auto& port : inside) {
    bool published = false;
    for (const auto& p : ports) {
      if (std::to_string(p.container_port) + "/" + p.protocol != port) continue;
      if (!published) {
        w.key(port);
        w.begin_array();
      }
      published = true;
      write_binding(w, p.host_ip, std::to_string(p.host_port));
    }
    published ? w.end_array() : w.null_member(port);
  }
  w.end_object();
}

void write_addresses(Writer& w, const EndpointState& e) {
  w.member("Gateway", e.running ? e.gateway4 : "");
  w.member("IPAddress", e.running ? e.ipv4 : "");
  w.member_number("IPPrefixLen", e.running ? e.prefix4 : 0);
  w.member("IPv6Gateway", e.running ? e.gateway6 : "");
  w.member("GlobalIPv6Address", e.running ? e.ipv6 : "");
  w.member_number("GlobalIPv6PrefixLen", e.running ? e.prefix6 : 0);
  w.member("MacAddress", e.running ? e.mac : "");
}

void write_endpoint(Writer& w, const EndpointState& e, const engine::EndpointConfig& asked) {
  w.object(e.network);
  if (asked.fixed) {
    w.object("IPAMConfig");
    if (!asked.ipv4.empty()) w.member("IPv4Address", asked.ipv4);
    if (!asked.ipv6.empty()) w.member("IPv6Address", asked.ipv6);
    w.end_object();
  } else {
    w.null_member("IPAMConfig");
  }
  w.null_member("Links");
  w.strings("Aliases", e.aliases);
  w.null_member("DriverOpts");
  w.member_number("GwPriority", asked.priority);
  w.member("NetworkID", e.network_id);
  w.member("EndpointID", e.running ? e.endpoint_id : "");
  write_addresses(w, e);
  w.strings("DNSNames", e.names);
  // Not docker's: a container keeps its addresses while it is stopped.
  w.member("ReservedIPAddress", e.ipv4);
  w.member("ReservedIPv6Address", e.ipv6);
  w.end_object();
}

}  // namespace

void write_port_bindings(Writer& w, const ContainerConfig& c) {
  w.object("PortBindings");
  std::vector<network::PortSpec> specs;
  for (const auto& text : c.ports)
    if (auto parsed = network::parse_publish(text)) specs.insert(specs.end(), parsed->begin(), parsed->end());
  std::vector<std::string> done;
  for (const auto& spec : specs) {
    std::string port = std::to_string(spec.container_port) + "/" + spec.protocol;
    if (std::find(done.begin(), done.end(), port) != done.end()) continue;
    done.push_back(port);
    w.key(port);
    w.begin_array();
    for (const auto& s : specs)
      if (s.container_port == spec.container_port && s.protocol == spec.protocol) {
        std::string host = s.host_port ? std::to_string(s.host_port) : "";
        if (s.host_last > s.host_port) host += "-" + std::to_string(s.host_last);
        write_binding(w, s.host ? s.host->text() : "", host);
      }
    w.end_array();
  }
  w.end_object();
}

Result<> write_network(Writer& w, engine::Engine& engine, const ContainerConfig& c, int pid) {
  auto endpoints = TRY(engine::endpoints_of_container(engine, c));
  w.object("NetworkSettings");
  w.member("Bridge", "");
  w.member("SandboxID", pid ? c.id : "");
  w.member("SandboxKey", pid ? "/proc/" + std::to_string(pid) + "/ns/net" : "");
  write_published(w, engine::published_ports(engine, c.id), c, pid != 0);
  // docker tells the default network's here, too.
  EndpointState first;
  for (const auto& e : endpoints)
    if (e.network == engine::kDefaultNetwork) first = e;
  w.member("EndpointID", first.running ? first.endpoint_id : "");
  write_addresses(w, first);
  w.object("Networks");
  for (size_t n = 0; n < endpoints.size(); n++) write_endpoint(w, endpoints[n], c.endpoints[n]);
  if (endpoints.empty() && !c.network.starts_with("container:") && c.network != "bridge") {
    EndpointState mode;
    mode.network = c.network;
    write_endpoint(w, mode, {});
  }
  w.end_object();
  w.end_object();
  return {};
}

}  // namespace onggi::cli
