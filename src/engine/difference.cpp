// The upper directory is compared with the image alone: a name that the image has is a change, another one an
// addition, a whiteout a deletion. The container may write meanwhile, so what vanishes is passed over.
#include "engine/difference.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/file.h"
#include "engine/rootfs.h"
#include "engine/writable.h"

namespace onggi::engine {

namespace {

constexpr size_t kMaxDepth = 250;

struct DirCloser {
  void operator()(DIR* d) const { ::closedir(d); }
};

Result<std::vector<std::string>> names_in(int directory, const std::string& path) {
  UniqueFd fd = TRY(open_at(directory, ".", O_RDONLY | O_DIRECTORY));
  std::unique_ptr<DIR, DirCloser> dir(::fdopendir(fd.get()));
  if (!dir) return fail(Error::os("read the directory", path));
  (void)fd.release();
  std::vector<std::string> names;
  while (dirent* e = ::readdir(dir.get()))
    if (std::string name = e->d_name; name != "." && name != "..") names.push_back(std::move(name));
  std::sort(names.begin(), names.end());
  return names;
}

bool is_whiteout(const struct stat& st) { return S_ISCHR(st.st_mode) && st.st_rdev == ::makedev(0, 0); }

bool is_opaque(int directory) {
  std::string path = "/proc/self/fd/" + std::to_string(directory);
  for (const char* name : {"trusted.overlay.opaque", "user.overlay.opaque"}) {
    char value = 0;
    if (::getxattr(path.c_str(), name, &value, 1) == 1 && value == 'y') return true;
  }
  return false;
}

class Walk {
 public:
  // `own`: mount points that the runtime made in the layer; empty ones are no change of the container's.
  Walk(const std::function<void(ChangeKind, const std::string&)>& each, std::vector<std::string> own)
      : each_(each), own_(std::move(own)) {}

  // `image`: the same directory in the image, -1 when it has none.
  Result<> directory(int upper, int image, const std::string& path, size_t depth) {
    if (depth > kMaxDepth)
      return fail(Error::unsupported("compare " + path + ": over 250 directories in each other"));
    if (image >= 0 && is_opaque(upper)) {
      for (const auto& name : TRY(names_in(image, path))) {
        struct stat st;
        if (::fstatat(upper, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0)
          each_(ChangeKind::kDeleted, path + "/" + name);
      }
    }
    for (const auto& name : TRY(names_in(upper, path)))
      TRY_VOID(one(upper, image, name, path + "/" + name, depth));
    return {};
  }

 private:
  Result<> one(int upper, int image, const std::string& name, const std::string& path, size_t depth) {
    struct stat st, old;
    if (::fstatat(upper, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) return {};
    bool had = image >= 0 && ::fstatat(image, name.c_str(), &old, AT_SYMLINK_NOFOLLOW) == 0;
    if (is_whiteout(st)) {
      if (had) each_(ChangeKind::kDeleted, path);
      return {};
    }
    if (!had && is_mount_point(upper, name, st, path)) return {};
    if (!had || !S_ISDIR(st.st_mode) || changed_itself(upper, name, st, old, path))
      each_(had ? ChangeKind::kChanged : ChangeKind::kAdded, path);
    if (!S_ISDIR(st.st_mode)) return {};
    auto inner = open_at(upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!inner) return {};  // replaced meanwhile
    UniqueFd below;
    if (had && S_ISDIR(old.st_mode)) below = TRY(open_at(image, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    return directory(inner->get(), below.get(), path, depth + 1);
  }

  bool is_mount_point(int upper, const std::string& name, const struct stat& st, const std::string& path) {
    if (std::find(own_.begin(), own_.end(), path) == own_.end()) return false;
    if (!S_ISDIR(st.st_mode)) return S_ISREG(st.st_mode) && st.st_size == 0;
    auto fd = open_at(upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    auto inner = fd ? names_in(fd->get(), path) : Result<std::vector<std::string>>(fail(fd.error()));
    return inner && inner->empty();
  }

  // Of a directory that the image has, too: does more than the runtime's mount points make it differ?
  bool changed_itself(int upper, const std::string& name, const struct stat& st, const struct stat& old,
                      const std::string& path) {
    if ((st.st_mode & 07777) != (old.st_mode & 07777)) return true;
    auto fd = open_at(upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    auto inner = fd ? names_in(fd->get(), path) : Result<std::vector<std::string>>(fail(fd.error()));
    if (!inner || inner->empty()) return true;
    return std::any_of(inner->begin(), inner->end(), [&](const std::string& entry) {
      struct stat there;
      if (::fstatat(fd->get(), entry.c_str(), &there, AT_SYMLINK_NOFOLLOW) < 0) return false;
      return !is_mount_point(fd->get(), entry, there, path + "/" + entry);
    });
  }

  const std::function<void(ChangeKind, const std::string&)>& each_;
  std::vector<std::string> own_;
};

}  // namespace

Result<> list_changes(Engine& engine, const std::string& id,
                      const std::function<void(ChangeKind kind, const std::string& path)>& each) {
  ContainerConfig config = TRY(TRY(engine.containers().open(id)).config());
  MountFd holder;
  UniqueFd upper = TRY(open_upper(engine, config, holder));
  MountFd image_mount = TRY(mount_image(engine, config));
  UniqueFd image = TRY(open_at(image_mount.get(), ".", O_RDONLY | O_DIRECTORY));
  std::vector<std::string> own = {"/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"};
  for (const auto& m : config.mounts) own.push_back(m.target);
  return Walk(each, std::move(own)).directory(upper.get(), image.get(), "", 0);
}

}  // namespace onggi::engine
