// Writes the entries of a layer below one directory, whatever their names say.
//
// Every parent is resolved by the kernel from the root's descriptor: first with RESOLVE_BENEATH, NO_SYMLINKS
// and NO_MAGICLINKS; only where an image really has a symlink on the way (lib -> usr/lib, then lib/x) again
// with RESOLVE_IN_ROOT, so that the link means what it means inside the image. The last component is created
// with O_EXCL | O_NOFOLLOW or its like. ".." is refused. So nothing outside the root can be named.
//
// Whiteouts (layer.md "Whiteouts") become overlay's: character devices 0:0 and opaque directories. What needs
// a privilege that the confined process lacks (device nodes, trusted.overlay.opaque) is collected in
// `deferred` for its parent.
#pragma once

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::transfer {

struct EntryMeta {
  uint32_t mode = 0;  // permission bits, setuid, setgid, sticky
  uint32_t uid = 0, gid = 0;
  timespec mtime{};
  std::vector<std::pair<std::string, std::string>> xattrs;
};

// What the parent does once the tree is complete. Paths are relative to the root.
struct Deferred {
  enum class Kind : uint8_t { kOpaque, kDevice } kind = Kind::kOpaque;
  std::string path;
  uint32_t mode = 0;  // with its type, S_IFCHR or S_IFBLK
  uint32_t major = 0, minor = 0;
};

// Opens a directory of the tree as the image means it: no symlink on the way, unless the image itself has one
// there, which then stays inside. Negative with errno set.
int open_directory(int root, const std::string& path, uint64_t flags);

class TreeWriter {
 public:
  explicit TreeWriter(int root) : root_(root) { directory_times_.emplace_back("", timespec{}); }

  // Names are as in the archive. Each error names the entry.
  Result<> directory(std::string_view name, EntryMeta meta);
  // Returns the file to write; finish_file() sets what a write would change.
  Result<UniqueFd> begin_file(std::string_view name, const EntryMeta& meta);
  Result<> finish_file(UniqueFd file, std::string_view name, const EntryMeta& meta);
  Result<> symlink(std::string_view name, const std::string& target, const EntryMeta& meta);
  Result<> hard_link(std::string_view name, std::string_view target);
  Result<> fifo(std::string_view name, const EntryMeta& meta);
  Result<> device(std::string_view name, bool block, uint32_t major, uint32_t minor, const EntryMeta& meta);
  // True when the name was a whiteout (and has been dealt with).
  Result<bool> whiteout(std::string_view name);
  // Times of directories, last because every entry in them changes them.
  Result<> finish();

  [[nodiscard]] const std::vector<Deferred>& deferred() const { return deferred_; }
  // Attributes that were left out: other namespaces than an image may set, or not supported here.
  [[nodiscard]] uint64_t dropped_xattrs() const { return dropped_xattrs_; }
  // Directory entries in the tree without its root; 0 when a replaced directory made that uncertain.
  [[nodiscard]] uint64_t entries() const { return uncertain_ ? 0 : entries_; }

 private:
  struct Place {
    int parent;  // borrowed from the cache
    std::string leaf;
  };
  Result<Place> place(std::string_view name);
  Result<int> parent_of(const std::string& path);
  Result<UniqueFd> make_parents(const std::string& path);
  UniqueFd open_step(const Place& here, const std::string& prefix);
  Result<> make_parent(const Place& here, const std::string& prefix, const std::string& path);
  // Makes room for something that is not a directory.
  Result<> clear(const Place& place, std::string_view name);
  Result<bool> replace_by_directory(const Place& place, const std::string& path);
  [[nodiscard]] bool plain_mode(const EntryMeta& meta) const;
  Result<> set_meta_at(const Place& place, std::string_view name, const EntryMeta& meta);
  Result<> set_xattrs(int fd, std::string_view name, const EntryMeta& meta);
  void opaque(const std::string& path);

  int root_;
  std::string cached_path_;
  UniqueFd cached_;
  bool cache_valid_ = false;
  std::vector<std::pair<std::string, timespec>> directory_times_;
  std::vector<Deferred> deferred_;
  uint64_t dropped_xattrs_ = 0, entries_ = 0;
  bool uncertain_ = false;
  bool inheritance_ = false;  // some directory gives its group or ACL to what is made in it
};

}  // namespace onggi::transfer
