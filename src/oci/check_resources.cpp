// The rules of `linux.resources` that hold on every host; what a controller can do is the cgroup code's
// business.
#include "oci/check_internal.h"

namespace onggi::oci {
namespace {

Result<> check_device_rule(const DeviceRule& rule, const std::string& member) {
  if (rule.type != "" && rule.type != "a" && rule.type != "c" && rule.type != "b")
    return broken(member + ".type", quoted(rule.type) + " is none of a, c, b");
  if (rule.access.find_first_not_of("rwm") != std::string::npos)
    return broken(member + ".access", quoted(rule.access) + " has letters other than r, w, m");
  // -1 is how some engines write "any".
  if (rule.major.value_or(0) < -1)
    return broken(member + ".major", std::to_string(*rule.major) + " is negative");
  if (rule.minor.value_or(0) < -1)
    return broken(member + ".minor", std::to_string(*rule.minor) + " is negative");
  return {};
}

// "2MB", "64KB", "1GB": config-linux.md "Huge page limits".
bool is_page_size(std::string_view size) {
  size_t digits = size.find_first_not_of("0123456789");
  if (digits == 0 || digits == std::string_view::npos || size[0] == '0') return false;
  std::string_view unit = size.substr(digits);
  return unit == "KB" || unit == "MB" || unit == "GB";
}

Result<> check_block_io(const BlockIoResources& io) {
  for (size_t i = 0; i < io.weight_device.size(); i++)
    if (!io.weight_device[i].weight && !io.weight_device[i].leaf_weight)
      return broken(at("linux.resources.blockIO.weightDevice", i), "neither weight nor leafWeight is given");
  return {};
}

}  // namespace

Result<> check_resources(const Resources& resources) {
  for (size_t i = 0; i < resources.devices.size(); i++)
    TRY_VOID(check_device_rule(resources.devices[i], at("linux.resources.devices", i)));
  if (resources.memory && resources.memory->swappiness.value_or(0) > 100)
    return broken("linux.resources.memory.swappiness",
                  std::to_string(*resources.memory->swappiness) + " is not from 0 to 100");
  if (resources.block_io) TRY_VOID(check_block_io(*resources.block_io));
  for (size_t i = 0; i < resources.hugepage_limits.size(); i++)
    if (!is_page_size(resources.hugepage_limits[i].page_size))
      return broken(at("linux.resources.hugepageLimits", i) + ".pageSize",
                    quoted(resources.hugepage_limits[i].page_size) + " is not a size like 2MB");
  if (resources.network)
    for (size_t i = 0; i < resources.network->priorities.size(); i++)
      if (resources.network->priorities[i].name.empty())
        return broken(at("linux.resources.network.priorities", i) + ".name", "missing");
  for (const RdmaLimit& limit : resources.rdma)
    if (!limit.hca_handles && !limit.hca_objects)
      return broken("linux.resources.rdma." + limit.device, "neither hcaHandles nor hcaObjects is given");
  // The file name goes into a path below the container's cgroup.
  for (const auto& [file, value] : resources.unified)
    if (file.empty() || file.find('/') != std::string::npos || file == "." || file == "..")
      return broken("linux.resources.unified", quoted(file) + " is no name of a cgroup file");
  return {};
}

}  // namespace onggi::oci
