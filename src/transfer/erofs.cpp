#include "transfer/erofs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "base/file.h"
#include "sys/confine.h"
#include "sys/landlock.h"
#include "sys/process.h"
#include "transfer/unpack_client.h"

namespace onggi::transfer {

namespace {

struct Output {
  std::string text;
  int code = 0;
};

// Standard output and error of a program.
Result<Output> run(const std::string& program, const std::vector<std::string>& words, const int* inherit,
                   int count) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return fail(Error::os("make a pipe", ""));
  UniqueFd read_end(ends[0]), write_end(ends[1]), null = TRY(open_at(AT_FDCWD, "/dev/null", O_RDONLY));
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  argv.push_back(nullptr);
  const char* const envp[] = {"PATH=/usr/sbin:/usr/bin", nullptr};
  sys::SpawnArgs args;
  args.exec_path = program.c_str();
  args.argv = argv.data();
  args.envp = envp;
  args.inherit = inherit;
  args.inherit_count = count;
  args.stdio[0] = null.get();
  args.stdio[1] = args.stdio[2] = write_end.get();
  sys::Spawned child = TRY(spawn_alone(args));
  write_end.reset();
  Output out;
  auto text = read_fd(read_end.get(), program, 1 << 20);
  out.code = TRY(sys::wait_pidfd(child.pidfd.get())).code();
  if (text) out.text = trim(*text);
  return out;
}

Result<std::string> look_for_mkfs() {
  const char* given = ::getenv("ONGGI_MKFS_EROFS");
  for (std::string path : {std::string(given ? given : ""), std::string("/usr/bin/mkfs.erofs"),
                           std::string("/usr/sbin/mkfs.erofs"), std::string("/usr/local/bin/mkfs.erofs")}) {
    if (path.empty() || ::access(path.c_str(), X_OK) != 0) continue;
    Output help = TRY(run(path, {"mkfs.erofs", "--help"}, nullptr, 0));
    if (help.text.find("--tar=") != std::string::npos) return path;
    return fail(Error::unsupported(path + " is too old: it has no --tar (erofs-utils 1.8 has, Debian 13)"));
  }
  return fail(Error::unsupported("mkfs.erofs is not installed (Debian 13: package erofs-utils)"));
}

struct Closer {
  void operator()(DIR* d) const { ::closedir(d); }
};

class TreeCount {
 public:
  uint64_t entries = 0, bytes = 0;

