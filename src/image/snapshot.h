// An image's layers as mounts: what overlay stacks below a container's writable layer.
//
// Two forms behind one interface. A directory layer is a detached copy of the mount at layers/HEX/fs; an
// EROFS layer is its index mounted file-backed with the raw tar as its device. Either way the caller gets
// detached mounts (uppermost layer first, as overlay's lowerdir+ wants them), owned by ids 0.. as in the tar,
// read-only, nodev and nosuid; it id-maps them with sys::set_mount_attributes before it attaches overlay to
// them.
#pragma once

#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "image/store.h"

namespace onggi::image {

struct Lower {
  MountFd mount;
  LayerForm form = LayerForm::kDirectory;
  std::string
      path;  // host path of the layer, for error texts and for kernels whose overlay takes no descriptors
};

Result<std::vector<Lower>> open_lowers(Store& store, const ImageRecord& image);

// Whether this process can mount EROFS layers. The reason when it cannot.
Result<> erofs_supported();
// The layer in the directory `layer`, detached: from its files where the kernel takes them (6.12), else from
// loop devices.
Result<MountFd> mount_erofs(const std::string& layer);

}  // namespace onggi::image
