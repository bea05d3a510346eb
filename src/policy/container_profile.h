// What a container of the engine may do when nobody asked for more: capabilities, system calls, paths,
// limits.
//
// Data, with the reason beside each rule. It is stricter than the defaults of the engines it stands beside,
// and popular images run under it unchanged (tests/e2e). The user namespace around it is engine/spec_build's
// part.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "oci/runtime_spec.h"

namespace onggi::policy {

struct SeccompOptions {
  bool nesting = false;           // namespaces and mounts may be made inside
  bool packet_sockets = false;    // CAP_NET_RAW was granted: AF_PACKET
  bool all_capabilities = false;  // system calls that only a capability makes harmful are left to it
};

// Allow list, one native ABI. Unknown numbers and what is not built in answer ENOSYS, the rest EPERM.
oci::Seccomp container_seccomp(const SeccompOptions& options);

// The eleven capabilities, valid only inside the container's user namespace.
const std::vector<std::string>& container_capabilities();
const std::vector<std::string>& container_masked_paths();
const std::vector<std::string>& container_readonly_paths();

inline constexpr int64_t kDefaultPids = 1024;            // tasks: a fork bomb stops here
inline constexpr int64_t kDefaultShmBytes = 64 << 20;    // /dev/shm
inline constexpr int64_t kDefaultTmpfsBytes = 64 << 20;  // each --tmpfs without a size
inline constexpr uint64_t kNofileSoft = 1024;     // select() works, and loops over all descriptors are short
inline constexpr uint64_t kNofileHard = 1048576;  // a server raises its own
inline constexpr uint64_t kCoreBytes = 1;  // no core file, yet core_pattern pipes still see a crash (core(5))
inline constexpr int kMaxPtys = 256;       // devpts max=: ptys are one number space per host
inline constexpr uint64_t kDefaultQuotaBytes = 10ull << 30;  // writable layer

}  // namespace onggi::policy
