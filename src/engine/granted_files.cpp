#include "engine/granted_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/tree.h"

namespace onggi::engine {

namespace {

Result<UniqueFd> directory_for_files(int parent, const std::string& shown) {
  if (::mkdirat(parent, "files", 0700) < 0 && errno != EEXIST)
    return fail(Error::os("make the directory", shown + "/files"));
  return open_at(parent, "files", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

}  // namespace

Result<> keep_granted_files(int dir, const std::vector<std::string>& contents) {
  if (contents.empty()) return {};
  UniqueFd files = TRY(directory_for_files(dir, "the container's directory"));
  for (size_t i = 0; i < contents.size(); i++)
    TRY_VOID(write_file_at(files.get(), std::to_string(i), contents[i], O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  return {};
}

Result<> lay_out_granted_files(const Paths& paths, const ContainerConfig& config, SpecInputs& inputs) {
  if (config.files.empty()) return {};
  std::string live = paths.live(config.id);
  UniqueFd from = TRY(open_at(AT_FDCWD, paths.container(config.id) + "/files", O_RDONLY | O_DIRECTORY));
  UniqueFd run = TRY(open_at(AT_FDCWD, live, O_RDONLY | O_DIRECTORY));
  UniqueFd to = TRY(directory_for_files(run.get(), live));
  uint32_t base = config.security.host_userns ? 0 : config.id_base;
  inputs.granted.reserve(config.files.size());
  for (size_t i = 0; i < config.files.size(); i++) {
    const FileConfig& f = config.files[i];
    std::string name = std::to_string(i);
    (void)::unlinkat(to.get(), name.c_str(), 0);  // of the last run
    TRY_VOID_CTX(write_file_at(to.get(), name, TRY(read_file_at(from.get(), name)),
                               O_CREAT | O_EXCL | O_NOFOLLOW, 0600),
                 "lay out " + f.target);
    if (::fchownat(to.get(), name.c_str(), base + f.uid, base + f.gid, AT_SYMLINK_NOFOLLOW) < 0)
      return fail(Error::os("give the file to its owner in the container", f.target));
    if (::fchmodat(to.get(), name.c_str(), f.mode & 0777, 0) < 0)
      return fail(Error::os("set the mode of", f.target));
    MountConfig& m = inputs.granted.emplace_back();
    m.type = "file";
    m.target = f.target;
    m.read_only = true;
    m.ids = "identity";  // the copy's owner is the container's already
    m.recursive = false;
    m.options = {"noexec"};
    ResolvedMount r;
    r.config = &m;
    r.source = live + "/files/" + name;
    inputs.mounts.push_back(std::move(r));
  }
  return {};
}

}  // namespace onggi::engine
