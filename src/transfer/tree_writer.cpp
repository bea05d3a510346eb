#include "transfer/tree_writer.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/tree.h"

namespace onggi::transfer {

namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr std::string_view kAufsMeta = ".wh..wh.";  // aufs's own files, which have no meaning elsewhere

Error entry_error(std::string_view name, std::string_view reason) {
  return Error::invalid("entry '" + std::string(name.substr(0, 200)) + "': " + std::string(reason));
}
Error entry_os(std::string_view doing, std::string_view name) {
  return Error::os(doing, std::string(name.substr(0, 200)));
}

// "./a//b/" -> "a/b"; the root is "". Absolute names are meant from the root.
Result<std::string> normalise(std::string_view name) {
  std::string out;
  for (size_t start = 0; start < name.size();) {
    size_t slash = std::min(name.find('/', start), name.size());
    std::string_view part = name.substr(start, slash - start);
    start = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..")
      return fail(entry_error(name, "its name has '..', which could leave the layer; refused"));
    if (part.size() > 255) return fail(entry_error(name, "a part of its name is longer than 255 bytes"));
    if (!out.empty()) out += '/';
    out += part;
  }
  if (out.size() >= 4096) return fail(entry_error(name, "its name is longer than 4095 bytes"));
  return out;
}

std::pair<std::string, std::string> split(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

int open_beneath(int root, const std::string& path, uint64_t flags, uint64_t resolve) {
  if (path.empty()) return ::openat(root, ".", static_cast<int>(flags) | O_CLOEXEC);
  open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  return static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how));
}

bool is_whiteout(const struct stat& st) { return S_ISCHR(st.st_mode) && st.st_rdev == 0; }

// Attribute namespaces that an image may set. trusted.* and user.overlay.* would steer overlay, other
// security.* belong to the host's security modules.
bool may_set(std::string_view name) {
  if (name.starts_with("user.")) return !name.starts_with("user.overlay.");
  return name == "security.capability" || name == "system.posix_acl_access" ||
         name == "system.posix_acl_default";
}

}  // namespace

int open_directory(int root, const std::string& path, uint64_t flags) {
  int fd = open_beneath(root, path, flags | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
  if (fd < 0 && errno == ELOOP) fd = open_beneath(root, path, flags | O_DIRECTORY, RESOLVE_IN_ROOT);
  return fd;
}

// --- places ---

Result<int> TreeWriter::parent_of(const std::string& path) {
  if (cache_valid_ && path == cached_path_) return cached_.get();
  UniqueFd fd(open_directory(root_, path, O_PATH));
  if (!fd) {
    if (errno != ENOENT && errno != ENOTDIR) return fail(entry_os("open the directory", path));
    fd = TRY(make_parents(path));
  }
  cached_ = std::move(fd);
  cached_path_ = path;
  cache_valid_ = true;
  return cached_.get();
}

// Directories that the archive has no entry for: root's, 0755, as the peers make them, and of the epoch, so
// that a layer is the same tree wherever and whenever it is unpacked. Each step starts from the last
// directory, so that a deep path costs its length and not the square of it.
Result<UniqueFd> TreeWriter::make_parents(const std::string& path) {
  UniqueFd at(open_directory(root_, "", O_PATH));
  for (size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end ? end + 1 : 0);
    std::string prefix = path.substr(0, end);
    Place here{at.get(), split(prefix).second};
    UniqueFd next = open_step(here, prefix);
    if (!next) {
      TRY_VOID(make_parent(here, prefix, path));
      next = open_step(here, prefix);
      if (!next) return fail(entry_os("open the directory", prefix));
    }
    at = std::move(next);
  }
  return at;
}

