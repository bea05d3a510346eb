#include "keeper/keeper.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <map>
#include <memory>
#include <set>

#include "base/file.h"
#include "base/tree.h"
#include "engine/keeper.h"
#include "engine/network_live.h"
#include "engine/network_options.h"
#include "engine/network_store.h"
#include "keeper/firewall_watch.h"
#include "keeper/forwarder.h"
#include "keeper/listeners.h"
#include "keeper/loop.h"
#include "keeper/name_server.h"
#include "keeper/name_table.h"
#include "sys/process.h"

namespace onggi::keeper {

namespace {

constexpr int64_t kLingerMs = 1000;  // after the last container: the next one is often near
constexpr int64_t kLookMs = 5000;    // at whether the containers still run
constexpr uint32_t kFileEvents = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR;

std::string own_program() {
  char path[PATH_MAX];
  ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  return n > 0 ? std::string(path, static_cast<size_t>(n)) : "";
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}

NamedEndpoint endpoint_of(const engine::EndpointRecord& r) {
  NamedEndpoint e;
  e.container = r.container;
  e.names = {lower(r.name), r.container.substr(0, 12)};
  for (const auto& alias : r.aliases) e.names.push_back(lower(alias));
  if (!r.hostname.empty()) e.names.push_back(lower(r.hostname));
  if (auto a = IpAddress::parse(r.ipv4)) e.ipv4 = *a;
  if (auto a = IpAddress::parse(r.ipv6)) e.ipv6 = *a;
  e.ports = r.ports;
  for (const auto& text : r.resolvers)
    if (auto a = IpAddress::parse(text)) e.resolvers.push_back(*a);
  e.drained = r.drained;
  return e;
}

NamedNetwork network_of(const engine::NetworkConfig& n) {
  NamedNetwork out;
  out.id = n.id;
  out.name = lower(n.name);
  out.internal = n.internal;
  for (const auto& s : n.subnets)
    if (auto subnet = IpPrefix::parse(s.subnet)) out.subnets.push_back(*subnet);
  return out;
}

class Keeper {
 public:
  Keeper(engine::Engine& engine, Loop loop, UniqueFd lock)
      : engine_(engine), loop_(std::move(loop)), lock_(std::move(lock)), forwarder_(loop_) {
    table_.hide_v6_of([this](const std::string& container) {
      auto live = engine::read_live(engine_, container);
      return live && engine::is_alive(*live) && listens_on_v4_alone(engine::sockets_of(live->pid, "tcp"));
    });
  }

  Result<> run();

 private:
  // What there is to watch, and what an event of it means.
  struct Watched {
    enum class Kind : uint8_t { kNetworks, kNetwork, kEndpoints, kLive } kind;
    std::string network;
  };

  Result<> watch_files();
  void watch(const std::string& path, Watched what);
  void read_files();
  void on_file(const Watched& what, const std::string& name, uint32_t mask);
  void load_networks();
  void load_network(const std::string& id);
  void load_endpoint(const std::string& network, const std::string& file);
  void look_at_live();
  void serve(const engine::LiveRecord& record, std::set<std::string>& wanted);
  void mark_serving(const std::string& network, bool serving);
  Result<> start_watcher();
  bool may_end();

