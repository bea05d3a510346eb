#include "cli/run_options.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/file.h"
#include "cli/image_worker.h"
#include "cli/network_options.h"
#include "engine/clock.h"
#include "policy/container_profile.h"

namespace onggi::cli {

namespace {

using engine::ContainerConfig;
using engine::MountConfig;

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;
constexpr auto kList = OptionKind::kList;
constexpr const char* kWindows = "it is for Windows";

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t at = 0;;) {
    size_t end = text.find(separator, at);
    parts.push_back(text.substr(at, end == std::string::npos ? end : end - at));
    if (end == std::string::npos) return parts;
    at = end + 1;
  }
}

std::pair<std::string, std::string> key_value(const std::string& text) {
  size_t equals = text.find('=');
  if (equals == std::string::npos) return {text, ""};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

// A relative path or "~" is this command's, not the container's.
std::string absolute(const std::string& path) {
  if (!path.empty() && path[0] == '/') return path;
  char cwd[PATH_MAX];
  if (!::getcwd(cwd, sizeof cwd)) return path;
  return std::string(cwd) + "/" + path;
}

Result<std::string> container_path(const std::string& path, const std::string& whole) {
  if (path.empty() || path[0] != '/' || path == "/")
    return fail(Error::invalid("invalid mount '" + whole +
                               "': the path in the container must be absolute and not /"));
  return path;
}

// --- options that need more than a look-up ---

Result<std::vector<std::string>> environment(const Args& args) {
  std::vector<std::string> env;
  for (const auto& file : args.all("env-file")) {
    auto more = TRY(read_env_file(file));
    env.insert(env.end(), more.begin(), more.end());
  }
  for (const auto& entry : args.all("env")) {
    if (entry.empty() || entry[0] == '=')
      return fail(Error::invalid("invalid environment variable: '" + entry + "'"));
    const char* value = entry.find('=') == std::string::npos ? ::getenv(entry.c_str()) : nullptr;
    env.push_back(value ? entry + "=" + value : entry);
  }
  return env;
}

Result<engine::StringMap> labels(const Args& args) {
  engine::StringMap map;
  for (const auto& file : args.all("label-file")) {
    std::string text = TRY(read_file(file, 1 << 20));
    for (const auto& line : split(text, '\n'))
      if (!trim(line).empty() && line[0] != '#') map.push_back(key_value(std::string(trim(line))));
  }
  for (const auto& entry : args.all("label")) map.push_back(key_value(entry));
  return map;
}

Result<> device_options(const Args& args, ContainerConfig& c) {
  for (const auto& text : args.all("device")) {
    auto parts = split(text, ':');
    engine::DeviceConfig d{parts[0], parts[0], "rwm"};
    bool access_only =
        parts.size() == 2 && parts[1].find_first_not_of("rwm") == std::string::npos && !parts[1].empty();
    if (access_only) d.access = parts[1];
    if (parts.size() >= 2 && !access_only) d.container = parts[1];
    if (parts.size() == 3) d.access = parts[2];
    if (parts.size() > 3 || d.access.empty() || d.access.find_first_not_of("rwm") != std::string::npos ||
        d.container.empty() || d.container[0] != '/')
      return fail(Error::invalid("invalid device '" + text + "' (HOST[:CONTAINER][:rwm])"));
    c.devices.push_back(std::move(d));
  }
  return {};
}

Result<> throttles(const Args& args, const char* name, bool bytes, std::vector<engine::ThrottleConfig>& out) {
  for (const auto& text : args.all(name)) {
    size_t colon = text.rfind(':');
    if (colon == std::string::npos || text[0] != '/')
      return fail(Error::invalid("invalid --" + std::string(name) + " '" + text + "' (/dev/DEVICE:RATE)"));
    std::string rate = text.substr(colon + 1);
    uint64_t value = bytes ? static_cast<uint64_t>(TRY(parse_bytes(rate, name))) : TRY(parse_u64(rate, name));
    out.push_back({text.substr(0, colon), value});
  }
  return {};
}

Result<> rlimits(const Args& args, ContainerConfig& c) {
  for (const auto& text : args.all("ulimit")) {
    auto [name, value] = key_value(text);
    auto parts = split(value, ':');
    if (value.empty() || parts.size() > 2)
      return fail(Error::invalid("invalid ulimit '" + text + "' (NAME=SOFT[:HARD])"));
    engine::RlimitConfig r{name, TRY(parse_i64(parts[0], "--ulimit " + name)), 0};
    r.hard = parts.size() == 2 ? TRY(parse_i64(parts[1], "--ulimit " + name)) : r.soft;
    if (r.hard >= 0 && (r.soft > r.hard || r.soft < 0))
      return fail(Error::invalid("ulimit soft limit must be less than or equal to hard limit: " + text));
    c.rlimits.push_back(r);
  }
  return {};
}

Result<> security_options(const Args& args, ContainerConfig& c) {
  engine::SecurityConfig& s = c.security;
  s.privileged = args.flag("privileged");
  s.cap_add = args.all("cap-add");
  s.cap_drop = args.all("cap-drop");
  s.allow_setuid = args.flag("allow-setuid");
  s.allow_nesting = args.flag("allow-nesting");
  std::string userns = args.get("userns");
  if (userns == "host") s.host_userns = true;
  if (!userns.empty() && userns != "host" && userns != "auto" && userns != "private")
    return fail(
        Error::invalid("invalid USER mode: --userns=" + userns + " (auto, or host to share the host's ids)"));
  for (const auto& text : args.all("security-opt")) {
    auto [key, value] = key_value(text.find('=') == std::string::npos && text.find(':') != std::string::npos
                                      ? std::string(text).replace(text.find(':'), 1, "=")
                                      : text);
    if (key == "no-new-privileges") {
      s.allow_setuid = value == "false";
    } else if (key == "seccomp") {
      s.seccomp = value == "unconfined" || value == "builtin"
                      ? (value == "builtin" ? "" : value)
                      : TRY_CTX(read_file(value), "--security-opt seccomp");
    } else if (key == "apparmor") {
      s.apparmor = value;
    } else if (key == "label") {
      if (value != "disable") s.selinux_label = value;
    } else if (key == "systempaths" && value == "unconfined") {
      s.unmask_paths = true;
    } else {
      return fail(
          Error::invalid("invalid --security-opt: \"" + text +
                         "\" (no-new-privileges, seccomp=, apparmor=, label=, systempaths=unconfined)"));
    }
  }
  return resolve_capabilities(s) ? Result<>() : fail(resolve_capabilities(s).error());
}

Result<> health_options(const Args& args, ContainerConfig& c) {
  engine::HealthConfig& h = c.health;
  if (args.flag("no-healthcheck")) {
    if (args.has("health-cmd"))
      return fail(Error::invalid("--no-healthcheck conflicts with --health-* options"));
    h.test = {"NONE"};
  }
  if (auto cmd = args.find("health-cmd")) h.test = {"CMD-SHELL", *cmd};
  struct {
    const char* option;
    const char* kind;
  } static constexpr kProbes[] = {{"health-http", "HTTP"}, {"health-tcp", "TCP"}, {"health-unix", "UNIX"}};
  for (const auto& p : kProbes)
    if (auto target = args.find(p.option)) h.test = {p.kind, *target};
  struct {
    const char* name;
    int64_t& value;
  } const durations[] = {{"health-interval", h.interval},
                         {"health-timeout", h.timeout},
                         {"health-start-period", h.start_period},
                         {"health-start-interval", h.start_interval}};
  for (const auto& d : durations)
    if (auto text = args.find(d.name))
      d.value = TRY_CTX(engine::parse_duration(*text), std::string("--") + d.name);
  h.retries = TRY(args.integer("health-retries")).value_or(0);
  h.on_unhealthy = args.get("on-unhealthy");
  for (const char* known : {"", "none", "restart", "stop"})
    if (h.on_unhealthy == known) return {};
  return fail(Error::invalid("invalid --on-unhealthy '" + h.on_unhealthy + "' (none, restart, stop)"));
}

Result<> restart_option(const Args& args, ContainerConfig& c) {
  std::string text = args.get("restart", "no");
  size_t colon = text.find(':');
  c.restart.name = text.substr(0, colon);
  for (const char* known : {"no", "always", "on-failure", "unless-stopped"})
    if (c.restart.name == known) {
      if (colon != std::string::npos && c.restart.name != "on-failure")
        return fail(Error::invalid(
            "invalid restart policy: maximum retry count cannot be used with restart policy '" +
            c.restart.name + "'"));
      if (colon != std::string::npos)
        c.restart.maximum = static_cast<int64_t>(TRY(parse_u64(text.substr(colon + 1), "--restart")));
      if (c.auto_remove && c.restart.name != "no")
        return fail(Error::invalid("conflicting options: cannot specify both --restart and --rm"));
      return {};
    }
  return fail(
      Error::invalid("invalid restart policy '" + text + "' (no, always, unless-stopped, on-failure[:MAX])"));
}

Result<> resource_options(const Args& args, ContainerConfig& c) {
  engine::ResourceConfig& r = c.resources;
  struct {
    const char* name;
    int64_t& value;
  } const sizes[] = {{"memory", r.memory},
                     {"memory-swap", r.memory_swap},
                     {"memory-reservation", r.memory_reservation},
                     {"shm-size", c.shm_size}};
  for (const auto& s : sizes)
    if (auto text = args.find(s.name))
      s.value = *text == "-1" ? -1 : TRY(parse_bytes(*text, std::string("--") + s.name));
  constexpr int64_t kLeast = 512 << 10;  // below this the start itself runs out
  if (r.memory > 0 && r.memory < kLeast) return fail(Error::invalid("Minimum memory limit allowed is 512KB"));
  if (r.memory_swap > 0 && r.memory <= 0)
    return fail(
        Error::invalid("You should always set the Memory limit when using Memoryswap limit, see usage"));
  if (r.memory_swap > 0 && r.memory_swap < r.memory)
    return fail(Error::invalid("Minimum memoryswap limit should be larger than memory limit, see usage"));
  struct {
    const char* name;
    int64_t& value;
  } const numbers[] = {{"cpu-shares", r.cpu_shares},       {"cpu-quota", r.cpu_quota},
                       {"cpu-period", r.cpu_period},       {"cpu-rt-runtime", r.cpu_rt_runtime},
                       {"cpu-rt-period", r.cpu_rt_period}, {"pids-limit", r.pids_limit}};
  for (const auto& n : numbers)
    if (auto value = TRY(args.integer(n.name))) n.value = *value;
  if (auto text = args.find("cpus")) r.nano_cpus = TRY(parse_cpus(*text));
  if (r.nano_cpus && (r.cpu_quota || r.cpu_period))
    return fail(Error::invalid("Conflicting options: CPUs and CPU quota or period cannot both be set"));
  if (auto value = TRY(args.integer("memory-swappiness")); value && *value >= 0) {
    if (*value > 100)
      return fail(Error::invalid("Invalid value: " + std::to_string(*value) +
                                 ", valid memory swappiness range is 0-100"));
    r.memory_swappiness = static_cast<uint64_t>(*value);
  }
  if (auto value = TRY(args.integer("blkio-weight"))) {
    if (*value && (*value < 10 || *value > 1000))
      return fail(Error::invalid("Range of blkio weight is from 10 to 1000"));
    r.blkio_weight = static_cast<uint16_t>(*value);
  }
  r.cpuset_cpus = args.get("cpuset-cpus");
  r.cpuset_mems = args.get("cpuset-mems");
  r.oom_kill_disable = args.flag("oom-kill-disable");
  if (auto value = TRY(args.integer("oom-score-adj"))) {
    if (*value < -1000 || *value > 1000)
      return fail(Error::invalid("Invalid value " + std::to_string(*value) +
                                 ", range for oom score adj is [-1000, 1000]"));
    c.oom_score_adj = static_cast<int>(*value);
  }
  TRY_VOID(throttles(args, "device-read-bps", true, r.read_bps));
  TRY_VOID(throttles(args, "device-write-bps", true, r.write_bps));
  TRY_VOID(throttles(args, "device-read-iops", false, r.read_iops));
  TRY_VOID(throttles(args, "device-write-iops", false, r.write_iops));
  TRY_VOID(throttles(args, "blkio-weight-device", false, r.blkio_weight_device));
  for (const auto& text : args.all("storage-opt")) {
    auto [key, value] = key_value(text);
    if (key != "size") return fail(Error::invalid("unknown --storage-opt '" + key + "' (only size=)"));
    c.storage_size =
        value == "unlimited" || value == "-1" ? -1 : TRY(parse_bytes(value, "--storage-opt size"));
  }
  return {};
}

Result<> mode_options(const Args& args, ContainerConfig& c) {
  struct {
    const char* name;
    std::string& mode;
    bool container;
  } const rows[] = {{"pid", c.pid_mode, true},
                    {"ipc", c.ipc_mode, true},
                    {"uts", c.uts_mode, false},
                    {"cgroupns", c.cgroupns_mode, false}};
  for (const auto& row : rows) {
    row.mode = args.get(row.name);
    bool ok = row.mode.empty() || row.mode == "host" || row.mode == "private" ||
              (row.mode == "shareable" && row.container) ||
              (row.container && row.mode.starts_with("container:") && row.mode.size() > 10);
    if (!ok) return fail(Error::invalid(std::string("--") + row.name + ": invalid mode: " + row.mode));
    if (row.mode == "private" || row.mode == "shareable") row.mode.clear();
  }
  if (c.uts_mode == "host" && args.has("hostname"))
    return fail(Error::invalid("conflicting options: hostname and the UTS mode"));
  return {};
}

Result<> mounts(const Args& args, ContainerConfig& c) {
  for (const auto& text : args.all("volume")) c.mounts.push_back(TRY(parse_volume(text)));
  for (const auto& text : args.all("mount")) c.mounts.push_back(TRY(parse_mount(text)));
  for (const auto& text : args.all("tmpfs")) {
    MountConfig m;
    m.type = "tmpfs";
    size_t colon = text.find(':');
    m.target = TRY(container_path(text.substr(0, colon), text));
    if (colon != std::string::npos)
      for (const auto& option : split(text.substr(colon + 1), ','))
        option == "ro" ? void(m.read_only = true) : option == "rw" ? void() : m.options.push_back(option);
    c.mounts.push_back(std::move(m));
  }
  for (const auto& from : args.all("volumes-from")) c.volumes_from.push_back(from);
  for (size_t a = 0; a < c.mounts.size(); a++)
    for (size_t b = 0; b < a; b++)
      if (c.mounts[a].target == c.mounts[b].target)
        return fail(Error::invalid("Duplicate mount point: " + c.mounts[a].target));
  return {};
}

Result<> log_options(const Args& args, ContainerConfig& c) {
  c.log_driver = args.get("log-driver", "json-file");
  if (c.log_driver == "local") c.log_driver = "json-file";
  if (c.log_driver != "json-file" && c.log_driver != "none" && c.log_driver != "journald")
    return fail(
        Error::unsupported("--log-driver " + c.log_driver + " is not built (json-file, journald, none)"));
  for (const auto& text : args.all("log-opt")) {
    auto [key, value] = key_value(text);
    bool truth = value == "true" || value == "false";
    if (key == "max-size")
      value = std::to_string(TRY(parse_bytes(value, "--log-opt max-size")));
    else if (key == "max-file")
      TRY(parse_u64(value, "--log-opt max-file"));
    else if (key != "compress" || !truth)
      return fail(Error::invalid("unknown log opt '" + text + "' for " + c.log_driver +
                                 " log driver (max-size=, max-file=, compress=true|false)"));
    c.log_options.push_back({key, value});
  }
  return {};
}

Result<> plain_options(const Args& args, ContainerConfig& c) {
  c.name = args.get("name");
  c.hostname = args.get("hostname");
  c.domainname = args.get("domainname");
  c.user = args.get("user");
  c.working_dir = args.get("workdir");
  c.tty = args.flag("tty");
  c.open_stdin = args.flag("interactive");
  c.read_only = args.flag("read-only");
  c.auto_remove = args.flag("rm");
  c.init = args.flag("init", true);
  c.stop_signal = args.get("stop-signal");
  if (auto seconds = TRY(args.integer("stop-timeout"))) c.stop_timeout = static_cast<int>(*seconds);
  c.group_add = args.all("group-add");
  c.device_rules = args.all("device-cgroup-rule");
  c.cgroup_parent = args.get("cgroup-parent");
  c.isolation = args.get("isolation");
  if (!c.isolation.empty() && c.isolation != "container" && c.isolation != "default")
    return fail(Error::unsupported("--isolation " + c.isolation +
                                   ": only container is built; the vm back end comes later"));
  for (const auto& text : args.all("annotation")) c.annotations.push_back(key_value(text));
  for (const auto& text : args.all("sysctl")) {
    if (text.find('=') == std::string::npos)
      return fail(Error::invalid("invalid --sysctl '" + text + "' (KEY=VALUE)"));
    c.sysctls.push_back(key_value(text));
  }
  return {};
}

}  // namespace

