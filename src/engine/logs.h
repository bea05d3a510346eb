// Reading what a container wrote: the json-file format of monitor_log, over its rotated files.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"

namespace onggi::engine {

struct LogLine {
  int stream = 1;    // 1 standard output, 2 standard error
  std::string time;  // RFC 3339
  std::string text;  // with its line break, unless the line was cut
};
struct LogRange {
  int64_t since = 0, until = 0;  // nanoseconds since the epoch; 0: without bound
  std::optional<uint64_t> tail;  // only so many last lines
  bool follow = false;
};
// `path`: of the current file; PATH.1, PATH.2, ... are older. `running` is asked, while following, whether
// more can come; the callee ends it with false. Damaged lines are left out.
Result<> read_logs(const std::string& path, const LogRange& range, const std::function<bool()>& running,
                   const std::function<bool(const LogLine&)>& each);

}  // namespace onggi::engine
