// A tar stream (POSIX pax where ustar is too small), entry by entry, to whoever takes the bytes.
//
// Deterministic: the same entries give the same bytes, so that the same tree gives the same diff id.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace onggi::transfer {

struct TarEntry {
  std::string name;  // without leading '/'; directories end with '/'
  char type = '0';   // '0' file, '1' hard link, '2' symlink, '3' char, '4' block, '5' directory, '6' fifo
  uint32_t mode = 0644, uid = 0, gid = 0;
  uint64_t size = 0;
  int64_t mtime = 0;
  uint32_t mtime_nsec = 0;
  std::string link;
  uint32_t major = 0, minor = 0;
  std::vector<std::pair<std::string, std::string>> xattrs;
};

class TarWriter {
 public:
  using Sink = std::function<Result<>(std::string_view)>;
  explicit TarWriter(Sink sink) : sink_(std::move(sink)) {}

  // The header; for files of `size` bytes, data() follows until all are given.
  Result<> header(const TarEntry& entry);
  Result<> data(std::string_view bytes);
  // As header() and data() with the whole content, or with that of a file (from its offset).
  Result<> file(TarEntry entry, std::string_view content);
  Result<> file_from(TarEntry entry, int fd);
  // The two empty blocks at the end.
  Result<> finish();

 private:
  Result<> end_of_data();
  Sink sink_;
  uint64_t left_ = 0, padding_ = 0;
};

}  // namespace onggi::transfer
