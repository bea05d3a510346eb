// LogWriter: a container's output as lines of JSON in a file of bounded size, or as entries of the system's
// journal (formats: protocol.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::runtime {

class LogWriter {
 public:
  // An empty path: no log. "journald:ID:NAME": the journal, with the container's id and name as fields. Else
  // a file, to which it appends.
  static Result<LogWriter> open(const std::string& path, uint64_t max_bytes, uint32_t max_files);

  // Executed with the path of each rotated file as its last word (compression); nobody waits for it.
  void set_rotation_command(std::vector<std::string> words) { rotation_command_ = std::move(words); }

  // Takes output as it comes; complete lines are written, a rest waits for its end. A full disk loses lines,
  // never blocks or fails.
  void write(int stream, std::string_view data);
  // Writes rests without a newline.
  void finish();
  [[nodiscard]] uint64_t lost_lines() const { return lost_; }

 private:
  static Result<LogWriter> open_journal(const std::string& path);
  void line(int stream, std::string_view text);
  void journal_line(int stream, std::string_view text);
  void rotate();
  void run_rotation_command();

  static constexpr size_t kMaxLine = 16384;
  std::string path_;
  UniqueFd file_, journal_;
  std::string journal_fields_;  // the same in every entry
  std::vector<std::string> rotation_command_;
  uint64_t max_bytes_ = 0, size_ = 0, lost_ = 0;
  uint32_t max_files_ = 1;
  std::string rest_[2];  // of stdout and stderr
};

}  // namespace onggi::runtime
