#include "runtime/copy_up.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/file.h"

namespace onggi::runtime {

namespace {

constexpr int kMaxDepth = 128;

struct DirCloser {
  void operator()(DIR* d) const { ::closedir(d); }
};

std::string proc_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// Security labels and capabilities; what the new filesystem cannot store is left out.
void copy_xattrs(int from, int to) {
  std::vector<char> names(4096), value(65536);
  ssize_t n = ::listxattr(proc_path(from).c_str(), names.data(), names.size());
  for (ssize_t at = 0; at < n;
       at += static_cast<ssize_t>(std::char_traits<char>::length(&names[static_cast<size_t>(at)])) + 1) {
    const char* name = &names[static_cast<size_t>(at)];
    ssize_t size = ::getxattr(proc_path(from).c_str(), name, value.data(), value.size());
    if (size >= 0) (void)::setxattr(proc_path(to).c_str(), name, value.data(), static_cast<size_t>(size), 0);
  }
}

Result<> copy_metadata(int to, const struct stat& st, const std::string& name) {
  if (::fchownat(to, "", st.st_uid, st.st_gid, AT_EMPTY_PATH) < 0)
    return fail(Error::os("copy up: change owner of", name));
  if (!S_ISLNK(st.st_mode) && ::chmod(proc_path(to).c_str(), st.st_mode & 07777) < 0)
    return fail(Error::os("copy up: change mode of", name));
  const timespec times[2] = {st.st_atim, st.st_mtim};
  (void)::utimensat(AT_FDCWD, proc_path(to).c_str(), times, 0);
  return {};
}

Result<> copy_file(int source_dir, int target_dir, const std::string& name, const struct stat& st) {
  UniqueFd in = TRY(open_at(source_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  UniqueFd out = TRY(open_at(target_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  off_t left = st.st_size;
  while (left > 0) {
    ssize_t n = ::sendfile(out.get(), in.get(), nullptr, static_cast<size_t>(left));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::os("copy up: write", name));
    if (n == 0) break;
    left -= n;
  }
  copy_xattrs(in.get(), out.get());
  return copy_metadata(out.get(), st, name);
}

Result<> copy_special(int source_dir, int target_dir, const std::string& name, const struct stat& st) {
  if (S_ISLNK(st.st_mode)) {
    char target[4096];
    ssize_t n = ::readlinkat(source_dir, name.c_str(), target, sizeof target - 1);
    if (n < 0) return fail(Error::os("copy up: read link", name));
    target[n] = 0;
    if (::symlinkat(target, target_dir, name.c_str()) < 0) return fail(Error::os("copy up: make link", name));
  } else if (::mknodat(target_dir, name.c_str(), st.st_mode, st.st_rdev) < 0) {
    return fail(Error::os("copy up: make node", name));
  }
  UniqueFd made = TRY(open_at(target_dir, name, O_PATH | O_NOFOLLOW));
  return copy_metadata(made.get(), st, name);
}

Result<> copy_directory(int source, int target, int depth);

Result<> copy_entry(int source, int target, const std::string& name, int depth) {
  struct stat st;
  if (::fstatat(source, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0)
    return fail(Error::os("copy up: stat", name));
  if (S_ISSOCK(st.st_mode)) return {};
  if (S_ISREG(st.st_mode)) return copy_file(source, target, name, st);
  if (!S_ISDIR(st.st_mode)) return copy_special(source, target, name, st);
  if (::mkdirat(target, name.c_str(), 0700) < 0) return fail(Error::os("copy up: make directory", name));
  UniqueFd from = TRY(open_at(source, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  UniqueFd to = TRY(open_at(target, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  TRY_VOID(copy_directory(from.get(), to.get(), depth + 1));
  copy_xattrs(from.get(), to.get());
  return copy_metadata(to.get(), st, name);
}

Result<> copy_directory(int source, int target, int depth) {
  if (depth > kMaxDepth) return fail(Error::invalid("copy up: directories are nested deeper than 128"));
  UniqueFd again = TRY(open_at(source, ".", O_RDONLY | O_DIRECTORY));
  std::unique_ptr<DIR, DirCloser> dir(::fdopendir(again.get()));
  if (!dir) return fail(Error::os("copy up: read a directory", ""));
  (void)again.release();
  while (dirent* e = ::readdir(dir.get())) {
    std::string name = e->d_name;
    if (name != "." && name != "..") TRY_VOID(copy_entry(source, target, name, depth));
  }
  return {};
}

}  // namespace

Result<> copy_up(int source, int tree) {
  UniqueFd target = TRY(open_at(tree, ".", O_RDONLY | O_DIRECTORY));
  TRY_VOID(copy_directory(source, target.get(), 0));
  struct stat st;
  if (::fstat(source, &st) < 0) return fail(Error::os("copy up: stat the mount point", ""));
  copy_xattrs(source, target.get());
  return copy_metadata(target.get(), st, "the mount point");
}

}  // namespace onggi::runtime
