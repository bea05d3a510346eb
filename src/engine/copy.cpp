#include "engine/copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/file.h"
#include "engine/file_copy.h"
#include "sys/file_owner.h"
#include "sys/path.h"

namespace onggi::engine {

namespace {

// One side of a copy: paths of the host as they are, paths of a container inside its root.
struct Side {
  int root = -1;  // -1: the host

  [[nodiscard]] Result<UniqueFd> open(const std::string& path, int flags) const {
    return root < 0 ? open_at(AT_FDCWD, path.empty() ? "." : path, flags)
                    : sys::open_in_root(root, path, flags);
  }
};

struct SplitPath {
  std::string parent, name;  // name: "" for "/", "x/..", "." and the like: the path is a directory itself
  bool slash = false;        // ends with "/": must be a directory
  bool contents = false;     // ends with "/.": what is in it
};

SplitPath split(std::string path) {
  SplitPath s;
  s.contents = path == "." || path.ends_with("/.");
  s.slash = path.ends_with("/") || s.contents;
  while (path.size() > 1 && (path.ends_with("/") || path.ends_with("/."))) path.pop_back();
  size_t at = path.rfind('/');
  s.parent = at == std::string::npos ? "" : at == 0 ? "/" : path.substr(0, at);
  s.name = path.substr(at == std::string::npos ? 0 : at + 1);
  if (s.name == "." || s.name == "..") s.name.clear();
  return s;
}

struct Source {
  UniqueFd node;
  struct stat st = {};
  std::string name;  // what it is called in a directory that it is copied into
  bool contents = false;
};

Result<Source> open_source(const Side& side, const std::string& path, bool follow) {
  SplitPath s = split(path);
  Source source;
  source.name = s.name;
  source.contents = s.contents;
  // With a slash or a dot at the end it is what the path leads to; else a symlink is copied as one.
  if (follow || s.slash || s.name.empty()) {
    source.node = TRY(side.open(path, O_PATH));
  } else {
    UniqueFd parent = TRY(side.open(s.parent, O_PATH | O_DIRECTORY));
    source.node = TRY(open_node(parent.get(), s.name));
  }
  if (::fstatat(source.node.get(), "", &source.st, AT_EMPTY_PATH) < 0)
    return fail(Error::os("inspect", path));
  if (s.slash && !S_ISDIR(source.st.st_mode))
    return fail(Error::invalid("copy " + path + ": not a directory"));
  return source;
}

struct Target {
  UniqueFd directory;
  std::string name;  // "": the source's entries go into `directory` itself
};

// docker's table of what `path` means.
Result<Target> open_target(const Side& side, const std::string& path, const Source& source) {
  bool source_is_directory = S_ISDIR(source.st.st_mode);
  Target target;
  auto there = side.open(path, O_PATH);
  if (!there && there.error().os_errno() != ENOENT) return fail(there.error());
  SplitPath s = split(path);
  if (there) {
    struct stat st;
    if (::fstatat(there->get(), "", &st, AT_EMPTY_PATH) < 0) return fail(Error::os("inspect", path));
    if (S_ISDIR(st.st_mode)) {
      target.directory = std::move(*there);
      if (!source_is_directory || !source.contents) target.name = source.name;
      return target;
    }
    if (source_is_directory) return fail(Error::invalid("cannot copy a directory to the file " + path));
    if (s.slash) return fail(Error::invalid("copy to " + path + ": not a directory"));
  } else if (s.slash && !source_is_directory) {
    return fail(Error::not_found("copy to " + path + ": the destination directory must exist"));
  }
  target.directory = TRY_CTX(side.open(s.parent, O_PATH | O_DIRECTORY), "copy to " + path);
  target.name = s.name;
  return target;
}

Result<> transfer(const Source& source, const Target& target, CopyContext& context) {
  // An O_PATH directory is enough for the *at calls.
  if (target.name.empty()) {
    if (!S_ISDIR(source.st.st_mode))
      return fail(Error::invalid("copy " + context.path + ": the target has no name"));
    return copy_entries(source.node.get(), target.directory.get(), context);
  }
  return copy_node(source.node.get(), target.directory.get(), target.name, context);
}

IdMap always(uint32_t id) {
  return [id](uint32_t) { return id; };
}

// A stopped container's volumes are not mounted: writing below their mount points would be lost.
Result<> check_mounts(const ContainerRoot& c, const std::string& path) {
  if (c.running) return {};
  std::string whole = path.starts_with("/") ? path : "/" + path;
  for (const auto& m : c.config.mounts)
    if (whole == m.target || whole.starts_with(m.target + "/"))
      return fail(Error::busy("copy " + path + ": container " + c.config.name + " does not run, so its " +
                              m.type + " at " + m.target + " is not mounted; start it first"));
  return {};
}

CopyContext inward(const ContainerRoot& c, bool archive, const std::string& path) {
  CopyContext context;
  IdMap map = archive ? IdMap([&c](uint32_t id) { return c.outside(id); }) : always(c.outside(0));
  context.uid = context.gid = map;
  context.path = path;
  return context;
}

Result<sys::FileOwner> as_container_root(const ContainerRoot& c) {
  return sys::FileOwner::become(c.outside(0), c.outside(0));
}

}  // namespace

Result<> copy_from_container(const ContainerRoot& c, const std::string& from, const std::string& to,
                             const CopyOptions& options) {
  TRY_VOID(check_mounts(c, from));
  Source source = TRY_CTX(open_source(Side{c.root.get()}, from, options.follow), c.config.name + ":" + from);
  Target target = TRY(open_target(Side{}, to, source));
  CopyContext context;
  context.path = from;
  context.uid = options.archive ? IdMap([&c](uint32_t id) { return c.inside(id); }) : always(::geteuid());
  context.gid = options.archive ? context.uid : always(::getegid());
  return transfer(source, target, context);
}

Result<> copy_to_container(const ContainerRoot& c, const std::string& from, const std::string& to,
                           const CopyOptions& options) {
  TRY_VOID(check_mounts(c, to));
  Source source = TRY(open_source(Side{}, from, options.follow));
  Target target = TRY_CTX(open_target(Side{c.root.get()}, to, source), c.config.name + ":" + to);
  CopyContext context = inward(c, options.archive, from);
  sys::FileOwner owner = TRY(as_container_root(c));
  return transfer(source, target, context);
}

Result<> archive_from_container(const ContainerRoot& c, const std::string& from, int out,
                                const CopyOptions& options) {
  TRY_VOID(check_mounts(c, from));
  Source source = TRY_CTX(open_source(Side{c.root.get()}, from, options.follow), c.config.name + ":" + from);
  CopyContext context;
  context.uid = context.gid = [&c](uint32_t id) { return c.inside(id); };
  TarWriter tar(out);
  if (source.name.empty() || source.contents)
    TRY_VOID(archive_entries(source.node.get(), "", tar, context));
  else
    TRY_VOID(archive_node(source.node.get(), source.name, tar, context));
  return tar.finish();
}

namespace {

// "./a//b/" -> "a/b"; ".." is refused, an absolute name is taken as relative.
Result<std::string> clean_name(const std::string& name) {
  std::string out;
  for (size_t at = 0; at <= name.size();) {
    size_t end = std::min(name.find('/', at), name.size());
    std::string part = name.substr(at, end - at);
    at = end + 1;
    if (part == "..") return fail(Error::invalid("the archive has an entry with '..' in its name: " + name));
    if (!part.empty() && part != ".") out += (out.empty() ? "" : "/") + part;
  }
  return out;
}

struct Unpacking {
  const ContainerRoot& container;
  std::string base;  // in the container
  CopyContext context;

