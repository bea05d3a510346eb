#include "sys/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "base/file.h"

namespace onggi::sys {

Result<UniqueFd> open_in_root(int root, const std::string& path, int flags, unsigned mode) {
  open_how how = {};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const char* name = path.empty() ? "." : path.c_str();
  for (int tries = 0;; tries++) {
    long fd = ::syscall(SYS_openat2, root, name, &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    // A rename somewhere made ".." unsafe to follow: the kernel asks to try again (openat2(2)).
    if (errno != EAGAIN || tries >= 32) return fail(Error::os("open in the container's root", path));
  }
}

Result<UniqueFd> make_directories_in_root(int root, const std::string& path, unsigned mode, uint32_t uid,
                                          uint32_t gid) {
  std::string done;
  size_t at = 0;
  while (at < path.size()) {
    size_t end = path.find('/', at);
    if (end == std::string::npos) end = path.size();
    std::string part = path.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    UniqueFd parent = TRY(open_in_root(root, done, O_PATH | O_DIRECTORY));
    if (part != ".." && ::mkdirat(parent.get(), part.c_str(), mode) == 0) {
      UniqueFd made = TRY(open_at(parent.get(), part, O_PATH | O_DIRECTORY | O_NOFOLLOW));
      if (::fchownat(made.get(), "", uid, gid, AT_EMPTY_PATH) < 0)
        return fail(Error::os("give the new directory to the container", path));
    } else if (part != ".." && errno != EEXIST) {
      return fail(Error::os("make the directory in the container's root", path));
    }
    done += "/" + part;
  }
  return open_in_root(root, done, O_PATH | O_DIRECTORY);
}

Result<std::string> read_file_in_root(int root, const std::string& path, size_t limit) {
  UniqueFd fd = TRY(open_in_root(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat st;
  if (::fstat(fd.get(), &st) < 0) return fail(Error::os("inspect", path));
  if (!S_ISREG(st.st_mode)) return fail(Error::invalid("read '" + path + "': not a regular file"));
  return read_fd(fd.get(), path, limit);
}

namespace {

Result<std::vector<std::string>> names_in(int dirfd, const std::string& name) {
  DIR* dir = ::fdopendir(::fcntl(dirfd, F_DUPFD_CLOEXEC, 3));
  if (!dir) return fail(Error::os("read the directory", name));
  ::rewinddir(dir);
  std::vector<std::string> names;
  while (dirent* e = ::readdir(dir))
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) names.emplace_back(e->d_name);
  ::closedir(dir);
  return names;
}

}  // namespace

// Iterative, because a container may nest directories deeper than any stack: the way up is "..", which is
// safe since nobody else may write in what is being removed.
Result<> remove_tree(int dirfd, const std::string& name) {
  if (::unlinkat(dirfd, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return fail(Error::os("remove", name));
  UniqueFd here = TRY(open_at(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  std::vector<std::string> path = {name};
  std::vector<std::vector<std::string>> todo;
  todo.push_back(TRY(names_in(here.get(), name)));
  while (!todo.empty()) {
    if (todo.back().empty()) {
      todo.pop_back();
      UniqueFd up;
      if (!todo.empty()) up = TRY(open_at(here.get(), "..", O_RDONLY | O_DIRECTORY));
      int parent = todo.empty() ? dirfd : up.get();
      if (::unlinkat(parent, path.back().c_str(), AT_REMOVEDIR) < 0 && errno != ENOENT)
        return fail(Error::os("remove the directory", path.back()));
      path.pop_back();
      here = std::move(up);
      continue;
    }
    std::string entry = std::move(todo.back().back());
    todo.back().pop_back();
    if (::unlinkat(here.get(), entry.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM) return fail(Error::os("remove", entry));
    UniqueFd below = TRY(open_at(here.get(), entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    todo.push_back(TRY(names_in(below.get(), entry)));
    path.push_back(std::move(entry));
    here = std::move(below);
  }
  return {};
}

}  // namespace onggi::sys
