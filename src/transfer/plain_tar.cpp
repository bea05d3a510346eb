#include "transfer/plain_tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

#include <memory>
#include <unordered_map>

#include "base/file.h"
#include "transfer/tree_writer.h"

namespace onggi::transfer {

namespace {

struct FreeArchive {
  void operator()(archive* a) const { archive_read_free(a); }
};

enum class Kind : uint8_t { kDirectory, kFile, kOther, kWhiteout };

constexpr std::string_view kWhiteoutPrefix = ".wh.", kOpaque = ".wh..wh..opq";

class Scanner {
 public:
  explicit Scanner(const UnpackLimits& limits) : limits_(limits) {}

  // Empty: as it should be.
  std::string entry(archive_entry* e) {
    const char* raw = archive_entry_pathname(e);
    if (!raw || !*raw) return "has an entry without a name";
    std::string why = judge(e, raw);
    return why.empty() ? why : "has the entry '" + std::string(raw).substr(0, 200) + "', " + why;
  }
  TarScan scan;

 private:
  // "./a/b/" -> "a/b"; "" is the root. Nullopt-like: `ok` false.
  static std::string tidy(std::string_view name, bool& ok) {
    constexpr size_t kLongestName = 255, kLongestPath = 4000;
    while (name.starts_with("./")) name.remove_prefix(2);
    while (name.ends_with('/')) name.remove_suffix(1);
    if (name == ".") name = {};
    ok = name.size() < kLongestPath;
    for (std::string_view rest = name; ok && !rest.empty();) {
      std::string_view part = rest.substr(0, rest.find('/'));
      ok = !part.empty() && part != "." && part != ".." && part.size() <= kLongestName;
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      ok = ok && (rest.empty() ? name.size() == 0 || name.back() != '/' : true);
    }
    return std::string(name);
  }

  std::string judge(archive_entry* e, std::string_view raw) {
    bool ok = !raw.starts_with('/');
    std::string name = ok ? tidy(raw, ok) : "";
    if (!ok) return "whose name is not a plain path";
    if (name.empty()) return archive_entry_filetype(e) == AE_IFDIR ? "" : "the root, which is no directory";
    size_t slash = name.rfind('/');
    std::string parent = slash == std::string::npos ? "" : name.substr(0, slash);
    std::string leaf = name.substr(slash == std::string::npos ? 0 : slash + 1);
    auto above = seen_.find(parent);
    if (!parent.empty() && (above == seen_.end() || above->second != Kind::kDirectory))
      return "whose directory is no entry before it";
    if (++scan.entries > limits_.max_entries) return "one too many";
    if (leaf.starts_with(kWhiteoutPrefix)) return whiteout(parent, leaf);
    return object(e, name);
  }

  std::string whiteout(const std::string& parent, const std::string& leaf) {
    if (leaf == kOpaque) {
      scan.entries--;  // an attribute of its directory
      if (parent.empty()) return "which hides all below";
      return opaque_.emplace(parent, true).second ? "" : "twice";
    }
    std::string hidden = leaf.substr(kWhiteoutPrefix.size());
    if (hidden.empty() || hidden.starts_with(kWhiteoutPrefix) || hidden == "." || hidden == "..")
      return "a whiteout of nothing";
    return add(parent.empty() ? hidden : parent + "/" + hidden, Kind::kWhiteout);
  }

  std::string add(const std::string& name, Kind kind) {
    return seen_.emplace(name, kind).second ? "" : "twice";
  }

  std::string attributes(archive_entry* e) {
    la_int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);
    if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX) return "whose owner is out of range";
    if (archive_entry_mtime(e) < 0) return "which is older than time";
    const char* key;
    const void* value;
    size_t size;
    archive_entry_xattr_reset(e);
    while (archive_entry_xattr_next(e, &key, &value, &size) == ARCHIVE_OK) {
      std::string_view name = key;
      bool own = name.starts_with("user.") && !name.starts_with("user.overlay.");
      if (!own && name != "security.capability")
        return "with the attribute " + std::string(name.substr(0, 80));
    }
    return "";
  }

  std::string object(archive_entry* e, const std::string& name) {
    if (const char* link = archive_entry_hardlink(e)) {
      bool ok = *link != '/';
      std::string target = tidy(link, ok);
      auto there = seen_.find(target);
      if (!ok || there == seen_.end() || there->second != Kind::kFile)
        return "a hard link to what is no file before it";
      return add(name, Kind::kFile);
    }
    if (std::string why = attributes(e); !why.empty()) return why;
    switch (archive_entry_filetype(e)) {
      case AE_IFREG:
        return file(e, name);
      case AE_IFDIR:
        return add(name, Kind::kDirectory);
      case AE_IFLNK:
        if (const char* target = archive_entry_symlink(e); !target || !*target)
          return "a symlink without a target";
        return add(name, Kind::kOther);
      case AE_IFCHR:
        if (archive_entry_rdev(e) == 0) return "a device that overlay takes for a whiteout";
        return add(name, Kind::kOther);
      case AE_IFBLK:
      case AE_IFIFO:
        return add(name, Kind::kOther);
      default:
        return "of a type that is not supported";
    }
  }

  std::string file(archive_entry* e, const std::string& name) {
    la_int64_t size = archive_entry_size(e);
    if (archive_entry_sparse_count(e) > 0) return "a sparse file";
    if (size < 0 || static_cast<uint64_t>(size) > limits_.max_bytes - scan.bytes) return "which is too large";
    scan.bytes += static_cast<uint64_t>(size);
    return add(name, Kind::kFile);
  }

  const UnpackLimits& limits_;
  std::unordered_map<std::string, Kind> seen_;
  std::unordered_map<std::string, bool> opaque_;
};

}  // namespace

Result<TarScan> scan_tar(int file, const UnpackLimits& limits) {
  if (::lseek(file, 0, SEEK_SET) < 0) return fail(Error::os("read again", "layer.tar"));
  std::unique_ptr<archive, FreeArchive> a(archive_read_new());
  if (!a || archive_read_support_format_tar(a.get()) != ARCHIVE_OK)
    return fail(Error::internal("libarchive could not be set up"));
  Scanner scanner(limits);
  auto broken = [&](const std::string& why) {
    scanner.scan.why_not = why;
    return std::move(scanner.scan);
  };
  constexpr size_t kBlock = 64 << 10;
  if (archive_read_open_fd(a.get(), file, kBlock) != ARCHIVE_OK) return broken("is no tar that can be read");
  for (;;) {
    archive_entry* e = nullptr;
    int code = archive_read_next_header(a.get(), &e);
    if (code == ARCHIVE_EOF) break;
    // A warning is a name that is not in this locale's character set; the bytes are there all the same.
    if (code < ARCHIVE_WARN) return broken("is damaged or of an unusual form");
    if (std::string why = scanner.entry(e); !why.empty()) return broken(why);
  }
  if (scanner.scan.entries == 0) return broken("is empty");
  scanner.scan.plain = true;
  return std::move(scanner.scan);
}

}  // namespace onggi::transfer
