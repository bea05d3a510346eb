#include "runtime/monitor_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "runtime/state.h"

namespace onggi::runtime {

Result<LogWriter> LogWriter::open(const std::string& path, uint64_t max_bytes, uint32_t max_files) {
  LogWriter log;
  if (path.empty()) return log;
  log.path_ = path;
  log.max_bytes_ = max_bytes ? max_bytes : UINT64_MAX;
  log.max_files_ = max_files ? max_files : 1;
  log.file_ =
      TRY_CTX(open_at(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0640), "container log");
  struct stat st;
  if (::fstat(log.file_.get(), &st) == 0) log.size_ = static_cast<uint64_t>(st.st_size);
  return log;
}

void LogWriter::rotate() {
  file_.reset();
  // PATH.(n-2) -> PATH.(n-1), ..., PATH -> PATH.1; with one file it starts anew.
  for (uint32_t n = max_files_ - 1; n >= 1; n--) {
    std::string from = n == 1 ? path_ : path_ + "." + std::to_string(n - 1);
    (void)::rename(from.c_str(), (path_ + "." + std::to_string(n)).c_str());
  }
  auto fresh = open_at(AT_FDCWD, path_, O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_NOFOLLOW, 0640);
  if (fresh) file_ = std::move(*fresh);
  size_ = 0;
}

void LogWriter::line(int stream, std::string_view text) {
  JsonWriter w;
  w.begin_object();
  w.member("log", text);
  w.member("stream", stream == 1 ? "stdout" : "stderr");
  w.member("time", now_rfc3339());
  w.end_object();
  std::string out = w.take() + "\n";
  if (size_ && size_ + out.size() > max_bytes_) rotate();
  ssize_t n = file_ ? ::write(file_.get(), out.data(), out.size()) : -1;
  if (n == static_cast<ssize_t>(out.size())) {
    size_ += out.size();
    return;
  }
  lost_++;
  // A part of a line would spoil the file for every reader.
  if (n > 0) (void)!::ftruncate(file_.get(), static_cast<off_t>(size_));
}

void LogWriter::write(int stream, std::string_view data) {
  if (path_.empty()) return;
  std::string& rest = rest_[stream - 1];
  while (!data.empty()) {
    size_t end = data.find('\n');
    size_t take = end == std::string_view::npos ? data.size() : end + 1;
    take = std::min(take, kMaxLine - rest.size());
    bool complete = end != std::string_view::npos && take == end + 1;
    if (rest.empty() && complete) {
      line(stream, data.substr(0, take));
    } else {
      rest.append(data.substr(0, take));
      if (complete || rest.size() >= kMaxLine) {
        line(stream, rest);
        rest.clear();
      }
    }
    data.remove_prefix(take);
  }
}

void LogWriter::finish() {
  for (int stream : {1, 2}) {
    if (!rest_[stream - 1].empty()) line(stream, rest_[stream - 1]);
    rest_[stream - 1].clear();
  }
}

}  // namespace onggi::runtime
