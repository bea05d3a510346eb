#include "runtime/mount_attributes.h"

#include <linux/mount.h>

namespace onggi::runtime {

namespace {

struct Attr {
  uint64_t ms;    // MS_* of mount(2)
  uint64_t attr;  // MOUNT_ATTR_*
};
constexpr Attr kAttrs[] = {
    {1, MOUNT_ATTR_RDONLY},        {2, MOUNT_ATTR_NOSUID},        {4, MOUNT_ATTR_NODEV},
    {8, MOUNT_ATTR_NOEXEC},        {1024, MOUNT_ATTR_NOATIME},    {1 << 24, MOUNT_ATTR_STRICTATIME},
    {2048, MOUNT_ATTR_NODIRATIME}, {256, MOUNT_ATTR_NOSYMFOLLOW},
};
constexpr uint64_t kNoAtime = 1024, kRelAtime = 1 << 21, kStrictAtime = 1 << 24;
constexpr uint64_t kAtimeModes = kNoAtime | kRelAtime | kStrictAtime;

}  // namespace

uint64_t mount_attr_bits(uint64_t ms) {
  uint64_t attr = 0;
  if (ms & kStrictAtime) ms &= ~kNoAtime;  // as mount(2) decides
  for (const auto& [from, to] : kAttrs)
    if (ms & from) attr |= to;
  return attr;
}

MountAttributes mount_attributes(const oci::MountFlags& flags) {
  MountAttributes a;
  a.set = mount_attr_bits(flags.ms_set);
  // Access-time modes are one field: turning any of them off means the default, relatime.
  a.clear = mount_attr_bits(flags.ms_clear & ~kAtimeModes);
  if ((flags.ms_set | flags.ms_clear) & kAtimeModes) a.clear |= MOUNT_ATTR__ATIME;
  return a;
}

}  // namespace onggi::runtime
