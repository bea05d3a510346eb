#include "engine/usage.h"

#include "base/file.h"

namespace onggi::engine {

namespace {

template <class F>
void each_line(std::string_view text, F each) {
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    each(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// The number behind the n-th white space (from 0: the first word).
uint64_t word_number(std::string_view line, size_t n) {
  for (;; n--) {
    size_t begin = line.find_first_not_of(" \t:");
    if (begin == std::string_view::npos) return 0;
    line.remove_prefix(begin);
    size_t end = std::min(line.find_first_of(" \t:"), line.size());
    if (n == 0) return parse_u64(line.substr(0, end), "number").value_or(0);
    line.remove_prefix(end);
  }
}

// v1: "8:0 Read 4096"; v2: "8:0 rbytes=4096 wbytes=0 ...".
void read_io(const CgroupFiles& files, Usage& usage) {
  auto text = files.read("blkio", "blkio.throttle.io_service_bytes_recursive", "io.stat");
  if (!text) text = files.read("blkio", "blkio.throttle.io_service_bytes", "io.stat");
  if (!text) return;
  each_line(*text, [&](std::string_view line) {
    for (const auto& [mark, sum] : {std::pair{"rbytes=", &usage.read_bytes},
                                    {"wbytes=", &usage.written_bytes},
                                    {" Read ", &usage.read_bytes},
                                    {" Write ", &usage.written_bytes}}) {
      size_t at = line.find(mark);
      if (at != std::string_view::npos)
        *sum += word_number(line.substr(at + std::string_view(mark).size()), 0);
    }
  });
}

void read_network(int pid, Usage& usage) {
  auto text = read_file("/proc/" + std::to_string(pid) + "/net/dev", 1 << 20);
  if (!text) return;
  each_line(*text, [&](std::string_view line) {
    size_t colon = line.find(':');
    if (colon == std::string_view::npos || trim(line.substr(0, colon)) == "lo") return;
    usage.received_bytes += word_number(line.substr(colon + 1), 0);
    usage.sent_bytes += word_number(line.substr(colon + 1), 8);
  });
}

}  // namespace

Result<CgroupFiles> CgroupFiles::of(const ContainerConfig& config, const HostFacts& host) {
  CgroupFiles files;
  files.layout_ = TRY(sys::read_cgroups());
  files.path_ = cgroup_path(config, host);
  return files;
}

std::string CgroupFiles::directory(const char* controller) const {
  for (const auto& h : layout_.hierarchies) {
    if (unified() && h.v2()) return h.mount + path_;
    for (const auto& name : h.controllers)
      if (!unified() && name == controller) return h.mount + path_;
  }
  return {};
}

std::optional<std::string> CgroupFiles::read(const char* controller, const char* v1, const char* v2) const {
  std::string name = unified() ? v2 : v1, dir = directory(controller);
  if (name.empty() || dir.empty()) return std::nullopt;
  auto text = sys::read_cgroup_file(dir + "/" + name);
  return text ? std::optional(std::move(*text)) : std::nullopt;
}

std::optional<uint64_t> CgroupFiles::number(const char* controller, const char* v1, const char* v2) const {
  auto text = read(controller, v1, v2);
  if (!text) return std::nullopt;
  auto n = parse_u64(trim(*text), "number");
  constexpr uint64_t kUnlimited = 1ull << 62;  // v1 prints the largest multiple of a page
  return n && *n < kUnlimited ? std::optional(*n) : std::nullopt;
}

std::optional<uint64_t> CgroupFiles::key(const char* controller, const char* v1, const char* v1_key,
                                         const char* v2, const char* v2_key) const {
  auto text = read(controller, v1, v2);
  if (!text) return std::nullopt;
  std::optional<uint64_t> found;
  std::string wanted = std::string(unified() ? v2_key : v1_key) + " ";
  each_line(*text, [&](std::string_view line) {
    if (line.starts_with(wanted)) found = word_number(line, 1);
  });
  return found;
}

EndEvidence read_evidence(const ContainerConfig& config, const HostFacts& host) {
  EndEvidence e;
  auto found = CgroupFiles::of(config, host);
  if (!found) return e;
  const CgroupFiles& f = *found;
  e.memory_peak = f.number("memory", "memory.max_usage_in_bytes", "memory.peak").value_or(0);
  e.memory_limit = f.number("memory", "memory.limit_in_bytes", "memory.max").value_or(0);
  e.memory_limit_hits = f.unified() ? f.key("memory", "", "", "memory.events", "max").value_or(0)
                                    : f.number("memory", "memory.failcnt", "").value_or(0);
  e.pids_limit = f.number("pids", "pids.max", "pids.max").value_or(0);
  e.pids_limit_hits = f.key("pids", "pids.events", "max", "pids.events", "max").value_or(0);
  constexpr uint64_t kMicro = 1000;
  e.cpu_ns = f.unified() ? f.key("cpu", "", "", "cpu.stat", "usage_usec").value_or(0) * kMicro
                         : f.number("cpuacct", "cpuacct.usage", "").value_or(0);
  e.throttled_ns = f.unified() ? f.key("cpu", "", "", "cpu.stat", "throttled_usec").value_or(0) * kMicro
                               : f.key("cpu", "cpu.stat", "throttled_time", "", "").value_or(0);
  auto pressure = [&](const char* file) {
    auto text = f.read("", "", file);
    if (!text || !text->starts_with("some ")) return std::string();
    return text->substr(5, text->find('\n') - 5);
  };
  e.memory_pressure = pressure("memory.pressure");
  e.cpu_pressure = pressure("cpu.pressure");
  e.io_pressure = pressure("io.pressure");
  return e;
}

Result<Usage> read_usage(Engine& engine, const ContainerConfig& config, int pid) {
  CgroupFiles files = TRY(CgroupFiles::of(config, engine.host()));
  Usage usage;
  if (files.unified())
    usage.cpu_ns = files.key("cpu", "", "", "cpu.stat", "usage_usec").value_or(0) * 1000;
  else
    usage.cpu_ns = files.number("cpuacct", "cpuacct.usage", "").value_or(0);
  auto memory = files.number("memory", "memory.usage_in_bytes", "memory.current");
  auto pids = files.number("pids", "pids.current", "pids.current");
  if (!memory && !pids)
    return fail(Error::not_found("container " + config.name + " has no cgroup: it does not run"));
  uint64_t cache =
      files.key("memory", "memory.stat", "total_inactive_file", "memory.stat", "inactive_file").value_or(0);
  usage.memory = memory.value_or(0) > cache ? *memory - cache : memory.value_or(0);
  usage.memory_limit =
      files.number("memory", "memory.limit_in_bytes", "memory.max").value_or(engine.host().memory_total);
  usage.pids = pids.value_or(0);
  read_io(files, usage);
  read_network(pid, usage);
  return usage;
}

}  // namespace onggi::engine
