// Device access rules: linux.resources.devices -> what the kernel enforces. Pure; sys/bpf.h loads the
// program.
//
// Everything is denied unless a rule allows it. The rules that every container needs (the default devices of
// config-linux.md) come first, but after the last rule that denies everything: engines and `spec` begin their
// lists with "deny all", which states the default and is not meant to take /dev/null away. A later rule of
// the specification can still deny a default device; the wildcards that permit mknod come last of all, since
// v1 cannot take single devices out of a wildcard.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace onggi::runtime {

struct DeviceAccess {
  bool allow = false;
  char type = 'a';     // 'a' both, 'b', 'c'
  int64_t major = -1;  // -1: any
  int64_t minor = -1;
  bool read = false, write = false, mknod = false;
};

struct DevicePolicy {
  bool allow_by_default = false;    // what applies when no rule matches
  std::vector<DeviceAccess> rules;  // the last one that matches decides
};

// Checks and normalises: rules before the last "all devices" rule have no effect and are dropped. Errors name
// the rule's index.
Result<DevicePolicy> device_policy(const std::vector<oci::DeviceRule>& rules);

// v1: writes in order to "devices.deny" or "devices.allow". The kernel keeps one default and a set of
// exceptions, so a rule that denies part of what another one allows as a whole ("allow c 1:*", then "deny c
// 1:3") cannot be expressed and is an error.
struct DeviceWrite {
  bool allow = false;
  std::string text;  // "c 1:3 rwm", "a"
};
Result<std::vector<DeviceWrite>> device_writes_v1(const DevicePolicy& policy);
// The same for a cgroup that is in use, whose devices.list is given: only differences are written, so that
// nothing the container may use disappears for a moment, and a cgroup with children (whose default cannot be
// changed any more) can be updated.
Result<std::vector<DeviceWrite>> device_update_v1(std::string_view devices_list, const DevicePolicy& policy);

// v2: the body of a BPF_PROG_TYPE_CGROUP_DEVICE program, which returns 1 to allow. The last rule that matches
// decides, for each kind of access by itself: opening for reading and writing needs both to be allowed, by
// whatever rules.
std::vector<bpf_insn> device_program(const DevicePolicy& policy);

}  // namespace onggi::runtime
