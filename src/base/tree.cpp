#include "base/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "base/fd.h"
#include "base/file.h"

namespace onggi {

namespace {

// Each level holds a descriptor. Deeper trees are cut: the subtree is renamed up to the top and done next.
constexpr int kMaxDepth = 64;

struct Removal {
  int top;  // the directory that holds the tree
  std::string prefix;
  uint64_t cut = 0, done = 0;  // subtrees renamed to <prefix>.N, and removed
  uint64_t bytes = 0;
};

struct CloseDir {
  void operator()(DIR* d) const { ::closedir(d); }
};

Result<> unlink_counted(Removal& r, int dirfd, const char* name) {
  struct stat st;
  if (::fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_nlink == 1)
    r.bytes += static_cast<uint64_t>(st.st_blocks) * 512;
  if (::unlinkat(dirfd, name, 0) == 0 || errno == ENOENT) return {};
  return fail(Error::os("remove", name));
}

Result<> remove_directory(Removal& r, int dirfd, const std::string& name, int depth);

Result<> empty_directory(Removal& r, int dirfd, const std::string& name, int depth) {
  auto opened = open_at(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!opened && opened.error().os_errno() == EACCES) {
    // A tree without read permission, seen by a user who is not root.
    ::fchmodat(dirfd, name.c_str(), 0700, 0);
    opened = open_at(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  }
  if (!opened) return fail(std::move(opened).error());
  std::unique_ptr<DIR, CloseDir> dir(::fdopendir(opened->get()));
  if (!dir) return fail(Error::os("read the directory", name));
  int fd = opened->release();  // closedir closes it
  while (dirent* e = ::readdir(dir.get())) {
    std::string entry = e->d_name;
    if (entry == "." || entry == "..") continue;
    bool directory = e->d_type == DT_DIR;
    struct stat st;
    if (e->d_type == DT_UNKNOWN)
      directory = ::fstatat(fd, entry.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    if (!directory) {
      TRY_VOID(unlink_counted(r, fd, entry.c_str()));
    } else if (depth >= kMaxDepth) {
      std::string target = r.prefix + "." + std::to_string(r.cut);
      if (::renameat(fd, entry.c_str(), r.top, target.c_str()) < 0)
        return fail(Error::os("move up, to remove it, the directory", entry));
      r.cut++;
    } else {
      TRY_VOID(remove_directory(r, fd, entry, depth + 1));
    }
  }
  return {};
}

Result<> remove_directory(Removal& r, int dirfd, const std::string& name, int depth) {
  // An empty directory needs no look inside; one that another process fills meanwhile needs another.
  for (int attempt = 0;; attempt++) {
    if (::unlinkat(dirfd, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
    if ((errno != ENOTEMPTY && errno != EEXIST && errno != EACCES) || attempt == 8)
      return fail(Error::os("remove the directory", name));
    TRY_VOID(empty_directory(r, dirfd, name, depth));
  }
}

}  // namespace

Result<uint64_t> remove_tree_at(int dirfd, const std::string& name) {
  Removal r{dirfd, name};
  struct stat st;
  if (::fstatat(dirfd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) {
    if (errno == ENOENT) return 0;
    return fail(Error::os("inspect", name));
  }
  if (!S_ISDIR(st.st_mode)) {
    TRY_VOID(unlink_counted(r, dirfd, name.c_str()));
    return r.bytes;
  }
  TRY_VOID(remove_directory(r, dirfd, name, 0));
  while (r.done < r.cut) TRY_VOID(remove_directory(r, dirfd, r.prefix + "." + std::to_string(r.done++), 0));
  return r.bytes;
}

}  // namespace onggi
