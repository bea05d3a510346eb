// Tar streams (POSIX.1-2001 pax, as docker and GNU tar write and read them) of `cp` and `export`.
//
// The writer uses a pax header only where the old one is too small, so most entries cost 512 bytes. The
// reader takes ustar, pax and GNU's long names; every number and length is bounded before it is used.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace onggi::engine {

struct FileEntry {
  std::string path;  // relative, without "./" and without a slash at the end
  mode_t mode = 0;   // with the type
  uint32_t uid = 0, gid = 0;
  uint64_t size = 0;  // of a regular file
  timespec mtime = {};
  dev_t device = 0;
  std::string link;        // target of a symlink; the first name of a hard link
  bool hard_link = false;  // `link` is an entry before this one
  std::vector<std::pair<std::string, std::string>> xattrs;
};

class TarWriter {
 public:
  explicit TarWriter(int fd) : stream_(fd) {}  // borrowed
  Result<> header(const FileEntry& entry);
  // Exactly `size` bytes of `from` after a regular file's header: a file that became shorter is filled with
  // zeros, since the header is written already.
  Result<> content(int from, uint64_t size);
  Result<> finish();

 private:
  Result<> put(std::string_view data);
  int stream_;
  uint64_t pax_count_ = 0;
};

class TarReader {
 public:
  explicit TarReader(int fd) : stream_(fd) {}  // borrowed
  // The next entry; nullopt at the end. What was left of the one before is skipped.
  Result<std::optional<FileEntry>> next();
  // Content of the entry; 0 at its end.
  Result<size_t> read(char* block, size_t size);

 private:
  Result<bool> fill(char* block, size_t size);
  Result<std::string> text(uint64_t size);
  Result<> skip(uint64_t size);
  int stream_;
  uint64_t left_ = 0, padding_ = 0;
};

}  // namespace onggi::engine
