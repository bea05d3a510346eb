// Processes: pidfds, waiting, signals, and the one way the runtime starts the child program.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

// How a process ended, as waitid(2) tells.
struct ExitStatus {
  bool signalled = false;
  int value = 0;  // exit code, or signal number
  // Shell convention: code, or 128 + signal.
  [[nodiscard]] int code() const { return signalled ? 128 + value : value; }
};

struct Spawned {
  int pid = -1;
  PidFd pidfd;
};

struct SpawnArgs {
  uint64_t clone_flags = 0;  // CLONE_NEW*
  int exec_fd = -1;          // executable (memfd), executed by execveat; or -1 and:
  const char* exec_path = nullptr;
  const char* const* argv = nullptr;
  const char* const* envp = nullptr;
  int cgroup_fd = -1;  // v2: CLONE_INTO_CGROUP
  // Descriptors that the new program inherits; all others keep their close-on-exec flag.
  const int* inherit = nullptr;
  int inherit_count = 0;
  int stdio[3] = {-1, -1, -1};  // replaces descriptors 0-2 when set; must not be 0-2 themselves
  const char* directory = nullptr;
  bool dies_with_caller = false;  // SIGKILL when this process ends, however it does (PR_SET_PDEATHSIG)
  // False: return at once, while the new process may still be on its way to exec. Everything that `args`
  // refers to (and args itself) must then stay as it is until the program has given a sign of life, and no
  // other process may be started before. Why the exec failed, if it did, is told by spawn_error().
  bool wait = true;
};
// After spawn(wait = false): positive errno of a failed exec, 0 otherwise.
int spawn_error();

// clone3(CLONE_VM | CLONE_VFORK | CLONE_CLEAR_SIGHAND | CLONE_PIDFD | flags), then execveat in the child. The
// new process shares nothing with the caller afterwards. Returns when the program runs; an exec that fails is
// an error here (and reaped).
Result<Spawned> spawn(const SpawnArgs& args);

// Runs `body` in a forked child, which then ends without the destructors of what it shares with the caller;
// waits for it. `stdio` (valid descriptors above 2) become its descriptors 0-2; it has no signal blocked.
// False from `body` is a failure, and what it put into `words` is the error's text. For a process with one
// thread only. Cheaper than executing a program for the same work, and like it without a trace in the
// caller's memory.
Result<> run_in_child(const int (&stdio)[3], const std::function<bool(std::string& words)>& body);

// The same without waiting: `body` goes on in a session of its own with nothing of the caller's descriptors;
// whoever reaps the caller's orphans reaps it. Whether it could be started is not told: it is for work that
// the next command would do as well.
void run_detached(const std::function<void()>& body);

Result<PidFd> pidfd_open(int pid);
// ESRCH is reported as kNotFound.
Result<> pidfd_signal(int pidfd, int signal);
// Duplicates descriptor `fd` of the process.
Result<UniqueFd> pidfd_getfd(int pidfd, int fd);
// Reaps a child; blocks. `ECHILD` is an error.
Result<ExitStatus> wait_pidfd(int pidfd);
Result<ExitStatus> wait_pid(int pid);
// True when the process has ended (zombies count as ended); does not reap.
bool has_exited(int pidfd);
// Waits until it ends, at most `timeout_ms` (-1: forever). False when time ran out.
bool wait_exited(int pidfd, int timeout_ms);

// Field 22 of /proc/PID/stat (clock ticks since boot), the identity of a pid; nullopt when there is no such
// process or it is a zombie.
std::optional<uint64_t> start_time(int pid);
// Single-letter state of /proc/PID/stat ('R','S','Z',...), 0 when there is none.
char process_state(int pid);

bool is_rootless();        // not root, or root of a user namespace that is not the initial one
bool in_user_namespace();  // the id map is not the identity over all ids

}  // namespace onggi::sys
