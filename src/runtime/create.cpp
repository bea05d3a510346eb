// `create` and `run`: from a bundle to a process that waits for start, or runs.
//
// Order of effects, each undone when a later one fails: state directory (decides who owns the id) -> record
// "creating" -> cgroup -> child -> record "created" -> pid file. The record is written before the cgroup is
// made, so that after a kill -9 at any point `delete --force` knows all there is to remove.
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <map>

#include "base/file.h"
#include "base/json.h"
#include "base/scope.h"
#include "policy/seccomp.h"
#include "runtime/bundle.h"
#include "runtime/cgroup_owner.h"
#include "runtime/compile.h"
#include "runtime/container.h"
#include "runtime/handover.h"
#include "runtime/hooks.h"
#include "runtime/launch.h"
#include "runtime/notify.h"
#include "runtime/prepare_mounts.h"
#include "runtime/process_attributes.h"
#include "runtime/resctrl.h"
#include "sys/mount.h"
#include "sys/net_device.h"
#include "sys/user_namespace.h"

namespace onggi::runtime {

namespace {

std::vector<sys::IdRange> ranges(const std::vector<oci::IdMapping>& maps) {
  std::vector<sys::IdRange> out;
  for (const auto& m : maps) out.push_back({m.container_id, m.host_id, m.size});
  return out;
}

const oci::Namespace* find_namespace(const oci::Spec& spec, oci::NamespaceType type) {
  for (const auto& ns : spec.linux.namespaces)
    if (ns.type == type) return &ns;
  return nullptr;
}

// Everything that one create needs, with its life time.
class Creation {
 public:
  Creation(const RuntimeContext& context, const CreateOptions& options, bool run)
      : context_(context), options_(options), run_(run) {}

  Result<Started> go();

 private:
  Result<> read_bundle();
  Result<> check_terminal();
  Result<> open_state();
  Result<> plan_cgroup();
  Result<> open_inputs();
  Result<> compile();
  Result<> make_cgroup(int pid);
  Result<> record_created(int pid);
  Result<> apply_from_outside(int pid);
  Result<> record_early(int pid);
  Result<> run_create_hooks(int pid, int pidfd);
  LaunchHandlers handlers();
  HookPlace container_place(int pidfd) const;

