// stats: what containers use, once or again and again.
//
// Each line is made from the kernel's files of that container alone; a container that is stuck, paused or
// held by another command delays nobody. CPU is a difference of two readings, so the first table comes after
// a short wait, as docker's does.
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "cli/command.h"
#include "cli/format.h"
#include "engine/usage.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;
constexpr int kIntervalMs = 1000;
constexpr int kFirstMs = 250;  // enough clock ticks for a percentage

const Options& stats_options() {
  static const Options kOptions = {
      {"all", 'a', kSwitch, "", "Show all containers (default shows just running)"},
      {"format", 0, kValue, "string",
       "Format output: table, table TEMPLATE, json, or TEMPLATE (Go template)"},
      {"no-stream", 0, kSwitch, "", "Disable streaming stats and only pull the first result"},
      {"no-trunc", 0, kSwitch, "", "Do not truncate output"}};
  return kOptions;
}

int64_t monotonic_ns() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

struct Sample {
  std::string id, name;
  bool running = false;
  engine::Usage usage;
  int64_t at = 0;
};

struct Previous {
  uint64_t cpu_ns = 0;
  int64_t at = 0;
};

Result<std::vector<Sample>> take(engine::Engine& engine, const std::vector<std::string>& ids, bool all) {
  std::vector<Sample> samples;
  for (const auto& id : ids) {
    auto dir = engine.containers().open(id);
    if (!dir) continue;  // removed meanwhile
    auto config = dir->config();
    auto state = dir->state();
    if (!config || !state) continue;
    Sample s{id, config->name, state->status == "running", {}, monotonic_ns()};
    if (s.running) {
      auto usage = engine::read_usage(engine, *config, state->pid);
      // It may end between the two looks; a host that denies it cgroups has no figures.
      if (usage)
        s.usage = *usage;
      else if (usage.error().kind() != ErrorKind::kNotFound)
        return fail(usage.error());
    }
    if (s.running || all) samples.push_back(std::move(s));
  }
  return samples;
}

std::string percent(double value) {
  char text[32];
  snprintf(text, sizeof text, "%.2f%%", value);
  return text;
}

Row stats_row(const Sample& s, const Previous& before, bool whole) {
  std::string id = whole ? s.id : s.id.substr(0, 12);
  if (!s.running)
    return {{"Container", id},       {"ID", id},        {"Name", s.name},     {"CPUPerc", "--"},
            {"MemUsage", "-- / --"}, {"MemPerc", "--"}, {"NetIO", "-- / --"}, {"BlockIO", "-- / --"},
            {"PIDs", "--"}};
  const engine::Usage& u = s.usage;
  double cpu = 0;
  if (before.at && s.at > before.at && u.cpu_ns >= before.cpu_ns)
    cpu = 100.0 * static_cast<double>(u.cpu_ns - before.cpu_ns) / static_cast<double>(s.at - before.at);
  double memory =
      u.memory_limit ? 100.0 * static_cast<double>(u.memory) / static_cast<double>(u.memory_limit) : 0;
  return {{"Container", id},
          {"ID", id},
          {"Name", s.name},
          {"CPUPerc", percent(cpu)},
          {"MemUsage", human_binary(u.memory) + " / " + human_binary(u.memory_limit)},
          {"MemPerc", percent(memory)},
          {"NetIO", human_size(u.received_bytes) + " / " + human_size(u.sent_bytes)},
          {"BlockIO", human_size(u.read_bytes) + " / " + human_size(u.written_bytes)},
          {"PIDs", std::to_string(u.pids)}};
}

class Stats {
 public:
  Stats(const Invocation& i, engine::Engine& engine) : i_(i), engine_(engine) {}

  Result<int> run() {
    for (const auto& word : i_.args.words()) named_.push_back(TRY(engine_.containers().resolve(word)));
    bool stream = !i_.args.flag("no-stream");
    bool terminal = ::isatty(STDOUT_FILENO);
    TRY_VOID(remember());
    ::poll(nullptr, 0, kFirstMs);
    for (;;) {
      auto samples = TRY(look());
      // Home and erase below, as one write with the table: no flicker, nothing is lost above.
      if (stream && terminal) TRY_VOID(print("\x1b[H\x1b[J"));
      TRY_VOID(show(samples));
      if (!stream) return 0;
      // Who reads the other end may go.
      pollfd out = {STDOUT_FILENO, 0, 0};
      if (::poll(&out, 1, kIntervalMs) > 0 && (out.revents & (POLLERR | POLLHUP))) return 0;
    }
  }

 private:
  Result<std::vector<Sample>> look() {
    bool all = i_.args.flag("all") || !named_.empty();
    return take(engine_, named_.empty() ? TRY(engine_.containers().ids()) : named_, all);
  }
  Result<> remember() {
    for (const auto& s : TRY(look())) before_[s.id] = {s.usage.cpu_ns, s.at};
    return {};
  }
  Result<> show(const std::vector<Sample>& samples) {
    std::vector<Row> rows;
    std::map<std::string, Previous> now;
    for (const auto& s : samples) {
      rows.push_back(stats_row(s, before_[s.id], i_.args.flag("no-trunc")));
      now[s.id] = {s.usage.cpu_ns, s.at};
    }
    before_ = std::move(now);
    return print_rows(i_.args.get("format"),
                      {{"CONTAINER ID", "ID"},
                       {"NAME", "Name"},
                       {"CPU %", "CPUPerc"},
                       {"MEM USAGE / LIMIT", "MemUsage"},
                       {"MEM %", "MemPerc"},
                       {"NET I/O", "NetIO"},
                       {"BLOCK I/O", "BlockIO"},
                       {"PIDS", "PIDs"}},
                      rows);
  }

  const Invocation& i_;
  engine::Engine& engine_;
  std::vector<std::string> named_;
  std::map<std::string, Previous> before_;
};

Result<int> command_stats(const Invocation& i) {
  auto engine = TRY(i.engine());
  return Stats(i, *engine).run();
}

}  // namespace

const std::vector<Command>& stats_commands() {
  static const std::vector<Command> kCommands = {{"stats, container stats", "[CONTAINER...]",
                                                  "Display a live stream of resource usage of containers",
                                                  stats_options, 0, kAnyWords, false, command_stats}};
  return kCommands;
}

}  // namespace onggi::cli
