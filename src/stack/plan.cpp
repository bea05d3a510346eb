#include "stack/plan.h"

#include <algorithm>
#include <set>

#include "base/json.h"
#include "stack/complete.h"
#include "stack/emit.h"
#include "stack/identity.h"

namespace onggi::stack {

namespace {

using Do = ContainerAction::Do;

void compare(const Node* a, const Node* b, const std::string& path, std::vector<FieldChange>& out) {
  constexpr size_t kMost = 64;
  if (out.size() >= kMost) return;
  if (a && b && same_value(*a, *b)) return;
  bool both_maps = a && b && a->is_map() && b->is_map();
  bool both_lists = a && b && a->is_list() && b->is_list() && a->items.size() == b->items.size();
  if (both_maps) {
    std::set<std::string> keys;
    for (const auto* side : {a, b})
      for (const auto& item : side->items) keys.insert(item.key);
    for (const auto& key : keys)
      compare(a->find(key), b->find(key), path.empty() ? key : path + "." + key, out);
  } else if (both_lists) {
    for (size_t i = 0; i < a->items.size(); i++)
      compare(&a->items[i], &b->items[i], path + "[" + std::to_string(i) + "]", out);
  } else {
    out.push_back({path, a ? to_json(*a) : "", b ? to_json(*b) : ""});
  }
}

class Planner {
 public:
  Planner(const Project& project, const UpOptions& options, const Facts& facts)
      : project_(project), options_(options), facts_(facts) {}

  Result<Plan> make() {
    for (const auto& name : options_.services)
      if (!project_.service(name)) return fail(Error::not_found("no such service: " + name));
    for (const auto& [name, count] : options_.scale) {
      if (!project_.service(name)) return fail(Error::not_found("no such service: " + name));
      if (count > 1 && project_.service(name)->get("container_name"))
        return fail(
            Error::invalid("the service " + name +
                           " has a container_name, which can be one container's only; it cannot be scaled"));
    }
    auto names = with_dependencies(project_, options_.services, !options_.no_deps);
    resources(names);
    for (const auto& name : names) TRY_VOID(service(*project_.service(name)));
    orphans();
    return std::move(plan_);
  }

 private:
  void resources(const std::vector<std::string>& names) {
    std::set<std::string> networks, volumes;
    for (const auto& name : names) {
      const Node& s = *project_.service(name);
      if (const Node* used = s.get("networks"))
        for (const auto& n : used->items) networks.insert(n.key);
      if (const Node* used = s.get("volumes"))
        for (const auto& m : used->items)
          if (m.text_of("type") == "volume" && m.get("source")) volumes.insert(m.text_of("source"));
    }
    if (const Node* all = project_.root.get("networks"))
      for (const auto& n : all->items)
        if (networks.contains(n.key)) network(n);
    if (const Node* all = project_.root.get("volumes"))
      for (const auto& v : all->items) {
        if (!volumes.contains(v.key)) continue;
        ResourceAction a{ResourceAction::Do::kKeep, "volume", v.key, v.text_of("name"), ""};
        if (!v.flag("external") && !facts_.volume_exists(a.name)) a.what = ResourceAction::Do::kCreate;
        plan_.resources.push_back(std::move(a));
      }
  }

  void network(const Node& n) {
    ResourceAction a{ResourceAction::Do::kKeep, "network", n.key, n.text_of("name"), ""};
    std::string hash = facts_.network_hash(a.name);
    if (n.flag("external")) {
      plan_.resources.push_back(std::move(a));
      return;
    }
    if (hash.empty()) {
      a.what = ResourceAction::Do::kCreate;
    } else if (hash != "?" && hash != resource_hash(n)) {
      a.what = ResourceAction::Do::kRecreate;
      a.reason = "its configuration changed";
      changed_networks_.insert(n.key);
    }
    plan_.resources.push_back(std::move(a));
  }

  // Why the container is not what the file says; empty: it is.
  std::string stale(const Node& s, const Replica& r, const std::string& hash,
                    std::vector<FieldChange>& changes) const {
    if (options_.no_recreate) return {};
    bool named = options_.services.empty() || std::find(options_.services.begin(), options_.services.end(),
                                                        s.key) != options_.services.end();
    if (options_.force_recreate && (named || options_.always_recreate_deps)) return "--force-recreate";
    if (r.hash != hash) {
      if (auto old = facts_.definition(r.hash)) changes = differences(*old, plan_.definitions.at(s.key));
      return "its configuration changed";
    }
    std::string image = facts_.image_id(image_of(project_, s));
    if (!image.empty() && image != r.config.image_id) {
      changes.push_back({"image id", "\"" + r.config.image_id + "\"", "\"" + image + "\""});
      return "its image changed";
    }
    if (const Node* used = s.get("networks"))
      for (const auto& n : used->items)
        if (changed_networks_.contains(n.key)) return "the network " + n.key + " changed";
    // What shares another container's namespace goes with it.
    for (const char* field : {"network_mode", "ipc", "pid"})
      if (std::string mode = s.text_of(field);
          mode.starts_with("service:") && replaced_.contains(mode.substr(8)))
        return "it shares the namespace of " + mode.substr(8) + ", which is replaced";
    return {};
  }

