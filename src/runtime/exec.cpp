// `exec`: a further process in a running container.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/file.h"
#include "base/scope.h"
#include "oci/check.h"
#include "oci/parse.h"
#include "policy/seccomp.h"
#include "runtime/compile.h"
#include "runtime/container.h"
#include "runtime/handover.h"
#include "runtime/launch.h"
#include "runtime/notify.h"
#include "runtime/resctrl.h"
#include "sys/mount.h"

namespace onggi::runtime {

namespace {

struct NamespaceName {
  uint64_t flag;
  const char* name;
};
constexpr NamespaceName kNamespaces[] = {
    {CLONE_NEWUSER, "user"}, {CLONE_NEWNS, "mnt"},  {CLONE_NEWPID, "pid"},       {CLONE_NEWNET, "net"},
    {CLONE_NEWIPC, "ipc"},   {CLONE_NEWUTS, "uts"}, {CLONE_NEWCGROUP, "cgroup"}, {0x80, "time"}};

// Namespaces of `pid` that are not this process's own: joining one's own user namespace is an error.
uint64_t foreign_namespaces(int pid) {
  uint64_t flags = 0;
  for (const auto& ns : kNamespaces) {
    struct stat own, theirs;
    std::string name = ns.name;
    if (::stat(("/proc/self/ns/" + name).c_str(), &own) == 0 &&
        ::stat(("/proc/" + std::to_string(pid) + "/ns/" + name).c_str(), &theirs) == 0 &&
        own.st_ino != theirs.st_ino)
      flags |= ns.flag;
  }
  return flags;
}

oci::Process build_process(const ExecOptions& o, const oci::Spec& spec) {
  oci::Process p = o.process ? *o.process : *spec.process;
  if (!o.process) {
    p.terminal = o.tty;
    p.console_size.reset();
    if (!o.args.empty()) p.args = o.args;
    p.exec_cpu_affinity.reset();
    if (spec.process->exec_cpu_affinity) p.exec_cpu_affinity = spec.process->exec_cpu_affinity;
  }
  if (o.tty) p.terminal = true;
  for (const auto& e : o.env) p.env.push_back(e);
  if (o.cwd) p.cwd = *o.cwd;
  if (o.apparmor) p.apparmor_profile = *o.apparmor;
  if (o.selinux_label) p.selinux_label = *o.selinux_label;
  if (o.uid) p.user.uid = *o.uid;
  if (o.gid) p.user.gid = *o.gid;
  p.user.additional_gids.insert(p.user.additional_gids.end(), o.additional_gids.begin(),
                                o.additional_gids.end());
  if (o.no_new_privileges) p.no_new_privileges = *o.no_new_privileges;
  if (!o.capabilities.empty()) {
    if (!p.capabilities) p.capabilities.emplace();
    // As runc: ambient capabilities must be inheritable, and --cap makes nothing inheritable.
    for (auto* set : {&p.capabilities->bounding, &p.capabilities->effective, &p.capabilities->permitted})
      set->insert(set->end(), o.capabilities.begin(), o.capabilities.end());
    const auto& inheritable = p.capabilities->inheritable;
    for (const auto& cap : o.capabilities)
      if (std::find(inheritable.begin(), inheritable.end(), cap) != inheritable.end())
        p.capabilities->ambient.push_back(cap);
  }
  return p;
}

}  // namespace

void add_listen_environment(int count, oci::Process& process) {
  if (count <= 0) return;
  process.env.push_back("LISTEN_FDS=" + std::to_string(count));
  process.env.push_back("LISTEN_PID=1");
  if (const char* names = ::getenv("LISTEN_FDNAMES"))
    process.env.push_back(std::string("LISTEN_FDNAMES=") + names);
}

namespace {

class Execution {
 public:
  Execution(const RuntimeContext& context, const ExecOptions& options)
      : context_(context), options_(options) {}
  Result<Started> go();

 private:
  Result<> open_container();
  Result<> compile();
  Result<> open_sockets();
  LaunchHandlers handlers();
  Result<Launched> launch_in_cgroup(LaunchArgs& args);