const Options& create_options() {
  static const Options kOptions = {
      {"add-host", 0, kList, "list", "Add a custom host-to-IP mapping (host:ip)"},
      {"allow-nesting", 0, kSwitch, "",
       "Let processes make namespaces and mounts (relaxes the seccomp filter)"},
      {"allow-setuid", 0, kSwitch, "", "Let setuid programs and file capabilities work (no_new_privs off)"},
      {"annotation", 0, kList, "map", "Add an annotation (passed through to the OCI runtime)"},
      {"attach", 'a', kList, "list", "Attach to STDIN, STDOUT or STDERR"},
      {"blkio-weight", 0, kValue, "uint16", "Block IO weight, 10 to 1000, or 0"},
      {"blkio-weight-device", 0, kList, "list", "Block IO weight of a device"},
      {"cap-add", 0, kList, "list", "Add Linux capabilities"},
      {"cap-drop", 0, kList, "list", "Drop Linux capabilities"},
      {"cgroup-parent", 0, kValue, "string", "Parent cgroup"},
      {"cgroupns", 0, kValue, "string", "Cgroup namespace (host|private)", "", "host private"},
      {"cidfile", 0, kValue, "string", "Write the container ID to the file", "", "file"},
      {"cpu-count", 0, kValue, "int", "", kWindows},
      {"cpu-percent", 0, kValue, "int", "", kWindows},
      {"cpu-period", 0, kValue, "int", "CFS period, microseconds"},
      {"cpu-quota", 0, kValue, "int", "CFS quota, microseconds"},
      {"cpu-rt-period", 0, kValue, "int", "Real-time period, microseconds"},
      {"cpu-rt-runtime", 0, kValue, "int", "Real-time runtime, microseconds"},
      {"cpu-shares", 'c', kValue, "int", "CPU shares (relative weight)"},
      {"cpus", 0, kValue, "decimal", "Number of CPUs"},
      {"cpuset-cpus", 0, kValue, "string", "CPUs in which to allow execution (0-3, 0,1)"},
      {"cpuset-mems", 0, kValue, "string", "Memory nodes (0-3, 0,1)"},
      {"device", 0, kList, "list", "Add a host device", "", "file"},
      {"device-cgroup-rule", 0, kList, "list", "Add a rule to the allowed devices list",
       "devices come by --device, whose rule is made for it"},
      {"device-read-bps", 0, kList, "list", "Limit read rate (bytes per second) from a device"},
      {"device-read-iops", 0, kList, "list", "Limit read rate (IO per second) from a device"},
      {"device-write-bps", 0, kList, "list", "Limit write rate (bytes per second) to a device"},
      {"device-write-iops", 0, kList, "list", "Limit write rate (IO per second) to a device"},
      {"disable-content-trust", 0, kSwitch, "",
       "Accepted for compatibility: digests are always verified, signatures never asked for"},
      {"dns", 0, kList, "list", "Set custom DNS servers"},
      {"dns-option", 0, kList, "list", "Set DNS options"},
      {"dns-search", 0, kList, "list", "Set custom DNS search domains"},
      {"domainname", 0, kValue, "string", "Container NIS domain name"},
      {"entrypoint", 0, kValue, "string", "Overwrite the default ENTRYPOINT of the image"},
      {"env", 'e', kList, "list", "Set environment variables"},
      {"env-file", 0, kList, "list", "Read in a file of environment variables", "", "file"},
      {"expose", 0, kList, "list", "Note a port as exposed"},
      {"gpus", 0, kValue, "gpu-request", "",
       "give the devices with --device, or use CDI's files with a hook of your own"},
      {"group-add", 0, kList, "list", "Add additional groups"},
      {"health-cmd", 0, kValue, "string", "Command to run to check health"},
      {"health-http", 0, kValue, "url", "Check health by GET http://HOST:PORT/PATH from inside its network"},
      {"health-interval", 0, kValue, "duration", "Time between checks (default 30s)"},
      {"health-retries", 0, kValue, "int", "Failures in a row until it is unhealthy (default 3)"},
      {"health-start-interval", 0, kValue, "duration",
       "Time between checks during the start period (default 5s)"},
      {"health-start-period", 0, kValue, "duration", "Time to start in before failures count (default 0s)"},
      {"health-tcp", 0, kValue, "port",
       "Check health by a connection to [HOST:]PORT from inside its network"},
      {"health-timeout", 0, kValue, "duration", "Maximum time of one check (default 30s)"},
      {"health-unix", 0, kValue, "path", "Check health by a connection to a Unix socket in the container"},
      {"hostname", 'h', kValue, "string", "Container host name"},
      {"init", 0, kSwitch, "",
       "Run an init as PID 1 that forwards signals and reaps processes (default true)"},
      {"interactive", 'i', kSwitch, "", "Keep STDIN open even if not attached"},
      {"io-maxbandwidth", 0, kValue, "bytes", "", kWindows},
      {"io-maxiops", 0, kValue, "uint", "", kWindows},
      {"ip", 0, kValue, "string", "IPv4 address (e.g. 10.208.0.30)"},
      {"ip6", 0, kValue, "string", "IPv6 address (e.g. fd00::33)"},
      {"ipc", 0, kValue, "string", "IPC mode (host, private, container:NAME)"},
      {"isolation", 0, kValue, "string", "Isolation (container)", "", "container"},
      {"kernel-memory", 0, kValue, "bytes", "", "the kernel has no such limit any more (since 5.16)"},
      {"label", 'l', kList, "list", "Set meta data on a container"},
      {"label-file", 0, kList, "list", "Read in a line delimited file of labels", "", "file"},
      {"link", 0, kList, "list", "",
       "containers on one network reach each other by name; give aliases with --network-alias"},
      {"link-local-ip", 0, kList, "list", "", "the kernel gives every link its own link-local address"},
      {"log-driver", 0, kValue, "string", "Logging driver (json-file, journald, none)", "",
       "json-file journald none"},
      {"log-opt", 0, kList, "list", "Log driver options (max-size, max-file, compress)"},
      {"mac-address", 0, kValue, "string", "Container MAC address (e.g. 92:d0:c6:0a:29:33)"},
      {"memory", 'm', kValue, "bytes", "Memory limit (default: half of the machine's)"},
      {"memory-reservation", 0, kValue, "bytes", "Memory soft limit"},
      {"memory-swap", 0, kValue, "bytes", "Memory plus swap; -1 for unlimited swap"},
      {"memory-swappiness", 0, kValue, "int", "Tune memory swappiness (0 to 100)"},
      {"mount", 0, kList, "mount", "Attach a file system mount"},
      {"name", 0, kValue, "string", "Assign a name to the container"},
      {"net", 0, kList, "network", "The same as --network", "", "network"},
      {"network", 0, kList, "network",
       "Connect to a network: NAME (default bridge), name=NAME,alias=A,ip=IP,..., none, host, container:NAME",
       "", "network"},
      {"network-alias", 0, kList, "list", "Add a name on the network for the container"},
      {"no-healthcheck", 0, kSwitch, "", "Disable any container-specified HEALTHCHECK"},
      {"on-unhealthy", 0, kValue, "string", "What to do with an unhealthy container (none, restart, stop)",
       "", "none restart stop"},
      {"oom-kill-disable", 0, kSwitch, "", "Disable OOM Killer (cgroup v1)"},
      {"oom-score-adj", 0, kValue, "int", "Tune the host's OOM preferences (-1000 to 1000)"},
      {"pid", 0, kValue, "string", "PID namespace (host, container:NAME)"},
      {"pids-limit", 0, kValue, "int", "Processes and threads (default 1024; -1 for unlimited)"},
      {"platform", 0, kValue, "string", "Platform of the image (os/arch[/variant])"},
      {"privileged", 0, kSwitch, "",
       "Extended privileges: host ids, all capabilities and devices, no filter"},
      {"publish", 'p', kList, "list",
       "Publish a container's port(s) to the host: [IP:][HOST:]CONTAINER[/PROTO]"},
      {"publish-all", 'P', kSwitch, "", "Publish all exposed ports to random ports"},
      {"pull", 0, kValue, "string", "Pull the image before creating (always, missing, never)", "",
       "always missing never"},
      {"quiet", 'q', kSwitch, "", "No output of pulling"},
      {"read-only", 0, kSwitch, "", "Mount the container's root file system as read only"},
      {"restart", 0, kValue, "string", "Restart policy (no, always, unless-stopped, on-failure[:N])", "",
       "no always unless-stopped on-failure"},
      {"rm", 0, kSwitch, "", "Remove the container and its anonymous volumes when it ends"},
      {"runtime", 0, kValue, "string", "",
       "containers run with onggi-runtime; for another runtime use an engine that takes one"},
      {"security-opt", 0, kList, "list", "Security options"},
      {"shm-size", 0, kValue, "bytes", "Size of /dev/shm (default 64m)"},
      {"stop-signal", 0, kValue, "string", "Signal to stop the container"},
      {"stop-timeout", 0, kValue, "int", "Seconds until a stop becomes a kill (default 10)"},
      {"storage-opt", 0, kList, "list",
       "Storage options: size=BYTES of the writable layer (default 10g; unlimited)"},
      {"sysctl", 0, kList, "map", "Sysctl options"},
      {"tmpfs", 0, kList, "list", "Mount a tmpfs directory"},
      {"tty", 't', kSwitch, "", "Allocate a pseudo-TTY"},
      {"ulimit", 0, kList, "ulimit", "Ulimit options"},
      {"use-api-socket", 0, kSwitch, "", "", "there is no API socket"},
      {"user", 'u', kValue, "string", "Username or UID (format: <name|uid>[:<group|gid>])"},
      {"userns", 0, kValue, "string", "User namespace (auto: a range of its own; host)", "", "auto host"},
      {"uts", 0, kValue, "string", "UTS namespace (host)", "", "host"},
      {"volume", 'v', kList, "list", "Bind mount a volume"},
      {"volume-driver", 0, kValue, "string", "", "only local volumes are built"},
      {"volumes-from", 0, kList, "list", "Mount volumes from the specified container(s)", "", "container"},
      {"workdir", 'w', kValue, "string", "Working directory inside the container"}};
  return kOptions;
}

