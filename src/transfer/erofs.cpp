#include "transfer/erofs.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>

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

}  // namespace

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