  engine::Engine& engine_;
  Loop loop_;
  UniqueFd lock_, files_;
  NameTable table_;
  Forwarder forwarder_;
  std::map<int, Watched> watched_;
  std::map<std::string, std::unique_ptr<NameServer>> servers_;  // by network, or "container ID"
  std::set<std::string> networks_;
  sys::Spawned watcher_;
  bool live_changed_ = true;
  int64_t idle_since_ = 0, looked_at_ = 0;
};

Result<> Keeper::watch_files() {
  files_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!files_) return fail(Error::os("watch files", ""));
  watch(engine_.paths().root + "/networks", {Watched::Kind::kNetworks, ""});
  watch(engine::network_run_path(engine_) + "/live", {Watched::Kind::kLive, ""});
  return loop_.add(files_.get(), EPOLLIN, [this](uint32_t) { read_files(); });
}

void Keeper::watch(const std::string& path, Watched what) {
  int wd = ::inotify_add_watch(files_.get(), path.c_str(), kFileEvents);
  if (wd >= 0) watched_[wd] = std::move(what);
}

void Keeper::read_files() {
  alignas(inotify_event) char buffer[65536];
  for (;;) {
    ssize_t n = ::read(files_.get(), buffer, sizeof buffer);
    if (n <= 0) return;
    for (char* at = buffer; at < buffer + n;) {
      auto* e = reinterpret_cast<inotify_event*>(at);
      at += sizeof *e + e->len;
      if (e->mask & IN_Q_OVERFLOW) {
        load_networks();
        live_changed_ = true;
      }
      auto what = watched_.find(e->wd);
      if (what == watched_.end()) continue;
      if (e->mask & IN_IGNORED) {
        watched_.erase(what);
        continue;
      }
      Watched copy = what->second;
      on_file(copy, e->len ? e->name : "", e->mask);
    }
  }
}

void Keeper::on_file(const Watched& what, const std::string& name, uint32_t mask) {
  bool gone = mask & (IN_DELETE | IN_MOVED_FROM);
  switch (what.kind) {
    case Watched::Kind::kLive:
      live_changed_ = true;
      break;
    case Watched::Kind::kNetworks:
      if (!gone) return load_network(name);
      table_.remove_network(name);
      networks_.erase(name);
      live_changed_ = true;
      break;
    case Watched::Kind::kNetwork:
      if (name == "network.json" && !gone) load_network(what.network);
      break;
    case Watched::Kind::kEndpoints:
      if (!name.ends_with(".json")) return;
      if (gone)
        table_.remove_endpoint(what.network, name.substr(0, name.size() - 5));
      else
        load_endpoint(what.network, name);
      break;
  }
}

void Keeper::load_endpoint(const std::string& network, const std::string& file) {
  auto record = engine::read_endpoint(engine_, network, file.substr(0, file.size() - 5));
  if (record)
    table_.set_endpoint(network, endpoint_of(*record));
  else
    table_.remove_endpoint(network, file.substr(0, file.size() - 5));
}

// The watches first, then what is there: nothing falls in between.
void Keeper::load_network(const std::string& id) {
  constexpr size_t kIdLength = 64;
  if (id.size() != kIdLength) return;
  std::string path = engine::network_path(engine_, id);
  if (networks_.count(id) == 0) {
    watch(path, {Watched::Kind::kNetwork, id});
    watch(path + "/endpoints", {Watched::Kind::kEndpoints, id});
  }
  auto network = engine::read_network(engine_, id);
  if (!network) return;  // half-made: its definition will be told of
  networks_.insert(id);
  watch(path + "/endpoints", {Watched::Kind::kEndpoints, id});
  table_.set_network(network_of(*network));
  if (auto records = engine::read_endpoints(engine_, id))
    for (const auto& r : *records) table_.set_endpoint(id, endpoint_of(r));
  live_changed_ = true;
}

void Keeper::load_networks() {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir((engine_.paths().root + "/networks").c_str()),
                                          ::closedir);
  while (dirent* e = dir ? ::readdir(dir.get()) : nullptr) load_network(e->d_name);
}

void Keeper::mark_serving(const std::string& network, bool serving) {
  std::string path = engine::serving_path(engine_, network);
  if (serving)
    (void)write_file(path, "", O_CREAT | O_TRUNC, 0600);
  else
    (void)::unlink(path.c_str());
}

// One name service for each bridge that has containers, one in each container that is on no bridge.
void Keeper::serve(const engine::LiveRecord& record, std::set<std::string>& wanted) {
  bool on_bridge = std::any_of(record.links.begin(), record.links.end(),
                               [](const auto& l) { return l.driver == "bridge"; });
  if (!on_bridge && !record.links.empty()) {
    std::string key = "container " + record.id;
    wanted.insert(key);
    if (servers_.count(key)) return;
    if (auto server = NameServer::in_container(loop_, table_, forwarder_, record.id, record.pid)) {
      (*server)->before_answer([this] { read_files(); });
      servers_[key] = std::move(*server);
      mark_serving(record.id, true);
    }
    return;
  }
  for (const auto& link : record.links) {
    if (link.driver != "bridge") continue;
    wanted.insert(link.network_id);
    const NamedNetwork* network = table_.network(link.network_id);
    if (!network || servers_.count(link.network_id)) continue;
    auto server = NameServer::on_network(loop_, table_, forwarder_, *network, link.master);
    if (!server) continue;  // tried again with the next look
    (*server)->before_answer([this] { read_files(); });
    servers_[link.network_id] = std::move(*server);
    mark_serving(link.network_id, true);
  }
}

void Keeper::look_at_live() {
  live_changed_ = false;
  looked_at_ = steady_ms();
  std::set<std::string> wanted;
  for (const auto& record : engine::all_live(engine_))
    if (engine::is_alive(record)) serve(record, wanted);
  for (auto at = servers_.begin(); at != servers_.end();) {
    if (wanted.count(at->first)) {
      ++at;
      continue;
    }
    mark_serving(at->first.substr(at->first.rfind(' ') + 1), false);
    at = servers_.erase(at);
  }
  if (!wanted.empty())
    idle_since_ = 0;
  else if (!idle_since_)
    idle_since_ = looked_at_;
}

