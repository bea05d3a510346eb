// Names and numbers of the specification's enumerations.
#include "oci/runtime_spec.h"

#include <linux/sched.h>

namespace onggi::oci {
namespace {

struct NamespaceRow {
  NamespaceType type;
  const char* name;
  uint64_t flag;
};
constexpr NamespaceRow kNamespaces[] = {
    {NamespaceType::kPid, "pid", CLONE_NEWPID},          {NamespaceType::kNetwork, "network", CLONE_NEWNET},
    {NamespaceType::kMount, "mount", CLONE_NEWNS},       {NamespaceType::kIpc, "ipc", CLONE_NEWIPC},
    {NamespaceType::kUts, "uts", CLONE_NEWUTS},          {NamespaceType::kUser, "user", CLONE_NEWUSER},
    {NamespaceType::kCgroup, "cgroup", CLONE_NEWCGROUP}, {NamespaceType::kTime, "time", CLONE_NEWTIME},
};

}  // namespace

const char* to_string(NamespaceType type) { return kNamespaces[static_cast<size_t>(type)].name; }
uint64_t clone_flag(NamespaceType type) { return kNamespaces[static_cast<size_t>(type)].flag; }

std::optional<NamespaceType> namespace_type(std::string_view name) {
  for (const NamespaceRow& row : kNamespaces)
    if (name == row.name) return row.type;
  return std::nullopt;
}

}  // namespace onggi::oci
