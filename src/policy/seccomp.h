// linux.seccomp -> classic BPF, by range and binary search over system call numbers.
//
// Semantics are those of libseccomp as the field's runtimes drive it (the reference in tests): rules are ORed
// per system call, the conditions within one rule are ANDed (ORed when two name the same argument), a rule
// without conditions beats those with conditions and stands against later ones, rules equal to the default
// action change nothing, names unknown to an architecture are skipped, the host's own architecture is always
// included. With a default other than ALLOW, LOG and TRACE, numbers above the newest that the profile names
// return ENOSYS. The filter's layout: a test of seccomp_data.arch, then per architecture a balanced tree of
// jumps over numbers; leaves return actions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"

struct sock_filter;

namespace onggi::policy {

struct SeccompProgram {
  std::vector<uint64_t> code;  // each element is one struct sock_filter, 8 bytes, at most 4,096
  uint32_t flags = 0;          // SECCOMP_FILTER_FLAG_*, without NEW_LISTENER
  bool notifies = false;       // some rule's action is SCMP_ACT_NOTIFY: a listener is wanted
};

// Compiles. Errors: unknown action, operator, architecture, flag; errnoRet with an action that has none; an
// argument index over 5; SCMP_ACT_NOTIFY as default action or for "write"; more than 4,096 instructions.
Result<SeccompProgram> compile_seccomp(const oci::Seccomp& seccomp);
// The same for a host of another architecture (tests, and images prepared elsewhere).
enum class Arch : uint8_t;
Result<SeccompProgram> compile_seccomp_for(Arch native, const oci::Seccomp& seccomp);

// What `features` reports: names in the specification's spelling.
std::vector<std::string> seccomp_actions();
std::vector<std::string> seccomp_operators();
std::vector<std::string> seccomp_architectures();
std::vector<std::string> seccomp_known_flags();
std::vector<std::string> seccomp_supported_flags();  // those this kernel takes (probed, without effect)

}  // namespace onggi::policy
