// `checkpoint`.
//
// descriptors.json is the mark of a complete checkpoint: it is removed first, and written when criu has
// dumped everything and asks (post-dump) whether to go on and end the processes. So a dump that was killed
// half-way is never restored from, and when that file cannot be written, the processes live on.
#include "runtime/checkpoint.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "base/file.h"
#include "base/json.h"
#include "base/scope.h"
#include "oci/parse.h"

namespace onggi::runtime {

namespace {

constexpr const char* kLogFile = "dump.log";

std::string json_list(const std::vector<std::string>& words) {
  JsonWriter w;
  w.begin_array();
  for (const auto& word : words) w.string(word);
  w.end_array();
  return w.take();
}

// What criu and this command wrote there, but for the logs.
void remove_images(int dirfd) {
  struct Closer {
    void operator()(DIR* d) const { ::closedir(d); }
  };
  UniqueFd again(::openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::unique_ptr<DIR, Closer> dir(again ? ::fdopendir(again.get()) : nullptr);
  if (!dir) return;
  (void)again.release();
  while (dirent* e = ::readdir(dir.get())) {
    std::string_view name = e->d_name;
    if (name.ends_with(".img") || name == kDescriptorsFile || name == kManifestFile || name == "parent" ||
        name == "stats-dump")
      (void)::unlinkat(dirfd, e->d_name, 0);
  }
}

class Checkpoint {
 public:
  Checkpoint(const RuntimeContext& context, const CheckpointOptions& options)
      : context_(context), o_(options) {}
  Result<> go();

 private:
  Result<> open_container();
  Result<> check_parent();
  Result<> add_dump_options();
  Result<> add_outside();
  Result<> on_event(const CriuEvent& event);
  Result<> let_container_root_in();
  void continue_as_before();

  const RuntimeContext& context_;
  const CheckpointOptions& o_;
  StateDir dir_;
  StateRecord record_;
  oci::Spec spec_;
  bool was_paused_ = false;
  std::unique_ptr<Cgroup> cgroup_;
  CriuDirectories directories_;
  ProtoWriter request_;
  std::string streams_;
};

Result<> Checkpoint::open_container() {
  dir_ = TRY(StateDir::open(context_.root, o_.id));
  TRY_VOID(dir_.lock());
  record_ = TRY(dir_.load());
  Status status = current_status(dir_, record_);
  if (status != Status::kRunning && status != Status::kPaused)
    return fail(Error::busy("container \"" + o_.id + "\" cannot be checkpointed in " + to_string(status) +
                            " state; it must be running or paused"));
  was_paused_ = status == Status::kPaused;
  std::string config = TRY(dir_.config_json());
  spec_ = TRY(oci::parse_spec(config));
  if (!record_.cgroup.paths.empty()) cgroup_ = TRY(Cgroup::load(record_.cgroup));
  return check_criu_can(context_, spec_);
}

Result<> Checkpoint::check_parent() {
  if (o_.parent_path.empty()) return {};
  // The images keep this path as a symlink beside them, so that the pair can be moved.
  if (o_.parent_path[0] == '/')
    return fail(
        Error::invalid("option --parent-path: '" + o_.parent_path + "' must be relative to the image path"));
  struct stat st;
  if (::fstatat(directories_.images.get(), o_.parent_path.c_str(), &st, 0) < 0)
    return fail(Error::os("option --parent-path: find", o_.image_path + "/" + o_.parent_path));
  if (!S_ISDIR(st.st_mode))
    return fail(Error::invalid("option --parent-path: '" + o_.parent_path + "' is not a directory"));
  return {};
}

Result<> Checkpoint::add_dump_options() {
  request_.number(kPid, static_cast<uint64_t>(record_.pid));
  if (o_.leave_running) request_.number(kLeaveRunning, 1);
  if (o_.link_remap) request_.number(kLinkRemap, 1);
  if (o_.tcp_skip_in_flight) request_.number(kTcpSkipInFlight, 1);
  if (!o_.parent_path.empty()) request_.text(kParentImages, o_.parent_path);
  // Also without a parent: the next dump needs to know what has changed since this one.
  if (o_.pre_dump || !o_.parent_path.empty()) request_.number(kTrackMem, 1);
  if (o_.page_server_port) {
    ProtoWriter server;
    server.text(1, o_.page_server_address);
    server.number(2, o_.page_server_port);
    request_.message(kPageServer, server);
  }
  // criu_network_lock_method. Packets to connections of a dumped container are dropped, or their answers
  // would end them; criu takes iptables unless told otherwise, which current systems no longer have.
  constexpr std::pair<const char*, uint64_t> kLocks[] = {{"iptables", 1}, {"nftables", 2}, {"skip", 3}};
  std::string lock = o_.network_lock;
  if (lock.empty() && find_program("iptables-restore").empty()) lock = "nftables";
  bool known = lock.empty();
  for (const auto& [name, number] : kLocks) {
    if (lock != name) continue;
    request_.number(kNetworkLock, number);
    known = true;
  }
  if (!known)
    return fail(Error::invalid("option --network-lock: '" + lock + "' is none of iptables, nftables, skip"));
  for (const auto& [controller, path] : record_.cgroup.paths)
    if (controller == "freezer" || (controller.empty() && host_cgroup_mode() == CgroupMode::kV2))
      request_.text(kFreezeCgroup, path);
  return {};
}

// What the dump leaves out and only refers to.
Result<> Checkpoint::add_outside() {
  std::string proc = "/proc/" + std::to_string(record_.pid) + "/ns/";
  for (const auto& e : external_namespaces(spec_)) {
    struct stat st, own;
    if (::stat((proc + e.kind).c_str(), &st) < 0) return fail(Error::os("look at", proc + e.kind));
    if (::stat((std::string("/proc/self/ns/") + e.kind).c_str(), &own) == 0 && own.st_ino == st.st_ino)
      continue;
    request_.text(kExternal, std::string(e.kind) + "[" + std::to_string(st.st_ino) + "]:" + e.name);
  }
  if (o_.pre_dump) return {};  // memory only
  request_.text(kRoot, record_.rootfs);
  std::map<std::string, std::string> mounts = TRY(external_mounts(spec_, record_.pid));
  for (const auto& [point, name] : mounts) add_pair(request_, kExtMount, point, name);
  std::vector<std::string> streams = TRY(standard_streams(record_.pid));
  for (const auto& s : streams)
    if (s.starts_with("file[")) request_.text(kExternal, s);
  streams_ = json_list(streams);
  return {};
}

Result<> Checkpoint::on_event(const CriuEvent& event) {
  if (event.script == "post-dump") {
    int images = directories_.images.get();
    std::string manifest = TRY(image_manifest(images));
    TRY_VOID(replace_file_at(images, kManifestFile, manifest));
    return replace_file_at(images, kDescriptorsFile, streams_);
  }
  if (event.script == "status-ready" && o_.status_fd >= 0)
    return write_all(o_.status_fd, std::string_view("\0", 1), "option --status-fd");
  return {};
}

// criu thaws what it froze, unless it was killed itself.
void Checkpoint::continue_as_before() {
  if (!was_paused_ && cgroup_ && cgroup_->frozen().value_or(false)) (void)cgroup_->freeze(false);
  if (directories_.fresh) {
    remove_images(directories_.images.get());
  } else if (context_.warn) {
    context_.warn("the images in " + o_.image_path +
                  " are no longer complete: the failed dump was to replace them");
  }
}

// In a user namespace criu reads the images first as the host's root without its capabilities, then as the
// container's. The directory is open to these two, rather than to everybody: the files hold memory.
Result<> Checkpoint::let_container_root_in() {
  for (const auto& map : spec_.linux.uid_mappings) {
    if (!directories_.made || map.container_id != 0) continue;
    int fd = directories_.images.get();
    if (::fchown(fd, map.host_id, 0) < 0 || ::fchmod(fd, 0750) < 0)
      return fail(Error::os("let the container's root into", o_.image_path));
  }
  return {};
}

Result<> Checkpoint::go() {
  TRY_VOID(open_container());
  directories_ = TRY(open_criu_directories(o_, kLogFile, true));
  TRY_VOID(let_container_root_in());
  TRY_VOID(check_parent());
  request_ = TRY(common_request(o_, kLogFile, spec_));
  add_directories(request_, directories_);
  TRY_VOID(add_dump_options());
  TRY_VOID(add_outside());
  CriuSession session = TRY(CriuSession::start({}, true));
  for (const char* name : {kDescriptorsFile, kManifestFile})
    (void)::unlinkat(directories_.images.get(), name, 0);
  auto answer = session.call(o_.pre_dump ? CriuRequest::kPreDump : CriuRequest::kDump, request_,
                             [this](CriuEvent& e) { return on_event(e); });
  session.finish();
  if (!answer) {
    continue_as_before();
    Error error = explain_criu_failure(std::move(answer).error(), directories_.log_path);
    return fail(error.wrap("container \"" + o_.id + "\" could not be dumped and goes on as before"));
  }
  if (o_.leave_running || o_.pre_dump) return {};
  dir_.unlock();
  TRY_VOID_CTX(delete_container(context_, o_.id, true), "the checkpoint is complete, but");
  return {};
}

}  // namespace

Result<> checkpoint_container(const RuntimeContext& context, const CheckpointOptions& options) {
  Checkpoint checkpoint(context, options);
  return checkpoint.go();
}

}  // namespace onggi::runtime