  Result<> service(const Node& s) {
    Node definition = TRY(definition_of(project_, s));
    std::string hash = definition_hash(definition);
    plan_.hashes[s.key] = hash;
    plan_.definitions[s.key] = std::move(definition);
    auto scaled = options_.scale.find(s.key);
    int64_t wanted = scaled != options_.scale.end() ? scaled->second : replicas_of(s);
    std::map<int, std::vector<const Replica*>> by_number;
    for (const auto& r : facts_.replicas)
      if (r.service == s.key && !r.oneoff) by_number[r.number].push_back(&r);
    // Numbers may have holes: those that are there count first.
    std::vector<int> numbers;
    for (const auto& [number, all] : by_number) numbers.push_back(number);
    std::vector<int> keep(numbers.begin(),
                          numbers.begin() + std::min<int64_t>(wanted, static_cast<int64_t>(numbers.size())));
    for (int next = 1; static_cast<int64_t>(keep.size()) < wanted; next++)
      if (!by_number.contains(next)) keep.push_back(next);
    std::sort(keep.begin(), keep.end());
    for (int number : keep) one_number(s, hash, number, by_number[number]);
    for (int number : numbers)
      if (std::find(keep.begin(), keep.end(), number) == keep.end())
        for (const Replica* r : by_number[number])
          add(Do::kRemove, s, number, r, "not wanted any more: " + std::to_string(wanted) + " replicas");
    return {};
  }

  void one_number(const Node& s, const std::string& hash, int number,
                  const std::vector<const Replica*>& all) {
    if (all.empty()) return add(Do::kCreate, s, number, nullptr, "");
    // Two with one number: an update was interrupted. What is right stays.
    const Replica* best = all[0];
    std::vector<FieldChange> changes, ignored;
    for (const Replica* r : all) {
      bool right = stale(s, *r, hash, ignored).empty(), was = stale(s, *best, hash, ignored).empty();
      if ((right && !was) || (right == was && r->status == "running" && best->status != "running")) best = r;
    }
    for (const Replica* r : all)
      if (r != best) add(Do::kRemove, s, number, r, "left by an interrupted update");
    std::string why = stale(s, *best, hash, changes);
    if (!why.empty()) {
      replaced_.insert(s.key);
      add(Do::kRecreate, s, number, best, why);
      plan_.containers.back().changes = std::move(changes);
      return;
    }
    bool runs = best->status == "running" || best->status == "restarting";
    bool done = best->status == "exited" && completes(s.key) && best->state.exit_code == 0;
    bool keep = (runs && !best->held) || done || options_.no_start;
    add(keep ? Do::kKeep : Do::kStart, s, number, best, !keep && runs ? "it has no connections yet" : "");
  }

  // Somebody waits for its end, and it has ended well: it is not run a second time.
  bool completes(const std::string& name) const {
    for (const auto& other : project_.root.get("services")->items)
      for (const auto& d : dependencies_of(other))
        if (d.service == name && d.condition == Dependency::On::kCompleted) return true;
    return false;
  }

  void add(Do what, const Node& s, int number, const Replica* r, std::string reason) {
    ContainerAction a;
    a.what = what;
    a.service = s.key;
    a.number = number;
    a.name = r && what != Do::kRecreate ? r->name : container_name(project_, s, number);
    if (r) a.id = r->id;
    a.reason = std::move(reason);
    for (const auto& other : facts_.replicas)
      a.beside |= other.service == s.key && !other.oneoff && other.status == "running";
    plan_.containers.push_back(std::move(a));
  }

  void orphans() {
    for (const auto& r : facts_.replicas) {
      if (r.oneoff || project_.service(r.service)) continue;
      bool disabled =
          std::find(project_.disabled.begin(), project_.disabled.end(), r.service) != project_.disabled.end();
      if (disabled) continue;
      if (!options_.remove_orphans) {
        plan_.orphans.push_back(r.name);
        continue;
      }
      ContainerAction a;
      a.what = Do::kRemove;
      a.service = r.service;
      a.name = r.name;
      a.id = r.id;
      a.number = r.number;
      a.reason = "the file has no service of that name";
      plan_.containers.push_back(std::move(a));
    }
  }

