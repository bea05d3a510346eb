// `cp` and `export`: files between the host and a container's root.
//
// The container is hostile: while this runs it may swap any directory for a symlink. Its paths are therefore
// resolved once, by the kernel and inside its root (openat2); from there on everything is done on
// descriptors, entry by entry, without ever following a symlink. Nothing of the container is executed, no
// name service is asked, and only regular files are opened. Files appear by rename, whole or not at all.
#pragma once

#include "engine/container_root.h"

namespace onggi::engine {

struct CopyOptions {
  bool archive = false;  // -a: numeric owners are kept (as seen inside the container)
  bool follow = false;   // -L: a symlink that is the source itself is followed
};

// docker's rules for what `to` means when it exists, or ends with a slash. Errors name the path.
Result<> copy_from_container(const ContainerRoot& container, const std::string& from, const std::string& to,
                             const CopyOptions& options);
Result<> copy_to_container(const ContainerRoot& container, const std::string& from, const std::string& to,
                           const CopyOptions& options);
// A tar stream of `from` on the descriptor `out`; `in` is unpacked into the existing directory `to`.
Result<> archive_from_container(const ContainerRoot& container, const std::string& from, int out,
                                const CopyOptions& options);
Result<> archive_to_container(const ContainerRoot& container, int in, const std::string& to,
                              const CopyOptions& options);
// The whole root as a tar stream; what is mounted in it is left out (its mount points are empty), as docker
// export does.
Result<> export_container(const ContainerRoot& container, int out);

}  // namespace onggi::engine
