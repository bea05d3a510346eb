#include "engine/lifecycle.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <functional>
#include <memory>

#include "base/file.h"
#include "engine/clock.h"
#include "engine/events.h"
#include "engine/network_live.h"
#include "engine/network_store.h"
#include "engine/runtime_call.h"
#include "engine/slice.h"
#include "engine/usage.h"
#include "engine/volumes.h"
#include "sys/cgroup.h"
#include "sys/overlay.h"
#include "sys/process.h"

namespace onggi::engine {

namespace {

constexpr int kDefaultStopSeconds = 10;

struct Running {
  ContainerDir dir;
  ContainerConfig config;
  ContainerState state;
  PidFd process, monitor;
};

// Locked, with descriptors that outlive the numbers; `process` is empty when it does not run.
Result<Running> look(Engine& engine, const std::string& id) {
  Running r;
  r.dir = TRY(engine.containers().open(id));
  TRY_VOID(r.dir.lock());
  r.config = TRY(r.dir.config());
  r.state = TRY(r.dir.state());
  if (r.state.status != "running") return r;
  if (auto fd = sys::pidfd_open(r.state.pid); fd && sys::start_time(r.state.pid) == r.state.pid_start)
    r.process = std::move(*fd);
  if (auto fd = sys::pidfd_open(r.state.monitor)) r.monitor = std::move(*fd);
  return r;
}

// The monitor ends when the end is recorded. Without one (it was killed) that falls to this command.
Result<> settle(Engine& engine, Running& r) {
  r.dir.unlock();
  if (r.monitor) (void)sys::wait_exited(r.monitor.get(), 30'000);
  auto state = r.dir.state();
  auto text = read_file(engine.paths().live(r.config.id) + "/state.json");
  if (text && text->find("\"status\":\"running\"") != std::string::npos &&
      (!state || state->status == "exited"))
    return container_exited(engine, r.config.id);
  return {};
}

// Would PID 1 of a namespace notice the signal? The kernel drops one that is neither caught nor blocked
// (proc_pid_status(5): SigCgt, SigBlk; a blocked one waits for sigwait). Unknown counts as yes.
bool notices(int pid, int signal) {
  auto text = read_file("/proc/" + std::to_string(pid) + "/status", 65536);
  if (!text) return true;
  uint64_t bits = 0;
  for (const char* field : {"SigCgt:\t", "SigBlk:\t"}) {
    size_t at = text->find(field);
    if (at == std::string::npos) return true;
    bits |= ::strtoull(text->c_str() + at + 8, nullptr, 16);
  }
  return (bits >> (signal - 1) & 1) != 0;
}

std::string caller() {
  return "onggi (pid " + std::to_string(::getpid()) + ", uid " + std::to_string(::getuid()) + ")";
}

Result<int> stop_signal_of(const ContainerConfig& c, const std::string& given) {
  if (!given.empty()) return signal_number(given);
  return c.stop_signal.empty() ? Result<int>(SIGTERM) : signal_number(c.stop_signal);
}

void event(Engine& engine, const ContainerConfig& c, const char* action, oci::StringMap attributes = {}) {
  record_event(engine.paths(), {"container", action, c.id, c.name, c.image, std::move(attributes)});
}

// Marks that somebody wants it stopped, so that no policy starts it again.
Result<> mark_stopped(Running& r, const char* how) {
  r.state.stopped_by_user = true;
  r.state.stopped_by = std::string(how) + " by " + caller();
  return r.dir.save_state(r.state);
}

bool is_frozen(Engine& engine, const ContainerConfig& config) {
  std::string base = "/sys/fs/cgroup", path = cgroup_path(config, engine.host());
  if (engine.host().cgroup_v2) {
    auto value = sys::read_cgroup_value(base + path + "/cgroup.freeze");
    return value && *value == "1";
  }
  auto value = sys::read_cgroup_value(base + "/freezer" + path + "/freezer.state");
  return value && *value != "THAWED";
}

// A frozen process takes no signal, on cgroup v1 not even SIGKILL: whoever wants it to end lets it go on
// first.
void thaw(Engine& engine, const ContainerConfig& config) {
  if (is_frozen(engine, config)) (void)call_runtime(engine.paths(), {"resume", config.id});
}

}  // namespace

Result<int> signal_number(const std::string& given) {
  if (auto n = parse_u64(given, "signal"); n && *n <= 64) return static_cast<int>(*n);
  std::string name = given;
  for (char& c : name) c = static_cast<char>(::toupper(static_cast<unsigned char>(c)));
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (int n = 1; n < 32; n++)
    if (const char* abbreviation = ::sigabbrev_np(n); abbreviation && name == abbreviation) return n;
  if (name.starts_with("RTMIN")) {
    auto plus =
        name.size() == 5 ? Result<uint64_t>(0) : parse_u64(std::string_view(name).substr(6), "signal");
    if (plus && *plus <= 30) return 34 + static_cast<int>(*plus);
  }
  if (name == "RTMAX") return 64;
  return fail(Error::invalid("Invalid signal: " + given));
}

namespace {

int64_t now_ms() { return now_nanoseconds() / 1'000'000; }

// A stop or a removal in two halves, so that for several containers every signal is sent before the first end
// is waited for.
struct Ending {
  Running r;
  int64_t deadline_ms = -1;  // when SIGKILL follows; -1: never
  bool killed = false;       // SIGKILL was sent
  bool settled = false;      // nothing to wait for
};

Result<> send_kill(Engine& engine, Ending& e) {
  event(engine, e.r.config, "kill", {{"signal", "9"}});
  e.killed = true;
  auto sent = sys::pidfd_signal(e.r.process.get(), SIGKILL);
  return sent || sent.error().kind() == ErrorKind::kNotFound ? Result<>() : sent;
}

Result<Ending> begin_stop(Engine& engine, const std::string& id, std::optional<int> timeout,
                          const std::string& signal) {
  Ending e{TRY(look(engine, id))};
  Running& r = e.r;
  if (!r.process) {
    e.settled = true;
    TRY_VOID(r.state.status == "restarting" ? mark_stopped(r, "stop") : settle(engine, r));
    r.dir.unlock();
    return e;
  }
  int number = TRY(stop_signal_of(r.config, signal));
  int seconds = timeout.value_or(r.config.stop_timeout.value_or(kDefaultStopSeconds));
  TRY_VOID(mark_stopped(r, "stop"));
  // The engine's init waits for signals in a way that /proc does not show. For another PID 1 of a namespace a
  // signal without a handler is dropped by the kernel: waiting would be in vain.
  bool deaf = !r.config.init && !notices(r.state.pid, number);
  r.dir.unlock();
  event(engine, r.config, "kill", {{"signal", std::to_string(number)}});
  thaw(engine, r.config);
  if (deaf)
    TRY_VOID(send_kill(engine, e));
  else
    (void)sys::pidfd_signal(r.process.get(), number);
  if (seconds >= 0) e.deadline_ms = now_ms() + seconds * int64_t{1000};
  return e;
}

// Waits for the process; past its time it is killed. An error when not even that ends it.
Result<> await_end(Engine& engine, Ending& e, const char* what) {
  constexpr int kDeadMs = 10'000;  // what a killed process may take
  if (!e.killed) {
    int64_t left = e.deadline_ms < 0 ? -1 : std::max<int64_t>(e.deadline_ms - now_ms(), 0);
    if (sys::wait_exited(e.r.process.get(), static_cast<int>(left))) return {};
    TRY_VOID(send_kill(engine, e));
  }
  if (sys::wait_exited(e.r.process.get(), kDeadMs)) return {};
  return fail(Error::busy(std::string(what) + " the container " + e.r.config.name +
                          ": its process does not die (state " +
                          std::string(1, sys::process_state(e.r.state.pid)) +
                          "); it may be waiting for a disk or network file system"));
}

Result<> finish_stop(Engine& engine, Ending& e) {
  if (e.settled) return {};
  TRY_VOID(await_end(engine, e, "stop"));
  TRY_VOID(settle(engine, e.r));
  event(engine, e.r.config, "stop");
  return {};
}

// Both halves for each; `each` hears the outcomes in the order given.
void end_all(const std::vector<std::string>& ids,
             const std::function<Result<Ending>(const std::string&)>& begin,
             const std::function<Result<>(Ending&)>& finish,
             const std::function<void(size_t index, const Result<>&)>& each) {
  std::vector<Result<Ending>> begun;
  for (const auto& id : ids) begun.push_back(begin(id));
  for (size_t n = 0; n < begun.size(); n++) {
    each(n, begun[n] ? finish(*begun[n]) : Result<>(fail(begun[n].error())));
    begun[n] = fail(Error::internal("done"));  // its descriptors are not held until the last has ended
  }
}

}  // namespace

Result<> stop_container(Engine& engine, const std::string& id, std::optional<int> timeout,
                        const std::string& signal) {
  Ending e = TRY(begin_stop(engine, id, timeout, signal));
  return finish_stop(engine, e);
}

void stop_containers(Engine& engine, const std::vector<std::string>& ids, std::optional<int> timeout,
                     const std::string& signal, const EachResult& each) {
  end_all(
      ids, [&](const std::string& id) { return begin_stop(engine, id, timeout, signal); },
      [&](Ending& e) { return finish_stop(engine, e); }, each);
}

Result<> kill_container(Engine& engine, const std::string& id, const std::string& signal) {
  Running r = TRY(look(engine, id));
  int number = TRY(signal.empty() ? Result<int>(SIGKILL) : signal_number(signal));
  if (!r.process)
    return fail(Error::busy("cannot kill container: " + r.config.name + ": container " + r.config.id +
                            " is not running"));
  if (number == SIGKILL || number == TRY(stop_signal_of(r.config, ""))) {
    TRY_VOID(mark_stopped(r, "kill"));
    thaw(engine, r.config);
  }
  r.dir.unlock();
  event(engine, r.config, "kill", {{"signal", std::to_string(number)}});
  TRY_VOID(sys::pidfd_signal(r.process.get(), number));
  return number == SIGKILL ? settle(engine, r) : Result<>();
}

Result<> pause_container(Engine& engine, const std::string& id, bool pause) {
  Running r = TRY(look(engine, id));
  if (!r.process)
    return fail(Error::busy("cannot " + std::string(pause ? "pause" : "unpause") + " container " +
                            r.config.name + ": it is not running"));
  TRY_VOID(call_runtime(engine.paths(), {pause ? "pause" : "resume", id}));
  event(engine, r.config, pause ? "pause" : "unpause");
  return {};
}

Result<> restart_container(Engine& engine, const std::string& id, std::optional<int> timeout) {
  // An auto-removed container would be gone between its end and its new start.
  TRY_VOID(stop_container(engine, id, timeout));
  TRY(start_container(engine, id, {}));
  ContainerConfig config = TRY(TRY(engine.containers().open(id)).config());
  event(engine, config, "restart");
  return {};
}

Result<> rename_container(Engine& engine, const std::string& id, const std::string& name) {
  ContainerDir dir = TRY(engine.containers().open(id));
  TRY_VOID(dir.lock());
  std::string old = TRY(dir.config()).name;
  TRY_VOID(engine.containers().rename(dir, name));
  ContainerConfig renamed = TRY(dir.config());
  for (const auto& e : renamed.endpoints) TRY_VOID(save_endpoint(engine, renamed, e));
  record_event(engine.paths(), {"container", "rename", id, name, "", {{"oldName", old}}});
  return {};
}

namespace {

// With its move to the trash the container is gone for the user. What the runtime, the kernel and RUN still
// have of it is the sweeper's (finish_removed), which nobody waits for; the caller starts it.
Result<> remove_locked(Engine& engine, ContainerDir& dir, const ContainerConfig& config, bool volumes) {
  network_down(engine, config.id);
  TRY_VOID(engine.containers().remove(dir));
  release_endpoints(engine, config);
  if (auto store = engine.images()) (void)(*store)->release(config.id);
  for (const auto& m : config.mounts)
    if (volumes && m.type == "volume" && m.anonymous) (void)remove_volume(engine, m.source);
  event(engine, config, "destroy");
  return {};
}

}  // namespace

void finish_removed(Engine& engine, const std::string& id) {
  const Paths& paths = engine.paths();
  // Again, for a remover that was killed before it came to this.
  network_down(engine, id);
  if (auto text = read_file(paths.root + "/trash/" + id + "/config.json"))
    if (auto config = json_parse<ContainerConfig>(*text, "removed container"))
      release_endpoints(engine, *config);
  // Where the sweeper comes from a monitor, the root is still mounted in its mount namespace.
  (void)sys::detach_mount(paths.live(id) + "/rootfs");
  if (::access((paths.runtime_root() + "/" + id).c_str(), F_OK) == 0)
    (void)call_runtime(paths, {"delete", "--force", id});
  if (auto store = engine.images()) (void)(*store)->release(id);
}

namespace {

Result<Ending> begin_removal(Engine& engine, const std::string& id, const RemoveOptions& options) {
  Ending e{TRY(look(engine, id))};
  Running& r = e.r;
  if (!r.process) {
    e.settled = true;
    if (r.state.status == "restarting" || r.state.status == "starting") TRY_VOID(mark_stopped(r, "remove"));
    r.dir.unlock();  // two commands about the same containers in another order must not wait for each other
    return e;
  }
  if (!options.force)
    return fail(Error::busy("cannot remove container \"" + r.config.name +
                            "\": container is running: stop the container before removing or force remove"));
  if (r.config.auto_remove) {
    r.config.auto_remove = false;  // this command removes it
    TRY_VOID(r.dir.save_config(r.config));
  }
  r.state.removing = true;
  TRY_VOID(mark_stopped(r, "remove"));
  thaw(engine, r.config);
  r.dir.unlock();
  TRY_VOID(send_kill(engine, e));
  return e;
}

Result<> finish_removal(Engine& engine, Ending& e, const RemoveOptions& options) {
  if (!e.settled) {
    TRY_VOID(await_end(engine, e, "remove"));
    TRY_VOID(settle(engine, e.r));
  }
  TRY_VOID(e.r.dir.lock());
  if (TRY(e.r.dir.state()).status == "running")
    return fail(Error::busy("cannot remove container \"" + e.r.config.name + "\": it was started meanwhile"));
  return remove_locked(engine, e.r.dir, e.r.config, options.volumes);
}

}  // namespace

Result<> remove_container(Engine& engine, const std::string& id, const RemoveOptions& options) {
  Result<> outcome;
  remove_containers(engine, {id}, options, [&](size_t, const Result<>& r) { outcome = r; });
  return outcome;
}

void remove_containers(Engine& engine, const std::vector<std::string>& ids, const RemoveOptions& options,
                       const EachResult& each) {
  end_all(
      ids, [&](const std::string& id) { return begin_removal(engine, id, options); },
      [&](Ending& e) { return finish_removal(engine, e, options); }, each);
  engine.sweep_in_background();
}

Result<int> wait_container(Engine& engine, const std::string& id, const std::string& condition) {
  bool next = condition == "next-exit", removed = condition == "removed";
  if (!next && !removed && !condition.empty() && condition != "not-running")
    return fail(Error::invalid("invalid condition: \"" + condition + "\" (not-running, next-exit, removed)"));
  int code = 0;
  for (;;) {
    auto dir = engine.containers().open(id);
    if (!dir) return code;
    ContainerState state = TRY(dir->state());
    if (state.status == "running") {
      // The monitor's word is exact even when the container is removed at once.
      if (auto client = MonitorClient::connect(engine.paths().live(id))) {
        while (auto m = client->receive())
          if (m->type == runtime::MonitorMessage::kExited && m->payload.size() >= 4) {
            int32_t value;
            memcpy(&value, m->payload.data(), sizeof value);
            code = value;
          }
      }
      if (auto monitor = sys::pidfd_open(state.monitor)) (void)sys::wait_exited(monitor->get(), -1);
      if (!removed) return code;
      next = false;
    } else if (!next && !removed && state.status != "restarting" && state.status != "starting") {
      return state.exit_code;
    } else {
      code = state.exit_code;
    }
    constexpr int kPollMicroseconds = 20'000;  // of states that nobody announces
    ::usleep(kPollMicroseconds);
  }
}

std::string status_of(Engine& engine, const ContainerConfig& config, const ContainerState& state) {
  if (state.status == "starting") return "created";
  if (state.status != "running") return state.status;
  return is_frozen(engine, config) ? "paused" : "running";
}

// --- the end ---

namespace {

struct ExitRecord {
  int pid = 0;
  int exit_code = 0, signal = 0;
  int64_t oom_kills = 0;
  std::string reason, finished_at;
};

}  // namespace

}  // namespace onggi::engine

namespace onggi {
template <>
struct JsonFields<engine::ExitRecord> {
  using T = engine::ExitRecord;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::pid>("pid"), json_field<&T::exit_code>("exitCode"),
                              json_field<&T::signal>("signal"), json_field<&T::oom_kills>("oomKills"),
                              json_field<&T::reason>("reason"), json_field<&T::finished_at>("finishedAt")});
};
}  // namespace onggi

