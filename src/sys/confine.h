// What a worker gives up before it looks at data from outside: capabilities, new privileges, system calls.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"

namespace onggi::sys {

// Joins the user namespace and becomes its root. Capabilities are full there, none outside.
Result<> enter_user_namespace(int namespace_fd);
// Keeps exactly these capabilities (bits of linux/capability.h) in permitted and effective, none inheritable,
// and empties the bounding set.
Result<> keep_capabilities(uint64_t mask);
// no_new_privs, not dumpable, and SIGKILL when the parent dies. `parent` is checked: when it is gone already,
// an error.
Result<> follow_parent(int parent);
// System calls that are not listed fail with ENOSYS from now on, as do those of another architecture. Needs
// no_new_privs.
Result<> allow_only_system_calls(const std::vector<int>& numbers);

}  // namespace onggi::sys
