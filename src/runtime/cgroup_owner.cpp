#include "runtime/cgroup_owner.h"

#include <algorithm>

#include "sys/cgroup.h"

namespace onggi::runtime {
namespace {

const oci::Namespace* find(const oci::Spec& spec, oci::NamespaceType type) {
  for (const oci::Namespace& n : spec.linux.namespaces)
    if (n.type == type) return &n;
  return nullptr;
}

bool writable_cgroups(const oci::Spec& spec) {
  return std::any_of(spec.mounts.begin(), spec.mounts.end(), [](const oci::Mount& m) {
    if (m.type != "cgroup" && m.type != "cgroup2") return false;
    if (sys::clean_path(m.destination) != "/sys/fs/cgroup") return false;
    bool read_only = false;  // the last word counts
    for (const std::string& o : m.options) {
      if (o == "ro" || o == "rro") read_only = true;
      if (o == "rw" || o == "rrw") read_only = false;
    }
    return !read_only;
  });
}

}  // namespace

int64_t cgroup_owner(const oci::Spec& spec) {
  const oci::Namespace* cgroup = find(spec, oci::NamespaceType::kCgroup);
  if (!cgroup || !cgroup->path.empty() || !spec.process || !writable_cgroups(spec)) return -1;
  uint32_t uid = spec.process->user.uid;
  if (!find(spec, oci::NamespaceType::kUser)) return uid;
  for (const oci::IdMapping& m : spec.linux.uid_mappings)
    if (uid >= m.container_id && uid - m.container_id < m.size)
      return int64_t{m.host_id} + (uid - m.container_id);
  return -1;
}

}  // namespace onggi::runtime
