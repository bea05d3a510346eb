// linux.seccomp in a checked, numeric form: the step between parsing and code. Internal to policy/.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"
#include "policy/seccomp_arch.h"

namespace onggi::policy {

enum class Compare : uint8_t { kNe, kLt, kLe, kEq, kGe, kGt, kMaskedEq };

struct Condition {
  uint8_t arg = 0;
  Compare op = Compare::kEq;
  uint64_t value = 0;
  uint64_t mask = ~uint64_t{0};  // for kMaskedEq
  bool operator==(const Condition&) const = default;
};

struct FilterRule {
  uint32_t action = 0;                // SECCOMP_RET_* with its data
  std::vector<Condition> conditions;  // all must hold
};

struct RuleUse {
  uint16_t syscall;  // row of the table
  uint32_t rule;     // index into rules
};

struct RuleSet {
  uint32_t default_action = 0;
  bool notifies = false;
  uint32_t flags = 0;
  std::vector<Arch> arches;  // the native one first
  std::vector<FilterRule> rules;
  std::vector<RuleUse> uses;  // in the order given
  // Rows of every name in the profile, also of rules that change nothing: the newest decides where ENOSYS
  // begins.
  std::vector<uint16_t> mentioned;
  bool enosys_above_newest = false;
};

// `native` is the architecture that is always part of the filter.
Result<RuleSet> build_rules(const oci::Seccomp& seccomp, Arch native);

}  // namespace onggi::policy
