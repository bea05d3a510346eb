// The unpacker: one layer from a pipe into one directory, in a process that can do nothing else.
//
// onggi-unpack is started by unpack_client with descriptors and a few numbers, enters a user namespace (where
// the starter has one for it), drops what it does not need, restricts itself with Landlock and a list of
// system calls, and only then reads the first byte. It answers with records, each ended by a NUL byte:
//   O path                                opaque directory, for the parent to mark
//   D mode major minor path               device node, for the parent to make in place of the file there
//   N reason                              (raw) the tar is not plain (plain_tar.h)
//   R diff-id bytes entries input dropped the end: what was unpacked
//   E kind text                           the end: why not
// Paths are bytes without NUL, so no quoting is needed.
#pragma once

#include <string>

#include "base/result.h"
#include "transfer/decompress.h"
#include "transfer/tree_writer.h"

namespace onggi::transfer {

struct Unpacked {
  std::string diff_hex;  // SHA-256 of the uncompressed tar
  uint64_t bytes = 0;    // of file content
  uint64_t entries = 0;  // directory entries in the tree
  uint64_t input = 0;    // bytes read
  uint64_t dropped_xattrs = 0;
  std::string not_plain;  // raw: why the tar cannot be used as it is; empty: it can
};

// Reads a (compressed) tar from `input` and writes it below `root`. Reads to the end of the input even behind
// the tar's end: the digest is of all of it.
Result<Unpacked> unpack_tree(int input, TreeWriter& writer, const UnpackLimits& limits);

// As unpack_tree, but the tar itself goes to the file `output` (open for reading, too), and is looked
// through.
Result<Unpacked> unpack_raw(int input, int output, const UnpackLimits& limits);

// main() of onggi-unpack.
int unpack_main(int argc, char** argv);

}  // namespace onggi::transfer
