// Where the programs of libexec/onggi are: dynamic or rarely used code that the small static runtime
// executes.
#pragma once

#include <string>

#include "base/result.h"

namespace onggi::runtime {

// Beside the runtime (../libexec/onggi, which a build directory and an installation both have), else where
// packages install it. kNotFound says that `user` needs it and what else could be done.
Result<std::string> find_helper(const std::string& name, const std::string& user,
                                const std::string& otherwise);

}  // namespace onggi::runtime
