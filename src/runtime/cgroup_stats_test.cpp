// Statistics read from fake trees, and the exact JSON that engines parse.
#include "runtime/cgroup_stats.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "runtime/cgroup.h"

namespace onggi::runtime {
namespace {

class CgroupStatsTree : public ::testing::Test {
 protected:
  CgroupStatsTree() {
    char name[] = "/tmp/onggi-stats-test-XXXXXX";
    root_ = ::mkdtemp(name);
  }
  ~CgroupStatsTree() override { std::filesystem::remove_all(root_); }
  void put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + "/" + path).parent_path());
    ASSERT_TRUE(write_file(root_ + "/" + path, text, O_CREAT | O_TRUNC));
  }
  std::string json(const CgroupRecord& record) {
    auto cgroup = Cgroup::load(record);
    EXPECT_TRUE(cgroup);
    auto stats = (*cgroup)->stats();
    if (!stats) return "error: " + stats.error().text();
    std::string text = stats_json(*stats, "c1");
    EXPECT_TRUE(JsonDocument::parse(text, "stats")) << text;
    return text;
  }
  std::string root_;
};

TEST_F(CgroupStatsTree, V1) {
  put("cpuacct/cpuacct.usage", "14954697\n");
  put("cpuacct/cpuacct.stat", "user 3\nsystem 7\n");
  put("cpuacct/cpuacct.usage_percpu", "318636 14636061 \n");
  put("cpuacct/cpuacct.usage_all", "cpu user system\n0 0 4000000\n1 4000000 11936465\n");
  put("cpu/cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 900\nnr_bursts 0\n");
  put("cpuset/cpuset.cpus", "0-1\n");
  put("cpuset/cpuset.mems", "0\n");
  put("cpuset/cpuset.cpu_exclusive", "1\n");
  put("cpuset/cpuset.sched_load_balance", "1\n");
  put("cpuset/cpuset.sched_relax_domain_level", "-1\n");
  put("memory/memory.stat", "cache 11\nrss 22\n");
  put("memory/memory.usage_in_bytes", "450560\n");
  put("memory/memory.max_usage_in_bytes", "2781184\n");
  put("memory/memory.failcnt", "4\n");
  put("memory/memory.limit_in_bytes", "67108864\n");
  put("memory/memory.memsw.usage_in_bytes", "1\n");
  put("memory/memory.memsw.limit_in_bytes", "9223372036854771712\n");
  put("memory/memory.kmem.limit_in_bytes", "5\n");
  put("memory/memory.kmem.tcp.failcnt", "6\n");
  put("pids/pids.current", "3\n");
  put("pids/pids.max", "max\n");
  put("blkio/blkio.throttle.io_serviced_recursive", "8:0 Read 10\n8:0 Write 2\n8:0 Total 12\nTotal 12\n");
  put("blkio/blkio.throttle.io_service_bytes_recursive", "8:0 Read 4096\nTotal 4096\n");
  put("hugetlb/hugetlb.2MB.usage_in_bytes", "2097152\n");
  put("hugetlb/hugetlb.2MB.max_usage_in_bytes", "4194304\n");
  put("hugetlb/hugetlb.2MB.failcnt", "1\n");
  put("hugetlb/hugetlb.2MB.rsvd.usage_in_bytes", "9\n");
  CgroupRecord record;
  for (const char* c : {"cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb"})
    record.paths.emplace_back(c, root_ + "/" + c);
  EXPECT_EQ(
      json(record),
      R"({"type":"stats","id":"c1","data":{"cpu":{"usage":{"total":14954697,"percpu":[318636,14636061],)"
      R"("percpu_kernel":[4000000,11936465],"percpu_user":[0,4000000],"kernel":70000000,"user":30000000},)"
      R"("throttling":{"periods":5,"throttledPeriods":2,"throttledTime":900}},)"
      R"("cpuset":{"cpus":[0,1],"cpu_exclusive":1,"mems":[0],"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,)"
      R"("memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":1,"sched_relax_domain_level":-1},)"
      R"("memory":{"cache":11,"usage":{"limit":67108864,"usage":450560,"max":2781184,"failcnt":4},)"
      R"("swap":{"limit":9223372036854771712,"usage":1,"failcnt":0},"kernel":{"limit":5,"failcnt":0},)"
      R"("kernelTCP":{"limit":0,"failcnt":6},"raw":{"cache":11,"rss":22}},"pids":{"current":3},)"
      R"("blkio":{"ioServiceBytesRecursive":[{"major":8,"op":"Read","value":4096}],)"
      R"("ioServicedRecursive":[{"major":8,"op":"Read","value":10},{"major":8,"op":"Write","value":2},{"major":8,"op":"Total","value":12}]},)"
      R"("hugetlb":{"2MB":{"usage":2097152,"max":4194304,"failcnt":1}},"intel_rdt":{},"network_interfaces":null}})");
}

