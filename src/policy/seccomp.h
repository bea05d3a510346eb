// linux.seccomp -> classic BPF, by range and binary search over system call numbers.
//
// Semantics are libseccomp's (the reference in tests): rules with arguments are ORed per system call, all arguments within one
// rule are ANDed, a later identical rule is ignored, names unknown to an architecture are skipped. The filter's layout:
// per architecture a test of seccomp_data.arch, then a balanced tree of jumps over numbers, leaves return actions.
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

// Compiles. Errors: unknown action, operator, architecture, flag; errnoRet with an action that has none; an argument
// index over 5; SCMP_ACT_NOTIFY as default action or for "write"; more than 4,096 instructions.
Result<SeccompProgram> compile_seccomp(const oci::Seccomp& seccomp);

// What `features` reports: names in the specification's spelling.
std::vector<std::string> seccomp_actions();
std::vector<std::string> seccomp_operators();
std::vector<std::string> seccomp_architectures();
std::vector<std::string> seccomp_known_flags();
std::vector<std::string> seccomp_supported_flags();  // those this kernel takes (probed)

}  // namespace onggi::policy
