#include "runtime/process_attributes.h"

#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>

#include <algorithm>

#include "base/file.h"

namespace onggi::runtime {

namespace {

struct Named {
  const char* name;
  uint64_t value;
};

Result<uint64_t> look_up(const auto& table, const std::string& name, const std::string& member) {
  for (const Named& e : table)
    if (name == e.name) return e.value;
  return fail(Error::invalid(member + ": '" + name + "' is not known"));
}

constexpr Named kPolicies[] = {{"SCHED_OTHER", 0},   {"SCHED_FIFO", 1}, {"SCHED_RR", 2},
                               {"SCHED_BATCH", 3},   {"SCHED_ISO", 4},  {"SCHED_IDLE", 5},
                               {"SCHED_DEADLINE", 6}};
constexpr Named kSchedFlags[] = {{"SCHED_FLAG_RESET_ON_FORK", 0x01}, {"SCHED_FLAG_RECLAIM", 0x02},
                                 {"SCHED_FLAG_DL_OVERRUN", 0x04},    {"SCHED_FLAG_KEEP_POLICY", 0x08},
                                 {"SCHED_FLAG_KEEP_PARAMS", 0x10},   {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
                                 {"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40}};
constexpr Named kIoClasses[] = {{"IOPRIO_CLASS_RT", IOPRIO_CLASS_RT},
                                {"IOPRIO_CLASS_BE", IOPRIO_CLASS_BE},
                                {"IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE}};
constexpr Named kMemModes[] = {{"MPOL_DEFAULT", 0},
                               {"MPOL_PREFERRED", 1},
                               {"MPOL_BIND", 2},
                               {"MPOL_INTERLEAVE", 3},
                               {"MPOL_LOCAL", 4},
                               {"MPOL_PREFERRED_MANY", 5},
                               {"MPOL_WEIGHTED_INTERLEAVE", 6}};
constexpr Named kMemFlags[] = {
    {"MPOL_F_STATIC_NODES", 1 << 15}, {"MPOL_F_RELATIVE_NODES", 1 << 14}, {"MPOL_F_NUMA_BALANCING", 1 << 13}};
constexpr Named kRlimits[] = {{"RLIMIT_AS", RLIMIT_AS},
                              {"RLIMIT_CORE", RLIMIT_CORE},
                              {"RLIMIT_CPU", RLIMIT_CPU},
                              {"RLIMIT_DATA", RLIMIT_DATA},
                              {"RLIMIT_FSIZE", RLIMIT_FSIZE},
                              {"RLIMIT_LOCKS", RLIMIT_LOCKS},
                              {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
                              {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
                              {"RLIMIT_NICE", RLIMIT_NICE},
                              {"RLIMIT_NOFILE", RLIMIT_NOFILE},
                              {"RLIMIT_NPROC", RLIMIT_NPROC},
                              {"RLIMIT_RSS", RLIMIT_RSS},
                              {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
                              {"RLIMIT_RTTIME", RLIMIT_RTTIME},
                              {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
                              {"RLIMIT_STACK", RLIMIT_STACK}};

}  // namespace

Result<SchedAttr> to_sched_attr(const oci::Scheduler& s) {
  SchedAttr attr;
  attr.policy = static_cast<uint32_t>(TRY(look_up(kPolicies, s.policy, "process.scheduler.policy")));
  for (const auto& flag : s.flags) attr.flags |= TRY(look_up(kSchedFlags, flag, "process.scheduler.flags"));
  attr.nice = s.nice;
  attr.priority = static_cast<uint32_t>(s.priority);
  attr.runtime = s.runtime;
  attr.deadline = s.deadline;
  attr.period = s.period;
  return attr;
}

Result<uint64_t> to_ioprio(const oci::IoPriority& p) {
  uint64_t io_class = TRY(look_up(kIoClasses, p.io_class, "process.ioPriority.class"));
  return io_class << IOPRIO_CLASS_SHIFT | static_cast<uint64_t>(p.priority);
}

Result<std::vector<uint64_t>> parse_list_mask(const std::string& list, const std::string& what) {
  std::vector<uint64_t> mask;
  size_t at = 0;
  while (at < list.size()) {
    size_t end = std::min(list.find(',', at), list.size());
    std::string_view part = trim(std::string_view(list).substr(at, end - at));
    at = end + 1;
    size_t dash = part.find('-');
    uint64_t first = TRY(parse_u64(part.substr(0, dash), what));
    uint64_t last = dash == std::string_view::npos ? first : TRY(parse_u64(part.substr(dash + 1), what));
    if (last < first || last >= 8192)
      return fail(Error::invalid(what + ": '" + std::string(part) + "' is not a range below 8192"));
    if (mask.size() <= last / 64) mask.resize(last / 64 + 1);
    for (uint64_t i = first; i <= last; i++) mask[i / 64] |= 1ULL << (i % 64);
  }
  return mask;
}

Result<MemPolicy> to_mempolicy(const oci::MemoryPolicy& p) {
  MemPolicy policy;
  policy.mode = TRY(look_up(kMemModes, p.mode, "linux.memoryPolicy.mode"));
  for (const auto& flag : p.flags) policy.mode |= TRY(look_up(kMemFlags, flag, "linux.memoryPolicy.flags"));
  policy.nodes = TRY(parse_list_mask(p.nodes, "linux.memoryPolicy.nodes"));
  return policy;
}

Result<uint64_t> to_personality(const oci::Personality& p) {
  constexpr Named kDomains[] = {{"LINUX", PER_LINUX}, {"LINUX32", PER_LINUX32}};
  if (!p.flags.empty())
    return fail(
        Error::unsupported("linux.personality.flags: the specification defines no flag that the kernel has"));
  return look_up(kDomains, p.domain, "linux.personality.domain");
}

Result<int> rlimit_number(const std::string& type) {
  return static_cast<int>(TRY(look_up(kRlimits, type, "process.rlimits: type")));
}

const char* rlimit_name(int number) {
  for (const Named& e : kRlimits)
    if (e.value == static_cast<uint64_t>(number)) return e.name;
  return "RLIMIT_?";
}

Result<int> signal_number(const std::string& name) {
  if (!name.empty() && name.find_first_not_of("0123456789") == std::string::npos) {
    uint64_t n = TRY(parse_u64(name, "signal"));
    if (n > 64) return fail(Error::invalid("signal: " + name + " is not a signal of this kernel (0 to 64)"));
    return static_cast<int>(n);
  }
  std::string upper = name;
  for (char& ch : upper) ch = ch >= 'a' && ch <= 'z' ? static_cast<char>(ch - 32) : ch;
  if (upper.rfind("SIG", 0) == 0) upper = upper.substr(3);
  for (int n = 1; n < 32; n++)
    if (const char* abbreviation = sigabbrev_np(n); abbreviation && upper == abbreviation) return n;
  if (upper == "CLD") return SIGCHLD;
  if (upper == "IOT") return SIGABRT;
  constexpr int kFirstRealTime = 34, kLastRealTime = 64;  // as libc counts them
  int base = upper.rfind("RTMIN", 0) == 0 ? kFirstRealTime : upper.rfind("RTMAX", 0) == 0 ? kLastRealTime : 0;
  if (base) {
    std::string rest = upper.substr(5);
    int64_t offset =
        rest.empty() ? 0 : TRY(parse_i64(rest[0] == '+' ? rest.substr(1) : rest, "signal " + name));
    if (base + offset >= kFirstRealTime && base + offset <= kLastRealTime)
      return static_cast<int>(base + offset);
  }
  return fail(Error::invalid("unknown signal \"" + name + "\""));
}

}  // namespace onggi::runtime
