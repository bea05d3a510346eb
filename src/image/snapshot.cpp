#include "image/snapshot.h"

#include <fcntl.h>
#include <linux/mount.h>

#include "base/file.h"
#include "sys/loop.h"
#include "sys/mount.h"
#include "sys/overlay.h"
#include "sys/process.h"

namespace onggi::image {

namespace {

constexpr uint64_t kAttributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID;

// Before Linux 6.12 the file system wants block devices. Their blocks are the tar's: 512 bytes.
Result<MountFd> mount_by_loop(const std::string& index, const std::string& tar) {
  constexpr uint32_t kBlock = 512;
  UniqueFd index_file = TRY(open_at(AT_FDCWD, index, O_RDONLY)),
           tar_file = TRY(open_at(AT_FDCWD, tar, O_RDONLY));
  sys::LoopDevice first = TRY(sys::attach_loop(index_file.get(), kBlock, true)),
                  second = TRY(sys::attach_loop(tar_file.get(), kBlock, true));
  return sys::mount_file_system("erofs", sys::loop_path(first), {"device=" + sys::loop_path(second)},
                                kAttributes);
}

}  // namespace

Result<> erofs_supported() {
  if (sys::is_rootless())
    return fail(Error::unsupported("EROFS can be mounted by the host's root only; layers are directories"));
  std::string text = TRY(read_file("/proc/filesystems", 1 << 20));
  if (text.find("\terofs\n") != std::string::npos) return {};
  // A module that is not loaded yet: asking for a context loads it.
  if (sys::knows_file_system("erofs")) return {};
  return fail(Error::unsupported("this kernel has no EROFS; layers are directories"));
}

Result<MountFd> mount_erofs(const std::string& layer) {
  std::string index = layer + "/layer.erofs", tar = layer + "/layer.tar";
  auto mount = sys::mount_file_system("erofs", index, {"device=" + tar}, kAttributes);
  if (mount) return mount;
  int e = mount.error().os_errno();
  if (e != ENOTBLK && e != EINVAL) return mount;
  auto by_loop = mount_by_loop(index, tar);
  return by_loop ? std::move(by_loop) : std::move(mount);
}

Result<std::vector<Lower>> open_lowers(Store& store, const ImageRecord& image) {
  std::vector<Lower> lowers;
  for (const LayerInfo& info : TRY(store.layers_of(image))) {
    Lower& lower = lowers.emplace_back();
    lower.form = info.form;
    lower.path = store.layer_path(info.diff_id);
    if (info.form == LayerForm::kErofs) {
      lower.mount = TRY_CTX(mount_erofs(lower.path), "mount the layer " + info.diff_id.text());
      continue;
    }
    lower.path += "/fs";
    lower.mount = TRY(sys::clone_mount(lower.path, false, true));
    TRY_VOID(sys::set_mount_attributes(lower.mount.get(), lower.path,
                                       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID, 0, 0,
                                       false));
  }
  return lowers;
}

}  // namespace onggi::image
