#include "sys/copy_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/file.h"

namespace onggi::sys {

namespace {

struct DirCloser {
  void operator()(DIR* d) const { ::closedir(d); }
};

std::string self_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

Result<> copy_xattrs(int from, int to) {
  // By /proc/self/fd, since O_PATH descriptors (symlinks) have no other way.
  std::string source = self_path(from), target = self_path(to);
  std::vector<char> names(65536), value(65536);
  ssize_t n = ::listxattr(source.c_str(), names.data(), names.size());
  if (n < 0)
    return errno == ENOTSUP || errno == EOPNOTSUPP ? Result<>()
                                                   : fail(Error::os("list extended attributes of", source));
  for (const char* name = names.data(); name < names.data() + n; name += strlen(name) + 1) {
    ssize_t size = ::getxattr(source.c_str(), name, value.data(), value.size());
    if (size < 0) continue;
    if (strncmp(name, "trusted.overlay.", 16) == 0 || strncmp(name, "user.overlay.", 13) == 0) continue;
    if (::setxattr(target.c_str(), name, value.data(), static_cast<size_t>(size), 0) < 0 && errno != EPERM &&
        errno != ENOTSUP)
      return fail(Error::os("set the extended attribute", name));
  }
  return {};
}

struct Copier {
  std::map<std::pair<dev_t, ino_t>, std::string>
      linked;  // first copy of files with several names, below `top`
  int top;

  Result<> entry(int from, int to, const std::string& name, const std::string& path,
                 std::vector<std::string>& deeper);
  Result<> directory(int from, int to, const std::string& path);
};

Result<> set_link_attributes(int to, const std::string& name, const struct stat& st) {
  if (::fchownat(to, name.c_str(), st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
    return fail(Error::os("set the owner of", name));
  timespec times[2] = {st.st_atim, st.st_mtim};
  if (::utimensat(to, name.c_str(), times, AT_SYMLINK_NOFOLLOW) < 0)
    return fail(Error::os("set the times of", name));
  return {};
}

Result<> copy_symlink(int from, int to, const std::string& name, const struct stat& st) {
  char target[PATH_MAX + 1];
  ssize_t n = ::readlinkat(from, name.c_str(), target, PATH_MAX);
  if (n < 0) return fail(Error::os("read the symlink", name));
  target[n] = 0;
  if (::symlinkat(target, to, name.c_str()) < 0) return fail(Error::os("make the symlink", name));
  return set_link_attributes(to, name, st);
}

Result<> Copier::entry(int from, int to, const std::string& name, const std::string& path,
                       std::vector<std::string>& deeper) {
  struct stat st;
  if (::fstatat(from, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) return fail(Error::os("inspect", path));
  if (st.st_nlink > 1 && !S_ISDIR(st.st_mode)) {
    auto [it, fresh] = linked.try_emplace({st.st_dev, st.st_ino}, path);
    if (!fresh) {
      if (::linkat(top, it->second.c_str(), to, name.c_str(), 0) == 0) return {};
      return fail(Error::os("make the hard link", path));
    }
  }
  if (S_ISLNK(st.st_mode)) return copy_symlink(from, to, name, st);
  if (S_ISSOCK(st.st_mode)) return {};
  if (S_ISDIR(st.st_mode)) {
    if (::mkdirat(to, name.c_str(), 0700) < 0) return fail(Error::os("make the directory", path));
    deeper.push_back(name);
    return {};
  }
  if (!S_ISREG(st.st_mode)) {
    if (::mknodat(to, name.c_str(), st.st_mode, st.st_rdev) < 0)
      return fail(Error::os("make the node", path));
    if (::fchmodat(to, name.c_str(), st.st_mode & 07777, 0) < 0)
      return fail(Error::os("set the mode of", path));
    return set_link_attributes(to, name, st);
  }
  UniqueFd source = TRY(open_at(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  UniqueFd target = TRY(open_at(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  TRY_VOID_CTX(copy_bytes(source.get(), target.get()), path);
  return copy_attributes(source.get(), target.get());
}

Result<> Copier::directory(int from, int to, const std::string& path) {
  std::vector<std::string> deeper;
  std::unique_ptr<DIR, DirCloser> dir(::fdopendir(::fcntl(from, F_DUPFD_CLOEXEC, 3)));
  if (!dir) return fail(Error::os("read the directory", path));
  ::rewinddir(dir.get());
  while (dirent* e = ::readdir(dir.get())) {
    std::string name = e->d_name;
    if (name == "." || name == "..") continue;
    TRY_VOID(entry(from, to, name, path.empty() ? name : path + "/" + name, deeper));
  }
  for (const auto& name : deeper) {
    UniqueFd source = TRY(open_at(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    UniqueFd target = TRY(open_at(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    TRY_VOID(directory(source.get(), target.get(), path.empty() ? name : path + "/" + name));
  }
  // Last: making entries changes the directory's times, and its mode may forbid making them.
  return copy_attributes(from, to);
}

}  // namespace

Result<> copy_bytes(int from, int to) {
  if (::ioctl(to, FICLONE, from) == 0) return {};
  for (;;) {
    ssize_t n = ::copy_file_range(from, nullptr, to, nullptr, 1 << 30, 0);
    if (n == 0) return {};
    if (n > 0) continue;
    if (errno == EINTR) continue;
    if (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)
      return fail(Error::os("copy a file", ""));
    break;
  }
  char block[65536];
  for (ssize_t n; (n = ::read(from, block, sizeof block)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::os("read a file", ""));
    TRY_VOID(write_all(to, {block, static_cast<size_t>(n)}, "the copy"));
  }
  return {};
}

Result<> copy_attributes(int from, int to) {
  struct stat st;
  if (::fstat(from, &st) < 0) return fail(Error::os("inspect a file", ""));
  if (::fchown(to, st.st_uid, st.st_gid) < 0) return fail(Error::os("set the owner of a file", ""));
  TRY_VOID(copy_xattrs(from, to));
  if (::fchmod(to, st.st_mode & 07777) < 0) return fail(Error::os("set the mode of a file", ""));
  timespec times[2] = {st.st_atim, st.st_mtim};
  if (::futimens(to, times) < 0) return fail(Error::os("set the times of a file", ""));
  return {};
}

Result<> copy_tree(int from, int to) {
  Copier copier{{}, to};
  return copier.directory(from, to, "");
}

}  // namespace onggi::sys
