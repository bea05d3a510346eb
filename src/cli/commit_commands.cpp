// commit: an image from a container's writable layer.
#include <unistd.h>

#include "base/scope.h"
#include "cli/command.h"
#include "cli/image_worker.h"
#include "engine/changes.h"
#include "engine/events.h"
#include "engine/lifecycle.h"
#include "engine/writable.h"
#include "image/reference.h"
#include "oci/image_emit.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;
constexpr auto kList = OptionKind::kList;

const Options& commit_options() {
  static const Options kOptions = {
      {"author", 'a', kValue, "string", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")"},
      {"change", 'c', kList, "list", "Apply Dockerfile instruction to the created image"},
      {"message", 'm', kValue, "string", "Commit message"},
      {"pause", 'p', kSwitch, "", "Pause container during commit (default true)"}};
  return kOptions;
}

// A container of the new image runs what this one ran, as it ran.
oci::ContainerDefaults defaults_of(const engine::ContainerConfig& c) {
  oci::ContainerDefaults d;
  d.user = c.user;
  d.exposed_ports = c.expose;
  d.env = c.env;
  d.entrypoint = c.entrypoint;
  d.cmd = c.command;
  for (const auto& m : c.mounts)
    if (m.type == "volume") d.volumes.push_back(m.target);
  d.working_dir = c.working_dir;
  d.labels = c.labels;
  d.stop_signal = c.stop_signal;
  // Probes by HTTP, TCP and Unix socket are not in the image specification: other engines could not run them.
  bool portable = !c.health.test.empty() && (c.health.test[0] == "CMD" || c.health.test[0] == "CMD-SHELL");
  if (portable)
    d.healthcheck = oci::HealthCheck{c.health.test,         c.health.interval,       c.health.timeout,
                                     c.health.start_period, c.health.start_interval, c.health.retries};
  return d;
}

Result<int> command_commit(const Invocation& i) {
  auto engine = TRY(i.engine());
  engine::ContainerDir dir = TRY(engine->containers().find(i.args.words()[0]));
  engine::ContainerConfig config = TRY(dir.config());
  image::TransferRequest request;
  request.operation = "commit";
  request.image = config.image_id;
  request.author = i.args.get("author");
  request.message = i.args.get("message");
  if (i.args.words().size() > 1) {
    image::Reference name = TRY(image::Reference::parse(i.args.words()[1]));
    if (!name.digest.empty())
      return fail(Error::invalid("commit: a name with a digest cannot be given to a new image"));
    request.references = {name.canonical()};
  }
  oci::ContainerDefaults defaults = defaults_of(config);
  for (const auto& change : i.args.all("change")) TRY_VOID(engine::apply_change(change, defaults));
  request.config = oci::emit_container_defaults(defaults);
  bool running = engine::status_of(*engine, config, TRY(dir.state())) == "running";
  bool pause = running && i.args.flag("pause", true);
  if (pause) TRY_VOID(engine::pause_container(*engine, config.id, true));
  ScopeExit resume([&] {
    if (pause) (void)engine::pause_container(*engine, config.id, false);
  });
  MountFd holder;
  UniqueFd upper = TRY(engine::open_upper(*engine, config, holder));
  request.tree = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(upper.get());
  request.id_base = config.id_base;
  request.id_count = config.id_base ? engine::kRangeSize : 0;
  image::TransferEvent result = TRY(transfer(*engine, std::move(request), !::isatty(STDERR_FILENO)));
  engine::record_event(engine->paths(), {"container", "commit", config.id, config.name, config.image, {}});
  for (const auto& id : result.ids) TRY_VOID(print(id + "\n"));
  return 0;
}

}  // namespace

const std::vector<Command>& commit_commands() {
  static const std::vector<Command> kCommands = {{"commit, container commit", "CONTAINER [REPOSITORY[:TAG]]",
                                                  "Create a new image from a container's changes",
                                                  commit_options, 1, 2, false, command_commit}};
  return kCommands;
}

}  // namespace onggi::cli
