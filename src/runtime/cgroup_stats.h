// Usage of a container's resources, and the JSON that `events --stats` prints.
//
// The shape is runc's (types/events.go), member by member, since Docker, containerd and others parse it.
// Times are nanoseconds, sizes bytes; "no limit" is UINT64_MAX.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/cgroup.h"

namespace onggi::runtime {

struct PressureLine {
  uint64_t avg10 = 0, avg60 = 0, avg300 = 0;  // hundredths of a per cent, which is the kernel's precision
  uint64_t total = 0;                         // microseconds
};
struct Pressure {
  PressureLine some, full;
};
struct CpuStats {
  uint64_t total = 0, kernel = 0, user = 0;
  std::vector<uint64_t> percpu, percpu_kernel, percpu_user;
  uint64_t periods = 0, throttled_periods = 0, throttled_time = 0;
  std::optional<Pressure> psi;
};
struct CpusetStats {
  std::vector<uint16_t> cpus, mems;
  uint64_t cpu_exclusive = 0, mem_hardwall = 0, mem_exclusive = 0, memory_migrate = 0, memory_spread_page = 0,
           memory_spread_slab = 0, memory_pressure = 0, sched_load_balance = 0;
  int64_t sched_relax_domain_level = 0;
};
struct MemoryUsage {
  uint64_t limit = 0, usage = 0, max = 0, failcnt = 0;
};
struct MemoryStats {
  uint64_t cache = 0;
  MemoryUsage usage, swap, kernel, kernel_tcp;
  std::map<std::string, uint64_t> raw;  // memory.stat
  std::optional<Pressure> psi;
};
struct BlkioEntry {
  uint64_t major = 0, minor = 0;
  std::string op;
  uint64_t value = 0;
};
struct BlkioStats {
  std::vector<BlkioEntry> service_bytes, serviced, queued, service_time, wait_time, merged, time, sectors;
  std::optional<Pressure> psi;
};
struct HugetlbStats {
  uint64_t usage = 0, max = 0, failcnt = 0;
};
// The numbers of resctrl.h, as text and lists; empty members are not printed.
struct RdtStats {
  struct Mbm {
    uint64_t total_bytes = 0, local_bytes = 0;
  };
  std::string l3_cache_schema_root, l3_cache_schema, mem_bw_schema_root, mem_bw_schema;
  struct L3Info {
    std::string cbm_mask;
    uint64_t min_cbm_bits = 0, num_closids = 0;
  };
  struct MemBwInfo {
    uint64_t bandwidth_gran = 0, delay_linear = 0, min_bandwidth = 0, num_closids = 0;
  };
  std::optional<L3Info> l3_info;
  std::optional<MemBwInfo> mem_bw_info;
  std::optional<std::vector<Mbm>> mbm;
  std::optional<std::vector<uint64_t>> cmt;  // llc_occupancy
};
struct NetworkInterfaceStats {
  std::string name;
  uint64_t rx_bytes = 0, rx_packets = 0, rx_errors = 0, rx_dropped = 0;
  uint64_t tx_bytes = 0, tx_packets = 0, tx_errors = 0, tx_dropped = 0;
};
struct CgroupStats {
  CpuStats cpu;
  CpusetStats cpuset;
  MemoryStats memory;
  uint64_t pids_current = 0, pids_limit = 0;  // limit 0: none
  BlkioStats blkio;
  std::map<std::string, HugetlbStats> hugetlb;  // by page size, "2MB"
  RdtStats intel_rdt;
  std::vector<NetworkInterfaceStats> network_interfaces;
};

// Readers. A file that the kernel does not have leaves its members at zero; one that cannot be understood is
// an error.
Result<> read_stats_v1(std::string_view controller, const std::string& dir, CgroupStats& stats);
// `wanted` chooses controllers ("cpu", "memory", "io", "pids", "hugetlb"): a hybrid host has only some of
// them on v2.
Result<> read_stats_v2(const std::string& dir, CgroupStats& stats,
                       const std::function<bool(std::string_view)>& wanted);

// {"type":"stats","id":...,"data":{...}} without a newline.
std::string stats_json(const CgroupStats& stats, std::string_view id);

}  // namespace onggi::runtime
