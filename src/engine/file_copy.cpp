#include "engine/file_copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>

#include "base/file.h"
#include "base/scope.h"
#include "sys/copy_tree.h"

namespace onggi::engine {

namespace {

constexpr size_t kMaxDepth = 250;  // each level holds three descriptors

struct DirCloser {
  void operator()(DIR* d) const { ::closedir(d); }
};

std::string self_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

Result<struct stat> stat_of(int node, const std::string& path) {
  struct stat st;
  if (::fstatat(node, "", &st, AT_EMPTY_PATH) < 0) return fail(Error::os("inspect", path));
  return st;
}

Result<std::string> link_of(int node, const std::string& path) {
  char target[PATH_MAX];
  ssize_t n = ::readlinkat(node, "", target, sizeof target);
  if (n < 0) return fail(Error::os("read the symlink", path));
  return std::string(target, static_cast<size_t>(n));
}

uint64_t mount_of(int node) {
  struct statx sx;
  if (::statx(node, "", AT_EMPTY_PATH, STATX_MNT_ID, &sx) < 0 || !(sx.stx_mask & STATX_MNT_ID)) return 0;
  return sx.stx_mnt_id;
}

// What a new object shall be; the same for a copy and for an entry of an archive.
struct Attributes {
  mode_t mode;
  uint32_t uid, gid;
  timespec atime, mtime;
};

Attributes attributes_of(const struct stat& st, const CopyContext& c) {
  return {st.st_mode, c.uid(st.st_uid), c.gid(st.st_gid), st.st_atim, st.st_mtim};
}

// Owner before mode: a change of owner takes setuid bits away.
Result<> set_attributes(int fd, const Attributes& a, const std::string& path) {
  if (::fchown(fd, a.uid, a.gid) < 0) return fail(Error::os("set the owner of", path));
  if (::fchmod(fd, a.mode & 07777) < 0) return fail(Error::os("set the mode of", path));
  timespec times[2] = {a.atime, a.mtime};
  if (::futimens(fd, times) < 0) return fail(Error::os("set the times of", path));
  return {};
}

// Attributes of users' own; those that mean something to the kernel stay behind.
std::vector<std::pair<std::string, std::string>> user_xattrs(int node) {
  std::vector<std::pair<std::string, std::string>> list;
  std::string path = self_path(node), names(65536, '\0'), value(65536, '\0');
  ssize_t n = ::listxattr(path.c_str(), names.data(), names.size());
  for (ssize_t at = 0; at < n; at += static_cast<ssize_t>(strlen(names.c_str() + at)) + 1) {
    const char* name = names.c_str() + at;
    if (strncmp(name, "user.", 5) != 0 || strncmp(name, "user.overlay.", 13) == 0) continue;
    ssize_t size = ::getxattr(path.c_str(), name, value.data(), value.size());
    if (size >= 0) list.push_back({name, value.substr(0, static_cast<size_t>(size))});
  }
  return list;
}

// A file's capabilities as an image has them: the kernel shows those of a container with the host id of its
// root behind (revision 3, 24 bytes); without it they are revision 2 of 20 bytes.
void add_capability(int node, std::vector<std::pair<std::string, std::string>>& list) {
  char value[24];
  ssize_t size = ::getxattr(self_path(node).c_str(), "security.capability", value, sizeof value);
  constexpr ssize_t kRevision2 = 20, kRevision3 = 24;
  if (size != kRevision2 && size != kRevision3) return;
  value[3] = 2;  // the highest byte of the little-endian word that holds the revision
  list.push_back({"security.capability", std::string(value, kRevision2)});
}

void set_user_xattrs(int fd, const std::vector<std::pair<std::string, std::string>>& list) {
  for (const auto& [name, value] : list)
    if (name.starts_with("user.") && !name.starts_with("user.overlay."))
      (void)::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0);  // a tmpfs may have none
}

std::string temporary_name() {
  static unsigned count = 0;
  return ".onggi-cp." + std::to_string(::getpid()) + "." + std::to_string(count++);
}

// A file without a name (O_TMPFILE), so that a kill leaves nothing of it; where the file system has none, one
// with the name `fresh`.
Result<UniqueFd> nameless_file(int directory, const std::string& fresh, bool& named,
                               const std::string& path) {
  auto file = open_at(directory, ".", O_WRONLY | O_TMPFILE, 0600);
  named = !file;
  if (file) return file;
  return TRY_CTX(open_at(directory, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600), "make " + path);
}

// A regular file by `fill`, without its name until it is whole.
Result<> make_file(int directory, const std::string& name, const Attributes& a,
                   const std::vector<std::pair<std::string, std::string>>& xattrs,
                   const std::function<Result<>(int fd)>& fill, const std::string& path) {
  std::string fresh = temporary_name();
  bool named = false;
  UniqueFd file = TRY(nameless_file(directory, fresh, named, path));
  ScopeExit tidy([&] {
    if (named) (void)::unlinkat(directory, fresh.c_str(), 0);
  });
  TRY_VOID(fill(file.get()));
  set_user_xattrs(file.get(), xattrs);
  TRY_VOID(set_attributes(file.get(), a, path));
  if (!named) {
    std::string self = self_path(file.get());
    if (::linkat(AT_FDCWD, self.c_str(), directory, name.c_str(), AT_SYMLINK_FOLLOW) == 0) return {};
    if (errno != EEXIST) return fail(Error::os("make", path));
    // To replace what is there it needs a name for a moment.
    if (::linkat(AT_FDCWD, self.c_str(), directory, fresh.c_str(), AT_SYMLINK_FOLLOW) < 0)
      return fail(Error::os("make", path));
    named = true;
  }
  if (::renameat(directory, fresh.c_str(), directory, name.c_str()) == 0) {
    tidy.release();
    return {};
  }
  if (errno != EBUSY) return fail(Error::os("replace", path));
  // Something is mounted on the file (/etc/hosts): its content is replaced instead.
  UniqueFd old = TRY(open_at(directory, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!S_ISREG(TRY(stat_of(old.get(), path)).st_mode))
    return fail(Error::invalid("write " + path + ": not a regular file"));
  if (::ftruncate(old.get(), 0) < 0) return fail(Error::os("empty", path));
  UniqueFd whole = TRY(open_at(directory, fresh, O_RDONLY | O_NOFOLLOW));
  return sys::copy_bytes(whole.get(), old.get());
}

// A symlink or FIFO, under another name until its owner is right.
Result<> make_special(int directory, const std::string& name, const Attributes& a, const std::string& target,
                      const std::string& path) {
  std::string fresh = temporary_name();
  int made = S_ISLNK(a.mode) ? ::symlinkat(target.c_str(), directory, fresh.c_str())
                             : ::mknodat(directory, fresh.c_str(), S_IFIFO | (a.mode & 07777), 0);
  if (made < 0) return fail(Error::os("make", path));
  ScopeExit tidy([&] { (void)::unlinkat(directory, fresh.c_str(), 0); });
  timespec times[2] = {a.atime, a.mtime};
  if (::fchownat(directory, fresh.c_str(), a.uid, a.gid, AT_SYMLINK_NOFOLLOW) < 0)
    return fail(Error::os("set the owner of", path));
  (void)::utimensat(directory, fresh.c_str(), times, AT_SYMLINK_NOFOLLOW);
  if (::renameat(directory, fresh.c_str(), directory, name.c_str()) < 0)
    return fail(Error::os("replace", path));
  tidy.release();
  return {};
}

// The directory `name`, made or found; `fresh` tells which.
Result<UniqueFd> enter_directory(int directory, const std::string& name, const std::string& path,
                                 bool& fresh) {
  fresh = ::mkdirat(directory, name.c_str(), 0700) == 0;
  if (!fresh && errno != EEXIST) return fail(Error::os("make the directory", path));
  auto fd = open_at(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!fd && (fd.error().os_errno() == ENOTDIR || fd.error().os_errno() == ELOOP))
    return fail(Error::invalid("cannot overwrite " + path + ", which is no directory, with a directory"));
  return fd;
}

Error not_copied(mode_t mode, const std::string& path) {
  return Error::unsupported("copy " + path + ": a " + (S_ISSOCK(mode) ? "socket" : "device node") +
                            " cannot be copied" + (S_ISSOCK(mode) ? "" : "; give devices with --device"));
}

Result<> each_entry(int node, const std::string& path,
                    const std::function<Result<>(const std::string& name)>& each) {
  UniqueFd listed = TRY(reopen(node, O_RDONLY | O_DIRECTORY));
  std::unique_ptr<DIR, DirCloser> dir(::fdopendir(listed.get()));
  if (!dir) return fail(Error::os("read the directory", path));
  (void)listed.release();  // closedir(3) closes it
  for (;;) {
    errno = 0;
    dirent* e = ::readdir(dir.get());
    if (!e && errno) return fail(Error::os("read the directory", path));
    if (!e) return {};
    std::string name = e->d_name;
    if (name != "." && name != "..") TRY_VOID(each(name));
  }
}

}  // namespace

Result<UniqueFd> open_node(int directory, const std::string& name) {
  return open_at(directory, name, O_PATH | O_NOFOLLOW);
}

Result<UniqueFd> reopen(int node, int flags) { return open_at(AT_FDCWD, self_path(node), flags); }

Result<> copy_node(int node, int directory, const std::string& name, CopyContext& c) {
  struct stat st = TRY(stat_of(node, c.path));
  Attributes a = attributes_of(st, c);
  if (S_ISDIR(st.st_mode)) {
    bool fresh = false;
    UniqueFd to = TRY(enter_directory(directory, name, c.path, fresh));
    TRY_VOID(copy_entries(node, to.get(), c));
    // Last: entries change the directory's times.
    return fresh ? set_attributes(to.get(), a, c.path) : Result<>();
  }
  if (S_ISLNK(st.st_mode)) return make_special(directory, name, a, TRY(link_of(node, c.path)), c.path);
  if (S_ISFIFO(st.st_mode)) return make_special(directory, name, a, "", c.path);
  if (!S_ISREG(st.st_mode)) return fail(not_copied(st.st_mode, c.path));
  UniqueFd from = TRY(reopen(node, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  return make_file(
      directory, name, a, user_xattrs(node), [&](int to) { return sys::copy_bytes(from.get(), to); }, c.path);
}

Result<> copy_entries(int node, int directory, CopyContext& c) {
  if (++c.depth > kMaxDepth)
    return fail(Error::unsupported("copy " + c.path + ": over 250 directories in each other"));
  std::string base = c.path;
  TRY_VOID(each_entry(node, base, [&](const std::string& name) -> Result<> {
    auto entry = open_node(node, name);
    if (!entry && entry.error().os_errno() == ENOENT) return {};  // gone meanwhile
    if (!entry) return fail(entry.error());
    c.path = base + "/" + name;
    auto st = stat_of(entry->get(), c.path);
    if (st && S_ISSOCK(st->st_mode)) return {};
    return copy_node(entry->get(), directory, name, c);
  }));
  c.path = base;
  c.depth--;
  return {};
}

Result<> archive_node(int node, const std::string& name, TarWriter& tar, CopyContext& c) {
  struct stat st = TRY(stat_of(node, name));
  if (S_ISSOCK(st.st_mode)) return {};
  bool foreign = c.mount && mount_of(node) != c.mount;
  FileEntry e;
  e.path = name;
  e.mode = st.st_mode;
  e.uid = c.uid(st.st_uid);
  e.gid = c.gid(st.st_gid);
  e.mtime = st.st_mtim;
  e.device = st.st_rdev;
  if (S_ISLNK(st.st_mode)) e.link = TRY(link_of(node, name));
  if (S_ISREG(st.st_mode) && !foreign) e.size = static_cast<uint64_t>(st.st_size);
  if (foreign && !S_ISDIR(st.st_mode)) e.mode = S_IFREG | (st.st_mode & 07777);
  if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && !foreign) {
    auto [it, first] = c.linked.try_emplace({st.st_dev, st.st_ino}, name);
    e.hard_link = !first;
    if (!first) e.link = it->second;
  }
  if (!e.hard_link && !foreign && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) e.xattrs = user_xattrs(node);
  if (!e.hard_link && !foreign && S_ISREG(st.st_mode)) add_capability(node, e.xattrs);
  UniqueFd content;
  if (S_ISREG(st.st_mode) && !e.hard_link && !foreign)
    content = TRY(reopen(node, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  TRY_VOID(tar.header(e));
  if (S_ISREG(e.mode) && !e.hard_link) return tar.content(content.get(), e.size);
  return S_ISDIR(st.st_mode) && !foreign ? archive_entries(node, name, tar, c) : Result<>();
}

Result<> archive_entries(int node, const std::string& name, TarWriter& tar, CopyContext& c) {
  if (++c.depth > kMaxDepth)
    return fail(Error::unsupported("archive " + name + ": over 250 directories in each other"));
  TRY_VOID(each_entry(node, name, [&](const std::string& inner) -> Result<> {
    auto entry = open_node(node, inner);
    if (!entry && entry.error().os_errno() == ENOENT) return {};
    if (!entry) return fail(entry.error());
    return archive_node(entry->get(), name.empty() ? inner : name + "/" + inner, tar, c);
  }));
  c.depth--;
  return {};
}

Result<> extract_entry(TarReader& tar, const FileEntry& e, int directory, const std::string& name,
                       const CopyContext& c) {
  Attributes a = {e.mode, c.uid(e.uid), c.gid(e.gid), e.mtime, e.mtime};
  if (S_ISDIR(e.mode)) {
    bool fresh = false;
    UniqueFd to = TRY(enter_directory(directory, name, e.path, fresh));
    return set_attributes(to.get(), a, e.path);
  }
  if (S_ISLNK(e.mode) || S_ISFIFO(e.mode)) return make_special(directory, name, a, e.link, e.path);
  if (!S_ISREG(e.mode)) return fail(not_copied(e.mode, e.path));
  auto fill = [&](int to) -> Result<> {
    char block[65536];
    while (size_t n = TRY(tar.read(block, sizeof block))) TRY_VOID(write_all(to, {block, n}, e.path));
    return {};
  };
  return make_file(directory, name, a, e.xattrs, fill, e.path);
}

}  // namespace onggi::engine