  const Project& project_;
  const UpOptions& options_;
  const Facts& facts_;
  Plan plan_;
  std::set<std::string> changed_networks_, replaced_;
};

const char* word(Do what) {
  switch (what) {
    case Do::kKeep:
      return "left";
    case Do::kStart:
      return "started";
    case Do::kCreate:
      return "created";
    case Do::kRecreate:
      return "recreated";
    case Do::kRemove:
      return "removed";
  }
  return "?";
}
const char* word(ResourceAction::Do what) {
  return what == ResourceAction::Do::kKeep     ? "left"
         : what == ResourceAction::Do::kCreate ? "created"
                                               : "recreated";
}

}  // namespace

bool Plan::changes_something() const {
  bool any =
      std::any_of(containers.begin(), containers.end(), [](const auto& a) { return a.what != Do::kKeep; });
  return any || std::any_of(resources.begin(), resources.end(),
                            [](const auto& a) { return a.what != ResourceAction::Do::kKeep; });
}

std::vector<FieldChange> differences(const Node& from, const Node& to) {
  std::vector<FieldChange> out;
  compare(&from, &to, "", out);
  return out;
}

std::vector<std::string> with_dependencies(const Project& project, const std::vector<std::string>& names,
                                           bool dependencies) {
  std::vector<std::string> out;
  std::set<std::string> seen;
  std::function<void(const std::string&)> visit = [&](const std::string& name) {
    const Node* s = project.service(name);
    if (!s || !seen.insert(name).second) return;
    if (dependencies)
      for (const auto& d : dependencies_of(*s)) visit(d.service);
    out.push_back(name);
  };
  for (const auto& name : names.empty() ? project.service_names() : names) visit(name);
  return out;
}

std::map<std::string, int> depth_of_services(const Project& project) {
  std::map<std::string, int> depth;
  for (const auto& name : with_dependencies(project, {}, true)) {
    int own = 0;
    for (const auto& d : dependencies_of(*project.service(name))) own = std::max(own, depth[d.service] + 1);
    depth[name] = own;
  }
  return depth;
}

Result<Plan> make_plan(const Project& project, const UpOptions& options, const Facts& facts) {
  return Planner(project, options, facts).make();
}

std::string plan_text(const Plan& plan) {
  std::string text;
  size_t left = 0;
  auto line = [&](const char* sign, const std::string& what, const char* how, const std::string& reason) {
    text += std::string(sign) + " " + what + " is " + how + (reason.empty() ? "" : ": " + reason) + "\n";
  };
  for (const auto& r : plan.resources) {
    if (r.what == ResourceAction::Do::kKeep)
      left++;
    else
      line(r.what == ResourceAction::Do::kCreate ? "+" : "~", r.kind + " " + r.name, word(r.what), r.reason);
  }
  for (const auto& a : plan.containers) {
    if (a.what == Do::kKeep) {
      left++;
      continue;
    }
    const char* sign = a.what == Do::kRemove     ? "-"
                       : a.what == Do::kRecreate ? "~"
                       : a.what == Do::kStart    ? ">"
                                                 : "+";
    line(sign, "container " + a.name, word(a.what), a.reason);
    for (const auto& c : a.changes)
      text += "    " + c.field + ": " + (c.from.empty() ? "(absent)" : c.from) + " -> " +
              (c.to.empty() ? "(absent)" : c.to) + "\n";
  }
  for (const auto& name : plan.orphans)
    text += "! container " + name + " belongs to no service of the file (--remove-orphans)\n";
  return text + (text.empty() ? "Nothing to do: " : "") + std::to_string(left) + " left as they are\n";
}

std::string plan_json(const Plan& plan, const std::string& project) {
  JsonWriter w("  ");
  w.begin_object();
  w.member("project", project);
  w.member_bool("changes", plan.changes_something());
  w.key("resources");
  w.begin_array();
  for (const auto& r : plan.resources) {
    w.begin_object();
    w.member("kind", r.kind);
    w.member("name", r.name);
    w.member("action", word(r.what));
    if (!r.reason.empty()) w.member("reason", r.reason);
    w.end_object();
  }
  w.end_array();
  w.key("containers");
  w.begin_array();
  for (const auto& a : plan.containers) {
    w.begin_object();
    w.member("service", a.service);
    w.member_number("number", a.number);
    w.member("name", a.name);
    if (!a.id.empty()) w.member("id", a.id);
    w.member("action", word(a.what));
    if (!a.reason.empty()) w.member("reason", a.reason);
    if (!a.changes.empty()) {
      w.key("changes");
      w.begin_array();
      for (const auto& c : a.changes) {
        w.begin_object();
        w.member("field", c.field);
        w.key("from");
        c.from.empty() ? w.null() : w.raw(c.from);
        w.key("to");
        c.to.empty() ? w.null() : w.raw(c.to);
        w.end_object();
      }
      w.end_array();
    }
    w.end_object();
  }
  w.end_array();
  w.member_strings("orphans", plan.orphans);
  w.end_object();
  return w.take() + "\n";
}

}  // namespace onggi::stack