namespace {

// Mounts may come in from the host (slave), never go out to it.
Result<> check_propagation(const std::string& mode, const std::string& what) {
  for (const char* known : {"private", "rprivate", "slave", "rslave"})
    if (mode == known) return {};
  if (mode == "shared" || mode == "rshared")
    return fail(Error::unsupported(what + ": " + mode +
                                   " propagation would let a container mount on the host; not built"));
  return fail(
      Error::invalid(what + ": invalid propagation '" + mode + "' (rprivate, private, rslave, slave)"));
}

// Octal permissions, 0 to 7777.
Result<uint32_t> parse_mode(const std::string& text, const std::string& what) {
  bool octal = !text.empty() && text.size() <= 5 && text.find_first_not_of("01234567") == std::string::npos;
  unsigned long mode = octal ? ::strtoul(text.c_str(), nullptr, 8) : 010000;
  if (mode <= 07777) return static_cast<uint32_t>(mode);
  return fail(Error::invalid("--mount " + what + ": invalid tmpfs-mode '" + text + "' (octal, like 1777)"));
}

}  // namespace

Result<MountConfig> parse_volume(const std::string& text) {
  auto parts = split(text, ':');
  if (parts.size() > 3 || text.empty())
    return fail(Error::invalid("invalid spec: " + text + ": too many colons"));
  MountConfig m;
  std::string source = parts.size() > 1 ? parts[0] : "";
  m.target = TRY(container_path(parts.size() > 1 ? parts[1] : parts[0], text));
  bool path = !source.empty() && (source[0] == '/' || source[0] == '.' || source[0] == '~');
  m.type = path ? "bind" : "volume";
  m.source = path ? absolute(source) : source;
  m.anonymous = source.empty();
  if (parts.size() < 3) return m;
  for (const auto& option : split(parts[2], ',')) {
    if (option == "ro")
      m.read_only = true;
    else if (option == "nocopy")
      m.no_copy = true;
    else if (option == "idmap" || option == "U")
      m.ids = "container";
    else if (option == "noidmap")
      m.ids = "identity";
    else if (option == "squash")
      m.ids = "squash";
    else if (option == "rprivate" || option == "private" || option == "rslave" || option == "slave")
      m.propagation = option;
    else if (option == "shared" || option == "rshared")
      TRY_VOID(check_propagation(option, "volume " + text));
    else if (option != "rw" && option != "z" && option != "Z" && option != "delegated" &&
             option != "cached" && option != "consistent")
      return fail(Error::invalid("invalid mode: " + option + " in " + text));
  }
  return m;
}

