#include "engine/paths.h"

#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>

#include "sys/process.h"

namespace onggi::engine {

namespace {

std::string environment(const char* name) {
  const char* value = ::getenv(name);
  return value ? value : "";
}

Result<> make_directory(const std::string& path, unsigned mode) {
  for (size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at);
    std::string part = path.substr(0, at);
    bool last = at == std::string::npos;
    if (::mkdir(part.c_str(), last ? mode : 0755) < 0 && errno != EEXIST)
      return fail(Error::os("make the directory", part));
    if (!last) at++;
  }
  return {};
}

std::string own_directory() {
  char path[PATH_MAX];
  ssize_t n = ::readlink("/proc/self/exe", path, sizeof path - 1);
  if (n <= 0) return "/usr/bin";
  std::string text(path, static_cast<size_t>(n));
  return text.substr(0, text.rfind('/'));
}

std::string first_that_exists(std::initializer_list<std::string> candidates) {
  for (const auto& path : candidates)
    if (::access(path.c_str(), X_OK) == 0) return path;
  return *(candidates.end() - 1);
}

}  // namespace

Result<Paths> find_paths(const PathOptions& options) {
  Paths paths;
  paths.rootless = sys::is_rootless();
  paths.root = options.root.empty() ? environment("ONGGI_ROOT") : options.root;
  paths.run = options.run.empty() ? environment("ONGGI_RUN") : options.run;
  std::string home = environment("HOME"), data = environment("XDG_DATA_HOME"),
              run = environment("XDG_RUNTIME_DIR");
  // Root of a user namespace inside a container is at home there; an ordinary user is at home in $HOME, also
  // when this is the engine's own second life in a namespace (it passes --root and --run then).
  bool user = ::geteuid() != 0;
  if (paths.root.empty())
    paths.root = !user ? "/var/lib/onggi" : (data.empty() ? home + "/.local/share" : data) + "/onggi";
  if (paths.run.empty())
    paths.run = !user ? "/run/onggi"
                      : (run.empty() ? "/tmp/onggi-run-" + std::to_string(::geteuid()) : run) + "/onggi";
  if (user && home.empty() && paths.root.empty()) return fail(Error::invalid("$HOME is not set"));
  for (const std::string* path : {&paths.root, &paths.run})
    if ((*path)[0] != '/')
      return fail(Error::invalid("the state directory must be an absolute path: '" + *path + "'"));
  // The directories made last tell that all are there.
  if (::access((paths.root + "/trash").c_str(), F_OK) != 0)
    for (const char* dir : {"", "/containers", "/names", "/ranges", "/volumes", "/images", "/trash"})
      TRY_VOID(make_directory(paths.root + dir, 0700));
  if (::access((paths.run + "/runtime").c_str(), F_OK) != 0)
    for (const char* dir : {"", "/containers", "/runtime"}) TRY_VOID(make_directory(paths.run + dir, 0700));
  std::string own = own_directory(), given = environment("ONGGI_RUNTIME");
  paths.runtime =
      given.empty() ? first_that_exists({own + "/onggi-runtime", "/usr/bin/onggi-runtime"}) : given;
  std::string libexec = first_that_exists({own + "/../libexec/onggi", "/usr/libexec/onggi"});
  paths.libexec = libexec;
  return paths;
}

}  // namespace onggi::engine
