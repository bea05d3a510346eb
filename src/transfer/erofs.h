// Layers in EROFS form: the layer's tar as it is (layer.tar) and an index of it (layer.erofs), which the
// kernel mounts with the tar as its device. mkfs.erofs 1.8 makes the index.
#pragma once

#include <string>

#include "base/result.h"

namespace onggi::transfer {

// Path of a mkfs.erofs that knows --tar ($ONGGI_MKFS_EROFS, else the installed one). kUnsupported says why
// there is none.
Result<std::string> find_mkfs_erofs();
// Makes layer.erofs beside layer.tar in `directory`. mkfs.erofs reads bytes from outside: it runs confined by
// onggi-unpack, without capabilities, in the user namespace (-1: none), able to write in `directory` alone.
Result<> make_erofs_index(int directory, int user_namespace);

// Does the mounted tree have what the tar was found to have: as many entries and bytes, and no attribute that
// an image may not set? Two readers of one tar can be made to disagree; what was checked must be what is
// mounted.
Result<> compare_tree(int mount, uint64_t entries, uint64_t bytes);

// onggi-unpack's side: never returns when it worked.
Result<> become_mkfs_erofs(int parent, int directory, int user_namespace, const std::string& program);

}  // namespace onggi::transfer
