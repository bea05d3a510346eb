// An idmapped upper under an overlay mounted by the host turns read-only with EOVERFLOW, so only the lowers
// are mapped; what the container writes carries shifted ids on disk and is shifted back at commit.
#include "engine/rootfs.h"

#include <linux/mount.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "base/file.h"
#include "engine/writable.h"
#include "image/snapshot.h"
#include "sys/mount.h"
#include "sys/overlay.h"
#include "sys/user_namespace.h"

namespace onggi::engine {

namespace {

Result<std::vector<image::Lower>> lowers_of(Engine& engine, const ContainerConfig& config) {
  image::Store* store = TRY(engine.images());
  image::ImageRecord image = TRY_CTX(store->resolve(config.image_id), "image of container " + config.name);
  return image::open_lowers(*store, image);
}

Result<> map_lowers(std::vector<image::Lower>& lowers, uint32_t base) {
  NsFd users = TRY(sys::make_user_namespace({{0, base, kRangeSize}}, {{0, base, kRangeSize}}));
  for (auto& lower : lowers)
    TRY_VOID(sys::set_mount_attributes(lower.mount.get(), lower.path, MOUNT_ATTR_RDONLY, 0, 0, false,
                                       users.get()));
  return {};
}

// ONGGI_TEST_OVERLAY=names is for tests: it makes a new kernel go the way of an old one
// (docs/architecture.md).
void choose_way(Engine& engine, sys::OverlayArgs& args) {
  args.userxattr = engine.paths().rootless;
  const char* way = ::getenv("ONGGI_TEST_OVERLAY");
  args.by_names = way && std::string_view(way) == "names";
}

}  // namespace

Result<MountFd> mount_root(Engine& engine, const ContainerConfig& config, const RootOptions& options) {
  auto lowers = TRY(lowers_of(engine, config));
  if (options.mapped && config.id_base) TRY_VOID(map_lowers(lowers, config.id_base));
  sys::OverlayArgs args;
  for (const auto& lower : lowers) args.lowers.push_back(lower.mount.get());
  WritableLayer layer;
  if (options.writable) {
    layer = TRY(open_writable(engine, config, true));
    args.writable = layer.mount.get();
    args.is_volatile = true;
  }
  choose_way(engine, args);
  return TRY_CTX(sys::mount_overlay(args), "assemble the root of container " + config.name);
}

Result<MountFd> mount_image(Engine& engine, const ContainerConfig& config) {
  auto lowers = TRY(lowers_of(engine, config));
  if (lowers.size() == 1) return std::move(lowers[0].mount);
  sys::OverlayArgs args;
  for (const auto& lower : lowers) args.lowers.push_back(lower.mount.get());
  choose_way(engine, args);
  return TRY_CTX(sys::mount_overlay(args), "assemble the image of container " + config.name);
}

}  // namespace onggi::engine
