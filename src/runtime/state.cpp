#include "runtime/state.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/file.h"
#include "base/json.h"
#include "sys/process.h"

namespace onggi {

template <>
struct JsonFields<runtime::CgroupRecord> {
  using R = runtime::CgroupRecord;
  static constexpr auto kTable =
      std::to_array<JsonField<R>>({json_field<&R::systemd>("systemd"), json_field<&R::unit>("unit"),
                                   json_field<&R::slice>("slice"), json_field<&R::paths>("paths")});
};
template <>
struct JsonFields<runtime::StateRecord> {
  using R = runtime::StateRecord;
  static constexpr auto kTable = std::to_array<JsonField<R>>(
      {json_field<&R::version>("version"), json_field<&R::id>("id"), json_field<&R::bundle>("bundle"),
       json_field<&R::rootfs>("rootfs"), json_field<&R::created>("created"), json_field<&R::owner>("owner"),
       json_field<&R::phase>("phase"), json_field<&R::pid>("pid"), json_field<&R::start_time>("startTime"),
       json_field<&R::rootless>("rootless"), json_field<&R::poststop_hooks>("poststopHooks"),
       json_field<&R::resctrl_group>("resctrlGroup"), json_field<&R::cgroup_made>("cgroupMade"),
       json_field<&R::cgroup>("cgroup")});
};

}  // namespace onggi

