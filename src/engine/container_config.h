// What a container is to its user, as it is kept on disk.
//
// ContainerConfig is what was asked for, resolved against the image, and never changes after create except by
// `rename` and `update`. ContainerState is what happened to it. Both are JSON files replaced by rename.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "oci/runtime_spec.h"

namespace onggi::engine {

using StringMap = oci::StringMap;

// A file system given to the container beside its root.
struct MountConfig {
  std::string type;    // "bind", "volume", "tmpfs", "image"
  std::string source;  // host path, volume name; empty for tmpfs
  std::string target;  // absolute, in the container
  bool read_only = false;
  std::string propagation;  // "", "rprivate", "rslave", ...
  std::string ids;          // bind: "squash" (default), "identity" (no mapping), "container" (0.. -> 0..)
  bool no_copy = false;     // volume: not filled from the image
  bool recursive = true;
  int64_t tmpfs_size = 0;   // bytes; 0: the default of the profile
  uint32_t tmpfs_mode = 0;  // 0: 01777
  std::vector<std::string> options;
  bool anonymous = false;         // volume without a name of its user's: removed with the container
  oci::StringMap volume_options;  // for a volume that is made with the container
};

// A file of the stack's (a config or secret): its bytes lie in the container's directory as files/N; each
// start puts them into a tmpfs with owner and mode, and mounts them read-only.
struct FileConfig {
  std::string target;  // absolute, in the container
  uint32_t uid = 0, gid = 0;
  uint32_t mode = 0444;
};

struct DeviceConfig {
  std::string host, container, access;  // access: letters of "rwm"
};

struct RlimitConfig {
  std::string name;  // "nofile"
  int64_t soft = 0, hard = 0;
};

struct ThrottleConfig {
  std::string path;
  uint64_t rate = 0;
};

struct ResourceConfig {
  int64_t memory = 0;              // bytes; 0: the profile's default, -1: no limit
  int64_t memory_swap = 0;         // bytes, memory + swap; 0: no swap beyond memory, -1: no limit
  int64_t memory_reservation = 0;  // bytes
  std::optional<uint64_t> memory_swappiness;
  int64_t nano_cpus = 0;  // 1e9 is one CPU
  int64_t cpu_shares = 0, cpu_quota = 0, cpu_period = 0, cpu_rt_runtime = 0, cpu_rt_period = 0;
  std::string cpuset_cpus, cpuset_mems;
  int64_t pids_limit = 0;  // 0: the profile's default, -1: no limit
  uint16_t blkio_weight = 0;
  std::vector<ThrottleConfig> blkio_weight_device, read_bps, write_bps, read_iops, write_iops;
  bool oom_kill_disable = false;
};

struct HealthConfig {
  std::vector<std::string>
      test;  // {"CMD",...}, {"CMD-SHELL", line}, {"HTTP", url}, {"TCP", addr}, {"UNIX", path}, {"NONE"}
  int64_t interval = 0, timeout = 0, start_period = 0, start_interval = 0;  // nanoseconds; 0: default
  int64_t retries = 0;
  std::string on_unhealthy;  // "none", "restart", "stop"
};

struct RestartPolicy {
  std::string name;     // "no", "always", "on-failure", "unless-stopped"
  int64_t maximum = 0;  // how often; 0: without bound
  int64_t delay = 0;    // nanoseconds between end and start; 0: 100 ms, doubled each time
  int64_t window = 0;   // a run of so many nanoseconds counts as recovered; 0: ten seconds
};

// Rows of the default profile that were relaxed (security.md); each is named by `inspect --isolation`.
struct SecurityConfig {
  bool privileged = false;
  bool host_userns = false;   // no user namespace: ids are the host's
  bool allow_setuid = false;  // no_new_privs off
  bool unmask_paths = false;  // systempaths=unconfined
  std::string seccomp;        // "": the profile; "unconfined"; else JSON of a profile
  std::string apparmor;
  std::string selinux_label;
  std::vector<std::string> cap_add, cap_drop;  // "CAP_X" or "ALL"
  bool allow_nesting = false;                  // namespaces may be made inside
};

// One network that a container is on. What was not asked for (addresses) is chosen at create and filled in
// then: a container keeps its addresses until it is removed.
struct EndpointConfig {
  std::string network;               // as asked: name or id; after create the name
  std::string network_id;            // filled in by create
  std::vector<std::string> aliases;  // further names on this network
  std::string ipv4, ipv6, mac;
  bool fixed = false;    // the addresses were asked for, not chosen
  StringMap options;     // driver options of this endpoint
  int64_t priority = 0;  // the highest gives the default route; then the order of the list
};

struct ContainerConfig {
  int version = 1;
  std::string id;                   // 64 hexadecimal digits
  std::string name;                 // [a-zA-Z0-9][a-zA-Z0-9_.-]*
  std::string created;              // RFC 3339, UTC
  std::string image;                // as the user wrote it
  std::string image_id;             // digest of the image's configuration, "sha256:..."
  std::vector<std::string> layers;  // chain ids, lowest first
  std::vector<std::string> entrypoint, command, env;
  std::string working_dir, user, hostname, domainname;
  StringMap labels, annotations, sysctls, extra_hosts, log_options;
  bool tty = false, open_stdin = false, init = true, read_only = false, auto_remove = false;
  std::string stop_signal;
  std::optional<int> stop_timeout;  // seconds
  // network: "none", "host", "container:ID", or "bridge" for "is on `endpoints`".
  std::string network, pid_mode, ipc_mode, uts_mode, cgroupns_mode,
      cgroup_parent;  // "", "host", "private", "none", "container:ID"
  std::vector<EndpointConfig> endpoints;
  // Normalised, one port each: "IP:HOST:CONTAINER/PROTO", IP "" for every address of both families (IPv6 in
  // brackets), HOST 0 for a port of the engine's choice at each start.
  std::vector<std::string> ports;
  bool publish_all = false;  // -P: every exposed port, too
  std::vector<std::string> dns, dns_search, dns_options, group_add, expose;
  std::string log_driver;  // "json-file", "journald", "none"
  std::vector<MountConfig> mounts;
  std::vector<FileConfig> files;
  std::vector<std::string> volumes_from;  // only until create has resolved them
  std::vector<DeviceConfig> devices;
  std::vector<std::string> device_rules;
  std::vector<RlimitConfig> rlimits;
  std::optional<int> oom_score_adj;
  int64_t shm_size = 0;      // bytes; 0: 64 MiB
  int64_t storage_size = 0;  // bytes of the writable layer; 0: the default quota
  ResourceConfig resources;
  HealthConfig health;
  RestartPolicy restart;
  SecurityConfig security;
  uint32_t id_base = 0;         // first host id of its range; 0: none (host_userns)
  std::string shares_range_of;  // the container whose range and user namespace it shares; it owns none itself
  std::string isolation;
};

enum class ContainerStatus : uint8_t { kCreated, kRunning, kPaused, kRestarting, kExited, kDead };

// What the cgroup had counted when the container ended: evidence for `why`. The texts are the kernel's
// (cgroup v2 only): "avg10=0.00 avg60=0.00 avg300=0.00 total=0".
struct EndEvidence {
  uint64_t memory_peak = 0, memory_limit = 0;  // bytes; limit 0: none
  uint64_t memory_limit_hits = 0;              // how often the limit stopped an allocation
  uint64_t pids_limit = 0, pids_limit_hits = 0;
  uint64_t cpu_ns = 0, throttled_ns = 0;
  std::string memory_pressure, cpu_pressure, io_pressure;
};

struct ContainerState {
  // "created", "starting" (a command is on it), "running", "restarting", "exited". Whether it is paused is
  // asked of the kernel.
  std::string status = "created";
  int pid = 0;
  uint64_t pid_start = 0;  // clock ticks since boot: tells this pid from a later one
  int monitor = 0;
  std::string started_at, finished_at, error, reason;
  int exit_code = 0, signal = 0;
  int64_t oom_kills = 0;
  int64_t restarts = 0;
  bool stopped_by_user = false;  // `stop` or `kill`: no restart
  bool removing = false;         // killed by a removal: its sweeper gives back what the runtime has
  std::string boot_id;           // of the machine's boot in which it ran
  std::string stopped_by;        // evidence for `why`: "stop by uid 0 (pid 1 ...)"
  EndEvidence evidence;          // of the last run that ended
};

// --- health: RUN/containers/ID/health.json
struct HealthResult {
  std::string start, end, output;
  int exit_code = 0;
};
struct HealthState {
  std::string status;  // "starting", "healthy", "unhealthy"
  int64_t failing_streak = 0;
  std::vector<HealthResult> log;  // the last five
};

}  // namespace onggi::engine

