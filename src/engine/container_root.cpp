#include "engine/container_root.h"

#include <fcntl.h>

#include "base/file.h"
#include "engine/rootfs.h"
#include "sys/process.h"

namespace onggi::engine {

uint32_t ContainerRoot::inside(uint32_t id) const {
  if (!config.id_base) return id;
  return id >= config.id_base && id - config.id_base < kRangeSize ? id - config.id_base : kOverflowId;
}

uint32_t ContainerRoot::outside(uint32_t id) const {
  if (!config.id_base) return id;
  return config.id_base + (id < kRangeSize ? id : kOverflowId);
}

Result<ContainerRoot> open_container_root(Engine& engine, const std::string& id) {
  ContainerRoot r;
  r.dir = TRY(engine.containers().open(id));
  r.config = TRY(r.dir.config());
  ContainerState state = TRY(r.dir.state());
  if (state.status == "running") {
    // The root of the process, not its path: whatever is renamed or mounted later, this is the directory.
    r.root = TRY(open_at(AT_FDCWD, "/proc/" + std::to_string(state.pid) + "/root", O_PATH | O_DIRECTORY));
    auto start = sys::start_time(state.pid);
    if (!start || *start != state.pid_start)
      return fail(Error::busy("container " + r.config.name + " ended just now; try again"));
    r.running = true;
    return r;
  }
  TRY_VOID(r.dir.lock());
  if (TRY(r.dir.state()).status == "running")
    return fail(Error::busy("container " + r.config.name + " was started just now; try again"));
  r.mount = TRY(mount_root(engine, r.config, {}));
  r.root = TRY(open_at(r.mount.get(), ".", O_PATH | O_DIRECTORY));
  return r;
}

}  // namespace onggi::engine
