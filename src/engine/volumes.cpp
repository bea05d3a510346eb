#include "engine/volumes.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/file.h"
#include "engine/clock.h"
#include "engine/events.h"

namespace onggi::engine {

namespace {

std::string volume_path(const Engine& engine, const std::string& name) {
  return engine.paths().root + "/volumes/" + name;
}

Result<> check_volume_name(const std::string& name) {
  if (check_container_name(name)) return {};
  return fail(Error::invalid(
      "create " + name + ": \"" + name +
      "\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" "
      "are allowed. If you intended to pass a host directory, use an absolute path"));
}

// Two at once: the directory's creation decides, and the file in it is written by rename.
Result<bool> make_volume(Engine& engine, const Volume& volume) {
  std::string path = volume_path(engine, volume.name);
  if (::mkdir(path.c_str(), 0700) < 0) {
    if (errno != EEXIST) return fail(Error::os("make the volume", volume.name));
    // A creator that was killed left a directory without a description: it is taken over.
    struct stat st;
    if (::stat((path + "/volume.json").c_str(), &st) == 0) return false;
  }
  if (::mkdir((path + "/data").c_str(), 0755) < 0 && errno != EEXIST)
    return fail(Error::os("make the volume's directory", volume.name));
  TRY_VOID(save_volume(engine, volume));
  record_event(engine.paths(), {"volume", "create", volume.name, "", "", {{"driver", "local"}}});
  return true;
}

}  // namespace

std::string volume_data(const Engine& engine, const std::string& name) {
  return volume_path(engine, name) + "/data";
}

Result<> save_volume(Engine& engine, const Volume& volume) {
  UniqueFd dir = TRY(open_at(AT_FDCWD, volume_path(engine, volume.name), O_RDONLY | O_DIRECTORY));
  JsonWriter w;
  json_write(w, volume);
  return replace_file_at(dir.get(), "volume.json", w.text());
}

Result<Volume> create_volume(Engine& engine, Volume volume) {
  bool given = !volume.name.empty();
  if (!given) volume.name = random_id();
  TRY_VOID(check_volume_name(volume.name));
  if (volume.driver != "local")
    return fail(Error::unsupported("create the volume '" + volume.name + "': there is no driver '" +
                                   volume.driver + "' (only local)"));
  for (const auto& [key, value] : volume.options)
    return fail(
        Error::unsupported("create the volume '" + volume.name + "': the option '" + key +
                           "' is not supported; mount the file system on the host and give its directory"));
  volume.created = now_rfc3339();
  volume.anonymous |= !given;
  if (!TRY(make_volume(engine, volume))) return find_volume(engine, volume.name);
  return volume;
}

Result<Volume> find_volume(Engine& engine, const std::string& name) {
  if (!check_volume_name(name)) return fail(Error::not_found("get " + name + ": no such volume"));
  auto text = read_file(volume_path(engine, name) + "/volume.json");
  if (!text) return fail(Error::not_found("get " + name + ": no such volume"));
  return json_parse<Volume>(*text, "description of the volume '" + name + "'");
}

Result<std::vector<Volume>> list_volumes(Engine& engine) {
  std::string path = engine.paths().root + "/volumes";
  struct Closer {
    void operator()(DIR* d) const { ::closedir(d); }
  };
  std::unique_ptr<DIR, Closer> dir(::opendir(path.c_str()));
  if (!dir) return fail(Error::os("read the directory", path));
  std::vector<Volume> list;
  while (dirent* e = ::readdir(dir.get())) {
    if (e->d_name[0] == '.') continue;
    if (auto volume = find_volume(engine, e->d_name)) list.push_back(std::move(*volume));
  }
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return list;
}

Result<std::vector<std::string>> volume_users(Engine& engine, const std::string& name) {
  std::vector<std::string> users;
  for (const auto& id : TRY(engine.containers().ids())) {
    auto dir = engine.containers().open(id);
    if (!dir) continue;
    auto config = dir->config();
    if (!config) continue;
    for (const auto& m : config->mounts)
      if (m.type == "volume" && m.source == name) {
        users.push_back(id);
        break;
      }
  }
  return users;
}

Result<> remove_volume(Engine& engine, const std::string& name) {
  TRY_VOID(find_volume(engine, name));
  auto users = TRY(volume_users(engine, name));
  if (!users.empty()) {
    std::string list;
    for (const auto& id : users) list += (list.empty() ? "" : ", ") + id.substr(0, 12);
    return fail(
        Error::busy("remove " + name + ": volume is in use - [" + list + "]; remove the containers first"));
  }
  std::string trash = engine.paths().root + "/trash/volume-" + random_id().substr(0, 16);
  if (::rename(volume_path(engine, name).c_str(), trash.c_str()) < 0)
    return fail(Error::os("remove the volume", name));
  record_event(engine.paths(), {"volume", "destroy", name, "", "", {{"driver", "local"}}});
  engine.sweep_in_background();
  return {};
}

Result<> create_volumes_of(Engine& engine, ContainerConfig& config, Rollback& undo) {
  for (auto& m : config.mounts) {
    if (m.type != "volume") continue;
    m.anonymous |= m.source.empty();
    if (!m.source.empty() && find_volume(engine, m.source)) continue;
    Volume volume;
    volume.name = m.source;
    volume.anonymous = m.anonymous;
    volume = TRY(create_volume(engine, volume));
    m.source = volume.name;
    undo.push([&engine, name = volume.name] { (void)remove_volume(engine, name); });
  }
  return {};
}

}  // namespace onggi::engine
