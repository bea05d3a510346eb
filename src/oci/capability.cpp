// Capability names in the order of their numbers.
#include "oci/capability.h"

#include <strings.h>

namespace onggi::oci {

namespace {

constexpr const char* kNames[kLastCapability + 1] = {"CAP_CHOWN",
                                                     "CAP_DAC_OVERRIDE",
                                                     "CAP_DAC_READ_SEARCH",
                                                     "CAP_FOWNER",
                                                     "CAP_FSETID",
                                                     "CAP_KILL",
                                                     "CAP_SETGID",
                                                     "CAP_SETUID",
                                                     "CAP_SETPCAP",
                                                     "CAP_LINUX_IMMUTABLE",
                                                     "CAP_NET_BIND_SERVICE",
                                                     "CAP_NET_BROADCAST",
                                                     "CAP_NET_ADMIN",
                                                     "CAP_NET_RAW",
                                                     "CAP_IPC_LOCK",
                                                     "CAP_IPC_OWNER",
                                                     "CAP_SYS_MODULE",
                                                     "CAP_SYS_RAWIO",
                                                     "CAP_SYS_CHROOT",
                                                     "CAP_SYS_PTRACE",
                                                     "CAP_SYS_PACCT",
                                                     "CAP_SYS_ADMIN",
                                                     "CAP_SYS_BOOT",
                                                     "CAP_SYS_NICE",
                                                     "CAP_SYS_RESOURCE",
                                                     "CAP_SYS_TIME",
                                                     "CAP_SYS_TTY_CONFIG",
                                                     "CAP_MKNOD",
                                                     "CAP_LEASE",
                                                     "CAP_AUDIT_WRITE",
                                                     "CAP_AUDIT_CONTROL",
                                                     "CAP_SETFCAP",
                                                     "CAP_MAC_OVERRIDE",
                                                     "CAP_MAC_ADMIN",
                                                     "CAP_SYSLOG",
                                                     "CAP_WAKE_ALARM",
                                                     "CAP_BLOCK_SUSPEND",
                                                     "CAP_AUDIT_READ",
                                                     "CAP_PERFMON",
                                                     "CAP_BPF",
                                                     "CAP_CHECKPOINT_RESTORE"};

}  // namespace

std::optional<uint32_t> capability_number(std::string_view name) {
  constexpr std::string_view kPrefix = "CAP_";
  if (name.size() > kPrefix.size() && strncasecmp(name.data(), kPrefix.data(), kPrefix.size()) == 0)
    name.remove_prefix(kPrefix.size());
  for (uint32_t i = 0; i <= kLastCapability; i++) {
    std::string_view known = std::string_view(kNames[i]).substr(kPrefix.size());
    if (known.size() == name.size() && strncasecmp(known.data(), name.data(), name.size()) == 0) return i;
  }
  return std::nullopt;
}

const char* capability_name(uint32_t number) { return kNames[number]; }

std::vector<std::string> capability_names() { return {std::begin(kNames), std::end(kNames)}; }

}  // namespace onggi::oci
