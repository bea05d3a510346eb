// From a stopped container to a running one.
//
// Order: the state says "starting" before anything is made, so that whoever finds it so with the lock free
// knows that a command died in the middle and cleans up; the root is mounted detached and the specification
// written; the monitor creates the container and lets its process go; then the state says "running". All of
// it happens under the container's lock, which the recorder of the end takes, too: an end is never recorded
// before its beginning. A command that is killed before the last step leaves "starting", which whoever comes
// next starts anew; were "running" written first, they would keep a container that ends with its starter.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/file.h"
#include "base/scope.h"
#include "engine/clock.h"
#include "engine/events.h"
#include "engine/granted_files.h"
#include "engine/lifecycle.h"
#include "engine/network_live.h"
#include "engine/rootfs.h"
#include "engine/runtime_call.h"
#include "engine/slice.h"
#include "engine/users.h"
#include "engine/volume_fill.h"
#include "engine/volume_mounts.h"
#include "engine/volumes.h"
#include "oci/emit.h"

namespace onggi::engine {

namespace {

// --- what the specification needs to know of the host ---

// Squashed, the container's root acts as the owner of the directory. Where that is the host's root, writing
// there is for somebody who said so.
Result<> check_owner(const ContainerConfig& c, const MountConfig& m, uint32_t owner) {
  bool mapped = c.id_base && !c.security.host_userns && m.ids.empty();
  if (!mapped || m.read_only || m.type != "bind" || owner != 0) return {};
  return fail(
      Error(ErrorKind::kPermission,
            "mount '" + m.source + "' at " + m.target +
                ": it belongs to the host's root, and the container could write to it as its owner. Mount it "
                "read-only (:ro), use a named volume, or allow it with :squash (as the owner) or :noidmap "
                "(as nobody)"));
}

Result<ResolvedMount> resolve_mount(Engine& engine, const ContainerConfig& c, const MountConfig& m,
                                    const VolumeMounts& volumes) {
  ResolvedMount r;
  r.config = &m;
  if (m.type == "tmpfs") return r;
  r.is_volume = m.type == "volume";
  if (const std::string* name = volumes.name_of(m)) {
    r.source = engine.paths().live(c.id) + "/rootfs/" + *name + "/data";
    return r;
  }
  r.source = r.is_volume ? volume_data(engine, m.source) : m.source;
  struct stat st;
  if (::stat(r.source.c_str(), &st) < 0) {
    if (r.is_volume && errno == ENOENT)
      return fail(Error::not_found("the volume '" + m.source +
                                   "' is gone; create it again: onggi volume create " + m.source));
    return fail(Error::os("mount", r.source));
  }
  TRY_VOID(check_owner(c, m, st.st_uid));
  r.owner_uid = st.st_uid;
  r.owner_gid = st.st_gid;
  return r;
}

Result<ResolvedDevice> resolve_device(const DeviceConfig& d) {
  struct stat st;
  if (::stat(d.host.c_str(), &st) < 0) return fail(Error::os("give the device to the container", d.host));
  if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
    return fail(Error::invalid("give the device to the container '" + d.host + "': not a device node"));
  ResolvedDevice r;
  r.device.type = S_ISCHR(st.st_mode) ? "c" : "b";
  r.device.path = d.container;
  r.device.major = ::major(st.st_rdev);
  r.device.minor = ::minor(st.st_rdev);
  r.device.file_mode = st.st_mode & 07777;
  r.access = d.access;
  return r;
}

// --privileged: every device of the host's /dev (not of its mounts below), as the host has it.
Result<std::vector<ResolvedDevice>> all_devices() {
  std::vector<ResolvedDevice> list;
  struct Closer {
    void operator()(DIR* d) const { ::closedir(d); }
  };
  std::unique_ptr<DIR, Closer> dir(::opendir("/dev"));
  if (!dir) return fail(Error::os("read the directory", "/dev"));
  while (dirent* e = ::readdir(dir.get())) {
    std::string path = std::string("/dev/") + e->d_name;
    struct stat st;
    bool node = ::lstat(path.c_str(), &st) == 0 && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode));
    // The container has its own terminal.
    if (node && path != "/dev/console" && path != "/dev/ptmx" && path != "/dev/tty")
      list.push_back(TRY(resolve_device({path, path, "rwm"})));
  }
  return list;
}

Result<std::pair<int64_t, int64_t>> block_device(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) < 0) return fail(Error::os("limit the device", path));
  if (!S_ISBLK(st.st_mode))
    return fail(Error::invalid("limit the device '" + path + "': not a block device"));
  return std::pair<int64_t, int64_t>(::major(st.st_rdev), ::minor(st.st_rdev));
}

