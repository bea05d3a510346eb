// linux.resources -> interface files of cgroup v2. Conversions: cgroup_convert.h.
#include "runtime/cgroup_convert.h"
#include "runtime/cgroup_plan_common.h"

namespace onggi::runtime {

namespace {

constexpr int kMemoryGroup = 1, kCpuGroup = 2;

std::unexpected<Error> only_v1(const char* field, const char* advice) {
  return fail(Error::unsupported("linux.resources." + std::string(field) + ": cgroup v2 has no such limit; " +
                                 advice));
}

Result<> plan_memory(WritePlan& plan, const oci::MemoryResources& m) {
  if (m.limit.value_or(0) != 0)
    plan.add("memory", "memory.max", max_or_number(*m.limit), "memory.limit").group = kMemoryGroup;
  SwapMax swap = TRY(swap_max_from_memsw(m.swap.value_or(0), m.limit.value_or(0)));
  if (!swap.unset) {
    CgroupWrite& w = plan.add("memory", "memory.swap.max", max_or_number(swap.value), "memory.swap");
    // Kernels without swap accounting have no such file: nothing to forbid, nothing to lift.
    w.missing_ok = swap.value <= 0;
  }
  if (m.reservation.value_or(0) != 0)
    plan.add("memory", "memory.low", max_or_number(*m.reservation), "memory.reservation");
  if (m.kernel.value_or(0) > 0) return only_v1("memory.kernel", "kernel memory counts towards memory.limit");
  if (m.kernel_tcp.value_or(0) > 0)
    return only_v1("memory.kernelTCP", "socket memory counts towards memory.limit");
  if (m.swappiness) {
    if (*m.swappiness > 100)
      return fail(Error::invalid("linux.resources.memory.swappiness: " + std::to_string(*m.swappiness) +
                                 " is not between 0 and 100"));
    return only_v1("memory.swappiness", "leave it out, or limit swap by memory.swap");
  }
  if (m.disable_oom_killer.value_or(false))
    return only_v1("memory.disableOOMKiller",
                   "set oomScoreAdj to -1000, or use memory.high by linux.resources.unified");
  if (!m.use_hierarchy.value_or(true)) return only_v1("memory.useHierarchy", "v2 is always hierarchical");
  return {};
}

Result<> plan_cpu(WritePlan& plan, const oci::CpuResources& c) {
  // An idle cgroup has no weight (the kernel refuses one), so idle wins when both are given.
  if (c.idle) plan.add("cpu", "cpu.idle", std::to_string(*c.idle), "cpu.idle");
  if (c.shares.value_or(0) != 0 && c.idle.value_or(0) != 1)
    plan.add("cpu", "cpu.weight", std::to_string(cpu_weight_from_shares(*c.shares)), "cpu.shares");
  int64_t quota = c.quota.value_or(0);
  uint64_t period = c.period.value_or(0);
  if (quota != 0 || period != 0) {
    std::string value;
    if (quota != 0) value = max_or_number(quota);
    if (period != 0) value += (quota != 0 ? " " : "") + std::to_string(period);
    CgroupWrite& w = plan.add("cpu", "cpu.max", std::move(value), quota != 0 ? "cpu.quota" : "cpu.period");
    w.group = kCpuGroup;
    // The kernel keeps a period that is not mentioned, but a quota must be: a period alone must not lift it.
    w.keep_first_word = quota == 0;
  }
  if (c.burst) plan.add("cpu", "cpu.max.burst", std::to_string(*c.burst), "cpu.burst").group = kCpuGroup;
  if (c.realtime_period.value_or(0) != 0 || c.realtime_runtime.value_or(0) != 0)
    return only_v1(c.realtime_runtime.value_or(0) != 0 ? "cpu.realtimeRuntime" : "cpu.realtimePeriod",
                   "leave it out");
  if (!c.cpus.empty()) plan.add("cpuset", "cpuset.cpus", c.cpus, "cpu.cpus");
  if (!c.mems.empty()) plan.add("cpuset", "cpuset.mems", c.mems, "cpu.mems");
  return {};
}

void plan_throttle(WritePlan& plan, const std::vector<oci::ThrottleDevice>& devices, const char* key,
                   const char* field) {
  for (const oci::ThrottleDevice& d : devices) {
    // In io.max 0 is no valid rate; v1 (whose units the specification has) takes it as "no limit".
    std::string rate = d.rate == 0 ? "max" : std::to_string(d.rate);
    plan.add("io", "io.max", std::to_string(d.major) + ":" + std::to_string(d.minor) + " " + key + "=" + rate,
             field);
  }
}

Result<> plan_block_io(WritePlan& plan, const oci::BlockIoResources& b) {
  // BFQ takes the v1 scale; the generic io.weight (io.cost) another one.
  if (b.weight.value_or(0) != 0) {
    CgroupWrite& w = plan.add("io", "io.bfq.weight", std::to_string(*b.weight), "blockIO.weight");
    w.other_file = "io.weight";
    w.other_value = "default " + std::to_string(io_weight_from_blkio(*b.weight));
  }
  if (b.leaf_weight.value_or(0) != 0) return only_v1("blockIO.leafWeight", "use blockIO.weight");
  for (const oci::WeightDevice& d : b.weight_device) {
    if (d.leaf_weight.value_or(0) != 0) return only_v1("blockIO.weightDevice.leafWeight", "use its weight");
    if (d.weight.value_or(0) == 0) continue;
    std::string device = std::to_string(d.major) + ":" + std::to_string(d.minor) + " ";
    CgroupWrite& w =
        plan.add("io", "io.bfq.weight", device + std::to_string(*d.weight), "blockIO.weightDevice");
    w.other_file = "io.weight";
    w.other_value = device + std::to_string(io_weight_from_blkio(*d.weight));
  }
  plan_throttle(plan, b.throttle_read_bps, "rbps", "blockIO.throttleReadBpsDevice");
  plan_throttle(plan, b.throttle_write_bps, "wbps", "blockIO.throttleWriteBpsDevice");
  plan_throttle(plan, b.throttle_read_iops, "riops", "blockIO.throttleReadIOPSDevice");
  plan_throttle(plan, b.throttle_write_iops, "wiops", "blockIO.throttleWriteIOPSDevice");
  return {};
}

Result<> plan_rest(WritePlan& plan, const oci::Resources& r) {
  TRY_VOID(plan_hugepages(plan, r.hugepage_limits, "max", "rsvd.max"));
  if (r.network && r.network->class_id.value_or(0) != 0)
    return only_v1("network.classID", "match the cgroup itself in nftables (socket cgroupv2)");
  if (r.network && !r.network->priorities.empty())
    return only_v1("network.priorities", "match the cgroup itself in nftables (socket cgroupv2)");
  for (const auto& [key, value] : r.unified) {
    size_t dot = key.find('.');
    if (key.find('/') != std::string::npos)
      return fail(Error::invalid("linux.resources.unified: '" + key + "' must be a file name (no slashes)"));
    if (dot == 0 || dot == std::string::npos)
      return fail(
          Error::invalid("linux.resources.unified: '" + key + "' must be in the form CONTROLLER.PARAMETER"));
    // Files such as io.max take one line a write.
    std::string_view rest = value;
    do {
      size_t end = rest.find('\n');
      std::string_view line = rest.substr(0, end);
      rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
      if (!line.empty() || value.empty())
        plan.add(key.substr(0, dot), key, std::string(line), "unified[\"" + key + "\"]");
    } while (!rest.empty());
  }
  return {};
}

}  // namespace

Result<std::vector<CgroupWrite>> plan_writes_v2(const oci::Resources& r) {
  WritePlan plan;
  plan_pids(plan, r);
  if (r.memory) TRY_VOID(plan_memory(plan, *r.memory));
  if (r.block_io) TRY_VOID(plan_block_io(plan, *r.block_io));
  if (r.cpu) TRY_VOID(plan_cpu(plan, *r.cpu));
  plan_rdma(plan, r.rdma);
  TRY_VOID(plan_rest(plan, r));
  return plan.take();
}

}  // namespace onggi::runtime
