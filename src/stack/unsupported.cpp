// What a Compose file may say and this engine does not do: data, with the reason beside each row.
#include <algorithm>

#include "stack/request.h"

namespace onggi::stack {

namespace {

constexpr struct {
  const char *field, *reason;
} kServiceFields[] = {
    {"credential_spec", "is for Windows"},
    {"cpu_count", "is for Windows; use cpus"},
    {"cpu_percent", "is for Windows; use cpus"},
    {"device_cgroup_rules", "is not supported: a device named under `devices` gets its rule made for it"},
    {"external_links", "is not supported: put both containers on one network, where each has its name"},
    {"gpus", "is not supported: name the device nodes under `devices`"},
    {"models", "is not supported: run the model as a service"},
    {"provider", "is not supported: only containers are run"},
    {"use_api_socket", "is not supported: there is no API socket"},
    {"post_start", "is not supported yet"},
    {"pre_stop", "is not supported yet"},
    {"pull_refresh_after", "is not supported: pull with `onggi stack pull`"},
};

class Finder {
 public:
  Finder(const Project& project, std::vector<Error>& out) : project_(project), out_(out) {}

  void service(const Node& s) {
    path_ = "services." + s.key + ".";
    for (const auto& row : kServiceFields)
      if (const Node* n = s.get(row.field)) say(*n, row.field, row.reason);
    for (const char* field : {"isolation", "x-onggi-isolation"}) isolation(s.get(field), field);
    if (const Node* n = s.get("runtime"); n && n->text != "onggi" && n->text != "onggi-runtime")
      say(*n, "runtime", "is not supported: containers run with onggi-runtime");
    if (const Node* n = s.get("pull_policy")) pull_policy(*n);
    if (const Node* n = s.get("cgroup_parent"); n && n->text.find("..") != std::string::npos)
      say(*n, "cgroup_parent", "must not leave its parent");
    if (const Node* n = s.get("storage_opt"))
      for (const auto& option : n->items)
        if (option.key != "size") say(option, "storage_opt." + option.key, "is not supported (size)");
    if (const Node* n = s.get("logging")) logging(*n);
    if (const Node* n = s.get("volumes")) mounts(*n);
    if (const Node* n = s.get("networks")) networks(*n);
    if (const Node* n = s.get("deploy")) deploy(*n);
    if (const Node* n = s.get("network_mode"); n && n->text == "bridge") return;
  }

  void resource(const char* section, const Node& r) {
    path_ = std::string(section) + "." + r.key + ".";
    if (!r.is_map()) return;
    std::string kind = section;
    if (kind == "volumes" && r.text_of("driver", "local") != "local")
      say(*r.get("driver"), "driver", "is not supported (local)");
    if (kind == "volumes")
      if (const Node* options = r.get("driver_opts"); options && !options->items.empty())
        say(*options, "driver_opts",
            "is not supported: mount a host directory as a bind mount of the service");
    if (kind == "configs" || kind == "secrets") {
      for (const char* field : {"driver", "driver_opts", "template_driver"})
        if (const Node* n = r.get(field)) say(*n, field, "is for clusters");
      if (r.flag("external"))
        say(*r.get("external"), "external", "is for clusters: give a file, environment or content");
    }
    if (kind == "networks")
      if (const Node* ipam = r.get("ipam")) {
        if (const Node* n = ipam->get("driver"); n && n->text != "default")
          say(*n, "ipam.driver", "is not supported (default)");
        if (const Node* n = ipam->get("options"); n && !n->items.empty())
          say(*n, "ipam.options", "is not supported");
      }
    if (kind == "networks" && r.get("enable_ipv4") && !r.flag("enable_ipv4"))
      say(*r.get("enable_ipv4"), "enable_ipv4", "cannot be switched off");
  }

 private:
  void say(const Node& n, const std::string& field, const std::string& reason) {
    out_.push_back(error_at(n.key_mark.file ? n.key_mark : n.mark, path_ + field + " " + reason,
                            ErrorKind::kUnsupported));
  }

  void isolation(const Node* n, const char* field) {
    if (!n || n->text == "container" || n->text == "default" || n->text.empty()) return;
    if (n->text == "vm")
      say(*n, field, "vm comes with the VM back end, which is not built yet; use container");
    else
      say(*n, field, "'" + n->text + "' is not known (container, vm)");
  }