Result<ResolvedBlockIo> resolve_block_io(const ResourceConfig& r) {
  ResolvedBlockIo out;
  struct {
    const std::vector<ThrottleConfig>& from;
    std::vector<oci::ThrottleDevice>& to;
  } const rows[] = {{r.read_bps, out.read_bps},
                    {r.write_bps, out.write_bps},
                    {r.read_iops, out.read_iops},
                    {r.write_iops, out.write_iops}};
  for (const auto& row : rows)
    for (const auto& t : row.from) {
      auto [major, minor] = TRY(block_device(t.path));
      row.to.push_back({major, minor, t.rate});
    }
  for (const auto& t : r.blkio_weight_device) {
    auto [major, minor] = TRY(block_device(t.path));
    out.weight.push_back({major, minor, static_cast<uint16_t>(t.rate), std::nullopt});
  }
  return out;
}

Result<int> running_pid(Engine& engine, const std::string& id, const char* what) {
  ContainerState state = TRY(TRY(engine.containers().open(id)).state());
  if (state.status == "running") return state.pid;
  return fail(Error::busy(std::string("cannot join ") + what +
                          " of a container that is not running: " + id.substr(0, 12) + "; start it first"));
}

Result<SharedNamespaces> resolve_shared(Engine& engine, const ContainerConfig& c) {
  SharedNamespaces shared;
  struct {
    const std::string& mode;
    const char* file;
    std::string& path;
  } const rows[] = {{c.network, "net", shared.network},
                    {c.pid_mode, "pid", shared.pid},
                    {c.ipc_mode, "ipc", shared.ipc},
                    {c.uts_mode, "uts", shared.uts}};
  for (const auto& row : rows) {
    if (!row.mode.starts_with("container:")) continue;
    int pid = TRY(running_pid(engine, row.mode.substr(10), row.file));
    std::string base = "/proc/" + std::to_string(pid) + "/ns/";
    row.path = base + row.file;
    if (!c.security.host_userns) shared.user = base + "user";
  }
  return shared;
}

Result<SpecInputs> gather(Engine& engine, const ContainerConfig& c, int root, const VolumeMounts& volumes) {
  SpecInputs in;
  in.config = &c;
  in.host = engine.host();
  in.user = TRY(resolve_user(root, c.user, c.group_add));
  for (const auto& m : c.mounts) in.mounts.push_back(TRY(resolve_mount(engine, c, m, volumes)));
  TRY_VOID(lay_out_granted_files(engine.paths(), c, in));
  for (const auto& d : c.devices) in.devices.push_back(TRY(resolve_device(d)));
  if (c.security.privileged) {
    auto all = TRY(all_devices());
    in.devices.insert(in.devices.begin(), all.begin(), all.end());
  }
  in.block_io = TRY(resolve_block_io(c.resources));
  in.shared = TRY(resolve_shared(engine, c));
  in.root = volumes.root_path();
  in.directory = engine.paths().container(c.id);
  if (c.init) {
    in.init = engine.paths().libexec + "/onggi-init";
    if (::access(in.init.c_str(), X_OK) < 0)
      return fail(
          Error::not_found("the init program " + in.init + " is missing; install it, or use --init=false"));
  }
  return in;
}

Result<std::string> make_spec(Engine& engine, const ContainerConfig& c, int root,
                              const VolumeMounts& volumes) {
  SpecInputs in = TRY(gather(engine, c, root, volumes));
  oci::Spec spec = TRY(build_spec(in));
  std::string text = oci::emit_spec(spec, "");
  const std::string& own = c.security.seccomp;
  if (own.empty() || own == "unconfined" || c.security.privileged) return text;
  // A profile of the user's goes in as it was given; the runtime judges it.
  size_t at = text.find("\"linux\":{");
  if (at == std::string::npos) return fail(Error::internal("the specification has no linux object"));
  text.insert(at + 9, "\"seccomp\":" + own + ",");
  return text;
}

// --- the launch ---

Result<> prepare_bundle(Engine& engine, const ContainerConfig& c, int root, const VolumeMounts& volumes) {
  std::string live = engine.paths().live(c.id);
  if (::mkdir((live + "/rootfs").c_str(), 0700) < 0 && errno != EEXIST)
    return fail(Error::os("make the directory", live + "/rootfs"));
  for (const char* name : {"/exit.json", "/pid", "/control.sock", "/attach.sock"})
    (void)::unlink((live + name).c_str());
  std::string spec = TRY(make_spec(engine, c, root, volumes));
  return write_file(live + "/config.json", spec, O_CREAT | O_TRUNC, 0600);
}

Result<uint64_t> option_number(const ContainerConfig& c, const char* name, uint64_t otherwise) {
  for (const auto& [key, value] : c.log_options)
    if (key == name) return parse_u64(value, std::string("--log-opt ") + name);
  return otherwise;
}

Result<MonitorArgs> monitor_args(Engine& engine, const ContainerConfig& c, int root) {
  MonitorArgs args;
  args.id = c.id;
  args.bundle = args.directory = engine.paths().live(c.id);
  if (c.log_driver == "journald")
    args.log_path = "journald:" + c.id + ":" + c.name;
  else if (c.log_driver != "none")
    args.log_path = engine.paths().container(c.id) + "/log";
  bool compress = std::none_of(c.log_options.begin(), c.log_options.end(),
                               [](const auto& o) { return o.first == "compress" && o.second == "false"; });
  if (compress) args.rotation_command = engine.own_command({"internal", "compress-log"});
  args.body.log_max_bytes = TRY(option_number(c, "max-size", args.body.log_max_bytes));
  args.body.log_max_files = static_cast<uint32_t>(TRY(option_number(c, "max-file", args.body.log_max_files)));
  args.body.terminal = c.tty;
  args.body.stdin_open = c.open_stdin;
  args.body.stdio_owner = c.id_base;
  args.exit_command = engine.own_command({"internal", "exited", c.id});
  args.root_mount = root;
  args.cgroup = engine.monitors_cgroup();
  return args;
}