// One component further; through a symlink of the image only from the root, where it means what it says.
UniqueFd TreeWriter::open_step(const Place& here, const std::string& prefix) {
  UniqueFd next(
      open_beneath(here.parent, here.leaf, O_PATH | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
  if (!next && errno == ELOOP) next = UniqueFd(open_directory(root_, prefix, O_PATH));
  return next;
}

// Makes the directory that open_step could not open, judging by errno.
Result<> TreeWriter::make_parent(const Place& here, const std::string& prefix, const std::string& path) {
  if (errno == ENOTDIR) {
    if (TRY(replace_by_directory(here, prefix))) return {};
    return fail(entry_error(path, "'" + prefix + "' is no directory in this layer"));
  }
  if (errno != ENOENT) return fail(entry_os("open the directory", prefix));
  // A dangling symlink is also ENOENT; mkdir then says EEXIST.
  if (::mkdirat(here.parent, here.leaf.c_str(), 0755) < 0)
    return fail(entry_os("create the parent directory", prefix));
  entries_++;
  directory_times_.emplace_back(prefix, timespec{});
  if (::fchmodat(here.parent, here.leaf.c_str(), 0755, 0) < 0)
    return fail(entry_os("set the mode of", prefix));
  return {};
}

Result<TreeWriter::Place> TreeWriter::place(std::string_view name) {
  std::string path = TRY(normalise(name));
  if (path.empty()) return fail(entry_error(name, "only a directory can be the root of a layer"));
  auto [parent, leaf] = split(path);
  return Place{TRY(parent_of(parent)), std::move(leaf)};
}

// A later entry of the same name replaces the earlier one, as tar does.
Result<> TreeWriter::clear(const Place& place, std::string_view name) {
  if (::unlinkat(place.parent, place.leaf.c_str(), 0) == 0) {
    entries_--;
    return {};
  }
  if (errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return fail(entry_os("replace", name));
  uncertain_ = true;
  TRY_CTX(remove_tree_at(place.parent, place.leaf), "replace '" + std::string(name.substr(0, 200)) + "'");
  return {};
}

// Puts an empty directory where a whiteout is: the lower one is gone, a new one begins. False: something else
// is there.
Result<bool> TreeWriter::replace_by_directory(const Place& place, const std::string& path) {
  struct stat st;
  if (::fstatat(place.parent, place.leaf.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0 || !is_whiteout(st))
    return false;
  if (::unlinkat(place.parent, place.leaf.c_str(), 0) < 0 ||
      ::mkdirat(place.parent, place.leaf.c_str(), 0755) < 0)
    return fail(entry_os("create the directory", path));
  directory_times_.emplace_back(path, timespec{});
  opaque(path);
  return true;
}

void TreeWriter::opaque(const std::string& path) {
  if (!deferred_.empty() && deferred_.back().kind == Deferred::Kind::kOpaque && deferred_.back().path == path)
    return;
  deferred_.push_back({Deferred::Kind::kOpaque, path, 0, 0, 0});
}

// --- metadata ---

Result<> TreeWriter::set_xattrs(int fd, std::string_view name, const EntryMeta& meta) {
  for (const auto& [key, value] : meta.xattrs) {
    if (!may_set(key)) {
      dropped_xattrs_++;
      continue;
    }
    if (::fsetxattr(fd, key.c_str(), value.data(), value.size(), 0) == 0) continue;
    if (errno != EOPNOTSUPP) return fail(entry_os("set the attribute " + key + " of", name));
    dropped_xattrs_++;
  }
  return {};
}

// For what is not a regular file. The owner before the mode: changing it clears setuid.
Result<> TreeWriter::set_meta_at(const Place& p, std::string_view name, const EntryMeta& meta) {
  const char* leaf = p.leaf.c_str();
  if (::fchownat(p.parent, leaf, meta.uid, meta.gid, AT_SYMLINK_NOFOLLOW) < 0)
    return fail(entry_os("set the owner of", name));
  struct stat st;
  if (::fstatat(p.parent, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0) return fail(entry_os("inspect", name));
  if (!S_ISLNK(st.st_mode) && ::fchmodat(p.parent, leaf, meta.mode, 0) < 0)
    return fail(entry_os("set the mode of", name));
  timespec times[2] = {{0, UTIME_OMIT}, meta.mtime};
  if (::utimensat(p.parent, leaf, times, AT_SYMLINK_NOFOLLOW) < 0)
    return fail(entry_os("set the time of", name));
  return {};
}

// --- entries ---

Result<> TreeWriter::directory(std::string_view name, EntryMeta meta) {
  std::string path = TRY(normalise(name));
  UniqueFd fd;
  if (path.empty()) {
    fd = UniqueFd(::openat(root_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  } else {
    Place p = TRY(place(path));
    if (::mkdirat(p.parent, p.leaf.c_str(), 0700) < 0) {
      if (errno != EEXIST) return fail(entry_os("create the directory", name));
      struct stat st;
      if (::fstatat(p.parent, p.leaf.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(entry_os("inspect", name));
      if (!S_ISDIR(st.st_mode) && !TRY(replace_by_directory(p, path))) {
        TRY_VOID(clear(p, name));
        if (::mkdirat(p.parent, p.leaf.c_str(), 0700) < 0)
          return fail(entry_os("create the directory", name));
        entries_++;
      }
      if (!S_ISDIR(st.st_mode)) cache_valid_ = false;  // a symlink on a cached path may have gone
      p = TRY(place(path));
    } else {
      entries_++;
    }
    fd = UniqueFd(::openat(p.parent, p.leaf.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
  if (!fd) return fail(entry_os("open the directory", name));
  if (::fchown(fd.get(), meta.uid, meta.gid) < 0) return fail(entry_os("set the owner of", name));
  if (::fchmod(fd.get(), meta.mode) < 0) return fail(entry_os("set the mode of", name));
  TRY_VOID(set_xattrs(fd.get(), name, meta));
  if (meta.mode & S_ISGID) inheritance_ = true;
  for (const auto& [key, value] : meta.xattrs)
    inheritance_ = inheritance_ || key == "system.posix_acl_default";
  directory_times_.emplace_back(std::move(path), meta.mtime);
  return {};
}

// Created with its mode already: three changes of an inode that was just made (owner, mode, time) are a third
// of what unpacking costs on ext4, and two of them mostly change nothing.
Result<UniqueFd> TreeWriter::begin_file(std::string_view name, const EntryMeta& meta) {
  Place p = TRY(place(name));
  uint32_t mode = plain_mode(meta) ? meta.mode : 0600;
  for (bool again = false;; again = true) {
    UniqueFd fd(
        ::openat(p.parent, p.leaf.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, mode));
    if (fd) {
      entries_++;
      return fd;
    }
    if (errno != EEXIST || again) return fail(entry_os("create", name));
    TRY_VOID(clear(p, name));
    cache_valid_ = false;
    p = TRY(place(name));
  }
}

// What the kernel gives a new file by itself: root's, with the mode asked for. Not under a default ACL or in
// a setgid directory, and special bits do not survive a write.
bool TreeWriter::plain_mode(const EntryMeta& meta) const {
  return !inheritance_ && !(meta.mode & 07000) && meta.uid == 0 && meta.gid == 0;
}

Result<> TreeWriter::finish_file(UniqueFd file, std::string_view name, const EntryMeta& meta) {
  if (!plain_mode(meta)) {
    if (::fchown(file.get(), meta.uid, meta.gid) < 0) return fail(entry_os("set the owner of", name));
    if (::fchmod(file.get(), meta.mode) < 0) return fail(entry_os("set the mode of", name));
  }
  if (!meta.xattrs.empty()) TRY_VOID(set_xattrs(file.get(), name, meta));
  timespec times[2] = {{0, UTIME_OMIT}, meta.mtime};
  if (::futimens(file.get(), times) < 0) return fail(entry_os("set the time of", name));
  return {};
}

Result<> TreeWriter::symlink(std::string_view name, const std::string& target, const EntryMeta& meta) {
  Place p = TRY(place(name));
  if (::symlinkat(target.c_str(), p.parent, p.leaf.c_str()) < 0) {
    if (errno != EEXIST) return fail(entry_os("create the symlink", name));
    TRY_VOID(clear(p, name));
    cache_valid_ = false;
    p = TRY(place(name));
    if (::symlinkat(target.c_str(), p.parent, p.leaf.c_str()) < 0)
      return fail(entry_os("create the symlink", name));
  }
  entries_++;
  return set_meta_at(p, name, meta);
}

Result<> TreeWriter::hard_link(std::string_view name, std::string_view target) {
  std::string target_path = TRY(normalise(target));
  if (target_path.empty()) return fail(entry_error(name, "its hard link has no target"));
  auto [directory, leaf] = split(target_path);
  UniqueFd from(open_directory(root_, directory, O_PATH));
  if (!from)
    return fail(entry_os("open, for the hard link '" + std::string(name.substr(0, 200)) + "',", target));
  Place p = TRY(place(name));
  // Flags 0: a symlink as the last component is linked itself, never followed.
  entries_++;
  if (::linkat(from.get(), leaf.c_str(), p.parent, p.leaf.c_str(), 0) == 0) return {};
  if (errno == EEXIST) {
    struct stat a, b;
    if (::fstatat(from.get(), leaf.c_str(), &a, AT_SYMLINK_NOFOLLOW) == 0 &&
        ::fstatat(p.parent, p.leaf.c_str(), &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_ino == b.st_ino) {
      entries_--;
      return {};  // a link to itself
    }
    TRY_VOID(clear(p, name));
    cache_valid_ = false;
    p = TRY(place(name));
    if (::linkat(from.get(), leaf.c_str(), p.parent, p.leaf.c_str(), 0) == 0) return {};
  }
  return fail(entry_os("link to '" + std::string(target.substr(0, 200)) + "' the entry", name));
}

Result<> TreeWriter::fifo(std::string_view name, const EntryMeta& meta) {
  Place p = TRY(place(name));
  TRY_VOID(clear(p, name));
  cache_valid_ = false;
  p = TRY(place(name));
  if (::mknodat(p.parent, p.leaf.c_str(), S_IFIFO | 0600, 0) < 0)
    return fail(entry_os("create the fifo", name));
  entries_++;
  return set_meta_at(p, name, meta);
}

// A placeholder with the right owner and times; the parent puts the node there.
Result<> TreeWriter::device(std::string_view name, bool block, uint32_t major, uint32_t minor,
                            const EntryMeta& meta) {
  if (!block && major == 0 && minor == 0)
    return fail(entry_error(
        name, "a character device 0:0 would hide files of other layers as overlay's whiteout; refused"));
  UniqueFd file = TRY(begin_file(name, meta));
  TRY_VOID(finish_file(std::move(file), name, meta));
  deferred_.push_back({Deferred::Kind::kDevice, TRY(normalise(name)),
                       static_cast<uint32_t>(block ? S_IFBLK : S_IFCHR) | meta.mode, major, minor});
  return {};
}

Result<bool> TreeWriter::whiteout(std::string_view name) {
  std::string path = TRY(normalise(name));
  auto [directory, leaf] = split(path);
  if (!leaf.starts_with(kWhiteout)) return false;
  if (leaf == kOpaque) {
    TRY(parent_of(directory));  // it exists
    opaque(directory);
    return true;
  }
  if (leaf.starts_with(kAufsMeta)) return true;
  std::string hidden = leaf.substr(kWhiteout.size());
  if (hidden.empty() || hidden == "." || hidden == "..")
    return fail(entry_error(name, "a whiteout must name what it hides"));
  Place p{TRY(parent_of(directory)), hidden};
  if (::mknodat(p.parent, p.leaf.c_str(), S_IFCHR, 0) == 0) {
    entries_++;
    timespec times[2] = {{0, UTIME_OMIT}, {0, 0}};
    if (::utimensat(p.parent, p.leaf.c_str(), times, AT_SYMLINK_NOFOLLOW) < 0)
      return fail(entry_os("set the time of", name));
    return true;
  }
  if (errno != EEXIST) return fail(entry_os("create the whiteout", name));
  // What is there came with this layer; the whiteout hides only what is below: a directory begins anew.
  struct stat st;
  if (::fstatat(p.parent, p.leaf.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
    opaque(directory.empty() ? hidden : directory + "/" + hidden);
  return true;
}

Result<> TreeWriter::finish() {
  cache_valid_ = false;
  // In their order: where a directory has two entries, the later one counts.
  for (const auto& [path, time] : directory_times_) {
    auto [parent, leaf] = split(path);
    timespec times[2] = {{0, UTIME_OMIT}, time};
    if (path.empty()) {
      if (::utimensat(root_, ".", times, 0) < 0) return fail(entry_os("set the time of", "."));
      continue;
    }
    auto fd = parent_of(parent);
    // A later entry may have replaced it.
    if (fd && ::utimensat(*fd, leaf.c_str(), times, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
      return fail(entry_os("set the time of", path));
  }
  return {};
}

}  // namespace onggi::transfer
