// Bind sources that only the runtime itself can reach or change: made as detached trees before the clone.
#pragma once

#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/compile.h"

namespace onggi::runtime {

// Fills `fds` (owners) and `prepared` (borrowing) with a tree for each mount that is id-mapped, and, when a
// privileged runtime makes a container with a user namespace, for every bind mount: its source may lie where
// the container's root cannot go.
Result<> prepare_mounts(const oci::Spec& spec, bool rootless, std::vector<MountFd>& fds,
                        std::vector<PreparedMount>& prepared);

}  // namespace onggi::runtime
