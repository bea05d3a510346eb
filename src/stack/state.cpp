#include "stack/state.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <tuple>

#include "base/file.h"
#include "base/tree.h"
#include "engine/lifecycle.h"
#include "stack/emit.h"
#include "stack/identity.h"
#include "stack/networks.h"
#include "stack/yaml.h"

namespace onggi::stack {

std::string label_of(const engine::ContainerConfig& config, std::string_view name) {
  for (const auto& [key, value] : config.labels)
    if (key == name) return value;
  return {};
}

namespace {

std::string health_of(const engine::Engine& engine, const Replica& r) {
  if (r.config.health.test.empty() || r.config.health.test[0] == "NONE" || r.status != "running") return {};
  auto text = read_file(engine.paths().live(r.id) + "/health.json", 1 << 20);
  auto health = text ? json_parse<engine::HealthState>(*text, "health")
                     : Result<engine::HealthState>(engine::HealthState{});
  return health && !health->status.empty() ? health->status : "starting";
}

Result<Replica> fill(engine::Engine& engine, const engine::ContainerDir& dir,
                     engine::ContainerConfig config) {
  Replica r;
  r.state = TRY(dir.state());
  r.id = config.id;
  r.name = config.name;
  r.service = label_of(config, kServiceLabel);
  r.hash = label_of(config, kHashLabel);
  r.number = ::atoi(label_of(config, kNumberLabel).c_str());
  r.oneoff = label_of(config, kOneoffLabel) == "True";
  r.config = std::move(config);
  // Paused is asked of the kernel; the cgroup is looked at only for what runs.
  r.status = engine::status_of(engine, r.config, r.state);
  r.health = health_of(engine, r);
  r.held = is_held(engine, r.id);
  return r;
}

// Each container that carries the label, before its whole configuration is parsed: most containers of a store
// are not this stack's.
Result<> each_with(engine::Engine& engine, const std::string& needle,
                   const std::function<void(const engine::ContainerDir&, engine::ContainerConfig)>& take) {
  for (const auto& id : TRY(engine.containers().ids())) {
    auto dir = engine.containers().open(id);
    if (!dir) continue;
    auto text = read_file_at(dir->fd(), "config.json");
    if (!text || text->find(needle) == std::string::npos) continue;
    auto config =
        json_parse<engine::ContainerConfig>(*text, "configuration of container " + id.substr(0, 12));
    if (config) take(*dir, std::move(*config));
  }
  return {};
}

}  // namespace

Result<std::vector<Replica>> read_replicas(engine::Engine& engine, const std::string& project) {
  std::vector<Replica> all;
  // As JsonWriter writes a member; a name has nothing to escape.
  std::string needle = "\"" + std::string(kProjectLabel) + "\":\"" + project + "\"";
  TRY_VOID(each_with(engine, needle, [&](const engine::ContainerDir& dir, engine::ContainerConfig config) {
    if (label_of(config, kProjectLabel) != project) return;
    if (auto r = fill(engine, dir, std::move(config))) all.push_back(std::move(*r));
  }));
  std::sort(all.begin(), all.end(), [](const Replica& a, const Replica& b) {
    return std::tie(a.service, a.number, a.config.created) < std::tie(b.service, b.number, b.config.created);
  });
  return all;
}

Result<Replica> read_replica(engine::Engine& engine, const std::string& id) {
  engine::ContainerDir dir = TRY(engine.containers().open(id));
  return fill(engine, dir, TRY(dir.config()));
}

std::vector<LabelDependency> dependencies_by_label(const engine::ContainerConfig& config) {
  std::vector<LabelDependency> out;
  std::string text = label_of(config, kDependsLabel);
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    std::string part = text.substr(at, end - at);
    at = end + 1;
    size_t one = part.find(':'), two = one == std::string::npos ? one : part.find(':', one + 1);
    if (one == std::string::npos || one == 0) continue;
    out.push_back({part.substr(0, one), part.substr(one + 1, two - one - 1),
                   two != std::string::npos && part.substr(two + 1) == "true"});
  }
  return out;
}

std::vector<std::vector<std::string>> levels_of(const std::vector<Replica>& replicas) {
  std::map<std::string, std::vector<std::string>> needs;
  for (const auto& r : replicas) {
    auto& own = needs[r.service];
    if (r.oneoff) continue;
    for (const auto& d : dependencies_by_label(r.config)) own.push_back(d.service);
  }
  std::vector<std::vector<std::string>> levels;
  std::map<std::string, bool> placed;
  while (placed.size() < needs.size()) {
    std::vector<std::string> level;
    for (const auto& [service, wanted] : needs) {
      bool free = !placed.contains(service);
      for (const auto& w : wanted) free = free && (placed.contains(w) || !needs.contains(w) || w == service);
      if (free) level.push_back(service);
    }
    if (level.empty())
      for (const auto& [service, wanted] : needs)
        if (!placed.contains(service)) level.push_back(service);
    for (const auto& service : level) placed[service] = true;
    levels.push_back(std::move(level));
  }
  return levels;
}

