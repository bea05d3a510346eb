// Where the cgroup is, how its directories are made and removed, and how processes join.
#include "runtime/cgroup_fs.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "runtime/cgroup_devices.h"
#include "runtime/cgroup_stats.h"
#include "sys/bpf.h"
#include "sys/cgroup.h"
#include "sys/process.h"

namespace onggi::runtime {
namespace {

std::string parent_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

std::string join(const std::string& base, const std::string& absolute) {
  return absolute == "/" ? base : base + absolute;
}

bool wrong_guess(const Error& e) { return e.os_errno() == ENOENT || e.os_errno() == ENOTDIR; }

bool sets_cpuset(const oci::Resources& r) { return r.cpu && !r.cpu->cpus.empty() && !r.cpu->mems.empty(); }

// Controllers of v2 that only a domain (not a threaded cgroup) can have.
bool needs_domain(const std::vector<CgroupWrite>& writes) {
  return std::any_of(writes.begin(), writes.end(), [](const CgroupWrite& w) {
    return w.controller == "memory" || w.controller == "io" || w.controller == "hugetlb" ||
           w.controller == "rdma";
  });
}

}  // namespace

Result<std::unique_ptr<FsCgroup>> FsCgroup::plan_in(const CgroupConfig& config, const sys::CgroupRoots& roots,
                                                    const sys::CgroupLayout& layout) {
  std::unique_ptr<FsCgroup> cgroup(new FsCgroup(config, roots));
  TRY_VOID(cgroup->lay_out(layout));
  return cgroup;
}

Result<> FsCgroup::lay_out(const sys::CgroupLayout& layout) {
  if (config_.cgroups_path.find('\0') != std::string::npos)
    return fail(Error::invalid("linux.cgroupsPath: must not hold a NUL character"));
  bool absolute = config_.cgroups_path.starts_with('/');
  // clean_path() confines: however many "..", the result stays below where it is put.
  std::string inner = sys::clean_path(config_.cgroups_path.empty() ? config_.id : config_.cgroups_path);
  dirs_.clear();
  tasks_.clear();
  exact_ = layout.exact;
  for (const sys::CgroupHierarchy& h : layout.hierarchies) {
    CgroupDirectory dir;
    dir.controllers = h.controllers;
    dir.mount = h.mount;
    dir.base = h.mount;
    if (!absolute && !h.own.empty()) {
      // v2 forbids processes beside child cgroups that have controllers, and the own cgroup has a process:
      // us.
      std::string own = h.v2() ? parent_of(h.own) : h.own;
      dir.base = join(h.mount, own);
    }
    dir.path = join(dir.base, inner);
    dirs_.push_back(std::move(dir));
  }
  rebuild_record();
  return {};
}

std::unique_ptr<FsCgroup> FsCgroup::adopt(const CgroupConfig& config, const std::string& relative,
                                          const sys::CgroupRoots& roots, const sys::CgroupLayout& layout) {
  std::unique_ptr<FsCgroup> cgroup(new FsCgroup(config, roots));
  cgroup->exact_ = true;  // systemd's paths leave nothing to correct
  for (const sys::CgroupHierarchy& h : layout.hierarchies)
    cgroup->dirs_.push_back({h.controllers, h.mount, h.mount, h.mount + relative});
  cgroup->rebuild_record();
  return cgroup;
}

std::unique_ptr<FsCgroup> FsCgroup::from_record(const CgroupRecord& record, const sys::CgroupRoots& roots) {
  std::unique_ptr<FsCgroup> cgroup(new FsCgroup({}, roots));
  cgroup->record_ = record;
  cgroup->exact_ = true;
  for (const auto& [controller, path] : record.paths) {
    auto same = std::find_if(cgroup->dirs_.begin(), cgroup->dirs_.end(), [&](const CgroupDirectory& d) {
      return d.path == path && d.v2() == controller.empty();
    });
    if (same == cgroup->dirs_.end()) {
      cgroup->dirs_.push_back({{}, "", "", path});
      same = cgroup->dirs_.end() - 1;
    }
    if (!controller.empty()) same->controllers.push_back(controller);
  }
  return cgroup;
}

void FsCgroup::rebuild_record() {
  record_.paths.clear();
  for (const CgroupDirectory& dir : dirs_) {
    if (dir.v2()) record_.paths.emplace_back("", dir.path);
    for (const std::string& c : dir.controllers) record_.paths.emplace_back(c, dir.path);
  }
}

std::string FsCgroup::directory_of(std::string_view controller) const {
  const CgroupDirectory* v2 = nullptr;
  for (const CgroupDirectory& dir : dirs_) {
    if (dir.v2()) v2 = &dir;
    for (const std::string& c : dir.controllers)
      if (c == controller) return dir.path;
  }
  return v2 ? v2->path : std::string();
}

const CgroupDirectory* FsCgroup::v2_directory() const {
  for (const CgroupDirectory& dir : dirs_)
    if (dir.v2()) return &dir;
  return nullptr;
}

// The hierarchy to ask for processes: v1 freezer first, since freezing and listing should speak of the same
// set.
const CgroupDirectory* FsCgroup::any_directory() const {
  for (const char* wanted : {"freezer", "memory", "devices"})
    for (const CgroupDirectory& dir : dirs_)
      if (std::find(dir.controllers.begin(), dir.controllers.end(), wanted) != dir.controllers.end())
        return &dir;
  return dirs_.empty() ? nullptr : &dirs_[0];
}

bool FsCgroup::may_leave_out(int e) const {
  return config_.rootless && config_.cgroups_path.empty() && (e == EPERM || e == EACCES || e == EROFS);
}

std::string FsCgroup::explain(std::string_view controller) const {
  if (auto it = left_out_.find(controller); it != left_out_.end()) return it->second;
  if (auto it = left_out_.find(""); it != left_out_.end() && dirs_.empty())
    return "rootless needs no limits + no cgrouppath when no permission is granted for cgroups: " +
           it->second;
  const CgroupDirectory* v2 = v2_directory();
  if (!v2) return "the controller '" + std::string(controller) + "' is not mounted on this host";
  if (controller == "cgroup") return "";
  auto enabled = sys::read_cgroup_value(v2->path + "/cgroup.controllers");
  if (!enabled) return "";
  if ((" " + *enabled + " ").find(" " + std::string(controller) + " ") != std::string::npos) return "";
  std::string text = "controller '" + std::string(controller) +
                     "' is not available in this cgroup (it has: " + (enabled->empty() ? "none" : *enabled) +
                     ")";
  if (!no_internal_processes_.empty())
    return text + ", because '" + no_internal_processes_ +
           "' has processes of its own, and cgroup v2 gives controllers only to children of cgroups without "
           "processes; move them "
           "into a child cgroup or choose another linux.cgroupsPath";
  return text + "; it must be in cgroup.subtree_control of every ancestor";
}

// --- making ---

Result<> FsCgroup::make_parents(const CgroupDirectory& dir, Rollback& undo) {
  size_t at = dir.base.size();
  for (;;) {
    at = dir.path.find('/', at + 1);
    if (at == std::string::npos) return {};
    std::string prefix = dir.path.substr(0, at);
    if (TRY(sys::make_cgroup(prefix))) {
      undo.push([prefix] { ::rmdir(prefix.c_str()); });
      if (std::find(dir.controllers.begin(), dir.controllers.end(), "cpuset") != dir.controllers.end())
        TRY_VOID(init_cpuset_v1(dir.mount, prefix, true));
    }
  }
}

Result<> FsCgroup::check_empty(const CgroupDirectory& dir) {
  std::vector<int> inside = TRY(sys::cgroup_pids(dir.path, true));
  if (inside.empty()) return {};
  return fail(Error::busy("container's cgroup is not empty: " + std::to_string(inside.size()) +
                          " process(es) found in '" + dir.path +
                          "'; choose another linux.cgroupsPath or end them"));
}

// Whatever goes wrong here is left for create() to find and report.
Result<UniqueFd> FsCgroup::enter_early() {
  const CgroupDirectory* v2 = v2_directory();
  if (!v2 || pure_v2()) return UniqueFd();
  auto made = sys::make_cgroup(v2->path);
  if (!made && made.error().os_errno() == ENOENT && make_parents(*v2, early_undo_))
    made = sys::make_cgroup(v2->path);
  if (!made || !*made) return UniqueFd();
  early_path_ = v2->path;
  early_undo_.push([path = v2->path] { (void)sys::remove_cgroup(path, 1000); });
  return open_at(AT_FDCWD, v2->path, O_RDONLY | O_DIRECTORY);
}

Result<> FsCgroup::make_one(CgroupDirectory& dir, Rollback& undo) {
  if (dir.path == early_path_) {
    dir.fresh = true;
    return {};
  }
  auto made = sys::make_cgroup(dir.path);
  if (!made && made.error().os_errno() == ENOENT) {
    TRY_VOID(make_parents(dir, undo));
    made = sys::make_cgroup(dir.path);
  }
  if (!made) return fail(std::move(made).error());
  dir.fresh = *made;
  if (!dir.fresh) return check_empty(dir);
  undo.push([path = dir.path] { (void)sys::remove_cgroup(path, 1000); });
  return {};
}

Result<> FsCgroup::prepare_v1(CgroupDirectory& dir, const oci::Resources& resources) {
  // Only a cgroup has this file, so opening it proves the guess; the child writes "0" to it.
  std::string tasks = dir.path + "/tasks";
  UniqueFd fd(::open(tasks.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return fail(Error::os("open", tasks));
  tasks_.emplace_back(dir.path, std::move(fd));
  if (std::find(dir.controllers.begin(), dir.controllers.end(), "cpuset") != dir.controllers.end() &&
      !(dir.fresh && sets_cpuset(resources)))
    TRY_VOID(init_cpuset_v1(dir.mount, dir.path, dir.fresh));
  return {};
}

Result<> FsCgroup::prepare_v2(CgroupDirectory& dir, const oci::Resources& resources) {
  std::vector<CgroupWrite> writes = TRY(plan_limits(resources));
  bool wanted = pure_v2() || std::any_of(writes.begin(), writes.end(), [&](const CgroupWrite& w) {
                  return directory_of(w.controller) == dir.path;
                });
  if (!wanted) return {};
  TRY_VOID(enable_controllers_v2(dir.mount, parent_of(dir.path), no_internal_processes_));
  return check_type_v2(dir.path, needs_domain(writes));
}

Result<> FsCgroup::make_directories(const oci::Resources& resources, Rollback& undo) {
  for (size_t i = 0; i < dirs_.size();) {
    CgroupDirectory& dir = dirs_[i];
    auto made = make_one(dir, undo);
    if (made) made = dir.v2() ? prepare_v2(dir, resources) : prepare_v1(dir, resources);
    if (made) {
      i++;
      continue;
    }
    if (!may_leave_out(made.error().os_errno())) return made;
    if (dir.v2()) left_out_[""] = made.error().text();
    for (const std::string& c : dir.controllers) left_out_[c] = made.error().text();
    dirs_.erase(dirs_.begin() + static_cast<long>(i));
  }
  rebuild_record();
  return {};
}

Result<> FsCgroup::create(const oci::Resources& resources) {
  TRY_VOID(plan_limits(resources));  // complain about fields before there is any effect
  TRY(device_policy(resources.devices));
  Rollback undo;
  auto made = make_directories(resources, undo);
  if (!made && wrong_guess(made.error()) && !exact_) {
    undo.run();
    sys::CgroupLayout exact = TRY(sys::read_cgroups(roots_));
    TRY_VOID(lay_out(exact));
    made = make_directories(resources, undo);
  }
  if (!made) return made;
  TRY_VOID(finish(resources));
  undo.commit();
  early_undo_.commit();
  return {};
}

Result<> FsCgroup::finish(const oci::Resources& resources) {
  std::vector<CgroupWrite> limits = TRY(plan_limits(resources));
  TRY_VOID(write_limits(limits));
  TRY_VOID(write_devices(resources, false));
  return give_to_owner();
}

Result<> FsCgroup::create_for_pid(int pid, const oci::Resources& resources) {
  TRY_VOID(create(resources));
  for (const CgroupDirectory& dir : dirs_) {
    auto joined = write_file(dir.path + "/cgroup.procs", std::to_string(pid));
    if (!joined && !may_leave_out(joined.error().os_errno())) {
      (void)destroy();
      return joined;
    }
  }
  return {};
}

Result<> FsCgroup::adopt_process(int pid, const oci::Resources& resources) {
  TRY(device_policy(resources.devices));
  Rollback undo;
  for (CgroupDirectory& dir : dirs_) {
    // systemd's directories exist and hold the process already; on v1 it manages only some of the
    // hierarchies.
    auto made = sys::make_cgroup(dir.path);
    if (!made && made.error().os_errno() == ENOENT) {
      TRY_VOID(make_parents(dir, undo));
      made = sys::make_cgroup(dir.path);
    }
    if (!made) return fail(std::move(made).error());
    dir.fresh = *made;
    if (dir.fresh) undo.push([path = dir.path] { (void)sys::remove_cgroup(path, 1000); });
    TRY_VOID(dir.v2() ? prepare_v2(dir, resources) : prepare_v1(dir, resources));
  }
  rebuild_record();
  TRY_VOID(finish(resources));
  for (const CgroupDirectory& dir : dirs_) {
    bool managed = dir.v2() ? pure_v2() : dir.controllers[0] == "name=systemd";
    if (!managed) TRY_VOID(write_file(dir.path + "/cgroup.procs", std::to_string(pid)));
  }
  undo.commit();
  return {};
}

// config-linux.md "Cgroup ownership": the directory and the files that the kernel lists as safe to delegate.
Result<> FsCgroup::give_to_owner() {
  const CgroupDirectory* v2 = v2_directory();
  if (config_.owner_uid < 0 || !v2 || !pure_v2()) return {};
  auto uid = static_cast<uid_t>(config_.owner_uid);
  if (::chown(v2->path.c_str(), uid, static_cast<gid_t>(-1)) < 0) {
    if (errno == EPERM && config_.rootless) return {};  // stays with the user who made it
    return fail(Error::os("give the cgroup to uid " + std::to_string(uid) + ":", v2->path));
  }
  auto listed = read_file("/sys/kernel/cgroup/delegate");
  std::string_view names =
      listed ? std::string_view(*listed) : "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";
  while (!names.empty()) {
    size_t end = names.find('\n');
    std::string file = v2->path + "/" + std::string(names.substr(0, end));
    names = end == std::string_view::npos ? std::string_view{} : names.substr(end + 1);
    if (::chown(file.c_str(), uid, static_cast<gid_t>(-1)) < 0 && errno != ENOENT)
      return fail(Error::os("give to uid " + std::to_string(uid) + ":", file));
  }
  return {};
}

// --- limits ---

// On a hybrid host a controller that no v1 hierarchy has may live in the v2 tree.
Result<std::vector<CgroupWrite>> FsCgroup::plan_limits(const oci::Resources& resources) {
  if (pure_v2() || (dirs_.empty() && left_out_.empty())) return plan_writes_v2(resources);
  auto in_v1 = [this](std::string_view controller) {
    return std::any_of(dirs_.begin(), dirs_.end(), [&](const CgroupDirectory& d) {
      return std::find(d.controllers.begin(), d.controllers.end(), controller) != d.controllers.end();
    });
  };
  std::vector<CgroupWrite> writes = TRY(plan_writes_v1(resources));
  if (!v2_directory()) return writes;
  bool all_v1 =
      std::all_of(writes.begin(), writes.end(), [&](const CgroupWrite& w) { return in_v1(w.controller); });
  if (all_v1) return writes;
  auto in_v2 = [&](std::string_view c) { return !in_v1(c) && !in_v1(c == "io" ? "blkio" : c); };
  oci::Resources for_v2 = resources;
  if (in_v1("memory")) for_v2.memory.reset();
  if (in_v1("cpu") && for_v2.cpu) {
    oci::CpuResources only_cpuset;
    only_cpuset.cpus = for_v2.cpu->cpus;
    only_cpuset.mems = for_v2.cpu->mems;
    for_v2.cpu = only_cpuset;
  }
  if (in_v1("blkio")) for_v2.block_io.reset();
  for_v2.network.reset();  // never on v2; the v1 plan keeps it and reports what is missing
  std::vector<CgroupWrite> more = only_controllers(TRY(plan_writes_v2(for_v2)), in_v2);
  writes = only_controllers(std::move(writes), [&](std::string_view c) {
    if (in_v1(c)) return true;
    return std::none_of(more.begin(), more.end(),
                        [&](const CgroupWrite& w) { return w.controller == (c == "blkio" ? "io" : c); });
  });
  writes.insert(writes.end(), more.begin(), more.end());
  return writes;
}

Result<> FsCgroup::write_limits(const std::vector<CgroupWrite>& writes) {
  return apply_writes(
      writes, [this](std::string_view c) { return directory_of(c); },
      [this](std::string_view c) { return explain(c); });
}

Result<> FsCgroup::write_devices(const oci::Resources& resources, bool update) {
  if (update && resources.devices.empty()) return {};
  DevicePolicy policy = TRY(device_policy(resources.devices));
  Result<> done;
  const CgroupDirectory* v1 = nullptr;
  for (const CgroupDirectory& dir : dirs_)
    if (std::find(dir.controllers.begin(), dir.controllers.end(), "devices") != dir.controllers.end())
      v1 = &dir;
  if (v1) {
    std::vector<DeviceWrite> rules;
    if (v1->fresh && !update) {
      rules = TRY(device_writes_v1(policy));
    } else {
      std::string now = TRY(read_file(v1->path + "/devices.list"));
      rules = TRY(device_update_v1(now, policy));
    }
    std::vector<CgroupWrite> writes;
    for (DeviceWrite& rule : rules)
      writes.push_back({"devices", rule.allow ? "devices.allow" : "devices.deny", std::move(rule.text),
                        "linux.resources.devices"});
    done = write_limits(writes);
  } else if (const CgroupDirectory* v2 = v2_directory()) {
    UniqueFd program, dir;
    if (auto loaded = sys::load_device_program(device_program(policy)); loaded)
      program = std::move(*loaded);
    else
      done = fail(std::move(loaded).error().wrap("linux.resources.devices"));
    if (program) {
      dir = TRY(open_at(AT_FDCWD, v2->path, O_RDONLY | O_DIRECTORY));
      done = sys::attach_device_program(dir.get(), program.get());
      if (!done) done.error().wrap("linux.resources.devices: '" + v2->path + "'");
    }
  } else if (!config_.rootless) {
    return fail(Error::unsupported(
        "linux.resources.devices: this host has no device controller mounted, and a container without "
        "device rules could open every device; mount the v1 hierarchy \"devices\" or cgroup v2"));
  }
  // Without privileges over the host there are no device nodes to protect: the user namespace forbids making
  // them.
  if (!done && (config_.rootless || sys::is_rootless())) return {};
  return done;
}

Result<> FsCgroup::update(const oci::Resources& resources) {
  oci::Resources wanted = resources;
  // memory.swap is a sum in the specification: for v2 it takes the limit that is in force when none is given.
  if (pure_v2() && wanted.memory && wanted.memory->swap.value_or(0) > 0 &&
      wanted.memory->limit.value_or(0) == 0) {
    uint64_t now =
        TRY_CTX(sys::read_cgroup_number(dirs_[0].path + "/memory.max"), "linux.resources.memory.swap");
    wanted.memory->limit = now > INT64_MAX ? -1 : static_cast<int64_t>(now);
  }
  if (pure_v2() && wanted.memory && wanted.memory->check_before_update.value_or(false)) {
    auto usage = sys::read_cgroup_number(dirs_[0].path + "/memory.current");
    for (int64_t limit : {wanted.memory->limit.value_or(0), wanted.memory->swap.value_or(0)})
      if (usage && limit > 0 && static_cast<uint64_t>(limit) <= *usage)
        return fail(Error::busy("linux.resources.memory: rejecting the limit " + std::to_string(limit) +
                                ", the cgroup uses " + std::to_string(*usage) +
                                " bytes (checkBeforeUpdate)"));
  }
  std::vector<CgroupWrite> limits = TRY(plan_limits(wanted));
  TRY_VOID(write_limits(limits));
  return write_devices(wanted, true);
}

// --- joining ---

static std::string sub_path(const CgroupDirectory& dir, const oci::StringMap& sub) {
  const std::string* chosen = nullptr;
  for (const auto& [controller, relative] : sub) {
    bool named =
        std::find(dir.controllers.begin(), dir.controllers.end(), controller) != dir.controllers.end();
    if (named || (controller.empty() && !chosen)) chosen = &relative;
  }
  return chosen ? join(dir.path, sys::clean_path(*chosen)) : dir.path;
}

Result<std::vector<UniqueFd>> FsCgroup::join_fds(const oci::StringMap& sub, JoinV2 v2) {
  std::vector<UniqueFd> fds;
  for (const CgroupDirectory& dir : dirs_) {
    if (dir.v2() && v2 == JoinV2::kLeaveOut) continue;
    std::string path = sub_path(dir, sub);
    auto cached = std::find_if(tasks_.begin(), tasks_.end(), [&](const auto& t) { return t.first == path; });
    if (cached != tasks_.end()) {
      fds.push_back(std::move(cached->second));
      tasks_.erase(cached);
      continue;
    }
    // Never cgroup.procs on v1: the kernel then waits 4 to 12 ms for a grace period.
    auto fd = open_at(AT_FDCWD, path + (dir.v2() ? "/cgroup.procs" : "/tasks"), O_WRONLY);
    if (!fd && may_leave_out(fd.error().os_errno())) continue;
    if (!fd) return fail(std::move(fd).error().wrap("join the container's cgroup"));
    fds.push_back(std::move(*fd));
  }
  return fds;
}

Result<UniqueFd> FsCgroup::clone_fd(const oci::StringMap& sub) {
  const CgroupDirectory* v2 = v2_directory();
  if (!v2) return UniqueFd();
  return open_at(AT_FDCWD, sub_path(*v2, sub), O_RDONLY | O_DIRECTORY);
}

Result<oci::StringMap> FsCgroup::exec_sub_cgroup(int init_pid) {
  const CgroupDirectory* v2 = v2_directory();
  if (!v2) return oci::StringMap{};
  auto enabled = sys::read_cgroup_value(v2->path + "/cgroup.subtree_control");
  if (!enabled || enabled->empty()) return oci::StringMap{};
  std::string text = TRY(read_file(roots_.proc + "/" + std::to_string(init_pid) + "/cgroup"));
  size_t at = text.starts_with("0::") ? 0 : text.find("\n0::");
  if (at == std::string::npos) return oci::StringMap{};
  at = text.find('/', at);
  std::string init = text.substr(at, text.find('\n', at) - at);
  // The mount point is not known here: the longest tail of the directory that the path of init begins with is
  // the container's cgroup.
  for (size_t slash = v2->path.find('/'); slash != std::string::npos; slash = v2->path.find('/', slash + 1)) {
    std::string tail = v2->path.substr(slash);
    if (init.starts_with(tail + "/")) return oci::StringMap{{"", init.substr(tail.size())}};
  }
  return oci::StringMap{};
}

Result<> FsCgroup::destroy_within(int patience_ms) {
  tasks_.clear();
  Result<> first;
  for (const CgroupDirectory& dir : dirs_) {
    // Processes that do not die keep every hierarchy busy: waiting once is enough.
    auto removed = sys::remove_cgroup(dir.path, first ? patience_ms : 0);
    if (!removed && may_leave_out(removed.error().os_errno())) continue;
    if (!removed && first) first = std::move(removed);
  }
  return first;
}

}  // namespace onggi::runtime
