#include "cli/stack_project.h"

#include <unistd.h>

namespace onggi::cli {

namespace {

constexpr auto kValue = OptionKind::kValue;
constexpr auto kList = OptionKind::kList;

// Given after the command or before it; lists are joined.
std::vector<std::string> all_of(const Invocation& i, const char* name) {
  std::vector<std::string> values = i.global.all(name);
  for (auto& v : i.args.all(name)) values.push_back(v);
  return values;
}
std::string one_of(const Invocation& i, const char* name) {
  if (auto value = i.args.find(name)) return *value;
  return i.global.get(name);
}

stack::LoadRequest request_of(const Invocation& i) {
  stack::LoadRequest request = stack::request_of_process();
  request.files = all_of(i, "file");
  request.project_name = one_of(i, "project-name");
  request.project_directory = one_of(i, "project-directory");
  request.env_files = all_of(i, "env-file");
  request.profiles = all_of(i, "profile");
  return request;
}

}  // namespace

Options project_options(bool letters) {
  char f = letters ? 'f' : '\0', p = letters ? 'p' : '\0';
  return {
      {"file", f, kList, "file", "Compose files of a stack (default: compose.yaml here or above)", "",
       "file"},
      {"project-name", p, kValue, "name",
       "Name of the stack (default: `name:` in the file, or its directory's)"},
      {"project-directory", 0, kValue, "dir", "Where relative paths of the Compose file begin", "", "file"},
      {"env-file", 0, kList, "file", "Files of variables, instead of .env", "", "file"},
      {"profile", 0, kList, "name", "Profiles to enable (\"*\": all)"}};
}

Options with_project_options(Options own, bool letters) {
  for (auto& o : project_options(letters)) own.push_back(o);
  return own;
}

Result<stack::Project> load_project(const Invocation& i, const std::vector<std::string>& services,
                                    bool interpolate) {
  stack::LoadRequest request = request_of(i);
  request.services = services;
  request.interpolate = interpolate;
  auto project = stack::load(request);
  if (project)
    for (const auto& warning : project->warnings) print_error("WARNING: " + warning);
  return project;
}

Result<std::string> project_name(const Invocation& i) {
  std::string name = one_of(i, "project-name");
  if (const char* variable = ::getenv("COMPOSE_PROJECT_NAME"); name.empty() && variable) name = variable;
  if (!name.empty() && name == stack::normal_name(name)) return name;
  stack::LoadRequest request = request_of(i);
  request.profiles = {"*"};
  return TRY(stack::load(request)).name;
}

bool names_service(const Invocation& i, const std::string& word) {
  bool asked = i.global.has("file") || i.global.has("project-name") || ::getenv("COMPOSE_FILE");
  bool here = asked;
  for (const char* name : {"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"})
    here = here || ::access(name, R_OK) == 0;
  if (!here) return false;
  stack::LoadRequest request = request_of(i);
  request.profiles = {"*"};
  auto project = stack::load(request);
  return project && project->service(word);
}

}  // namespace onggi::cli
