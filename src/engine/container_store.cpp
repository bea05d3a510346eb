#include "engine/container_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <memory>

#include "base/file.h"
#include "base/scope.h"
#include "sys/path.h"
#include "sys/process.h"

namespace onggi::engine {

namespace {

struct DirCloser {
  void operator()(DIR* d) const { ::closedir(d); }
};

Result<std::vector<std::string>> list_names(const std::string& path) {
  std::unique_ptr<DIR, DirCloser> dir(::opendir(path.c_str()));
  if (!dir) return fail(Error::os("read the directory", path));
  std::vector<std::string> names;
  while (dirent* e = ::readdir(dir.get()))
    if (e->d_name[0] != '.') names.emplace_back(e->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

std::string read_link(const std::string& path) {
  char text[PATH_MAX];
  ssize_t n = ::readlink(path.c_str(), text, sizeof text);
  return n > 0 ? std::string(text, static_cast<size_t>(n)) : "";
}

bool exists(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0;
}

}  // namespace

namespace {

// A container that was being made when its maker died: no configuration, and nobody holds its lock. (A live
// maker locks its directory before it takes links.)
bool is_dead_claim(const Paths& paths, const std::string& id) {
  std::string config = paths.container(id) + "/config.json";
  if (exists(config)) return false;
  auto dir = open_at(AT_FDCWD, paths.container(id), O_RDONLY | O_DIRECTORY);
  return dir && ::flock(dir->get(), LOCK_EX | LOCK_NB) == 0 && !exists(config);
}

}  // namespace

// A link whose container is gone is taken over: its name is renamed away first, so that of two takers only
// one removes the stale link it looked at.
Result<bool> take_link(const Paths& paths, const std::string& link, const std::string& id) {
  for (int tries = 0; tries < 3; tries++) {
    if (::symlink(id.c_str(), link.c_str()) == 0) return true;
    if (errno != EEXIST) return fail(Error::os("reserve", link));
    std::string owner = read_link(link);
    if (owner.empty()) continue;
    if ((exists(paths.container(owner)) && !is_dead_claim(paths, owner)) ||
        exists(paths.root + "/trash/" + owner))
      return false;
    std::string aside = paths.root + "/trash/.link-" + id;
    if (::rename(link.c_str(), aside.c_str()) < 0) continue;
    // Somebody may have taken it between the look and the rename: give it back then.
    if (read_link(aside) != owner && ::link(aside.c_str(), link.c_str()) < 0)
      return fail(
          Error::internal("two commands took over '" + link + "' at once; run onggi system check --repair"));
    (void)::unlink(aside.c_str());
  }
  return false;
}

namespace {

std::string range_link(const Paths& paths, uint32_t range) {
  return paths.root + "/ranges/" + std::to_string(range);
}

uint32_t random_number() {
  uint32_t n = 0;
  (void)!::getrandom(&n, sizeof n, 0);
  return n;
}

Result<uint32_t> take_range(const Paths& paths, const std::string& id) {
  // Anywhere at random: the next one after the last would need a lock that all creates wait for.
  for (int tries = 0; tries < 256; tries++) {
    uint32_t range = random_number() % kRangeCount;
    if (TRY(take_link(paths, range_link(paths, range), id))) return range;
  }
  return fail(
      Error::busy("no free range of ids for the container; remove containers, or run onggi system prune"));
}

}  // namespace

std::string random_id() {
  unsigned char bytes[32];
  (void)!::getrandom(bytes, sizeof bytes, 0);
  std::string id;
  for (unsigned char b : bytes) {
    id += "0123456789abcdef"[b >> 4];
    id += "0123456789abcdef"[b & 15];
  }
  return id;
}

std::string random_name() {
  static constexpr const char* kQuality[] = {
      "brisk", "calm",  "clear", "cool",  "crisp", "deep",  "eager", "early",  "fair", "fine",   "firm",
      "fresh", "glad",  "green", "happy", "keen",  "kind",  "light", "lively", "loud", "mild",   "neat",
      "noble", "plain", "proud", "quick", "quiet", "ready", "round", "sharp",  "shy",  "silent", "smooth",
      "soft",  "sound", "spicy", "sweet", "swift", "tall",  "tidy",  "vivid",  "warm", "wise",   "young"};
  static constexpr const char* kThing[] = {
      "barley", "bean",   "bell",  "brook", "cabbage", "cedar",   "chili",  "clay",   "cloud",  "crane",
      "drum",   "earth",  "ember", "field", "flint",   "forest",  "garlic", "ginger", "grain",  "harbor",
      "heron",  "honey",  "jar",   "kiln",  "lake",    "lantern", "leaf",   "magpie", "maple",  "meadow",
      "millet", "moon",   "onion", "pear",  "pepper",  "pine",    "plum",   "pond",   "radish", "rice",
      "river",  "sesame", "stone", "tiger", "valley",  "willow"};
  return std::string(kQuality[random_number() % std::size(kQuality)]) + "_" +
         kThing[random_number() % std::size(kThing)];
}

std::string boot_id() {
  auto text = read_file("/proc/sys/kernel/random/boot_id", 64);
  return text ? std::string(trim(*text)) : "";
}

Result<> check_container_name(const std::string& name) {
  bool ok = !name.empty() && name.size() <= 255 && ::isalnum(static_cast<unsigned char>(name[0]));
  for (char c : name) ok &= ::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-';
  if (ok && name.size() > 1) return {};
  return fail(Error::invalid("Invalid container name (" + name +
                             "), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, two to 255 characters"));
}

// --- one container ---

Result<> ContainerDir::lock(int timeout_ms) {
  for (int waited = 0; ::flock(dir_.get(), LOCK_EX | LOCK_NB) < 0;) {
    if (errno != EWOULDBLOCK) return fail(Error::os("lock the container", id_));
    if (timeout_ms >= 0 && waited >= timeout_ms)
      return fail(Error::busy("the container " + id_.substr(0, 12) +
                              " is busy with another command for over " + std::to_string(timeout_ms / 1000) +
                              " s; try again"));
    constexpr int kStep = 2;  // milliseconds
    ::usleep(kStep * 1000);
    waited += kStep;
  }
  struct stat here, there;
  if (::fstat(dir_.get(), &here) == 0 && ::stat(paths_->container(id_).c_str(), &there) == 0 &&
      here.st_ino == there.st_ino)
    return {};
  return fail(Error::not_found("No such container: " + id_));
}

void ContainerDir::unlock() { (void)::flock(dir_.get(), LOCK_UN); }

Result<ContainerConfig> ContainerDir::config() const {
  std::string text = TRY_CTX(read_file_at(dir_.get(), "config.json"), "container " + id_.substr(0, 12));
  return json_parse<ContainerConfig>(text, "configuration of container " + id_.substr(0, 12));
}

Result<> ContainerDir::save_config(const ContainerConfig& config) const {
  JsonWriter w;
  json_write(w, config);
  return replace_file_at(dir_.get(), "config.json", w.text());
}

Result<ContainerState> ContainerDir::state() const {
  auto text = read_file(paths_->live(id_) + "/state.json");
  bool live = text.has_value();
  if (!live) text = read_file_at(dir_.get(), "last.json");
  if (!text) {
    if (text.error().os_errno() == ENOENT) return ContainerState{};
    return fail(std::move(text).error());
  }
  ContainerState state = TRY(json_parse<ContainerState>(*text, "state of container " + id_.substr(0, 12)));
  if (state.status != "running") return state;
  auto start = live ? sys::start_time(state.pid) : std::nullopt;
  if (start && *start == state.pid_start) return state;
  // Its monitor may be writing the end down just now; only when that is gone, too, is the end unknown.
  // (One that nobody has reaped yet is gone.)
  char monitor = live && state.monitor > 0 ? sys::process_state(state.monitor) : 0;
  if (monitor && monitor != 'Z' && monitor != 'X') return state;
  state.status = "exited";
  if (state.exit_code == 0) state.exit_code = 255;
  state.pid = 0;
  state.reason = boot_id() == state.boot_id ? "its monitor was killed: how it ended is not known"
                                            : "the machine was restarted while it ran";
  return state;
}

Result<> ContainerDir::save_state(const ContainerState& state) const {
  JsonWriter w;
  json_write(w, state);
  std::string live = paths_->live(id_);
  if (::mkdir(live.c_str(), 0700) < 0 && errno != EEXIST) return fail(Error::os("make the directory", live));
  UniqueFd dir = TRY(open_at(AT_FDCWD, live, O_RDONLY | O_DIRECTORY));
  TRY_VOID(replace_file_at(dir.get(), "state.json", w.text()));
  // "running" too: after a reboot it is the trace of what must be started again.
  return replace_file_at(dir_.get(), "last.json", w.text());
}

// --- all of them ---

ContainerStore::Claim::Claim(Claim&& other) noexcept
    : dir(std::move(other.dir)),
      paths_(other.paths_),
      name_(std::move(other.name_)),
      range_(other.range_),
      armed_(std::exchange(other.armed_, false)) {}

ContainerStore::Claim::~Claim() {
  if (!armed_) return;
  if (!name_.empty()) (void)::unlink((paths_.root + "/names/" + name_).c_str());
  UniqueFd parent;
  if (auto fd = open_at(AT_FDCWD, paths_.root + "/containers", O_RDONLY | O_DIRECTORY))
    parent = std::move(*fd);
  (void)sys::remove_tree(parent.get(), dir.id());
  if (range_ < kRangeCount) (void)::unlink(range_link(paths_, range_).c_str());
}

Result<> ContainerStore::Claim::commit(const ContainerConfig& config) {
  TRY_VOID(dir.save_config(config));
  armed_ = false;
  return {};
}

// Between mkdir and lock a sweeper takes the directory for that of a dead creator and moves it away: false,
// and another one is made. Once it is locked at its place, no sweeper touches it.
Result<bool> ContainerStore::take_directory(Claim& claim, ContainerConfig& config) {
  config.id = random_id();
  std::string path = paths_.container(config.id);
  if (::mkdir(path.c_str(), 0700) < 0) return fail(Error::os("make the container's directory", path));
  claim.dir = ContainerDir(paths_, config.id, UniqueFd());
  claim.armed_ = true;
  auto fd = open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
  if (!fd && fd.error().os_errno() == ENOENT) return false;
  if (!fd) return fail(std::move(fd).error());
  claim.dir = ContainerDir(paths_, config.id, std::move(*fd));
  auto locked = claim.dir.lock();
  if (!locked && locked.error().kind() == ErrorKind::kNotFound) return false;
  if (!locked) return fail(std::move(locked).error());
  return true;
}

// Names that commands left which were killed: of a claim that never became a container, of one in the trash,
// or the old name of a container that has another one. While a command is at it the container is locked.
bool ContainerStore::drop_old_name(const std::string& name) const {
  std::string link = paths_.root + "/names/" + name, id = read_link(link);
  if (id.empty()) return false;
  auto dir = open(id);
  if (dir) {
    if (!dir->lock(0)) return false;
    auto config = dir->config();
    if (config ? config->name == name : config.error().os_errno() != ENOENT) return false;
  } else if (dir.error().kind() != ErrorKind::kNotFound) {
    return false;
  }
  return read_link(link) == id && ::unlink(link.c_str()) == 0;
}

Result<ContainerStore::Claim> ContainerStore::claim(ContainerConfig& config) {
  Claim claim(paths_);
  while (!TRY(take_directory(claim, config))) {
  }
  bool given = !config.name.empty();
  if (given) TRY_VOID(check_container_name(config.name));
  for (int tries = 0;; tries++) {
    std::string name =
        given ? config.name : random_name() + (tries < 5 ? "" : std::to_string(random_number() % 10000));
    bool taken = TRY(take_link(paths_, paths_.root + "/names/" + name, config.id));
    if (!taken && given && drop_old_name(name))
      taken = TRY(take_link(paths_, paths_.root + "/names/" + name, config.id));
    if (taken) {
      config.name = claim.name_ = name;
      break;
    }
    if (given || tries > 50)
      return fail(Error(ErrorKind::kExists, "Conflict. The container name \"" + name +
                                                "\" is already in use by container " +
                                                read_link(paths_.root + "/names/" + name).substr(0, 12) +
                                                "; remove or rename that container, or choose another name"));
  }
  if (!config.security.host_userns && config.shares_range_of.empty() && !paths_.rootless) {
    claim.range_ = TRY(take_range(paths_, config.id));
    config.id_base = kRangeBase + claim.range_ * kRangeSize;
  }
  return claim;
}

Result<std::vector<std::string>> ContainerStore::ids() const {
  auto names = TRY(list_names(paths_.root + "/containers"));
  std::erase_if(names, [&](const std::string& id) { return !exists(paths_.container(id) + "/config.json"); });
  return names;
}

Result<std::string> ContainerStore::resolve(const std::string& reference) const {
  auto no_such = [&] { return fail(Error::not_found("No such container: " + reference)); };
  if (reference.empty() || reference.find('/') != std::string::npos || reference[0] == '.') return no_such();
  if (exists(paths_.container(reference) + "/config.json")) return reference;
  std::string by_name = read_link(paths_.root + "/names/" + reference);
  if (!by_name.empty() && exists(paths_.container(by_name) + "/config.json")) return by_name;
  std::string found;
  for (const auto& id : TRY(list_names(paths_.root + "/containers"))) {
    if (!id.starts_with(reference) || !exists(paths_.container(id) + "/config.json")) continue;
    if (!found.empty())
      return fail(
          Error::invalid("the id prefix '" + reference + "' fits several containers; give more of it"));
    found = id;
  }
  if (found.empty()) return no_such();
  return found;
}

Result<ContainerDir> ContainerStore::open(const std::string& id) const {
  auto fd = open_at(AT_FDCWD, paths_.container(id), O_RDONLY | O_DIRECTORY);
  if (!fd) {
    if (fd.error().os_errno() == ENOENT) return fail(Error::not_found("No such container: " + id));
    return fail(std::move(fd).error());
  }
  return ContainerDir(paths_, id, std::move(*fd));
}

Result<ContainerDir> ContainerStore::find(const std::string& reference) const {
  return open(TRY(resolve(reference)));
}

Result<> ContainerStore::rename(ContainerDir& dir, const std::string& name) {
  TRY_VOID(check_container_name(name));
  ContainerConfig config = TRY(dir.config());
  if (config.name == name)
    return fail(Error::invalid("Renaming a container with the same name as its current name"));
  // Its own already: a rename to this name was killed before it was written down.
  if (!TRY(take_link(paths_, paths_.root + "/names/" + name, config.id)) &&
      read_link(paths_.root + "/names/" + name) != config.id &&
      !(drop_old_name(name) && TRY(take_link(paths_, paths_.root + "/names/" + name, config.id))))
    return fail(Error(ErrorKind::kExists, "Conflict. The container name \"" + name +
                                              "\" is already in use by container " +
                                              read_link(paths_.root + "/names/" + name).substr(0, 12)));
  std::string old = std::exchange(config.name, name);
  auto saved = dir.save_config(config);
  (void)::unlink((paths_.root + "/names/" + (saved ? old : name)).c_str());
  return saved;
}

Result<> ContainerStore::remove(ContainerDir& dir) {
  std::string name;
  if (auto config = dir.config()) name = config->name;
  if (::rename(paths_.container(dir.id()).c_str(), (paths_.root + "/trash/" + dir.id()).c_str()) < 0)
    return fail(Error::os("remove the container", dir.id()));
  if (!name.empty() && read_link(paths_.root + "/names/" + name) == dir.id())
    (void)::unlink((paths_.root + "/names/" + name).c_str());
  return {};
}

namespace {

// Claims without config.json whose lock is free: their creator is dead.
Result<> sweep_claims(const Paths& paths, bool repair,
                      const std::function<void(const std::string&)>& report) {
  for (const auto& id : TRY(list_names(paths.root + "/containers"))) {
    std::string path = paths.container(id);
    if (exists(path + "/config.json")) continue;
    auto fd = open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
    if (!fd || ::flock(fd->get(), LOCK_EX | LOCK_NB) < 0 || exists(path + "/config.json")) continue;
    if (report) report("container " + id.substr(0, 12) + ": its creation was interrupted");
    if (repair && ::rename(path.c_str(), (paths.root + "/trash/" + id).c_str()) < 0)
      return fail(Error::os("remove the half-made container", id));
  }
  return {};
}

// Live directories of no container, not even of one in the trash. Whoever makes one has made the container's
// directory before, and the trash is emptied after they are gone.
Result<> sweep_live(const Paths& paths, bool repair, const std::function<void(const std::string&)>& report) {
  for (const auto& id : TRY(list_names(paths.run + "/containers"))) {
    if (exists(paths.container(id)) || exists(paths.root + "/trash/" + id)) continue;
    if (report) report("container " + id.substr(0, 12) + ": its removal was interrupted");
    if (!repair) continue;
    UniqueFd run = TRY(open_at(AT_FDCWD, paths.run + "/containers", O_RDONLY | O_DIRECTORY));
    TRY_VOID_CTX(sys::remove_tree(run.get(), id), "remove what is left of container " + id.substr(0, 12));
  }
  return {};
}

Result<> sweep_links(const Paths& paths, const char* kind, bool repair,
                     const std::function<void(const std::string&)>& report) {
  std::string base = paths.root + "/" + kind;
  for (const auto& name : TRY(list_names(base))) {
    std::string owner = read_link(base + "/" + name);
    if (exists(paths.container(owner)) || exists(paths.root + "/trash/" + owner)) continue;
    if (report) report(std::string(kind) + "/" + name + ": belongs to no container");
    if (repair) (void)::unlink((base + "/" + name).c_str());
  }
  return {};
}

}  // namespace

namespace {

// What came into the trash before this call is gone when it returns, or is another sweeper's who began after
// it came: one works, one more waits in line, and whoever finds both places taken has nothing left to do.
Result<> empty_trash(const Paths& paths, const std::function<void(const std::string&)>& finish) {
  UniqueFd line = TRY(open_at(AT_FDCWD, paths.root + "/ranges", O_RDONLY | O_DIRECTORY));
  if (::flock(line.get(), LOCK_EX | LOCK_NB) < 0) return {};
  UniqueFd trash = TRY(open_at(AT_FDCWD, paths.root + "/trash", O_RDONLY | O_DIRECTORY));
  if (::flock(trash.get(), LOCK_EX) < 0) return fail(Error::os("lock the trash", paths.root));
  line.reset();
  for (const auto& name : TRY(list_names(paths.root + "/trash"))) {
    if (finish) finish(name);
    if (UniqueFd run =
            open_at(AT_FDCWD, paths.run + "/containers", O_RDONLY | O_DIRECTORY).value_or(UniqueFd()))
      (void)sys::remove_tree(run.get(), name);
    TRY_VOID_CTX(sys::remove_tree(trash.get(), name), "empty the trash");
  }
  return {};
}

}  // namespace

Result<> ContainerStore::sweep(bool repair, const std::function<void(const std::string&)>& report,
                               const std::function<void(const std::string&)>& finish) {
  TRY_VOID(sweep_claims(paths_, repair, report));
  if (repair) TRY_VOID(empty_trash(paths_, finish));
  TRY_VOID(sweep_live(paths_, repair, report));
  TRY_VOID(sweep_links(paths_, "names", repair, report));
  return sweep_links(paths_, "ranges", repair, report);
}

}  // namespace onggi::engine
