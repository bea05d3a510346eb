#include "engine/listing.h"

#include <fnmatch.h>
#include <fts.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <tuple>

#include "base/file.h"
#include "engine/clock.h"
#include "engine/lifecycle.h"
#include "engine/networks.h"
#include "engine/writable.h"
#include "network/ports.h"
#include "sys/path.h"

namespace onggi::engine {

namespace {

struct Filter {
  std::string key, value;
};

constexpr const char* kKeys[] = {"id",    "name",   "label",   "status", "exited", "ancestor", "before",
                                 "since", "volume", "network", "health", "expose", "publish",  "is-task"};

Result<std::vector<Filter>> parse_filters(const std::vector<std::string>& texts) {
  std::vector<Filter> filters;
  for (const auto& text : texts) {
    size_t equals = text.find('=');
    if (equals == std::string::npos) return fail(Error::invalid("invalid filter '" + text + "' (KEY=VALUE)"));
    Filter f{text.substr(0, equals), text.substr(equals + 1)};
    if (std::find(std::begin(kKeys), std::end(kKeys), f.key) == std::end(kKeys))
      return fail(Error::invalid("invalid filter '" + f.key + "'"));
    filters.push_back(std::move(f));
  }
  return filters;
}

std::string join_command(const ContainerConfig& c) {
  std::string text;
  for (const auto* part : {&c.entrypoint, &c.command})
    for (const auto& word : *part) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string status_text(const ContainerConfig& c, const ContainerState& s, const std::string& state,
                        const std::string& health, int64_t now) {
  auto since = [&](const std::string& time) {
    auto t = parse_rfc3339(time);
    return t ? human_duration(now - *t) : "";
  };
  if (state == "running" || state == "paused") {
    std::string text = "Up " + since(s.started_at);
    if (state == "paused") return text + " (Paused)";
    if (health == "starting") return text + " (health: starting)";
    return health.empty() ? text : text + " (" + health + ")";
  }
  if (state == "created") return "Created";
  std::string ended = since(s.finished_at);
  std::string code = "(" + std::to_string(s.exit_code) + ")" + (ended.empty() ? "" : " " + ended + " ago");
  (void)c;
  return (state == "restarting" ? "Restarting " : "Exited ") + code;
}

std::string health_of(Engine& engine, const std::string& id) {
  auto text = read_file(engine.paths().live(id) + "/health.json", 1 << 20);
  if (!text) return "";
  auto health = json_parse<HealthState>(*text, "health");
  return health ? health->status : "";
}

struct Item {
  ContainerConfig config;
  ContainerState state;
  std::string health;
  ListedContainer listed;
  std::vector<PublishedPort> ports;
};

bool is_on_network(const ContainerConfig& c, const std::string& wanted) {
  if (c.endpoints.empty()) return c.network == wanted;
  return std::any_of(c.endpoints.begin(), c.endpoints.end(), [&](const auto& e) {
    return e.network == wanted || (wanted.size() >= 12 && e.network_id.starts_with(wanted));
  });
}

// "80", "80/udp", "8000-8010/tcp"
std::vector<std::string> wanted_ports(const std::string& text) {
  auto ports = network::parse_expose(text);
  return ports ? *ports : std::vector<std::string>{text};
}

bool exposes(const ContainerConfig& c, const std::string& wanted) {
  for (const auto& port : wanted_ports(wanted))
    if (std::find(c.expose.begin(), c.expose.end(), port) != c.expose.end()) return true;
  return false;
}

// By the host's port or the container's, as docker has it.
bool publishes(const std::vector<PublishedPort>& ports, const std::string& text) {
  for (const auto& wanted : wanted_ports(text))
    for (const auto& p : ports)
      if (std::to_string(p.host_port) + "/" + p.protocol == wanted ||
          std::to_string(p.container_port) + "/" + p.protocol == wanted)
        return true;
  return false;
}

std::string host_text(const PublishedPort& p) {
  return p.host_ip.find(':') == std::string::npos ? p.host_ip : "[" + p.host_ip + "]";
}

// Neighbouring ports are one entry: "0.0.0.0:8000-8002->8000-8002/tcp".
std::string ports_text(std::vector<PublishedPort> ports, const ContainerConfig& c, bool running) {
  std::stable_sort(ports.begin(), ports.end(), [](const auto& a, const auto& b) {
    return std::tie(a.host_ip, a.protocol, a.container_port, a.host_port) <
           std::tie(b.host_ip, b.protocol, b.container_port, b.host_port);
  });
  std::vector<std::string> parts;
  for (size_t n = 0; n < ports.size();) {
    size_t end = n + 1;
    while (end < ports.size() && ports[end].host_ip == ports[n].host_ip &&
           ports[end].protocol == ports[n].protocol &&
           ports[end].container_port == ports[n].container_port + (end - n) &&
           ports[end].host_port == ports[n].host_port + (end - n))
      end++;
    auto range = [&](uint16_t first) {
      return std::to_string(first) + (end - n > 1 ? "-" + std::to_string(first + (end - n) - 1) : "");
    };
    parts.push_back(host_text(ports[n]) + ":" + range(ports[n].host_port) + "->" +
                    range(ports[n].container_port) + "/" + ports[n].protocol);
    n = end;
  }
  auto exposed = c.expose;
  std::sort(exposed.begin(), exposed.end(),
            [](const auto& a, const auto& b) { return ::atoi(a.c_str()) < ::atoi(b.c_str()); });
  for (const auto& port : exposed) {
    bool published = std::any_of(ports.begin(), ports.end(), [&](const auto& p) {
      return std::to_string(p.container_port) + "/" + p.protocol == port;
    });
    if (running && !published) parts.push_back(port);
  }
  std::string text;
  for (const auto& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

bool label_matches(const ContainerConfig& c, const std::string& wanted) {
  size_t equals = wanted.find('=');
  for (const auto& [key, value] : c.labels)
    if (key == wanted.substr(0, equals) &&
        (equals == std::string::npos || value == wanted.substr(equals + 1)))
      return true;
  return false;
}

bool mounts_volume(const ContainerConfig& c, const std::string& wanted) {
  return std::any_of(c.mounts.begin(), c.mounts.end(),
                     [&](const auto& m) { return m.source == wanted || m.target == wanted; });
}

// One condition; before and since are resolved to times beforehand.
bool matches(const Item& item, const Filter& f, int64_t moment) {
  const ContainerConfig& c = item.config;
  if (f.key == "id") return c.id.starts_with(f.value);
  if (f.key == "name")
    return c.name.find(f.value) != std::string::npos || ::fnmatch(f.value.c_str(), c.name.c_str(), 0) == 0;
  if (f.key == "label") return label_matches(c, f.value);
  if (f.key == "status") return item.listed.state == f.value;
  if (f.key == "exited")
    return item.listed.state == "exited" && std::to_string(item.state.exit_code) == f.value;
  if (f.key == "ancestor")
    return c.image == f.value || c.image == f.value + ":latest" || c.image_id == f.value ||
           c.image_id.starts_with("sha256:" + f.value);
  if (f.key == "before") return item.listed.created_ns < moment;
  if (f.key == "since") return item.listed.created_ns > moment;
  if (f.key == "volume") return mounts_volume(c, f.value);
  if (f.key == "network") return is_on_network(c, f.value);
  if (f.key == "health") return (item.health.empty() ? "none" : item.health) == f.value;
  if (f.key == "expose") return exposes(c, f.value);
  if (f.key == "publish") return publishes(item.ports, f.value);
  return f.value != "true" && f.value != "1";  // is-task: there are no tasks
}

// Conditions on one key are alternatives (labels must all be there), those on different keys must all hold.
bool all_match(const Item& item, const std::vector<Filter>& filters, const std::vector<int64_t>& moments) {
  for (size_t a = 0; a < filters.size(); a++) {
    bool any = false;
    for (size_t b = 0; b < filters.size(); b++)
      if (filters[b].key == filters[a].key && (filters[a].key != "label" || a == b))
        any |= matches(item, filters[b], moments[b]);
    if (!any) return false;
  }
  return true;
}

Result<std::vector<int64_t>> resolve_moments(Engine& engine, const std::vector<Filter>& filters) {
  std::vector<int64_t> moments(filters.size());
  for (size_t n = 0; n < filters.size(); n++) {
    if (filters[n].key != "before" && filters[n].key != "since") continue;
    ContainerConfig c = TRY(TRY(engine.containers().find(filters[n].value)).config());
    moments[n] = TRY(parse_rfc3339(c.created));
  }
  return moments;
}

void describe(Engine& engine, Item& item, int64_t now) {
  const ContainerConfig& c = item.config;
  ListedContainer& l = item.listed;
  l.id = c.id;
  l.name = c.name;
  l.image = c.image;
  l.image_id = c.image_id;
  l.command = join_command(c);
  l.created = c.created;
  l.created_ns = parse_rfc3339(c.created).value_or(0);
  l.age = human_duration(now - l.created_ns);
  l.state = status_of(engine, c, item.state);
  if (!c.health.test.empty() && l.state == "running") item.health = health_of(engine, c.id);
  l.status = status_text(c, item.state, l.state, item.health, now);
  l.network = c.endpoints.empty() ? c.network : "";
  for (const auto& e : c.endpoints) l.network += (l.network.empty() ? "" : ",") + e.network;
  for (const auto& [key, value] : c.labels) l.labels += (l.labels.empty() ? "" : ",") + key + "=" + value;
  for (const auto& m : c.mounts) {
    l.mounts += (l.mounts.empty() ? "" : ",") + (m.source.empty() ? m.target : m.source);
    l.local_volumes += m.type == "volume";
  }
  bool running = l.state == "running" || l.state == "paused";
  if (running && !c.endpoints.empty()) item.ports = published_ports(engine, c.id);
  l.ports = ports_text(item.ports, c, running);
}

}  // namespace

Result<uint64_t> writable_size(Engine& engine, const std::string& id) {
  ContainerConfig config = TRY(TRY(engine.containers().open(id)).config());
  MountFd holder;
  UniqueFd upper = TRY(open_upper(engine, config, holder));
  std::string path = "/proc/self/fd/" + std::to_string(upper.get()) + "/.";
  char* const roots[] = {path.data(), nullptr};
  FTS* tree = ::fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, nullptr);
  if (!tree) return fail(Error::os("measure the writable layer", path));
  uint64_t bytes = 0;
  while (FTSENT* entry = ::fts_read(tree))
    if (entry->fts_info == FTS_F) bytes += static_cast<uint64_t>(entry->fts_statp->st_size);
  ::fts_close(tree);
  return bytes;
}

Result<std::vector<ListedContainer>> list_containers(Engine& engine, const ListRequest& request) {
  auto filters = TRY(parse_filters(request.filters));
  auto moments = TRY(resolve_moments(engine, filters));
  // Asking for a state or an exit code is asking for containers that do not run, too.
  bool all = request.all || std::any_of(filters.begin(), filters.end(),
                                        [](const auto& f) { return f.key == "status" || f.key == "exited"; });
  int64_t now = now_nanoseconds();
  std::vector<ListedContainer> list;
  for (const auto& id : TRY(engine.containers().ids())) {
    auto dir = engine.containers().open(id);
    if (!dir) continue;  // removed meanwhile
    Item item;
    auto config = dir->config();
    auto state = dir->state();
    if (!config || !state) continue;
    item.config = std::move(*config);
    item.state = std::move(*state);
    describe(engine, item, now);
    bool alive =
        item.listed.state == "running" || item.listed.state == "paused" || item.listed.state == "restarting";
    if ((all || alive) && all_match(item, filters, moments)) {
      if (request.size) item.listed.size = std::to_string(TRY(writable_size(engine, id)));
      list.push_back(std::move(item.listed));
    }
  }
  std::sort(list.begin(), list.end(),
            [](const auto& a, const auto& b) { return a.created_ns > b.created_ns; });
  if (request.last >= 0 && list.size() > static_cast<size_t>(request.last))
    list.resize(static_cast<size_t>(request.last));
  return list;
}

}  // namespace onggi::engine
