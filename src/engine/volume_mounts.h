// The bounded volumes of a container that starts.
//
// Such a volume is a file system of its own and mounted nowhere, like the container's root. The monitor gets
// one tree of both: a tmpfs with the root at "root" and each volume at "v0", "v1", ..., attached at the
// bundle's "rootfs" in the monitor's mount namespace, where the runtime finds the volumes by path.
#pragma once

#include <string>
#include <vector>

#include "engine/volumes.h"

namespace onggi::engine {

class VolumeMounts {
 public:
  static Result<VolumeMounts> open(Engine& engine, const ContainerConfig& config);

  [[nodiscard]] bool empty() const { return mounts_.empty(); }
  // The directory in the tree of the volume that `mount` names; nullptr: it has no bound.
  [[nodiscard]] const std::string* name_of(const MountConfig& mount) const;
  // Of the container's root, below the bundle.
  [[nodiscard]] std::string root_path() const { return empty() ? "rootfs" : "rootfs/root"; }
  // The tree; `root` is good for nothing afterwards.
  Result<MountFd> bundle_with(int root) const;

 private:
  struct Entry {
    std::string volume, name;
    MountFd mount;
  };
  std::vector<Entry> mounts_;
};

}  // namespace onggi::engine
