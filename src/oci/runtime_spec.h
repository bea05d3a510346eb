// The OCI runtime specification's config.json, version 1.3, as plain C++ values.
//
// One struct per object of config.md and config-linux.md; names are the specification's in snake_case.
// std::optional marks fields whose absence differs from their zero value. Pure data: parse.h fills it,
// check.h judges it, emit.h prints it. Sizes are bytes, times are as the specification says (noted where that
// surprises).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#undef linux  // GNU dialects predefine it as 1; here it is the name of a member

namespace onggi::oci {

inline constexpr const char* kSpecVersion = "1.3.0";

// Insertion order is kept, since sysctls and annotations are applied and printed in the order given.
using StringMap = std::vector<std::pair<std::string, std::string>>;

// --- process (config.md "Process") ---
struct ConsoleSize {
  uint32_t height = 0;  // rows
  uint32_t width = 0;   // columns
};
struct User {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::optional<uint32_t> umask;
  std::vector<uint32_t> additional_gids;
};
struct Capabilities {  // names as written, e.g. "CAP_CHOWN"
  std::vector<std::string> bounding, effective, inheritable, permitted, ambient;
};
struct Rlimit {
  std::string type;  // "RLIMIT_NOFILE"
  uint64_t soft = 0;
  uint64_t hard = 0;
};
struct Scheduler {
  std::string policy;  // "SCHED_OTHER", ...
  int32_t nice = 0;
  int32_t priority = 0;
  std::vector<std::string> flags;
  uint64_t runtime = 0, deadline = 0, period = 0;  // nanoseconds
};
struct IoPriority {
  std::string io_class;  // "IOPRIO_CLASS_BE", ...
  int32_t priority = 0;
};
struct ExecCpuAffinity {
  std::string initial;  // CPU list, "0-3,7"
  std::string final;
};
struct Process {
  bool terminal = false;
  std::optional<ConsoleSize> console_size;
  User user;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string cwd;
  std::optional<Capabilities> capabilities;
  std::vector<Rlimit> rlimits;
  bool no_new_privileges = false;
  std::string apparmor_profile;
  std::optional<int> oom_score_adj;
  std::string selinux_label;
  std::optional<Scheduler> scheduler;
  std::optional<IoPriority> io_priority;
  std::optional<ExecCpuAffinity> exec_cpu_affinity;
};

// --- root, mounts, hooks ---
struct Root {
  std::string path;
  bool readonly = false;
};
struct IdMapping {
  uint32_t container_id = 0;
  uint32_t host_id = 0;
  uint32_t size = 0;
};
struct Mount {
  std::string destination;
  std::string type;
  std::string source;
  std::vector<std::string> options;
  std::vector<IdMapping> uid_mappings;
  std::vector<IdMapping> gid_mappings;
};
struct Hook {
  std::string path;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::optional<int> timeout;  // seconds
};
struct Hooks {
  std::vector<Hook> prestart, create_runtime, create_container, start_container, poststart, poststop;
};

// --- linux ---
enum class NamespaceType : uint8_t { kPid, kNetwork, kMount, kIpc, kUts, kUser, kCgroup, kTime };
struct Namespace {
  NamespaceType type = NamespaceType::kPid;
  std::string path;  // empty: a new namespace
};
struct Device {
  std::string type;  // "c", "b", "u", "p"
  std::string path;
  int64_t major = 0;
  int64_t minor = 0;
  std::optional<uint32_t> file_mode;
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
};
struct TimeOffset {
  int64_t secs = 0;
  uint32_t nanosecs = 0;
};
struct NetDevice {
  std::string name;      // on the host
  std::string new_name;  // inside; empty: unchanged
};

struct DeviceRule {  // resources.devices
  bool allow = false;
  std::string type;  // "a", "c", "b"; empty means "a"
  std::optional<int64_t> major;
  std::optional<int64_t> minor;
  std::string access;  // "rwm"
};
struct MemoryResources {  // bytes; -1 is unlimited
  std::optional<int64_t> limit, reservation, swap, kernel, kernel_tcp;
  std::optional<uint64_t> swappiness;  // 0..100
  std::optional<bool> disable_oom_killer, use_hierarchy, check_before_update;
};
struct CpuResources {
  std::optional<uint64_t> shares;
  std::optional<int64_t> quota;             // microseconds
  std::optional<uint64_t> burst, period;    // microseconds
  std::optional<int64_t> realtime_runtime;  // microseconds
  std::optional<uint64_t> realtime_period;  // microseconds
  std::string cpus, mems;
  std::optional<int64_t> idle;
};
struct PidsResources {
  std::optional<int64_t> limit;
};
struct WeightDevice {
  int64_t major = 0, minor = 0;
  std::optional<uint16_t> weight, leaf_weight;
};
struct ThrottleDevice {
  int64_t major = 0, minor = 0;
  uint64_t rate = 0;
};
struct BlockIoResources {
  std::optional<uint16_t> weight, leaf_weight;
  std::vector<WeightDevice> weight_device;
  std::vector<ThrottleDevice> throttle_read_bps, throttle_write_bps, throttle_read_iops, throttle_write_iops;
};
struct HugepageLimit {
  std::string page_size;  // "2MB"
  uint64_t limit = 0;
};
struct InterfacePriority {
  std::string name;
  uint32_t priority = 0;
};
struct NetworkResources {
  std::optional<uint32_t> class_id;
  std::vector<InterfacePriority> priorities;
};
struct RdmaLimit {
  std::string device;
  std::optional<uint32_t> hca_handles, hca_objects;
};
struct Resources {
  std::vector<DeviceRule> devices;
  std::optional<MemoryResources> memory;
  std::optional<CpuResources> cpu;
  std::optional<PidsResources> pids;
  std::optional<BlockIoResources> block_io;
  std::vector<HugepageLimit> hugepage_limits;
  std::optional<NetworkResources> network;
  std::vector<RdmaLimit> rdma;
  StringMap unified;  // file name -> content, cgroup v2
};

struct SeccompArg {
  uint32_t index = 0;
  uint64_t value = 0;
  uint64_t value_two = 0;
  std::string op;  // "SCMP_CMP_EQ", ...
};
struct SyscallRule {
  std::vector<std::string> names;
  std::string action;
  std::optional<uint32_t> errno_ret;
  std::vector<SeccompArg> args;
};
struct Seccomp {
  std::string default_action;
  std::optional<uint32_t> default_errno_ret;
  std::vector<std::string> architectures;
  std::optional<std::vector<std::string>> flags;  // absent is not the same as empty: see policy/seccomp.h
  std::string listener_path;
  std::string listener_metadata;
  std::vector<SyscallRule> syscalls;
};
struct IntelRdt {
  std::string clos_id;
  std::vector<std::string> schemata;
  std::string l3_cache_schema;
  std::string mem_bw_schema;
  bool enable_monitoring = false;
  bool enable_cmt = false, enable_mbm = false;  // deprecated since 1.3, still read
};
struct MemoryPolicy {
  std::string mode;   // "MPOL_BIND", ...
  std::string nodes;  // "0-1,3"
  std::vector<std::string> flags;
};
struct Personality {
  std::string domain;  // "LINUX" or "LINUX32"
  std::vector<std::string> flags;
};
struct Linux {
  std::vector<IdMapping> uid_mappings;
  std::vector<IdMapping> gid_mappings;
  StringMap sysctl;
  std::optional<Resources> resources;
  std::string cgroups_path;
  std::vector<Namespace> namespaces;
  std::vector<Device> devices;
  std::vector<NetDevice> net_devices;
  std::optional<Seccomp> seccomp;
  std::string rootfs_propagation;
  std::vector<std::string> masked_paths;
  std::vector<std::string> readonly_paths;
  std::string mount_label;
  std::optional<IntelRdt> intel_rdt;
  std::optional<MemoryPolicy> memory_policy;
  std::optional<Personality> personality;
  std::vector<std::pair<std::string, TimeOffset>> time_offsets;  // "monotonic", "boottime"
};

struct Spec {
  std::string oci_version;
  std::optional<Process> process;
  Root root;
  std::string hostname;
  std::string domainname;
  std::vector<Mount> mounts;
  Hooks hooks;
  StringMap annotations;
  Linux linux;
  bool has_linux = false;
};

// Name as in config.json: "pid", "network", ...
const char* to_string(NamespaceType type);
// The reverse; nullopt for an unknown name.
std::optional<NamespaceType> namespace_type(std::string_view name);
// CLONE_NEW* flag of the type.
uint64_t clone_flag(NamespaceType type);

}  // namespace onggi::oci