// Under the lock that a starting container takes to write itself down: it either did so before, and is seen,
// or will find this keeper's lock free and start another.
bool Keeper::may_end() {
  auto lock = engine::lock_live_networks(engine_);
  if (!lock) return true;
  for (const auto& record : engine::all_live(engine_))
    if (engine::is_alive(record)) return false;
  // First the watcher, who would take this for a failure.
  if (watcher_.pidfd) {
    loop_.remove(watcher_.pidfd.get());
    (void)sys::pidfd_signal(watcher_.pidfd.get(), SIGKILL);
    (void)sys::wait_pidfd(watcher_.pidfd.get());
  }
  lock_.reset();
  return true;
}

Result<> Keeper::start_watcher() {
  const auto& paths = engine_.paths();
  std::string program = own_program(), pid = std::to_string(::getpid());
  const char* argv[] = {program.c_str(),   "--root",  paths.root.c_str(), "--run",
                        paths.run.c_str(), "--watch", pid.c_str(),        nullptr};
  sys::SpawnArgs args;
  args.exec_path = argv[0];
  args.argv = argv;
  args.envp = environ;
  args.directory = "/";
  watcher_ = TRY(sys::spawn(args));
  return loop_.add(watcher_.pidfd.get(), EPOLLIN, [this](uint32_t) {
    loop_.remove(watcher_.pidfd.get());
    (void)sys::wait_pidfd(watcher_.pidfd.get());
    watcher_ = {};
    (void)start_watcher();
  });
}

Result<> Keeper::run() {
  TRY_VOID(watch_files());
  std::string serving = engine::network_run_path(engine_) + "/serving";
  // What a keeper that was killed has said about itself.
  if (auto dir = open_at(AT_FDCWD, engine::network_run_path(engine_), O_RDONLY | O_DIRECTORY)) {
    (void)remove_tree_at(dir->get(), "serving");
    (void)::mkdir(serving.c_str(), 0700);
  }
  TRY_VOID(start_watcher());
  load_networks();
  look_at_live();
  // What was done to the table while nobody looked is not known.
  auto heal = [this] { (void)engine::rebuild_firewall(engine_); };
  auto firewall = TRY(FirewallWatch::start(loop_, engine::firewall_table(engine_), heal));
  heal();
  for (;;) {
    int64_t now = steady_ms();
    if (live_changed_ || now - looked_at_ >= kLookMs) look_at_live();
    for (const auto& [key, server] : servers_) server->expire();
    if (idle_since_ && now - idle_since_ >= kLingerMs) {
      if (may_end()) return {};
      live_changed_ = true;
    }
    int wait = forwarder_.expire();
    int64_t look = idle_since_ ? 100 : kLookMs;
    loop_.turn(static_cast<int>(wait >= 0 ? std::min<int64_t>(wait, look) : look));
  }
}

// Waits for the keeper to end and becomes the next one. One that ends as it should kills its watcher before.
void watch_over(int pid) {
  auto process = sys::pidfd_open(pid);
  if (process) (void)sys::wait_exited(process->get(), -1);
}

}  // namespace

Result<> run_keeper(const KeeperOptions& options) {
  ::signal(SIGPIPE, SIG_IGN);
  (void)::setsid();
  if (options.watch) {
    watch_over(options.watch);
    // As a new program: its memory is that of a keeper, and so are the words that people see.
    std::string program = own_program();
    const char* argv[] = {program.c_str(),     "--root", options.root.c_str(), "--run",
                          options.run.c_str(), nullptr};
    ::execv(argv[0], const_cast<char* const*>(argv));
    return fail(Error::os("become the keeper", program));
  }
  auto engine = TRY(engine::Engine::open({options.root, options.run, false}));
  { UniqueFd directories = TRY(engine::lock_live_networks(*engine)); }
  UniqueFd lock = TRY(open_at(AT_FDCWD, engine::keeper_lock_path(*engine), O_RDWR | O_CREAT, 0600));
  // Another one is at work. (The one that a watcher saw die gave its lock back with its life.)
  // A command that looks whether a keeper is at work holds the lock for a moment, too.
  constexpr int kMostTries = 40;
  constexpr useconds_t kPause = 5000;
  for (int tries = 0; ::flock(lock.get(), LOCK_EX | (options.wait ? 0 : LOCK_NB)) < 0; tries++) {
    if (!options.wait && tries == kMostTries) return {};
    if (!options.wait) ::usleep(kPause);
  }
  Keeper keeper(*engine, TRY(Loop::create()), std::move(lock));
  return keeper.run();
}

}  // namespace onggi::keeper
