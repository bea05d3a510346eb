// File systems inside files: loop devices.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

struct LoopDevice {
  UniqueFd fd;  // the device goes when this and every mount of it are closed
  int number = -1;
};

// A free loop device over the file (borrowed; opened for writing unless `read_only`), with blocks of `block`
// bytes. kUnsupported where the host has none.
Result<LoopDevice> attach_loop(int file, uint32_t block = 4096, bool read_only = false);
std::string loop_path(const LoopDevice& device);
// The loop device `number`, if it still stands for a file with that inode.
Result<LoopDevice> open_loop(int number, uint64_t inode);

// A detached mount of the device's file system, nodev and nosuid. Options are fsconfig strings.
Result<MountFd> mount_loop(const LoopDevice& device, const char* type,
                           const std::vector<std::string>& options);

}  // namespace onggi::sys
