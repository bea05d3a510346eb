#include "runtime/monitor_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "runtime/state.h"
#include "sys/process.h"

namespace onggi::runtime {

// The journal's native protocol: one datagram of FIELD=value lines per entry. It takes what it can; a
// datagram that would block is lost rather than waited for.
Result<LogWriter> LogWriter::open_journal(const std::string& path) {
  LogWriter log;
  size_t colon = path.find(':', 9);
  std::string id = path.substr(9, colon - 9), name = colon == std::string::npos ? id : path.substr(colon + 1);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, "/run/systemd/journal/socket");
  log.journal_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!log.journal_ ||
      ::connect(log.journal_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
    return fail(Error::os("log to the journal at", address.sun_path));
  log.path_ = path;
  log.journal_fields_ = "CONTAINER_ID_FULL=" + id + "\nCONTAINER_ID=" + id.substr(0, 12) +
                        "\nCONTAINER_NAME=" + name + "\nSYSLOG_IDENTIFIER=" + id.substr(0, 12) + "\n";
  return log;
}

void LogWriter::journal_line(int stream, std::string_view text) {
  bool whole = text.ends_with('\n');
  if (whole) text.remove_suffix(1);
  // A value in the binary form (its length first) may hold anything.
  uint64_t length = text.size();
  std::string entry = journal_fields_ + (stream == 1 ? "PRIORITY=6\n" : "PRIORITY=3\n") +
                      (whole ? "" : "CONTAINER_PARTIAL_MESSAGE=true\n") + "MESSAGE\n";
  entry.append(reinterpret_cast<const char*>(&length), sizeof length).append(text) += '\n';
  if (::send(journal_.get(), entry.data(), entry.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) lost_++;
}

Result<LogWriter> LogWriter::open(const std::string& path, uint64_t max_bytes, uint32_t max_files) {
  LogWriter log;
  if (path.empty()) return log;
  if (path.starts_with("journald:")) return open_journal(path);
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
  // Who compresses an older file renames it under the same lock.
  auto directory = open_at(AT_FDCWD, path_.substr(0, path_.rfind('/') + 1) + ".", O_RDONLY | O_DIRECTORY);
  if (directory) (void)::flock(directory->get(), LOCK_EX);
  // PATH.(n-2) -> PATH.(n-1), ..., PATH -> PATH.1; with one file it starts anew.
  for (uint32_t n = max_files_ - 1; n >= 1; n--) {
    std::string from = n == 1 ? path_ : path_ + "." + std::to_string(n - 1),
                to = path_ + "." + std::to_string(n);
    // Of an older file one form is there: as it was, or compressed.
    (void)::unlink((to + ".gz").c_str());
    if (n > 1 && ::rename((from + ".gz").c_str(), (to + ".gz").c_str()) == 0) (void)::unlink(to.c_str());
    (void)::rename(from.c_str(), to.c_str());
  }
  auto fresh = open_at(AT_FDCWD, path_, O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_NOFOLLOW, 0640);
  if (fresh) file_ = std::move(*fresh);
  size_ = 0;
  if (max_files_ > 1) run_rotation_command();
}

void LogWriter::run_rotation_command() {
  if (rotation_command_.empty()) return;
  std::string rotated = path_ + ".1";
  std::vector<const char*> argv;
  for (const auto& word : rotation_command_) argv.push_back(word.c_str());
  argv.push_back(rotated.c_str());
  argv.push_back(nullptr);
  sys::SpawnArgs args;
  args.exec_path = argv[0];
  args.argv = argv.data();
  args.envp = environ;
  (void)sys::spawn(args);  // reaped with the container's orphans
}

void LogWriter::line(int stream, std::string_view text) {
  if (journal_) return journal_line(stream, text);
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
