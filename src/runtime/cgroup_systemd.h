// The systemd manager: the cgroup is a transient scope, made around an existing process by asking systemd
// over D-Bus.
#pragma once

#include <memory>

#include "runtime/cgroup.h"

namespace onggi::runtime {

// Errors: a malformed "slice:prefix:name"; systemd is not the host's init.
Result<std::unique_ptr<Cgroup>> plan_systemd_cgroup(const CgroupConfig& config, const sys::CgroupRoots& roots,
                                                    const sys::CgroupLayout& layout);
Result<std::unique_ptr<Cgroup>> load_systemd_cgroup(const CgroupRecord& record,
                                                    const sys::CgroupRoots& roots);

}  // namespace onggi::runtime
