// Making a file system takes as long as starting a container, so it is made once per size
// (templates/ext4-SIZE) and its few dozen kilobytes that are not zero are copied for each container.
#include "engine/writable.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/scope.h"
#include "policy/container_profile.h"
#include "sys/loop.h"
#include "sys/mount.h"
#include "sys/path.h"
#include "sys/process.h"

namespace onggi::engine {

namespace {

constexpr int64_t kLeastBytes = 8 << 20;  // below this an ext4 has no room for anything but itself

int64_t size_of(const ContainerConfig& config) {
  return config.storage_size ? config.storage_size : static_cast<int64_t>(policy::kDefaultQuotaBytes);
}

std::string find_mkfs() {
  for (const char* path : {"/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"})
    if (::access(path, X_OK) == 0) return path;
  return {};
}

Result<> run_mkfs(const std::string& program, const std::string& file) {
  // No reserve for root, whom the container's root is not; metadata in one place, inode tables written when
  // used.
  const char* argv[] = {
      "mkfs.ext4",  "-q",
      "-F",         "-b",
      "4096",  // the loop device's: mkfs would take 1024 for a small disk, and no mount would accept it
      "-m",         "0",
      "-O",         "^resize_inode,sparse_super2",
      "-G",         "256",
      "-J",         "size=8",
      "-E",         "nodiscard,lazy_itable_init=1,lazy_journal_init=1",
      file.c_str(), nullptr};
  const char* small[] = {"mkfs.ext4", "-q", "-F",           "-b",         "4096", "-m",
                         "0",         "-O", "^has_journal", file.c_str(), nullptr};
  struct stat st;
  constexpr off_t kJournalFits = 64 << 20;
  bool tiny = ::stat(file.c_str(), &st) == 0 && st.st_size < kJournalFits;
  UniqueFd null = TRY(open_at(AT_FDCWD, "/dev/null", O_RDWR));
  sys::SpawnArgs args;
  args.exec_path = program.c_str();
  args.argv = tiny ? small : argv;
  args.envp = environ;
  for (int& fd : args.stdio) fd = null.get();
  sys::Spawned s = TRY(sys::spawn(args));
  int code = TRY(sys::wait_pidfd(s.pidfd.get())).code();
  if (code)
    return fail(
        Error(ErrorKind::kOs, program + " failed on " + file + " (code " + std::to_string(code) + ")"));
  return {};
}

Result<UniqueFd> template_of(Engine& engine, int64_t bytes) {
  std::string dir = engine.paths().root + "/templates", path = dir + "/ext4-" + std::to_string(bytes);
  if (auto fd = open_at(AT_FDCWD, path, O_RDONLY)) return fd;
  std::string mkfs = find_mkfs();
  if (mkfs.empty()) return fail(Error::unsupported("mkfs.ext4 is not installed (Debian: package e2fsprogs)"));
  if (::mkdir(dir.c_str(), 0700) < 0 && errno != EEXIST) return fail(Error::os("make the directory", dir));
  std::string fresh = path + ".tmp." + std::to_string(::getpid());
  ScopeExit tidy([&] { (void)::unlink(fresh.c_str()); });
  {
    UniqueFd file = TRY(open_at(AT_FDCWD, fresh, O_RDWR | O_CREAT | O_EXCL, 0600));
    if (::ftruncate(file.get(), bytes) < 0) return fail(Error::os("size the file", fresh));
  }
  TRY_VOID(run_mkfs(mkfs, fresh));
  if (::rename(fresh.c_str(), path.c_str()) < 0) return fail(Error::os("keep the template", path));
  return open_at(AT_FDCWD, path, O_RDONLY);
}

// Data only; what is a hole stays one.
Result<> copy_sparse(int from, int to) {
  struct stat st;
  if (::fstat(from, &st) < 0 || ::ftruncate(to, st.st_size) < 0)
    return fail(Error::os("size the container's disk", ""));
  for (off_t at = 0; (at = ::lseek(from, at, SEEK_DATA)) >= 0;) {
    off_t end = ::lseek(from, at, SEEK_HOLE);
    if (end < 0 || ::lseek(to, at, SEEK_SET) < 0) return fail(Error::os("copy the disk's template", ""));
    while (at < end)
      if (::sendfile(to, from, &at, static_cast<size_t>(end - at)) <= 0)
        return fail(Error::os("copy the disk's template", ""));
  }
  return {};
}

Result<> make_owned(int dir, const char* name, uint32_t owner) {
  if (::mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
    return fail(Error::os("make the writable layer", name));
  if (::fchownat(dir, name, owner, owner, AT_SYMLINK_NOFOLLOW) < 0)
    return fail(Error::os("give the writable layer to the container", name));
  return {};
}

Result<> make_disk(Engine& engine, int64_t bytes, int dir) {
  if (bytes < kLeastBytes)
    return fail(Error::invalid("--storage-opt size: " + std::to_string(bytes) +
                               " bytes are too few; the least is 8 MiB"));
  if (::access("/dev/loop-control", R_OK | W_OK) != 0)
    return fail(Error::unsupported("this host has no loop devices"));
  UniqueFd source = TRY(template_of(engine, bytes));
  UniqueFd disk = TRY(open_at(dir, "disk", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  return copy_sparse(source.get(), disk.get());
}

// While the container runs its disk is on the loop device that RUN remembers: mounting that again is the same
// file system, mounting the file anew would be a second, blind one.
Result<sys::LoopDevice> loop_of(Engine& engine, const ContainerConfig& config, int disk) {
  std::string note = engine.paths().live(config.id) + "/loop";
  struct stat st;
  if (::fstat(disk, &st) < 0) return fail(Error::os("inspect the disk of", config.name));
  if (auto text = read_file(note, 32))
    if (auto number = parse_u64(trim(*text), "loop"))
      if (auto device = sys::open_loop(static_cast<int>(*number), st.st_ino)) return device;
  sys::LoopDevice device = TRY(sys::attach_loop(disk));
  (void)::mkdir(engine.paths().live(config.id).c_str(), 0700);
  TRY_VOID(write_file(note, std::to_string(device.number), O_CREAT | O_TRUNC, 0600));
  return device;
}

Result<MountFd> mount_disk(Engine& engine, const ContainerConfig& config, int dir) {
  UniqueFd disk = TRY(open_at(dir, "disk", O_RDWR | O_NOFOLLOW));
  sys::LoopDevice device = TRY(loop_of(engine, config, disk.get()));
  // The tables are zero already (holes): a thread that writes zeros over them would fill the sparse file.
  return TRY_CTX(sys::mount_loop(device, "ext4", {"noinit_itable"}),
                 "mount the writable layer of " + config.name);
}

}  // namespace

Result<> make_writable(Engine& engine, const ContainerConfig& config, int dir, std::string& warning) {
  int64_t bytes = size_of(config);
  if (bytes > 0 && !engine.paths().rootless) {
    auto made = make_disk(engine, bytes, dir);
    if (made) return {};
    // Asked for, it is that or nothing; by default it is the best that can be had.
    if (config.storage_size > 0) return made;
    warning = "the writable layer has no bound: " + made.error().text();
    (void)::unlinkat(dir, "disk", 0);
  }
  return make_owned(dir, "upper", config.id_base);
}

Result<WritableLayer> open_writable(Engine& engine, const ContainerConfig& config, bool fresh_work) {
  std::string path = engine.paths().container(config.id);
  UniqueFd dir = TRY(open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
  WritableLayer layer;
  struct stat st;
  layer.bounded = ::fstatat(dir.get(), "disk", &st, AT_SYMLINK_NOFOLLOW) == 0;
  layer.mount =
      layer.bounded ? TRY(mount_disk(engine, config, dir.get())) : TRY(sys::clone_mount(path, false, true));
  UniqueFd top = TRY(open_at(layer.mount.get(), ".", O_RDONLY | O_DIRECTORY));
  if (layer.bounded) TRY_VOID(make_owned(top.get(), "upper", config.id_base));
  // A volatile overlay leaves a mark that forbids a second mount; only work has it, and work is scratch.
  if (fresh_work) {
    TRY_VOID(sys::remove_tree(top.get(), "work"));
    TRY_VOID(make_owned(top.get(), "work", config.id_base));
  }
  layer.upper = TRY(open_at(top.get(), "upper", O_PATH | O_DIRECTORY | O_NOFOLLOW));
  return layer;
}

Result<UniqueFd> open_upper(Engine& engine, const ContainerConfig& config, MountFd& holder) {
  WritableLayer layer = TRY(open_writable(engine, config, false));
  holder = std::move(layer.mount);
  return open_at(layer.upper.get(), ".", O_RDONLY | O_DIRECTORY);
}

}  // namespace onggi::engine
