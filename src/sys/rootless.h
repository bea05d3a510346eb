// An ordinary user's place to act as root: a user namespace with the ranges of /etc/subuid and /etc/subgid,
// and a mount namespace in it.
#pragma once

#include <string>

#include "base/result.h"

namespace onggi::sys {

// Puts the calling process (which must have one thread) into a new user and mount namespace, as its root. The
// maps are written by newuidmap and newgidmap from outside. kUnsupported says what is missing (ranges,
// package uidmap).
Result<> enter_own_user_namespace();
// The same, into the user namespace of the process `pid` (a monitor of this user's), with a new mount
// namespace.
Result<> enter_user_namespace_of(int pid);

}  // namespace onggi::sys
