// Landlock: a process that gives up every path but the directories it names.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"

namespace onggi::sys {

// The Landlock ABI of this kernel; 0 when it has none.
int landlock_abi();

// From now on the calling thread and its children can reach files only below `writable` (everything but
// executing and making devices is allowed there; borrowed descriptors), can open no TCP socket, and cannot
// signal or connect to processes outside (as far as the kernel's ABI knows these). Needs no_new_privs or
// CAP_SYS_ADMIN. False when the kernel has no Landlock.
// What is below `programs` may be read and executed.
Result<bool> restrict_to_directories(const std::vector<int>& writable, const std::vector<int>& programs = {});

}  // namespace onggi::sys
