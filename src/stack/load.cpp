#include "stack/load.h"

#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "stack/canonical.h"
#include "stack/complete.h"
#include "stack/merge.h"
#include "stack/schema.h"
#include "stack/yaml.h"

namespace onggi::stack {

namespace {

constexpr size_t kMaxFiles = 256;  // includes and extends of one project

std::string parent_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}
std::string absolute(const std::string& path, const std::string& directory) {
  return clean_path(path.starts_with('/') ? path : directory + "/" + path);
}

std::vector<std::string> split_list(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find(separator, at), text.size());
    if (end > at) parts.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

Error joined(const std::vector<Error>& problems) {
  std::string text;
  for (const auto& p : problems) text += (text.empty() ? "" : "\n") + p.text();
  return Error::invalid(text);
}

class Loader {
 public:
  Loader(const LoadRequest& request, Project& project) : request_(request), project_(project) {
    auto found = request.environment.find("HOME");
    home_ = found == request.environment.end() ? "/root" : found->second;
  }

  // One project (the user's, or an included one) from its files.
  Result<Node> files(const std::vector<std::string>& paths, const std::string& directory,
                     const Environment& environment, std::vector<std::string>& including) {
    Node root;
    for (const auto& path : paths) {
      Node file = TRY(one_file(path, directory, environment));
      TRY_VOID(extends_of(file, path, directory, environment));
      apply_first(root, file);
      TRY_VOID(merge_files(root, std::move(file)));
    }
    TRY_VOID(includes_of(root, directory, environment, including));
    return root;
  }

 private:
  static void apply_first(const Node& root, Node& file) {
    if (root.is_null()) apply_tags(file);
  }

  // Read, interpolated, checked, canonical, with absolute paths.
  Result<Node> one_file(const std::string& path, const std::string& directory,
                        const Environment& environment) {
    if (++files_read_ > kMaxFiles)
      return fail(Error::invalid(path + ": more than " + std::to_string(kMaxFiles) +
                                 " files by include and extends"));
    std::string text = TRY(request_.read(path));
    Node file = TRY(parse_yaml(text, shown(path)));
    if (request_.interpolate) {
      Lookup lookup = [&](std::string_view name) -> std::optional<std::string> {
        auto found = environment.find(name);
        return found == environment.end() ? std::nullopt : std::optional(found->second);
      };
      TRY_VOID(interpolate_tree(file, lookup, &unset_));
    }
    if (auto problems = check(file, file_type(), ""); !problems.empty()) return fail(joined(problems));
    if (file.find("version"))
      note(shown(path) + ": `version` is obsolete and has no effect; it can be removed");
    TRY_VOID(names_of(file));
    TRY_VOID(canonicalize(file));
    resolve_paths(file, directory, home_);
    return file;
  }

  // Keys that become parts of names.
  static Result<> names_of(const Node& file) {
    for (const char* section : {"services", "networks", "volumes", "secrets", "configs"}) {
      const Node* list = file.get(section);
      if (!list) continue;
      for (const auto& item : list->items) {
        bool ok = !item.key.empty() && item.key.size() <= 128;
        for (char c : item.key)
          ok &= ::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
        if (!ok && !item.key.starts_with("x-"))
          return fail(error_at(item.key_mark,
                               std::string(section) + ": '" + item.key + "' is no name ([a-zA-Z0-9._-]+)"));
      }
    }
    return {};
  }

  // --- extends ---

  Result<> extends_of(Node& file, const std::string& path, const std::string& directory,
                      const Environment& environment) {
    Node* services = file.find("services");
    if (!services || !services->is_map()) return {};
    std::vector<std::string> chain;
    for (size_t i = 0; i < services->items.size(); i++) {
      std::string name = services->items[i].key;
      TRY_VOID(extend(*services, name, path, directory, environment, chain));
    }
    return {};
  }

