// `restore`: a new container whose processes CRIU makes from images.
//
// The order is that of create: state directory (decides who owns the id) -> record "creating" -> cgroup ->
// criu. criu itself is put into the container's cgroup before it gets its request, so every process that it
// forks is inside from its first instruction, and `delete --force` finds them all after a kill -9 at any
// point. It runs in a mount namespace of its own, where the root file system is mounted as it demands (a
// mount whose parent is visible); nothing of that is ever seen on the host. The record becomes "created"
// while criu waits for the answer to post-restore, before the first process continues.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <optional>

#include "base/file.h"
#include "base/json.h"
#include "base/scope.h"
#include "runtime/bundle.h"
#include "runtime/cgroup_owner.h"
#include "runtime/checkpoint.h"
#include "runtime/compile.h"
#include "runtime/handover.h"
#include "runtime/hooks.h"
#include "runtime/resctrl.h"
#include "sys/mount.h"

namespace onggi::runtime {

namespace {

constexpr const char* kLogFile = "restore.log";

bool is_bind(const oci::Mount& mount) {
  return mount.type == "bind" || std::any_of(mount.options.begin(), mount.options.end(),
                                             [](const auto& o) { return o == "bind" || o == "rbind"; });
}

bool is_below(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

// criu mounts, but makes no mount points. A fresh copy of the root (an image imported on another host) lacks
// those that create had made. What lies on a tmpfs comes back with its content; what lies in a bind mount is
// made in its source.
Result<> make_mount_points(const oci::Spec& spec, const std::string& rootfs) {
  for (size_t i = 0; i < spec.mounts.size(); i++) {
    const oci::Mount& m = spec.mounts[i];
    std::string destination = clean_path(m.destination), base = rootfs, inside = destination;
    if (m.type == "cgroup" || m.type == "cgroup2" || destination == "/") continue;
    const oci::Mount* holder = nullptr;
    size_t longest = 0;
    for (size_t j = 0; j < i; j++) {
      std::string candidate = clean_path(spec.mounts[j].destination);
      if (!is_below(destination, candidate) || candidate.size() < longest) continue;
      holder = &spec.mounts[j];
      longest = candidate.size();
    }
    if (holder) {
      if (!is_bind(*holder)) continue;
      base = holder->source;
      inside = destination.substr(longest);
    }
    struct stat st;
    bool directory = true;
    if (is_bind(m)) {
      if (::stat(m.source.c_str(), &st) < 0)
        return fail(Error::os("mount " + destination + ": find the source", m.source));
      directory = S_ISDIR(st.st_mode);
    }
    UniqueFd root = TRY(open_at(AT_FDCWD, base, O_PATH | O_DIRECTORY));
    (void)TRY_CTX(sys::ensure_in_root(root.get(), inside, directory), "mount " + destination);
  }
  return {};
}

class Restoration {
 public:
  Restoration(const RuntimeContext& context, const RestoreOptions& options)
      : context_(context), o_(options) {}
  Result<Started> go();

 private:
  Result<> read_inputs();
  Result<> check_terminal();
  Result<> open_state();
  Result<> add_restore_options();
  Result<> add_namespaces();
  Result<> start_criu();
  void end_processes();
  Result<> enter_cgroup();
  Result<> on_event(CriuEvent& event);
  Result<> record_restored(int pid);
  Result<> run_create_hooks(int pid);

  const RuntimeContext& context_;
  const RestoreOptions& o_;
  LoadedBundle bundle_;
  StateRecord record_;
  StateDir dir_;
  CriuDirectories directories_;
  ProtoWriter request_;
  std::unique_ptr<Cgroup> cgroup_;
  std::vector<UniqueFd> namespaces_;
  Handover handover_;
  std::optional<CriuSession> session_;
  PidFd init_;
  Rollback rollback_;
};

// Reads what must be there before anything is made.
Result<> Restoration::read_inputs() {
  bundle_ = TRY(load_bundle(o_.bundle, "", context_.warn));
  TRY_VOID(check_criu_can(context_, bundle_.spec));
  directories_ = TRY(open_criu_directories(o_, kLogFile, false));
  std::string incomplete = "'" + o_.image_path + "' holds no complete checkpoint: ";
  auto text = read_file_at(directories_.images.get(), kDescriptorsFile, 1 << 16);
  if (!text && text.error().os_errno() == ENOENT)
    return fail(Error::not_found(incomplete + kDescriptorsFile +
                                 " is missing (a pre-dump, a dump that failed, or another directory)"));
  if (!text) return fail(std::move(text).error());
  if (directories_.fresh) return fail(Error::not_found(incomplete + "there are no image files"));
  TRY_VOID(check_images(directories_.images.get(), o_.image_path));
  request_ = TRY(common_request(o_, kLogFile, bundle_.spec));
  JsonDocument document = TRY(JsonDocument::parse(*text, o_.image_path + "/" + kDescriptorsFile));
  JsonValue list = document.root();
  if (list.kind() != JsonValue::Kind::kArray || list.size() > 3)
    return fail(Error::invalid(incomplete + kDescriptorsFile + " is not a list of up to three streams"));
  for (size_t fd = 0; fd < list.size(); fd++) {
    JsonValue stream = list.element(fd);
    if (stream.kind() != JsonValue::Kind::kString)
      return fail(Error::invalid(incomplete + kDescriptorsFile + " holds something other than strings"));
    std::string_view name = stream.string();
    // What led out of the container leads to this command's own streams now.
    if (!name.starts_with("pipe:") && !name.starts_with("file[")) continue;
    ProtoWriter inherited;
    inherited.text(1, name);
    inherited.number(2, fd);
    request_.message(kInheritFd, inherited);
  }
  return {};
}

Result<> Restoration::check_terminal() {
  bool terminal = bundle_.spec.process->terminal;
  if (terminal && o_.detach && o_.console_socket.empty())
    return fail(
        Error::invalid("cannot restore a container with a terminal detached without --console-socket, which "
                       "gets the terminal"));
  if (!terminal && !o_.console_socket.empty())
    return fail(Error::invalid("option --console-socket: the container has no terminal (process.terminal)"));
  return handover_.connect(o_.console_socket, o_.pidfd_socket);
}

Result<> Restoration::open_state() {
  record_.id = o_.id;
  record_.bundle = bundle_.bundle;
  record_.rootfs = bundle_.rootfs;
  dir_ = TRY(StateDir::create(context_.root, o_.id));
  rollback_.push([this] { (void)dir_.remove(); });
  record_.created = now_rfc3339();
  record_.owner = ::getuid() == 0 ? "root" : std::to_string(::getuid());
  record_.phase = "creating";
  CgroupConfig config;
  config.id = o_.id;
  config.cgroups_path = bundle_.spec.linux.cgroups_path;
  config.systemd = context_.systemd_cgroup;
  config.disabled = context_.no_cgroup;
  config.annotations = bundle_.spec.annotations;
  config.owner_uid = cgroup_owner(bundle_.spec);
  cgroup_ = TRY_CTX(Cgroup::plan(config), "cgroup");
  record_.cgroup = cgroup_->record();
  TRY_VOID(dir_.save_new(record_));
  return dir_.save_config(bundle_.config);
}

Result<> Restoration::add_restore_options() {
  request_.number(kRestoreSibling, 1);  // init becomes this process's child
  request_.number(kEvasiveDevices, 1);
  char place[PATH_MAX];  // criu has another working directory than the caller who named --root
  if (!::realpath(dir_.path().c_str(), place)) return fail(Error::os("find the directory", dir_.path()));
  request_.text(kRoot, std::string(place) + "/root");
  if (!o_.lsm_profile.empty()) request_.text(kLsmProfile, o_.lsm_profile);
  if (!o_.lsm_mount_context.empty()) request_.text(kLsmMountContext, o_.lsm_mount_context);
  for (const auto& [name, source] : external_sources(bundle_.spec))
    add_pair(request_, kExtMount, name, source);
  return add_namespaces();
}

Result<> Restoration::add_namespaces() {
  for (const auto& e : external_namespaces(bundle_.spec)) {
    NsFd fd = TRY(sys::open_namespace(e.ns->path, oci::clone_flag(e.ns->type), e.kind));
    struct stat own, theirs;
    if (::stat((std::string("/proc/self/ns/") + e.kind).c_str(), &own) == 0 &&
        ::fstat(fd.get(), &theirs) == 0 && own.st_ino == theirs.st_ino)
      continue;  // the host's: criu stays in it anyway
    ProtoWriter inherited;
    inherited.text(1, e.name);
    inherited.number(2, static_cast<uint64_t>(fd.get()));
    request_.message(kInheritFd, inherited);
    namespaces_.push_back(std::move(fd));
  }
  for (const auto& ns : bundle_.spec.linux.namespaces) {
    if (ns.path.empty() || ns.type == oci::NamespaceType::kNetwork || ns.type == oci::NamespaceType::kPid)
      continue;
    const char* kind = ns.type == oci::NamespaceType::kMount ? "mnt" : oci::to_string(ns.type);
    add_pair(request_, kJoinNs, kind, ns.path);
  }
  return {};
}

Result<> Restoration::start_criu() {
  std::vector<int> inherit;
  for (const auto& fd : namespaces_) inherit.push_back(fd.get());
  {
    sys::OwnMounts mounts = TRY(sys::OwnMounts::enter());
    TRY_VOID(mounts.mount_root(bundle_.rootfs, dir_.path()));
    // Opened once more, in there: criu works in this directory and mounts below it, which the kernel allows
    // only on mounts of one's own namespace.
    directories_ = TRY(open_criu_directories(o_, kLogFile, false));
    add_directories(request_, directories_);
    session_ = TRY(CriuSession::start(inherit, false));
  }
  rollback_.push([this] { end_processes(); });
  return {};
}

void Restoration::end_processes() {
  session_->finish();
  if (!init_) return;
  (void)sys::pidfd_signal(init_.get(), SIGKILL);
  (void)sys::wait_pidfd(init_.get());
  init_.reset();
}

Result<> Restoration::enter_cgroup() {
  oci::Resources none;
  const auto& asked = bundle_.spec.linux.resources;
  const oci::Resources& resources = asked && !context_.no_cgroup ? *asked : none;
  int pid = session_->pid();
  TRY_VOID_CTX(cgroup_->needs_pid() ? cgroup_->create_for_pid(pid, resources) : cgroup_->create(resources),
               "cgroup");
  rollback_.push([this] {
    (void)cgroup_->signal_all(SIGKILL);
    end_processes();  // reaped, or their zombies would keep the cgroup
    (void)cgroup_->destroy();
  });
  record_.cgroup = cgroup_->record();
  TRY_VOID(dir_.save(record_));
  if (record_.cgroup.paths.empty()) return {};
  if (!cgroup_->needs_pid()) {
    std::vector<UniqueFd> files = TRY(cgroup_->join_fds());
    for (const auto& file : files)
      TRY_VOID_CTX(write_all(file.get(), std::to_string(pid), "cgroup"), "cgroup");
  }
  // Where the container's cgroups of the images go: those that criu is in now.
  std::string text = TRY(read_file("/proc/" + std::to_string(pid) + "/cgroup"));
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    add_pair(request_, kCgroupRoot, line.substr(first + 1, second - first - 1), line.substr(second + 1));
  }
  return {};
}

Result<> Restoration::run_create_hooks(int pid) {
  const oci::Hooks& hooks = bundle_.spec.hooks;
  HookPlace host;
  host.directory = record_.bundle;
  std::string state = state_json(record_, bundle_.spec, Status::kCreating, pid);
  TRY_VOID(run_hooks(hooks.prestart, "prestart", state, host));
  return run_hooks(hooks.create_runtime, "createRuntime", state, host);
}

Result<> Restoration::record_restored(int pid) {
  init_ = TRY(sys::pidfd_open(pid));
  auto start = sys::start_time(pid);
  if (!start) return fail(Error::internal("the restored process vanished before it was recorded"));
  record_.pid = pid;
  record_.start_time = *start;
  record_.phase = "created";
  if (bundle_.spec.linux.intel_rdt) {
    record_.resctrl_group = TRY(create_resctrl_group(*bundle_.spec.linux.intel_rdt, o_.id, pid));
    rollback_.push([this] { (void)remove_resctrl_group(record_.resctrl_group); });
  }
  TRY_VOID(dir_.save(record_));
  if (!o_.pid_file.empty()) {
    TRY_VOID(write_pid_file(o_.pid_file, pid));
    rollback_.push([this] { (void)::unlink(o_.pid_file.c_str()); });
  }
  return handover_.send_pidfd(init_.get());
}

Result<> Restoration::on_event(CriuEvent& event) {
  if (event.script == "setup-namespaces") return run_create_hooks(event.pid);
  if (event.script == "post-restore") return record_restored(event.pid);
  if (event.script != "orphan-pts-master") return {};
  if (!event.fd) return fail(Error::internal("criu announced a terminal and sent none"));
  return handover_.take_console(std::move(event.fd));
}

Result<Started> Restoration::go() {
  TRY_VOID(read_inputs());
  TRY_VOID(check_terminal());
  TRY_VOID(open_state());
  TRY_VOID(make_mount_points(bundle_.spec, bundle_.rootfs));
  TRY_VOID(add_restore_options());
  TRY_VOID(start_criu());
  TRY_VOID(enter_cgroup());
  auto answer = session_->call(CriuRequest::kRestore, request_, [this](CriuEvent& e) { return on_event(e); });
  if (!answer) {
    Error error = explain_criu_failure(std::move(answer).error(), directories_.log_path);
    if (!bundle_.spec.linux.uid_mappings.empty() &&
        error.text().find("Permission denied") != std::string::npos)
      error = Error(error.kind(),
                    error.text() +
                        "; criu reads the images as root of the user namespace, which needs "
                        "leave to enter the directory",
                    error.os_errno());
    return fail(error.wrap("container \"" + o_.id + "\" could not be restored from " + o_.image_path));
  }
  session_->finish();
  if (!init_) return fail(Error::internal("criu restored the container without saying so (no post-restore)"));
  rollback_.commit();
  Started started;
  started.pid = record_.pid;
  started.pidfd = std::move(init_);
  started.console = handover_.console();
  return started;
}

}  // namespace

Result<Started> restore_container(const RuntimeContext& context, const RestoreOptions& options) {
  Restoration restoration(context, options);
  return restoration.go();
}

}  // namespace onggi::runtime
