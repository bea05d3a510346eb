#include "stack/networks.h"

#include "engine/networks.h"
#include "engine/volumes.h"
#include "stack/identity.h"

namespace onggi::stack {

namespace {

constexpr const char* kResourceHashLabel = "com.docker.compose.config-hash";

std::string value_of(const oci::StringMap& labels, const char* name) {
  for (const auto& [key, value] : labels)
    if (key == name) return value;
  return {};
}

oci::StringMap labels_of(const Project& project, const Node& resource, const char* key_label) {
  oci::StringMap labels;
  if (const Node* own = resource.get("labels"))
    for (const auto& l : own->items) labels.push_back({l.key, l.text});
  labels.push_back({kProjectLabel, project.name});
  labels.push_back({key_label, resource.key});
  labels.push_back({kVersionLabel, ONGGI_VERSION});
  labels.push_back({kResourceHashLabel, resource_hash(resource)});
  return labels;
}

}  // namespace

std::string network_hash(engine::Engine& engine, const std::string& name) {
  auto found = engine::find_network(engine, name);
  if (!found || found->name != name) return {};
  std::string hash = value_of(found->labels, kResourceHashLabel);
  return hash.empty() ? "?" : hash;
}

Result<> make_network(engine::Engine& engine, const Project& project, const Node& n) {
  engine::NetworkRequest request;
  engine::NetworkConfig& c = request.config;
  c.name = n.text_of("name");
  c.driver = n.text_of("driver", "bridge");
  if (c.driver == "default") c.driver = "bridge";
  c.internal = n.flag("internal");
  c.ipv6 = n.flag("enable_ipv6", true);
  c.attachable = n.flag("attachable");
  if (const Node* options = n.get("driver_opts"))
    for (const auto& o : options->items) c.options.push_back({o.key, o.text});
  const Node* ipam = n.get("ipam");
  if (const Node* pools = ipam ? ipam->get("config") : nullptr)
    for (const auto& p : pools->items) {
      engine::SubnetConfig s;
      s.subnet = p.text_of("subnet");
      s.gateway = p.text_of("gateway");
      s.ip_range = p.text_of("ip_range");
      if (const Node* aux = p.get("aux_addresses"))
        for (const auto& a : aux->items) s.auxiliary.push_back({a.key, a.text});
      c.subnets.push_back(std::move(s));
    }
  c.labels = labels_of(project, n, kNetworkLabel);
  auto made = engine::create_network(engine, std::move(request));
  if (!made && made.error().kind() != ErrorKind::kExists)
    return fail(error_at(n.key_mark, "network " + n.key + ": " + made.error().text(), made.error().kind()));
  return {};
}

Result<> remove_network(engine::Engine& engine, const std::string& name) {
  auto removed = engine::remove_network(engine, name);
  if (!removed && removed.error().kind() == ErrorKind::kNotFound) return {};
  return removed;
}

Result<std::vector<std::string>> networks_of(engine::Engine& engine, const std::string& project) {
  std::vector<std::string> names;
  for (const auto& n : TRY(engine::list_networks(engine)))
    if (value_of(n.labels, kProjectLabel) == project) names.push_back(n.name);
  return names;
}

void drain(engine::Engine& engine, const Replica& replica, int seconds) {
  (void)engine::drain_endpoint(engine, replica.id,
                               std::chrono::milliseconds(1000L * (seconds < 0 ? 3600 : seconds)));
}

Result<> hold(engine::Engine& engine, const std::string& id) { return engine::hold_endpoint(engine, id); }
Result<> admit(engine::Engine& engine, const std::string& id) { return engine::admit_endpoint(engine, id); }
bool is_held(const engine::Engine& engine, const std::string& id) { return engine::is_held(engine, id); }

Result<> make_volume(engine::Engine& engine, const Project& project, const Node& v) {
  engine::Volume volume;
  volume.name = v.text_of("name");
  volume.labels = labels_of(project, v, kVolumeLabel);
  auto made = engine::create_volume(engine, std::move(volume));
  if (!made && made.error().kind() != ErrorKind::kExists)
    return fail(error_at(v.key_mark, "volume " + v.key + ": " + made.error().text(), made.error().kind()));
  return {};
}

Result<std::vector<std::string>> volumes_of(engine::Engine& engine, const std::string& project) {
  std::vector<std::string> names;
  for (const auto& v : TRY(engine::list_volumes(engine)))
    if (value_of(v.labels, kProjectLabel) == project) names.push_back(v.name);
  return names;
}

}  // namespace onggi::stack
