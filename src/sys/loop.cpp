#include "sys/loop.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "sys/overlay.h"

namespace onggi::sys {

namespace {

std::string device_path(int number) { return "/dev/loop" + std::to_string(number); }

}  // namespace

Result<LoopDevice> attach_loop(int file, uint32_t block, bool read_only) {
  auto control = open_at(AT_FDCWD, "/dev/loop-control", O_RDWR);
  if (!control)
    return fail(Error::unsupported("this host has no loop devices (" + control.error().text() + ")"));
  loop_config config = {};
  config.fd = static_cast<uint32_t>(file);
  config.block_size = block;
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : 0);
  for (int tries = 0; tries < 64; tries++) {
    LoopDevice device;
    device.number = ::ioctl(control->get(), LOOP_CTL_GET_FREE);
    if (device.number < 0) return fail(Error::os("find a free loop device", ""));
    auto fd = open_at(AT_FDCWD, device_path(device.number), read_only ? O_RDONLY : O_RDWR);
    if (!fd) return fail(Error::unsupported("open a loop device: " + fd.error().text()));
    device.fd = std::move(*fd);
    if (::ioctl(device.fd.get(), LOOP_CONFIGURE, &config) == 0) return device;
    if (errno != EBUSY)
      return fail(Error::os("set up", device_path(device.number)));  // EBUSY: another was faster
  }
  return fail(Error::busy("no loop device stays free for long enough"));
}

Result<LoopDevice> open_loop(int number, uint64_t inode) {
  LoopDevice device;
  device.number = number;
  device.fd = TRY(open_at(AT_FDCWD, device_path(number), O_RDWR));
  loop_info64 info = {};
  if (::ioctl(device.fd.get(), LOOP_GET_STATUS64, &info) < 0)
    return fail(Error::os("inspect", device_path(number)));
  if (info.lo_inode != inode)
    return fail(Error::not_found(device_path(number) + " stands for another file now"));
  return device;
}

std::string loop_path(const LoopDevice& device) { return device_path(device.number); }

Result<MountFd> mount_loop(const LoopDevice& device, const char* type,
                           const std::vector<std::string>& options) {
  return mount_file_system(type, device_path(device.number), options, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
}

}  // namespace onggi::sys
