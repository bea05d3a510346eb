#include "engine/engine.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <climits>

#include "base/file.h"
#include "engine/keeper.h"
#include "engine/slice.h"
#include "sys/process.h"
#include "sys/rootless.h"

namespace onggi::engine {

namespace {

// "MemTotal:       24683940 kB" -> bytes; 0 when it is not there.
uint64_t meminfo(const std::string& text, const std::string& name) {
  size_t at = text.find(name + ":");
  if (at == std::string::npos) return 0;
  size_t end = text.find("kB", at);
  auto n =
      parse_u64(trim(std::string_view(text).substr(at + name.size() + 1, end - at - name.size() - 1)), name);
  return n ? *n * 1024 : 0;
}

std::string own_program() {
  char path[PATH_MAX];
  ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  return n > 0 ? std::string(path, static_cast<size_t>(n)) : "/usr/bin/onggi";
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::open(const PathOptions& options,
                                             const std::vector<std::string>& hints) {
  std::unique_ptr<Engine> engine(new Engine(TRY(find_paths(options))));
  if (::geteuid() != 0) TRY_VOID(engine->enter_user_namespace(hints));
  if (options.heal) heal_keeper(*engine);
  return engine;
}

// The monitors hold the namespaces that ran their containers: that of the container in question, else that of
// any, so that there is usually one; without any a new one is made.
Result<> Engine::enter_user_namespace(const std::vector<std::string>& hints) {
  std::vector<std::string> candidates;
  for (const auto& word : hints)
    if (auto id = containers_.resolve(word)) candidates.push_back(*id);
  auto all = TRY(containers_.ids());
  candidates.insert(candidates.end(), all.begin(), all.end());
  for (const auto& id : candidates) {
    auto dir = containers_.open(id);
    auto state = dir ? dir->state() : Result<ContainerState>(fail(dir.error()));
    if (state && state->status == "running" && sys::enter_user_namespace_of(state->monitor)) return {};
  }
  return sys::enter_own_user_namespace();
}

void Engine::after_fork() {
  // Not closed: closing would speak to the database on the parent's behalf.
  if (images_) (void)new std::optional<image::Store>(std::move(images_));
  images_.reset();
}

Result<image::Store*> Engine::images() {
  if (!images_) images_ = TRY_CTX(image::Store::open(paths_.root), "open the image store");
  return &*images_;
}

const HostFacts& Engine::host() {
  if (host_) return *host_;
  HostFacts& facts = host_.emplace();
  facts.cgroup_v2 = ::access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
  facts.rootless = paths_.rootless;
  CgroupPlace place = find_cgroup_place(paths_.rootless, facts.cgroup_v2);
  facts.cgroups = place.cgroups;
  facts.systemd = place.systemd;
  facts.cgroup_base = place.base;
  if (auto text = read_file("/proc/meminfo", 65536)) {
    facts.memory_total = meminfo(*text, "MemTotal");
    facts.swap = meminfo(*text, "SwapTotal") > 0;
  }
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) facts.nofile_hard = limit.rlim_max;
  return facts;
}

std::vector<std::string> Engine::own_command(std::vector<std::string> words) const {
  std::vector<std::string> all = {own_program(), "--root", paths_.root, "--run", paths_.run};
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

void Engine::run_in_background(std::vector<std::string> given) const {
  std::vector<std::string> words = own_command(std::move(given));
  std::vector<const char*> argv;
  for (const auto& w : words) argv.push_back(w.c_str());
  argv.push_back(nullptr);
  auto null = open_at(AT_FDCWD, "/dev/null", O_RDWR);
  if (!null) return;
  sys::SpawnArgs args;
  args.exec_path = argv[0];
  args.argv = argv.data();
  args.envp = environ;
  args.directory = "/";
  args.cgroup_fd = monitors_cgroup_.get();
  for (int& fd : args.stdio) fd = null->get();
  (void)sys::spawn(args);  // reaped by whoever reaps this process's orphans
}

}  // namespace onggi::engine
