// State-changing commands on containers that exist: start, kill, delete, pause, resume, update.
#include "runtime/container.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <functional>

#include "base/file.h"
#include "base/json.h"
#include "oci/parse.h"
#include "policy/seccomp.h"
#include "runtime/hooks.h"
#include "runtime/plan.h"
#include "runtime/resctrl.h"

namespace onggi::runtime {

std::string state_json(const StateRecord& record, const oci::Spec& spec, Status status, int pid,
                       std::string_view indent) {
  JsonWriter w(indent);
  w.begin_object();
  w.member("ociVersion", spec.oci_version.empty() ? oci::kSpecVersion : spec.oci_version.c_str());
  w.member("id", record.id);
  w.member_number("pid", pid);
  w.member("status", to_string(status));
  w.member("bundle", record.bundle);
  w.member("rootfs", record.rootfs);
  w.member("created", record.created);
  if (!spec.annotations.empty()) {
    w.key("annotations");
    json_write(w, spec.annotations);
  }
  w.member("owner", record.owner);
  w.end_object();
  return w.take();
}

namespace {

struct Opened {
  StateDir dir;
  StateRecord record;
};

Result<Opened> open_locked(const RuntimeContext& context, const std::string& id) {
  StateDir dir = TRY(StateDir::open(context.root, id));
  TRY_VOID(dir.lock());
  StateRecord record = TRY(dir.load());
  return Opened{std::move(dir), std::move(record)};
}

Result<oci::Spec> load_spec(const StateDir& dir) {
  std::string json = TRY(dir.config_json());
  return oci::parse_spec(json);
}

uint64_t namespace_flags(const oci::Spec& spec) {
  uint64_t flags = 0;
  for (const auto& ns : spec.linux.namespaces) flags |= oci::clone_flag(ns.type);
  return flags;
}

// One byte into the FIFO that init reads. ENXIO: nobody reads.
Result<> tell_start(int dirfd) {
  UniqueFd fifo = TRY(open_at(dirfd, "exec.fifo", O_WRONLY | O_NONBLOCK | O_NOFOLLOW));
  return write_all(fifo.get(), "S", "exec.fifo");
}

// Reads what init reports until its end of the status FIFO is closed, which exec does.
Result<> await_exec(int status_fd, const PidFd& pidfd, const std::function<Result<>()>& hooks) {
  for (;;) {
    pollfd fds[2] = {{status_fd, POLLIN, 0}, {pidfd.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR)
      return fail(Error::os("wait for the container's process", ""));
    if (fds[0].revents & POLLIN) {
      ChildMessage m;
      ssize_t n = ::read(status_fd, &m, sizeof m);
      if (n == 0) return {};
      if (n != sizeof m) continue;
      if (m.kind == ChildMessageKind::kSync) {
        TRY_VOID(hooks());
        continue;
      }
      std::string detail(m.detail, strnlen(m.detail, sizeof m.detail));
      return fail(Error(ErrorKind::kOs,
                        "start the container's process (step " + std::to_string(m.step) +
                            "): " + (detail.empty() ? "" : detail + ": ") + errno_text(m.error),
                        m.error));
    }
    if (fds[0].revents & POLLHUP) return {};
    if (fds[1].revents) return {};  // it ran and ended already, or was killed: `state` will say so
  }
}

Result<> start_locked(Opened& c) {
  oci::Spec spec = TRY(load_spec(c.dir));
  PidFd pidfd = TRY(sys::pidfd_open(c.record.pid));
  UniqueFd status = TRY(open_at(c.dir.fd(), "status.fifo", O_RDONLY | O_NONBLOCK | O_NOFOLLOW));
  TRY_VOID(tell_start(c.dir.fd()));
  auto hooks = [&]() -> Result<> {
    HookPlace place;
    place.container_pidfd = pidfd.get();
    place.namespaces =
        namespace_flags(spec) & ~static_cast<uint64_t>(CLONE_NEWUSER | 0x80 /* CLONE_NEWTIME */);
    place.user_namespace = (namespace_flags(spec) & CLONE_NEWUSER) != 0;
    if (place.user_namespace) place.namespaces |= CLONE_NEWUSER;
    policy::SeccompProgram seccomp;
    if (spec.linux.seccomp) seccomp = TRY(policy::compile_seccomp(*spec.linux.seccomp));
    place.seccomp = &seccomp;
    place.process = &*spec.process;
    place.keyring = "_ses." + c.record.id;
    place.deny_setgroups = c.record.rootless && spec.linux.gid_mappings.size() <= 1;
    std::unique_ptr<Cgroup> cgroup;
    if (!c.record.cgroup.paths.empty()) cgroup = TRY(Cgroup::load(c.record.cgroup));
    place.cgroup = cgroup.get();
    TRY_VOID(run_hooks(spec.hooks.start_container, "startContainer",
                       state_json(c.record, spec, Status::kCreated, c.record.pid), place));
    return tell_start(c.dir.fd());
  };
  auto started = await_exec(status.get(), pidfd, hooks);
  if (!started) {
    (void)sys::pidfd_signal(pidfd.get(), SIGKILL);
    return started;
  }
  (void)::unlinkat(c.dir.fd(), "exec.fifo", 0);
  (void)::unlinkat(c.dir.fd(), "status.fifo", 0);
  if (spec.hooks.poststart.empty()) return {};
  HookPlace place;
  place.directory = c.record.bundle;
  auto r = run_hooks(spec.hooks.poststart, "poststart",
                     state_json(c.record, spec, Status::kRunning, c.record.pid), place);
  // runtime.md, lifecycle step 10: a failing poststart hook stops the container.
  if (!r) (void)sys::pidfd_signal(pidfd.get(), SIGKILL);
  return r;
}

}  // namespace

Result<> start_container(const RuntimeContext& context, const std::string& id) {
  Opened c = TRY(open_locked(context, id));
  Status status = current_status(c.dir, c.record, false);
  switch (status) {
    case Status::kCreated:
      break;
    case Status::kStopped:
      return fail(Error::busy("cannot start a container that has stopped"));
    case Status::kRunning:
    case Status::kPaused:
      return fail(Error::busy("cannot start an already running container"));
    case Status::kCreating:
      return fail(Error::busy("cannot start a container that is still being created"));
  }
  return start_locked(c);
}

Result<> kill_container(const RuntimeContext& context, const std::string& id, int signal, bool all) {
  StateDir dir = TRY(StateDir::open(context.root, id));
  StateRecord record = TRY(dir.load());
  Status status = current_status(dir, record, false);
  bool own_pids = true;
  if (auto spec = load_spec(dir)) {
    own_pids = false;
    for (const auto& ns : spec->linux.namespaces)
      own_pids |= ns.type == oci::NamespaceType::kPid && ns.path.empty();
  }
  // Without a pid namespace of its own the other processes outlive init, and only the cgroup finds them.
  bool by_cgroup = all || (signal == SIGKILL && !own_pids);
  if (by_cgroup && !record.cgroup.paths.empty() && !record.cgroup_only_planned()) {
    auto cgroup = TRY(Cgroup::load(record.cgroup));
    if (!all && status == Status::kStopped && TRY(cgroup->pids()).empty())
      return fail(Error(ErrorKind::kNotFound, "container not running"));
    return cgroup->signal_all(signal);
  }
  if (status == Status::kStopped || record.pid <= 0)
    return fail(Error(ErrorKind::kNotFound, "container not running"));
  PidFd pidfd = TRY(sys::pidfd_open(record.pid));
  // The pid may have been reused between the look and the open.
  if (sys::start_time(record.pid) != record.start_time)
    return fail(Error(ErrorKind::kNotFound, "container not running"));
  TRY_VOID(sys::pidfd_signal(pidfd.get(), signal));
  if (signal == SIGKILL && !record.cgroup.paths.empty()) {
    // A frozen process does not die; SIGKILL is a promise.
    auto cgroup = TRY(Cgroup::load(record.cgroup));
    auto frozen = cgroup->frozen();
    if (frozen && *frozen) TRY_VOID(cgroup->freeze(false));
  }
  return {};
}

namespace {

// Thaws the freezer cgroup in which the process is now (v1), or its v2 cgroup.
void thaw_own_cgroup(int pid) {
  auto text = read_file("/proc/" + std::to_string(pid) + "/cgroup", 65536);
  if (!text) return;
  size_t at = 0;
  while (at < text->size()) {
    size_t end = std::min(text->find('\n', at), text->size());
    std::string line = text->substr(at, end - at);
    at = end + 1;
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (controllers == "freezer")
      (void)write_file("/sys/fs/cgroup/freezer" + path + "/freezer.state", "THAWED");
    else if (controllers.empty())
      (void)write_file("/sys/fs/cgroup" + path + "/cgroup.freeze", "0");
  }
}

Result<> kill_and_wait(const Opened& c, Cgroup* cgroup) {
  if (cgroup) TRY_VOID(cgroup->signal_all(SIGKILL));
  if (c.record.pid <= 0 || sys::start_time(c.record.pid) != c.record.start_time) return {};
  auto pidfd = sys::pidfd_open(c.record.pid);
  if (!pidfd) return {};
  (void)sys::pidfd_signal(pidfd->get(), SIGKILL);
  constexpr int kPatienceMs = 300, kWaitMs = 10000;
  if (sys::wait_exited(pidfd->get(), kPatienceMs)) return {};
  // Somebody moved it to another cgroup that is frozen: SIGKILL waits there until it is thawed.
  thaw_own_cgroup(c.record.pid);
  if (sys::wait_exited(pidfd->get(), kWaitMs)) return {};
  return fail(Error::busy("container's init (pid " + std::to_string(c.record.pid) +
                          ") is still alive 10 s after SIGKILL"));
}

// Ends what is left of the container's processes and removes its cgroup. The kernel removes only what is
// empty, so the cgroup of a stopped container goes without a look at its processes when they are all gone.
Result<> end_cgroup(const Opened& c, Cgroup* cgroup, Status status, bool force) {
  bool simple = status == Status::kStopped && cgroup && !c.record.cgroup.systemd;
  if (simple && cgroup->destroy_within(0)) return {};
  // Also for a stopped container: without a pid namespace its children may live on.
  if (force || status == Status::kCreated || (cgroup && !TRY(cgroup->pids()).empty()))
    TRY_VOID(kill_and_wait(c, cgroup));
  return cgroup ? cgroup->destroy() : Result<>{};
}

// runtime.md, lifecycle step 13: an error of a poststop hook is logged, and the remaining hooks run.
void run_poststop(const RuntimeContext& context, const StateRecord& record, const oci::Spec& spec) {
  HookPlace place;
  place.directory = record.bundle;
  for (const auto& hook : spec.hooks.poststop) {
    auto r = run_hooks({hook}, "poststop", state_json(record, spec, Status::kStopped, 0), place);
    if (!r && context.warn) context.warn(r.error().text());
  }
}

}  // namespace

Result<> delete_container(const RuntimeContext& context, const std::string& id, bool force) {
  auto opened = open_locked(context, id);
  if (!opened) {
    if (force && opened.error().kind() == ErrorKind::kNotFound) return {};
    return fail(std::move(opened).error());
  }
  Opened& c = *opened;
  // This command holds the lock: "creating" means that its creator died.
  Status status = c.record.phase == "creating" ? Status::kStopped : current_status(c.dir, c.record, false);
  if (!force && status != Status::kStopped && status != Status::kCreated)
    return fail(Error::busy("cannot delete container \"" + id + "\" that is not stopped: it is " +
                            to_string(status) + " (stop it first, or use --force)"));
  std::unique_ptr<Cgroup> cgroup;
  if (c.record.cgroup_only_planned()) {
    // A systemd unit that was started all the same ends with its only process, which notices its parent's
    // death.
    for (const auto& left : release_planned_cgroup(c.record.cgroup))
      if (context.warn)
        context.warn("delete container \"" + id + "\": cgroup '" + left +
                     "' is left alone: it is used by others, and the container was never in it");
  } else if (!c.record.cgroup.paths.empty() || !c.record.cgroup.unit.empty()) {
    cgroup = TRY(Cgroup::load(c.record.cgroup));
  }
  TRY_VOID_CTX(end_cgroup(c, cgroup.get(), status, force), "delete container \"" + id + "\"");
  if (!c.record.resctrl_group.empty()) TRY_VOID(remove_resctrl_group(c.record.resctrl_group));
  if (c.record.poststop_hooks)
    if (auto spec = load_spec(c.dir)) run_poststop(context, c.record, *spec);
  return c.dir.remove();
}

namespace {

Result<> set_frozen(const RuntimeContext& context, const std::string& id, bool frozen) {
  Opened c = TRY(open_locked(context, id));
  Status status = current_status(c.dir, c.record);
  if (frozen && status != Status::kRunning && status != Status::kCreated)
    return fail(Error::busy(std::string("cannot pause container: container not running, it is ") +
                            to_string(status)));
  if (!frozen && status != Status::kPaused) return fail(Error::busy("container not paused"));
  if (c.record.cgroup.paths.empty())
    return fail(Error::unsupported(
        "cannot pause a container without a cgroup; a rootless container needs a delegated cgroup "
        "(cgroup v2, systemd user session)"));
  auto cgroup = TRY(Cgroup::load(c.record.cgroup));
  return cgroup->freeze(frozen);
}

}  // namespace

Result<> pause_container(const RuntimeContext& context, const std::string& id) {
  return set_frozen(context, id, true);
}
Result<> resume_container(const RuntimeContext& context, const std::string& id) {
  return set_frozen(context, id, false);
}

Result<> update_container(const RuntimeContext& context, const std::string& id,
                          const oci::Resources& resources, const RdtUpdate& rdt) {
  Opened c = TRY(open_locked(context, id));
  Status status = current_status(c.dir, c.record, false);
  if (status == Status::kStopped)
    return fail(Error::busy("cannot update container \"" + id + "\": container not running"));
  if (c.record.cgroup.paths.empty())
    return fail(Error::unsupported("cannot update container \"" + id + "\": it has no cgroup"));
  auto cgroup = TRY(Cgroup::load(c.record.cgroup));
  if (rdt.l3_cache_schema || rdt.mem_bw_schema) {
    if (c.record.resctrl_group.empty())
      return fail(Error::invalid("cannot update container \"" + id +
                                 "\": it has no Intel RDT class (linux.intelRdt)"));
    oci::IntelRdt changes;
    changes.l3_cache_schema = rdt.l3_cache_schema.value_or("");
    changes.mem_bw_schema = rdt.mem_bw_schema.value_or("");
    TRY_VOID(update_resctrl_group(c.record.resctrl_group, changes));
  }
  return cgroup->update(resources);
}

Result<ContainerInfo> inspect_container(const RuntimeContext& context, const std::string& id) {
  StateDir dir = TRY(StateDir::open(context.root, id));
  ContainerInfo info;
  info.record = TRY(dir.load());
  info.status = current_status(dir, info.record);
  if (auto spec = load_spec(dir)) info.spec = std::move(*spec);
  return info;
}

}  // namespace onggi::runtime