  const RuntimeContext& context_;
  const ExecOptions& options_;
  StateRecord record_;
  oci::Spec spec_;
  oci::Process process_;
  PidFd init_;
  UniqueFd proc_;
  Handover handover_;
  policy::SeccompProgram seccomp_;
  std::unique_ptr<Cgroup> cgroup_;
  CompiledPlan plan_;
};

Result<> Execution::open_container() {
  StateDir dir = TRY(StateDir::open(context_.root, options_.id));
  record_ = TRY(dir.load());
  Status status = current_status(dir, record_);
  if (status == Status::kPaused && !options_.ignore_paused)
    return fail(Error::busy("cannot exec in a paused container (use --ignore-paused to override)"));
  if (status == Status::kStopped || status == Status::kCreating)
    return fail(
        Error::busy("cannot exec in a stopped container: \"" + options_.id + "\" is " + to_string(status)));
  init_ = TRY(sys::pidfd_open(record_.pid));
  if (sys::start_time(record_.pid) != record_.start_time)
    return fail(Error::busy("cannot exec in a stopped container"));
  std::string config = TRY(dir.config_json());
  spec_ = TRY(oci::parse_spec(config));
  if (!record_.cgroup.paths.empty()) cgroup_ = TRY(Cgroup::load(record_.cgroup));
  return {};
}

Result<> Execution::open_sockets() {
  if (!options_.console_socket.empty() && !process_.terminal)
    return fail(Error::invalid("cannot use console socket if the process has no terminal: add --tty"));
  return handover_.connect(options_.console_socket, options_.pidfd_socket);
}

Result<> Execution::compile() {
  std::vector<std::string> warnings;
  TRY_VOID_CTX(oci::check_process(process_, &warnings), "exec");
  if (context_.warn)
    for (const auto& w : warnings) context_.warn(w);
  JoinInput in;
  in.process = &process_;
  in.linux = &spec_.linux;
  in.pidfd = init_.get();
  in.namespaces = foreign_namespaces(record_.pid);
  in.user_namespace = (in.namespaces & CLONE_NEWUSER) != 0;
  in.preserve_fds = options_.preserve_fds;
  in.join_cgroup = cgroup_ != nullptr;
  in.rootless = context_.rootless && spec_.linux.gid_mappings.size() <= 1;
  if (spec_.linux.seccomp) {
    seccomp_ = TRY(policy::compile_seccomp(*spec_.linux.seccomp));
    in.seccomp = &seccomp_;
  }
  if (!process_.apparmor_profile.empty() || !process_.selinux_label.empty()) {
    proc_ = TRY(sys::private_proc());
    in.proc_fd = proc_.get();
    in.apparmor = apparmor_enabled();
    in.selinux = selinux_enabled();
  }
  in.keyring = "_ses." + record_.id;
  plan_ = TRY(compile_join(in));
  return {};
}

LaunchHandlers Execution::handlers() {
  LaunchHandlers h;
  h.phase = context_.phase;
  h.warning = context_.warn;
  h.created = [this](int pid) -> Result<> {
    if (!record_.resctrl_group.empty()) TRY_VOID(join_resctrl_group(record_.resctrl_group, pid));
    if (process_.oom_score_adj) {
      auto r = write_file("/proc/" + std::to_string(pid) + "/oom_score_adj",
                          std::to_string(*process_.oom_score_adj));
      if (!r && !context_.rootless) return r;
    }
    return options_.pid_file.empty() ? Result<>{} : write_pid_file(options_.pid_file, pid);
  };
  h.console = [this](UniqueFd master) { return handover_.take_console(std::move(master)); };
  h.seccomp_listener = [this](UniqueFd listener, int pid) -> Result<> {
    return send_seccomp_listener(*spec_.linux.seccomp, listener.get(), pid,
                                 state_json(record_, spec_, Status::kRunning, record_.pid));
  };
  return h;
}

// The clone itself joins the v2 tree; a write would make the kernel wait for a grace period.
Result<Launched> Execution::launch_in_cgroup(LaunchArgs& args) {
  LaunchHandlers h = handlers();
  if (!cgroup_) return launch(args, h);
  for (int attempt = 0;; attempt++) {
    oci::StringMap sub = options_.sub_cgroup;
    if (sub.empty()) sub = TRY(cgroup_->exec_sub_cgroup(record_.pid));
    UniqueFd cgroup_fd = TRY(cgroup_->clone_fd(sub));
    JoinV2 v2 = cgroup_fd ? JoinV2::kLeaveOut : JoinV2::kInclude;
    h.join_cgroup = [this, sub, v2](int) { return cgroup_->join_fds(sub, v2); };
    args.cgroup_fd = cgroup_fd.get();
    auto launched = launch(args, h);
    args.cgroup_fd = -1;
    // The container may have enabled controllers for its children a moment ago, which closes its own cgroup.
    if (launched || launched.error().os_errno() != EBUSY || attempt == 2) return launched;
  }
}

Result<Started> Execution::go() {
  TRY_VOID(reserve_descriptors(options_.preserve_fds));
  TRY_VOID(open_container());
  process_ = build_process(options_, spec_);
  add_listen_environment(options_.listen_fds, process_);
  TRY_VOID(open_sockets());
  TRY_VOID(compile());
  if (context_.phase) context_.phase("config and plan");
  LaunchArgs args;
  args.plan = &plan_;
  Launched child = TRY(launch_in_cgroup(args));
  TRY_VOID(handover_.send_pidfd(child.pidfd.get()));
  Started started;
  started.pid = child.pid;
  started.pidfd = std::move(child.pidfd);
  started.console = handover_.console();
  return started;
}

}  // namespace

Result<Started> exec_in_container(const RuntimeContext& context, const ExecOptions& options) {
  Execution execution(context, options);
  return execution.go();
}

}  // namespace onggi::runtime
