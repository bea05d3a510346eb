// Compose files in memory, for tests: load() without a disk.
#pragma once

#include <cerrno>
#include <map>
#include <string>

#include "stack/load.h"

namespace onggi::stack {

struct FakeFiles {
  std::map<std::string, std::string> files;  // absolute path -> text
  LoadRequest request;

  explicit FakeFiles(std::map<std::string, std::string> given) : files(std::move(given)) {
    request.current_directory = "/work/demo";
    request.environment = {{"HOME", "/users/u"}};
    request.read = [this](const std::string& path) -> Result<std::string> {
      auto found = files.find(path);
      if (found != files.end()) return found->second;
      return fail(Error::os("open", path, ENOENT));
    };
  }
  [[nodiscard]] Result<Project> load() const { return stack::load(request); }
};

}  // namespace onggi::stack
