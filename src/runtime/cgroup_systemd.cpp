#include "runtime/cgroup_systemd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/scope.h"
#include "runtime/cgroup_fs.h"
#include "runtime/cgroup_stats.h"
#include "runtime/helper_program.h"
#include "runtime/systemd_properties.h"
#include "sys/cgroup.h"
#include "sys/process.h"

namespace onggi::runtime {
namespace {

constexpr const char* kHelperName = "onggi-systemd-helper";

// Runs the helper and waits; its standard error is the reason of a failure.
Result<> run_helper(bool user, const char* verb, const std::string& unit,
                    const std::vector<SystemdProperty>& properties) {
  std::string helper = TRY(find_helper(kHelperName, "--systemd-cgroup", "or leave out --systemd-cgroup"));
  std::vector<std::string> words = {kHelperName};
  if (user) words.emplace_back("--user");
  words.emplace_back(verb);
  words.push_back(unit);
  for (const SystemdProperty& p : properties) {
    words.insert(words.end(), {p.name, p.signature, std::to_string(p.values.size())});
    words.insert(words.end(), p.values.begin(), p.values.end());
  }
  std::vector<const char*> argv;
  for (const std::string& w : words) argv.push_back(w.c_str());
  argv.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return fail(Error::os("pipe2", ""));
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  UniqueFd null = TRY(open_at(AT_FDCWD, "/dev/null", O_RDWR));
  sys::SpawnArgs args;
  args.exec_path = helper.c_str();
  args.argv = argv.data();
  args.envp = environ;
  args.stdio[0] = null.get();
  args.stdio[1] = null.get();
  args.stdio[2] = write_end.get();
  sys::Spawned child = TRY_CTX(sys::spawn(args), "run " + helper);
  write_end.reset();
  auto reason = read_fd(read_end.get(), helper);
  sys::ExitStatus status = TRY(sys::wait_pidfd(child.pidfd.get()));
  if (!status.signalled && status.value == 0) return {};
  std::string text = reason ? std::string(trim(*reason)) : "";
  if (text.empty())
    text = std::string(verb) + " systemd unit '" + unit + "': the helper ended with status " +
           std::to_string(status.code());
  ErrorKind kind = status.value == 3 ? ErrorKind::kUnsupported : ErrorKind::kOs;
  return fail(Error(kind, "systemd cgroup manager: " + text));
}

// The path that systemd chose, from the process that it put there: the v2 line, or on v1 that of systemd's
// own hierarchy.
Result<std::string> path_of_process(int pid, bool v2) {
  std::string text = TRY(read_file("/proc/" + std::to_string(pid) + "/cgroup"));
  std::string_view rest = text, prefix = v2 ? "0::" : ":name=systemd:";
  while (!rest.empty()) {
    size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    size_t at = line.find(prefix);
    if (at != std::string_view::npos && (at == 0) == v2) return std::string(line.substr(at + prefix.size()));
  }
  return fail(Error::internal("the cgroup of process " + std::to_string(pid) + " has no line '" +
                              std::string(prefix) + "'"));
}

class SystemdCgroup final : public Cgroup {
 public:
  SystemdCgroup(CgroupConfig config, SystemdUnit unit, sys::CgroupRoots roots, sys::CgroupLayout layout)
      : config_(std::move(config)),
        unit_(std::move(unit)),
        roots_(std::move(roots)),
        layout_(std::move(layout)),
        v2_(layout_.mode == CgroupMode::kV2),
        user_(config_.rootless) {
    record_.systemd = true;
    record_.unit = unit_.unit;
    record_.slice = unit_.slice;
  }
  SystemdCgroup(const CgroupRecord& record, const sys::CgroupRoots& roots)
      : roots_(roots), fs_(FsCgroup::from_record(record, roots)), record_(record) {
    unit_.unit = record.unit;
    unit_.slice = record.slice;
    v2_ = record.paths.size() == 1 && record.paths[0].first.empty();
    // Units of a user's manager live below its service.
    for (const auto& [controller, path] : record.paths) user_ |= path.find("/user@") != std::string::npos;
    if (record.paths.empty()) user_ = sys::is_rootless();  // the runtime died before the unit was there
  }

  [[nodiscard]] const CgroupRecord& record() const override { return record_; }
  [[nodiscard]] bool needs_pid() const override { return true; }
  Result<> create(const oci::Resources&) override {
    return fail(Error::internal("a systemd scope cannot be made without a process"));
  }
  Result<> create_for_pid(int pid, const oci::Resources& resources) override;
  Result<> update(const oci::Resources& resources) override;
  Result<> destroy_within(int patience_ms) override;

  Result<std::vector<UniqueFd>> join_fds(const oci::StringMap& sub, JoinV2 v2) override {
    return TRY(fs())->join_fds(sub, v2);
  }
  Result<UniqueFd> clone_fd(const oci::StringMap& sub) override { return TRY(fs())->clone_fd(sub); }
  Result<oci::StringMap> exec_sub_cgroup(int init_pid) override {
    return TRY(fs())->exec_sub_cgroup(init_pid);
  }
  Result<> freeze(bool frozen) override { return TRY(fs())->freeze(frozen); }
  Result<bool> frozen() override { return TRY(fs())->frozen(); }
  Result<std::vector<int>> pids() override { return TRY(fs())->pids(); }
  Result<> signal_all(int signal) override { return TRY(fs())->signal_all(signal); }
  Result<CgroupStats> stats() override { return TRY(fs())->stats(); }
  Result<UniqueFd> oom_event_fd() override { return TRY(fs())->oom_event_fd(); }
  Result<uint64_t> oom_kills() override { return TRY(fs())->oom_kills(); }