// A command that was killed in the middle of a start left a container that nobody let go.
void clean_remains(Engine& engine, const std::string& id) {
  (void)call_runtime(engine.paths(), {"delete", "--force", id});
  network_down(engine, id);
}

// The cgroup for monitors may be removed between the look at it and the clone into it, when the last
// container of all has just ended.
Result<MonitorClient> launch_monitor(Engine& engine, MonitorArgs& args) {
  for (int tries = 0;; tries++) {
    auto monitor = MonitorClient::launch(engine.paths(), args);
    bool gone = !monitor && args.cgroup >= 0 &&
                (monitor.error().os_errno() == ENOENT || monitor.error().os_errno() == ENODEV);
    constexpr int kMost = 5;
    if (!gone || tries == kMost) return monitor;
    ensure_slice(engine);
    args.cgroup = engine.monitors_cgroup();
  }
}

Result<StartedContainer> launch(Engine& engine, ContainerDir& dir, const ContainerConfig& c,
                                ContainerState& state, const StartOptions& options) {
  StartedContainer started;
  ensure_slice(engine);
  MountFd root = TRY(mount_root(engine, c, {}));
  TRY_VOID(fill_volumes(engine, c));
  VolumeMounts volumes = TRY(VolumeMounts::open(engine, c));
  TRY_VOID(prepare_bundle(engine, c, root.get(), volumes));
  if (!volumes.empty()) root = TRY(volumes.bundle_with(root.get()));
  MonitorArgs args = TRY(monitor_args(engine, c, root.get()));
  started.monitor = TRY(launch_monitor(engine, args));
  TRY_VOID(network_up(engine, c, started.monitor.container_pid()));
  if (options.attach) started.attach = TRY(connect_attach(args.directory));
  state.status = "running";
  state.pid = started.monitor.container_pid();
  state.pid_start = sys::start_time(state.pid).value_or(0);
  state.monitor = started.monitor.process().pid;
  state.started_at = now_rfc3339();
  TRY_VOID(started.monitor.start());
  // Before "running" is written, so that no container that says so lacks its watcher; it waits for the lock.
  if (!c.health.test.empty() && c.health.test[0] != "NONE")
    engine.run_in_background({"internal", "health", c.id});
  TRY_VOID(dir.save_state(state));
  return started;
}

int exit_code_of_failure(const Error& error) {
  // What shells and engines use: not found 127, not executable 126.
  const std::string& text = error.text();
  if (text.find("No such file or directory") != std::string::npos ||
      text.find("not found") != std::string::npos)
    return 127;
  if (text.find("Permission denied") != std::string::npos || text.find("Exec format") != std::string::npos)
    return 126;
  return 128;
}

}  // namespace

Result<StartedContainer> start_container(Engine& engine, const std::string& id, const StartOptions& options) {
  ContainerDir dir = TRY(engine.containers().open(id));
  TRY_VOID(dir.lock());
  ContainerState state = TRY(dir.state());
  ContainerConfig config = TRY(dir.config());
  StartedContainer started;
  if (state.status == "running") {
    started.already_running = true;
    return started;
  }
  if (options.is_restart && state.stopped_by_user)
    return fail(Error::busy("the container was stopped meanwhile"));
  bool interrupted = state.status == "starting";
  if (state.status != "created") clean_remains(engine, id);
  int64_t restarts = options.is_restart ? state.restarts + 1 : 0;
  state = ContainerState{};
  state.status = "starting";
  state.restarts = restarts;
  state.boot_id = boot_id();
  TRY_VOID(dir.save_state(state));
  auto result = launch(engine, dir, config, state, options);
  // A starter that was killed may have left a monitor that is in the middle of its create; it ends by itself.
  constexpr int kTries = 5;
  constexpr useconds_t kPause = 50'000;
  for (int tries = 0; !result && interrupted &&
                      result.error().text().find("already exists") != std::string::npos && tries < kTries;
       tries++) {
    ::usleep(kPause);
    clean_remains(engine, id);
    result = launch(engine, dir, config, state, options);
  }
  if (!result) {
    clean_remains(engine, id);
    state.status = restarts ? "exited" : "created";
    state.error = result.error().text();
    state.exit_code = exit_code_of_failure(result.error());
    state.finished_at = now_rfc3339();
    state.pid = 0;
    (void)dir.save_state(state);
    return result;
  }
  record_event(engine.paths(), {"container", "start", config.id, config.name, config.image, {}});
  return result;
}

}  // namespace onggi::engine
