#include "stack/complete.h"

#include <algorithm>
#include <cerrno>
#include <map>

#include "stack/merge.h"
#include "stack/schema.h"

namespace onggi::stack {

namespace {

Lookup lookup_in(const Environment& environment) {
  return [&environment](std::string_view name) -> std::optional<std::string> {
    auto found = environment.find(name);
    return found == environment.end() ? std::nullopt : std::optional(found->second);
  };
}

using Read = std::function<Result<std::string>(const std::string&)>;

// Docker's own form of a file: NAME=VALUE as it stands, no quotes, no variables.
std::vector<std::pair<std::string, std::string>> raw_lines(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> out;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    size_t equals = line.find('=');
    if (!line.empty() && line[0] != '#' && equals != std::string_view::npos)
      out.emplace_back(line.substr(0, equals), line.substr(equals + 1));
  }
  return out;
}

Result<> env_files(Node& service, const Environment& environment, const Read& read) {
  const Node* files = service.get("env_file");
  Node values = Node::map(service.mark);
  if (files)
    for (const auto& file : files->items) {
      std::string path = file.text_of("path"), format = file.text_of("format");
      auto text = read(path);
      if (!text) {
        if (!file.flag("required", true) && text.error().os_errno() == ENOENT) continue;
        return fail(error_at(file.mark, "env_file: " + text.error().text(), text.error().kind()));
      }
      if (!format.empty() && format != "raw")
        return fail(error_at(file.mark, "env_file: the format '" + format + "' is not known (raw)"));
      auto entries = format == "raw"
                         ? raw_lines(*text)
                         : TRY_CTX(parse_dotenv(*text, path, lookup_in(environment)), place(file.mark));
      for (auto& [name, value] : entries) values.set(name, Node::string(std::move(value), file.mark));
    }
  if (const Node* own = service.get("environment"))
    for (const auto& item : own->items) {
      auto inherited = item.is_null() ? lookup_in(environment)(item.key) : std::nullopt;
      values.set(item.key, inherited ? Node::string(*inherited, item.mark) : item);
    }
  service.erase("env_file");
  service.erase("environment");
  if (!values.items.empty()) service.set("environment", std::move(values));
  return {};
}

Result<> label_files(Node& service, const Environment& environment, const Read& read) {
  const Node* files = service.get("label_file");
  if (!files) return {};
  Node values = Node::map(files->mark);
  for (const auto& file : files->items) {
    auto text = read(file.text);
    if (!text) return fail(error_at(file.mark, "label_file: " + text.error().text(), text.error().kind()));
    for (auto& [name, value] :
         TRY_CTX(parse_dotenv(*text, file.text, lookup_in(environment)), place(file.mark)))
      values.set(name, Node::string(std::move(value), file.mark));
  }
  if (const Node* own = service.get("labels"))
    for (const auto& item : own->items) values.set(item.key, item);
  service.erase("label_file");
  service.set("labels", std::move(values));
  return {};
}

// --- profiles ---

bool active(const Node& service, const std::vector<std::string>& profiles) {
  const Node* own = service.get("profiles");
  if (!own || own->items.empty()) return true;
  for (const auto& p : own->items)
    for (const auto& wanted : profiles)
      if (wanted == "*" || wanted == p.text) return true;
  return false;
}

Result<> apply_profiles(Project& project, const LoadRequest& request) {
  Node* services = project.root.find("services");
  std::set<std::string> all, keep;
  for (const auto& s : services->items) {
    if (const Node* own = s.get("profiles"))
      for (const auto& p : own->items) all.insert(p.text);
    if (active(s, project.profiles)) keep.insert(s.key);
  }
  // A service that is named runs; what it depends on runs with it where it shares a profile of it.
  std::vector<std::string> queue;
  for (const auto& name : request.services)
    if (services->find(name) && keep.insert(name).second) queue.push_back(name);
  while (!queue.empty()) {
    const Node& s = *services->find(queue.back());
    queue.pop_back();
    std::vector<std::string> own;
    if (const Node* p = s.get("profiles"))
      for (const auto& item : p->items) own.push_back(item.text);
    for (const auto& d : dependencies_of(s))
      if (const Node* other = services->find(d.service);
          other && active(*other, own) && keep.insert(d.service).second)
        queue.push_back(d.service);
  }
  for (const auto& s : services->items)
    if (!keep.contains(s.key)) project.disabled.push_back(s.key);
  std::erase_if(services->items, [&](const Node& s) { return !keep.contains(s.key); });
  project.all_profiles.assign(all.begin(), all.end());
  return {};
}

// --- what a service implies ---

void imply(Node& service, const std::string& name, bool restart, const Mark& mark) {
  Node* depends = service.find("depends_on");
  if (!depends || !depends->is_map()) depends = &service.set("depends_on", Node::map(mark));
  if (depends->find(name)) return;
  Node d = Node::map(mark);
  d.set("condition", Node::string("service_started", mark));
  if (restart) d.set("restart", Node::boolean(true, mark));
  d.set("required", Node::boolean(true, mark));
  depends->set(name, std::move(d));
}

void implied_dependencies(Node& service) {
  if (const Node* links = service.get("links")) {
    Node copy = *links;
    for (const auto& link : copy.items)
      imply(service, link.text.substr(0, link.text.find(':')), true, link.mark);
  }
  for (const char* field : {"network_mode", "ipc", "pid"})
    if (const Node* mode = service.get(field); mode && mode->text.starts_with("service:"))
      imply(service, mode->text.substr(8), true, mode->mark);
  if (const Node* from = service.get("volumes_from")) {
    Node copy = *from;
    for (const auto& f : copy.items)
      if (!f.text.starts_with("container:"))
        imply(service, f.text.substr(0, f.text.find(':')), false, f.mark);
  }
}

// The same limit may be said in two places, not differently.
Result<> same_limits(const Node& s) {
  const Node* deploy = s.get("deploy");
  const Node* resources = deploy ? deploy->get("resources") : nullptr;
  const Node* limits = resources ? resources->get("limits") : nullptr;
  const Node* reservations = resources ? resources->get("reservations") : nullptr;
  struct {
    const char* field;
    const Node* group;
    const char *name, *shown;
  } const rows[] = {{"mem_limit", limits, "memory", "deploy.resources.limits.memory"},
                    {"cpus", limits, "cpus", "deploy.resources.limits.cpus"},
                    {"pids_limit", limits, "pids", "deploy.resources.limits.pids"},
                    {"mem_reservation", reservations, "memory", "deploy.resources.reservations.memory"}};
  for (const auto& row : rows) {
    const Node* a = s.get(row.field);
    const Node* b = row.group ? row.group->get(row.name) : nullptr;
    if (a && b && number_text(a->text) != number_text(b->text))
      return fail(error_at(a->mark, "services." + s.key + ": '" + row.field + "' and '" + row.shown +
                                        "' differ; give one of them"));
  }
  const Node* scale = s.get("scale");
  const Node* replicas = deploy ? deploy->get("replicas") : nullptr;
  if (scale && replicas && scale->text != replicas->text)
    return fail(error_at(scale->mark,
                         "services." + s.key + ": 'scale' and 'deploy.replicas' differ; give one of them"));
  return {};
}

Result<> check_service(const Node& s) {
  std::string path = "services." + s.key;
  if (!s.get("image") && !s.get("build") && !s.get("provider"))
    return fail(
        error_at(s.key_mark, "service \"" + s.key + "\" has neither an image nor a build context specified"));
  if (const Node* mode = s.get("network_mode"); mode && s.get("networks"))
    return fail(error_at(mode->mark, path + ": 'network_mode' and 'networks' exclude each other"));
  if (const Node* name = s.get("container_name"); name && replicas_of(s) > 1)
    return fail(
        error_at(name->mark, path + ": a container_name can be one container's only, and the service has " +
                                 std::to_string(replicas_of(s)) + " replicas; remove one of the two"));
  if (replicas_of(s) < 0) return fail(error_at(s.key_mark, path + ": a negative number of replicas"));
  TRY_VOID(same_limits(s));
  if (const Node* health = s.get("healthcheck")) {
    const Node* test = health->get("test");
    if (!health->flag("disable") && test && test->items.size() == 1 && test->items[0].text != "NONE")
      return fail(error_at(test->mark, path + ".healthcheck.test names no command"));
  }
  if (const Node* mounts = s.get("volumes")) {
    std::set<std::string> targets;
    for (const auto& m : mounts->items)
      if (!targets.insert(m.text_of("target")).second)
        return fail(error_at(m.mark, path + ": two volumes are mounted at " + m.text_of("target")));
  }
  return {};
}

// --- references ---

class References {
 public:
  explicit References(Project& project) : project_(project) {}

