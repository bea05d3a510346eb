// The root of a container as a detached mount: its image's layers, id-mapped to its range, below its own
// writable layer. Attached nowhere on the host; the monitor attaches it in a mount namespace of its own.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "engine/container_config.h"
#include "engine/engine.h"

namespace onggi::engine {

struct RootOptions {
  bool writable = true;
  bool mapped = true;  // false: ids as in the image (for copying out, commit and diff)
};
Result<MountFd> mount_root(Engine& engine, const ContainerConfig& config, const RootOptions& options);

// What the image alone has, read-only and unmapped: the source for filling volumes and for `diff`.
Result<MountFd> mount_image(Engine& engine, const ContainerConfig& config);

}  // namespace onggi::engine
