#include "stack/request.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>

#include "base/file.h"
#include "stack/complete.h"
#include "stack/identity.h"
#include "stack/schema.h"

namespace onggi::stack {

namespace {

using engine::ContainerConfig;

std::vector<std::string> texts(const Node* list) {
  std::vector<std::string> out;
  if (list)
    for (const auto& item : list->items) out.push_back(item.text);
  return out;
}

engine::StringMap pairs(const Node* map) {
  engine::StringMap out;
  if (map)
    for (const auto& item : map->items) out.push_back({item.key, item.text});
  return out;
}

int64_t bytes(const Node& owner, const char* name) {
  return owner.get(name) ? size_of(owner.text_of(name)).value_or(0) : 0;
}
int64_t nanoseconds(const Node& owner, const char* name) {
  return owner.get(name) ? duration_of(owner.text_of(name)).value_or(0) : 0;
}

class Builder {
 public:
  Builder(const Project& project, const Node& service, const ReplicaRequest& replica)
      : project_(project), s_(service), replica_(replica), c_(request_.config) {}

  Result<engine::CreateRequest> build() {
    plain();
    process();
    labels();
    TRY_VOID(modes());
    TRY_VOID(resources());
    TRY_VOID(security());
    health();
    TRY_VOID(restart());
    TRY_VOID(mounts());
    TRY_VOID(grants("configs"));
    TRY_VOID(grants("secrets"));
    TRY_VOID(logging());
    if (!replica_.oneoff) TRY_VOID(ports());
    networks();
    return std::move(request_);
  }

 private:
  Error wrong(const char* field, const std::string& what) const {
    const Node* n = s_.get(field);
    return error_at(n ? n->mark : s_.key_mark, "services." + s_.key + "." + field + ": " + what);
  }

  void plain() {
    c_.name = replica_.name;
    c_.image = image_of(project_, s_);
    request_.platform = s_.text_of("platform");
    std::string pull = s_.text_of("pull_policy", "missing");
    request_.pull = pull == "always" || pull == "never" ? pull : "missing";
    c_.hostname = s_.text_of("hostname");
    c_.domainname = s_.text_of("domainname");
    c_.user = s_.text_of("user");
    c_.working_dir = s_.text_of("working_dir");
    c_.tty = s_.flag("tty");
    c_.open_stdin = s_.flag("stdin_open");
    c_.read_only = s_.flag("read_only");
    c_.init = s_.flag("init", true);
    c_.stop_signal = s_.text_of("stop_signal");
    if (s_.get("stop_grace_period")) c_.stop_timeout = stop_seconds(s_);
    c_.group_add = texts(s_.get("group_add"));
    c_.dns = texts(s_.get("dns"));
    c_.dns_search = texts(s_.get("dns_search"));
    c_.dns_options = texts(s_.get("dns_opt"));
    c_.cgroup_parent = s_.text_of("cgroup_parent");
    c_.annotations = pairs(s_.get("annotations"));
    c_.sysctls = pairs(s_.get("sysctls"));
    for (const auto& port : texts(s_.get("expose")))
      c_.expose.push_back(port.find('/') == std::string::npos ? port + "/tcp" : port);
    for (const auto& host : texts(s_.get("extra_hosts")))
      c_.extra_hosts.push_back({host.substr(0, host.find('=')), host.substr(host.find('=') + 1)});
  }

  void process() {
    if (const Node* entry = s_.get("entrypoint")) request_.entrypoint = texts(entry);
    c_.command = texts(s_.get("command"));
    if (const Node* environment = s_.get("environment"))
      for (const auto& item : environment->items)
        c_.env.push_back(item.is_null() ? item.key : item.key + "=" + item.text);
  }

  void label(const std::string& name, const std::string& value) {
    std::erase_if(c_.labels, [&](const auto& l) { return l.first == name; });
    c_.labels.push_back({name, value});
  }

