#include "stack/identity.h"

#include "base/file.h"
#include "base/sha256.h"
#include "stack/emit.h"

namespace onggi::stack {

namespace {

constexpr size_t kGrantMaxBytes = 1u << 20;

// Does not change what a container is.
constexpr const char* kNotOfContainers[] = {"scale",   "depends_on", "profiles",
                                            "develop", "build",      "pull_policy",
                                            "attach",  "extends",    "pull_refresh_after"};

}  // namespace

std::string container_name(const Project& project, const Node& service, int number) {
  std::string own = service.text_of("container_name");
  return own.empty() ? project.name + "-" + service.key + "-" + std::to_string(number) : own;
}

std::string image_of(const Project& project, const Node& service) {
  return service.text_of("image", project.name + "-" + service.key);
}

Result<std::string> granted_content(const Project& project, const Node& resource,
                                    const std::string& section) {
  if (const Node* content = resource.get("content")) return content->text;
  if (const Node* variable = resource.get("environment")) {
    auto found = project.environment.find(variable->text);
    if (found != project.environment.end()) return found->second;
    return fail(error_at(variable->mark, section + "." + resource.key + ": the environment variable '" +
                                             variable->text + "' is not set"));
  }
  if (const Node* file = resource.get("file")) {
    auto text = read_file(file->text, kGrantMaxBytes);
    if (text) return text;
    return fail(
        error_at(file->mark, section + "." + resource.key + ": " + text.error().text(), text.error().kind()));
  }
  return fail(error_at(resource.key_mark,
                       section + "." + resource.key +
                           ": external and driver-made ones are not supported; give a file, "
                           "environment or content",
                       ErrorKind::kUnsupported));
}

Result<Node> definition_of(const Project& project, const Node& service) {
  Node d = service;
  for (const char* field : kNotOfContainers) d.erase(field);
  if (Node* deploy = d.find("deploy"); deploy && deploy->is_map()) {
    for (const char* field :
         {"replicas", "update_config", "rollback_config", "labels", "mode", "endpoint_mode"})
      deploy->erase(field);
    if (deploy->items.empty()) d.erase("deploy");
  }
  std::erase_if(d.items, [](const Node& item) {
    return item.key.starts_with("x-") && !item.key.starts_with("x-onggi-");
  });
  d.set("image", Node::string(image_of(project, service)));
  for (const char* section : {"configs", "secrets"}) {
    Node* grants = d.find(section);
    if (!grants || !grants->is_list()) continue;
    const Node* all = project.root.get(section);
    for (auto& grant : grants->items) {
      const Node* resource = all ? all->find(grant.text_of("source")) : nullptr;
      if (!resource) continue;
      grant.set("content",
                Node::string("sha256:" + sha256_hex(TRY(granted_content(project, *resource, section)))));
    }
  }
  // By which names its networks and volumes go: another name is another network.
  for (const char* section : {"networks", "volumes"}) {
    const Node* all = project.root.get(section);
    Node names = Node::map();
    if (const Node* used = service.get(section))
      for (const auto& item : used->items) {
        std::string key = used->is_map()                     ? item.key
                          : item.text_of("type") == "volume" ? item.text_of("source")
                                                             : "";
        if (const Node* r = all && !key.empty() ? all->find(key) : nullptr)
          names.set(key, Node::string(r->text_of("name")));
      }
    if (!names.items.empty()) d.set(std::string("x-onggi-") + section, std::move(names));
  }
  return d;
}

std::string definition_hash(const Node& definition) { return sha256_hex(to_canonical_json(definition)); }

Result<std::string> service_hash(const Project& project, const Node& service) {
  return definition_hash(TRY(definition_of(project, service)));
}

std::string resource_hash(const Node& resource) {
  Node d = resource;
  d.erase("labels");
  return sha256_hex(to_canonical_json(d));
}

}  // namespace onggi::stack
