// Users and groups of an image, read from its own files without a name service.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "engine/spec_build.h"

namespace onggi::engine {

// `user` as in an image's config: "", "name", "uid", "name:group", "uid:gid"; `add` are further groups by
// name or number (--group-add). `root` is the container's root directory. Files are read bounded, in the
// root, and only when they are regular (CVE-2022-24769, CVE-2024-40635); ids are strict 32-bit numbers, and
// -1 is none. A name that the files do not have is an error; a number that they do not have stands for
// itself.
Result<ResolvedUser> resolve_user(int root, const std::string& user, const std::vector<std::string>& add);
// The same on texts of passwd(5) and group(5).
Result<ResolvedUser> resolve_user_in(const std::string& passwd, const std::string& group,
                                     const std::string& user, const std::vector<std::string>& add);

}  // namespace onggi::engine
