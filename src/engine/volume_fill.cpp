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

Result<> fill_one(Engine& engine, const MountConfig& m, int image) {
  Volume volume = TRY(find_volume(engine, m.source));
  UniqueFd data = TRY(open_at(AT_FDCWD, volume_data(engine, m.source), O_RDONLY | O_DIRECTORY));
  // Two containers that start at once with a new volume: one fills it, the other finds it full.
  if (::flock(data.get(), LOCK_EX) < 0) return fail(Error::os("lock the volume", m.source));
  volume = TRY(find_volume(engine, m.source));
  if (volume.filled) return {};
  auto from = sys::open_in_root(image, m.target, O_RDONLY | O_DIRECTORY);
  if (from) {
    // What an interrupted copy left is made again.
    std::string path = volume_data(engine, m.source);
    struct stat st;
    bool partial = ::stat((path + "/../filling").c_str(), &st) == 0;
    UniqueFd parent = TRY(open_at(AT_FDCWD, path + "/..", O_RDONLY | O_DIRECTORY));
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

bool is_empty(const std::string& path) {
  struct Closer {
    void operator()(DIR* d) const { ::closedir(d); }
  };
  std::unique_ptr<DIR, Closer> dir(::opendir(path.c_str()));
  if (!dir) return false;
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
    std::string path = volume_data(engine, m.source);
    struct stat st;
    if (!is_empty(path) && ::stat((path + "/../filling").c_str(), &st) < 0) continue;
    if (!image) image = TRY(mount_image(engine, config));
    TRY_VOID(fill_one(engine, m, image.get()));
  }
  return {};
}

}  // namespace onggi::engine
