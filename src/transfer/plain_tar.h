// Is a layer's tar one that may be mounted as it is?
//
// EROFS's index takes a tar at its word: there is no unpacker between the archive and the file tree. So the
// tar is read first, entry by entry, in the unpacker's confinement, and only one that means the same to
// everybody is indexed: names without ".." and links on the way, every directory before what is in it,
// nothing twice, hard links to files that were there before, only attributes that an image may set. All else
// (an attack, a builder's oddity, a sparse file) is unpacked into a directory by the rules of tree_writer.h,
// as if there were no index.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "transfer/decompress.h"

namespace onggi::transfer {

struct TarScan {
  bool plain = false;
  std::string why_not;   // one sentence's end: "has the entry '../x' twice"
  uint64_t bytes = 0;    // of file content
  uint64_t entries = 0;  // directory entries of the tree
};

// `file` is read from its beginning. An error is only one of the machine; a broken tar is not plain.
Result<TarScan> scan_tar(int file, const UnpackLimits& limits);

}  // namespace onggi::transfer
