// linux.resources -> the list of writes that realises it, for v1 and for v2. Pure: what is planned here is
// tested field by field without privileges; apply_writes() has the effects and knows nothing about fields.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace onggi::runtime {

struct CgroupWrite {
  std::string controller;  // "memory"; "devices" and "cgroup" are pseudo controllers on v2
  std::string file;        // "memory.limit_in_bytes"
  std::string value;
  std::string field;  // for errors: "linux.resources.memory.limit"
  // Written instead where `file` does not exist (kernels and I/O schedulers differ).
  std::string other_file, other_value;
  // A missing file means that the request holds anyway (no swap accounting and "no swap"): not an error.
  bool missing_ok = false;
  // Writes of one group other than 0 constrain each other (limit <= memory+swap, burst <= quota): one that
  // the kernel refuses with EINVAL is tried again after the others, which makes raising and lowering work in
  // any order.
  int group = 0;
  // The first word that the file has now is put before `value` ("50000 " + period in cpu.max).
  bool keep_first_word = false;
};

// Device rules are not part of these plans (cgroup_devices.h). Errors: a value out of range, a field that the
// version cannot do.
Result<std::vector<CgroupWrite>> plan_writes_v1(const oci::Resources& resources);
Result<std::vector<CgroupWrite>> plan_writes_v2(const oci::Resources& resources);
// The fields of one controller that the other version has to serve, for hybrid hosts: `wanted` says which
// controllers to keep.
std::vector<CgroupWrite> only_controllers(std::vector<CgroupWrite> writes,
                                          const std::function<bool(std::string_view)>& wanted);

// Directory of a controller's cgroup, "" when there is none.
using ControllerDirectory = std::function<std::string(std::string_view controller)>;
// Why a controller is missing, to be put into the error; may be empty.
using ControllerExplain = std::function<std::string(std::string_view controller)>;

// Executes the writes in order. Consecutive writes to one file share one open file. Errors name the field,
// the file and what to do; a limit below the current usage says both numbers.
Result<> apply_writes(const std::vector<CgroupWrite>& writes, const ControllerDirectory& directory,
                      const ControllerExplain& explain);

}  // namespace onggi::runtime
