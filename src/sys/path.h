// Paths inside a container's root: resolved by the kernel, never as host strings.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

// openat2(2) with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS below the directory `root`: "..", absolute
// symlinks and absolute paths stay inside. O_CLOEXEC is added. The error names `path`.
Result<UniqueFd> open_in_root(int root, const std::string& path, int flags, unsigned mode = 0);
// Makes the directory `path` and whatever is missing above it (mkdir -p), owned by uid:gid. Returns it opened
// with O_PATH. A file in the way is an error.
Result<UniqueFd> make_directories_in_root(int root, const std::string& path, unsigned mode, uint32_t uid,
                                          uint32_t gid);
// The whole of a regular file, at most `limit` bytes; anything that is not a regular file is kInvalid.
Result<std::string> read_file_in_root(int root, const std::string& path, size_t limit);
// Removes everything below and including `name` in the directory `dirfd`, without following symlinks or
// entering other mounts' roots by name. Missing is success.
Result<> remove_tree(int dirfd, const std::string& name);

}  // namespace onggi::sys
