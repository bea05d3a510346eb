// FsCgroup: the cgroup of a container managed by writing to the cgroup file systems; v1, hybrid and v2.
//
// One Directory per hierarchy. The order of create() matters: directories, then limits, then (by the caller)
// the first process, so that no process of the container ever runs without its limits.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/scope.h"
#include "runtime/cgroup.h"
#include "runtime/cgroup_plan.h"

namespace onggi::runtime {

struct CgroupDirectory {
  std::vector<std::string> controllers;  // empty: the v2 tree
  std::string mount;                     // where the hierarchy is mounted; unknown ("") in a loaded cgroup
  std::string base;                      // below this, missing directories are made; it must exist itself
  std::string path;
  bool fresh = false;  // made by this object
  [[nodiscard]] bool v2() const { return controllers.empty(); }
};

class FsCgroup final : public Cgroup {
 public:
  // The directories that `layout` and the path rules of runc give: absolute below the mounts, relative below
  // the runtime's own cgroup (v2: below its parent, which has no processes), empty: "<id>" as a relative
  // path.
  static Result<std::unique_ptr<FsCgroup>> plan_in(const CgroupConfig& config, const sys::CgroupRoots& roots,
                                                   const sys::CgroupLayout& layout);
  static std::unique_ptr<FsCgroup> from_record(const CgroupRecord& record, const sys::CgroupRoots& roots);
  // The cgroup that systemd made at `relative` ("/machine.slice/x.scope") in every hierarchy of `layout`.
  static std::unique_ptr<FsCgroup> adopt(const CgroupConfig& config, const std::string& relative,
                                         const sys::CgroupRoots& roots, const sys::CgroupLayout& layout);

  [[nodiscard]] const CgroupRecord& record() const override { return record_; }
  [[nodiscard]] bool needs_pid() const override { return false; }
  Result<UniqueFd> enter_early() override;
  Result<> create(const oci::Resources& resources) override;
  Result<> create_for_pid(int pid, const oci::Resources& resources) override;
  Result<std::vector<UniqueFd>> join_fds(const oci::StringMap& sub, JoinV2 v2) override;
  Result<UniqueFd> clone_fd(const oci::StringMap& sub) override;
  Result<oci::StringMap> exec_sub_cgroup(int init_pid) override;
  Result<> update(const oci::Resources& resources) override;
  Result<> freeze(bool frozen) override;
  Result<bool> frozen() override;
  Result<std::vector<int>> pids() override;
  Result<> signal_all(int signal) override;
  Result<> destroy_within(int patience_ms) override;
  Result<CgroupStats> stats() override;
  Result<UniqueFd> oom_event_fd() override;
  Result<uint64_t> oom_kills() override;

  // After adopt(): makes the directories that systemd does not manage, puts the process into all of them and
  // writes the limits.
  Result<> adopt_process(int pid, const oci::Resources& resources);

 private:
  FsCgroup(CgroupConfig config, sys::CgroupRoots roots)
      : config_(std::move(config)), roots_(std::move(roots)) {}
  Result<> lay_out(const sys::CgroupLayout& layout);
  Result<> make_directories(const oci::Resources& resources, Rollback& undo);
  Result<> finish(const oci::Resources& resources);
  [[nodiscard]] std::string directory_of(std::string_view controller) const;
  void rebuild_record();
  Result<> make_one(CgroupDirectory& dir, Rollback& undo);
  Result<> make_parents(const CgroupDirectory& dir, Rollback& undo);
  Result<> check_empty(const CgroupDirectory& dir);
  Result<> prepare_v1(CgroupDirectory& dir, const oci::Resources& resources);
  Result<> prepare_v2(CgroupDirectory& dir, const oci::Resources& resources);
  Result<> give_to_owner();
  Result<std::vector<CgroupWrite>> plan_limits(const oci::Resources& resources);
  Result<> write_limits(const std::vector<CgroupWrite>& writes);
  Result<> write_devices(const oci::Resources& resources, bool update);
  [[nodiscard]] std::string explain(std::string_view controller) const;
  [[nodiscard]] bool may_leave_out(int os_errno) const;
  [[nodiscard]] const CgroupDirectory* v2_directory() const;
  [[nodiscard]] const CgroupDirectory* any_directory() const;
  [[nodiscard]] bool pure_v2() const { return dirs_.size() == 1 && dirs_[0].v2(); }

  CgroupConfig config_;
  sys::CgroupRoots roots_;
  bool exact_ = false;
  std::vector<CgroupDirectory> dirs_;
  CgroupRecord record_;
  std::map<std::string, std::string, std::less<>>
      left_out_;  // rootless: controller -> why it has no directory
  std::string
      no_internal_processes_;  // v2: the ancestor whose own processes kept controllers from being enabled
  std::string early_path_;     // made by enter_early(), so not found empty by create()
  Rollback early_undo_;
  std::vector<std::pair<std::string, UniqueFd>>
      tasks_;  // v1: opened by create() as proof that the directory is a cgroup
};

// --- cgroup_v1.cpp ---
// Copies cpuset.cpus and cpuset.mems, which are empty in a new v1 cpuset, from the nearest ancestor that has
// them.
Result<> init_cpuset_v1(const std::string& mount, const std::string& path, bool fresh);
Result<> freeze_v1(const std::string& dir, bool frozen);
Result<bool> frozen_v1(const std::string& dir);
Result<UniqueFd> oom_event_v1(const std::string& dir);

// --- cgroup_v2.cpp ---
// Enables every available controller for the children of `parent`. On "no internal processes" puts that
// ancestor into `culprit`.
Result<> enable_controllers_v2(const std::string& mount, const std::string& parent, std::string& culprit);
// Refuses, or turns into a threaded cgroup, a directory that cannot be a domain.
Result<> check_type_v2(const std::string& dir, bool needs_domain);
Result<> freeze_v2(const std::string& dir, bool frozen);
Result<bool> frozen_v2(const std::string& dir);
Result<UniqueFd> oom_event_v2(const std::string& dir);

}  // namespace onggi::runtime
