#include "cli/inspect_document.h"

#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "cli/inspect_network.h"
#include "cli/inspect_writer.h"
#include "engine/clock.h"
#include "engine/lifecycle.h"
#include "engine/listing.h"
#include "engine/volumes.h"
#include "policy/container_profile.h"

namespace onggi::cli {

namespace {

using engine::ContainerConfig;
using engine::ContainerState;

constexpr const char* kNever = "0001-01-01T00:00:00Z";  // Go's zero time, as docker prints it

void write_health(Writer& w, engine::Engine& engine, const ContainerConfig& c) {
  if (c.health.test.empty() || c.health.test[0] == "NONE") return;
  auto text = read_file(engine.paths().live(c.id) + "/health.json", 1 << 20);
  auto health = text ? json_parse<engine::HealthState>(*text, "health")
                     : Result<engine::HealthState>(engine::HealthState{"starting", 0, {}});
  if (!health) return;
  w.key("Health");
  json_write(w, *health);
}

void write_state(Writer& w, engine::Engine& engine, const ContainerConfig& c, const ContainerState& s) {
  std::string status = engine::status_of(engine, c, s);
  w.object("State");
  w.member("Status", status);
  w.member_bool("Running", status == "running" || status == "paused" || status == "restarting");
  w.member_bool("Paused", status == "paused");
  w.member_bool("Restarting", status == "restarting");
  w.member_bool("OOMKilled", s.oom_kills > 0);
  w.member_bool("Dead", false);
  w.member_number("Pid", s.status == "running" ? s.pid : 0);
  w.member_number("ExitCode", s.exit_code);
  w.member("Error", s.error);
  w.member("StartedAt", s.started_at.empty() ? kNever : s.started_at);
  w.member("FinishedAt", s.finished_at.empty() ? kNever : s.finished_at);
  write_health(w, engine, c);
  w.end_object();
}

// --- HostConfig ---

void write_binds(Writer& w, const ContainerConfig& c) {
  std::vector<std::string> binds;
  for (const auto& m : c.mounts)
    if (m.type == "bind" || (m.type == "volume" && !m.anonymous))
      binds.push_back(m.source + ":" + m.target + (m.read_only ? ":ro" : ""));
  w.strings("Binds", binds);
}

void write_throttles(Writer& w, std::string_view name, const std::vector<engine::ThrottleConfig>& list,
                     const char* value) {
  w.key(name);
  w.begin_array();
  for (const auto& t : list) {
    w.begin_object();
    w.member("Path", t.path);
    w.member_number(value, static_cast<int64_t>(t.rate));
    w.end_object();
  }
  w.end_array();
}

void write_resources(Writer& w, const ContainerConfig& c) {
  const engine::ResourceConfig& r = c.resources;
  w.member_number("CpuShares", r.cpu_shares);
  w.member_number("Memory", r.memory);
  w.member_number("NanoCpus", r.nano_cpus);
  w.member("CgroupParent", c.cgroup_parent);
  w.member_number("BlkioWeight", r.blkio_weight);
  write_throttles(w, "BlkioWeightDevice", r.blkio_weight_device, "Weight");
  write_throttles(w, "BlkioDeviceReadBps", r.read_bps, "Rate");
  write_throttles(w, "BlkioDeviceWriteBps", r.write_bps, "Rate");
  write_throttles(w, "BlkioDeviceReadIOps", r.read_iops, "Rate");
  write_throttles(w, "BlkioDeviceWriteIOps", r.write_iops, "Rate");
  w.member_number("CpuPeriod", r.cpu_period);
  w.member_number("CpuQuota", r.cpu_quota);
  w.member_number("CpuRealtimePeriod", r.cpu_rt_period);
  w.member_number("CpuRealtimeRuntime", r.cpu_rt_runtime);
  w.member("CpusetCpus", r.cpuset_cpus);
  w.member("CpusetMems", r.cpuset_mems);
  w.key("Devices");
  w.begin_array();
  for (const auto& d : c.devices) {
    w.begin_object();
    w.member("PathOnHost", d.host);
    w.member("PathInContainer", d.container);
    w.member("CgroupPermissions", d.access.empty() ? "rwm" : d.access);
    w.end_object();
  }
  w.end_array();
  w.strings("DeviceCgroupRules", c.device_rules);
  w.null_member("DeviceRequests");
  w.member_number("MemoryReservation", r.memory_reservation);
  w.member_number("MemorySwap", r.memory_swap);
  w.key("MemorySwappiness");
  r.memory_swappiness ? w.number(static_cast<int64_t>(*r.memory_swappiness)) : w.null();
  w.member_bool("OomKillDisable", r.oom_kill_disable);
  w.member_number("PidsLimit", r.pids_limit ? r.pids_limit : policy::kDefaultPids);
  w.key("Ulimits");
  w.begin_array();
  for (const auto& l : c.rlimits) {
    w.begin_object();
    w.member("Name", l.name);
    w.member_number("Hard", l.hard);
    w.member_number("Soft", l.soft);
    w.end_object();
  }
  w.end_array();
}

void write_security(Writer& w, const ContainerConfig& c) {
  const engine::SecurityConfig& s = c.security;
  std::vector<std::string> options;
  if (s.allow_setuid) options.emplace_back("no-new-privileges=false");
  if (!s.seccomp.empty())
    options.push_back("seccomp=" +
                      std::string(s.seccomp == "unconfined" ? s.seccomp : "(a profile of its own)"));
  if (!s.apparmor.empty()) options.push_back("apparmor=" + s.apparmor);
  if (!s.selinux_label.empty()) options.push_back("label=" + s.selinux_label);
  if (s.unmask_paths) options.emplace_back("systempaths=unconfined");
  w.strings("CapAdd", s.cap_add);
  w.strings("CapDrop", s.cap_drop);
  w.member_bool("Privileged", s.privileged);
  w.strings("SecurityOpt", options);
  w.member("UsernsMode", s.host_userns ? "host" : "");
  bool masked = !s.privileged && !s.unmask_paths;
  w.strings("MaskedPaths", masked ? policy::container_masked_paths() : std::vector<std::string>{});
  w.strings("ReadonlyPaths", masked ? policy::container_readonly_paths() : std::vector<std::string>{});
}

void write_host_config(Writer& w, const ContainerConfig& c) {
  w.object("HostConfig");
  write_binds(w, c);
  w.member("ContainerIDFile", "");
  w.object("LogConfig");
  w.member("Type", c.log_driver);
  w.map("Config", c.log_options);
  w.end_object();
  w.member("NetworkMode", c.endpoints.empty() ? c.network : c.endpoints[0].network);
  write_port_bindings(w, c);
  w.object("RestartPolicy");
  w.member("Name", c.restart.name);
  w.member_number("MaximumRetryCount", c.restart.maximum);
  w.end_object();
  w.member_bool("AutoRemove", c.auto_remove);
  w.member("VolumeDriver", "");
  w.strings("VolumesFrom", c.volumes_from);
  w.member("CgroupnsMode", c.cgroupns_mode.empty() ? "private" : c.cgroupns_mode);
  w.strings("Dns", c.dns);
  w.strings("DnsOptions", c.dns_options);
  w.strings("DnsSearch", c.dns_search);
  std::vector<std::string> hosts;
  for (const auto& [name, address] : c.extra_hosts) hosts.push_back(name + ":" + address);
  w.strings("ExtraHosts", hosts);
  w.strings("GroupAdd", c.group_add);
  w.member("IpcMode", c.ipc_mode.empty() ? "private" : c.ipc_mode);
  w.member("Cgroup", "");
  w.null_member("Links");
  w.member_number("OomScoreAdj", c.oom_score_adj.value_or(0));
  w.member("PidMode", c.pid_mode);
  w.member_bool("PublishAllPorts", c.publish_all);
  w.member_bool("ReadonlyRootfs", c.read_only);
  w.member("UTSMode", c.uts_mode);
  constexpr int64_t kShm = policy::kDefaultShmBytes;
  w.member_number("ShmSize", c.shm_size ? c.shm_size : kShm);
  w.member("Runtime", "onggi-runtime");
  w.member("Isolation", c.isolation);
  write_security(w, c);
  write_resources(w, c);
  w.member_bool("Init", c.init);
  w.map("Sysctls", c.sysctls);
  w.object("StorageOpt");
  if (c.storage_size) w.member("size", std::to_string(c.storage_size));
  w.end_object();
  w.object("Tmpfs");
  for (const auto& m : c.mounts)
    if (m.type == "tmpfs") {
      std::string options;
      for (const auto& o : m.options) options += (options.empty() ? "" : ",") + o;
      w.member(m.target, options);
    }
  w.end_object();
  w.map("Annotations", c.annotations);
  w.end_object();
}

// --- the rest ---

void write_mounts(Writer& w, engine::Engine& engine, const ContainerConfig& c) {
  w.key("Mounts");
  w.begin_array();
  for (const auto& m : c.mounts) {
    w.begin_object();
    w.member("Type", m.type);
    if (m.type == "volume") w.member("Name", m.source);
    auto volume = m.type == "volume" ? engine::find_volume(engine, m.source)
                                     : Result<engine::Volume>(fail(Error::not_found("")));
    w.member("Source", volume               ? engine::volume_place(engine, *volume)
                       : m.type == "volume" ? engine::volume_data(engine, m.source)
                                            : m.source);
    w.member("Destination", m.target);
    if (m.type == "volume") w.member("Driver", "local");
    std::string mode;
    for (const auto& o : m.options) mode += (mode.empty() ? "" : ",") + o;
    w.member("Mode", m.read_only ? (mode.empty() ? "ro" : "ro," + mode) : mode);
    w.member_bool("RW", !m.read_only);
    w.member("Propagation", m.type == "bind" ? (m.propagation.empty() ? "rprivate" : m.propagation) : "");
    // Not docker's: whose ids the files carry inside.
    if (m.type == "bind") w.member("Ids", m.ids.empty() ? "squash" : m.ids);
    w.end_object();
  }
  w.end_array();
}

void write_healthcheck(Writer& w, const std::vector<std::string>& test, int64_t interval, int64_t timeout,
                       int64_t start_period, int64_t start_interval, int64_t retries) {
  if (test.empty()) return;
  w.object("Healthcheck");
  w.member_strings("Test", test);
  if (interval) w.member_number("Interval", interval);
  if (timeout) w.member_number("Timeout", timeout);
  if (start_period) w.member_number("StartPeriod", start_period);
  if (start_interval) w.member_number("StartInterval", start_interval);
  if (retries) w.member_number("Retries", retries);
  w.end_object();
}

void write_config(Writer& w, const ContainerConfig& c) {
  w.object("Config");
  w.member("Hostname", c.hostname.empty() ? c.id.substr(0, 12) : c.hostname);
  w.member("Domainname", c.domainname);
  w.member("User", c.user);
  w.member_bool("AttachStdin", c.open_stdin);
  w.member_bool("AttachStdout", true);
  w.member_bool("AttachStderr", true);
  w.set("ExposedPorts", c.expose);
  w.member_bool("Tty", c.tty);
  w.member_bool("OpenStdin", c.open_stdin);
  w.member_bool("StdinOnce", false);
  w.member_strings("Env", c.env);
  w.strings("Cmd", c.command);
  const engine::HealthConfig& h = c.health;
  write_healthcheck(w, h.test, h.interval, h.timeout, h.start_period, h.start_interval, h.retries);
  w.member("Image", c.image);
  std::vector<std::string> volumes;
  for (const auto& m : c.mounts)
    if (m.type == "volume") volumes.push_back(m.target);
  w.set("Volumes", volumes);
  w.member("WorkingDir", c.working_dir);
  w.strings("Entrypoint", c.entrypoint);
  w.null_member("OnBuild");
  w.map("Labels", c.labels);
  if (!c.stop_signal.empty()) w.member("StopSignal", c.stop_signal);
  if (c.stop_timeout) w.member_number("StopTimeout", *c.stop_timeout);
  w.end_object();
}

// Host paths, for people; the engine itself mounts by descriptor.
void write_driver(Writer& w, engine::Engine& engine, image::Store* store,
                  const std::vector<image::ImageLayer>& layers, const std::string& container) {
  std::string lower;
  for (auto it = layers.rbegin(); it != layers.rend(); ++it)
    lower += (lower.empty() ? "" : ":") + store->layer_path(it->diff_id);
  w.object("GraphDriver");
  w.member("Name", "overlay");
  w.object("Data");
  w.member("LowerDir", lower);
  if (!container.empty()) {
    std::string own = engine.paths().container(container);
    bool disk = ::access((own + "/disk").c_str(), F_OK) == 0;
    w.member("UpperDir", disk ? own + "/disk (upper)" : own + "/upper");
    w.member("WorkDir", disk ? own + "/disk (work)" : own + "/work");
    w.member("MergedDir", engine.paths().live(container) + "/rootfs");
  }
  w.end_object();
  w.end_object();
}

Result<> write_sizes(Writer& w, engine::Engine& engine, const ContainerConfig& c, uint64_t image_size) {
  uint64_t own = TRY(engine::writable_size(engine, c.id));
  w.member_number("SizeRw", static_cast<int64_t>(own));
  w.member_number("SizeRootFs", static_cast<int64_t>(own + image_size));
  return {};
}

}  // namespace

Result<std::string> container_document(engine::Engine& engine, const std::string& id, bool size) {
  engine::ContainerDir dir = TRY(engine.containers().open(id));
  ContainerConfig c = TRY(dir.config());
  ContainerState s = TRY(dir.state());
  image::Store* store = TRY(engine.images());
  auto image = store->resolve(c.image_id);
  Writer w;
  w.begin_object();
  w.member("Id", c.id);
  w.member("Created", c.created);
  std::vector<std::string> words = c.entrypoint;
  words.insert(words.end(), c.command.begin(), c.command.end());
  w.member("Path", words.empty() ? "" : words[0]);
  if (!words.empty()) words.erase(words.begin());
  w.member_strings("Args", words);
  write_state(w, engine, c, s);
  w.member("Image", c.image_id);
  std::string own = engine.paths().container(c.id);
  w.member("ResolvConfPath", own + "/resolv.conf");
  w.member("HostnamePath", own + "/hostname");
  w.member("HostsPath", own + "/hosts");
  w.member("LogPath", c.log_driver == "json-file" ? own + "/log" : "");
  w.member("Name", "/" + c.name);
  w.member_number("RestartCount", s.restarts);
  w.member("Driver", "overlay");
  w.member("Platform", "linux");
  w.member("MountLabel", "");
  w.member("ProcessLabel", c.security.selinux_label);
  w.member("AppArmorProfile", c.security.apparmor);
  w.null_member("ExecIDs");
  write_host_config(w, c);
  write_driver(w, engine, store, image ? image->layers : std::vector<image::ImageLayer>{}, c.id);
  if (size) TRY_VOID(write_sizes(w, engine, c, image ? image->size : 0));
  write_mounts(w, engine, c);
  write_config(w, c);
  TRY_VOID(write_network(w, engine, c, s.status == "running" ? s.pid : 0));
  w.end_object();
  return w.take();
}

Result<std::string> image_document(engine::Engine& engine, const image::ImageRecord& image) {
  image::Store* store = TRY(engine.images());
  Writer w;
  w.begin_object();
  w.member("Id", image.id.text());
  std::vector<std::string> names;
  for (const auto& name : image.names) {
    auto ref = image::Reference::parse(name);
    names.push_back(ref ? ref->familiar() : name);
  }
  w.member_strings("RepoTags", names);
  std::vector<std::string> digests;
  for (const auto& name : image.digests) {
    auto ref = image::Reference::parse(name);
    digests.push_back(ref ? ref->familiar_name() + "@" + ref->digest.text() : name);
  }
  w.member_strings("RepoDigests", digests);
  const oci::ImageConfig& config = image.config;
  w.member("Parent", "");
  w.member("Comment", config.history.empty() ? "" : config.history.back().comment);
  w.member("Created", config.created.empty() ? kNever : config.created);
  w.member("DockerVersion", "");
  w.member("Author", config.author);
  w.object("Config");
  const oci::ContainerDefaults& d = config.config;
  w.member("User", d.user);
  w.set("ExposedPorts", d.exposed_ports);
  w.member_strings("Env", d.env);
  w.strings("Cmd", d.cmd);
  if (d.healthcheck) {
    const oci::HealthCheck& h = *d.healthcheck;
    write_healthcheck(w, h.test, h.interval, h.timeout, h.start_period, h.start_interval, h.retries);
  }
  w.set("Volumes", d.volumes);
  w.member("WorkingDir", d.working_dir);
  w.strings("Entrypoint", d.entrypoint);
  w.strings("OnBuild", d.on_build);
  w.map("Labels", d.labels);
  if (!d.stop_signal.empty()) w.member("StopSignal", d.stop_signal);
  if (!d.shell.empty()) w.member_strings("Shell", d.shell);
  w.end_object();
  w.member("Architecture", config.architecture);
  if (!config.variant.empty()) w.member("Variant", config.variant);
  w.member("Os", config.os);
  if (!config.os_version.empty()) w.member("OsVersion", config.os_version);
  w.member_number("Size", static_cast<int64_t>(image.size));
  write_driver(w, engine, store, image.layers, "");
  w.object("RootFS");
  w.member("Type", config.rootfs.type);
  w.key("Layers");
  w.begin_array();
  for (const auto& id : config.rootfs.diff_ids) w.string(id.text());
  w.end_array();
  w.end_object();
  w.object("Metadata");
  w.member("LastTagTime", image.pulled ? engine::rfc3339(image.pulled * 1'000'000'000) : kNever);
  w.end_object();
  w.end_object();
  return w.take();
}

}  // namespace onggi::cli
