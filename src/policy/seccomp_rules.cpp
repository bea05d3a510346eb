// Checks linux.seccomp and turns its names into numbers. Names that no architecture knows are skipped, since
// profiles list calls of newer kernels; everything else that is unknown is an error, since a rule that is not
// understood cannot protect.
#include "policy/seccomp_rules.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "policy/seccomp.h"

namespace onggi::policy {
namespace {

constexpr uint32_t kFlagTsync = 1, kFlagLog = 2, kFlagSpecAllow = 4, kFlagNewListener = 8,
                   kFlagTsyncEsrch = 16, kFlagWaitKillable = 32;
constexpr uint32_t kMaxErrno = 0xffff;  // SECCOMP_RET_DATA

struct ActionRow {
  std::string_view name;
  uint32_t value;
  bool has_data;  // takes errnoRet
};
constexpr ActionRow kActions[] = {
    {"SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW, false},
    {"SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO, true},
    {"SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD, false},
    {"SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS, false},
    {"SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD, false},
    {"SCMP_ACT_LOG", SECCOMP_RET_LOG, false},
    {"SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF, false},
    {"SCMP_ACT_TRACE", SECCOMP_RET_TRACE, true},
    {"SCMP_ACT_TRAP", SECCOMP_RET_TRAP, false},
};

struct CompareRow {
  std::string_view name;
  Compare value;
};
constexpr CompareRow kCompares[] = {
    {"SCMP_CMP_EQ", Compare::kEq}, {"SCMP_CMP_GE", Compare::kGe}, {"SCMP_CMP_GT", Compare::kGt},
    {"SCMP_CMP_LE", Compare::kLe}, {"SCMP_CMP_LT", Compare::kLt}, {"SCMP_CMP_MASKED_EQ", Compare::kMaskedEq},
    {"SCMP_CMP_NE", Compare::kNe},
};

struct FlagRow {
  std::string_view name;
  uint32_t value;
};
constexpr FlagRow kFlags[] = {
    {"SECCOMP_FILTER_FLAG_LOG", kFlagLog},
    {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", kFlagSpecAllow},
    {"SECCOMP_FILTER_FLAG_TSYNC", kFlagTsync},
    {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", kFlagWaitKillable},
};

std::unexpected<Error> invalid(std::string text) {
  return fail(Error::invalid("linux.seccomp" + std::move(text)));
}

Result<uint32_t> action_value(const std::string& name, const std::optional<uint32_t>& data,
                              const std::string& where) {
  for (const ActionRow& row : kActions) {
    if (row.name != name) continue;
    if (!row.has_data) {
      if (data) return invalid(where + ": " + name + " takes no errno, remove it");
      return row.value;
    }
    if (data && *data > kMaxErrno)
      return invalid(where + ": errno " + std::to_string(*data) + " is over 65535");
    return row.value | data.value_or(EPERM);
  }
  return invalid(where + ": '" + name + "' is no seccomp action");
}

Result<Condition> condition_of(const oci::SeccompArg& arg, const std::string& where) {
  if (arg.index > 5) return invalid(where + ": argument index " + std::to_string(arg.index) + " is over 5");
  for (const CompareRow& row : kCompares) {
    if (row.name != arg.op) continue;
    Condition out{static_cast<uint8_t>(arg.index), row.value, arg.value};
    if (row.value == Compare::kMaskedEq) {
      out.mask = arg.value;
      out.value = arg.value_two;
    }
    return out;
  }
  return invalid(where + ": '" + arg.op + "' is no comparison");
}

Result<uint32_t> flags_of(const oci::Seccomp& seccomp, bool notifies) {
  // Absent, not empty: what the field's runtimes take for "the default".
  if (!seccomp.flags) return kFlagSpecAllow;
  uint32_t flags = 0;
  for (const std::string& name : *seccomp.flags) {
    const auto* row = std::ranges::find(kFlags, name, &FlagRow::name);
    if (row == std::end(kFlags)) return invalid(".flags: '" + name + "' is no filter flag");
    flags |= row->value;
  }
  // The kernel refuses these two combinations: waiting has no meaning without a listener, and TSYNC with a
  // listener cannot say both a thread's id and a descriptor unless failure is reported as ESRCH.
  if (!notifies) flags &= ~kFlagWaitKillable;
  if (notifies && (flags & kFlagTsync)) flags |= kFlagTsyncEsrch;
  return flags;
}

Result<std::vector<Arch>> arches_of(const oci::Seccomp& seccomp, Arch native) {
  std::vector<Arch> arches{native};
  for (const std::string& name : seccomp.architectures) {
    auto arch = name == "SCMP_ARCH_NATIVE" ? std::optional(native) : arch_by_name(name);
    if (!arch) return invalid(".architectures: '" + name + "' is no architecture");
    if (arch_info(*arch).big_endian != arch_info(native).big_endian)
      return invalid(".architectures: " + name +
                     " has another byte order than this host, it cannot run here");
    if (std::ranges::find(arches, *arch) == arches.end()) arches.push_back(*arch);
  }
  return arches;
}

// One rule, or, where an argument is named twice, one rule for each condition: two conditions on one argument
// cannot be part of one libseccomp rule, and the field's runtimes fall back to alternatives.
Result<> append_rules(const oci::SyscallRule& rule, uint32_t action, const std::string& where, RuleSet& set) {
  std::vector<Condition> conditions;
  unsigned seen = 0;
  bool twice = false;
  for (size_t i = 0; i < rule.args.size(); i++) {
    Condition condition = TRY(condition_of(rule.args[i], where + ".args[" + std::to_string(i) + "]"));
    twice |= (seen >> condition.arg & 1) != 0;
    seen |= 1u << condition.arg;
    conditions.push_back(condition);
  }
  if (!twice) {
    set.rules.push_back({action, std::move(conditions)});
  } else {
    for (const Condition& condition : conditions) set.rules.push_back({action, {condition}});
  }
  return {};
}

Result<> add_rule(const oci::SyscallRule& rule, const std::string& where, RuleSet& set) {
  if (rule.names.empty()) return invalid(where + ".names: empty, name at least one system call");
  uint32_t action = TRY(action_value(rule.action, rule.errno_ret, where));
  size_t first = set.rules.size();
  TRY_VOID(append_rules(rule, action, where, set));
  bool notify = action == SECCOMP_RET_USER_NOTIF;
  set.notifies |= notify;
  // A rule that repeats the default is left out, as the field's runtimes do; its names still count as known.
  bool redundant = action == set.default_action;
  for (const std::string& name : rule.names) {
    if (name.empty()) return invalid(where + ".names: an empty name");
    if (notify && name == "write")
      return invalid(where + ": SCMP_ACT_NOTIFY cannot be used for write, which hands the listener over");
    auto row = find_syscall(name);
    if (!row) continue;
    set.mentioned.push_back(*row);
    if (redundant) continue;
    for (size_t i = first; i < set.rules.size(); i++) set.uses.push_back({*row, static_cast<uint32_t>(i)});
  }
  return {};
}

}  // namespace

Result<RuleSet> build_rules(const oci::Seccomp& seccomp, Arch native) {
  RuleSet set;
  set.default_action = TRY(action_value(seccomp.default_action, seccomp.default_errno_ret, ".defaultAction"));
  if (set.default_action == SECCOMP_RET_USER_NOTIF)
    return invalid(
        ".defaultAction: SCMP_ACT_NOTIFY cannot be the default, the container could not be started");
  set.arches = TRY(arches_of(seccomp, native));
  set.rules.reserve(seccomp.syscalls.size());
  set.uses.reserve(512);
  set.mentioned.reserve(512);
  for (size_t i = 0; i < seccomp.syscalls.size(); i++)
    TRY_VOID(add_rule(seccomp.syscalls[i], ".syscalls[" + std::to_string(i) + "]", set));
  set.flags = TRY(flags_of(seccomp, set.notifies));
  // With a permissive default, calls newer than the profile are let through as it says; a profile whose
  // default is ENOSYS needs nothing more.
  uint32_t kind = set.default_action & SECCOMP_RET_ACTION_FULL;
  set.enosys_above_newest = kind != SECCOMP_RET_ALLOW && kind != SECCOMP_RET_LOG &&
                            kind != SECCOMP_RET_TRACE && set.default_action != (SECCOMP_RET_ERRNO | ENOSYS);
  return set;
}

std::vector<std::string> seccomp_actions() {
  std::vector<std::string> names;
  for (const ActionRow& row : kActions) names.emplace_back(row.name);
  return names;
}
std::vector<std::string> seccomp_operators() {
  std::vector<std::string> names;
  for (const CompareRow& row : kCompares) names.emplace_back(row.name);
  return names;
}
std::vector<std::string> seccomp_architectures() {
  std::vector<std::string> names;
  for (size_t i = 0; i < kArchCount; i++) names.emplace_back(arch_info(static_cast<Arch>(i)).name);
  std::ranges::sort(names);
  return names;
}
std::vector<std::string> seccomp_known_flags() {
  std::vector<std::string> names;
  for (const FlagRow& row : kFlags) names.emplace_back(row.name);
  return names;
}

std::vector<std::string> seccomp_supported_flags() {
  std::vector<std::string> names;
  for (const FlagRow& row : kFlags) {
    // Without a program the kernel looks at the flags first: EFAULT says that it knows them, EINVAL that it
    // does not.
    uint32_t flags = row.value | (row.value == kFlagWaitKillable ? kFlagNewListener : 0);
    if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, nullptr) < 0 && errno == EFAULT)
      names.emplace_back(row.name);
  }
  return names;
}

}  // namespace onggi::policy
