// The engine's side of runtime/protocol.h: starting a monitor, and talking to one that runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "engine/paths.h"
#include "runtime/protocol.h"
#include "sys/process.h"

namespace onggi::engine {

struct MonitorArgs {
  std::string id, bundle, directory, log_path;
  runtime::CreateBody body;
  std::vector<std::string> exit_command;      // executed in the monitor's place when the container has ended
  std::vector<std::string> rotation_command;  // executed with each rotated log file
  int root_mount = -1;                        // detached mount of the container's root; borrowed
  int cgroup = -1;                            // the monitor's own (v2), borrowed; -1: the caller's
};

struct MonitorMessage {
  runtime::MonitorMessage type = runtime::MonitorMessage::kError;
  std::string payload;
};

class MonitorClient {
 public:
  MonitorClient() = default;
  // Starts a monitor with a mount namespace of its own and lets it create the container. The error is the
  // runtime's. `process` gets the monitor.
  static Result<MonitorClient> launch(const Paths& paths, const MonitorArgs& args);
  // Connects to a running one, by its directory.
  static Result<MonitorClient> connect(const std::string& directory);

  Result<> start();
  Result<> send(runtime::MonitorMessage type, std::string_view payload) const;
  // Blocks. kNotFound at the end of the connection.
  Result<MonitorMessage> receive() const;
  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] const sys::Spawned& process() const { return process_; }
  [[nodiscard]] int container_pid() const { return pid_; }

 private:
  Result<MonitorMessage> expect(runtime::MonitorMessage type) const;
  UniqueFd socket_;
  sys::Spawned process_;
  int pid_ = 0;
};

// attach.sock of the monitor in `directory`; output waits for this connection, so that none of it is lost.
Result<UniqueFd> connect_attach(const std::string& directory);

}  // namespace onggi::engine
