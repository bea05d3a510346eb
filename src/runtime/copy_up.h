// tmpcopyup: fills a new tmpfs with what its mount point holds.
#pragma once

#include "base/result.h"

namespace onggi::runtime {

// Copies the tree below the directory `source` (a readable directory fd) into `tree` (a mount's root, may be
// O_PATH): directories, regular files, symlinks, FIFOs and device nodes with mode, owner, times and extended
// attributes. Nothing outside of the two descriptors is ever opened: every name is opened without following
// symlinks. Depth is bounded (128).
Result<> copy_up(int source, int tree);

}  // namespace onggi::runtime