  Result<> directory(UniqueFd fd, int depth) {
    constexpr int kDeepest = 2100;  // more levels than a path of the scan can have
    if (depth > kDeepest) return fail(Error::invalid("its index is too deep"));
    std::string place = "/proc/self/fd/" + std::to_string(fd.get()) + "/";
    int at = fd.get();
    std::unique_ptr<DIR, Closer> dir(::fdopendir(at));
    if (!dir) return fail(Error::os("read its index", ""));
    (void)fd.release();
    TRY_VOID(attributes(place + "."));
    while (dirent* e = ::readdir(dir.get())) {
      std::string name = e->d_name;
      if (name == "." || name == "..") continue;
      struct stat st;
      if (::fstatat(at, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(Error::os("read its index", name));
      entries++;
      if (S_ISDIR(st.st_mode)) {
        TRY_VOID(directory(TRY(open_at(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)), depth + 1));
        continue;
      }
      if (S_ISREG(st.st_mode) && (st.st_nlink == 1 || linked_.insert(st.st_ino).second))
        bytes += static_cast<uint64_t>(st.st_size);
      TRY_VOID(attributes(place + name));
    }
    return {};
  }

 private:
  static Result<> attributes(const std::string& path) {
    char names[4096], value[8];
    ssize_t n = ::llistxattr(path.c_str(), names, sizeof names);
    if (n < 0) return fail(Error::os("read the attributes in its index", ""));
    for (const char* name = names; name < names + n; name += strlen(name) + 1) {
      std::string_view key = name;
      if (key.starts_with("user.") ? !key.starts_with("user.overlay.") : key == "security.capability")
        continue;
      ssize_t size = ::lgetxattr(path.c_str(), name, value, sizeof value);
      bool ours = (key == "trusted.overlay.opaque" && size == 1 && value[0] == 'y') ||
                  (key == "trusted.overlay.origin" && size == 0);
      if (!ours) return fail(Error::invalid("its index has the attribute " + std::string(key)));
    }
    return {};
  }
  std::unordered_set<ino_t> linked_;
};

}  // namespace

Result<> compare_tree(int mount, uint64_t entries, uint64_t bytes) {
  TreeCount count;
  TRY_VOID(count.directory(TRY(open_at(mount, ".", O_RDONLY | O_DIRECTORY)), 0));
  if (count.entries == entries && count.bytes == bytes) return {};
  return fail(Error::invalid("its index shows " + std::to_string(count.entries) + " entries of " +
                             std::to_string(count.bytes) + " bytes, its tar has " + std::to_string(entries) +
                             " of " + std::to_string(bytes)));
}

Result<std::string> find_mkfs_erofs() {
  static std::mutex mutex;
  static std::string found;
  std::lock_guard guard(mutex);
  if (found.empty()) found = TRY(look_for_mkfs());
  return found;
}

Result<> make_erofs_index(int directory, int user_namespace) {
  std::string program = TRY(find_mkfs_erofs());
  const int inherit[] = {directory, user_namespace};
  Output out = TRY(run(TRY(unpacker_path()),
                       {"onggi-unpack", "index", std::to_string(::getpid()), std::to_string(directory),
                        std::to_string(user_namespace), program},
                       inherit, user_namespace >= 0 ? 2 : 1));
  struct stat st;
  if (out.code == 0 && ::fstatat(directory, "layer.erofs", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISREG(st.st_mode) && st.st_size > 0)
    return {};
  return fail(Error(ErrorKind::kOs, "make the index of a layer: mkfs.erofs ended with code " +
                                        std::to_string(out.code) + ": " + out.text.substr(0, 500)));
}

Result<> become_mkfs_erofs(int parent, int directory, int user_namespace, const std::string& program) {
  constexpr rlim_t kMemory = 4ull << 30, kSeconds = 600;
  rlimit memory = {kMemory, kMemory}, core = {0, 0}, time = {kSeconds, kSeconds};
  if (::setrlimit(RLIMIT_AS, &memory) < 0 || ::setrlimit(RLIMIT_CORE, &core) < 0 ||
      ::setrlimit(RLIMIT_CPU, &time) < 0)
    return fail(Error::os("limit mkfs.erofs", ""));
  UniqueFd usr = TRY(open_at(AT_FDCWD, "/usr", O_PATH | O_DIRECTORY));
  UniqueFd own = TRY(open_at(AT_FDCWD, program.substr(0, program.rfind('/')), O_PATH | O_DIRECTORY));
  if (::fchdir(directory) < 0) return fail(Error::os("enter", "the layer's directory"));
  TRY_VOID(sys::follow_parent(parent));
  if (user_namespace >= 0) {
    TRY_VOID(sys::enter_user_namespace(user_namespace));
    TRY_VOID(sys::follow_parent(parent));
  }
  TRY_VOID(sys::keep_capabilities(0));
  TRY(sys::restrict_to_directories({directory}, {usr.get(), own.get()}));
  ::umask(077);
  // --aufs: whiteouts in overlay's form. Times are those of the entries.
  const char* argv[] = {"mkfs.erofs", "--quiet", "--tar=i", "--aufs", "layer.erofs", "layer.tar", nullptr};
  const char* envp[] = {"PATH=/usr/bin", nullptr};
  ::execve(program.c_str(), const_cast<char**>(argv), const_cast<char**>(envp));
  return fail(Error::os("execute", program));
}

}  // namespace onggi::transfer