  const RuntimeContext& context_;
  const CreateOptions& options_;
  bool run_;
  std::string config_;
  oci::Spec spec_;
  StateRecord record_;
  StateDir dir_;
  std::unique_ptr<Cgroup> cgroup_;
  bool born_in_v2_ = false;      // hybrid: the clone itself joined the v2 tree
  bool born_in_cgroup_ = false;  // CLONE_INTO_CGROUP takes it into all there is
  policy::SeccompProgram seccomp_;
  std::vector<NsFd> namespace_fds_;
  std::vector<MountFd> prepared_fds_;
  UniqueFd proc_, exec_fifo_, status_fifo_;
  Handover handover_;
  CompileInput input_;
  CompiledPlan plan_;
  Rollback rollback_;
};

Result<> Creation::read_bundle() {
  LoadedBundle loaded = TRY(load_bundle(options_.bundle, options_.config, context_.warn));
  config_ = std::move(loaded.config);
  spec_ = std::move(loaded.spec);
  if (spec_.process) add_listen_environment(options_.listen_fds, *spec_.process);
  record_.id = options_.id;
  record_.bundle = std::move(loaded.bundle);
  record_.rootfs = std::move(loaded.rootfs);
  return {};
}

Result<> Creation::check_terminal() {
  bool terminal = spec_.process->terminal;
  bool detach = !run_ || options_.detach;
  if (terminal && detach && options_.console_socket.empty())
    return fail(
        Error::invalid("cannot allocate tty if the runtime will detach without setting console socket: "
                       "give --console-socket, or set process.terminal to false"));
  if (!terminal && !options_.console_socket.empty())
    return fail(Error::invalid(
        "cannot use console socket if the runtime will not allocate tty: process.terminal is false"));
  return handover_.connect(options_.console_socket, options_.pidfd_socket);
}

Result<> Creation::open_state() {
  dir_ = TRY(StateDir::create(context_.root, options_.id));
  rollback_.push([this] { (void)dir_.remove(); });
  record_.created = now_rfc3339();
  record_.owner = ::getuid() == 0 ? "root" : std::to_string(::getuid());
  record_.phase = "creating";
  record_.rootless = context_.rootless;
  record_.poststop_hooks = !spec_.hooks.poststop.empty();
  return {};
}

Result<> Creation::plan_cgroup() {
  CgroupConfig config;
  config.id = options_.id;
  config.cgroups_path = spec_.linux.cgroups_path;
  config.systemd = context_.systemd_cgroup;
  config.rootless = context_.rootless;
  config.disabled = context_.no_cgroup;
  config.annotations = spec_.annotations;
  config.owner_uid = cgroup_owner(spec_);
  cgroup_ = TRY_CTX(Cgroup::plan(config), "cgroup");
  record_.cgroup = cgroup_->record();
  return {};
}

Result<> Creation::open_inputs() {
  for (const auto& ns : spec_.linux.namespaces) {
    if (ns.path.empty()) continue;
    namespace_fds_.push_back(
        TRY(sys::open_namespace(ns.path, oci::clone_flag(ns.type), oci::to_string(ns.type))));
    input_.namespace_fds.emplace_back(ns.type, namespace_fds_.back().get());
  }
  const oci::Namespace* time = find_namespace(spec_, oci::NamespaceType::kTime);
  bool writes_proc = !spec_.linux.sysctl.empty() || (time && time->path.empty()) ||
                     !spec_.process->apparmor_profile.empty() || !spec_.process->selinux_label.empty();
  if (writes_proc) proc_ = TRY(sys::private_proc());
  if (spec_.linux.seccomp) seccomp_ = TRY(policy::compile_seccomp(*spec_.linux.seccomp));
  TRY_VOID(prepare_mounts(spec_, context_.rootless, prepared_fds_, input_.prepared));
  if (run_) return {};
  for (const char* name : {"exec.fifo", "status.fifo"})
    if (::mkfifoat(dir_.fd(), name, 0600) < 0) return fail(Error::os("make", dir_.path() + "/" + name));
  // Read and write: neither side then ever sees the end of file of a FIFO that nobody else has open.
  exec_fifo_ = TRY(open_at(dir_.fd(), "exec.fifo", O_RDWR | O_NOFOLLOW));
  status_fifo_ = TRY(open_at(dir_.fd(), "status.fifo", O_RDWR | O_NOFOLLOW));
  return {};
}

Result<> Creation::compile() {
  input_.spec = &spec_;
  input_.id = options_.id;
  input_.rootfs = record_.rootfs;
  input_.rootless = context_.rootless;
  input_.preserve_fds = options_.preserve_fds;
  input_.no_pivot = options_.no_pivot;
  input_.no_new_keyring = options_.no_new_keyring;
  input_.cgroup = &cgroup_->record();
  input_.cgroup_mode = host_cgroup_mode();
  input_.join_cgroup = !cgroup_->record().paths.empty() || cgroup_->needs_pid();
  input_.proc_fd = proc_.get();
  input_.exec_fifo = exec_fifo_.get();
  input_.status_fifo = status_fifo_.get();
  // The clone took care of v2; a staged start still meets the parent there, which learns the pid only then.
  if (born_in_cgroup_ && !is_staged(spec_)) input_.join_cgroup = false;
  input_.sync_created = !run_ || !spec_.hooks.start_container.empty() || spec_.linux.intel_rdt ||
                        cgroup_->needs_pid() || (is_staged(spec_) && !input_.join_cgroup);
  input_.parent_hooks = !spec_.hooks.prestart.empty() || !spec_.hooks.create_runtime.empty() ||
                        !spec_.hooks.create_container.empty();
  input_.seccomp = &seccomp_;
  input_.selinux =
      (!spec_.linux.mount_label.empty() || !spec_.process->selinux_label.empty()) && selinux_enabled();
  input_.apparmor = !spec_.process->apparmor_profile.empty() && apparmor_enabled();
  plan_ = TRY(compile_create(input_));
  return {};
}

Result<> Creation::make_cgroup(int pid) {
  if (record_.cgroup_made) return {};
  oci::Resources none;
  const oci::Resources& resources =
      spec_.linux.resources && !context_.no_cgroup ? *spec_.linux.resources : none;
  // Undoes itself when it fails: what stands there may belong to another container.
  TRY_VOID_CTX(pid > 0 ? cgroup_->create_for_pid(pid, resources) : cgroup_->create(resources), "cgroup");
  rollback_.push([this] { (void)cgroup_->destroy(); });
  record_.cgroup_made = true;
  record_.cgroup = cgroup_->record();
  // From here on `delete --force` may kill what is in it. Where the process waits for the parent again, the
  // next record comes before it can run anything; else this one has to.
  bool recorded_next = run_ && !born_in_cgroup_ && !input_.sync_created;
  return recorded_next ? Result<>{} : dir_.save(record_);
}

// What the child cannot do for itself: raising hard limits and lowering the OOM score need the initial user
// namespace.
Result<> Creation::apply_from_outside(int pid) {
  const oci::Process& p = *spec_.process;
  if (p.oom_score_adj) {
    auto r = write_file("/proc/" + std::to_string(pid) + "/oom_score_adj", std::to_string(*p.oom_score_adj));
    if (!r && !(context_.rootless && r.error().kind() == ErrorKind::kPermission)) {
      std::string hint =
          r.error().kind() == ErrorKind::kPermission ? " (lowering it needs CAP_SYS_RESOURCE)" : "";
      return fail(
          Error(r.error().kind(), "process.oomScoreAdj: " + r.error().text() + hint, r.error().os_errno()));
    }
    if (!r && context_.warn) context_.warn("process.oomScoreAdj not set: " + r.error().text());
  }
  if (!plan_.new_user_namespace || context_.rootless) return {};
  for (const auto& limit : p.rlimits) {
    auto number = rlimit_number(limit.type);
    rlimit now;
    if (!number || ::prlimit(pid, static_cast<__rlimit_resource>(*number), nullptr, &now) < 0 ||
        now.rlim_max >= limit.hard)
      continue;
    now.rlim_max = limit.hard;
    (void)::prlimit(pid, static_cast<__rlimit_resource>(*number), &now, nullptr);
  }
  return {};
}

HookPlace Creation::container_place(int pidfd) const {
  HookPlace place;
  place.container_pidfd = pidfd;
  place.directory = record_.bundle;
  for (const auto& ns : spec_.linux.namespaces) {
    // The time namespace is entered by exec only; until then the container's process is still in the
    // runtime's.
    if (ns.type == oci::NamespaceType::kTime) continue;
    place.namespaces |= oci::clone_flag(ns.type);
    place.user_namespace |= ns.type == oci::NamespaceType::kUser;
  }
  return place;
}

Result<> Creation::run_create_hooks(int pid, int pidfd) {
  HookPlace host;
  host.directory = record_.bundle;
  std::string state = state_json(record_, spec_, Status::kCreating, pid);
  TRY_VOID(run_hooks(spec_.hooks.prestart, "prestart", state, host));
  TRY_VOID(run_hooks(spec_.hooks.create_runtime, "createRuntime", state, host));
  return run_hooks(spec_.hooks.create_container, "createContainer", state, container_place(pidfd));
}

Result<> Creation::record_created(int pid) {
  auto start = sys::start_time(pid);
  if (!start) return fail(Error::internal("the container's process vanished before it was recorded"));
  record_.pid = pid;
  record_.start_time = *start;
  record_.phase = "created";
  record_.cgroup = cgroup_->record();
  TRY_VOID(dir_.save(record_));
  if (!options_.pid_file.empty()) {
    TRY_VOID(write_pid_file(options_.pid_file, pid));
    rollback_.push([this] { (void)::unlink(options_.pid_file.c_str()); });
  }
  return {};
}

// `run` without hooks at the end: the process is recorded while it sets itself up, and needs no answer before
// it executes the program.
Result<> Creation::record_early(int pid) {
  if (!plan_.new_user_namespace) TRY_VOID(apply_from_outside(pid));
  return record_created(pid);
}

LaunchHandlers Creation::handlers() {
  LaunchHandlers h;
  h.phase = context_.phase;
  h.warning = context_.warn;
  h.after_spawn = [this](int pid) -> Result<> {
    TRY_VOID(dir_.save_config(config_));
    if (!cgroup_->needs_pid()) TRY_VOID(make_cgroup(0));
    if (!input_.sync_created && !plan_.staged) return record_early(pid);
    return {};
  };
  h.map_ids = [this](int pid) -> Result<> {
    // The first process of a staged start has joined nothing yet; its limits are those of the runtime.
    bool helper = context_.rootless && ::geteuid() != 0;
    TRY_VOID_CTX(
        sys::write_id_maps(pid, ranges(spec_.linux.uid_mappings), ranges(spec_.linux.gid_mappings), helper),
        "user namespace");
    return apply_from_outside(pid);
  };
  h.join_cgroup = [this](int pid) -> Result<std::vector<UniqueFd>> {
    if (cgroup_->needs_pid()) {
      TRY_VOID(make_cgroup(pid));
      return std::vector<UniqueFd>{};
    }
    TRY_VOID(make_cgroup(0));
    if (!input_.sync_created && plan_.staged) TRY_VOID(record_early(pid));
    return cgroup_->join_fds({}, born_in_v2_ ? JoinV2::kLeaveOut : JoinV2::kInclude);
  };
  h.net_devices = [this](int pid) -> Result<> {
    std::vector<sys::NetDeviceMove> moves;
    for (const auto& d : spec_.linux.net_devices) moves.push_back({d.name, d.new_name});
    return sys::move_net_devices(pid, moves);
  };
  h.hooks = [this](int pid, int pidfd) -> Result<> { return run_create_hooks(pid, pidfd); };
  h.created = [this](int pid) -> Result<> {
    if (!plan_.new_user_namespace) TRY_VOID(apply_from_outside(pid));
    if (spec_.linux.intel_rdt) {
      record_.resctrl_group = TRY(create_resctrl_group(*spec_.linux.intel_rdt, options_.id, pid));
      rollback_.push([this] { (void)remove_resctrl_group(record_.resctrl_group); });
    }
    TRY_VOID(record_created(pid));
    if (!run_ || spec_.hooks.start_container.empty()) return {};
    PidFd pidfd = TRY(sys::pidfd_open(pid));
    HookPlace place = container_place(pidfd.get());
    place.seccomp = &seccomp_;
    place.process = &*spec_.process;
    if (!cgroup_->record().paths.empty()) place.cgroup = cgroup_.get();
    if (!options_.no_new_keyring) place.keyring = "_ses." + options_.id;
    place.deny_setgroups = context_.rootless && spec_.linux.gid_mappings.size() <= 1;
    return run_hooks(spec_.hooks.start_container, "startContainer",
                     state_json(record_, spec_, Status::kCreated, pid), place);
  };
  h.console = [this](UniqueFd master) { return handover_.take_console(std::move(master)); };
  h.seccomp_listener = [this](UniqueFd listener, int pid) -> Result<> {
    return send_seccomp_listener(*spec_.linux.seccomp, listener.get(), pid,
                                 state_json(record_, spec_, Status::kCreating, pid));
  };
  return h;
}

Result<Started> Creation::go() {
  auto phase = [this](const char* name) {
    if (context_.phase) context_.phase(name);
  };
  TRY_VOID(reserve_descriptors(options_.preserve_fds));
  TRY_VOID(read_bundle());
  phase("config");
  TRY_VOID(check_terminal());
  TRY_VOID(open_state());
  TRY_VOID(plan_cgroup());
  TRY_VOID(dir_.save_new(record_));
  phase("state");
  TRY_VOID(open_inputs());
  phase("seccomp and inputs");
  UniqueFd cgroup_fd;
  // v2 takes part in the clone itself; joining it later makes the kernel wait for a grace period.
  bool into = !cgroup_->needs_pid() && host_cgroup_mode() == CgroupMode::kV2;
  born_in_cgroup_ = into;
  if (into) {
    TRY_VOID(make_cgroup(0));
    cgroup_fd = TRY(cgroup_->clone_fd());
  } else {
    cgroup_fd = TRY(cgroup_->enter_early());
    born_in_v2_ = static_cast<bool>(cgroup_fd);
  }
  TRY_VOID(compile());
  phase("plan");
  LaunchArgs args;
  args.plan = &plan_;
  args.cgroup_fd = cgroup_fd.get();
  args.waits_for_start = !run_;
  LaunchHandlers h = handlers();
  if (into)
    h.join_cgroup = [this](int pid) -> Result<std::vector<UniqueFd>> {
      if (!input_.sync_created && plan_.staged) TRY_VOID(record_early(pid));
      return std::vector<UniqueFd>{};
    };
  Launched child = TRY(launch(args, h));
  rollback_.push([&] {
    (void)sys::pidfd_signal(child.pidfd.get(), SIGKILL);
    (void)sys::wait_pidfd(child.pidfd.get());
  });
  TRY_VOID(handover_.send_pidfd(child.pidfd.get()));
  if (run_ && !spec_.hooks.poststart.empty()) {
    HookPlace host;
    host.directory = record_.bundle;
    TRY_VOID(run_hooks(spec_.hooks.poststart, "poststart",
                       state_json(record_, spec_, Status::kRunning, child.pid), host));
  }
  rollback_.commit();
  Started started;
  started.pid = child.pid;
  started.pidfd = std::move(child.pidfd);
  started.console = handover_.console();
  return started;
}

}  // namespace

Result<> reserve_descriptors(int count) {
  for (int fd = 3; fd < 3 + count; fd++) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // Close-on-exec: the place is empty again for the process.
    int placeholder = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (placeholder < 0) return fail(Error::os("--preserve-fds: open", "/dev/null"));
    if (placeholder == fd) continue;
    int moved = ::dup3(placeholder, fd, O_CLOEXEC);
    UniqueFd unused(placeholder);
    if (moved < 0) return fail(Error::os("--preserve-fds: reserve descriptor", std::to_string(fd)));
  }
  return {};
}

Result<Started> create_container(const RuntimeContext& context, const CreateOptions& options) {
  Creation creation(context, options, false);
  return creation.go();
}

Result<Started> run_container(const RuntimeContext& context, const CreateOptions& options) {
  Creation creation(context, options, true);
  return creation.go();
}

}  // namespace onggi::runtime
