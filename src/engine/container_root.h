// A container's root directory as a descriptor, for `cp`, `export` and `diff`: of a running one as it sees
// it (volumes included), of a stopped one its layers, mounted for as long as the object lives and locked
// against a start meanwhile.
#pragma once

#include "base/fd.h"
#include "engine/engine.h"

namespace onggi::engine {

struct ContainerRoot {
  ContainerConfig config;
  ContainerDir dir;  // locked when it does not run
  MountFd mount;     // when it does not run
  UniqueFd root;     // O_PATH | O_DIRECTORY
  bool running = false;

  // Host id -> id in the container; the overflow id when it is none of its range.
  [[nodiscard]] uint32_t inside(uint32_t id) const;
  // Id in the container -> host id; ids beyond its range become the overflow id.
  [[nodiscard]] uint32_t outside(uint32_t id) const;
};

Result<ContainerRoot> open_container_root(Engine& engine, const std::string& id);

inline constexpr uint32_t kOverflowId = 65534;

}  // namespace onggi::engine
