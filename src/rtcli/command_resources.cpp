// update, events.
#include <poll.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

#include "base/file.h"
#include "base/json.h"
#include "oci/parse.h"
#include "rtcli/command.h"
#include "runtime/cgroup_stats.h"
#include "runtime/resctrl.h"

namespace onggi::rtcli {

namespace {

template <class T>
Result<> set_signed(const Args& args, const char* name, std::optional<T>& out) {
  auto text = args.find(name);
  if (!text) return {};
  out = static_cast<T>(TRY(parse_i64(*text, std::string("option --") + name)));
  return {};
}
template <class T>
Result<> set_unsigned(const Args& args, const char* name, std::optional<T>& out) {
  auto text = args.find(name);
  if (!text) return {};
  uint64_t value = TRY(parse_u64(*text, std::string("option --") + name));
  if (value > std::numeric_limits<T>::max())
    return fail(Error::invalid(std::string("option --") + name + ": " + *text + " is too large"));
  out = static_cast<T>(value);
  return {};
}

Result<> update_cpu(const Args& a, oci::Resources& r) {
  oci::CpuResources cpu;
  TRY_VOID(set_unsigned(a, "cpu-share", cpu.shares));
  TRY_VOID(set_unsigned(a, "cpu-period", cpu.period));
  TRY_VOID(set_signed(a, "cpu-quota", cpu.quota));
  TRY_VOID(set_unsigned(a, "cpu-burst", cpu.burst));
  TRY_VOID(set_signed(a, "cpu-rt-runtime", cpu.realtime_runtime));
  TRY_VOID(set_unsigned(a, "cpu-rt-period", cpu.realtime_period));
  TRY_VOID(set_signed(a, "cpu-idle", cpu.idle));
  cpu.cpus = a.get("cpuset-cpus");
  cpu.mems = a.get("cpuset-mems");
  for (const char* name : {"cpu-share", "cpu-period", "cpu-quota", "cpu-burst", "cpu-rt-runtime",
                           "cpu-rt-period", "cpu-idle", "cpuset-cpus", "cpuset-mems"})
    if (a.has(name)) r.cpu = cpu;
  return {};
}

Result<> update_rest(const Args& a, oci::Resources& r) {
  oci::MemoryResources memory;
  TRY_VOID(set_signed(a, "memory", memory.limit));
  TRY_VOID(set_signed(a, "memory-reservation", memory.reservation));
  TRY_VOID(set_signed(a, "memory-swap", memory.swap));
  if (memory.limit || memory.reservation || memory.swap) r.memory = memory;
  oci::PidsResources pids;
  TRY_VOID(set_signed(a, "pids-limit", pids.limit));
  if (pids.limit) r.pids = pids;
  oci::BlockIoResources block;
  TRY_VOID(set_unsigned(a, "blkio-weight", block.weight));
  if (block.weight) r.block_io = block;
  return {};
}

}  // namespace

Result<int> run_update(const Invocation& i) {
  const Args& a = i.args;
  oci::Resources resources;
  if (auto file = a.find("resources")) {
    std::string json = *file == "-" ? TRY(read_fd(STDIN_FILENO, "standard input"))
                                    : TRY_CTX(read_file(*file), "option --resources");
    resources = TRY_CTX(oci::parse_resources(json), "option --resources");
  } else {
    TRY_VOID(update_cpu(a, resources));
    TRY_VOID(update_rest(a, resources));
  }
  // In runc's words: the kernel dropped this limit, and engines go on giving it.
  if ((a.has("kernel-memory") || a.has("kernel-memory-tcp")) && i.context.warn)
    i.context.warn("Kernel memory settings are ignored and will be removed");
  runtime::RdtUpdate rdt = {a.find("l3-cache-schema"), a.find("mem-bw-schema")};
  TRY_VOID(runtime::update_container(i.context, a.rest()[0], resources, rdt));
  return 0;
}

namespace {

// "5s", "500ms", "1m30s", "2" (seconds) -> milliseconds.
Result<int64_t> parse_interval(const std::string& text) {
  int64_t total = 0;
  size_t at = 0;
  while (at < text.size()) {
    size_t digits = text.find_first_not_of("0123456789", at);
    if (digits == at)
      return fail(Error::invalid("option --interval: '" + text + "' is not a time such as 5s or 500ms"));
    int64_t n = static_cast<int64_t>(TRY(parse_u64(text.substr(at, digits - at), "option --interval")));
    std::string unit = digits == std::string::npos
                           ? "s"
                           : text.substr(digits, text.find_first_of("0123456789", digits) - digits);
    int64_t scale = unit == "ms" ? 1 : unit == "s" ? 1000 : unit == "m" ? 60000 : unit == "h" ? 3600000 : 0;
    if (!scale || n > 1000000)
      return fail(Error::invalid("option --interval: '" + text + "' is not a time such as 5s or 500ms"));
    total += n * scale;
    at = digits == std::string::npos ? text.size() : digits + unit.size();
  }
  if (total <= 0) return fail(Error::invalid("option --interval: duration interval must be greater than 0"));
  return total;
}

Result<> print_stats(runtime::Cgroup& cgroup, const std::string& resctrl_group, const std::string& id) {
  runtime::CgroupStats stats = TRY(cgroup.stats());
  if (!resctrl_group.empty()) TRY_VOID(runtime::read_resctrl_stats(resctrl_group, stats.intel_rdt));
  return print(runtime::stats_json(stats, id) + "\n");
}

// Prints an OOM event for every kill that the counter shows since the last look.
Result<> print_ooms(runtime::Cgroup& cgroup, const std::string& id, uint64_t& seen) {
  auto now = cgroup.oom_kills();
  if (!now) return {};
  for (; seen < *now; seen++) {
    JsonWriter w;
    w.begin_object();
    w.member("type", "oom");
    w.member("id", id);
    w.end_object();
    TRY_VOID(print(w.text() + "\n"));
  }
  return {};
}

}  // namespace

Result<int> run_events(const Invocation& i) {
  const std::string& id = i.args.rest()[0];
  int64_t interval = TRY(parse_interval(i.args.get("interval", "5s")));
  runtime::ContainerInfo info = TRY(runtime::inspect_container(i.context, id));
  if (info.status == runtime::Status::kStopped)
    return fail(Error::busy("container with id " + id + " is not running"));
  if (info.record.cgroup.paths.empty())
    return fail(Error::unsupported("container with id " + id + " has no cgroup to measure"));
  auto cgroup = TRY(runtime::Cgroup::load(info.record.cgroup));
  if (TRY(i.args.flag("stats"))) {
    TRY_VOID(print_stats(*cgroup, info.record.resctrl_group, id));
    return 0;
  }
  PidFd pidfd = TRY(sys::pidfd_open(info.record.pid));
  UniqueFd oom = TRY(cgroup->oom_event_fd());
  uint64_t seen = cgroup->oom_kills().value_or(0);
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  if (!timer) return fail(Error::os("make a timer", ""));
  itimerspec every = {};
  every.it_interval = {interval / 1000, (interval % 1000) * 1000000};
  every.it_value = every.it_interval;
  if (::timerfd_settime(timer.get(), 0, &every, nullptr) < 0) return fail(Error::os("set the timer", ""));
  for (;;) {
    pollfd fds[3] = {{pidfd.get(), POLLIN, 0}, {oom.get(), POLLIN | POLLPRI, 0}, {timer.get(), POLLIN, 0}};
    if (::poll(fds, 3, -1) < 0 && errno != EINTR) return fail(Error::os("wait for events", ""));
    char block[64];
    if (fds[1].revents) {
      (void)cgroup->oom_kills_after(oom.get(), seen);  // the count may lag behind the notice
      TRY_VOID(print_ooms(*cgroup, id, seen));
    }
    if (fds[0].revents) {
      TRY_VOID(print_ooms(*cgroup, id, seen));
      return 0;
    }
    if (fds[2].revents) {
      (void)!::read(timer.get(), block, sizeof block);
      TRY_VOID(print_ooms(*cgroup, id, seen));
      TRY_VOID(print_stats(*cgroup, info.record.resctrl_group, id));
    }
  }
}

}  // namespace onggi::rtcli
