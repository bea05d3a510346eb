// One test for each field of linux.resources, on v1 and on v2: the exact writes. A field that is ignored
// fails here.
#include "runtime/cgroup_plan.h"

#include <gtest/gtest.h>

namespace onggi::runtime {
namespace {

std::string text(const Result<std::vector<CgroupWrite>>& writes) {
  if (!writes) return "error: " + writes.error().text();
  std::string out;
  for (const CgroupWrite& w : *writes) {
    out += w.controller + "/" + w.file + "=" + (w.keep_first_word ? "<kept> " : "") + w.value;
    if (!w.other_file.empty()) out += "|" + w.other_file + "=" + w.other_value;
    if (w.missing_ok) out += "?";
    out += "; ";
  }
  return out;
}
oci::Resources memory(oci::MemoryResources m) { return {.memory = m}; }
oci::Resources cpu(oci::CpuResources c) { return {.cpu = c}; }
oci::Resources block(oci::BlockIoResources b) { return {.block_io = std::move(b)}; }

struct Field {
  const char* name;
  oci::Resources resources;
  const char* v1;
  const char* v2;
};

const Field kFields[] = {
    {"nothing", {}, "", ""},
    {"memory.limit", memory({.limit = 4096}), "memory/memory.limit_in_bytes=4096; ",
     "memory/memory.max=4096; "},
    {"memory.limit unlimited", memory({.limit = -1}),
     "memory/memory.limit_in_bytes=-1; memory/memory.memsw.limit_in_bytes=-1?; ",
     "memory/memory.max=max; memory/memory.swap.max=max?; "},
    {"memory.limit unset", memory({.limit = 0, .swap = 0}), "", ""},
    {"memory.swap", memory({.limit = 4096, .swap = 12288}),
     "memory/memory.limit_in_bytes=4096; memory/memory.memsw.limit_in_bytes=12288; ",
     "memory/memory.max=4096; memory/memory.swap.max=8192; "},
    {"memory.swap none", memory({.limit = 4096, .swap = 4096}),
     "memory/memory.limit_in_bytes=4096; memory/memory.memsw.limit_in_bytes=4096; ",
     "memory/memory.max=4096; memory/memory.swap.max=0?; "},
    {"memory.swap unlimited", memory({.swap = -1}), "memory/memory.memsw.limit_in_bytes=-1?; ",
     "memory/memory.swap.max=max?; "},
    {"memory.reservation", memory({.reservation = 2048}), "memory/memory.soft_limit_in_bytes=2048; ",
     "memory/memory.low=2048; "},
    {"memory.kernel", memory({.kernel = 1024}), "memory/memory.kmem.limit_in_bytes=1024; ",
     "error: linux.resources.memory.kernel"},
    {"memory.kernelTCP", memory({.kernel_tcp = 1024}), "memory/memory.kmem.tcp.limit_in_bytes=1024; ",
     "error: linux.resources.memory.kernelTCP"},
    {"memory.swappiness", memory({.swappiness = 60}), "memory/memory.swappiness=60; ",
     "error: linux.resources.memory.swappiness"},
    {"memory.swappiness range", memory({.swappiness = 101}),
     "error: linux.resources.memory.swappiness: 101 is not",
     "error: linux.resources.memory.swappiness: 101 is not"},
    {"memory.disableOOMKiller", memory({.disable_oom_killer = true}), "memory/memory.oom_control=1; ",
     "error: linux.resources.memory.disableOOMKiller"},
    {"memory.disableOOMKiller false", memory({.disable_oom_killer = false}), "memory/memory.oom_control=0; ",
     ""},
    {"memory.useHierarchy", memory({.use_hierarchy = true}), "memory/memory.use_hierarchy=1?; ", ""},
    {"memory.useHierarchy false", memory({.use_hierarchy = false}), "memory/memory.use_hierarchy=0; ",
     "error: linux.resources.memory.useHierarchy"},
    {"cpu.shares", cpu({.shares = 1024}), "cpu/cpu.shares=1024; ", "cpu/cpu.weight=100; "},
    {"cpu.shares unset", cpu({.shares = 0}), "", ""},
    {"cpu.quota", cpu({.quota = 50000}), "cpu/cpu.cfs_quota_us=50000; ", "cpu/cpu.max=50000; "},
    {"cpu.quota unlimited", cpu({.quota = -1}), "cpu/cpu.cfs_quota_us=-1; ", "cpu/cpu.max=max; "},
    {"cpu.period", cpu({.period = 20000}), "cpu/cpu.cfs_period_us=20000; ", "cpu/cpu.max=<kept> 20000; "},
    {"cpu.quota and period", cpu({.quota = 5000, .period = 20000}),
     "cpu/cpu.cfs_period_us=20000; cpu/cpu.cfs_quota_us=5000; ", "cpu/cpu.max=5000 20000; "},
    {"cpu.burst", cpu({.quota = 5000, .burst = 1000}),
     "cpu/cpu.cfs_quota_us=5000; cpu/cpu.cfs_burst_us=1000; ", "cpu/cpu.max=5000; cpu/cpu.max.burst=1000; "},
    {"cpu.realtimeRuntime", cpu({.realtime_runtime = 950, .realtime_period = 1000}),
     "cpu/cpu.rt_period_us=1000; cpu/cpu.rt_runtime_us=950; ", "error: linux.resources.cpu.realtimeRuntime"},
    {"cpu.realtimePeriod", cpu({.realtime_period = 1000}), "cpu/cpu.rt_period_us=1000; ",
     "error: linux.resources.cpu.realtimePeriod"},
    {"cpu.cpus", cpu({.cpus = "0-1"}), "cpuset/cpuset.cpus=0-1; ", "cpuset/cpuset.cpus=0-1; "},
    {"cpu.mems", cpu({.mems = "0"}), "cpuset/cpuset.mems=0; ", "cpuset/cpuset.mems=0; "},
    {"cpu.idle", cpu({.idle = 1}), "cpu/cpu.idle=1; ", "cpu/cpu.idle=1; "},
    {"pids.limit", {.pids = oci::PidsResources{10}}, "pids/pids.max=10; ", "pids/pids.max=10; "},
    {"pids.limit unlimited", {.pids = oci::PidsResources{-1}}, "pids/pids.max=max; ", "pids/pids.max=max; "},
    {"pids.limit zero", {.pids = oci::PidsResources{0}}, "pids/pids.max=1; ", "pids/pids.max=1; "},
    {"pids.limit absent", {.pids = oci::PidsResources{}}, "", ""},
    {"blockIO.weight", block({.weight = 100}), "blkio/blkio.weight=100|blkio.bfq.weight=100; ",
     "io/io.bfq.weight=100|io.weight=default 910; "},
    {"blockIO.leafWeight", block({.leaf_weight = 100}), "blkio/blkio.leaf_weight=100; ",
     "error: linux.resources.blockIO.leafWeight"},
    {"blockIO.weightDevice", block({.weight_device = {{8, 16, 500, {}}}}),
     "blkio/blkio.weight_device=8:16 500|blkio.bfq.weight_device=8:16 500; ",
     "io/io.bfq.weight=8:16 500|io.weight=8:16 4950; "},
    {"blockIO.weightDevice.leafWeight", block({.weight_device = {{8, 16, {}, 300}}}),
     "blkio/blkio.leaf_weight_device=8:16 300; ", "error: linux.resources.blockIO.weightDevice.leafWeight"},
    {"blockIO.throttleReadBpsDevice", block({.throttle_read_bps = {{8, 0, 1000}}}),
     "blkio/blkio.throttle.read_bps_device=8:0 1000; ", "io/io.max=8:0 rbps=1000; "},
    {"blockIO.throttleWriteBpsDevice", block({.throttle_write_bps = {{8, 0, 1000}, {8, 16, 5}}}),
     "blkio/blkio.throttle.write_bps_device=8:0 1000; blkio/blkio.throttle.write_bps_device=8:16 5; ",
     "io/io.max=8:0 wbps=1000; io/io.max=8:16 wbps=5; "},
    {"blockIO.throttleReadIOPSDevice", block({.throttle_read_iops = {{8, 0, 7}}}),
     "blkio/blkio.throttle.read_iops_device=8:0 7; ", "io/io.max=8:0 riops=7; "},
    {"blockIO.throttleWriteIOPSDevice", block({.throttle_write_iops = {{8, 0, 0}}}),
     "blkio/blkio.throttle.write_iops_device=8:0 0; ", "io/io.max=8:0 wiops=max; "},
    {"hugepageLimits",
     {.hugepage_limits = {{"2MB", 4194304}}},
     "hugetlb/hugetlb.2MB.limit_in_bytes=4194304; hugetlb/hugetlb.2MB.rsvd.limit_in_bytes=4194304?; ",
     "hugetlb/hugetlb.2MB.max=4194304; hugetlb/hugetlb.2MB.rsvd.max=4194304?; "},
    {"hugepageLimits escape",
     {.hugepage_limits = {{"../x", 1}}},
     "error: linux.resources.hugepageLimits",
     "error: linux.resources.hugepageLimits"},
    {"network.classID",
     {.network = oci::NetworkResources{.class_id = 1048577}},
     "net_cls/net_cls.classid=1048577; ",
     "error: linux.resources.network.classID"},
    {"network.priorities",
     {.network = oci::NetworkResources{.priorities = {{"eth0", 500}, {"lo", 1}}}},
     "net_prio/net_prio.ifpriomap=eth0 500; net_prio/net_prio.ifpriomap=lo 1; ",
     "error: linux.resources.network.priorities"},
    {"rdma",
     {.rdma = {{"mlx5_1", 3, 10000}, {"mlx4_0", {}, 1000}, {"rxe3", 7, {}}}},
     "rdma/rdma.max=mlx5_1 hca_handle=3 hca_object=10000; rdma/rdma.max=mlx4_0 hca_object=1000; "
     "rdma/rdma.max=rxe3 hca_handle=7; ",
     "rdma/rdma.max=mlx5_1 hca_handle=3 hca_object=10000; rdma/rdma.max=mlx4_0 hca_object=1000; "
     "rdma/rdma.max=rxe3 hca_handle=7; "},
    {"unified",
     {.unified = {{"memory.high", "4096"}, {"io.max", "8:0 rbps=1\n8:16 wbps=2"}}},
     "error: linux.resources.unified",
     "memory/memory.high=4096; io/io.max=8:0 rbps=1; io/io.max=8:16 wbps=2; "},
    {"unified slash",
     {.unified = {{"../memory.max", "1"}}},
     "error: linux.resources.unified",
     "error: linux.resources.unified"},
    {"unified form",
     {.unified = {{"memory", "1"}}},
     "error: linux.resources.unified",
     "error: linux.resources.unified"},
};

TEST(CgroupPlan, EveryFieldOnV1) {
  for (const Field& f : kFields) {
    std::string got = text(plan_writes_v1(f.resources));
    if (std::string(f.v1).starts_with("error")) {
      EXPECT_TRUE(got.starts_with(f.v1)) << f.name << ": " << got;
    } else {
      EXPECT_EQ(got, f.v1) << f.name;
    }
  }
}

TEST(CgroupPlan, EveryFieldOnV2) {
  for (const Field& f : kFields) {
    std::string got = text(plan_writes_v2(f.resources));
    if (std::string(f.v2).starts_with("error")) {
      EXPECT_TRUE(got.starts_with(f.v2)) << f.name << ": " << got;
    } else {
      EXPECT_EQ(got, f.v2) << f.name;
    }
  }
}

TEST(CgroupPlan, SharesOutOfRangeAreNotClamped) {
  EXPECT_FALSE(plan_writes_v1(cpu({.shares = 1})));
  EXPECT_FALSE(plan_writes_v1(cpu({.shares = 262145})));
}

TEST(CgroupPlan, IdleHasNoWeightOnV2) {
  EXPECT_EQ(text(plan_writes_v2(cpu({.shares = 512, .idle = 1}))), "cpu/cpu.idle=1; ");
  EXPECT_EQ(text(plan_writes_v2(cpu({.shares = 512, .idle = 0}))), "cpu/cpu.idle=0; cpu/cpu.weight=59; ");
}

TEST(CgroupPlan, LimitsThatConstrainEachOtherShareAGroup) {
  auto writes = plan_writes_v1(memory({.limit = 1, .swap = 2}));
  ASSERT_TRUE(writes);
  EXPECT_NE((*writes)[0].group, 0);
  EXPECT_EQ((*writes)[0].group, (*writes)[1].group);
}

}  // namespace
}  // namespace onggi::runtime