namespace onggi {

template <>
struct JsonFields<engine::MountConfig> {
  using T = engine::MountConfig;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::type>("type"), json_field<&T::source>("source"), json_field<&T::target>("target"),
       json_field<&T::read_only>("readOnly"), json_field<&T::propagation>("propagation"),
       json_field<&T::ids>("ids"), json_field<&T::no_copy>("noCopy"),
       json_field<&T::recursive>("recursive", JsonEmit::kAlways), json_field<&T::tmpfs_size>("tmpfsSize"),
       json_field<&T::tmpfs_mode>("tmpfsMode"), json_field<&T::options>("options"),
       json_field<&T::anonymous>("anonymous"), json_field<&T::volume_options>("volumeOptions")});
};
template <>
struct JsonFields<engine::FileConfig> {
  using T = engine::FileConfig;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::target>("target"), json_field<&T::uid>("uid"),
                              json_field<&T::gid>("gid"), json_field<&T::mode>("mode", JsonEmit::kAlways)});
};
template <>
struct JsonFields<engine::DeviceConfig> {
  using T = engine::DeviceConfig;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::host>("host"), json_field<&T::container>("container"),
                              json_field<&T::access>("access")});
};
template <>
struct JsonFields<engine::RlimitConfig> {
  using T = engine::RlimitConfig;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::name>("name"), json_field<&T::soft>("soft", JsonEmit::kAlways),
                              json_field<&T::hard>("hard", JsonEmit::kAlways)});
};
template <>
struct JsonFields<engine::ThrottleConfig> {
  using T = engine::ThrottleConfig;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::path>("path"), json_field<&T::rate>("rate", JsonEmit::kAlways)});
};
template <>
struct JsonFields<engine::ResourceConfig> {
  using T = engine::ResourceConfig;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::memory>("memory"),
                              json_field<&T::memory_swap>("memorySwap"),
                              json_field<&T::memory_reservation>("memoryReservation"),
                              json_field<&T::memory_swappiness>("memorySwappiness"),
                              json_field<&T::nano_cpus>("nanoCpus"),
                              json_field<&T::cpu_shares>("cpuShares"),
                              json_field<&T::cpu_quota>("cpuQuota"),
                              json_field<&T::cpu_period>("cpuPeriod"),
                              json_field<&T::cpu_rt_runtime>("cpuRealtimeRuntime"),
                              json_field<&T::cpu_rt_period>("cpuRealtimePeriod"),
                              json_field<&T::cpuset_cpus>("cpusetCpus"),
                              json_field<&T::cpuset_mems>("cpusetMems"),
                              json_field<&T::pids_limit>("pidsLimit"),
                              json_field<&T::blkio_weight>("blkioWeight"),
                              json_field<&T::blkio_weight_device>("blkioWeightDevice"),
                              json_field<&T::read_bps>("blkioReadBps"),
                              json_field<&T::write_bps>("blkioWriteBps"),
                              json_field<&T::read_iops>("blkioReadIops"),
                              json_field<&T::write_iops>("blkioWriteIops"),
                              json_field<&T::oom_kill_disable>("oomKillDisable")});
};
template <>
struct JsonFields<engine::HealthConfig> {
  using T = engine::HealthConfig;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::test>("test"), json_field<&T::interval>("interval"), json_field<&T::timeout>("timeout"),
       json_field<&T::start_period>("startPeriod"), json_field<&T::start_interval>("startInterval"),
       json_field<&T::retries>("retries"), json_field<&T::on_unhealthy>("onUnhealthy")});
};
template <>
struct JsonFields<engine::RestartPolicy> {
  using T = engine::RestartPolicy;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::name>("name"), json_field<&T::maximum>("maximum"),
                              json_field<&T::delay>("delay"), json_field<&T::window>("window")});
};
template <>
struct JsonFields<engine::SecurityConfig> {
  using T = engine::SecurityConfig;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::privileged>("privileged"), json_field<&T::host_userns>("hostUserNamespace"),
       json_field<&T::allow_setuid>("allowSetuid"), json_field<&T::unmask_paths>("unmaskPaths"),
       json_field<&T::seccomp>("seccomp"), json_field<&T::apparmor>("apparmor"),
       json_field<&T::selinux_label>("selinuxLabel"), json_field<&T::cap_add>("capAdd"),
       json_field<&T::cap_drop>("capDrop"), json_field<&T::allow_nesting>("allowNesting")});
};
template <>
struct JsonFields<engine::EndpointConfig> {
  using T = engine::EndpointConfig;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::network>("network"), json_field<&T::network_id>("networkId"),
       json_field<&T::aliases>("aliases"), json_field<&T::ipv4>("ipv4"), json_field<&T::ipv6>("ipv6"),
       json_field<&T::mac>("mac"), json_field<&T::fixed>("fixed"), json_field<&T::options>("options"),
       json_field<&T::priority>("priority")});
};
template <>
struct JsonFields<engine::ContainerConfig> {
  using T = engine::ContainerConfig;
  static constexpr auto kTable = std::to_array<JsonRow>({json_field<&T::version>("version"),
                                                         json_field<&T::id>("id"),
                                                         json_field<&T::name>("name"),
                                                         json_field<&T::created>("created"),
                                                         json_field<&T::image>("image"),
                                                         json_field<&T::image_id>("imageId"),
                                                         json_field<&T::layers>("layers"),
                                                         json_field<&T::entrypoint>("entrypoint"),
                                                         json_field<&T::command>("command"),
                                                         json_field<&T::env>("env"),
                                                         json_field<&T::working_dir>("workingDir"),
                                                         json_field<&T::user>("user"),
                                                         json_field<&T::hostname>("hostname"),
                                                         json_field<&T::domainname>("domainname"),
                                                         json_field<&T::labels>("labels"),
                                                         json_field<&T::annotations>("annotations"),
                                                         json_field<&T::sysctls>("sysctls"),
                                                         json_field<&T::extra_hosts>("extraHosts"),
                                                         json_field<&T::log_options>("logOptions"),
                                                         json_field<&T::tty>("tty"),
                                                         json_field<&T::open_stdin>("openStdin"),
                                                         json_field<&T::init>("init", JsonEmit::kAlways),
                                                         json_field<&T::read_only>("readOnly"),
                                                         json_field<&T::auto_remove>("autoRemove"),
                                                         json_field<&T::stop_signal>("stopSignal"),
                                                         json_field<&T::stop_timeout>("stopTimeout"),
                                                         json_field<&T::network>("network"),
                                                         json_field<&T::pid_mode>("pidMode"),
                                                         json_field<&T::ipc_mode>("ipcMode"),
                                                         json_field<&T::uts_mode>("utsMode"),
                                                         json_field<&T::cgroupns_mode>("cgroupnsMode"),
                                                         json_field<&T::cgroup_parent>("cgroupParent"),
                                                         json_field<&T::dns>("dns"),
                                                         json_field<&T::dns_search>("dnsSearch"),
                                                         json_field<&T::dns_options>("dnsOptions"),
                                                         json_field<&T::group_add>("groupAdd"),
                                                         json_field<&T::ports>("ports"),
                                                         json_field<&T::expose>("expose"),
                                                         json_field<&T::endpoints>("endpoints"),
                                                         json_field<&T::publish_all>("publishAll"),
                                                         json_field<&T::log_driver>("logDriver"),
                                                         json_field<&T::mounts>("mounts"),
                                                         json_field<&T::files>("files"),
                                                         json_field<&T::devices>("devices"),
                                                         json_field<&T::device_rules>("deviceRules"),
                                                         json_field<&T::rlimits>("rlimits"),
                                                         json_field<&T::oom_score_adj>("oomScoreAdj"),
                                                         json_field<&T::shm_size>("shmSize"),
                                                         json_field<&T::storage_size>("storageSize"),
                                                         json_field<&T::resources>("resources"),
                                                         json_field<&T::health>("health"),
                                                         json_field<&T::restart>("restart"),
                                                         json_field<&T::security>("security"),
                                                         json_field<&T::id_base>("idBase"),
                                                         json_field<&T::shares_range_of>("sharesRangeOf"),
                                                         json_field<&T::isolation>("isolation")});
};
template <>
struct JsonFields<engine::EndEvidence> {
  using T = engine::EndEvidence;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::memory_peak>("memoryPeak"), json_field<&T::memory_limit>("memoryLimit"),
       json_field<&T::memory_limit_hits>("memoryLimitHits"), json_field<&T::pids_limit>("pidsLimit"),
       json_field<&T::pids_limit_hits>("pidsLimitHits"), json_field<&T::cpu_ns>("cpuNs"),
       json_field<&T::throttled_ns>("throttledNs"), json_field<&T::memory_pressure>("memoryPressure"),
       json_field<&T::cpu_pressure>("cpuPressure"), json_field<&T::io_pressure>("ioPressure")});
};
template <>
struct JsonFields<engine::ContainerState> {
  using T = engine::ContainerState;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::status>("status"), json_field<&T::pid>("pid"), json_field<&T::pid_start>("pidStart"),
       json_field<&T::monitor>("monitor"), json_field<&T::started_at>("startedAt"),
       json_field<&T::finished_at>("finishedAt"), json_field<&T::error>("error"),
       json_field<&T::reason>("reason"), json_field<&T::exit_code>("exitCode"),
       json_field<&T::signal>("signal"), json_field<&T::oom_kills>("oomKills"),
       json_field<&T::restarts>("restarts"), json_field<&T::stopped_by_user>("stoppedByUser"),
       json_field<&T::boot_id>("bootId"), json_field<&T::stopped_by>("stoppedBy"),
       json_field<&T::evidence>("evidence"), json_field<&T::removing>("removing")});
};
template <>
struct JsonFields<engine::HealthResult> {
  using T = engine::HealthResult;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::start>("Start"), json_field<&T::end>("End"),
       json_field<&T::exit_code>("ExitCode", JsonEmit::kAlways), json_field<&T::output>("Output")});
};
template <>
struct JsonFields<engine::HealthState> {
  using T = engine::HealthState;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::status>("Status"), json_field<&T::failing_streak>("FailingStreak", JsonEmit::kAlways),
       json_field<&T::log>("Log")});
};

}  // namespace onggi
