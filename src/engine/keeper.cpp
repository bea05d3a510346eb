#include "engine/keeper.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "engine/network_live.h"
#include "sys/process.h"

namespace onggi::engine {

std::string keeper_lock_path(const Engine& engine) { return network_run_path(engine) + "/keeper.lock"; }

bool keeper_runs(const Engine& engine) {
  auto lock = open_at(AT_FDCWD, keeper_lock_path(engine), O_RDONLY);
  return lock && ::flock(lock->get(), LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

void ensure_keeper(Engine& engine) {
  if (keeper_runs(engine)) return;
  const Paths& paths = engine.paths();
  std::string program = paths.libexec + "/onggi-keeper";
  auto null = open_at(AT_FDCWD, "/dev/null", O_RDWR);
  if (!null || ::access(program.c_str(), X_OK) != 0) return;
  const char* argv[] = {program.c_str(), "--root", paths.root.c_str(), "--run", paths.run.c_str(), nullptr};
  sys::SpawnArgs args;
  args.exec_path = argv[0];
  args.argv = argv;
  args.envp = environ;
  args.directory = "/";
  args.cgroup_fd = engine.monitors_cgroup();  // a login that ends takes nothing along
  for (int& fd : args.stdio) fd = null->get();
  (void)sys::spawn(args);
}

void heal_keeper(Engine& engine) {
  if (::access(keeper_lock_path(engine).c_str(), F_OK) != 0 || keeper_runs(engine)) return;
  for (const auto& record : all_live(engine))
    if (is_alive(record)) return ensure_keeper(engine);
}

}  // namespace onggi::engine
