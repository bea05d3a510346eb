// info, version, system check, system prune, container prune.
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/format.h"
#include "engine/lifecycle.h"
#include "engine/network_live.h"
#include "engine/network_store.h"

namespace onggi::cli {

Result<bool> confirm(const Invocation& i, const std::string& what) {
  if (i.args.flag("force")) return true;
  TRY_VOID(print("WARNING! " + what + "\nAre you sure you want to continue? [y/N] "));
  char answer[16];
  ssize_t n = ::read(STDIN_FILENO, answer, sizeof answer);
  return n > 0 && (answer[0] == 'y' || answer[0] == 'Y');
}

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;

const Options& format_option() {
  static const Options kOptions = {{"format", 'f', kValue, "string", "Format output (json, or Go template)"}};
  return kOptions;
}

Result<int> command_version(const Invocation& i) {
  utsname host;
  ::uname(&host);
  std::string format = i.args.get("format");
  if (format.empty()) {
    TRY_VOID(print(std::string("onggi version ") + ONGGI_VERSION + "\n OS/Arch:  " + host.sysname + "/" +
                   host.machine + "\n Kernel:   " + host.release + "\n"));
    return 0;
  }
  JsonWriter w;
  w.begin_object();
  for (const char* side : {"Client", "Server"}) {
    w.key(side);
    w.begin_object();
    w.member("Version", ONGGI_VERSION);
    w.member("Os", "linux");
    w.member("Arch", host.machine);
    w.member("KernelVersion", host.release);
    w.end_object();
  }
  w.end_object();
  TRY_VOID(print_document(format, {w.take()}));
  return 0;
}

const Options& check_options() {
  static const Options kOptions = {
      {"deep", 0, kSwitch, "", "Read every blob and compare it with its digest"},
      {"repair", 0, kSwitch, "", "Remove what belongs to nothing, forget what is not there"}};
  return kOptions;
}

Result<int> command_check(const Invocation& i) {
  auto engine = TRY(i.engine());
  bool repair = i.args.flag("repair");
  size_t found = 0;
  auto report = [&](const std::string& text) {
    found++;
    (void)print((repair ? "repaired: " : "") + text + "\n");
  };
  if (repair) TRY_VOID(engine::recover_containers(*engine, false));
  TRY_VOID(engine->containers().sweep(repair, report,
                                      [&](const std::string& id) { engine::finish_removed(*engine, id); }));
  TRY_VOID(engine::check_runtime_states(*engine, repair, report));
  TRY_VOID(engine::sweep_networks(*engine, repair, report));
  TRY_VOID(engine::sweep_live_networks(*engine, repair, report));
  auto images = TRY(TRY(engine->images())->check(repair, i.args.flag("deep")));
  for (const auto& text : repair ? images.repaired : images.problems) report(text);
  TRY_VOID(print(found ? std::to_string(found) +
                             (repair ? " repaired\n" : " found; onggi system check --repair mends them\n")
                       : "clean\n"));
  return found && !repair ? 1 : 0;
}

const Options& prune_options() {
  static const Options kOptions = {{"force", 'f', kSwitch, "", "Do not prompt for confirmation"}};
  return kOptions;
}

Result<int> command_container_prune(const Invocation& i) {
  auto engine = TRY(i.engine());
  if (!TRY(confirm(i, "This will remove all stopped containers."))) return 0;
  std::string removed;
  for (const auto& id : TRY(engine->containers().ids())) {
    auto dir = engine->containers().open(id);
    auto state = dir ? dir->state() : Result<engine::ContainerState>(fail(dir.error()));
    if (!state || (state->status != "exited" && state->status != "created")) continue;
    if (engine::remove_container(*engine, id, {.force = false, .volumes = false})) removed += id + "\n";
  }
  TRY_VOID(print(removed.empty() ? "" : "Deleted Containers:\n" + removed));
  return 0;
}

}  // namespace

const std::vector<Command>& system_commands() {
  static const std::vector<Command> kCommands = {
      {"version", "", "Show the version", format_option, 0, 0, false, command_version},
      {"system check", "", "Compare the store with what is on disk and in the kernel", check_options, 0, 0,
       false, command_check},
      {"container prune", "", "Remove all stopped containers", prune_options, 0, 0, false,
       command_container_prune}};
  return kCommands;
}

}  // namespace onggi::cli