namespace onggi::engine {

namespace {

bool wants_restart(const ContainerConfig& c, const ContainerState& s) {
  if (s.stopped_by_user) return false;
  if (c.restart.maximum && s.restarts >= c.restart.maximum) return false;
  if (c.restart.name == "always" || c.restart.name == "unless-stopped") return true;
  return c.restart.name == "on-failure" && s.exit_code != 0;
}

// The policy's own delay, else 100 ms, doubled with every restart, at most a minute; a run of ten seconds (or
// the policy's window) counts as recovered.
int64_t backoff_ms(const ContainerConfig& c, const ContainerState& s) {
  constexpr int64_t kMilli = 1'000'000;
  if (c.restart.delay) return c.restart.delay / kMilli;
  auto begin = parse_rfc3339(s.started_at), end = parse_rfc3339(s.finished_at);
  constexpr int64_t kRecovered = 10'000'000'000, kFirst = 100, kMost = 60'000;
  if (begin && end && *end - *begin > (c.restart.window ? c.restart.window : kRecovered)) return kFirst;
  return std::min(kMost, kFirst << std::min<int64_t>(s.restarts, 16));
}

void fill_end(Engine& engine, const std::string& id, ContainerState& state) {
  auto text = read_file(engine.paths().live(id) + "/exit.json", 65536);
  auto record = text ? json_parse<ExitRecord>(*text, "exit record") : Result<ExitRecord>(fail(text.error()));
  if (record && record->pid == state.pid) {
    state.exit_code = record->exit_code;
    state.signal = record->signal;
    state.oom_kills = record->oom_kills;
    state.reason = record->reason;
    state.finished_at = record->finished_at;
  } else {
    state.exit_code = 255;
    state.reason = "its monitor was killed: how it ended is not known";
  }
  if (state.finished_at.empty()) state.finished_at = now_rfc3339();
  state.status = "exited";
  state.pid = 0;
}

}  // namespace

Result<> container_exited(Engine& engine, const std::string& id) {
  ContainerDir dir = TRY(engine.containers().open(id));
  TRY_VOID(dir.lock());
  ContainerConfig config = TRY(dir.config());
  // Not through state(), which would already call it exited.
  ContainerState state;
  if (auto text = read_file(engine.paths().live(id) + "/state.json"))
    state = TRY(json_parse<ContainerState>(*text, "state of container " + id.substr(0, 12)));
  if (state.status != "running") return {};
  auto start = sys::start_time(state.pid);
  if (start && *start == state.pid_start) return fail(Error::busy("the container is still running"));
  fill_end(engine, id, state);
  network_down(engine, id);
  bool restart = wants_restart(config, state), going = !restart && (config.auto_remove || state.removing);
  // Of one that is about to be removed nobody will ask, and the sweeper gives back what it has.
  if (!going) {
    state.evidence = read_evidence(config, engine.host());  // before the cgroup goes
    // In the monitor's place this process still has the root mounted; its directory could not be removed.
    (void)sys::detach_mount(engine.paths().live(id) + "/rootfs");
    (void)call_runtime(engine.paths(), {"delete", "--force", id});
  }
  if (restart) state.status = "restarting";
  TRY_VOID(dir.save_state(state));
  if (state.oom_kills) event(engine, config, "oom");
  event(engine, config, "die", {{"exitCode", std::to_string(state.exit_code)}});
  if (!restart && config.auto_remove) {
    TRY_VOID(remove_locked(engine, dir, config, true));
    engine.sweep_in_background();
    return {};
  }
  // Unmounting its disk takes longer than all else here, and who removes it waits for this process.
  if (going)
    sys::run_detached([root = engine.paths().live(id) + "/rootfs"] { (void)sys::detach_mount(root); });
  if (!restart) return {};
  dir.unlock();
  ::usleep(static_cast<useconds_t>(backoff_ms(config, state) * 1000));
  if (slice_is_ending(engine)) return {};  // "restarting" is what recover_containers looks for
  auto again = start_container(engine, id, {.attach = false, .is_restart = true});
  if (again) return {};
  // It could not be started: it stays as it is, with the reason.
  TRY_VOID(dir.lock());
  if (auto now = dir.state(); now && now->status == "restarting") {
    now->status = "exited";
    TRY_VOID(dir.save_state(*now));
  }
  return fail(std::move(again).error());
}

namespace {

// How many services of its stack come before it, at the longest (stack/apply writes the label); 0 for what is
// of no stack.
int64_t level_of(const ContainerConfig& config) {
  for (const auto& [name, value] : config.labels)
    if (name == "onggi.level") return parse_i64(value, name).value_or(0);
  return 0;
}

}  // namespace

Result<> sweep(Engine& engine) {
  TRY_VOID(engine.containers().sweep(true, {}, [&](const std::string& id) { finish_removed(engine, id); }));
  TRY(TRY(engine.images())->sweep());
  return {};
}

Result<> recover_containers(Engine& engine, bool restart) {
  std::vector<std::pair<int64_t, std::string>> starts;  // level in its stack, id
  for (const auto& id : TRY(engine.containers().ids())) {
    auto dir = engine.containers().open(id);
    if (!dir || !dir->lock(100)) continue;
    auto config = dir->config();
    auto text = read_file_at(dir->fd(), "last.json");
    auto last =
        text ? json_parse<ContainerState>(*text, "last state") : Result<ContainerState>(ContainerState{});
    auto now = dir->state();
    if (!config || !last || !now) continue;
    bool ran = last->status == "running" || last->status == "restarting" || last->status == "starting";
    if (ran && now->status == "running" && sys::start_time(now->pid) != now->pid_start) {
      // The container has ended and its monitor is at the last word, or dying: what comes after this command
      // is to find it settled.
      dir->unlock();
      constexpr int kLastWordMs = 5000;
      if (auto monitor = sys::pidfd_open(now->monitor)) (void)sys::wait_exited(monitor->get(), kLastWordMs);
      if (!dir->lock(100) || !(now = dir->state())) continue;
    }
    if (!ran || (now->status == "running")) continue;
    if (now->status != "exited") now->status = "exited";
    network_down(engine, id);
    (void)call_runtime(engine.paths(), {"delete", "--force", id});
    TRY_VOID(dir->save_state(*now));
    bool again = restart && !now->stopped_by_user &&
                 (config->restart.name == "always" || config->restart.name == "unless-stopped");
    if (config->auto_remove && !again) {
      (void)remove_locked(engine, *dir, *config, true);
      engine.sweep_in_background();
      continue;
    }
    dir->unlock();
    if (again) starts.emplace_back(level_of(*config), id);
  }
  // What others depend on comes before them.
  std::stable_sort(starts.begin(), starts.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [level, id] : starts) (void)start_container(engine, id, {});
  return {};
}

Result<> check_runtime_states(Engine& engine, bool repair,
                              const std::function<void(const std::string&)>& report) {
  const Paths& paths = engine.paths();
  std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(paths.runtime_root().c_str()), ::closedir);
  if (!entries) return {};  // nothing has run since the machine was started
  while (dirent* e = ::readdir(entries.get())) {
    std::string id = e->d_name;
    constexpr size_t kIdLength = 64;  // the runtime's own files are named otherwise
    if (id.size() != kIdLength || id.find_first_not_of("0123456789abcdef") != std::string::npos) continue;
    if (::access((paths.root + "/trash/" + id).c_str(), F_OK) == 0) continue;  // the sweeper's
    ContainerDir held;
    if (auto dir = engine.containers().open(id)) {
      if (!dir->lock(100)) continue;  // a command is on it
      auto state = dir->state();
      if (!state || state->status == "running") continue;
      held = std::move(*dir);
    }
    report("container " + id.substr(0, 12) + ": the runtime still has what does not run any more");
    if (repair) (void)call_runtime(paths, {"delete", "--force", id});
  }
  return {};
}

}  // namespace onggi::engine
