// linux.resources -> interface files of cgroup v1.
#include "runtime/cgroup_plan_common.h"

namespace onggi::runtime {
namespace {

constexpr int kMemoryGroup = 1, kCpuGroup = 2, kRealtimeGroup = 3;

std::string device_number(int64_t major, int64_t minor) {
  return std::to_string(major) + ":" + std::to_string(minor);
}

Result<> plan_memory(WritePlan& plan, const oci::MemoryResources& m) {
  // 0 is what engines write for "not set"; the kernel would take it as a limit of no memory at all.
  if (m.limit.value_or(0) != 0)
    plan.add("memory", "memory.limit_in_bytes", std::to_string(*m.limit), "memory.limit").group =
        kMemoryGroup;
  if (m.swap.value_or(0) != 0) {
    CgroupWrite& w =
        plan.add("memory", "memory.memsw.limit_in_bytes", std::to_string(*m.swap), "memory.swap");
    w.group = kMemoryGroup;
    w.missing_ok = *m.swap < 0;
  } else if (m.limit == -1) {
    // Unlimited memory without a word about swap lifts both, else the old sum would still be the limit.
    CgroupWrite& w = plan.add("memory", "memory.memsw.limit_in_bytes", "-1", "memory.limit");
    w.group = kMemoryGroup;
    w.missing_ok = true;
  }
  if (m.reservation.value_or(0) != 0)
    plan.add("memory", "memory.soft_limit_in_bytes", std::to_string(*m.reservation), "memory.reservation");
  if (m.kernel.value_or(0) != 0)
    plan.add("memory", "memory.kmem.limit_in_bytes", std::to_string(*m.kernel), "memory.kernel").missing_ok =
        *m.kernel < 0;
  if (m.kernel_tcp.value_or(0) != 0)
    plan.add("memory", "memory.kmem.tcp.limit_in_bytes", std::to_string(*m.kernel_tcp), "memory.kernelTCP")
        .missing_ok = *m.kernel_tcp < 0;
  if (m.swappiness) {
    if (*m.swappiness > 100)
      return fail(Error::invalid("linux.resources.memory.swappiness: " + std::to_string(*m.swappiness) +
                                 " is not between 0 and 100"));
    plan.add("memory", "memory.swappiness", std::to_string(*m.swappiness), "memory.swappiness");
  }
  if (m.disable_oom_killer)
    plan.add("memory", "memory.oom_control", *m.disable_oom_killer ? "1" : "0", "memory.disableOOMKiller");
  if (m.use_hierarchy)
    plan.add("memory", "memory.use_hierarchy", *m.use_hierarchy ? "1" : "0", "memory.useHierarchy")
        .missing_ok = *m.use_hierarchy;
  // checkBeforeUpdate: v1 kernels do this by themselves, a limit below the usage is refused.
  return {};
}

Result<> plan_cpu(WritePlan& plan, const oci::CpuResources& c) {
  if (c.shares.value_or(0) != 0) {
    // The kernel would silently clamp.
    if (*c.shares < 2 || *c.shares > 262144)
      return fail(Error::invalid("linux.resources.cpu.shares: " + std::to_string(*c.shares) +
                                 (*c.shares < 2 ? ": the minimum allowed cpu-shares is 2"
                                                : ": the maximum allowed cpu-shares is 262144")));
    plan.add("cpu", "cpu.shares", std::to_string(*c.shares), "cpu.shares");
  }
  if (c.realtime_period.value_or(0) != 0)
    plan.add("cpu", "cpu.rt_period_us", std::to_string(*c.realtime_period), "cpu.realtimePeriod").group =
        kRealtimeGroup;
  if (c.realtime_runtime.value_or(0) != 0)
    plan.add("cpu", "cpu.rt_runtime_us", std::to_string(*c.realtime_runtime), "cpu.realtimeRuntime").group =
        kRealtimeGroup;
  if (c.period.value_or(0) != 0)
    plan.add("cpu", "cpu.cfs_period_us", std::to_string(*c.period), "cpu.period").group = kCpuGroup;
  if (c.quota.value_or(0) != 0)
    plan.add("cpu", "cpu.cfs_quota_us", std::to_string(*c.quota), "cpu.quota").group = kCpuGroup;
  if (c.burst) plan.add("cpu", "cpu.cfs_burst_us", std::to_string(*c.burst), "cpu.burst").group = kCpuGroup;
  if (c.idle) plan.add("cpu", "cpu.idle", std::to_string(*c.idle), "cpu.idle");
  if (!c.cpus.empty()) plan.add("cpuset", "cpuset.cpus", c.cpus, "cpu.cpus");
  if (!c.mems.empty()) plan.add("cpuset", "cpuset.mems", c.mems, "cpu.mems");
  return {};
}

void plan_throttle(WritePlan& plan, const std::vector<oci::ThrottleDevice>& devices, const char* file,
                   const char* field) {
  for (const oci::ThrottleDevice& d : devices)
    plan.add("blkio", file, device_number(d.major, d.minor) + " " + std::to_string(d.rate), field);
}

void plan_block_io(WritePlan& plan, const oci::BlockIoResources& b) {
  // The file names depend on the scheduler: CFQ (until 5.0) had the short ones, BFQ has its own and no leaf
  // weights.
  if (b.weight.value_or(0) != 0) {
    CgroupWrite& w = plan.add("blkio", "blkio.weight", std::to_string(*b.weight), "blockIO.weight");
    w.other_file = "blkio.bfq.weight";
    w.other_value = w.value;
  }
  if (b.leaf_weight.value_or(0) != 0)
    plan.add("blkio", "blkio.leaf_weight", std::to_string(*b.leaf_weight), "blockIO.leafWeight");
  for (const oci::WeightDevice& d : b.weight_device) {
    if (d.weight.value_or(0) != 0) {
      CgroupWrite& w =
          plan.add("blkio", "blkio.weight_device",
                   device_number(d.major, d.minor) + " " + std::to_string(*d.weight), "blockIO.weightDevice");
      w.other_file = "blkio.bfq.weight_device";
      w.other_value = w.value;
    }
    if (d.leaf_weight.value_or(0) != 0)
      plan.add("blkio", "blkio.leaf_weight_device",
               device_number(d.major, d.minor) + " " + std::to_string(*d.leaf_weight),
               "blockIO.weightDevice.leafWeight");
  }
  plan_throttle(plan, b.throttle_read_bps, "blkio.throttle.read_bps_device", "blockIO.throttleReadBpsDevice");
  plan_throttle(plan, b.throttle_write_bps, "blkio.throttle.write_bps_device",
                "blockIO.throttleWriteBpsDevice");
  plan_throttle(plan, b.throttle_read_iops, "blkio.throttle.read_iops_device",
                "blockIO.throttleReadIOPSDevice");
  plan_throttle(plan, b.throttle_write_iops, "blkio.throttle.write_iops_device",
                "blockIO.throttleWriteIOPSDevice");
}

Result<> plan_rest(WritePlan& plan, const oci::Resources& r) {
  TRY_VOID(plan_hugepages(plan, r.hugepage_limits, "limit_in_bytes", "rsvd.limit_in_bytes"));
  if (r.network) {
    if (r.network->class_id.value_or(0) != 0)
      plan.add("net_cls", "net_cls.classid", std::to_string(*r.network->class_id), "network.classID");
    for (const oci::InterfacePriority& p : r.network->priorities)
      plan.add("net_prio", "net_prio.ifpriomap", p.name + " " + std::to_string(p.priority),
               "network.priorities");
  }
  if (!r.unified.empty())
    return fail(Error(ErrorKind::kUnsupported,
                      "linux.resources.unified: invalid configuration: it names files of cgroup v2, and this "
                      "host's controllers are "
                      "on cgroup v1; use the other fields of linux.resources, or boot with cgroup v2"));
  return {};
}

}  // namespace

Result<std::vector<CgroupWrite>> plan_writes_v1(const oci::Resources& r) {
  WritePlan plan;
  if (r.memory) TRY_VOID(plan_memory(plan, *r.memory));
  if (r.cpu) TRY_VOID(plan_cpu(plan, *r.cpu));
  plan_pids(plan, r);
  if (r.block_io) plan_block_io(plan, *r.block_io);
  TRY_VOID(plan_rest(plan, r));
  plan_rdma(plan, r.rdma);
  return plan.take();
}

}  // namespace onggi::runtime
