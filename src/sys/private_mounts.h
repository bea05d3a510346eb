// A place to mount at that nobody else sees: a mount namespace that lives for one function, with a tmpfs to
// attach mounts below. What comes out is a detached mount.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

// Calls `work` with the root directory of the tmpfs, which is its working directory, too. It runs in a
// process that shares memory and descriptors with this one, which waits for it; of its own it has the mount
// namespace, root and working directory. The caller must have one thread. Detached mounts that `work`
// attached are good for nothing but being closed afterwards.
Result<MountFd> with_private_mounts(const std::function<Result<MountFd>(int place)>& work);
// In `work`: makes the directory `name` in `directory` and attaches the detached mount there.
Result<> attach_below(int mount, int directory, const std::string& name);
// In `work`: a detached copy of what is at `name` of `directory` ("": of the directory itself), with the
// mounts below it if `recursive`.
Result<MountFd> detach_copy(int directory, const std::string& name, bool recursive);

struct NamedMount {
  std::string name;
  int mount = -1;  // detached; borrowed
};
// One detached tree: a small tmpfs, read-only, with each mount at its name.
Result<MountFd> bundle_mounts(const std::vector<NamedMount>& mounts);

}  // namespace onggi::sys
