// Usage of a container's resources, read from the interface files of v1 and v2.
#include <dirent.h>
#include <unistd.h>

#include <limits>

#include "base/file.h"
#include "base/scope.h"
#include "runtime/cgroup_convert.h"
#include "runtime/cgroup_fs.h"
#include "runtime/cgroup_stats.h"
#include "sys/cgroup.h"

namespace onggi::runtime {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

bool absent(const Error& e) {
  return e.os_errno() == ENOENT || e.os_errno() == ENODEV || e.os_errno() == EOPNOTSUPP;
}

std::vector<std::string_view> fields(std::string_view line, std::string_view separators = " \t") {
  std::vector<std::string_view> result;
  size_t i = 0;
  while (i < line.size()) {
    size_t end = line.find_first_of(separators, i);
    if (end == std::string_view::npos) end = line.size();
    if (end > i) result.push_back(line.substr(i, end - i));
    i = end + 1;
  }
  return result;
}

// Calls f(line) -> Result<> for each line; an absent file has none.
template <class F>
Result<> for_lines(const std::string& path, F f) {
  auto text = read_file(path);
  if (!text) return absent(text.error()) ? Result<>{} : fail(std::move(text).error());
  std::string_view rest = *text;
  while (!rest.empty()) {
    size_t end = rest.find('\n');
    if (Result<> done = f(rest.substr(0, end)); !done) return done;
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  }
  return {};
}

// `out` stays as it is when the file is absent.
Result<> number(const std::string& path, uint64_t& out) {
  auto value = sys::read_cgroup_number(path);
  if (value)
    out = *value;
  else if (!absent(value.error()))
    return fail(std::move(value).error());
  return {};
}

Result<> key_values(const std::string& path, std::map<std::string, uint64_t>& out) {
  return for_lines(path, [&](std::string_view line) -> Result<> {
    std::vector<std::string_view> f = fields(line);
    if (f.size() == 2) out[std::string(f[0])] = TRY(parse_u64(f[1], path));
    return {};
  });
}

Result<> id_list(const std::string& path, std::vector<uint16_t>& out) {
  auto text = sys::read_cgroup_value(path);
  if (!text) return absent(text.error()) ? Result<>{} : fail(std::move(text).error());
  out = TRY(parse_id_list(*text, path));
  return {};
}

// "12.34" -> 1234.
Result<uint64_t> hundredths(std::string_view text, const std::string& path) {
  size_t dot = text.find('.');
  uint64_t whole = TRY(parse_u64(text.substr(0, dot), path));
  std::string fraction(dot == std::string_view::npos ? std::string_view{} : text.substr(dot + 1));
  fraction.resize(2, '0');
  return whole * 100 + TRY(parse_u64(fraction, path));
}

// Lines "some avg10=0.00 avg60=0.00 avg300=0.00 total=0". PSI may be compiled out or switched off.
Result<> pressure(const std::string& path, std::optional<Pressure>& out) {
  return for_lines(path, [&](std::string_view line) -> Result<> {
    std::vector<std::string_view> f = fields(line);
    if (f.empty() || (f[0] != "some" && f[0] != "full")) return {};
    if (!out) out.emplace();
    PressureLine& p = f[0] == "some" ? out->some : out->full;
    for (std::string_view item : f) {
      size_t eq = item.find('=');
      if (eq == std::string_view::npos) continue;
      std::string_view key = item.substr(0, eq), value = item.substr(eq + 1);
      if (key == "avg10") p.avg10 = TRY(hundredths(value, path));
      if (key == "avg60") p.avg60 = TRY(hundredths(value, path));
      if (key == "avg300") p.avg300 = TRY(hundredths(value, path));
      if (key == "total") p.total = TRY(parse_u64(value, path));
    }
    return {};
  });
}

Result<> pids(const std::string& dir, CgroupStats& stats) {
  TRY_VOID(number(dir + "/pids.current", stats.pids_current));
  TRY_VOID(number(dir + "/pids.max", stats.pids_limit));
  if (stats.pids_limit == kNoLimit) stats.pids_limit = 0;
  return {};
}

// Page sizes are known by the names of the files, "hugetlb.2MB.<suffix>".
std::vector<std::string> huge_page_sizes(const std::string& dir, std::string_view suffix) {
  std::vector<std::string> sizes;
  DIR* d = ::opendir(dir.c_str());
  if (!d) return sizes;
  ScopeExit done([d] { ::closedir(d); });
  while (dirent* entry = ::readdir(d)) {
    std::string_view name = entry->d_name;
    if (!name.starts_with("hugetlb.") || !name.ends_with(suffix)) continue;
    name = name.substr(8, name.size() - 8 - suffix.size());
    if (name.find('.') == std::string_view::npos) sizes.emplace_back(name);
  }
  return sizes;
}

// --- v1 ---

Result<> cpuacct_v1(const std::string& dir, CpuStats& cpu) {
  TRY_VOID(number(dir + "/cpuacct.usage", cpu.total));
  std::map<std::string, uint64_t> ticks;
  TRY_VOID(key_values(dir + "/cpuacct.stat", ticks));
  uint64_t per_second = static_cast<uint64_t>(::sysconf(_SC_CLK_TCK));
  cpu.user = ticks["user"] * 1000000000 / per_second;
  cpu.kernel = ticks["system"] * 1000000000 / per_second;
  TRY_VOID(for_lines(dir + "/cpuacct.usage_percpu", [&](std::string_view line) -> Result<> {
    for (std::string_view f : fields(line)) cpu.percpu.push_back(TRY(parse_u64(f, "cpuacct.usage_percpu")));
    return {};
  }));
  return for_lines(dir + "/cpuacct.usage_all", [&](std::string_view line) -> Result<> {
    std::vector<std::string_view> f = fields(line);  // cpu user system
    if (f.size() != 3 || f[0] == "cpu") return {};
    cpu.percpu_user.push_back(TRY(parse_u64(f[1], "cpuacct.usage_all")));
    cpu.percpu_kernel.push_back(TRY(parse_u64(f[2], "cpuacct.usage_all")));
    return {};
  });
}

Result<> cpu_v1(const std::string& dir, CpuStats& cpu) {
  std::map<std::string, uint64_t> stat;
  TRY_VOID(key_values(dir + "/cpu.stat", stat));
  cpu.periods = stat["nr_periods"];
  cpu.throttled_periods = stat["nr_throttled"];
  cpu.throttled_time = stat["throttled_time"];
  return {};
}

Result<> cpuset_v1(const std::string& dir, CpusetStats& c) {
  TRY_VOID(id_list(dir + "/cpuset.cpus", c.cpus));
  TRY_VOID(id_list(dir + "/cpuset.mems", c.mems));
  TRY_VOID(number(dir + "/cpuset.cpu_exclusive", c.cpu_exclusive));
  TRY_VOID(number(dir + "/cpuset.mem_hardwall", c.mem_hardwall));
  TRY_VOID(number(dir + "/cpuset.mem_exclusive", c.mem_exclusive));
  TRY_VOID(number(dir + "/cpuset.memory_migrate", c.memory_migrate));
  TRY_VOID(number(dir + "/cpuset.memory_spread_page", c.memory_spread_page));
  TRY_VOID(number(dir + "/cpuset.memory_spread_slab", c.memory_spread_slab));
  TRY_VOID(number(dir + "/cpuset.memory_pressure", c.memory_pressure));
  TRY_VOID(number(dir + "/cpuset.sched_load_balance", c.sched_load_balance));
  auto level = sys::read_cgroup_value(dir + "/cpuset.sched_relax_domain_level");
  if (level) c.sched_relax_domain_level = TRY(parse_i64(*level, "cpuset.sched_relax_domain_level"));
  return {};
}

Result<> memory_usage_v1(const std::string& prefix, MemoryUsage& m) {
  TRY_VOID(number(prefix + ".usage_in_bytes", m.usage));
  TRY_VOID(number(prefix + ".max_usage_in_bytes", m.max));
  TRY_VOID(number(prefix + ".failcnt", m.failcnt));
  return number(prefix + ".limit_in_bytes", m.limit);
}

Result<> memory_v1(const std::string& dir, MemoryStats& m) {
  TRY_VOID(key_values(dir + "/memory.stat", m.raw));
  if (auto cache = m.raw.find("cache"); cache != m.raw.end()) m.cache = cache->second;
  TRY_VOID(memory_usage_v1(dir + "/memory", m.usage));
  TRY_VOID(memory_usage_v1(dir + "/memory.memsw", m.swap));
  TRY_VOID(memory_usage_v1(dir + "/memory.kmem", m.kernel));
  return memory_usage_v1(dir + "/memory.kmem.tcp", m.kernel_tcp);
}

// Lines "8:0 Read 1282048" or "8:0 6792"; the grand total "Total 0" is left out.
Result<bool> blkio_table(const std::string& path, std::vector<BlkioEntry>& out) {
  out.clear();
  TRY_VOID(for_lines(path, [&](std::string_view line) -> Result<> {
    std::vector<std::string_view> f = fields(line, " :");
    if (f.size() < 3) return {};
    BlkioEntry e;
    e.major = TRY(parse_u64(f[0], path));
    e.minor = TRY(parse_u64(f[1], path));
    if (f.size() == 4) e.op = f[2];
    e.value = TRY(parse_u64(f.back(), path));
    out.push_back(std::move(e));
    return {};
  }));
  return !out.empty();
}

// The first family of files that has content: BFQ with debugging, BFQ, CFQ (until 5.0), then the throttling
// layer, which always counts.
Result<> blkio_v1(const std::string& dir, BlkioStats& b) {
  struct Table {
    const char* name;
    std::vector<BlkioEntry> BlkioStats::*member;
  };
  constexpr Table kScheduler[] = {{"sectors_recursive", &BlkioStats::sectors},
                                  {"io_service_time_recursive", &BlkioStats::service_time},
                                  {"io_wait_time_recursive", &BlkioStats::wait_time},
                                  {"io_merged_recursive", &BlkioStats::merged},
                                  {"io_queued_recursive", &BlkioStats::queued},
                                  {"time_recursive", &BlkioStats::time},
                                  {"io_serviced_recursive", &BlkioStats::serviced},
                                  {"io_service_bytes_recursive", &BlkioStats::service_bytes}};
  for (const char* family : {"/blkio.bfq.", "/blkio."}) {
    bool any = false;
    for (const Table& t : kScheduler) any |= TRY(blkio_table(dir + family + t.name, b.*t.member));
    if (any) return {};
  }
  for (const char* suffix : {"_recursive", ""}) {
    bool any = TRY(blkio_table(dir + "/blkio.throttle.io_serviced" + suffix, b.serviced));
    any |= TRY(blkio_table(dir + "/blkio.throttle.io_service_bytes" + suffix, b.service_bytes));
    if (any) return {};
  }
  return {};
}

Result<> hugetlb_v1(const std::string& dir, CgroupStats& stats) {
  for (const std::string& size : huge_page_sizes(dir, ".usage_in_bytes")) {
    HugetlbStats& h = stats.hugetlb[size];
    std::string prefix = dir + "/hugetlb." + size;
    TRY_VOID(number(prefix + ".usage_in_bytes", h.usage));
    TRY_VOID(number(prefix + ".max_usage_in_bytes", h.max));
    TRY_VOID(number(prefix + ".failcnt", h.failcnt));
  }
  return {};
}

// --- v2 ---

Result<> cpu_v2(const std::string& dir, CpuStats& cpu) {
  std::map<std::string, uint64_t> stat;
  TRY_VOID(key_values(dir + "/cpu.stat", stat));
  cpu.total = stat["usage_usec"] * 1000;
  cpu.user = stat["user_usec"] * 1000;
  cpu.kernel = stat["system_usec"] * 1000;
  cpu.periods = stat["nr_periods"];
  cpu.throttled_periods = stat["nr_throttled"];
  cpu.throttled_time = stat["throttled_usec"] * 1000;
  return pressure(dir + "/cpu.pressure", cpu.psi);
}

Result<> memory_v2(const std::string& dir, MemoryStats& m) {
  TRY_VOID(key_values(dir + "/memory.stat", m.raw));
  if (auto file = m.raw.find("file"); file != m.raw.end()) m.cache = file->second;
  TRY_VOID(number(dir + "/memory.current", m.usage.usage));
  TRY_VOID(number(dir + "/memory.max", m.usage.limit));
  TRY_VOID(number(dir + "/memory.peak", m.usage.max));
  // v1 and its readers know memory and swap together; the peak of a sum is not the sum of peaks, so it stays
  // unknown.
  auto swap = sys::read_cgroup_number(dir + "/memory.swap.current");
  if (swap) {
    m.swap.usage = *swap;
    TRY_VOID(number(dir + "/memory.swap.max", m.swap.limit));
  }
  m.swap.usage += m.usage.usage;
  if (m.swap.limit != kNoLimit)
    m.swap.limit = m.usage.limit == kNoLimit ? kNoLimit : m.swap.limit + m.usage.limit;
  std::map<std::string, uint64_t> events;
  TRY_VOID(key_values(dir + "/memory.events", events));
  m.usage.failcnt = events["max"];
  return pressure(dir + "/memory.pressure", m.psi);
}

// "8:0 rbytes=90112 wbytes=0 rios=11 wios=0 dbytes=0 dios=0"
Result<> io_v2(const std::string& dir, BlkioStats& b) {
  std::string path = dir + "/io.stat";
  TRY_VOID(for_lines(path, [&](std::string_view line) -> Result<> {
    std::vector<std::string_view> f = fields(line);
    if (f.size() < 2) return {};
    std::vector<std::string_view> device = fields(f[0], ":");
    if (device.size() != 2) return {};
    uint64_t major = TRY(parse_u64(device[0], path)), minor = TRY(parse_u64(device[1], path));
    for (std::string_view item : f) {
      size_t eq = item.find('=');
      if (eq == std::string_view::npos) continue;
      std::string_view key = item.substr(0, eq);
      std::vector<BlkioEntry>* table = key == "rbytes" || key == "wbytes" ? &b.service_bytes
                                       : key == "rios" || key == "wios"   ? &b.serviced
                                                                          : nullptr;
      if (table)
        table->push_back(
            {major, minor, key[0] == 'r' ? "Read" : "Write", TRY(parse_u64(item.substr(eq + 1), path))});
    }
    return {};
  }));
  return pressure(dir + "/io.pressure", b.psi);
}

Result<> hugetlb_v2(const std::string& dir, CgroupStats& stats) {
  for (const std::string& size : huge_page_sizes(dir, ".current")) {
    HugetlbStats& h = stats.hugetlb[size];
    TRY_VOID(number(dir + "/hugetlb." + size + ".current", h.usage));
    std::map<std::string, uint64_t> events;
    TRY_VOID(key_values(dir + "/hugetlb." + size + ".events", events));
    h.failcnt = events["max"];
  }
  return {};
}

}  // namespace

