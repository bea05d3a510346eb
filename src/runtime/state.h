// State of containers on disk: one directory per container below the runtime's root.
//
//   ROOT/ID/state.json     StateRecord; replaced by rename, so readers see the old or the new one
//   ROOT/ID/config.json    the configuration as it was at create (later changes to the bundle have no effect,
//   runtime.md) ROOT/ID/exec.fifo      the container's init reads it while it waits for `start`
//   ROOT/ID/status.fifo    ... and writes here why it could not start
//
// The directory itself is the lock (flock): commands that change a container hold it exclusively, and its
// creation decides between two creates of one id. The lock goes with its holder, so a killed runtime blocks
// nobody.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "oci/runtime_spec.h"
#include "runtime/cgroup.h"

namespace onggi::runtime {

struct StateRecord {
  int version = 1;
  std::string id;
  std::string bundle;
  std::string rootfs;
  std::string created;  // RFC 3339, UTC, nanoseconds
  std::string owner;    // user name or number of whoever created it
  std::string phase;    // "creating" until everything but start is done, then "created"
  // True when a dead creator had not got as far as making the cgroup: its paths are plans, not possessions.
  [[nodiscard]] bool cgroup_only_planned() const { return phase == "creating" && !cgroup_made; }
  int pid = 0;              // init, in this process's pid namespace
  uint64_t start_time = 0;  // of pid, clock ticks since boot
  bool rootless = false;
  bool poststop_hooks = true;  // false: delete has no need of the configuration
  std::string resctrl_group;
  // While "creating": false until the cgroup was made, so that what stands at its place may be somebody
  // else's.
  bool cgroup_made = false;
  CgroupRecord cgroup;
};

enum class Status : uint8_t { kCreating, kCreated, kRunning, kPaused, kStopped };
const char* to_string(Status status);

class StateDir {
 public:
  // Makes ROOT/ID and takes the lock. kExists when the id is taken. Here and in open(): kPermission where
  // another user than the caller or root could write what stands there.
  static Result<StateDir> create(const std::string& root, const std::string& id);
  // kNotFound: `container "x" does not exist`.
  static Result<StateDir> open(const std::string& root, const std::string& id);

  // Waits for the lock (a command on the same container holds it only while it works).
  Result<> lock();
  void unlock();
  [[nodiscard]] int fd() const { return dir_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }

  Result<StateRecord> load() const;
  Result<> save(const StateRecord& record) const;
  // The first record of a new container: nobody reads it yet, so no rename is needed.
  Result<> save_new(const StateRecord& record) const;
  Result<> save_config(std::string_view json) const;
  Result<std::string> config_json() const;
  // Removes the files and the directory.
  Result<> remove();

 private:
  std::string path_, root_, id_;
  UniqueFd dir_;
};

// Ids become file names and cgroup names: [A-Za-z0-9_+.-], 1 to 1024 characters, not "." or "..".
Result<> check_id(const std::string& id);
// Ids of all containers below the root, sorted.
Result<std::vector<std::string>> list_ids(const std::string& root);

// What a container is doing now: asked of the kernel, not of the file.
Status current_status(const StateDir& dir, const StateRecord& record, bool look_for_paused = true);
std::string now_rfc3339();

}  // namespace onggi::runtime