  [[nodiscard]] Result<UniqueFd> parent_of(const std::string& name) const {
    size_t slash = name.rfind('/');
    std::string parent = base + "/" + (slash == std::string::npos ? "" : name.substr(0, slash));
    uint32_t id = container.outside(0);
    return sys::make_directories_in_root(container.root.get(), parent, 0755, id, id);
  }
  static std::string last_of(const std::string& name) { return name.substr(name.rfind('/') + 1); }

  Result<> hard_link(const std::string& name, const std::string& link) const {
    std::string target = TRY(clean_name(link));
    if (target.empty()) return fail(Error::invalid("the archive has a hard link to nothing: " + name));
    UniqueFd from = TRY(parent_of(target)), to = TRY(parent_of(name));
    (void)::unlinkat(to.get(), last_of(name).c_str(), 0);
    if (::linkat(from.get(), last_of(target).c_str(), to.get(), last_of(name).c_str(), 0) < 0)
      return fail(Error::os("make the hard link", name));
    return {};
  }

  Result<> one(TarReader& tar, const FileEntry& e) const {
    std::string name = TRY(clean_name(e.path));
    if (name.empty()) return {};  // "./": the directory itself stays as it is
    if (e.hard_link) return hard_link(name, e.link);
    UniqueFd parent = TRY(parent_of(name));
    return extract_entry(tar, e, parent.get(), last_of(name), context);
  }
};

}  // namespace

Result<> archive_to_container(const ContainerRoot& c, int in, const std::string& to,
                              const CopyOptions& options) {
  TRY_VOID(check_mounts(c, to));
  TRY_CTX(sys::open_in_root(c.root.get(), to, O_PATH | O_DIRECTORY),
          "unpack into " + c.config.name + ":" + to);
  Unpacking unpacking{c, to, inward(c, options.archive, to)};
  sys::FileOwner owner = TRY(as_container_root(c));
  TarReader tar(in);
  while (auto entry = TRY(tar.next())) TRY_VOID(unpacking.one(tar, *entry));
  return {};
}

Result<> export_container(const ContainerRoot& c, int out) {
  CopyContext context;
  context.uid = context.gid = [&c](uint32_t id) { return c.inside(id); };
  struct statx sx;
  if (::statx(c.root.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &sx) == 0 && (sx.stx_mask & STATX_MNT_ID))
    context.mount = sx.stx_mnt_id;
  TarWriter tar(out);
  TRY_VOID(archive_entries(c.root.get(), "", tar, context));
  return tar.finish();
}

}  // namespace onggi::engine
