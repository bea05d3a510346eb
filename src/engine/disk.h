// A file system with a bound: an ext4 in a sparse file named "disk", mounted through a loop device. Whoever
// writes without end in it meets ENOSPC, and the host does not. The file takes what is in it, not its size.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "engine/engine.h"

namespace onggi::engine {

struct DiskSize {
  int64_t bytes = 0;     // at least 8 MiB
  bool durable = false;  // always with a journal: a power cut leaves a file system that mounts
};

// Makes "disk" in the directory `dir`. kUnsupported: no loop devices, no mkfs.ext4, not root.
Result<> make_disk(Engine& engine, DiskSize size, int dir);
// Mounts it, attached nowhere. `note` is a file below RUN that remembers the loop device: mounting that again
// is the same file system, while the file on a second device would be another, blind one that damages it. The
// caller holds a lock that is the disk's.
Result<MountFd> mount_disk(int dir, const std::string& note);

}  // namespace onggi::engine
