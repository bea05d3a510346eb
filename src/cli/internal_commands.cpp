// What the engine executes itself: a monitor's last word, and work that a user need not wait for.
#include "cli/command.h"
#include "engine/health.h"
#include "engine/lifecycle.h"
#include "engine/log_compress.h"

namespace onggi::cli {

namespace {

Result<int> command_exited(const Invocation& i) {
  auto engine = TRY(i.engine());
  TRY_VOID(engine::container_exited(*engine, i.args.words()[0]));
  return 0;
}

Result<int> command_sweep(const Invocation& i) {
  auto engine = TRY(i.engine());
  TRY_VOID(engine::sweep(*engine));
  return 0;
}

// Beside a container with health checks, for as long as it runs.
Result<int> command_health(const Invocation& i) {
  auto engine = TRY(i.engine());
  TRY_VOID(engine::watch_health(*engine, i.args.words()[0]));
  return 0;
}

Result<int> command_compress_log(const Invocation& i) {
  TRY_VOID(engine::compress_log(i.args.words()[0]));
  return 0;
}

Result<int> command_recover(const Invocation& i) {
  auto engine = TRY(i.engine());
  TRY_VOID(engine::recover_containers(*engine, true));
  return 0;
}

}  // namespace

const std::vector<Command>& internal_commands() {
  static const std::vector<Command> kCommands = {
      {"internal exited", "ID", "Record the end of a container", no_options, 1, 1, false, command_exited,
       true},
      {"internal sweep", "", "Delete what was removed", no_options, 0, 0, false, command_sweep, true},
      {"internal health", "ID", "Watch a container's health", no_options, 1, 1, false, command_health, true},
      {"internal compress-log", "FILE", "Compress a rotated log file", no_options, 1, 1, false,
       command_compress_log, true},
      {"internal recover", "", "Start again what ran before a reboot", no_options, 0, 0, false,
       command_recover, true}};
  return kCommands;
}

}  // namespace onggi::cli
