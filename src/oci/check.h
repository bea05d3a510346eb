// Judges a parsed Spec by the rules of the specification that do not depend on the host. Pure.
//
// What the field's runtimes accept is accepted; what the specification says MUST be an error is one. Names
// that are turned into numbers later (rlimits, scheduling policies, memory modes, seccomp) are judged where
// that happens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace onggi::oci {

// Errors name the member and the rule, e.g. `linux.namespaces: "pid" is listed twice`. What the field ignores
// (an unknown capability) is ignored here too, and said in `warnings` when the caller gives a place for them.
Result<> check_spec(const Spec& spec, std::vector<std::string>* warnings = nullptr);
Result<> check_process(const Process& process, std::vector<std::string>* warnings = nullptr);

// A sysctl's file below /proc/sys: "net.ipv4.ip_forward" or "net/ipv4/ip_forward" -> "net/ipv4/ip_forward".
// As in sysctl(8) the first separator decides which of '.' and '/' separates; the other stands for a dot
// inside a name. Errors: an empty component, "." or "..", which could lead out of the subtree that the rules
// allow.
Result<std::string> sysctl_path(std::string_view key);

}  // namespace onggi::oci