Result<std::vector<StackSummary>> list_stacks(engine::Engine& engine) {
  std::map<std::string, std::map<std::string, int>> states;
  std::map<std::string, std::string> files;
  TRY_VOID(each_with(engine, std::string("\"") + kProjectLabel + "\":",
                     [&](const engine::ContainerDir& dir, engine::ContainerConfig config) {
                       std::string project = label_of(config, kProjectLabel);
                       if (project.empty()) return;
                       files[project] = label_of(config, kFilesLabel);
                       auto r = fill(engine, dir, std::move(config));
                       if (r && !r->oneoff) states[project][r->status]++;
                     }));
  std::vector<StackSummary> all;
  for (const auto& [name, counts] : states)
    all.push_back({name, files[name], {counts.begin(), counts.end()}});
  return all;
}

// --- ROOT/stacks ---

Result<StackDirectory> StackDirectory::open(const engine::Engine& engine, const std::string& project,
                                            int timeout_ms) {
  std::string base = engine.paths().root + "/stacks";
  if (::mkdir(base.c_str(), 0700) < 0 && errno != EEXIST) return fail(Error::os("make the directory", base));
  StackDirectory d;
  d.path_ = base + "/" + project;
  constexpr int kStepMs = 20;
  for (int waited = 0;;) {
    if (::mkdir(d.path_.c_str(), 0700) < 0 && errno != EEXIST)
      return fail(Error::os("make the directory", d.path_));
    auto dir = open_at(AT_FDCWD, d.path_, O_RDONLY | O_DIRECTORY);
    if (!dir && dir.error().os_errno() == ENOENT) continue;  // its owner has just removed it
    d.dir_ = TRY(std::move(dir));
    while (::flock(d.dir_.get(), LOCK_EX | LOCK_NB) < 0) {
      if (errno != EWOULDBLOCK) return fail(Error::os("lock the stack", project));
      if (waited >= timeout_ms)
        return fail(Error::busy("the stack " + project + " is busy with another command for over " +
                                std::to_string(timeout_ms / 1000) + " s; try again"));
      ::usleep(kStepMs * 1000);
      waited += kStepMs;
    }
    struct stat here, there;
    if (::fstat(d.dir_.get(), &here) == 0 && ::stat(d.path_.c_str(), &there) == 0 &&
        here.st_ino == there.st_ino)
      break;
  }
  if (::mkdirat(d.dir_.get(), "definitions", 0700) < 0 && errno != EEXIST)
    return fail(Error::os("make the directory", d.path_ + "/definitions"));
  return d;
}

Result<> StackDirectory::save_definition(const std::string& hash, const Node& definition) const {
  std::string name = "definitions/" + hash + ".json";
  if (::faccessat(dir_.get(), name.c_str(), F_OK, 0) == 0) return {};
  return replace_file_at(dir_.get(), name, to_json(definition));
}

Result<Node> StackDirectory::definition(const std::string& hash) const {
  if (hash.empty() || hash.find('/') != std::string::npos) return fail(Error::not_found("no definition"));
  std::string text = TRY(read_file_at(dir_.get(), "definitions/" + hash + ".json", kYamlMaxBytes));
  return parse_yaml(text, "definition " + hash.substr(0, 12));  // JSON is YAML
}

void StackDirectory::keep_only(const std::vector<std::string>& used) const {
  auto fd = open_at(dir_.get(), "definitions", O_RDONLY | O_DIRECTORY);
  if (!fd) return;
  UniqueFd listing(::dup(fd->get()));
  std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(listing.get()), ::closedir);
  if (!entries) return;
  (void)listing.release();  // the stream owns it now
  std::vector<std::string> gone;
  while (dirent* e = ::readdir(entries.get())) {
    std::string name = e->d_name;
    if (name[0] != '.' && std::find(used.begin(), used.end(), name.substr(0, name.find('.'))) == used.end())
      gone.push_back(name);
  }
  for (const auto& name : gone) (void)::unlinkat(fd->get(), name.c_str(), 0);
}

void StackDirectory::remove() const {
  size_t slash = path_.rfind('/');
  auto parent = open_at(AT_FDCWD, path_.substr(0, slash), O_RDONLY | O_DIRECTORY);
  if (parent) (void)remove_tree_at(parent->get(), path_.substr(slash + 1));
}

}  // namespace onggi::stack
