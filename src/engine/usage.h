// What a container's cgroup says now: use, limits, peaks, pressure. Read from the kernel's files alone, so a
// container that is stuck, paused or held by another command answers as fast as any other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/engine.h"
#include "sys/cgroup.h"

namespace onggi::engine {

// The files of one container's cgroup, whichever version the host has.
class CgroupFiles {
 public:
  static Result<CgroupFiles> of(const ContainerConfig& config, const HostFacts& host);
  // Content of the file that is called `v1` in the hierarchy of `controller`, or `v2` in the unified one. An
  // empty name: this version has none. nullopt: it is not there.
  [[nodiscard]] std::optional<std::string> read(const char* controller, const char* v1, const char* v2) const;
  // One number; "max" and v1's largest number are nullopt, as is a file that is not there.
  [[nodiscard]] std::optional<uint64_t> number(const char* controller, const char* v1, const char* v2) const;
  // The value of `key` in a file of "key value" lines.
  [[nodiscard]] std::optional<uint64_t> key(const char* controller, const char* v1, const char* v1_key,
                                            const char* v2, const char* v2_key) const;
  [[nodiscard]] bool unified() const { return layout_.mode == sys::CgroupMode::kV2; }

 private:
  [[nodiscard]] std::string directory(const char* controller) const;  // "" when there is no such hierarchy
  sys::CgroupLayout layout_;
  std::string path_;  // below a hierarchy's mount
};

struct Usage {
  uint64_t cpu_ns = 0;
  uint64_t memory = 0;        // bytes, without page cache that can be dropped (docker's figure)
  uint64_t memory_limit = 0;  // bytes; the machine's memory when there is no limit
  uint64_t pids = 0;
  uint64_t read_bytes = 0, written_bytes = 0;   // block devices
  uint64_t received_bytes = 0, sent_bytes = 0;  // all interfaces but lo
};

// Counters for `why`, now: of a container that runs, or one that has just ended and whose cgroup is still
// there. Members that this kernel does not count stay zero.
EndEvidence read_evidence(const ContainerConfig& config, const HostFacts& host);

// kNotFound when it has no cgroup (it does not run). `pid`: of its first process, for the network.
Result<Usage> read_usage(Engine& engine, const ContainerConfig& config, int pid);

}  // namespace onggi::engine
