#include "engine/volume_fill.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "base/file.h"
#include "engine/rootfs.h"
#include "engine/volumes.h"
#include "sys/copy_tree.h"
#include "sys/path.h"

namespace onggi::engine {

namespace {

// Where "data" is, and the mark of a copy that goes on: the volume's directory, or its own file system.
Result<UniqueFd> parent_of(Engine& engine, const Volume& volume, const OpenVolume& open) {
  if (open.mount) return open_at(open.mount.get(), ".", O_RDONLY | O_DIRECTORY);
  return open_at(AT_FDCWD, volume_data(engine, volume.name) + "/..", O_RDONLY | O_DIRECTORY);
}

Result<> fill_one(Engine& engine, const MountConfig& m, int image) {
  Volume volume = TRY(find_volume(engine, m.source));
  OpenVolume open = TRY(open_volume(engine, volume));
  UniqueFd data = std::move(open.data);
  // Two containers that start at once with a new volume: one fills it, the other finds it full.
  if (::flock(data.get(), LOCK_EX) < 0) return fail(Error::os("lock the volume", m.source));
  volume = TRY(find_volume(engine, m.source));
  if (volume.filled) return {};
  auto from = sys::open_in_root(image, m.target, O_RDONLY | O_DIRECTORY);
  if (from) {
    // What an interrupted copy left is made again.
    struct stat st;
    UniqueFd parent = TRY(parent_of(engine, volume, open));
    bool partial = ::fstatat(parent.get(), "filling", &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!partial) TRY_VOID(write_file_at(parent.get(), "filling", "", O_CREAT));
    if (partial) {
      TRY_VOID(sys::remove_tree(parent.get(), "data"));
      if (::mkdirat(parent.get(), "data", 0755) < 0)
        return fail(Error::os("make the volume's directory", m.source));
      data = TRY(open_at(parent.get(), "data", O_RDONLY | O_DIRECTORY));
    }
    TRY_VOID_CTX(sys::copy_tree(from->get(), data.get()), "fill the volume " + m.source + " from the image");
    (void)::unlinkat(parent.get(), "filling", 0);
  }
  volume.filled = true;
  return save_volume(engine, volume);
}

bool is_empty(UniqueFd fd) {
  struct Closer {
    void operator()(DIR* d) const { ::closedir(d); }
  };
  std::unique_ptr<DIR, Closer> dir(::fdopendir(fd.get()));
  if (!dir) return false;
  (void)fd.release();
  while (dirent* e = ::readdir(dir.get()))
    if (e->d_name[0] != '.' || (e->d_name[1] && (e->d_name[1] != '.' || e->d_name[2]))) return false;
  return true;
}

}  // namespace

Result<> fill_volumes(Engine& engine, const ContainerConfig& config) {
  MountFd image;
  for (const auto& m : config.mounts) {
    if (m.type != "volume" || m.no_copy) continue;
    Volume volume = TRY(find_volume(engine, m.source));
    if (volume.filled) continue;
    OpenVolume open = TRY(open_volume(engine, volume));
    UniqueFd parent = TRY(parent_of(engine, volume, open));
    struct stat st;
    bool partial = ::fstatat(parent.get(), "filling", &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!is_empty(std::move(open.data)) && !partial) continue;
    if (!image) image = TRY(mount_image(engine, config));
    TRY_VOID(fill_one(engine, m, image.get()));
  }
  return {};
}

}  // namespace onggi::engine
