// The JSON of `events --stats`. Which members appear when they are zero is part of the format: runc leaves
// some out and prints others.
#include "base/json.h"
#include "runtime/cgroup_stats.h"

namespace onggi::runtime {
namespace {

class Writer : public JsonWriter {
 public:
  void always(std::string_view name, uint64_t value) {
    key(name);
    unsigned_number(value);
  }
  void unless_zero(std::string_view name, uint64_t value) {
    if (value != 0) always(name, value);
  }
  void unless_empty(std::string_view name, const std::string& value) {
    if (!value.empty()) member(name, value);
  }
  template <class T>
  void list(std::string_view name, const std::vector<T>& values) {
    if (values.empty()) return;
    key(name);
    begin_array();
    for (T v : values) unsigned_number(v);
    end_array();
  }
  void object(std::string_view name) {
    key(name);
    begin_object();
  }
};

// 1234 -> "12.34", 1230 -> "12.3", 1200 -> "12".
std::string decimal(uint64_t hundredths) {
  std::string text = std::to_string(hundredths / 100);
  uint64_t fraction = hundredths % 100;
  if (fraction == 0) return text;
  text += '.';
  text += static_cast<char>('0' + fraction / 10);
  if (fraction % 10) text += static_cast<char>('0' + fraction % 10);
  return text;
}

void write_pressure(Writer& w, const std::optional<Pressure>& psi) {
  if (!psi) return;
  w.object("psi");
  for (const auto& [name, line] : {std::pair{"some", &psi->some}, std::pair{"full", &psi->full}}) {
    w.object(name);
    w.key("avg10"), w.raw(decimal(line->avg10));
    w.key("avg60"), w.raw(decimal(line->avg60));
    w.key("avg300"), w.raw(decimal(line->avg300));
    w.always("total", line->total);
    w.end_object();
  }
  w.end_object();
}

void write_cpu(Writer& w, const CpuStats& cpu) {
  w.object("cpu");
  w.object("usage");
  w.unless_zero("total", cpu.total);
  w.list("percpu", cpu.percpu);
  w.list("percpu_kernel", cpu.percpu_kernel);
  w.list("percpu_user", cpu.percpu_user);
  w.always("kernel", cpu.kernel);
  w.always("user", cpu.user);
  w.end_object();
  w.object("throttling");
  w.unless_zero("periods", cpu.periods);
  w.unless_zero("throttledPeriods", cpu.throttled_periods);
  w.unless_zero("throttledTime", cpu.throttled_time);
  w.end_object();
  write_pressure(w, cpu.psi);
  w.end_object();
}

void write_cpuset(Writer& w, const CpusetStats& c) {
  w.object("cpuset");
  w.list("cpus", c.cpus);
  w.always("cpu_exclusive", c.cpu_exclusive);
  w.list("mems", c.mems);
  w.always("mem_hardwall", c.mem_hardwall);
  w.always("mem_exclusive", c.mem_exclusive);
  w.always("memory_migrate", c.memory_migrate);
  w.always("memory_spread_page", c.memory_spread_page);
  w.always("memory_spread_slab", c.memory_spread_slab);
  w.always("memory_pressure", c.memory_pressure);
  w.always("sched_load_balance", c.sched_load_balance);
  w.member_number("sched_relax_domain_level", c.sched_relax_domain_level);
  w.end_object();
}

void write_memory_usage(Writer& w, const char* name, const MemoryUsage& m) {
  w.object(name);
  w.always("limit", m.limit);
  w.unless_zero("usage", m.usage);
  w.unless_zero("max", m.max);
  w.always("failcnt", m.failcnt);
  w.end_object();
}

void write_memory(Writer& w, const MemoryStats& m) {
  w.object("memory");
  w.unless_zero("cache", m.cache);
  write_memory_usage(w, "usage", m.usage);
  write_memory_usage(w, "swap", m.swap);
  write_memory_usage(w, "kernel", m.kernel);
  write_memory_usage(w, "kernelTCP", m.kernel_tcp);
  if (!m.raw.empty()) {
    w.object("raw");
    for (const auto& [key, value] : m.raw) w.always(key, value);
    w.end_object();
  }
  write_pressure(w, m.psi);
  w.end_object();
}

void write_table(Writer& w, const char* name, const std::vector<BlkioEntry>& table) {
  if (table.empty()) return;
  w.key(name);
  w.begin_array();
  for (const BlkioEntry& e : table) {
    w.begin_object();
    w.unless_zero("major", e.major);
    w.unless_zero("minor", e.minor);
    w.unless_empty("op", e.op);
    w.unless_zero("value", e.value);
    w.end_object();
  }
  w.end_array();
}

void write_blkio(Writer& w, const BlkioStats& b) {
  w.object("blkio");
  write_table(w, "ioServiceBytesRecursive", b.service_bytes);
  write_table(w, "ioServicedRecursive", b.serviced);
  write_table(w, "ioQueueRecursive", b.queued);
  write_table(w, "ioServiceTimeRecursive", b.service_time);
  write_table(w, "ioWaitTimeRecursive", b.wait_time);
  write_table(w, "ioMergedRecursive", b.merged);
  write_table(w, "ioTimeRecursive", b.time);
  write_table(w, "sectorsRecursive", b.sectors);
  write_pressure(w, b.psi);
  w.end_object();
}

void write_rdt(Writer& w, const RdtStats& r) {
  w.object("intel_rdt");
  if (r.l3_info) {
    w.object("l3_cache_info");
    w.unless_empty("cbm_mask", r.l3_info->cbm_mask);
    w.unless_zero("min_cbm_bits", r.l3_info->min_cbm_bits);
    w.unless_zero("num_closids", r.l3_info->num_closids);
    w.end_object();
  }
  w.unless_empty("l3_cache_schema_root", r.l3_cache_schema_root);
  w.unless_empty("l3_cache_schema", r.l3_cache_schema);
  if (r.mem_bw_info) {
    w.object("mem_bw_info");
    w.unless_zero("bandwidth_gran", r.mem_bw_info->bandwidth_gran);
    w.unless_zero("delay_linear", r.mem_bw_info->delay_linear);
    w.unless_zero("min_bandwidth", r.mem_bw_info->min_bandwidth);
    w.unless_zero("num_closids", r.mem_bw_info->num_closids);
    w.end_object();
  }
  w.unless_empty("mem_bw_schema_root", r.mem_bw_schema_root);
  w.unless_empty("mem_bw_schema", r.mem_bw_schema);
  if (r.mbm) {
    w.key("mbm_stats");
    w.begin_array();
    for (const RdtStats::Mbm& m : *r.mbm) {
      w.begin_object();
      w.unless_zero("mbm_total_bytes", m.total_bytes);
      w.unless_zero("mbm_local_bytes", m.local_bytes);
      w.end_object();
    }
    w.end_array();
  }
  if (r.cmt) {
    w.key("cmt_stats");
    w.begin_array();
    for (uint64_t occupancy : *r.cmt) {
      w.begin_object();
      w.unless_zero("llc_occupancy", occupancy);
      w.end_object();
    }
    w.end_array();
  }
  w.end_object();
}

void write_interfaces(Writer& w, const std::vector<NetworkInterfaceStats>& interfaces) {
  w.key("network_interfaces");
  if (interfaces.empty()) return w.null();
  w.begin_array();
  for (const NetworkInterfaceStats& i : interfaces) {
    w.begin_object();
    w.member("Name", i.name);
    w.always("RxBytes", i.rx_bytes);
    w.always("RxPackets", i.rx_packets);
    w.always("RxErrors", i.rx_errors);
    w.always("RxDropped", i.rx_dropped);
    w.always("TxBytes", i.tx_bytes);
    w.always("TxPackets", i.tx_packets);
    w.always("TxErrors", i.tx_errors);
    w.always("TxDropped", i.tx_dropped);
    w.end_object();
  }
  w.end_array();
}

}  // namespace

std::string stats_json(const CgroupStats& stats, std::string_view id) {
  Writer w;
  w.begin_object();
  w.member("type", "stats");
  w.member("id", id);
  w.object("data");
  write_cpu(w, stats.cpu);
  write_cpuset(w, stats.cpuset);
  write_memory(w, stats.memory);
  w.object("pids");
  w.unless_zero("current", stats.pids_current);
  w.unless_zero("limit", stats.pids_limit);
  w.end_object();
  write_blkio(w, stats.blkio);
  w.object("hugetlb");
  for (const auto& [size, h] : stats.hugetlb) {
    w.object(size);
    w.unless_zero("usage", h.usage);
    w.unless_zero("max", h.max);
    w.always("failcnt", h.failcnt);
    w.end_object();
  }
  w.end_object();
  write_rdt(w, stats.intel_rdt);
  write_interfaces(w, stats.network_interfaces);
  w.end_object();
  w.end_object();
  return w.take();
}

}  // namespace onggi::runtime