TEST_F(CgroupStatsTree, V1PrefersTheScheduler) {
  put("blkio/blkio.bfq.io_serviced_recursive", "8:0 Read 1\nTotal 1\n");
  put("blkio/blkio.bfq.sectors_recursive", "8:0 77\n");
  put("blkio/blkio.throttle.io_serviced_recursive", "8:0 Read 99\nTotal 99\n");
  std::string got = json({.paths = {{"blkio", root_ + "/blkio"}}});
  EXPECT_NE(
      got.find(
          R"("ioServicedRecursive":[{"major":8,"op":"Read","value":1}],"sectorsRecursive":[{"major":8,"value":77}])"),
      std::string::npos)
      << got;
}

TEST_F(CgroupStatsTree, V2) {
  put("c/cpu.stat",
      "usage_usec 10\nuser_usec 4\nsystem_usec 6\nnr_periods 3\nnr_throttled 1\nthrottled_usec 2\n");
  put("c/cpu.pressure",
      "some avg10=0.00 avg60=1.50 avg300=12.34 total=99\nfull avg10=0.07 avg60=0.00 avg300=100.00 total=1\n");
  put("c/memory.stat", "anon 5\nfile 6\n");
  put("c/memory.current", "100\n");
  put("c/memory.max", "1000\n");
  put("c/memory.peak", "500\n");
  put("c/memory.swap.current", "7\n");
  put("c/memory.swap.max", "50\n");
  put("c/memory.events", "low 0\nhigh 0\nmax 8\noom 1\noom_kill 1\n");
  put("c/pids.current", "2\n");
  put("c/pids.max", "10\n");
  put("c/io.stat", "8:0 rbytes=4096 wbytes=0 rios=1 wios=2 dbytes=0 dios=0\n8:16 \n");
  put("c/hugetlb.1GB.current", "3\n");
  put("c/hugetlb.1GB.events", "max 4\n");
  put("c/hugetlb.1GB.rsvd.current", "9\n");
  EXPECT_EQ(
      json({.paths = {{"", root_ + "/c"}}}),
      R"({"type":"stats","id":"c1","data":{"cpu":{"usage":{"total":10000,"kernel":6000,"user":4000},)"
      R"("throttling":{"periods":3,"throttledPeriods":1,"throttledTime":2000},)"
      R"("psi":{"some":{"avg10":0,"avg60":1.5,"avg300":12.34,"total":99},"full":{"avg10":0.07,"avg60":0,"avg300":100,"total":1}}},)"
      R"("cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,)"
      R"("memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},)"
      R"("memory":{"cache":6,"usage":{"limit":1000,"usage":100,"max":500,"failcnt":8},"swap":{"limit":1050,"usage":107,"failcnt":0},)"
      R"("kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0},"raw":{"anon":5,"file":6}},)"
      R"("pids":{"current":2,"limit":10},)"
      R"("blkio":{"ioServiceBytesRecursive":[{"major":8,"op":"Read","value":4096},{"major":8,"op":"Write"}],)"
      R"("ioServicedRecursive":[{"major":8,"op":"Read","value":1},{"major":8,"op":"Write","value":2}]},)"
      R"("hugetlb":{"1GB":{"usage":3,"failcnt":4}},"intel_rdt":{},"network_interfaces":null}})");
}

TEST_F(CgroupStatsTree, V2WithoutLimitsOrControllers) {
  put("c/memory.current", "100\n");
  put("c/memory.max", "max\n");
  put("c/memory.swap.current", "0\n");
  put("c/memory.swap.max", "max\n");
  put("c/cgroup.procs", "5\n6\n");
  std::string got = json({.paths = {{"", root_ + "/c"}}});
  EXPECT_NE(got.find(R"("swap":{"limit":18446744073709551615,"usage":100,"failcnt":0})"), std::string::npos)
      << got;
  EXPECT_NE(got.find(R"("pids":{"current":2})"), std::string::npos) << got;
}

TEST_F(CgroupStatsTree, NonsenseIsAnError) {
  put("c/memory.current", "lots\n");
  EXPECT_TRUE(json({.paths = {{"", root_ + "/c"}}}).starts_with("error: "));
}

TEST_F(CgroupStatsTree, NetworkInterfacesAndNames) {
  CgroupStats stats;
  stats.network_interfaces = {{.name = "eth\"0", .rx_bytes = 1, .tx_dropped = 2}};
  std::string text = stats_json(stats, "a\"b");
  EXPECT_NE(text.find(R"("id":"a\"b")"), std::string::npos);
  EXPECT_NE(
      text.find(
          R"("network_interfaces":[{"Name":"eth\"0","RxBytes":1,"RxPackets":0,"RxErrors":0,"RxDropped":0,)"
          R"("TxBytes":0,"TxPackets":0,"TxErrors":0,"TxDropped":2}])"),
      std::string::npos)
      << text;
}

}  // namespace
}  // namespace onggi::runtime
