// Removal of directory trees, whatever their depth and whatever is changed in them meanwhile.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace onggi {

// Removes `name` in `dirfd` with everything below it; symlinks are removed, never followed, and other file
// systems are not entered (EBUSY or EXDEV there is an error). What is gone already is no error. Returns the
// bytes that the removed files had allocated (hard links that live on elsewhere are counted as 0).
Result<uint64_t> remove_tree_at(int dirfd, const std::string& name);

}  // namespace onggi
