// A person or a pipe in front of a container: standard streams, terminal, signals, detach keys.
#pragma once

#include <termios.h>

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "engine/exec.h"
#include "engine/monitor_client.h"

namespace onggi::cli {

struct SessionOptions {
  bool tty = false;
  bool input = false;           // standard input goes in
  bool out = true, err = true;  // which streams come out
  bool signals = true;          // what this process gets goes to the container
  std::string detach_keys = "ctrl-p,ctrl-q";
};

struct SessionEnd {
  bool detached = false;
  int exit_code = 0;
};

// Blocks the signals that a session handles; before the process is started, so that none is lost.
class Signals {
 public:
  static Result<Signals> block();
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

// Until the container ends or the keys are typed. `attach` is a connection to the monitor's attach socket.
Result<SessionEnd> run_session(const engine::MonitorClient& monitor, const UniqueFd& attach,
                               const Signals& signals, const SessionOptions& options);
// The same for a process of `exec`, by its terminal or its pipes.
Result<SessionEnd> run_exec_session(engine::ExecStarted& process, const Signals& signals,
                                    const SessionOptions& options);

// "ctrl-p,ctrl-q" -> bytes; kInvalid names the part that is wrong.
Result<std::string> parse_detach_keys(const std::string& text);

}  // namespace onggi::cli