  void pull_policy(const Node& n) {
    for (const char* known : {"always", "never", "missing", "if_not_present", "build"})
      if (n.text == known) return;
    say(n, "pull_policy", "'" + n.text + "' is not supported (always, missing, never)");
  }

  void logging(const Node& n) {
    std::string driver = n.text_of("driver", "json-file");
    if (driver != "json-file" && driver != "local" && driver != "none" && driver != "journald")
      say(*n.get("driver"), "logging.driver",
          "'" + driver + "' is not built (json-file, local, journald, none)");
    if (const Node* options = n.get("options"))
      for (const auto& option : options->items)
        if (option.key != "max-size" && option.key != "max-file" && option.key != "compress")
          say(option, "logging.options." + option.key, "is not supported (max-size, max-file, compress)");
  }

  void mounts(const Node& list) {
    for (const auto& m : list.items) {
      std::string type = m.text_of("type");
      if (type == "cluster" || type == "npipe")
        say(m, "volumes", "of type " + type + " are not supported (bind, volume, tmpfs)");
      if (type == "image") say(m, "volumes", "of type image are not built yet (bind, volume, tmpfs)");
      if (const Node* v = m.get("volume")) {
        if (const Node* n = v->get("subpath")) say(*n, "volumes.volume.subpath", "is not supported");
        if (const Node* n = v->get("labels"))
          say(*n, "volumes.volume.labels", "is not supported: label the volume under `volumes`");
      }
      if (const Node* b = m.get("bind")) {
        std::string propagation = b->text_of("propagation");
        if (propagation.ends_with("shared"))
          say(*b->get("propagation"), "volumes.bind.propagation",
              "shared would let a container mount on the host; not built");
        std::string recursive = b->text_of("recursive");
        if (recursive == "writable" || recursive == "readonly")
          say(*b->get("recursive"), "volumes.bind.recursive",
              "'" + recursive + "' is not built (enabled, disabled)");
      }
    }
  }

  void networks(const Node& list) {
    for (const auto& n : list.items) {
      if (const Node* ips = n.get("link_local_ips"))
        say(*ips, "networks." + n.key + ".link_local_ips", "is not supported");
      if (const Node* name = n.get("interface_name"))
        say(*name, "networks." + n.key + ".interface_name", "is not supported");
    }
  }

  void deploy(const Node& d) {
    if (std::string mode = d.text_of("mode", "replicated"); mode != "replicated" && mode != "global")
      say(*d.get("mode"), "deploy.mode", "'" + mode + "' is not supported (replicated, global)");
    if (const Node* placement = d.get("placement"); placement && !placement->items.empty())
      say(*placement, "deploy.placement", "is for clusters: there is one machine");
    if (const Node* resources = d.get("resources"))
      if (const Node* r = resources->get("reservations"))
        for (const char* field : {"devices", "generic_resources"})
          if (const Node* n = r->get(field))
            say(*n, std::string("deploy.resources.reservations.") + field,
                "is not supported: name the device nodes under `devices`");
    if (const Node* n = d.get("rollback_config"); n && !n->items.empty())
      say(*n, "deploy.rollback_config",
          "is not supported: a rollback goes the way of the update (update_config)");
    if (const Node* u = d.get("update_config")) update(*u);
  }

  void update(const Node& u) {
    std::string action = u.text_of("failure_action", "rollback");
    if (action != "rollback" && action != "pause" && action != "continue")
      say(*u.get("failure_action"), "deploy.update_config.failure_action",
          "'" + action + "' is not known (rollback, pause, continue)");
    if (std::string ratio = u.text_of("max_failure_ratio", "0"); ratio != "0" && ratio != "0.0")
      say(*u.get("max_failure_ratio"), "deploy.update_config.max_failure_ratio",
          "is not supported: the first replica that fails ends the update (0)");
  }

  const Project& project_;
  std::vector<Error>& out_;
  std::string path_;
};

}  // namespace

std::vector<Error> unsupported(const Project& project, const std::vector<std::string>& services) {
  std::vector<Error> out;
  Finder finder(project, out);
  for (const auto& name : project.service_names())
    if (services.empty() || std::find(services.begin(), services.end(), name) != services.end())
      finder.service(*project.service(name));
  for (const char* section : {"networks", "volumes", "configs", "secrets"})
    if (const Node* all = project.root.get(section))
      for (const auto& r : all->items) finder.resource(section, r);
  return out;
}

}  // namespace onggi::stack
