// Making a file system takes as long as starting a container, so it is made once per size
// (templates/ext4-SIZE) and its few dozen kilobytes that are not zero are copied for each disk.
#include "engine/disk.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/scope.h"
#include "sys/loop.h"
#include "sys/process.h"

namespace onggi::engine {

namespace {

std::string find_mkfs() {
  for (const char* path : {"/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"})
    if (::access(path, X_OK) == 0) return path;
  return {};
}

std::vector<const char*> mkfs_words(const DiskSize& size) {
  // No reserve for root, whom the container's root is not; blocks of the loop device's size, since mkfs would
  // take 1024 for a small disk, and no mount would accept it.
  std::vector<const char*> words = {"mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0"};
  constexpr int64_t kJournalFits = 64 << 20;
  if (size.bytes >= kJournalFits)  // metadata in one place, inode tables written when used
    words.insert(words.end(), {"-O", "^resize_inode,sparse_super2", "-G", "256", "-J", "size=8", "-E",
                               "nodiscard,lazy_itable_init=1,lazy_journal_init=1"});
  else if (size.durable)
    words.insert(words.end(), {"-J", "size=4"});
  else
    words.insert(words.end(), {"-O", "^has_journal"});
  return words;
}

Result<> run_mkfs(const std::string& program, const DiskSize& size, const std::string& file) {
  std::vector<const char*> argv = mkfs_words(size);
  argv.insert(argv.end(), {file.c_str(), nullptr});
  UniqueFd null = TRY(open_at(AT_FDCWD, "/dev/null", O_RDWR));
  sys::SpawnArgs args;
  args.exec_path = program.c_str();
  args.argv = argv.data();
  args.envp = environ;
  for (int& fd : args.stdio) fd = null.get();
  sys::Spawned s = TRY(sys::spawn(args));
  int code = TRY(sys::wait_pidfd(s.pidfd.get())).code();
  if (code)
    return fail(
        Error(ErrorKind::kOs, program + " failed on " + file + " (code " + std::to_string(code) + ")"));
  return {};
}

Result<UniqueFd> template_of(Engine& engine, const DiskSize& size) {
  std::string dir = engine.paths().root + "/templates",
              path = dir + (size.durable ? "/volume-" : "/ext4-") + std::to_string(size.bytes);
  if (auto fd = open_at(AT_FDCWD, path, O_RDONLY)) return fd;
  std::string mkfs = find_mkfs();
  if (mkfs.empty()) return fail(Error::unsupported("mkfs.ext4 is not installed (Debian: package e2fsprogs)"));
  if (::mkdir(dir.c_str(), 0700) < 0 && errno != EEXIST) return fail(Error::os("make the directory", dir));
  std::string fresh = path + ".tmp." + std::to_string(::getpid());
  ScopeExit tidy([&] { (void)::unlink(fresh.c_str()); });
  {
    UniqueFd file = TRY(open_at(AT_FDCWD, fresh, O_RDWR | O_CREAT | O_EXCL, 0600));
    if (::ftruncate(file.get(), size.bytes) < 0) return fail(Error::os("size the file", fresh));
  }
  TRY_VOID(run_mkfs(mkfs, size, fresh));
  if (::rename(fresh.c_str(), path.c_str()) < 0) return fail(Error::os("keep the template", path));
  return open_at(AT_FDCWD, path, O_RDONLY);
}

// Data only; what is a hole stays one.
Result<> copy_sparse(int from, int to) {
  struct stat st;
  if (::fstat(from, &st) < 0 || ::ftruncate(to, st.st_size) < 0) return fail(Error::os("size the disk", ""));
  for (off_t at = 0; (at = ::lseek(from, at, SEEK_DATA)) >= 0;) {
    off_t end = ::lseek(from, at, SEEK_HOLE);
    if (end < 0 || ::lseek(to, at, SEEK_SET) < 0) return fail(Error::os("copy the disk's template", ""));
    while (at < end)
      if (::sendfile(to, from, &at, static_cast<size_t>(end - at)) <= 0)
        return fail(Error::os("copy the disk's template", ""));
  }
  return {};
}

Result<sys::LoopDevice> loop_of(int disk, const std::string& note) {
  struct stat st;
  if (::fstat(disk, &st) < 0) return fail(Error::os("inspect the disk", ""));
  if (auto text = read_file(note, 32))
    if (auto number = parse_u64(trim(*text), "loop"))
      if (auto device = sys::open_loop(static_cast<int>(*number), st.st_ino)) return device;
  sys::LoopDevice device = TRY(sys::attach_loop(disk));
  TRY_VOID(write_file(note, std::to_string(device.number), O_CREAT | O_TRUNC, 0600));
  return device;
}

}  // namespace

Result<> make_disk(Engine& engine, DiskSize size, int dir) {
  if (::access("/dev/loop-control", R_OK | W_OK) != 0)
    return fail(Error::unsupported("this host has no loop devices"));
  UniqueFd source = TRY(template_of(engine, size));
  UniqueFd disk = TRY(open_at(dir, "disk", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  return copy_sparse(source.get(), disk.get());
}

Result<MountFd> mount_disk(int dir, const std::string& note) {
  UniqueFd disk = TRY(open_at(dir, "disk", O_RDWR | O_NOFOLLOW));
  sys::LoopDevice device = TRY(loop_of(disk.get(), note));
  // The tables are zero already (holes): a thread that writes zeros over them would fill the sparse file.
  return sys::mount_loop(device, "ext4", {"noinit_itable"});
}

}  // namespace onggi::engine
