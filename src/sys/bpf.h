// bpf(2) for device access programs of cgroup v2: load, attach, replace.
#pragma once

#include <linux/bpf.h>

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

// Loads a BPF_PROG_TYPE_CGROUP_DEVICE program. Errors carry the verifier's log.
Result<UniqueFd> load_device_program(const std::vector<bpf_insn>& program);

// Makes `program` the only device program of the cgroup whose directory `cgroup_fd` is: added beside those
// that are there, atomically in place of a single one, and others are detached afterwards, so that at no
// moment less is checked than before or after.
Result<> attach_device_program(int cgroup_fd, int program_fd);

}  // namespace onggi::sys
