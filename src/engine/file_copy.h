// One file system object from descriptor to descriptor, and into and out of archives. See copy.h for the
// rules; this is what does not care which side is the container.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <map>
#include <string>

#include "base/fd.h"
#include "engine/tar.h"

namespace onggi::engine {

using IdMap = std::function<uint32_t(uint32_t)>;

struct CopyContext {
  IdMap uid, gid;      // owners at the target, from those at the source
  uint64_t mount = 0;  // only what is of this mount (statx); 0: everything
  size_t depth = 0;
  std::string path;                                       // for errors and archives
  std::map<std::pair<dev_t, ino_t>, std::string> linked;  // archives: first name of files with several
};

// O_PATH without following; `name` is one component.
Result<UniqueFd> open_node(int directory, const std::string& name);
// Opens a regular file or directory that `node` (O_PATH) is, for reading.
Result<UniqueFd> reopen(int node, int flags);

// The object `node` as `name` in `directory`: a directory is merged into one that is there, anything else
// replaces what is there but a directory.
Result<> copy_node(int node, int directory, const std::string& name, CopyContext& context);
// The entries of the directory `node` into the directory `directory`.
Result<> copy_entries(int node, int directory, CopyContext& context);
// `name` in the archive.
Result<> archive_node(int node, const std::string& name, TarWriter& tar, CopyContext& context);
Result<> archive_entries(int node, const std::string& name, TarWriter& tar, CopyContext& context);
// One entry of an archive as `name` in `directory`. Hard links are the caller's.
Result<> extract_entry(TarReader& tar, const FileEntry& entry, int directory, const std::string& name,
                       const CopyContext& context);

}  // namespace onggi::engine