Result<MountConfig> parse_mount(const std::string& text) {
  MountConfig m;
  m.type = "volume";
  for (const auto& part : split(text, ',')) {
    auto [key, value] = key_value(part);
    bool bare = part.find('=') == std::string::npos;
    bool truth = bare || value == "true" || value == "1";
    if (key == "type") {
      m.type = value;
    } else if (key == "source" || key == "src") {
      m.source = value;
    } else if (key == "target" || key == "dst" || key == "destination") {
      m.target = value;
    } else if (key == "readonly" || key == "ro") {
      m.read_only = truth;
    } else if (key == "bind-propagation") {
      TRY_VOID(check_propagation(value, "--mount " + text));
      m.propagation = value;
    } else if (key == "bind-nonrecursive") {
      m.recursive = !truth;
    } else if (key == "bind-recursive") {
      if (value != "enabled" && value != "disabled")
        return fail(Error::unsupported("--mount " + text + ": bind-recursive=" + value +
                                       " is not built (enabled, disabled)"));
      m.recursive = value == "enabled";
    } else if (key == "volume-nocopy") {
      m.no_copy = truth;
    } else if (key == "ids") {
      if (value != "squash" && value != "identity" && value != "container")
        return fail(Error::invalid("--mount " + text + ": ids are squash, identity or container"));
      m.ids = value;
    } else if (key == "tmpfs-size") {
      m.tmpfs_size = TRY(parse_bytes(value, "tmpfs-size"));
    } else if (key == "tmpfs-mode") {
      m.tmpfs_mode = TRY(parse_mode(value, text));
    } else if (key == "volume-driver" && value == "local") {
      continue;
    } else if (key == "volume-opt") {
      size_t equals = value.find('=');
      if (equals == std::string::npos)
        return fail(Error::invalid("--mount " + text + ": volume-opt is KEY=VALUE, like volume-opt=size=1g"));
      m.volume_options.push_back({value.substr(0, equals), value.substr(equals + 1)});
    } else if (key != "consistency") {
      return fail(Error::invalid("invalid argument \"" + text + "\" for --mount: unexpected key '" + key +
                                 "' in '" + part + "'"));
    }
  }
  if (m.type != "bind" && m.type != "volume" && m.type != "tmpfs")
    return fail(Error::unsupported("--mount type=" + m.type + " is not built (bind, volume, tmpfs)"));
  m.target = TRY(container_path(m.target, text));
  if (!m.ids.empty() && m.ids != "squash" && m.ids != "identity" && m.ids != "container")
    return fail(Error::invalid("invalid argument \"" + text + "\" for --mount: ids=" + m.ids +
                               " (squash, identity, container)"));
  if (m.type == "bind") {
    if (m.source.empty())
      return fail(
          Error::invalid("invalid argument \"" + text + "\" for --mount: a bind mount needs a source"));
    m.source = absolute(m.source);
    struct stat st;
    if (::stat(m.source.c_str(), &st) < 0)
      return fail(Error::invalid("invalid mount config for type \"bind\": bind source path does not exist: " +
                                 m.source));
  }
  m.anonymous = m.type == "volume" && m.source.empty();
  if (m.type != "volume" && !m.volume_options.empty())
    return fail(Error::invalid("cannot mix 'volume-*' options with mount type '" + m.type + "'"));
  return m;
}

