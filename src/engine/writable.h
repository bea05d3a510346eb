// The writable layer of a container: where the overlay's upper and work directories are.
//
// With a bound on its size they lie in an ext4 file system of their own inside a sparse file
// (containers/ID/disk), mounted detached through a loop device, so that a container that writes without end
// meets ENOSPC and the host does not. Without one (--storage-opt size=-1, or a host that has no loop devices)
// they are plain directories.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "engine/container_config.h"
#include "engine/engine.h"

namespace onggi::engine {

struct WritableLayer {
  MountFd mount;   // detached: the disk, or a copy of the mount at the container's directory
  UniqueFd upper;  // O_PATH, in that mount
  bool bounded = false;
};

// For a new container: makes its disk or directory in `dir`. The size is config.storage_size (0: the default,
// -1: no bound). Where there is no way to bound it the container gets plain directories and `warning` says
// why.
Result<> make_writable(Engine& engine, const ContainerConfig& config, int dir, std::string& warning);
// For a start, or to look into it: mounts the disk (again, when it is mounted already). `fresh_work` empties
// the work directory, which only a start may do.
Result<WritableLayer> open_writable(Engine& engine, const ContainerConfig& config, bool fresh_work);
// The upper directory, opened for reading; `holder` keeps it mounted.
Result<UniqueFd> open_upper(Engine& engine, const ContainerConfig& config, MountFd& holder);

}  // namespace onggi::engine