  Result<> check() {
    for (auto& s : project_.root.find("services")->items) {
      TRY_VOID(services_of(s));
      TRY_VOID(list(s.get("networks"), "networks", true, "", s));
      TRY_VOID(list(s.get("configs"), "configs", false, "source", s));
      TRY_VOID(list(s.get("secrets"), "secrets", false, "source", s));
      if (const Node* mounts = s.get("volumes"))
        for (const auto& m : mounts->items)
          if (const Node* source = m.get("source"); source && m.text_of("type") == "volume")
            TRY_VOID(one("volumes", source->text, source->mark, s));
    }
    return drop_unused();
  }

 private:
  Result<> services_of(Node& s) {
    Node* depends = s.find("depends_on");
    if (!depends || !depends->is_map()) return {};
    std::vector<std::string> gone;
    for (const auto& d : depends->items) {
      if (project_.service(d.key)) continue;
      bool disabled =
          std::find(project_.disabled.begin(), project_.disabled.end(), d.key) != project_.disabled.end();
      if (!d.flag("required", true)) {
        gone.push_back(d.key);
        continue;
      }
      return fail(error_at(d.key_mark, "service \"" + s.key + "\" depends on undefined service \"" + d.key +
                                           "\"" +
                                           (disabled ? ": its profile is not active (--profile)" : "")));
    }
    for (const auto& name : gone) depends->erase(name);
    if (depends->items.empty()) s.erase("depends_on");
    return {};
  }

