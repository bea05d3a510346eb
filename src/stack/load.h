// From the command line's files to one project: reading, interpolation, checks, merge, extends, include,
// profiles, defaults.
//
// Order, per file: YAML; variables; the tables (unknown fields, types); canonical form; absolute paths;
// extends. Then the files are merged, included projects (each loaded by itself) are copied in, and what is
// left is made whole: names, the default network, implied dependencies, environment files. Nothing here
// touches the engine; files are read by LoadRequest::read, so that tests need no disk.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "stack/interpolate.h"
#include "stack/node.h"

namespace onggi::stack {

struct LoadRequest {
  std::vector<std::string>
      files;  // as given by -f; empty: $COMPOSE_FILE, then the usual names here or above. "-": standard input
  std::string project_directory;       // empty: of the first file
  std::string project_name;            // empty: $COMPOSE_PROJECT_NAME, `name:`, the directory's
  std::vector<std::string> env_files;  // empty: $COMPOSE_ENV_FILES, .env
  std::vector<std::string> profiles;   // with $COMPOSE_PROFILES; "*": all
  std::vector<std::string> services;   // named by the user: active whatever their profiles are
  bool interpolate = true;
  Environment environment;        // of this process
  std::string current_directory;  // absolute
  std::function<Result<std::string>(const std::string& path)> read;
};

struct Project {
  std::string name, directory;
  std::vector<std::string> files;  // absolute
  Environment environment;         // .env below the process's
  std::vector<std::string> profiles;
  Node root;                          // canonical; disabled services are left out
  std::vector<std::string> disabled;  // services whose profile is not active
  std::vector<std::string> all_profiles;
  std::vector<std::string> warnings;

  [[nodiscard]] const Node* service(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> service_names() const;  // sorted
};

Result<Project> load(const LoadRequest& request);
// From this process: its environment, directory, files.
LoadRequest request_of_process();
// The project's name alone (flags, environment, `name:`, directory), for commands that need no more.
std::string normal_name(std::string_view text);

}  // namespace onggi::stack
