// A further process in a running container.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "sys/process.h"

namespace onggi::engine {

struct ExecRequest {
  std::vector<std::string> args, env;
  std::string user, working_dir;
  bool tty = false, interactive = false, detach = false, privileged = false;
  int output = -1;  // takes standard output and error; -1: pipes. Borrowed
};
struct ExecStarted {
  int pid = 0;
  PidFd process;                  // a child of this process (subreaper), unless detached
  UniqueFd console;               // the terminal's master, with tty
  UniqueFd input, output, error;  // without: this process's ends of its pipes (input only when interactive)
};
// Starts it with pipes of its own, which belong to the container's root (it can open /dev/stdout), or with a
// terminal. The profile is the container's own: capabilities, filter, limits.
Result<ExecStarted> exec_in_container(Engine& engine, const std::string& id, const ExecRequest& request);

}  // namespace onggi::engine
