#include "runtime/helper_program.h"

#include <unistd.h>

#include <vector>

namespace onggi::runtime {

Result<std::string> find_helper(const std::string& name, const std::string& user,
                                const std::string& otherwise) {
  std::string tried;
  char self[4096];
  ssize_t n = ::readlink("/proc/self/exe", self, sizeof self);
  std::vector<std::string> candidates;
  if (n > 0 && static_cast<size_t>(n) < sizeof self) {
    std::string directory(self, static_cast<size_t>(n));
    directory.resize(directory.rfind('/'));
    // Asked by another helper: its own directory.
    bool helper = directory.ends_with("/libexec/onggi");
    candidates.push_back(directory + (helper ? "/" : "/../libexec/onggi/") + name);
  }
  for (const char* prefix : {"/usr/local", "/usr"})
    candidates.push_back(std::string(prefix) + "/libexec/onggi/" + name);
  for (const std::string& path : candidates) {
    if (::access(path.c_str(), X_OK) == 0) return path;
    tried += (tried.empty() ? "'" : ", '") + path + "'";
  }
  return fail(Error::not_found(user + " needs the program " + name + ", which is at none of " + tried +
                               "; install it" + (otherwise.empty() ? "" : ", " + otherwise)));
}

}  // namespace onggi::runtime
