#include "transfer/tree_reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "base/file.h"

namespace onggi::transfer {

namespace {

// Each level holds a descriptor; deeper trees are no images of anything.
constexpr int kMaxDepth = 1000;
constexpr uint32_t kNobody = 65534;

struct CloseDir {
  void operator()(DIR* d) const { ::closedir(d); }
};

struct Walk {
  const TreeOptions& options;
  TarWriter& tar;
  TreeSummary summary;
  std::map<std::pair<dev_t, ino_t>, std::string> links;  // first name of what has several
  dev_t device = 0;

  uint32_t unshift(uint32_t id) {
    if (options.id_count == 0) return id;
    if (id >= options.id_base && id - options.id_base < options.id_count) return id - options.id_base;
    summary.foreign++;
    return kNobody;
  }
};

bool wanted_xattr(std::string_view name) {
  if (name.starts_with("user.")) return !name.starts_with("user.overlay.");
  return name == "security.capability" || name == "system.posix_acl_access" ||
         name == "system.posix_acl_default";
}

// Names and values by a path in /proc: a symlink's and a device's cannot be had through an O_PATH descriptor
// otherwise.
using Xattrs = std::vector<std::pair<std::string, std::string>>;
Result<Xattrs> read_xattrs(int fd, const std::string& name) {
  std::string path = "/proc/self/fd/" + std::to_string(fd), names(1024, '\0');
  ssize_t n;
  while ((n = ::listxattr(path.c_str(), names.data(), names.size())) < 0 && errno == ERANGE &&
         names.size() < (1 << 20))
    names.resize(names.size() * 4);
  if (n < 0) {
    if (errno == EOPNOTSUPP || errno == ELOOP || errno == EPERM) return Xattrs{};
    return fail(Error::os("list the attributes of", name));
  }
  Xattrs found;
  for (const char *p = names.data(), *end = p + n; p < end; p += std::strlen(p) + 1) {
    std::string value(65536, '\0');
    ssize_t size = ::getxattr(path.c_str(), p, value.data(), value.size());
    if (size < 0) continue;  // gone meanwhile
    value.resize(static_cast<size_t>(size));
    found.emplace_back(p, std::move(value));
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string_view get(const Xattrs& xattrs, std::string_view name) {
  for (const auto& [key, value] : xattrs)
    if (key == name) return value;
  return {};
}
bool overlay_flag(const Xattrs& xattrs, std::string_view flag) {
  for (std::string_view prefix : {"trusted.overlay.", "user.overlay."})
    if (!get(xattrs, std::string(prefix) + std::string(flag)).empty()) return true;
  return false;
}

bool is_whiteout(const struct stat& st, const Xattrs& xattrs) {
  if (S_ISCHR(st.st_mode) && st.st_rdev == 0) return true;
  return S_ISREG(st.st_mode) && st.st_size == 0 && overlay_flag(xattrs, "whiteout");
}

TarEntry describe(Walk& w, const std::string& name, const struct stat& st, const Xattrs& xattrs) {
  TarEntry e;
  e.name = name;
  e.mode = st.st_mode & 07777;
  e.uid = w.unshift(st.st_uid);
  e.gid = w.unshift(st.st_gid);
  e.mtime = st.st_mtim.tv_sec;
  e.mtime_nsec = static_cast<uint32_t>(st.st_mtim.tv_nsec);
  for (const auto& [key, value] : xattrs)
    if (wanted_xattr(key)) e.xattrs.emplace_back(key, unshift_xattr(key, value, w.options));
  return e;
}

Result<> write_whiteout(Walk& w, const std::string& directory, const std::string& leaf) {
  TarEntry e;
  e.name = directory + ".wh." + leaf;
  e.mode = 0;
  w.summary.entries++;
  return w.tar.file(e, "");
}

Result<> write_directory(Walk& w, UniqueFd directory, const std::string& name, int depth);

Result<> write_regular(Walk& w, int parent, const std::string& leaf, TarEntry e, const struct stat& seen) {
  UniqueFd fd(::openat(parent, leaf.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat st;
  // Removed or replaced since it was looked at: as if it had never been there.
  if (!fd || ::fstat(fd.get(), &st) < 0 || st.st_ino != seen.st_ino || !S_ISREG(st.st_mode)) {
    if (!fd && errno != ENOENT && errno != ELOOP) return fail(Error::os("open", e.name));
    return {};
  }
  e.size = static_cast<uint64_t>(st.st_size);
  w.summary.entries++;
  return w.tar.file_from(std::move(e), fd.get());
}

Result<> write_special(Walk& w, int parent, const std::string& leaf, TarEntry e, const struct stat& st) {
  switch (st.st_mode & S_IFMT) {
    case S_IFLNK: {
      std::string target(4096, '\0');
      ssize_t n = ::readlinkat(parent, leaf.c_str(), target.data(), target.size());
      if (n < 0) return {};  // replaced meanwhile
      e.type = '2';
      e.link = target.substr(0, static_cast<size_t>(n));
      break;
    }
    case S_IFIFO:
      e.type = '6';
      break;
    case S_IFCHR:
    case S_IFBLK:
      e.type = S_ISCHR(st.st_mode) ? '3' : '4';
      e.major = major(st.st_rdev);
      e.minor = minor(st.st_rdev);
      break;
    default:
      w.summary.skipped++;
      return {};
  }
  w.summary.entries++;
  return w.tar.header(e);
}

Result<> write_entry(Walk& w, int parent, const std::string& prefix, const std::string& leaf, int depth) {
  std::string name = prefix + leaf;
  UniqueFd at(::openat(parent, leaf.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat st;
  if (!at) {
    if (errno == ENOENT) return {};
    return fail(Error::os("open", name));
  }
  if (::fstat(at.get(), &st) < 0) return fail(Error::os("inspect", name));
  if (S_ISLNK(st.st_mode)) return write_special(w, parent, leaf, describe(w, name, st, {}), st);
  Xattrs xattrs = TRY(read_xattrs(at.get(), name));
  if (w.options.overlay_upper && is_whiteout(st, xattrs)) return write_whiteout(w, prefix, leaf);
  TarEntry e = describe(w, name, st, xattrs);
  if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
    auto [first, is_new] = w.links.try_emplace({st.st_dev, st.st_ino}, name);
    if (!is_new) {
      e.type = '1';
      e.link = first->second;
      e.xattrs.clear();
      w.summary.entries++;
      return w.tar.header(e);
    }
  }
  if (S_ISREG(st.st_mode)) {
    uint64_t before = w.summary.entries;
    TRY_VOID(write_regular(w, parent, leaf, std::move(e), st));
    // Gone before it could be read: another of its names becomes the first.
    if (w.summary.entries == before) w.links.erase({st.st_dev, st.st_ino});
    return {};
  }
  if (!S_ISDIR(st.st_mode)) return write_special(w, parent, leaf, std::move(e), st);
  if (w.options.overlay_upper && overlay_flag(xattrs, "redirect"))
    return fail(Error::unsupported(
        "'" + name + "' is a directory that overlay renamed (redirect_dir); a layer cannot say that"));
  // Other file systems (volumes, /proc) are no part of the tree; their mount point is.
  UniqueFd directory(::openat(at.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return fail(Error::os("open the directory", name));
  e.type = '5';
  e.name += '/';
  w.summary.entries++;
  TRY_VOID(w.tar.header(e));
  if (w.options.overlay_upper && overlay_flag(xattrs, "opaque"))
    TRY_VOID(write_whiteout(w, e.name, ".wh..opq"));
  if (st.st_dev != w.device) return {};
  return write_directory(w, std::move(directory), e.name, depth + 1);
}

Result<> write_directory(Walk& w, UniqueFd directory, const std::string& name, int depth) {
  if (depth > kMaxDepth)
    return fail(Error::invalid("the tree is deeper than " + std::to_string(kMaxDepth) + " directories"));
  int fd = directory.get();
  std::unique_ptr<DIR, CloseDir> dir(::fdopendir(fd));
  if (!dir) return fail(Error::os("read the directory", name));
  (void)directory.release();
  std::vector<std::string> leaves;
  while (dirent* e = ::readdir(dir.get())) {
    std::string_view leaf = e->d_name;
    if (leaf != "." && leaf != "..") leaves.emplace_back(leaf);
  }
  std::sort(leaves.begin(), leaves.end());
  for (const std::string& leaf : leaves) TRY_VOID(write_entry(w, fd, name, leaf, depth));
  return {};
}

// --- attributes that hold ids ---

uint32_t get32(std::string_view s, size_t at) {
  auto b = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(s[at + i])); };
  return b(0) | b(1) << 8 | b(2) << 16 | b(3) << 24;
}
void put32(std::string& s, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; i++) s[at + i] = static_cast<char>(value >> (8 * i) & 0xff);
}

std::string unshift_capability(std::string value, const TreeOptions& o) {
  constexpr uint32_t kRevisionMask = 0xff000000, kRevision2 = 0x02000000, kRevision3 = 0x03000000;
  if (value.size() != 24 || (get32(value, 0) & kRevisionMask) != kRevision3 || get32(value, 20) != o.id_base)
    return value;
  put32(value, 0, (get32(value, 0) & ~kRevisionMask) | kRevision2);
  value.resize(20);
  return value;
}

std::string unshift_acl(std::string value, const TreeOptions& o) {
  constexpr uint32_t kUser = 0x02, kGroup = 0x08;  // tags of entries that name somebody
  for (size_t at = 4; at + 8 <= value.size(); at += 8) {
    uint32_t tag = get32(value, at) & 0xffff, id = get32(value, at + 4);
    if ((tag == kUser || tag == kGroup) && id >= o.id_base && id - o.id_base < o.id_count)
      put32(value, at + 4, id - o.id_base);
  }
  return value;
}

}  // namespace

std::string unshift_xattr(std::string_view name, std::string value, const TreeOptions& options) {
  if (options.id_count == 0) return value;
  if (name == "security.capability") return unshift_capability(std::move(value), options);
  if (name.starts_with("system.posix_acl_")) return unshift_acl(std::move(value), options);
  return value;
}

Result<TreeSummary> write_tree(int root, const TreeOptions& options, TarWriter& tar) {
  Walk w{options, tar, {}, {}, 0};
  UniqueFd top(::openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat st;
  if (!top || ::fstat(top.get(), &st) < 0) return fail(Error::os("open the tree", ""));
  w.device = st.st_dev;
  if (!options.overlay_upper) {
    TarEntry e = describe(w, "./", st, TRY(read_xattrs(top.get(), ".")));
    e.type = '5';
    TRY_VOID(tar.header(e));
  }
  TRY_VOID(write_directory(w, std::move(top), "", 0));
  TRY_VOID(tar.finish());
  return w.summary;
}

}  // namespace onggi::transfer