  Result<> one(const char* section, const std::string& name, const Mark& mark, const Node& service) {
    used_[section].insert(name);
    const Node* all = project_.root.get(section);
    if (all && all->find(name)) return {};
    std::string kind(section, std::string_view(section).size() - 1);
    return fail(error_at(mark, "service \"" + service.key + "\" refers to undefined " + kind + " " + name +
                                   ": declare it under the file's `" + section + ":`"));
  }
  Result<> list(const Node* items, const char* section, bool by_key, const char* member,
                const Node& service) {
    if (!items) return {};
    for (const auto& item : items->items) {
      std::string name = by_key ? item.key : item.text_of(member);
      TRY_VOID(one(section, name, by_key ? item.key_mark : item.mark, service));
    }
    return {};
  }
  Result<> drop_unused() {
    for (const char* section : {"networks", "volumes", "configs", "secrets"}) {
      Node* all = project_.root.find(section);
      if (!all) continue;
      std::erase_if(all->items, [&](const Node& item) { return !used_[section].contains(item.key); });
      if (all->items.empty() || !all->is_map()) project_.root.erase(section);
    }
    return {};
  }

  Project& project_;
  std::map<std::string, std::set<std::string>> used_;
};

Result<> check_cycles(const Project& project) {
  std::map<std::string, int> seen;  // 1: on the way, 2: done
  std::vector<std::string> way;
  std::function<Result<>(const std::string&)> visit = [&](const std::string& name) -> Result<> {
    if (seen[name] == 2) return {};
    const Node& s = *project.service(name);
    if (seen[name] == 1) {
      std::string text;
      for (auto it = std::find(way.begin(), way.end(), name); it != way.end(); ++it) text += *it + " -> ";
      return fail(error_at(s.key_mark, "dependency cycle detected: " + text + name));
    }
    seen[name] = 1;
    way.push_back(name);
    for (const auto& d : dependencies_of(s)) TRY_VOID(visit(d.service));
    way.pop_back();
    seen[name] = 2;
    return {};
  };
  for (const auto& name : project.service_names()) TRY_VOID(visit(name));
  return {};
}

// --- resources ---

void name_resources(Project& project) {
  for (const char* section : {"networks", "volumes", "configs", "secrets"}) {
    Node* all = project.root.find(section);
    if (!all || !all->is_map()) continue;
    for (auto& item : all->items) {
      if (item.is_null()) {
        Node map = Node::map(item.key_mark);
        map.key = item.key;
        map.key_mark = item.key_mark;
        item = std::move(map);
      }
      if (!item.get("name"))
        item.set("name", Node::string(item.flag("external") ? item.key : project.name + "_" + item.key,
                                      item.key_mark));
    }
  }
}

Result<> check_resource(const Node& item, const std::string& section) {
  if (!item.is_map()) return {};
  std::string path = section + "." + item.key;
  if (item.flag("external")) {
    for (const auto& field : item.items)
      if (field.key != "name" && field.key != "external" && !field.key.starts_with("x-"))
        return fail(error_at(field.key_mark, path + ": conflicting parameters \"external\" and \"" +
                                                 field.key + "\" specified"));
    return {};
  }
  if (section != "configs" && section != "secrets") return {};
  int sources = 0;
  for (const char* source : {"file", "environment", "content"}) sources += item.get(source) != nullptr;
  if (sources > 1)
    return fail(error_at(item.key_mark, path + ": file, environment and content exclude each other"));
  if (!sources && !item.get("driver"))
    return fail(
        error_at(item.key_mark, path + ": one of file, environment, content or external must be set"));
  return {};
}

}  // namespace