  Result<> extend(Node& services, const std::string& name, const std::string& path,
                  const std::string& directory, const Environment& environment,
                  std::vector<std::string>& chain) {
    Node* service = services.find(name);
    const Node* extends = service ? service->get("extends") : nullptr;
    if (!extends) return {};
    Mark mark = extends->mark;
    std::string here = path + "#" + name;
    if (std::find(chain.begin(), chain.end(), here) != chain.end())
      return fail(error_at(mark, "service " + name + " extends itself, by way of " +
                                     chain.back().substr(chain.back().find('#') + 1)));
    chain.push_back(here);
    std::string from = extends->text_of("service"), other_path = extends->text_of("file", path);
    Node base;
    if (other_path == path) {
      if (!services.find(from))
        return fail(error_at(mark, "service " + name + " extends '" + from + "', which is not in this file"));
      TRY_VOID(extend(services, from, path, directory, environment, chain));
      base = *services.find(from);
      service = services.find(name);
    } else {
      std::string other_directory = parent_of(other_path);
      auto other = one_file(other_path, other_directory, environment);
      if (!other)
        return fail(error_at(mark, "service " + name + " extends '" + from + "': " + other.error().text(),
                             other.error().kind()));
      Node* others = other->find("services");
      if (!others || !others->find(from))
        return fail(error_at(
            mark, "service " + name + " extends '" + from + "', which is not in " + shown(other_path)));
      TRY_VOID(extend(*others, from, other_path, other_directory, environment, chain));
      base = *others->find(from);
    }
    chain.pop_back();
    apply_tags(base);
    base.erase("extends");
    Node own = *service;
    own.erase("extends");
    if (!base.is_map()) base = Node::map(mark);
    TRY_VOID(merge_service(base, std::move(own)));
    base.key = name;
    base.key_mark = service->key_mark;
    *service = std::move(base);
    return {};
  }

  // --- include ---

  Result<> includes_of(Node& root, const std::string& directory, const Environment& environment,
                       std::vector<std::string>& including) {
    const Node* list = root.get("include");
    if (!list) return {};
    Node includes = *list;
    root.erase("include");
    for (const auto& include : includes.items)
      TRY_VOID(include_one(root, include, directory, environment, including));
    return {};
  }

  Result<> include_one(Node& root, const Node& include, const std::string& directory,
                       const Environment& environment, std::vector<std::string>& including) {
    std::vector<std::string> paths;
    if (const Node* list = include.get("path"))
      for (const auto& p : list->items) paths.push_back(absolute(p.text, directory));
    if (paths.empty()) return fail(error_at(include.mark, "include: a path is missing"));
    for (const auto& p : paths)
      if (std::find(including.begin(), including.end(), p) != including.end())
        return fail(error_at(include.mark, "include cycle: " + shown(p) + " includes itself, by way of " +
                                               shown(including.back())));
    std::string own = include.text_of("project_directory");
    own = own.empty() ? parent_of(paths[0]) : absolute(own, directory);
    Environment inner;
    std::vector<std::string> env_files;
    if (const Node* list = include.get("env_file"))
      for (const auto& p : list->items) env_files.push_back(absolute(p.text, directory));
    bool given = !env_files.empty();
    if (!given) env_files.push_back(own + "/.env");
    for (const auto& p : env_files)
      TRY_VOID_CTX(read_environment(p, !given, environment, inner), place(include.mark));
    for (const auto& [name, value] : environment) inner[name] = value;
    for (const auto& p : paths) including.push_back(p);
    auto other = files(paths, own, inner, including);
    if (!other) return fail(std::move(other).error().wrap(place(include.mark) + ": include"));
    including.resize(including.size() - paths.size());
    // The environment of its own files is resolved with its own variables.
    TRY_VOID(environment_of_services(*other, inner, request_.read));
    return import(root, std::move(*other), include);
  }

  static Result<> import(Node& root, Node other, const Node& include) {
    for (const char* section : {"services", "networks", "volumes", "secrets", "configs", "models"}) {
      Node* from = other.find(section);
      if (!from || !from->is_map()) continue;
      Node* to = root.find(section);
      if (!to || !to->is_map()) to = &root.set(section, Node::map(from->mark));
      for (auto& item : from->items) {
        if (const Node* old = to->find(item.key)) {
          if (same_value(*old, item)) continue;
          return fail(error_at(include.mark, "include: " + std::string(section) + "." + item.key +
                                                 " is defined here (" + place(old->key_mark) +
                                                 ") and in the included file (" + place(item.key_mark) +
                                                 "), differently"));
        }
        std::string key = item.key;
        to->set(key, std::move(item));
      }
    }
    return {};
  }

