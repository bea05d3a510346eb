#include "engine/writable.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "engine/disk.h"
#include "policy/container_profile.h"
#include "sys/mount.h"
#include "sys/path.h"

namespace onggi::engine {

namespace {

constexpr int64_t kLeastBytes = 8 << 20;  // below this an ext4 has no room for anything but itself

int64_t size_of(const ContainerConfig& config) {
  return config.storage_size ? config.storage_size : static_cast<int64_t>(policy::kDefaultQuotaBytes);
}

Result<> make_owned(int dir, const char* name, uint32_t owner) {
  if (::mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
    return fail(Error::os("make the writable layer", name));
  if (::fchownat(dir, name, owner, owner, AT_SYMLINK_NOFOLLOW) < 0)
    return fail(Error::os("give the writable layer to the container", name));
  return {};
}

Result<> make_disk_of(Engine& engine, int64_t bytes, int dir) {
  if (bytes < kLeastBytes)
    return fail(Error::invalid("--storage-opt size: " + std::to_string(bytes) +
                               " bytes are too few; the least is 8 MiB"));
  return make_disk(engine, {bytes, false}, dir);
}

}  // namespace

Result<> make_writable(Engine& engine, const ContainerConfig& config, int dir, std::string& warning) {
  int64_t bytes = size_of(config);
  if (bytes > 0 && !engine.paths().rootless) {
    auto made = make_disk_of(engine, bytes, dir);
    if (made) return {};
    // Asked for, it is that or nothing; by default it is the best that can be had.
    if (config.storage_size > 0) return made;
    warning = "the writable layer has no bound: " + made.error().text();
    (void)::unlinkat(dir, "disk", 0);
  }
  return make_owned(dir, "upper", config.id_base);
}

Result<WritableLayer> open_writable(Engine& engine, const ContainerConfig& config, bool fresh_work) {
  std::string path = engine.paths().container(config.id);
  UniqueFd dir = TRY(open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
  WritableLayer layer;
  struct stat st;
  layer.bounded = ::fstatat(dir.get(), "disk", &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (layer.bounded) {
    // In the container's live directory: it is gone with it.
    std::string live = engine.paths().live(config.id);
    (void)::mkdir(live.c_str(), 0700);
    layer.mount =
        TRY_CTX(mount_disk(dir.get(), live + "/loop"), "mount the writable layer of " + config.name);
  } else {
    layer.mount = TRY(sys::clone_mount(path, false, true));
  }
  UniqueFd top = TRY(open_at(layer.mount.get(), ".", O_RDONLY | O_DIRECTORY));
  if (layer.bounded) TRY_VOID(make_owned(top.get(), "upper", config.id_base));
  // A volatile overlay leaves a mark that forbids a second mount; only work has it, and work is scratch.
  if (fresh_work) {
    TRY_VOID(sys::remove_tree(top.get(), "work"));
    TRY_VOID(make_owned(top.get(), "work", config.id_base));
  }
  layer.upper = TRY(open_at(top.get(), "upper", O_PATH | O_DIRECTORY | O_NOFOLLOW));
  return layer;
}

Result<UniqueFd> open_upper(Engine& engine, const ContainerConfig& config, MountFd& holder) {
  WritableLayer layer = TRY(open_writable(engine, config, false));
  holder = std::move(layer.mount);
  return open_at(layer.upper.get(), ".", O_RDONLY | O_DIRECTORY);
}

}  // namespace onggi::engine
