#include "sys/landlock.h"

#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

namespace onggi::sys {

namespace {

// Rights newer than Debian 12's header, by the ABI that brought them.
constexpr uint64_t kRefer = 1ull << 13, kTruncate = 1ull << 14, kIoctlDev = 1ull << 15;  // ABI 2, 3, 5
constexpr uint64_t kNetBindTcp = 1ull << 0, kNetConnectTcp = 1ull << 1;                  // ABI 4
constexpr uint64_t kScopeAbstract = 1ull << 0, kScopeSignal = 1ull << 1;                 // ABI 6

struct Attributes {  // struct landlock_ruleset_attr as of ABI 6; older kernels take its beginning
  uint64_t fs, net, scoped;
};

uint64_t known_fs_rights(int abi) {
  uint64_t rights = (1ull << 13) - 1;
  if (abi >= 2) rights |= kRefer;
  if (abi >= 3) rights |= kTruncate;
  if (abi >= 5) rights |= kIoctlDev;
  return rights;
}

}  // namespace

int landlock_abi() {
  long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return abi < 0 ? 0 : static_cast<int>(abi);
}

Result<bool> restrict_to_directories(const std::vector<int>& writable, const std::vector<int>& programs) {
  int abi = landlock_abi();
  if (abi == 0) return false;
  Attributes attributes = {known_fs_rights(abi), 0, 0};
  size_t size = sizeof(uint64_t);
  if (abi >= 4) attributes.net = kNetBindTcp | kNetConnectTcp, size = 2 * sizeof(uint64_t);
  if (abi >= 6) attributes.scoped = kScopeAbstract | kScopeSignal, size = sizeof attributes;
  long raw = ::syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
  if (raw < 0) return fail(Error::os("create a Landlock ruleset", ""));
  UniqueFd ruleset(static_cast<int>(raw));
  uint64_t denied = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_BLOCK | kIoctlDev;
  for (int directory : writable) {
    // MAKE_CHAR stays: overlay's whiteouts are character devices 0:0, which need no privilege.
    landlock_path_beneath_attr beneath = {attributes.fs & ~denied, directory};
    if (::syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) < 0)
      return fail(Error::os("add a Landlock rule", ""));
  }
  for (int directory : programs) {
    constexpr uint64_t kUse =
        LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    landlock_path_beneath_attr beneath = {attributes.fs & kUse, directory};
    if (::syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) < 0)
      return fail(Error::os("add a Landlock rule", ""));
  }
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) < 0)
    return fail(Error::os("restrict the process with Landlock", ""));
  return true;
}

}  // namespace onggi::sys
