// What the plans for cgroup v1 and v2 share. Internal to cgroup_plan_*.cpp.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runtime/cgroup_plan.h"

namespace onggi::runtime {

// Collects writes in the order in which they are added.
class WritePlan {
 public:
  // `field` is the path below linux.resources, for errors.
  CgroupWrite& add(std::string controller, std::string file, std::string value, std::string field) {
    writes_.push_back(
        {std::move(controller), std::move(file), std::move(value), "linux.resources." + std::move(field)});
    return writes_.back();
  }
  std::vector<CgroupWrite> take() { return std::move(writes_); }

 private:
  std::vector<CgroupWrite> writes_;
};

// hugetlb.SIZE.<limit_file>, and the same number for reservations (<reserve_file>).
Result<> plan_hugepages(WritePlan& plan, const std::vector<oci::HugepageLimit>& limits,
                        const char* limit_file, const char* reserve_file);
// rdma.max has the same name and format on both.
void plan_rdma(WritePlan& plan, const std::vector<oci::RdmaLimit>& limits);
void plan_pids(WritePlan& plan, const oci::Resources& resources);

}  // namespace onggi::runtime
