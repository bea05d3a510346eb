#include "engine/volumes.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <memory>

#include "base/file.h"
#include "engine/clock.h"
#include "engine/disk.h"
#include "engine/events.h"

namespace onggi::engine {

namespace {

std::string volume_path(const Engine& engine, const std::string& name) {
  return engine.paths().root + "/volumes/" + name;
}

std::string loop_note(const Engine& engine, const std::string& name) {
  std::string dir = engine.paths().run + "/volumes";
  (void)::mkdir(dir.c_str(), 0700);
  return dir + "/" + name;
}

// "1g", "512m", "65536": as --memory takes them.
Result<int64_t> parse_volume_size(const std::string& text) {
  size_t end = text.find_first_not_of("0123456789");
  auto number = parse_u64(text.substr(0, end), "size");
  std::string unit = end == std::string::npos ? "" : text.substr(end);
  for (char& c : unit) c = static_cast<char>(::tolower(static_cast<unsigned char>(c)));
  if (unit.size() > 1 && unit.ends_with("ib")) unit.resize(unit.size() - 2);
  if (unit.size() > 1 && unit.ends_with("b")) unit.resize(unit.size() - 1);
  int shift = unit.empty() || unit == "b" ? 0
              : unit == "k"               ? 10
              : unit == "m"               ? 20
              : unit == "g"               ? 30
              : unit == "t"               ? 40
                                          : -1;
  constexpr uint64_t kMost = 1ull << 44;
  if (!number || shift < 0 || *number > (kMost >> shift))
    return fail(Error::invalid("size=" + text + " is not a size (a number with k, m, g or t, at most 16t)"));
  constexpr int64_t kLeast = 16 << 20;
  auto bytes = static_cast<int64_t>(*number << shift);
  if (bytes >= kLeast) return bytes;
  return fail(Error::invalid("size=" + text + " is too little for a file system; the least is 16m"));
}

Result<> check_volume_name(const std::string& name) {
  if (check_container_name(name)) return {};
  return fail(Error::invalid(
      "create " + name + ": \"" + name +
      "\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" "
      "are allowed. If you intended to pass a host directory, use an absolute path"));
}

Result<> make_bounded(Engine& engine, const Volume& volume, int64_t bytes, int dir) {
  if (engine.paths().rootless)
    return fail(Error::unsupported(
        "a bound needs a loop device, which is root's to make; leave out size, or create it as root"));
  TRY_VOID(make_disk(engine, {bytes, true}, dir));
  MountFd mount = TRY(mount_disk(dir, loop_note(engine, volume.name)));
  if (::mkdirat(mount.get(), "data", 0755) == 0) return {};
  return fail(Error::os("make the volume's directory", volume.name));
}

std::string describe_bound(const Volume& volume) {
  for (const auto& [key, value] : volume.options)
    if (key == "size") return "with size=" + value;
  return "without a size";
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
  if (int64_t bytes = TRY(volume_bound(volume))) {
    UniqueFd dir = TRY(open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
    (void)::unlinkat(dir.get(), "disk", 0);  // a killed creator's
    if (auto made = make_bounded(engine, volume, bytes, dir.get()); !made) {
      (void)::unlinkat(dir.get(), "disk", 0);
      (void)::rmdir(path.c_str());
      return fail(std::move(made).error().wrap("create the volume '" + volume.name + "' with a size"));
    }
  } else if (::mkdir((path + "/data").c_str(), 0755) < 0 && errno != EEXIST) {
    return fail(Error::os("make the volume's directory", volume.name));
  }
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

Result<int64_t> volume_bound(const Volume& volume) {
  for (const auto& [key, value] : volume.options)
    if (key == "size") return parse_volume_size(value);
  return 0;
}

Result<OpenVolume> open_volume(Engine& engine, const Volume& volume) {
  OpenVolume open;
  std::string path = volume_path(engine, volume.name);
  if (TRY(volume_bound(volume)) == 0) {
    open.data = TRY(open_at(AT_FDCWD, path + "/data", O_RDONLY | O_DIRECTORY));
    return open;
  }
  UniqueFd dir = TRY(open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
  if (::flock(dir.get(), LOCK_EX) < 0) return fail(Error::os("lock the volume", volume.name));
  open.mount =
      TRY_CTX(mount_disk(dir.get(), loop_note(engine, volume.name)), "mount the volume " + volume.name);
  open.data = TRY(open_at(open.mount.get(), "data", O_RDONLY | O_DIRECTORY));
  return open;
}

std::string volume_place(const Engine& engine, const Volume& volume) {
  bool bounded = volume_bound(volume).value_or(0) > 0;
  return volume_path(engine, volume.name) + (bounded ? "/disk" : "/data");
}

uint64_t volume_usage(const Engine& engine, const Volume& volume) {
  std::string path = volume_path(engine, volume.name);
  struct stat st;
  constexpr uint64_t kBlock = 512;  // st_blocks' unit
  if (::stat((path + "/disk").c_str(), &st) == 0) return static_cast<uint64_t>(st.st_blocks) * kBlock;
  return 0;
}

Result<Volume> create_volume(Engine& engine, Volume volume) {
  bool given = !volume.name.empty();
  if (!given) volume.name = random_id();
  TRY_VOID(check_volume_name(volume.name));
  if (volume.driver != "local")
    return fail(Error::unsupported("create the volume '" + volume.name + "': there is no driver '" +
                                   volume.driver + "' (only local)"));
  for (const auto& [key, value] : volume.options) {
    if (key == "size") continue;
    return fail(
        Error::unsupported("create the volume '" + volume.name + "': the option '" + key +
                           "' is not supported; mount the file system on the host and give its directory"));
  }
  TRY_CTX(volume_bound(volume), "create the volume '" + volume.name + "'");
  volume.created = now_rfc3339();
  volume.anonymous |= !given;
  if (TRY(make_volume(engine, volume))) return volume;
  Volume there = TRY(find_volume(engine, volume.name));
  if (!volume.options.empty() && TRY(volume_bound(there)) != TRY(volume_bound(volume)))
    return fail(Error(ErrorKind::kExists,
                      "a volume '" + there.name + "' exists already, " + describe_bound(there) +
                          "; the size of a volume cannot be changed: create another and copy what is in it"));
  return there;
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
    volume.options = m.volume_options;
    volume = TRY(create_volume(engine, volume));
    m.source = volume.name;
    undo.push([&engine, name = volume.name] { (void)remove_volume(engine, name); });
  }
  return {};
}

}  // namespace onggi::engine
