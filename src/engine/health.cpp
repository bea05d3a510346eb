#include "engine/health.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/file.h"
#include "engine/clock.h"
#include "engine/events.h"
#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "sys/namespace.h"
#include "sys/path.h"
#include "sys/process.h"

namespace onggi::engine {

namespace {

constexpr int64_t kMillisecond = 1'000'000;
constexpr size_t kMaxOutput = 4096;  // bytes kept of a probe's output
constexpr size_t kMaxResults = 5;

// --- network probes ---

struct Target {
  std::string host = "127.0.0.1", path = "/";
  uint16_t port = 80;
};

Result<Target> parse_target(std::string_view text, bool http) {
  Target t;
  std::string_view whole = text;
  if (text.starts_with("http://")) text.remove_prefix(7);
  if (http && whole.starts_with("https://"))
    return fail(Error::unsupported("health probes speak plain HTTP; use a command for TLS"));
  size_t slash = text.find('/');
  if (slash != std::string_view::npos) t.path = text.substr(slash);
  text = text.substr(0, slash);
  size_t colon = text.rfind(':');
  std::string_view port = colon == std::string_view::npos ? (http ? "80" : text) : text.substr(colon + 1);
  std::string_view host = colon != std::string_view::npos ? text.substr(0, colon) : http ? text : "";
  if (!host.empty() && host.front() == '[') host = host.substr(1, host.size() - 2);
  if (!host.empty() && host != "localhost") t.host = host;
  auto number = parse_u64(port, "port");
  if (!number || *number == 0 || *number > 65535)
    return fail(Error::invalid("health probe: '" + std::string(whole) + "' has no valid port"));
  t.port = static_cast<uint16_t>(*number);
  return t;
}

Result<UniqueFd> connect_within(const sockaddr* address, socklen_t size, int timeout_ms,
                                const std::string& what) {
  UniqueFd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(Error::os("make a socket", what));
  if (::connect(fd.get(), address, size) == 0) return fd;
  if (errno != EINPROGRESS) return fail(Error::os("connect to", what));
  pollfd wait = {fd.get(), POLLOUT, 0};
  if (::poll(&wait, 1, timeout_ms) <= 0) return fail(Error::os("connect to", what, ETIMEDOUT));
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error) return fail(Error::os("connect to", what, error));
  return fd;
}

Result<UniqueFd> connect_tcp(const Target& t, int timeout_ms) {
  std::string what = t.host + ":" + std::to_string(t.port);
  sockaddr_in v4 = {};
  sockaddr_in6 v6 = {};
  v4.sin_family = AF_INET;
  v4.sin_port = v6.sin6_port = htons(t.port);
  v6.sin6_family = AF_INET6;
  if (::inet_pton(AF_INET, t.host.c_str(), &v4.sin_addr) == 1)
    return connect_within(reinterpret_cast<sockaddr*>(&v4), sizeof v4, timeout_ms, what);
  if (::inet_pton(AF_INET6, t.host.c_str(), &v6.sin6_addr) == 1)
    return connect_within(reinterpret_cast<sockaddr*>(&v6), sizeof v6, timeout_ms, what);
  return fail(Error::invalid("health probe: '" + t.host + "' is not an address (names are not looked up)"));
}

// The status line is all that counts: 200 to 399.
Result<std::string> probe_http(const Target& t, int timeout_ms) {
  UniqueFd fd = TRY(connect_tcp(t, timeout_ms));
  std::string request = "GET " + t.path + " HTTP/1.1\r\nHost: " + t.host +
                        "\r\nUser-Agent: onggi-health\r\nConnection: close\r\n\r\n";
  TRY_VOID(write_all(fd.get(), request, "health probe"));
  std::string reply;
  char block[1024];
  while (reply.find('\n') == std::string::npos && reply.size() < kMaxOutput) {
    pollfd wait = {fd.get(), POLLIN, 0};
    if (::poll(&wait, 1, timeout_ms) <= 0)
      return fail(Error::os("wait for the answer of", t.host, ETIMEDOUT));
    ssize_t n = ::read(fd.get(), block, sizeof block);
    if (n <= 0) break;
    reply.append(block, static_cast<size_t>(n));
  }
  std::string line = reply.substr(0, reply.find_first_of("\r\n"));
  bool good = line.size() > 9 && line.starts_with("HTTP/1.") && (line[9] == '2' || line[9] == '3');
  if (!good) return fail(Error::invalid(line.empty() ? "no HTTP answer" : line));
  return line;
}

Result<std::string> probe_unix(int root, const std::string& path, int timeout_ms) {
  UniqueFd node = TRY(sys::open_in_root(root, path, O_PATH));
  std::string link = "/proc/self/fd/" + std::to_string(node.get());
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, link.c_str(), link.size() + 1);
  TRY(connect_within(reinterpret_cast<sockaddr*>(&address), sizeof address, timeout_ms, path));
  return "connected to " + path;
}

Result<std::string> probe_native(const std::string& kind, const std::string& target, int pid,
                                 int timeout_ms) {
  if (kind == "UNIX") {
    UniqueFd root = TRY(open_at(AT_FDCWD, "/proc/" + std::to_string(pid) + "/root", O_PATH | O_DIRECTORY));
    return probe_unix(root.get(), target, timeout_ms);
  }
  Target t = TRY(parse_target(target, kind == "HTTP"));
  auto visit = TRY(sys::NetworkVisit::enter(pid));
  if (kind == "HTTP") return probe_http(t, timeout_ms);
  TRY(connect_tcp(t, timeout_ms));
  return "connected to " + t.host + ":" + std::to_string(t.port);
}

