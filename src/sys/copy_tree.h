// Copying a directory's content with everything that belongs to its files.
#pragma once

#include "base/result.h"

namespace onggi::sys {

// Copies all entries of the directory `from` into the existing directory `to`, and `from`'s own owner, mode
// and extended attributes onto it: files (reflinked or copied in the kernel), directories, symlinks, devices,
// FIFOs, sockets left out; owners, modes, times, extended attributes, hard links within the tree. Symlinks
// are never followed. Existing entries are errors. Both borrowed, opened for reading.
Result<> copy_tree(int from, int to);
// Copies one regular file's bytes, in the kernel where it can.
Result<> copy_bytes(int from, int to);
// Owner, extended attributes, mode and times of `from` onto `to` (descriptors of the same kind of file).
Result<> copy_attributes(int from, int to);

}  // namespace onggi::sys
