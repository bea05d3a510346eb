// A directory tree as a tar stream: a container's writable layer (commit) or its whole root (export).
//
// The tree may be changed while it is read, by whoever runs in it: every step is by descriptor and follows no
// symlink, and only what is a regular file after it was opened is read. Entries come in the order of their
// names, so that the same tree gives the same bytes.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "transfer/tar_writer.h"

namespace onggi::transfer {

struct TreeOptions {
  // The container's ids begin at id_base on this host; what it owns gets its own ids back. 0 of count 0: as
  // they are.
  uint32_t id_base = 0, id_count = 0;
  // The tree is overlay's upper directory: whiteouts and opaque directories become those of layers
  // (layer.md "Whiteouts").
  bool overlay_upper = false;
};

struct TreeSummary {
  uint64_t entries = 0;
  uint64_t skipped = 0;  // sockets, which a tar cannot hold
  uint64_t foreign = 0;  // entries of owners outside of the range; they become nobody's (65534)
};

Result<TreeSummary> write_tree(int root, const TreeOptions& options, TarWriter& tar);

// File capabilities of revision 3 whose root is `id_base` become those of revision 2, as an image has them;
// named entries of POSIX ACLs get their ids back. Exposed for tests.
std::string unshift_xattr(std::string_view name, std::string value, const TreeOptions& options);

}  // namespace onggi::transfer
