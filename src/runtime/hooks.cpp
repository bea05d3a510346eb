#include "runtime/hooks.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "runtime/cgroup.h"
#include "runtime/launch.h"
#include "runtime/notify.h"
#include "sys/mount.h"
#include "sys/process.h"

namespace onggi::runtime {

namespace {

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return fail(Error::os("make a pipe", ""));
  Pipe p;
  p.read = UniqueFd(ends[0]);
  p.write = UniqueFd(ends[1]);
  return p;
}

int64_t now_ms() {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<int64_t>(ts.tv_sec) * 1000 + ts.tv_nsec / 1000000;
}

// The process that a hook is in the container: with place.process its identity, but none of its words.
oci::Process hook_process(const oci::Hook& hook, const HookPlace& place) {
  oci::Process process;
  if (place.process) process = *place.process;
  process.args = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
  process.env = hook.env;
  process.cwd = "/";
  process.terminal = false;
  process.exec_cpu_affinity.reset();
  return process;
}

Result<Launched> start_in_container(const oci::Hook& hook, const HookPlace& place, int in, int out) {
  oci::Process process = hook_process(hook, place);
  JoinInput join;
  join.process = &process;
  join.pidfd = place.container_pidfd;
  join.namespaces = place.namespaces;
  join.user_namespace = place.user_namespace;
  join.bare = !place.process;
  // Nobody would answer this process's notifications.
  join.seccomp = place.seccomp && place.seccomp->notifies ? nullptr : place.seccomp;
  join.keyring = place.keyring;
  join.rootless = place.deny_setgroups;
  join.join_cgroup = place.cgroup != nullptr;
  UniqueFd proc;
  if (!process.apparmor_profile.empty() || !process.selinux_label.empty()) {
    proc = TRY(sys::private_proc());
    join.proc_fd = proc.get();
    join.apparmor = apparmor_enabled();
    join.selinux = selinux_enabled();
  }
  CompiledPlan plan = TRY(compile_join(join));
  plan.builder.set_program(process.args, process.env, {hook.path});
  LaunchArgs args;
  args.plan = &plan;
  args.bare = join.bare;
  args.stdio[0] = in;
  args.stdio[1] = args.stdio[2] = out;
  LaunchHandlers handlers;
  if (place.cgroup) handlers.join_cgroup = [&](int) { return place.cgroup->join_fds(); };
  return launch(args, handlers);
}

Result<Launched> start_on_host(const oci::Hook& hook, const HookPlace& place, int in, int out) {
  std::vector<const char*> argv, envp;
  if (hook.args.empty()) argv.push_back(hook.path.c_str());
  for (const auto& a : hook.args) argv.push_back(a.c_str());
  argv.push_back(nullptr);
  // Without an environment of its own a hook has the runtime's, as with runc and crun.
  for (char** e = environ; hook.env.empty() && *e; e++) envp.push_back(*e);
  for (const auto& e : hook.env) envp.push_back(e.c_str());
  envp.push_back(nullptr);
  sys::SpawnArgs args;
  args.exec_path = hook.path.c_str();
  args.argv = argv.data();
  args.envp = envp.data();
  args.stdio[0] = in;
  args.stdio[1] = args.stdio[2] = out;
  if (!place.directory.empty()) args.directory = place.directory.c_str();
  args.dies_with_caller = true;  // nobody else knows of it
  sys::Spawned s = TRY(sys::spawn(args));
  Launched l;
  l.pid = s.pid;
  l.pidfd = std::move(s.pidfd);
  return l;
}

// Feeds the state, collects output (the last 4 KiB are kept), and waits. Returns false when time ran out.
bool tend(const PidFd& pidfd, Pipe& in, Pipe& out, const std::string& state, int64_t deadline,
          std::string* output) {
  size_t sent = 0;
  (void)::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
  (void)::fcntl(out.read.get(), F_SETFL, O_NONBLOCK);
  auto drain = [&] {
    char block[4096];
    ssize_t n;
    while ((n = ::read(out.read.get(), block, sizeof block)) > 0) {
      output->append(block, static_cast<size_t>(n));
      if (output->size() > 8192) output->erase(0, output->size() - 4096);
    }
    return n == 0;
  };
  for (;;) {
    int64_t left = deadline < 0 ? -1 : deadline - now_ms();
    if (deadline >= 0 && left <= 0) return false;
    pollfd fds[3] = {{pidfd.get(), POLLIN, 0}, {out.read.get(), POLLIN, 0}, {in.write.get(), POLLOUT, 0}};
    int r = ::poll(fds, 3, static_cast<int>(left));
    if (r < 0 && errno != EINTR) return false;
    if (r <= 0) continue;
    if (fds[2].revents) {
      ssize_t n = ::write(in.write.get(), state.data() + sent, state.size() - sent);
      if (n > 0) sent += static_cast<size_t>(n);
      if (sent == state.size() || (n < 0 && errno != EAGAIN && errno != EINTR)) in.write.reset();
    }
    if (fds[1].revents && drain()) out.read.reset();
    if (fds[0].revents) {
      if (out.read) drain();
      return true;
    }
  }
}

Result<> run_hook(const oci::Hook& hook, const std::string& name, const std::string& state,
                  const HookPlace& place) {
  Pipe in = TRY(make_pipe()), out = TRY(make_pipe());
  auto started = place.container_pidfd >= 0 ? start_in_container(hook, place, in.read.get(), out.write.get())
                                            : start_on_host(hook, place, in.read.get(), out.write.get());
  if (!started) return fail(std::move(started).error().wrap(name));
  in.read.reset();
  out.write.reset();
  struct sigaction ignore = {}, before = {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &before);
  std::string output;
  int64_t deadline = hook.timeout ? now_ms() + static_cast<int64_t>(*hook.timeout) * 1000 : -1;
  bool ended = tend(started->pidfd, in, out, state, deadline, &output);
  ::sigaction(SIGPIPE, &before, nullptr);
  if (!ended) (void)sys::pidfd_signal(started->pidfd.get(), SIGKILL);
  sys::ExitStatus status = TRY(sys::wait_pidfd(started->pidfd.get()));
  std::string shown = output.empty() ? "" : "; it printed: " + std::string(trim(output));
  if (!ended)
    return fail(Error(ErrorKind::kOs, name + ": timed out after " + std::to_string(hook.timeout.value_or(0)) +
                                          " s and was killed" + shown));
  if (status.signalled)
    return fail(Error(ErrorKind::kOs, name + ": killed by signal " + std::to_string(status.value) + shown));
  if (status.value)
    return fail(Error(ErrorKind::kOs, name + ": exit status " + std::to_string(status.value) + shown));
  return {};
}

}  // namespace

Result<> run_hooks(const std::vector<oci::Hook>& hooks, const char* kind, const std::string& state,
                   const HookPlace& place) {
  for (size_t i = 0; i < hooks.size(); i++) {
    std::string name =
        std::string("error running ") + kind + " hook #" + std::to_string(i) + ": " + hooks[i].path;
    TRY_VOID(run_hook(hooks[i], name, state, place));
  }
  return {};
}

}  // namespace onggi::runtime
