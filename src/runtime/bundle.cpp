#include "runtime/bundle.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/file.h"
#include "oci/check.h"
#include "oci/parse.h"

namespace onggi::runtime {

namespace {

Result<std::string> absolute_path(const std::string& path) {
  char resolved[PATH_MAX];
  if (!::realpath(path.empty() ? "." : path.c_str(), resolved))
    return fail(Error::os("find the directory", path));
  return std::string(resolved);
}

// The root file system's directory without symlinks in its path. `bundle` has none already, so one look is
// enough at what stands directly in it.
Result<std::string> root_directory(const std::string& path, const std::string& bundle) {
  struct stat st;
  std::string_view name = path;
  bool inside = name.starts_with(bundle + "/");
  if (inside) name.remove_prefix(bundle.size() + 1);
  bool plain = inside && !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
  if (plain && ::lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return path;
  std::string resolved = TRY(absolute_path(path));
  if (::stat(resolved.c_str(), &st) < 0) return fail(Error::os("stat", resolved));
  if (!S_ISDIR(st.st_mode)) return fail(Error::invalid("'" + resolved + "' is not a directory"));
  return resolved;
}

}  // namespace

Result<LoadedBundle> load_bundle(const std::string& directory, const std::string& config,
                                 void (*warn)(const std::string& text)) {
  LoadedBundle b;
  b.bundle = TRY_CTX(absolute_path(directory), "bundle");
  std::string path = config.empty() ? "config.json" : config;
  auto text = read_file(path[0] == '/' ? path : b.bundle + "/" + path);
  if (!text) {
    if (text.error().os_errno() == ENOENT)
      return fail(
          Error::not_found("JSON specification file " + path + " not found in bundle '" + b.bundle + "'"));
    return fail(std::move(text).error());
  }
  b.config = std::move(*text);
  b.spec = TRY(oci::parse_spec(b.config));
  std::vector<std::string> warnings;
  TRY_VOID_CTX(oci::check_spec(b.spec, &warnings), b.bundle + "/config.json");
  if (warn)
    for (const auto& w : warnings) warn(w);
  if (!b.spec.process)
    return fail(Error::invalid(b.bundle + "/config.json: process: is required to create a container"));
  std::string rootfs = b.spec.root.path;
  if (rootfs.empty() || rootfs[0] != '/') rootfs = b.bundle + "/" + rootfs;
  b.rootfs = TRY_CTX(root_directory(rootfs, b.bundle), "root.path");
  for (auto& m : b.spec.mounts) {
    // config.md: a relative source of a bind mount is relative to the bundle.
    bool bind = m.type == "bind" ||
                std::find(m.options.begin(), m.options.end(), "bind") != m.options.end() ||
                std::find(m.options.begin(), m.options.end(), "rbind") != m.options.end();
    if (bind && !m.source.empty() && m.source[0] != '/') m.source = b.bundle + "/" + m.source;
  }
  return b;
}

}  // namespace onggi::runtime