  void labels() {
    c_.labels = pairs(s_.get("labels"));
    std::string files, depends;
    for (const auto& f : project_.files) files += (files.empty() ? "" : ",") + f;
    static constexpr const char* kConditions[] = {"service_started", "service_healthy",
                                                  "service_completed_successfully"};
    for (const auto& d : dependencies_of(s_))
      depends += (depends.empty() ? "" : ",") + d.service + ":" + kConditions[static_cast<int>(d.condition)] +
                 ":" + (d.restart ? "true" : "false");
    label(kProjectLabel, project_.name);
    label(kServiceLabel, s_.key);
    label(kNumberLabel, std::to_string(replica_.number));
    label(kHashLabel, replica_.hash);
    label(kOneoffLabel, replica_.oneoff ? "True" : "False");
    label(kDirectoryLabel, project_.directory);
    label(kFilesLabel, files);
    label(kDependsLabel, depends);
    label(kVersionLabel, ONGGI_VERSION);
    if (s_.get("ports") && !s_.get("container_name") && !replica_.oneoff)
      label("onggi.balance", project_.name + "/" + s_.key);
  }

  // "service:NAME" -> "container:ID".
  Result<std::string> shared(const char* field, std::string mode) {
    if (!mode.starts_with("service:")) return mode;
    std::string name = mode.substr(8);
    for (const auto& [service, id] : replica_.containers)
      if (service == name) return "container:" + id;
    return fail(wrong(field, "the service '" + name + "' has no container"));
  }

  Result<> modes() {
    c_.pid_mode = TRY(shared("pid", s_.text_of("pid")));
    c_.ipc_mode = TRY(shared("ipc", s_.text_of("ipc")));
    c_.uts_mode = s_.text_of("uts");
    c_.cgroupns_mode = s_.text_of("cgroup");
    for (std::string* mode : {&c_.pid_mode, &c_.ipc_mode, &c_.uts_mode, &c_.cgroupns_mode})
      if (*mode == "private" || *mode == "shareable") mode->clear();
    struct {
      const char* field;
      const std::string& mode;
    } const rows[] = {{"pid", c_.pid_mode}, {"ipc", c_.ipc_mode}, {"uts", c_.uts_mode}};
    for (const auto& row : rows)
      if (!row.mode.empty() && row.mode != "host" && !row.mode.starts_with("container:"))
        return fail(wrong(row.field, "invalid mode '" + row.mode + "' (host, service:NAME, container:NAME)"));
    std::string network = s_.text_of("network_mode");
    c_.network = network.empty() ? "bridge" : TRY(shared("network_mode", network));
    return {};
  }

  Result<> resources() {
    engine::ResourceConfig& r = c_.resources;
    const Node none = Node::map();
    const Node* deploy = s_.get("deploy");
    const Node* all = deploy ? deploy->get("resources") : nullptr;
    const Node& limits = all && all->get("limits") ? *all->get("limits") : none;
    const Node& reserved = all && all->get("reservations") ? *all->get("reservations") : none;
    r.memory = s_.get("mem_limit") ? bytes(s_, "mem_limit") : bytes(limits, "memory");
    r.memory_reservation =
        s_.get("mem_reservation") ? bytes(s_, "mem_reservation") : bytes(reserved, "memory");
    r.memory_swap = bytes(s_, "memswap_limit");
    if (r.memory > 0 && r.memory < 512 << 10) return fail(wrong("mem_limit", "the minimum is 512k"));
    if (r.memory_swap > 0 && r.memory_swap < r.memory)
      return fail(wrong("memswap_limit",
                        "it counts memory and swap together, so it cannot be less than the memory limit"));
    c_.shm_size = bytes(s_, "shm_size");
    std::string cpus = s_.text_of("cpus", limits.text_of("cpus"));
    if (!cpus.empty()) r.nano_cpus = static_cast<int64_t>(::strtod(cpus.c_str(), nullptr) * 1e9 + 0.5);
    r.cpu_shares = s_.integer_of("cpu_shares");
    // A reservation of CPU is a share against the others.
    if (const Node* share = reserved.get("cpus"); share && !r.cpu_shares)
      r.cpu_shares =
          std::max<int64_t>(2, static_cast<int64_t>(::strtod(share->text.c_str(), nullptr) * 1024));
    r.cpu_quota = s_.integer_of("cpu_quota");
    r.cpu_period = s_.integer_of("cpu_period");
    if (r.nano_cpus && (r.cpu_quota || r.cpu_period))
      return fail(wrong("cpus", "excludes cpu_quota and cpu_period"));
    r.cpu_rt_runtime = TRY(microseconds("cpu_rt_runtime"));
    r.cpu_rt_period = TRY(microseconds("cpu_rt_period"));
    r.cpuset_cpus = s_.text_of("cpuset");
    r.pids_limit = s_.get("pids_limit") ? s_.integer_of("pids_limit") : limits.integer_of("pids");
    if (s_.get("mem_swappiness"))
      r.memory_swappiness = static_cast<uint64_t>(s_.integer_of("mem_swappiness"));
    r.oom_kill_disable = s_.flag("oom_kill_disable");
    if (s_.get("oom_score_adj")) c_.oom_score_adj = static_cast<int>(s_.integer_of("oom_score_adj"));
    if (const Node* storage = s_.get("storage_opt"); storage && storage->get("size")) {
      auto size = size_of(storage->text_of("size"));
      if (!size) return fail(wrong("storage_opt", size.error().text()));
      c_.storage_size = *size;
    }
    if (const Node* limits_of = s_.get("ulimits"))
      for (const auto& u : limits_of->items) {
        bool pair = u.is_map();
        c_.rlimits.push_back({u.key, pair ? u.integer_of("soft") : ::strtoll(u.text.c_str(), nullptr, 10),
                              pair ? u.integer_of("hard") : ::strtoll(u.text.c_str(), nullptr, 10)});
      }
    block_io(r);
    return {};
  }

