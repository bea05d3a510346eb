#include "engine/events.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "engine/clock.h"

namespace onggi::engine {

namespace {

constexpr off_t kMaxBytes = 4 << 20;

// Reads on from where it stood, line by line; knows when the file was rotated away.
class Tail {
 public:
  explicit Tail(std::string path) : path_(std::move(path)) {}

  // False when the callee wants no more.
  bool drain(const std::function<bool(const std::string&)>& each) {
    for (;;) {
      if (!file_) {
        auto fd = open_at(AT_FDCWD, path_, O_RDONLY);
        if (!fd) return true;
        file_ = std::move(*fd);
      }
      char block[16384];
      ssize_t n = ::read(file_.get(), block, sizeof block);
      if (n <= 0) {
        struct stat mine, current;
        bool rotated = ::fstat(file_.get(), &mine) == 0 && ::stat(path_.c_str(), &current) == 0 &&
                       mine.st_ino != current.st_ino;
        if (!rotated) return true;
        file_.reset();
        rest_.clear();
        continue;
      }
      rest_.append(block, static_cast<size_t>(n));
      for (size_t end; (end = rest_.find('\n')) != std::string::npos;) {
        std::string line = rest_.substr(0, end);
        rest_.erase(0, end + 1);
        if (!each(line)) return false;
      }
    }
  }

 private:
  std::string path_, rest_;
  UniqueFd file_;
};

}  // namespace

void record_event(const Paths& paths, Event event) {
  if (event.time.empty()) event.time = now_rfc3339();
  JsonWriter w;
  json_write(w, event);
  std::string line = w.take() + "\n", path = paths.run + "/events.jsonl";
  auto fd = open_at(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0600);
  if (!fd) return;
  (void)!::write(fd->get(), line.data(), line.size());
  struct stat st;
  if (::fstat(fd->get(), &st) == 0 && st.st_size > kMaxBytes)
    (void)::rename(path.c_str(), (path + ".1").c_str());
}

Result<> read_events(const Paths& paths, const EventRange& range,
                     const std::function<bool(const std::string&, const Event&)>& each) {
  std::string path = paths.run + "/events.jsonl";
  auto one = [&](const std::string& line) {
    auto event = json_parse<Event>(line, "event");
    if (!event) return true;
    auto time = parse_rfc3339(event->time);
    if (!time || *time < range.since) return true;
    if (range.until && *time > range.until) return false;
    return each(line, *event);
  };
  UniqueFd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!watch || ::inotify_add_watch(watch.get(), paths.run.c_str(), IN_MODIFY | IN_CREATE) < 0)
    return fail(Error::os("watch for events", paths.run));
  Tail old(path + ".1"), current(path);
  if (!old.drain(one) || !current.drain(one) || !range.follow) return {};
  for (;;) {
    int timeout = -1;
    if (range.until) {
      int64_t left = (range.until - now_nanoseconds()) / 1'000'000;
      if (left <= 0) return {};
      timeout = static_cast<int>(std::min<int64_t>(left + 1, 60'000));
    }
    pollfd wait = {watch.get(), POLLIN, 0};
    (void)::poll(&wait, 1, timeout);
    char notes[4096];
    (void)!::read(watch.get(), notes, sizeof notes);
    if (!current.drain(one)) return {};
  }
}

}  // namespace onggi::engine
