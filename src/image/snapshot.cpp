#include "image/snapshot.h"

#include <linux/mount.h>

#include "sys/mount.h"

namespace onggi::image {

Result<> erofs_supported() {
  return fail(Error::unsupported("layers in EROFS form are not built yet; layers are directories"));
}

Result<std::vector<Lower>> open_lowers(Store& store, const ImageRecord& image) {
  std::vector<Lower> lowers;
  for (const LayerInfo& info : TRY(store.layers_of(image))) {
    if (info.form != LayerForm::kDirectory) TRY_VOID(erofs_supported());
    Lower& lower = lowers.emplace_back();
    lower.path = store.layer_path(info.diff_id) + "/fs";
    lower.mount = TRY(sys::clone_mount(lower.path, false, true));
    TRY_VOID(sys::set_mount_attributes(lower.mount.get(), lower.path,
                                       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID, 0, 0,
                                       false));
  }
  return lowers;
}

}  // namespace onggi::image