std::vector<Dependency> dependencies_of(const Node& service) {
  std::vector<Dependency> out;
  const Node* depends = service.get("depends_on");
  if (!depends) return out;
  for (const auto& d : depends->items) {
    Dependency dependency;
    dependency.service = d.key;
    std::string condition = d.text_of("condition");
    if (condition == "service_healthy") dependency.condition = Dependency::On::kHealthy;
    if (condition == "service_completed_successfully") dependency.condition = Dependency::On::kCompleted;
    dependency.restart = d.flag("restart");
    dependency.required = d.flag("required", true);
    out.push_back(std::move(dependency));
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.service < b.service; });
  return out;
}

int64_t replicas_of(const Node& service) {
  const Node* deploy = service.get("deploy");
  if (deploy && deploy->get("replicas")) return deploy->integer_of("replicas");
  return service.integer_of("scale", 1);
}

Result<> environment_of_services(Node& root, const Environment& environment, const Read& read) {
  Node* services = root.find("services");
  if (!services || !services->is_map()) return {};
  for (auto& s : services->items) {
    if (!s.is_map()) continue;
    TRY_VOID(env_files(s, environment, read));
    TRY_VOID(label_files(s, environment, read));
  }
  return {};
}

Result<> complete(Project& project, const LoadRequest& request) {
  Node* services = project.root.find("services");
  if (!services || !services->is_map()) services = &project.root.set("services", Node::map());
  for (auto& s : services->items)
    if (!s.is_map()) return fail(error_at(s.key_mark, "services." + s.key + " must be a mapping"));
  std::sort(services->items.begin(), services->items.end(),
            [](const Node& a, const Node& b) { return a.key < b.key; });
  for (const char* section : {"networks", "volumes", "configs", "secrets"})
    if (const Node* all = project.root.get(section))
      for (const auto& item : all->items) TRY_VOID(check_resource(item, section));
  for (const auto& name : request.services)
    if (!services->find(name)) return fail(Error::not_found("no such service: " + name));
  TRY_VOID(apply_profiles(project, request));
  TRY_VOID(environment_of_services(project.root, project.environment, request.read));
  services = project.root.find("services");
  bool wants_default = false;
  for (auto& s : services->items) {
    implied_dependencies(s);
    TRY_VOID(check_service(s));
    if (s.get("network_mode") || s.get("provider")) continue;
    if (const Node* networks = s.get("networks"); !networks || networks->items.empty()) {
      Node map = Node::map(s.mark);
      map.set("default", Node{});
      s.set("networks", std::move(map));
    }
    wants_default |= s.get("networks")->find("default") != nullptr;
  }
  if (wants_default) {
    Node* networks = project.root.find("networks");
    if (!networks || !networks->is_map()) networks = &project.root.set("networks", Node::map());
    if (!networks->find("default")) networks->set("default", Node{});
  }
  name_resources(project);
  TRY_VOID(References(project).check());
  return check_cycles(project);
}

}  // namespace onggi::stack
