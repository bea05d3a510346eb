// A container's configuration and the engine's policy -> an OCI runtime specification.
//
// Pure: everything that has to be looked up (users of the image, files of the host, other containers'
// namespaces) comes in as SpecInputs, so that golden tests need neither root nor an image.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/container_config.h"
#include "oci/runtime_spec.h"

namespace onggi::engine {

struct HostFacts {
  bool cgroup_v2 = false;
  bool swap = false;  // the machine has swap
  bool rootless = false;
  bool cgroups = true;   // this user may make cgroups
  bool systemd = false;  // and they are in a unit of systemd's (slice.h)
  std::string cgroup_base = "/onggi";
  uint64_t memory_total = 0;    // bytes
  uint64_t nofile_hard = 1024;  // this process's hard limit
};

struct ResolvedUser {
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;
  std::string home = "/";
};

// A mount whose source is known to exist.
struct ResolvedMount {
  const MountConfig* config = nullptr;
  std::string source;                     // host path; empty for tmpfs
  uint32_t owner_uid = 0, owner_gid = 0;  // of the source: for "squash"
  bool is_volume = false;
};

struct ResolvedDevice {
  oci::Device device;
  std::string access;
};

// ResourceConfig's limits of devices with their numbers found.
struct ResolvedBlockIo {
  std::vector<oci::WeightDevice> weight;
  std::vector<oci::ThrottleDevice> read_bps, write_bps, read_iops, write_iops;
};

// Namespaces of another container or of the host that this one joins.
struct SharedNamespaces {
  std::string user, network, pid, ipc, uts;  // /proc/PID/ns/X; empty: its own or the host's
};

struct SpecInputs {
  const ContainerConfig* config = nullptr;
  HostFacts host;
  ResolvedUser user;
  std::vector<ResolvedMount> mounts;
  std::vector<MountConfig>
      granted;  // what `mounts` refers to for configs and secrets; not changed once it is filled
  std::vector<ResolvedDevice> devices;
  ResolvedBlockIo block_io;
  SharedNamespaces shared;
  std::string root = "rootfs";  // path of its root, below the bundle
  std::string directory;        // of the container's own files: hosts, hostname, resolv.conf
  std::string init;             // host path of the init program; empty: none
};

// Errors: unknown capability, rlimit or sysctl that its namespaces do not own.
Result<oci::Spec> build_spec(const SpecInputs& inputs);

// The process of the specification: `inputs.config`'s entrypoint and command, behind init where there is one.
Result<oci::Process> build_process(const SpecInputs& inputs);
// Below each hierarchy (v1) or the one tree (v2).
std::string cgroup_path(const ContainerConfig& config, const HostFacts& facts);
// The capability set after cap_drop and cap_add; names as written by people ("net_admin", "CAP_NET_ADMIN",
// "ALL").
Result<std::vector<std::string>> resolve_capabilities(const SecurityConfig& security);
// linux.resources for `update` and create. `facts` fill the defaults in.
oci::Resources build_resources(const ContainerConfig& config, const HostFacts& facts);
// Where PID 1 is the container's program: it is put before it.
inline constexpr const char* kInitPath = "/dev/onggi-init";

}  // namespace onggi::engine