// What a pipe says until it ends or time is up; false: time was up.
bool read_until(int fd, int pidfd, int64_t deadline, std::string& out) {
  char block[1024];
  for (;;) {
    int64_t left = (deadline - now_nanoseconds()) / kMillisecond;
    if (left <= 0) return false;
    pollfd wait[2] = {{fd, POLLIN, 0}, {pidfd, POLLIN, 0}};
    if (::poll(wait, 2, static_cast<int>(left)) <= 0) return false;
    if (wait[0].revents) {
      ssize_t n = ::read(fd, block, sizeof block);
      if (n > 0 && out.size() < kMaxOutput) out.append(block, static_cast<size_t>(n));
      if (n <= 0 && !wait[1].revents) (void)sys::wait_exited(pidfd, static_cast<int>(left));
      if (n <= 0) return sys::has_exited(pidfd);
    } else if (wait[1].revents) {
      return true;  // a background process of the command may hold the pipe for ever
    }
  }
}

ProbeResult failed(const Error& error) { return {1, error.text()}; }

ProbeResult run_command(Engine& engine, const ContainerConfig& config, int timeout_ms) {
  ExecRequest request;
  const auto& test = config.health.test;
  if (test[0] == "CMD-SHELL")
    request.args = {"/bin/sh", "-c", test.size() > 1 ? test[1] : ""};
  else
    request.args.assign(test.begin() + 1, test.end());
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return failed(Error::os("make a pipe", ""));
  UniqueFd read(ends[0]), write(ends[1]);
  request.output = write.get();
  auto started = exec_in_container(engine, config.id, request);
  write.reset();
  ProbeResult result;
  if (!started) {
    (void)!::fcntl(read.get(), F_SETFL, O_NONBLOCK);
    char block[1024];
    ssize_t n = ::read(read.get(), block, sizeof block);
    return {1, n > 0 ? std::string(block, static_cast<size_t>(n)) : started.error().text()};
  }
  bool ended = read_until(read.get(), started->process.get(), now_nanoseconds() + timeout_ms * kMillisecond,
                          result.output);
  if (!ended) {
    (void)sys::pidfd_signal(started->process.get(), SIGKILL);
    result.output += "Health check exceeded timeout (" + std::to_string(timeout_ms) + " ms)";
  }
  auto status = sys::wait_pidfd(started->process.get());
  result.exit_code = !ended || !status ? -1 : status->code();
  return result;
}

int64_t or_default(int64_t value, int64_t otherwise) { return value ? value : otherwise; }

}  // namespace

ProbeResult probe_once(Engine& engine, const ContainerConfig& config, int pid, int timeout_ms) {
  const std::string& kind = config.health.test[0];
  if (kind == "CMD" || kind == "CMD-SHELL") return run_command(engine, config, timeout_ms);
  std::string target = config.health.test.size() > 1 ? config.health.test[1] : "";
  auto result = probe_native(kind, target, pid, timeout_ms);
  return result ? ProbeResult{0, *result} : failed(result.error());
}

HealthState next_health(HealthState state, const HealthConfig& config, const HealthResult& result,
                        bool in_start_period) {
  state.log.push_back(result);
  if (state.log.size() > kMaxResults) state.log.erase(state.log.begin());
  if (result.exit_code == 0) {
    state.failing_streak = 0;
    state.status = "healthy";
    return state;
  }
  // While it starts, a failure says nothing; a success before that ends the start period.
  if (in_start_period && state.status == "starting") return state;
  state.failing_streak++;
  if (state.failing_streak >= or_default(config.retries, 3)) state.status = "unhealthy";
  return state;
}

Result<> watch_health(Engine& engine, const std::string& id) {
  ContainerDir dir = TRY(engine.containers().open(id));
  // Whoever starts the container holds it until it says that it runs.
  TRY_VOID(dir.lock());
  ContainerConfig config = TRY(dir.config());
  ContainerState state = TRY(dir.state());
  dir.unlock();
  if (state.status != "running") return {};
  PidFd process = TRY(sys::pidfd_open(state.pid));
  if (sys::start_time(state.pid) != state.pid_start) return {};
  UniqueFd live = TRY(open_at(AT_FDCWD, engine.paths().live(id), O_RDONLY | O_DIRECTORY));
  HealthState health;
  health.status = "starting";
  auto save = [&] {
    JsonWriter w;
    json_write(w, health);
    return replace_file_at(live.get(), "health.json", w.text());
  };
  TRY_VOID(save());
  const HealthConfig& h = config.health;
  constexpr int64_t kSecond = 1'000'000'000;
  int64_t begun = now_nanoseconds(), timeout = or_default(h.timeout, 30 * kSecond);
  for (;;) {
    bool starting = now_nanoseconds() - begun < h.start_period && health.status == "starting";
    int64_t pause =
        starting ? or_default(h.start_interval, 5 * kSecond) : or_default(h.interval, 30 * kSecond);
    if (sys::wait_exited(process.get(), static_cast<int>(std::max<int64_t>(pause / kMillisecond, 1))))
      return {};
    HealthResult result;
    result.start = now_rfc3339();
    ProbeResult probe = probe_once(engine, config, state.pid, static_cast<int>(timeout / kMillisecond));
    if (sys::has_exited(process.get())) return {};
    result.end = now_rfc3339();
    result.exit_code = probe.exit_code;
    result.output = probe.output.substr(0, kMaxOutput);
    std::string before = health.status;
    health = next_health(std::move(health), h, result, now_nanoseconds() - begun < h.start_period);
    TRY_VOID(save());
    if (health.status == before) continue;
    record_event(engine.paths(),
                 {"container", "health_status: " + health.status, id, config.name, config.image, {}});
    if (health.status != "unhealthy") continue;
    if (h.on_unhealthy == "restart") return restart_container(engine, id, {});
    if (h.on_unhealthy == "stop") return stop_container(engine, id, {});
  }
}

}  // namespace onggi::engine
