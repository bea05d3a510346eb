// LogWriter: a container's output as lines of JSON in a file of bounded size (format: protocol.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::runtime {

class LogWriter {
 public:
  // An empty path: no log. Appends to an existing file.
  static Result<LogWriter> open(const std::string& path, uint64_t max_bytes, uint32_t max_files);

  // Takes output as it comes; complete lines are written, a rest waits for its end. A full disk loses lines,
  // never blocks or fails.
  void write(int stream, std::string_view data);
  // Writes rests without a newline.
  void finish();
  [[nodiscard]] uint64_t lost_lines() const { return lost_; }

 private:
  void line(int stream, std::string_view text);
  void rotate();

  static constexpr size_t kMaxLine = 16384;
  std::string path_;
  UniqueFd file_;
  uint64_t max_bytes_ = 0, size_ = 0, lost_ = 0;
  uint32_t max_files_ = 1;
  std::string rest_[2];  // of stdout and stderr
};

}  // namespace onggi::runtime
