#include "sys/user_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "sys/process.h"

namespace onggi::sys {

namespace {

std::string map_text(const std::vector<IdRange>& map) {
  std::string text;
  for (const auto& r : map)
    text += std::to_string(r.inside) + " " + std::to_string(r.outside) + " " + std::to_string(r.size) + "\n";
  return text;
}

bool only_own(const std::vector<IdRange>& map, uint32_t id) {
  return map.size() == 1 && map[0].outside == id && map[0].size == 1;
}

std::string find_program(const std::string& name) {
  for (const char* dir : {"/usr/bin/", "/usr/local/bin/", "/bin/", "/usr/sbin/"})
    if (::access((dir + name).c_str(), X_OK) == 0) return dir + name;
  return {};
}

Result<> run_mapper(const std::string& name, int pid, const std::vector<IdRange>& map) {
  std::string program = find_program(name);
  if (program.empty())
    return fail(Error::unsupported("map ids of a rootless container: " + name +
                                   " is not installed (Debian: package uidmap)"));
  std::vector<std::string> words = {name, std::to_string(pid)};
  for (const auto& r : map)
    for (uint32_t n : {r.inside, r.outside, r.size}) words.push_back(std::to_string(n));
  std::vector<const char*> argv;
  for (const auto& w : words) argv.push_back(w.c_str());
  argv.push_back(nullptr);
  const char* envp[] = {"PATH=/usr/bin:/bin", nullptr};
  SpawnArgs args;
  args.exec_path = program.c_str();
  args.argv = argv.data();
  args.envp = envp;
  Spawned s = TRY(spawn(args));
  ExitStatus status = TRY(wait_pidfd(s.pidfd.get()));
  if (status.code() == 0) return {};
  return fail(
      Error(ErrorKind::kPermission, name + " refused the id map (exit " + std::to_string(status.code()) +
                                        "); the ranges must be granted in /etc/subuid and /etc/subgid"));
}

}  // namespace

Result<> write_id_maps(int pid, const std::vector<IdRange>& uids, const std::vector<IdRange>& gids,
                       bool by_helper) {
  std::string proc = "/proc/" + std::to_string(pid) + "/";
  if (by_helper) {
    if (only_own(gids, ::getegid())) {
      TRY_VOID(write_file(proc + "setgroups", "deny"));
      TRY_VOID(write_file(proc + "gid_map", map_text(gids)));
    } else {
      TRY_VOID(run_mapper("newgidmap", pid, gids));
    }
    if (only_own(uids, ::geteuid())) return write_file(proc + "uid_map", map_text(uids));
    return run_mapper("newuidmap", pid, uids);
  }
  TRY_VOID(write_file(proc + "gid_map", map_text(gids)));
  return write_file(proc + "uid_map", map_text(uids));
}

Result<NsFd> make_user_namespace(const std::vector<IdRange>& uids, const std::vector<IdRange>& gids) {
  // A fork that only waits to be killed: its namespace outlives it through the descriptor. It has all of this
  // process's descriptors, locks among them, so it must not outlive this process either.
  const pid_t parent = ::getpid();
  long pid = ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (pid < 0) return fail(Error::os("create a user namespace for an id-mapped mount", ""));
  if (pid == 0) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (::getppid() == parent) ::pause();
    ::_exit(0);
  }
  auto mapped = write_id_maps(static_cast<int>(pid), uids, gids, false);
  auto fd = open_at(AT_FDCWD, "/proc/" + std::to_string(pid) + "/ns/user", O_RDONLY);
  ::kill(static_cast<pid_t>(pid), SIGKILL);
  (void)wait_pid(static_cast<int>(pid));
  if (!mapped) return fail(std::move(mapped).error().wrap("map ids for an id-mapped mount"));
  if (!fd) return fail(std::move(fd).error());
  return NsFd(fd->release());
}

}  // namespace onggi::sys
