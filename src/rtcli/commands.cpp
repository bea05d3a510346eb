// The table of commands: names, options and help in one place. Names and meanings are runc's, so that engines
// need no special case.
#include "rtcli/command.h"

namespace onggi::rtcli {

namespace {

constexpr Option kBundle = {"bundle", 'b', true, "PATH",
                            "directory with config.json (default: the current one)"};
constexpr Option kConfig = {"config", 'f', true, "FILE",
                            "configuration file (default: config.json of the bundle)"};
constexpr Option kConsoleSocket = {"console-socket", 0, true, "PATH",
                                   "Unix socket that receives the terminal's master"};
constexpr Option kPidfdSocket = {"pidfd-socket", 0, true, "PATH",
                                 "Unix socket that receives a pidfd of the process"};
constexpr Option kPidFile = {"pid-file", 0, true, "FILE", "file to write the process id to"};
constexpr Option kNoPivot = {"no-pivot", 0, false, "",
                             "use MS_MOVE and chroot instead of pivot_root (for a root on ramfs; less safe)"};
constexpr Option kNoKeyring = {"no-new-keyring", 0, false, "", "keep the session keyring of the caller"};
constexpr Option kPreserveFds = {"preserve-fds", 0, true, "N",
                                 "pass N descriptors (3, 4, ...) on to the process"};
constexpr Option kDetach = {"detach", 'd', false, "", "return as soon as the process runs"};
constexpr Option kFormat = {"format", 'f', true, "table|json", "output format"};

std::vector<Option> create_options(bool run) {
  std::vector<Option> list = {kBundle,  kConfig,  kConsoleSocket, kPidfdSocket,
                              kPidFile, kNoPivot, kNoKeyring,     kPreserveFds};
  if (run) {
    list.push_back(kDetach);
    list.push_back({"keep", 0, false, "", "keep the container's state after it has exited"});
    list.push_back({"no-subreaper", 0, false, "", "do not adopt orphans of the container"});
  }
  return list;
}

std::vector<Option> exec_options() {
  return {kConsoleSocket,
          kPidfdSocket,
          kPidFile,
          kPreserveFds,
          kDetach,
          {"process", 'p', true, "FILE", "process specification (JSON) to run"},
          {"tty", 't', false, "", "give the process a terminal"},
          {"cwd", 0, true, "PATH", "working directory in the container"},
          {"env", 'e', true, "NAME=VALUE", "add to the environment (repeatable)"},
          {"user", 'u', true, "UID[:GID]", "user and group"},
          {"additional-gids", 'g', true, "GID", "additional group (repeatable)"},
          {"cap", 'c', true, "CAP", "add a capability (repeatable)"},
          {"process-label", 0, true, "LABEL", "SELinux label of the process"},
          {"apparmor", 0, true, "PROFILE", "AppArmor profile of the process"},
          {"no-new-privs", 0, false, "", "the process can gain no privileges"},
          {"cgroup", 0, true, "[CTRL:]PATH", "sub-cgroup of the container to run in (repeatable)"},
          {"ignore-paused", 0, false, "", "run in a paused container (the process waits for resume)"}};
}

std::vector<Option> update_options() {
  auto value = [](const char* name, const char* help) { return Option{name, 0, true, "N", help}; };
  return {{"resources", 'r', true, "FILE", "read linux.resources (JSON) from a file, - for standard input"},
          value("blkio-weight", "block I/O weight, 10 to 1000"),
          value("cpu-period", "CPU period in microseconds"),
          value("cpu-quota", "CPU time per period in microseconds; -1: unlimited"),
          value("cpu-burst", "CPU burst in microseconds"),
          value("cpu-share", "CPU shares (relative weight)"),
          value("cpu-rt-period", "real-time period in microseconds"),
          value("cpu-rt-runtime", "real-time run time in microseconds"),
          value("cpuset-cpus", "CPUs to use, 0-3,7"),
          value("cpuset-mems", "memory nodes to use"),
          value("cpu-idle", "1: run only when nothing else does"),
          value("memory", "memory limit in bytes; -1: unlimited"),
          value("memory-reservation", "soft memory limit in bytes"),
          value("memory-swap", "memory and swap limit in bytes; -1: unlimited"),
          value("kernel-memory", "(obsolete; do not use)"),
          value("kernel-memory-tcp", "(obsolete; do not use)"),
          value("pids-limit", "number of processes; -1: unlimited"),
          value("l3-cache-schema", "Intel RDT L3 cache schema"),
          value("mem-bw-schema", "Intel RDT memory bandwidth schema")};
}

}  // namespace

std::span<const Command> commands() {
  using List = std::vector<Option>;
  static constexpr Command kCommands[] = {
      {"create", "ID", "create a container; its process waits for start",
       [] { return create_options(false); }, 1, 1, run_create},
      {"start", "ID", "start the process of a created container", {}, 1, 1, run_start},
      {"run", "ID", "create and start a container", [] { return create_options(true); }, 1, 1, run_run},
      {"exec", "ID [COMMAND ARG...]", "run a further process in a container", exec_options, 1, 1 << 20,
       run_exec, 255},
      {"state", "ID", "print the state of a container (JSON)", {}, 1, 1, run_state},
      {"kill", "ID [SIGNAL]", "send a signal (default: TERM) to a container's init",
       [] {
         return List{{"all", 'a', false, "", "send it to all processes of the container"},
                     {"regex", 'r', false, "", "ID is a regular expression; all containers that match"}};
       },
       1, 2, run_kill},
      {"delete", "ID...", "remove stopped containers",
       [] {
         return List{{"force", 'f', false, "", "kill it first if it runs"},
                     {"regex", 'r', false, "", "IDs are regular expressions; all containers that match"}};
       },
       1, 1 << 20, run_delete},
      {"list", "", "list containers",
       [] {
         return List{kFormat, {"quiet", 'q', false, "", "ids only"}};
       },
       0, 0, run_list},
      {"ps", "ID [PS-OPTION...]", "list the processes of a container", [] { return List{kFormat}; }, 1,
       1 << 20, run_ps},
      {"pause", "ID", "suspend all processes of a container", {}, 1, 1, run_pause},
      {"resume", "ID", "continue the processes of a paused container", {}, 1, 1, run_resume},
      {"update", "ID", "change the resource limits of a container", update_options, 1, 1, run_update},
      {"events", "ID", "print OOM notices and statistics of a container (JSON)",
       [] {
         return List{{"interval", 0, true, "TIME", "time between statistics (default: 5s)"},
                     {"stats", 0, false, "", "print once and end"}};
       },
       1, 1, run_events},
      {"spec", "", "write a default config.json",
       [] {
         return List{kBundle, {"rootless", 0, false, "", "for a container of an ordinary user"}};
       },
       0, 0, run_spec},
      {"features", "", "print what this runtime supports (JSON)", {}, 0, 0, run_features},
      {"checkpoint", "ID", "save a running container by CRIU", {}, 1, 1, run_checkpoint, 1, true},
      {"restore", "ID", "restore a container by CRIU", {}, 1, 1, run_restore, 1, true},
      {"monitor", "", "supervise one container (protocol: runtime/protocol.h)",
       [] {
         return List{
             {"control-fd", 0, true, "FD", "connected SOCK_SEQPACKET socket that carries the protocol"}};
       },
       0, 0, run_monitor},
  };
  return kCommands;
}

}  // namespace onggi::rtcli