 public:
  Result<> read_environment(const std::string& path, bool optional, const Environment& outer,
                            Environment& out) {
    auto text = request_.read(path);
    if (!text) {
      if (optional && (text.error().os_errno() == ENOENT || text.error().os_errno() == ENOTDIR)) return {};
      return fail(std::move(text).error().wrap("read the environment file"));
    }
    Lookup lookup = [&](std::string_view name) -> std::optional<std::string> {
      if (auto it = outer.find(name); it != outer.end()) return it->second;
      if (auto it = out.find(name); it != out.end()) return it->second;
      return std::nullopt;
    };
    for (auto& [name, value] : TRY(parse_dotenv(*text, path, lookup))) out[name] = value;
    return {};
  }
  void finish() {
    for (const auto& name : unset_)
      project_.warnings.push_back("The \"" + name + "\" variable is not set. Defaulting to a blank string.");
  }

 private:
  void note(std::string text) { project_.warnings.push_back(std::move(text)); }
  [[nodiscard]] std::string shown(const std::string& path) const {
    const std::string& base = request_.current_directory;
    return base != "/" && path.starts_with(base + "/") ? path.substr(base.size() + 1) : path;
  }

  const LoadRequest& request_;
  Project& project_;
  std::string home_;
  size_t files_read_ = 0;
  std::set<std::string> unset_;
};

std::string variable(const Environment& environment, std::string_view name) {
  auto found = environment.find(name);
  return found == environment.end() ? "" : found->second;
}

// The usual names, with their override beside them.
Result<std::vector<std::string>> find_files(const LoadRequest& r) {
  for (std::string directory = r.current_directory;; directory = parent_of(directory)) {
    for (const char* name : {"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}) {
      std::string path = clean_path(directory + "/" + name);
      if (!r.read(path)) continue;
      std::vector<std::string> found = {path};
      for (const char* other : {"compose.override.yml", "compose.override.yaml",
                                "docker-compose.override.yml", "docker-compose.override.yaml"})
        if (std::string over = clean_path(directory + "/" + other); r.read(over)) {
          found.push_back(over);
          break;
        }
      return found;
    }
    if (directory == "/") break;
  }
  return fail(
      Error::not_found("no configuration file provided: not found (compose.yaml here or in a directory "
                       "above; or give one with -f)"));
}

Result<std::vector<std::string>> choose_files(const LoadRequest& r, const Environment& environment) {
  std::vector<std::string> files = r.files;
  if (files.empty()) {
    std::string separator = variable(environment, "COMPOSE_PATH_SEPARATOR");
    files = split_list(variable(environment, "COMPOSE_FILE"), separator.empty() ? ':' : separator[0]);
  }
  if (files.empty()) return find_files(r);
  for (auto& f : files)
    if (f != "-") f = absolute(f, r.current_directory);
  return files;
}

Result<> choose_name(const LoadRequest& r, Project& project) {
  std::string name = r.project_name;
  if (name.empty()) name = variable(project.environment, "COMPOSE_PROJECT_NAME");
  if (!name.empty() && name != normal_name(name))
    return fail(Error::invalid("invalid project name \"" + name +
                               "\": must consist only of lowercase alphanumeric characters, hyphens, and "
                               "underscores as well as start with a letter or number"));
  if (name.empty()) {
    if (const Node* given = project.root.get("name")) {
      name = given->text;
      if (name != normal_name(name))
        return fail(error_at(given->mark, "the project name '" + name +
                                              "' must consist of lowercase letters, digits, hyphens and "
                                              "underscores and start with a letter or digit"));
    }
  }
  if (name.empty()) name = normal_name(project.directory.substr(project.directory.rfind('/') + 1));
  if (name.empty())
    return fail(
        Error::invalid("project name must not be empty: the directory's name gives none; use -p NAME"));
  project.name = name;
  project.root.set("name", Node::string(name));
  return {};
}

}  // namespace

std::string normal_name(std::string_view text) {
  std::string out;
  for (char c : text) {
    c = static_cast<char>(::tolower(static_cast<unsigned char>(c)));
    bool ok = ::isalnum(static_cast<unsigned char>(c)) || (!out.empty() && (c == '_' || c == '-'));
    if (ok) out += c;
  }
  return out;
}

const Node* Project::service(std::string_view wanted) const {
  const Node* services = root.get("services");
  return services ? services->find(wanted) : nullptr;
}

std::vector<std::string> Project::service_names() const {
  std::vector<std::string> names;
  if (const Node* services = root.get("services"))
    for (const auto& s : services->items) names.push_back(s.key);
  std::sort(names.begin(), names.end());
  return names;
}

Result<Project> load(const LoadRequest& request) {
  Project project;
  Loader loader(request, project);
  // The files are looked for before .env is read, since that lies beside the first; $COMPOSE_FILE may also
  // stand in the .env here.
  Environment local;
  if (request.files.empty() && variable(request.environment, "COMPOSE_FILE").empty() &&
      request.env_files.empty()) {
    std::string base = request.project_directory.empty()
                           ? request.current_directory
                           : absolute(request.project_directory, request.current_directory);
    TRY_VOID(loader.read_environment(base + "/.env", true, request.environment, local));
  }
  for (const auto& [name, value] : request.environment) local[name] = value;
  project.files = TRY(choose_files(request, local));
  project.directory =
      !request.project_directory.empty()
          ? absolute(request.project_directory, request.current_directory)
          : (project.files[0] == "-" ? request.current_directory : parent_of(project.files[0]));
  std::vector<std::string> env_files = request.env_files;
  if (env_files.empty()) env_files = split_list(variable(request.environment, "COMPOSE_ENV_FILES"), ',');
  bool given = !env_files.empty();
  if (!given) env_files.push_back(project.directory + "/.env");
  for (const auto& path : env_files)
    TRY_VOID(loader.read_environment(absolute(path, request.current_directory), !given, request.environment,
                                     project.environment));
  for (const auto& [name, value] : request.environment) project.environment[name] = value;

  std::string early = request.project_name.empty() ? variable(project.environment, "COMPOSE_PROJECT_NAME")
                                                   : request.project_name;
  if (early.empty()) early = normal_name(project.directory.substr(project.directory.rfind('/') + 1));
  project.environment["COMPOSE_PROJECT_NAME"] = early;
  std::vector<std::string> including = project.files;
  project.root = TRY(loader.files(project.files, project.directory, project.environment, including));
  if (project.root.is_null()) project.root = Node::map();
  project.environment.erase("COMPOSE_PROJECT_NAME");
  if (auto it = request.environment.find("COMPOSE_PROJECT_NAME"); it != request.environment.end())
    project.environment["COMPOSE_PROJECT_NAME"] = it->second;
  TRY_VOID(choose_name(request, project));
  project.environment["COMPOSE_PROJECT_NAME"] = project.name;
  loader.finish();
  project.root.erase("version");
  project.profiles = request.profiles;
  for (auto& p : split_list(variable(project.environment, "COMPOSE_PROFILES"), ','))
    project.profiles.push_back(p);
  TRY_VOID(complete(project, request));
  return project;
}

LoadRequest request_of_process() {
  LoadRequest r;
  for (char** entry = environ; entry && *entry; entry++) {
    std::string_view text = *entry;
    size_t equals = text.find('=');
    if (equals != std::string_view::npos && equals)
      r.environment[std::string(text.substr(0, equals))] = text.substr(equals + 1);
  }
  char* here = ::getcwd(nullptr, 0);
  r.current_directory = here ? here : "/";
  ::free(here);
  r.read = [](const std::string& path) -> Result<std::string> {
    if (path == "-") return read_fd(STDIN_FILENO, "standard input", 4 << 20);
    return read_file(path, 4 << 20);
  };
  return r;
}

}  // namespace onggi::stack