  Result<int64_t> microseconds(const char* field) {
    const Node* n = s_.get(field);
    if (!n) return 0;
    if (auto number = parse_i64(n->text, field)) return *number;
    auto duration = duration_of(n->text);
    if (!duration) return fail(wrong(field, duration.error().text()));
    return *duration / 1000;
  }

  void block_io(engine::ResourceConfig& r) {
    const Node* io = s_.get("blkio_config");
    if (!io) return;
    r.blkio_weight = static_cast<uint16_t>(io->integer_of("weight"));
    struct {
      const char* field;
      std::vector<engine::ThrottleConfig>& out;
    } const rows[] = {{"device_read_bps", r.read_bps},
                      {"device_write_bps", r.write_bps},
                      {"device_read_iops", r.read_iops},
                      {"device_write_iops", r.write_iops},
                      {"weight_device", r.blkio_weight_device}};
    for (const auto& row : rows)
      if (const Node* list = io->get(row.field))
        for (const auto& d : list->items)
          row.out.push_back(
              {d.text_of("path"),
               static_cast<uint64_t>(d.get("rate") ? bytes(d, "rate") : d.integer_of("weight"))});
  }

  Result<> security() {
    engine::SecurityConfig& x = c_.security;
    x.privileged = s_.flag("privileged");
    x.cap_add = texts(s_.get("cap_add"));
    x.cap_drop = texts(s_.get("cap_drop"));
    if (auto caps = engine::resolve_capabilities(x); !caps)
      return fail(wrong(x.cap_add.empty() ? "cap_drop" : "cap_add", caps.error().text()));
    std::string userns = s_.text_of("userns_mode");
    if (userns == "host")
      x.host_userns = true;
    else if (!userns.empty() && userns != "auto" && userns != "private")
      return fail(wrong("userns_mode", "'" + userns + "' is not known (auto, host)"));
    for (const auto& option : texts(s_.get("security_opt"))) TRY_VOID(security_option(option));
    if (const Node* devices = s_.get("devices"))
      for (const auto& d : devices->items)
        c_.devices.push_back({d.text_of("source"), d.text_of("target"), d.text_of("permissions")});
    return {};
  }

