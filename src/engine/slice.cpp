#include "engine/slice.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "sys/cgroup.h"

namespace onggi::engine {

namespace {

struct MemoryFile {
  std::string directory, limit;
};

MemoryFile memory_file(Engine& engine) {
  if (engine.host().cgroup_v2) return {std::string("/sys/fs/cgroup") + kSlice, "/memory.max"};
  return {std::string("/sys/fs/cgroup/memory") + kSlice, "/memory.limit_in_bytes"};
}

}  // namespace

void ensure_slice(Engine& engine) {
  std::string marker = engine.paths().run + "/slice";
  if (engine.paths().rootless || ::access(marker.c_str(), F_OK) == 0) return;
  MemoryFile file = memory_file(engine);
  // Without the controller switched on below the root (v2) the file is missing until the first container
  // needs it.
  if (engine.host().cgroup_v2) (void)write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
  if (!sys::make_cgroup(file.directory)) return;
  uint64_t limit = engine.host().memory_total / 100 * (100 - kHostPercent);
  if (!write_file(file.directory + file.limit, std::to_string(limit))) return;
  (void)write_file(marker, std::to_string(limit), O_CREAT | O_TRUNC, 0600);
}

uint64_t slice_limit(Engine& engine) {
  MemoryFile file = memory_file(engine);
  auto value = sys::read_cgroup_number(file.directory + file.limit);
  constexpr uint64_t kUnlimited = 1ull << 62;  // v1's word for no limit is a page below 2^63
  return value && *value < kUnlimited ? *value : 0;
}

}  // namespace onggi::engine
