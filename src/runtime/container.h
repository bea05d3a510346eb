// The life of a container as the OCI runtime specification tells it (runtime.md): create, start, kill,
// delete, and what engines need beside: run, exec, pause, resume, update, ps.
//
// Every function is one command: it may take the container's lock, it leaves nothing behind when it fails,
// and its error says what was attempted and why it failed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"
#include "runtime/state.h"
#include "sys/process.h"

namespace onggi::runtime {

// Global flags of the command line.
struct RuntimeContext {
  std::string root;  // state directory
  bool systemd_cgroup = false;
  bool no_cgroup = false;  // containers stay in the caller's cgroup; linux.resources is left out
  bool rootless = false;
  void (*warn)(const std::string& text) = nullptr;  // goes to the log; may be null
  // Called as each phase of a start ends ("config", "cgroup", "mounts", ...); may be null. The callee takes
  // the time.
  void (*phase)(const char* name) = nullptr;
};

struct CreateOptions {
  std::string id;
  std::string bundle;          // empty: the current directory
  std::string config;          // file with the configuration; empty: config.json of the bundle
  std::string console_socket;  // path; the pty's master is sent there
  std::string pidfd_socket;    // path; a pidfd of init is sent there
  std::string pid_file;
  bool no_pivot = false;
  bool no_new_keyring = false;
  bool detach = false;  // run: return at once
  int preserve_fds = 0;
  int listen_fds = 0;  // how many of them are sockets of sd_listen_fds(3)
};

// Socket activation reaches the process: LISTEN_FDS, and LISTEN_PID as its own pid namespace counts.
void add_listen_environment(int count, oci::Process& process);

// A process that was started and is this process's child.
struct Started {
  int pid = -1;
  PidFd pidfd;
  UniqueFd console;  // the pty's master when the caller asked for it
};

// Makes sure that descriptors 3 .. 3 + count - 1 which are not open stay unused by the runtime's own, so that
// none of those is passed on.
Result<> reserve_descriptors(int count);
// `create`: everything but the start; the container's init waits.
Result<Started> create_container(const RuntimeContext& context, const CreateOptions& options);
Result<> start_container(const RuntimeContext& context, const std::string& id);
// `run`: create and start without the detour over the FIFO. The terminal's master goes to the console socket
// or, when there is none, into Started::console.
Result<Started> run_container(const RuntimeContext& context, const CreateOptions& options);

struct ExecOptions {
  std::string id;
  std::optional<oci::Process> process;  // complete process; otherwise the container's with these changes:
  std::vector<std::string> args, env, capabilities;
  std::optional<std::string> cwd, apparmor, selinux_label;
  std::optional<uint32_t> uid, gid;
  std::vector<uint32_t> additional_gids;
  std::optional<bool> no_new_privileges;
  bool tty = false;
  std::string console_socket, pidfd_socket, pid_file;
  oci::StringMap sub_cgroup;
  int preserve_fds = 0;
  int listen_fds = 0;
  bool ignore_paused = false;
};
Result<Started> exec_in_container(const RuntimeContext& context, const ExecOptions& options);

// kNotFound with "container not running" when it has stopped. `all`: every process of the container.
Result<> kill_container(const RuntimeContext& context, const std::string& id, int signal, bool all);
// Removes a stopped container; with `force` kills it first, and a container that does not exist is success.
Result<> delete_container(const RuntimeContext& context, const std::string& id, bool force);
Result<> pause_container(const RuntimeContext& context, const std::string& id);
Result<> resume_container(const RuntimeContext& context, const std::string& id);
// Intel RDT schemata to change; absent: unchanged.
struct RdtUpdate {
  std::optional<std::string> l3_cache_schema, mem_bw_schema;
};
Result<> update_container(const RuntimeContext& context, const std::string& id,
                          const oci::Resources& resources, const RdtUpdate& rdt = {});

struct ContainerInfo {
  StateRecord record;
  Status status = Status::kStopped;
  oci::Spec spec;
};
Result<ContainerInfo> inspect_container(const RuntimeContext& context, const std::string& id);
// The `state` JSON object of runtime.md, as hooks get it on standard input.
std::string state_json(const StateRecord& record, const oci::Spec& spec, Status status, int pid,
                       std::string_view indent = {});

}  // namespace onggi::runtime