  Result<> security_option(const std::string& option) {
    engine::SecurityConfig& x = c_.security;
    size_t at = option.find_first_of("=:");
    std::string key = option.substr(0, at), value = at == std::string::npos ? "" : option.substr(at + 1);
    if (key == "no-new-privileges")
      x.allow_setuid = value == "false";
    else if (key == "seccomp" && (value == "unconfined" || value == "builtin"))
      x.seccomp = value == "builtin" ? "" : value;
    else if (key == "seccomp")
      x.seccomp = TRY_CTX(read_file(value.starts_with("/") ? value : project_.directory + "/" + value),
                          "security_opt seccomp");
    else if (key == "apparmor")
      x.apparmor = value;
    else if (key == "label")
      x.selinux_label = value == "disable" ? "" : value;
    else if (key == "systempaths" && value == "unconfined")
      x.unmask_paths = true;
    else
      return fail(
          wrong("security_opt",
                "'" + option +
                    "' is not known (no-new-privileges, seccomp, apparmor, label, systempaths=unconfined)"));
    return {};
  }

  void health() {
    const Node* h = s_.get("healthcheck");
    if (!h) return;
    engine::HealthConfig& out = c_.health;
    out.test = h->flag("disable") ? std::vector<std::string>{"NONE"} : texts(h->get("test"));
    out.interval = nanoseconds(*h, "interval");
    out.timeout = nanoseconds(*h, "timeout");
    out.start_period = nanoseconds(*h, "start_period");
    out.start_interval = nanoseconds(*h, "start_interval");
    out.retries = h->integer_of("retries");
  }

  Result<> restart() {
    std::string text = s_.text_of("restart");
    const Node* deploy = s_.get("deploy");
    const Node* policy = deploy ? deploy->get("restart_policy") : nullptr;
    if (replica_.oneoff) {
      c_.restart.name = "no";
    } else if (!text.empty()) {
      size_t colon = text.find(':');
      c_.restart.name = text.substr(0, colon);
      bool known = false;
      for (const char* word : {"no", "always", "on-failure", "unless-stopped"})
        known |= c_.restart.name == word;
      if (!known)
        return fail(
            wrong("restart", "'" + text + "' is not known (no, always, unless-stopped, on-failure[:N])"));
      if (colon != std::string::npos) {
        auto most = parse_u64(text.substr(colon + 1), "restart");
        if (!most || c_.restart.name != "on-failure")
          return fail(wrong("restart", "'" + text + "' is not known (on-failure[:N])"));
        c_.restart.maximum = static_cast<int64_t>(*most);
      }
    } else if (policy) {
      std::string condition = policy->text_of("condition", "any");
      c_.restart.name = condition == "none" ? "no" : condition == "on-failure" ? "on-failure" : "always";
      if (condition != "none" && condition != "on-failure" && condition != "any")
        return fail(wrong("deploy", "restart_policy.condition '" + condition + "' is not known"));
      c_.restart.maximum = policy->integer_of("max_attempts");
      c_.restart.delay = nanoseconds(*policy, "delay");
      c_.restart.window = nanoseconds(*policy, "window");
    } else {
      c_.restart.name = "no";
    }
    return {};
  }

  // --- files ---

  Result<> mounts() {
    if (const Node* list = s_.get("volumes"))
      for (const auto& m : list->items) TRY_VOID(one_mount(m));
    for (const auto& text : texts(s_.get("tmpfs"))) {
      engine::MountConfig m;
      m.type = "tmpfs";
      m.target = text.substr(0, text.find(':'));
      if (m.target.empty() || m.target[0] != '/')
        return fail(wrong("tmpfs", "'" + text + "' is no absolute path"));
      std::string options = text.find(':') == std::string::npos ? "" : text.substr(text.find(':') + 1);
      for (size_t at = 0; at < options.size();) {
        size_t end = std::min(options.find(',', at), options.size());
        std::string option = options.substr(at, end - at);
        if (option == "ro")
          m.read_only = true;
        else if (option != "rw" && !option.empty())
          m.options.push_back(option);
        at = end + 1;
      }
      c_.mounts.push_back(std::move(m));
    }
    for (auto from : texts(s_.get("volumes_from"))) {
      if (from.starts_with("container:")) {
        c_.volumes_from.push_back(from.substr(10));
        continue;
      }
      std::string name = from.substr(0, from.find(':')),
                  mode = from.find(':') == std::string::npos ? "" : from.substr(from.find(':'));
      std::string id = TRY(shared("volumes_from", "service:" + name));
      c_.volumes_from.push_back(id.substr(10) + mode);
    }
    return {};
  }

