#include "runtime/cgroup_systemd.h"

namespace onggi::runtime {

Result<std::unique_ptr<Cgroup>> plan_systemd_cgroup(const CgroupConfig&, const sys::CgroupRoots&,
                                                    const sys::CgroupLayout&) {
  return fail(Error::unsupported("--systemd-cgroup needs systemd as the host's init"));
}
Result<std::unique_ptr<Cgroup>> load_systemd_cgroup(const CgroupRecord&, const sys::CgroupRoots&) {
  return fail(Error::unsupported("--systemd-cgroup needs systemd as the host's init"));
}

}  // namespace onggi::runtime
