// Names of the specification -> numbers of the kernel, for process attributes. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace onggi::runtime {

// struct sched_attr of sched_setattr(2), version 1 (56 bytes).
struct SchedAttr {
  uint32_t size = 56;
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0, deadline = 0, period = 0;  // nanoseconds
  uint32_t util_min = 0, util_max = 0;
};
static_assert(sizeof(SchedAttr) == 56);

struct MemPolicy {
  uint64_t mode = 0;            // MPOL_* with MPOL_F_* flags
  std::vector<uint64_t> nodes;  // bit mask, bit n is node n
};

Result<SchedAttr> to_sched_attr(const oci::Scheduler& s);
Result<uint64_t> to_ioprio(const oci::IoPriority& p);
Result<MemPolicy> to_mempolicy(const oci::MemoryPolicy& p);
Result<uint64_t> to_personality(const oci::Personality& p);
Result<int> rlimit_number(const std::string& type);
const char* rlimit_name(int number);
// "0-3,7" -> bit mask; `what` names the member in errors. At most 8,192 entries.
Result<std::vector<uint64_t>> parse_list_mask(const std::string& list, const std::string& what);
// "SIGTERM", "TERM", "term", "15", "SIGRTMIN+3" -> number.
Result<int> signal_number(const std::string& name);

}  // namespace onggi::runtime
