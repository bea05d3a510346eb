// The engine as one value: where things are, what the host has, and the stores. Commands and servers make one
// and call the operations of create.h, lifecycle.h, exec.h, volumes.h and the rest with it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "engine/container_store.h"
#include "engine/paths.h"
#include "engine/spec_build.h"
#include "image/store.h"

namespace onggi::engine {

class Engine {
 public:
  // `hints`: words of the command line. For an ordinary user this enters a user namespace, and what is done
  // to a running container can only be done from its own: a hint that names one says which.
  static Result<std::unique_ptr<Engine>> open(const PathOptions& options,
                                              const std::vector<std::string>& hints = {});

  [[nodiscard]] const Paths& paths() const { return paths_; }
  [[nodiscard]] ContainerStore& containers() { return containers_; }
  // For a process that was forked from one with an engine: what must not be shared with the parent (the
  // store's database) is left to it, and opened anew at first use.
  void after_fork();
  // Opened at first use: `ps`, `stop` and `logs` never need it.
  Result<image::Store*> images();
  [[nodiscard]] const HostFacts& host();
  // The command that a monitor executes when its container has ended.
  [[nodiscard]] std::vector<std::string> own_command(std::vector<std::string> words) const;
  // Executes this program with `words`, with nothing of the caller's but its environment; returns at once.
  void run_in_background(std::vector<std::string> words) const;
  // Where monitors and what else stays beside a container is started (slice.h); empty: where the caller is.
  [[nodiscard]] int monitors_cgroup() const { return monitors_cgroup_.get(); }
  void set_monitors_cgroup(UniqueFd cgroup) { monitors_cgroup_ = std::move(cgroup); }
  // Deletes what was removed, in a process of its own.
  void sweep_in_background() const {
    if (!sweeps_held_) run_in_background({"internal", "sweep"});
  }
  // While held, removals leave sweeping to whoever holds: one sweep instead of a hundred.
  void hold_sweeps(bool held) { sweeps_held_ = held; }

 private:
  Result<> enter_user_namespace(const std::vector<std::string>& hints);
  explicit Engine(Paths paths) : paths_(std::move(paths)), containers_(paths_) {}
  Paths paths_;
  ContainerStore containers_;
  std::optional<image::Store> images_;
  std::optional<HostFacts> host_;
  UniqueFd monitors_cgroup_;
  bool sweeps_held_ = false;
};

}  // namespace onggi::engine
