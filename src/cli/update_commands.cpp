// update: limits and restart policy of containers that exist.
#include "cli/command.h"
#include "cli/run_options.h"
#include "engine/update.h"

namespace onggi::cli {

namespace {

constexpr auto kValue = OptionKind::kValue;

const Options& update_options() {
  static const char* const kGone = "the kernel dropped this limit";
  static const Options kOptions = {
      {"blkio-weight", 0, kValue, "uint16", "Block IO (relative weight), between 10 and 1000"},
      {"cpu-period", 0, kValue, "int", "Limit CPU CFS (Completely Fair Scheduler) period"},
      {"cpu-quota", 0, kValue, "int", "Limit CPU CFS (Completely Fair Scheduler) quota"},
      {"cpu-rt-period", 0, kValue, "int", "Limit the CPU real-time period in microseconds"},
      {"cpu-rt-runtime", 0, kValue, "int", "Limit the CPU real-time runtime in microseconds"},
      {"cpu-shares", 'c', kValue, "int", "CPU shares (relative weight)"},
      {"cpus", 0, kValue, "decimal", "Number of CPUs"},
      {"cpuset-cpus", 0, kValue, "string", "CPUs in which to allow execution (0-3, 0,1)"},
      {"cpuset-mems", 0, kValue, "string", "MEMs in which to allow execution (0-3, 0,1)"},
      {"kernel-memory", 0, kValue, "bytes", "", kGone},
      {"memory", 'm', kValue, "bytes", "Memory limit (-1: none)"},
      {"memory-reservation", 0, kValue, "bytes", "Memory soft limit"},
      {"memory-swap", 0, kValue, "bytes",
       "Swap limit equal to memory plus swap: -1 to enable unlimited swap"},
      {"pids-limit", 0, kValue, "int", "Tune container pids limit (-1: none)"},
      {"restart", 0, kValue, "string", "Restart policy to apply when a container exits", "",
       "no always on-failure unless-stopped"}};
  return kOptions;
}

Result<int> command_update(const Invocation& i) {
  bool any = false;
  for (const auto& option : update_options()) any |= i.args.has(option.name);
  if (!any)
    return fail(Error::invalid(
        "you must provide one or more flags when using this command\nSee 'onggi update --help'."));
  auto engine = TRY(i.engine());
  return for_each_word(i, [&](const std::string& word) -> Result<> {
    std::string id = TRY(engine->containers().resolve(word));
    TRY_VOID(engine::update_container(*engine, id,
                                      [&](engine::ContainerConfig& c) { return apply_update(i.args, c); }));
    return print(word + "\n");
  });
}

}  // namespace

const std::vector<Command>& update_commands() {
  static const std::vector<Command> kCommands = {{"update, container update", "CONTAINER [CONTAINER...]",
                                                  "Update configuration of containers", update_options, 1,
                                                  kAnyWords, false, command_update}};
  return kCommands;
}

}  // namespace onggi::cli