Result<std::vector<std::string>> read_env_file(const std::string& path) {
  std::string text = TRY(read_file(path, 1 << 20));
  std::vector<std::string> env;
  int number = 0;
  for (auto line : split(text, '\n')) {
    number++;
    size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string::npos || line[begin] == '#') continue;
    line = line.substr(begin);
    if (line.ends_with('\r')) line.pop_back();
    std::string name = line.substr(0, line.find('='));
    if (name.empty() || name.find_first_of(" \t") != std::string::npos)
      return fail(Error::invalid("invalid env file " + path + ", line " + std::to_string(number) +
                                 ": variable '" + name + "' contains whitespaces or is empty"));
    if (line.find('=') != std::string::npos)
      env.push_back(line);
    else if (const char* value = ::getenv(line.c_str()))
      env.push_back(line + "=" + value);
  }
  return env;
}

Result<int64_t> parse_cpus(const std::string& text) {
  char* end = nullptr;
  double value = ::strtod(text.c_str(), &end);
  if (text.empty() || *end || !(value > 0) || value > 100000)
    return fail(Error::invalid("invalid --cpus '" + text + "' (examples: 0.5, 2)"));
  return static_cast<int64_t>(value * 1e9 + 0.5);
}

Result<engine::CreateRequest> create_request(const Args& args) {
  engine::CreateRequest request;
  ContainerConfig& c = request.config;
  c.image = args.words()[0];
  c.command.assign(args.words().begin() + 1, args.words().end());
  if (auto entry = args.find("entrypoint")) {
    request.entrypoint.emplace();
    if (!entry->empty()) request.entrypoint->push_back(*entry);
  }
  request.pull = args.get("pull", "missing");
  if (request.pull != "missing" && request.pull != "always" && request.pull != "never")
    return fail(Error::invalid("invalid pull option: '" + request.pull +
                               "': must be one of \"always\", \"missing\" or \"never\""));
  request.platform = args.get("platform");
  TRY_VOID(plain_options(args, c));
  c.env = TRY(environment(args));
  c.labels = TRY(labels(args));
  TRY_VOID(network_options(args, c));
  TRY_VOID(mode_options(args, c));
  TRY_VOID(device_options(args, c));
  TRY_VOID(rlimits(args, c));
  TRY_VOID(security_options(args, c));
  TRY_VOID(health_options(args, c));
  TRY_VOID(restart_option(args, c));
  TRY_VOID(resource_options(args, c));
  TRY_VOID(mounts(args, c));
  TRY_VOID(log_options(args, c));
  return request;
}

Result<> apply_update(const Args& args, ContainerConfig& config) {
  const engine::ResourceConfig old = config.resources;
  engine::ResourceConfig& r = config.resources;
  // One way of limiting the CPU replaces the other.
  if (args.has("cpus")) r.cpu_quota = r.cpu_period = 0;
  if (args.has("cpu-quota") || args.has("cpu-period")) r.nano_cpus = 0;
  TRY_VOID(resource_options(args, config));
  // Those that are not options of `update`, or were not given, are kept.
  if (!args.has("cpuset-cpus")) r.cpuset_cpus = old.cpuset_cpus;
  if (!args.has("cpuset-mems")) r.cpuset_mems = old.cpuset_mems;
  r.oom_kill_disable = old.oom_kill_disable;
  return args.has("restart") ? restart_option(args, config) : Result<>();
}

}  // namespace onggi::cli
