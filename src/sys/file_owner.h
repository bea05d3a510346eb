// Making files as somebody else, with this process's rights over them.
//
// On an id-mapped mount a file can only be made by an id that the mapping has (EOVERFLOW otherwise), and the
// host's root is not in a container's. The file system ids become the container root's, while the
// capabilities that the kernel takes away for that are taken back.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace onggi::sys {

class FileOwner {
 public:
  // For this thread, until the object is destroyed. The ids that it already has: nothing happens.
  static Result<FileOwner> become(uint32_t uid, uint32_t gid);
  FileOwner(FileOwner&& other) noexcept;
  FileOwner& operator=(FileOwner&&) = delete;
  ~FileOwner();

 private:
  FileOwner() = default;
  uint32_t uid_ = 0, gid_ = 0;  // those before
  bool armed_ = false;
};

}  // namespace onggi::sys