  Result<> one_mount(const Node& n) {
    engine::MountConfig m;
    m.type = n.text_of("type");
    m.target = n.text_of("target");
    if (m.target.empty() || m.target[0] != '/')
      return fail(error_at(n.mark, "the target '" + m.target + "' is no absolute path"));
    m.read_only = n.flag("read_only");
    std::string ids = n.text_of("x-onggi-ids");
    m.ids = ids == "idmap" ? "container" : ids == "noidmap" ? "identity" : ids;
    if (m.type == "bind") {
      m.source = n.text_of("source");
      const Node* b = n.get("bind");
      m.propagation = b ? b->text_of("propagation") : "";
      m.recursive = !b || b->text_of("recursive") != "disabled";
      // What does not exist is made, as docker does; unless the file says no.
      struct stat st;
      if (::stat(m.source.c_str(), &st) < 0) {
        if (!b || !b->flag("create_host_path"))
          return fail(
              error_at(n.mark, "the bind mount's source does not exist: " + m.source, ErrorKind::kNotFound));
        TRY_VOID(make_directories(m.source, n.mark));
        if (m.ids.empty()) m.ids = "squash";  // made for this container, so root's by accident
      }
    } else if (m.type == "volume") {
      const Node* volumes = project_.root.get("volumes");
      const Node* v = n.get("source") && volumes ? volumes->find(n.text_of("source")) : nullptr;
      m.source = v ? v->text_of("name") : "";
      m.anonymous = m.source.empty();
      m.no_copy = n.get("volume") && n.get("volume")->flag("nocopy");
    } else if (m.type == "tmpfs") {
      if (const Node* t = n.get("tmpfs")) {
        m.tmpfs_size = bytes(*t, "size");
        m.tmpfs_mode = static_cast<uint32_t>(t->integer_of("mode"));
      }
    }
    c_.mounts.push_back(std::move(m));
    return {};
  }

  static Result<> make_directories(const std::string& path, const Mark& mark) {
    for (size_t at = 1; at != std::string::npos;) {
      at = path.find('/', at);
      std::string part = path.substr(0, at);
      if (::mkdir(part.c_str(), 0755) < 0 && errno != EEXIST)
        return fail(error_at(mark, Error::os("make the bind mount's source", part).text()));
      if (at != std::string::npos) at++;
    }
    return {};
  }

  Result<> grants(const char* section) {
    const Node* list = s_.get(section);
    const Node* all = project_.root.get(section);
    if (!list || !all) return {};
    for (const auto& grant : list->items) {
      const Node* resource = all->find(grant.text_of("source"));
      if (!resource) continue;
      engine::FileConfig f;
      f.target = grant.text_of("target", "/" + grant.text_of("source"));
      if (f.target[0] != '/') f.target = "/" + f.target;
      for (auto [name, value] : {std::pair{"uid", &f.uid}, std::pair{"gid", &f.gid}}) {
        const Node* n = grant.get(name);
        auto number = n ? parse_u64(n->text, name) : Result<uint64_t>(0);
        if (!number || *number > 65535)
          return fail(error_at(n->mark, std::string(section) + "." + name +
                                            ": a number up to 65535 is wanted, not '" + n->text + "'"));
        *value = static_cast<uint32_t>(*number);
      }
      if (grant.get("mode")) f.mode = static_cast<uint32_t>(grant.integer_of("mode"));
      c_.files.push_back(std::move(f));
      request_.file_contents.push_back(TRY(granted_content(project_, *resource, section)));
    }
    return {};
  }

  Result<> logging() {
    const Node* l = s_.get("logging");
    c_.log_driver = l ? l->text_of("driver", "json-file") : "json-file";
    if (c_.log_driver == "local") c_.log_driver = "json-file";
    if (!l) return {};
    for (auto& [key, value] : pairs(l->get("options"))) {
      std::string text = value;
      if (key == "max-size") {
        auto size = size_of(value);
        if (!size || *size <= 0) return fail(wrong("logging", "max-size '" + value + "' is no size"));
        text = std::to_string(*size);
      }
      c_.log_options.push_back({key, text});
    }
    return {};
  }