Result<> read_stats_v1(std::string_view controller, const std::string& dir, CgroupStats& stats) {
  if (controller == "cpuacct") return cpuacct_v1(dir, stats.cpu);
  if (controller == "cpu") return cpu_v1(dir, stats.cpu);
  if (controller == "cpuset") return cpuset_v1(dir, stats.cpuset);
  if (controller == "memory") return memory_v1(dir, stats.memory);
  if (controller == "pids") return pids(dir, stats);
  if (controller == "blkio") return blkio_v1(dir, stats.blkio);
  if (controller == "hugetlb") return hugetlb_v1(dir, stats);
  return {};
}

Result<> read_stats_v2(const std::string& dir, CgroupStats& stats,
                       const std::function<bool(std::string_view)>& wanted) {
  if (wanted("pids")) {
    TRY_VOID(pids(dir, stats));
    if (stats.pids_current == 0)
      if (auto inside = sys::cgroup_pids(dir, true)) stats.pids_current = inside->size();
  }
  if (wanted("memory")) TRY_VOID(memory_v2(dir, stats.memory));
  if (wanted("io")) TRY_VOID(io_v2(dir, stats.blkio));
  if (wanted("cpu")) TRY_VOID(cpu_v2(dir, stats.cpu));
  return wanted("hugetlb") ? hugetlb_v2(dir, stats) : Result<>{};
}

Result<CgroupStats> FsCgroup::stats() {
  CgroupStats stats;
  auto in_v1 = [this](std::string_view controller) {
    for (const CgroupDirectory& dir : dirs_)
      for (const std::string& c : dir.controllers)
        if (c == controller) return true;
    return false;
  };
  for (const CgroupDirectory& dir : dirs_) {
    for (const std::string& controller : dir.controllers)
      TRY_VOID_CTX(read_stats_v1(controller, dir.path, stats), "read statistics");
    // On a hybrid host v1 counts what it has.
    auto left = [&](std::string_view c) { return !in_v1(c == "io" ? "blkio" : c == "cpu" ? "cpuacct" : c); };
    if (dir.v2()) TRY_VOID_CTX(read_stats_v2(dir.path, stats, left), "read statistics");
  }
  return stats;
}

}  // namespace onggi::runtime
