#include "runtime/cgroup_plan_common.h"

namespace onggi::runtime {

Result<> plan_hugepages(WritePlan& plan, const std::vector<oci::HugepageLimit>& limits,
                        const char* limit_file, const char* reserve_file) {
  for (const oci::HugepageLimit& h : limits) {
    if (h.page_size.empty() || h.page_size.find('/') != std::string::npos)
      return fail(Error::invalid("linux.resources.hugepageLimits: '" + h.page_size +
                                 "' is not a page size such as 2MB"));
    std::string prefix = "hugetlb." + h.page_size + ".";
    plan.add("hugetlb", prefix + limit_file, std::to_string(h.limit), "hugepageLimits");
    // Reservations are counted apart since 5.7; without it mmap() would succeed and the first touch would be
    // SIGBUS.
    plan.add("hugetlb", prefix + reserve_file, std::to_string(h.limit), "hugepageLimits").missing_ok = true;
  }
  return {};
}

void plan_rdma(WritePlan& plan, const std::vector<oci::RdmaLimit>& limits) {
  for (const oci::RdmaLimit& l : limits) {
    std::string value = l.device;
    if (l.hca_handles) value += " hca_handle=" + std::to_string(*l.hca_handles);
    if (l.hca_objects) value += " hca_object=" + std::to_string(*l.hca_objects);
    if (value != l.device) plan.add("rdma", "rdma.max", value, "rdma");
  }
}

// -1 (and any negative number) is unlimited. No process at all could not run the container's own, so 0
// means 1.
void plan_pids(WritePlan& plan, const oci::Resources& resources) {
  if (!resources.pids || !resources.pids->limit) return;
  int64_t limit = *resources.pids->limit;
  plan.add("pids", "pids.max", limit < 0 ? "max" : limit == 0 ? "1" : std::to_string(limit), "pids.limit");
}

}  // namespace onggi::runtime