  // --- networks ---

  Result<> ports() {
    const Node* list = s_.get("ports");
    if (!list) return {};
    if (c_.network != "bridge")
      return c_.network == "host"
                 ? Result<>()
                 : fail(wrong("ports", "a container with network_mode " + c_.network + " publishes nothing"));
    for (const auto& p : list->items) {
      std::string host = p.text_of("published", "0"), address = p.text_of("host_ip");
      if (address.find(':') != std::string::npos) address = "[" + address + "]";
      // Of a range each replica takes its own.
      if (size_t dash = host.find('-'); dash != std::string::npos) {
        int64_t first = ::atoll(host.c_str()), last = ::atoll(host.c_str() + dash + 1),
                own = first + replica_.number - 1;
        if (own > last)
          return fail(error_at(p.mark, "the range " + host + " has no port left for replica " +
                                           std::to_string(replica_.number)));
        host = std::to_string(own);
      }
      c_.ports.push_back(address + ":" + host + ":" + p.text_of("target") + "/" +
                         p.text_of("protocol", "tcp"));
    }
    return {};
  }

  // Other services' links to this one under another name.
  std::vector<std::string> linked_names() const {
    std::vector<std::string> names;
    for (const auto& other : project_.root.get("services")->items)
      for (const auto& link : texts(other.get("links"))) {
        size_t colon = link.find(':');
        if (colon != std::string::npos && link.substr(0, colon) == s_.key)
          names.push_back(link.substr(colon + 1));
      }
    return names;
  }

  void networks() {
    if (c_.network != "bridge") return;
    const Node* used = s_.get("networks");
    const Node* all = project_.root.get("networks");
    if (!used || !all) {  // network_mode: bridge
      engine::EndpointConfig e;
      e.network = "bridge";
      c_.endpoints.push_back(std::move(e));
      return;
    }
    for (const auto& n : used->items) {
      const Node* network = all->find(n.key);
      engine::EndpointConfig e;
      e.network = network ? network->text_of("name") : n.key;
      if (!replica_.oneoff) {
        e.aliases = {s_.key};
        for (auto& alias : texts(n.get("aliases"))) e.aliases.push_back(std::move(alias));
        for (auto& alias : linked_names()) e.aliases.push_back(std::move(alias));
      }
      e.ipv4 = n.text_of("ipv4_address");
      e.ipv6 = n.text_of("ipv6_address");
      e.mac = n.text_of("mac_address", used->items.size() == 1 ? s_.text_of("mac_address") : "");
      e.fixed = !e.ipv4.empty() || !e.ipv6.empty();
      e.options = pairs(n.get("driver_opts"));
      e.priority = n.get("gw_priority") ? n.integer_of("gw_priority") : n.integer_of("priority");
      c_.endpoints.push_back(std::move(e));
    }
    std::stable_sort(c_.endpoints.begin(), c_.endpoints.end(),
                     [](const auto& a, const auto& b) { return a.priority > b.priority; });
  }

  const Project& project_;
  const Node& s_;
  const ReplicaRequest& replica_;
  engine::CreateRequest request_;
  ContainerConfig& c_;
};

}  // namespace

Result<engine::CreateRequest> request_of(const Project& project, const Node& service,
                                         const ReplicaRequest& replica) {
  return Builder(project, service, replica).build();
}

int stop_seconds(const Node& service) {
  constexpr int64_t kSecond = 1'000'000'000, kDefault = 10;
  if (!service.get("stop_grace_period")) return kDefault;
  return static_cast<int>((nanoseconds(service, "stop_grace_period") + kSecond - 1) / kSecond);
}

bool has_healthcheck(const Node& service) {
  const Node* h = service.get("healthcheck");
  const Node* test = h ? h->get("test") : nullptr;
  return h && !h->flag("disable") && test && !test->items.empty() && test->items[0].text != "NONE";
}

}  // namespace onggi::stack
