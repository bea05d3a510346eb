#include "engine/logs.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>

#include "base/file.h"
#include "base/json.h"
#include "engine/clock.h"
#include "engine/log_compress.h"

namespace onggi::engine {

namespace {

struct Record {
  std::string log, stream, time;
};

}  // namespace

}  // namespace onggi::engine

namespace onggi {
template <>
struct JsonFields<engine::Record> {
  using T = engine::Record;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::log>("log"), json_field<&T::stream>("stream"), json_field<&T::time>("time")});
};
}  // namespace onggi

namespace onggi::engine {

namespace {

std::optional<LogLine> parse_line(const std::string& text) {
  auto record = json_parse<Record>(text, "log");
  if (!record) return std::nullopt;
  return LogLine{record->stream == "stderr" ? 2 : 1, std::move(record->time), std::move(record->log)};
}

// Cuts blocks into lines; one without its end waits for the rest.
class Cutter {
 public:
  // False when the callee wants no more.
  bool feed(std::string_view block, const std::function<bool(const std::string&)>& each) {
    rest_.append(block);
    size_t at = 0;
    for (size_t end; (end = rest_.find('\n', at)) != std::string::npos; at = end + 1)
      if (!each(rest_.substr(at, end - at))) return false;
    rest_.erase(0, at);
    return true;
  }

 private:
  std::string rest_;
};

// Lines of one file from where it stands.
class Lines {
 public:
  explicit Lines(UniqueFd file) : file_(std::move(file)) {}
  bool drain(const std::function<bool(const std::string&)>& each) {
    char block[65536];
    for (ssize_t n; (n = ::read(file_.get(), block, sizeof block)) > 0;)
      if (!cutter_.feed({block, static_cast<size_t>(n)}, each)) return false;
    return true;
  }
  [[nodiscard]] ino_t inode() const {
    struct stat st;
    return ::fstat(file_.get(), &st) == 0 ? st.st_ino : 0;
  }

 private:
  UniqueFd file_;
  Cutter cutter_;
};

// A rotated file in either form. False when the callee wants no more.
bool drain_older(const std::string& name, const std::function<bool(const std::string&)>& each) {
  if (name.ends_with(".gz")) {
    Cutter cutter;
    bool more = true;
    (void)read_gzip(name, [&](std::string_view block) { return more = cutter.feed(block, each); });
    return more;
  }
  auto fd = open_at(AT_FDCWD, name, O_RDONLY);
  return !fd || Lines(std::move(*fd)).drain(each);
}

std::vector<std::string> older_files(const std::string& path) {
  std::vector<std::string> list;
  for (int n = 1; n < 1000; n++) {
    std::string name = path + "." + std::to_string(n);
    if (::access(name.c_str(), R_OK) != 0) name += ".gz";
    if (::access(name.c_str(), R_OK) != 0) break;
    list.insert(list.begin(), name);
  }
  return list;
}

bool in_range(const LogLine& line, const LogRange& range, bool& past) {
  if (!range.since && !range.until) return true;
  auto time = parse_rfc3339(line.time);
  if (!time) return false;
  past = range.until && *time > range.until;
  return !past && *time >= range.since;
}

// Whether rotation gave `path` a new file.
bool moved_on(const std::string& path, const Lines& lines) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && st.st_ino != lines.inode();
}

}  // namespace

Result<> read_logs(const std::string& path, const LogRange& range, const std::function<bool()>& running,
                   const std::function<bool(const LogLine&)>& each) {
  // Watched before the first read, so that nothing written in between waits for the next line.
  UniqueFd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  std::string directory = path.substr(0, path.rfind('/'));
  if (range.follow &&
      (!watch || ::inotify_add_watch(watch.get(), directory.c_str(),
                                     IN_MODIFY | IN_CREATE | IN_MOVED_FROM | IN_DELETE_SELF) < 0))
    return fail(Error::os("watch the log", path));
  std::deque<LogLine> last;
  bool collecting = range.tail.has_value();
  auto one = [&](const std::string& text) {
    auto line = parse_line(text);
    bool past = false;
    if (!line || !in_range(*line, range, past)) return !past;
    if (!collecting) return each(*line);
    last.push_back(std::move(*line));
    if (last.size() > *range.tail) last.pop_front();
    return true;
  };
  for (const auto& name : older_files(path))
    if (!drain_older(name, one)) break;
  auto fd = open_at(AT_FDCWD, path, O_RDONLY);
  if (!fd) return fd.error().os_errno() == ENOENT && !range.follow ? Result<>() : fail(std::move(fd).error());
  Lines current(std::move(*fd));
  bool more = current.drain(one);
  collecting = false;
  for (const auto& line : last)
    if (!each(line)) return {};
  while (more && range.follow) {
    bool alive = running();
    if (!current.drain(one)) return {};
    if (moved_on(path, current)) {
      auto next = open_at(AT_FDCWD, path, O_RDONLY);
      if (next) current = Lines(std::move(*next));
      continue;
    }
    if (!alive) return {};
    pollfd wait = {watch.get(), POLLIN, 0};
    (void)::poll(&wait, 1, 500);  // whether the container still runs is not announced here
    char notes[4096];
    (void)!::read(watch.get(), notes, sizeof notes);
  }
  return {};
}

}  // namespace onggi::engine
