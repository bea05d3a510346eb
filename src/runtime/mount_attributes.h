// MS_* of parsed options -> MOUNT_ATTR_* for mount_setattr(2). Pure.
#pragma once

#include <cstdint>

#include "oci/mount_options.h"

namespace onggi::runtime {

struct MountAttributes {
  uint64_t set = 0, clear = 0;
};
MountAttributes mount_attributes(const oci::MountFlags& flags);
uint64_t mount_attr_bits(uint64_t ms);

}  // namespace onggi::runtime
