// Seccomp user notification: handing the listener to its agent; and LSM probes shared by create and exec.
#pragma once

#include <string>

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace onggi::runtime {

// Sends the container process state (config-linux.md "The Container Process State") with the listener's
// descriptor to linux.seccomp.listenerPath.
Result<> send_seccomp_listener(const oci::Seccomp& seccomp, int listener, int pid, const std::string& state);
bool apparmor_enabled();
bool selinux_enabled();

}  // namespace onggi::runtime