namespace onggi::runtime {

const char* to_string(Status status) {
  switch (status) {
    case Status::kCreating:
      return "creating";
    case Status::kCreated:
      return "created";
    case Status::kRunning:
      return "running";
    case Status::kPaused:
      return "paused";
    case Status::kStopped:
      return "stopped";
  }
  return "unknown";
}

Result<> check_id(const std::string& id) {
  constexpr size_t kMaxLength = 1024;
  bool good = !id.empty() && id.size() <= kMaxLength && id != "." && id != ".." &&
              std::all_of(id.begin(), id.end(), [](char c) {
                return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '+' || c == '-' || c == '.';
              });
  if (good) return {};
  return fail(Error::invalid("invalid container ID format: \"" + id.substr(0, 128) +
                             "\": use 1 to 1024 of A-Z a-z 0-9 _ + - . (and not \".\" or \"..\")"));
}

namespace {

Result<> make_directories(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  if (errno == ENOENT) {
    size_t slash = path.find_last_of('/');
    if (slash != std::string::npos && slash > 0) {
      TRY_VOID(make_directories(path.substr(0, slash)));
      if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
    }
  }
  return fail(Error::os("make the state directory", path));
}

// What stands in a state directory is done with the caller's rights: processes are killed, cgroups removed,
// hooks executed. So only the caller or root may be able to write it; a name below /tmp, say, may have been
// taken by somebody else.
Result<> check_owner(const struct stat& st, const std::string& path) {
  if (st.st_uid != ::geteuid() && st.st_uid != 0)
    return fail(Error(ErrorKind::kPermission,
                      "the state directory '" + path + "' belongs to user " + std::to_string(st.st_uid) +
                          ", who could have anything done with the rights of user " +
                          std::to_string(::geteuid()) +
                          ": run this command as its owner, or choose another --root",
                      EACCES));
  // In a sticky directory nobody can exchange what is another's, and the container's own is looked at, too.
  if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
    return fail(
        Error(ErrorKind::kPermission,
              "the state directory '" + path +
                  "' can be written by everybody: take that away (chmod o-w), or choose another --root",
              EACCES));
  return {};
}

// ENOENT when it is not there.
Result<> check_root(const std::string& root) {
  struct stat st;
  if (::stat(root.c_str(), &st) < 0) return fail(Error::os("find the state directory", root));
  return check_owner(st, root);
}

}  // namespace

Result<StateDir> StateDir::create(const std::string& root, const std::string& id) {
  TRY_VOID(check_id(id));
  StateDir d;
  d.root_ = root;
  d.id_ = id;
  d.path_ = root + "/" + id;
  auto trusted = check_root(root);
  if (!trusted && trusted.error().os_errno() == ENOENT) {
    TRY_VOID(make_directories(root));
    trusted = check_root(root);  // it may be another's who was faster
  }
  if (!trusted) return fail(std::move(trusted).error());
  if (::mkdir(d.path_.c_str(), 0711) < 0) {
    if (errno == EEXIST)
      return fail(Error(
          ErrorKind::kExists,
          "container with given ID already exists: \"" + id + "\" (delete it first, or choose another id)",
          EEXIST));
    return fail(Error::os("make the state directory", d.path_));
  }
  d.dir_ = TRY(open_at(AT_FDCWD, d.path_, O_RDONLY | O_DIRECTORY));
  TRY_VOID(d.lock());
  return d;
}

Result<StateDir> StateDir::open(const std::string& root, const std::string& id) {
  TRY_VOID(check_id(id));
  StateDir d;
  d.root_ = root;
  d.id_ = id;
  d.path_ = root + "/" + id;
  if (auto trusted = check_root(root); !trusted && trusted.error().os_errno() != ENOENT)
    return fail(std::move(trusted).error());
  auto dir = open_at(AT_FDCWD, d.path_, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir) {
    if (dir.error().os_errno() == ENOENT)
      return fail(Error(ErrorKind::kNotFound, "container \"" + id + "\" does not exist", ENOENT));
    return fail(std::move(dir).error());
  }
  d.dir_ = std::move(*dir);
  struct stat st;
  if (::fstat(d.dir_.get(), &st) < 0) return fail(Error::os("inspect", d.path_));
  TRY_VOID(check_owner(st, d.path_));
  return d;
}

Result<> StateDir::lock() {
  int r;
  do {
    r = ::flock(dir_.get(), LOCK_EX);
  } while (r < 0 && errno == EINTR);
  if (r < 0) return fail(Error::os("lock", path_));
  // Whoever held the lock may have removed the container meanwhile.
  struct stat st;
  if (::fstat(dir_.get(), &st) == 0 && st.st_nlink == 0)
    return fail(Error(ErrorKind::kNotFound, "container \"" + id_ + "\" does not exist", ENOENT));
  return {};
}

void StateDir::unlock() { (void)::flock(dir_.get(), LOCK_UN); }

Result<StateRecord> StateDir::load() const {
  auto text = read_file_at(dir_.get(), "state.json", 1 << 20);
  if ((text && text->empty()) || (!text && text.error().os_errno() == ENOENT)) {
    // Before the first write, or killed there: nothing else exists yet.
    StateRecord record;
    record.id = id_;
    record.phase = "creating";
    return record;
  }
  if (!text) return fail(std::move(text).error().wrap("read the state of container \"" + id_ + "\""));
  return json_parse<StateRecord>(*text, path_ + "/state.json");
}

Result<> StateDir::save(const StateRecord& record) const {
  JsonWriter w;
  json_write(w, record);
  return replace_file_at(dir_.get(), "state.json", w.text());
}

Result<> StateDir::save_new(const StateRecord& record) const {
  JsonWriter w;
  json_write(w, record);
  return write_file_at(dir_.get(), "state.json", w.text(), O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
}

Result<> StateDir::save_config(std::string_view json) const {
  return write_file_at(dir_.get(), "config.json", json, O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
}

Result<std::string> StateDir::config_json() const { return read_file_at(dir_.get(), "config.json"); }

Result<> StateDir::remove() {
  // The record first: what is left after a kill here names nothing any more.
  for (const char* name : {"state.json", "config.json"}) (void)::unlinkat(dir_.get(), name, 0);
  if (::rmdir(path_.c_str()) == 0 || errno == ENOENT) return {};
  if (errno != ENOTEMPTY) return fail(Error::os("remove the state directory", path_));
  // FIFOs of a container that was never started, temporary files of a writer that was killed.
  UniqueFd again = TRY(open_at(dir_.get(), ".", O_RDONLY | O_DIRECTORY));
  struct Closer {
    void operator()(DIR* d) const { ::closedir(d); }
  };
  std::unique_ptr<DIR, Closer> dir(::fdopendir(again.get()));
  if (dir) (void)again.release();
  while (dirent* e = dir ? ::readdir(dir.get()) : nullptr) (void)::unlinkat(dir_.get(), e->d_name, 0);
  if (::rmdir(path_.c_str()) < 0 && errno != ENOENT)
    return fail(Error::os("remove the state directory", path_));
  return {};
}

Result<std::vector<std::string>> list_ids(const std::string& root) {
  std::vector<std::string> ids;
  struct Closer {
    void operator()(DIR* d) const { ::closedir(d); }
  };
  std::unique_ptr<DIR, Closer> dir(::opendir(root.c_str()));
  if (!dir) {
    if (errno == ENOENT) return ids;
    return fail(Error::os("list", root));
  }
  TRY_VOID(check_root(root));
  while (dirent* e = ::readdir(dir.get())) {
    std::string name = e->d_name;
    if ((e->d_type == DT_DIR || e->d_type == DT_UNKNOWN) && check_id(name)) ids.push_back(std::move(name));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

namespace {

// True while the container's init has the FIFO open for reading, which it has only while it waits for start.
bool waits_for_start(int dirfd) {
  int fd = ::openat(dirfd, "exec.fifo", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
  UniqueFd fifo(fd);
  return fd >= 0;
}

}  // namespace

Status current_status(const StateDir& dir, const StateRecord& record, bool look_for_paused) {
  if (record.phase == "creating") {
    // A creator holds the lock; when nobody does, it died half-way.
    if (::flock(dir.fd(), LOCK_SH | LOCK_NB) == 0) {
      (void)::flock(dir.fd(), LOCK_UN);
      auto again = dir.load();
      if (!again || again->phase == "creating") return Status::kStopped;
      return current_status(dir, *again, look_for_paused);
    }
    return Status::kCreating;
  }
  if (record.pid <= 0) return Status::kStopped;
  auto start = sys::start_time(record.pid);
  if (!start || *start != record.start_time) return Status::kStopped;
  if (look_for_paused && !record.cgroup.paths.empty()) {
    auto cgroup = Cgroup::load(record.cgroup);
    if (cgroup) {
      auto frozen = (*cgroup)->frozen();
      if (frozen && *frozen) return Status::kPaused;
    }
  }
  return waits_for_start(dir.fd()) ? Status::kCreated : Status::kRunning;
}

std::string now_rfc3339() {
  timespec ts;
  ::clock_gettime(CLOCK_REALTIME, &ts);
  // Days to a date in the proleptic Gregorian calendar, by eras of 400 years; libc's gmtime would read
  // /etc/localtime first.
  int64_t days = ts.tv_sec / 86400, second = ts.tv_sec % 86400;
  int64_t z = days + 719468, era = z / 146097, doe = z - era * 146097;
  int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365,
          doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  int64_t mp = (5 * doy + 2) / 153, day = doy - (153 * mp + 2) / 5 + 1, month = mp < 10 ? mp + 3 : mp - 9;
  int64_t year = yoe + era * 400 + (month <= 2 ? 1 : 0);
  char out[64];
  snprintf(out, sizeof out, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", static_cast<int>(year),
           static_cast<int>(month), static_cast<int>(day), static_cast<int>(second / 3600),
           static_cast<int>(second / 60 % 60), static_cast<int>(second % 60), ts.tv_nsec);
  return out;
}

}  // namespace onggi::runtime