 private:
  Result<FsCgroup*> fs() {
    if (!fs_) return fail(Error::internal("the systemd unit " + unit_.unit + " has not been started"));
    return fs_.get();
  }
  Result<std::vector<SystemdProperty>> limits(const oci::Resources& resources, bool devices);

  CgroupConfig config_;
  SystemdUnit unit_;
  sys::CgroupRoots roots_;
  sys::CgroupLayout layout_;
  bool v2_ = false;
  bool user_ = false;
  std::unique_ptr<FsCgroup> fs_;  // once the unit runs
  CgroupRecord record_;
};

Result<std::vector<SystemdProperty>> SystemdCgroup::limits(const oci::Resources& resources, bool devices) {
  // A user's manager may not load device programs, and there is nothing that they would protect.
  if (!devices || user_) return resource_properties(resources, v2_, nullptr, "");
  DevicePolicy policy = TRY(device_policy(resources.devices));
  std::string drivers = TRY(read_file("/proc/devices"));
  return resource_properties(resources, v2_, &policy, drivers);
}

// Unit first, with everything that systemd knows to limit, then the other controllers and files. The process
// is waiting for its plan, so nothing of the container runs before the last limit is set.
Result<> SystemdCgroup::create_for_pid(int pid, const oci::Resources& resources) {
  std::vector<SystemdProperty> properties = unit_properties(unit_, pid, v2_);
  std::vector<SystemdProperty> more = TRY(limits(resources, true));
  properties.insert(properties.end(), more.begin(), more.end());
  for (const auto& [key, value] : resources.unified)
    if (v2_ && key == "memory.oom.group")
      properties.push_back({"OOMPolicy", "s", {trim(value) == "1" ? "kill" : "continue"}});
  more = TRY(annotation_properties(config_.annotations));
  properties.insert(properties.end(), more.begin(), more.end());

  TRY_VOID(run_helper(user_, "start", unit_.unit, properties));
  Rollback undo;
  undo.push([this] {
    (void)run_helper(user_, "stop", unit_.unit, {});
    fs_.reset();
  });
  std::string path = TRY(path_of_process(pid, v2_));
  // A mistaken answer must never lead to writing limits into somebody else's cgroup.
  if (!path.ends_with("/" + unit_.unit))
    return fail(Error::internal("systemd put process " + std::to_string(pid) + " into '" + path +
                                "', not into " + unit_.unit));
  fs_ = FsCgroup::adopt(config_, path, roots_, layout_);
  TRY_VOID(fs_->adopt_process(pid, resources));
  record_.paths = fs_->record().paths;
  undo.commit();
  return {};
}

Result<> SystemdCgroup::update(const oci::Resources& resources) {
  FsCgroup* files = TRY(fs());
  std::vector<SystemdProperty> properties = TRY(limits(resources, !resources.devices.empty()));
  if (!properties.empty()) TRY_VOID(run_helper(user_, "set", unit_.unit, properties));
  return files->update(resources);
}

// systemd removes its own directories when the scope ends; what it does not manage is removed here.
Result<> SystemdCgroup::destroy_within(int patience_ms) {
  Result<> stopped = run_helper(user_, "stop", unit_.unit, {});
  if (fs_) {
    Result<> removed = fs_->destroy_within(patience_ms);
    if (stopped && !removed) return removed;
  }
  return stopped;
}

}  // namespace

Result<std::unique_ptr<Cgroup>> plan_systemd_cgroup(const CgroupConfig& config, const sys::CgroupRoots& roots,
                                                    const sys::CgroupLayout& layout) {
  SystemdUnit unit = TRY(parse_systemd_path(config.cgroups_path, config.id, config.rootless));
  struct stat st;
  // As sd_booted(3): systemd makes this directory when it is the init.
  if (::lstat(roots.systemd.c_str(), &st) < 0 || !S_ISDIR(st.st_mode))
    return fail(Error::unsupported(
        "--systemd-cgroup needs systemd as the host's init; '" + roots.systemd +
        "' does not exist; leave out --systemd-cgroup (engines: choose the cgroupfs driver)"));
  if (config.rootless && layout.mode != CgroupMode::kV2)
    return fail(Error::unsupported(
        "cannot use rootless systemd cgroups manager on cgroup v1; boot with cgroup v2, or leave out "
        "--systemd-cgroup"));
  TRY(annotation_properties(config.annotations));
  return std::unique_ptr<Cgroup>(new SystemdCgroup(config, std::move(unit), roots, layout));
}

Result<std::unique_ptr<Cgroup>> load_systemd_cgroup(const CgroupRecord& record,
                                                    const sys::CgroupRoots& roots) {
  return std::unique_ptr<Cgroup>(new SystemdCgroup(record, roots));
}

}  // namespace onggi::runtime
