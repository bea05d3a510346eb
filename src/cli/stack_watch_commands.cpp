// watch: what `develop.watch` of the file says to do when files change: sync them into the services'
// containers, restart, or both.
//
// One inotify descriptor watches each directory below the paths. Changes are gathered until nothing has
// changed for a moment, so that a save by rename, or a checkout of many files, is one step. Directories that
// appear are watched as they come.
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <map>
#include <memory>
#include <set>

#include "base/file.h"
#include "cli/command.h"
#include "cli/stack_report.h"
#include "engine/container_root.h"
#include "engine/copy.h"
#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "stack/canonical.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr int kQuietMs = 100;  // nothing has changed for so long: the step begins

const Options& watch_options() {
  static const Options kOptions = with_project_options(
      {{"no-up", 0, kSwitch, "", "Don't start the services before"},
       {"prune", 0, kSwitch, "", "", "files that are deleted here are deleted there, always"},
       {"quiet", 'q', kSwitch, "", "Say nothing but errors"}},
      true);
  return kOptions;
}

struct Rule {
  std::string service, path, action, target;
  std::vector<std::string> ignore, include;
  const stack::Node* exec = nullptr;
};

// Relative to the rule's path: "node_modules/", "*.tmp", "a/b".
bool fits(const std::string& relative, const std::string& pattern) {
  std::string p = pattern;
  while (p.ends_with("/")) p.pop_back();
  if (p.starts_with("./")) p.erase(0, 2);
  if (relative == p || relative.starts_with(p + "/")) return true;
  if (::fnmatch(p.c_str(), relative.c_str(), 0) == 0) return true;
  if (p.find('/') != std::string::npos) return false;
  // Without a slash: any component.
  for (size_t at = 0; at <= relative.size();) {
    size_t end = std::min(relative.find('/', at), relative.size());
    if (::fnmatch(p.c_str(), relative.substr(at, end - at).c_str(), 0) == 0) return true;
    at = end + 1;
  }
  return false;
}

bool wanted(const Rule& rule, const std::string& relative) {
  for (const auto& p : rule.ignore)
    if (fits(relative, p)) return false;
  for (const char* always : {".git", "*.swp", "*~", ".#*"})
    if (fits(relative, always)) return false;
  return rule.include.empty() || std::any_of(rule.include.begin(), rule.include.end(),
                                             [&](const auto& p) { return fits(relative, p); });
}

Result<std::vector<Rule>> rules_of(const stack::Project& project, const std::vector<std::string>& services) {
  std::vector<Rule> rules;
  for (const auto& name : project.service_names()) {
    if (!services.empty() && std::find(services.begin(), services.end(), name) == services.end()) continue;
    const stack::Node* develop = project.service(name)->get("develop");
    const stack::Node* list = develop ? develop->get("watch") : nullptr;
    if (!list) continue;
    for (const auto& w : list->items) {
      Rule r{name, w.text_of("path"), w.text_of("action"), w.text_of("target"), {}, {}, w.get("exec")};
      if (r.action == "rebuild")
        return fail(stack::error_at(w.mark,
                                    "services." + name +
                                        ".develop.watch: rebuild needs the builder, which is not built yet "
                                        "(sync, restart, sync+restart, sync+exec)",
                                    ErrorKind::kUnsupported));
      if (r.action.starts_with("sync") && (r.target.empty() || r.target[0] != '/'))
        return fail(stack::error_at(
            w.mark, "services." + name + ".develop.watch: " + r.action + " needs an absolute target"));
      if (r.action == "sync+exec" && !r.exec)
        return fail(stack::error_at(w.mark, "services." + name + ".develop.watch: sync+exec needs exec"));
      for (auto [field, out] : {std::pair{"ignore", &r.ignore}, std::pair{"include", &r.include}})
        if (const stack::Node* patterns = w.get(field))
          for (const auto& p : patterns->items) out->push_back(p.text);
      struct stat st;
      if (::stat(r.path.c_str(), &st) < 0)
        return fail(stack::error_at(w.mark, Error::os("watch", r.path).text()));
      rules.push_back(std::move(r));
    }
  }
  if (rules.empty()) return fail(Error::not_found("no service has a develop.watch section to follow"));
  return rules;
}

// Directories below the rules' paths, by their watch.
class Tree {
 public:
  static Result<Tree> open() {
    Tree t;
    t.fd_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!t.fd_) return fail(Error::os("watch", "files"));
    return t;
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

  // A file's directory is watched, since saves replace files.
  Result<> add(const std::string& path) {
    struct stat st;
    if (::stat(path.c_str(), &st) < 0) return {};
    if (!S_ISDIR(st.st_mode)) return one(path.substr(0, path.rfind('/')));
    TRY_VOID(one(path));
    std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
    while (dirent* e = dir ? ::readdir(dir.get()) : nullptr) {
      std::string name = e->d_name;
      if (name == "." || name == ".." || name == ".git") continue;
      std::string below = path + "/" + name;
      if (::lstat(below.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) TRY_VOID(add(below));
    }
    return {};
  }

  // Paths that changed; new directories are added, with what is in them already.
  Result<> take(std::set<std::string>& changed) {
    alignas(inotify_event) char buffer[16384];
    for (;;) {
      ssize_t n = ::read(fd_.get(), buffer, sizeof buffer);
      if (n <= 0) return {};
      for (char* at = buffer; at < buffer + n;) {
        auto* event = reinterpret_cast<inotify_event*>(at);
        at += sizeof *event + event->len;
        auto found = names_.find(event->wd);
        if (found == names_.end() || !event->len) continue;
        std::string path = found->second + "/" + event->name;
        changed.insert(path);
        if ((event->mask & IN_ISDIR) && (event->mask & (IN_CREATE | IN_MOVED_TO))) TRY_VOID(add(path));
      }
    }
  }

 private:
  Result<> one(const std::string& path) {
    int wd =
        ::inotify_add_watch(fd_.get(), path.c_str(),
                            IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB);
    if (wd < 0) return fail(Error::os("watch", path));
    names_[wd] = path;
    return {};
  }
  UniqueFd fd_;
  std::map<int, std::string> names_;
};

Result<> run_in(engine::Engine& engine, const std::string& id, engine::ExecRequest request) {
  auto started = TRY(engine::exec_in_container(engine, id, request));
  auto status = TRY(sys::wait_pidfd(started.process.get()));
  if (status.code() != 0)
    return fail(Error::busy("the command in the container ended with " + std::to_string(status.code())));
  return {};
}

// One changed path, to where it belongs in the container.
Result<> sync_one(engine::Engine& engine, const stack::Replica& r, const Rule& rule,
                  const std::string& path) {
  std::string relative = path == rule.path ? "" : path.substr(rule.path.size() + 1);
  std::string target = relative.empty() ? rule.target : rule.target + "/" + relative;
  struct stat st;
  UniqueFd null = TRY(open_at(AT_FDCWD, "/dev/null", O_WRONLY));
  if (::lstat(path.c_str(), &st) < 0)
    return run_in(engine, r.id, {.args = {"rm", "-rf", target}, .user = "0", .output = null.get()});
  bool directory = S_ISDIR(st.st_mode);
  auto make = [&](const std::string& what) {
    return run_in(engine, r.id, {.args = {"mkdir", "-p", what}, .user = "0", .output = null.get()});
  };
  auto copy = [&]() -> Result<> {
    engine::ContainerRoot root = TRY(engine::open_container_root(engine, r.id));
    return engine::copy_to_container(root, directory ? path + "/." : path, target, {});
  };
  if (directory) TRY_VOID(make(target));
  auto copied = copy();
  if (copied || directory) return copied;
  // The directory may not be there yet.
  TRY_VOID(make(target.substr(0, std::max<size_t>(target.rfind('/'), 1))));
  return copy();
}

Result<> apply_rule(engine::Engine& engine, const std::string& project, const Rule& rule,
                    const std::vector<std::string>& paths, const stack::Report& report) {
  for (const auto& r : TRY(stack::read_replicas(engine, project))) {
    if (r.service != rule.service || r.oneoff || r.status != "running") continue;
    if (rule.action.starts_with("sync"))
      for (const auto& path : paths)
        TRY_VOID_CTX(sync_one(engine, r, rule, path), "sync " + path + " to " + r.name);
    if (rule.action.ends_with("restart")) TRY_VOID(engine::restart_container(engine, r.id, {}));
    if (rule.exec) {
      engine::ExecRequest request;
      if (const stack::Node* command = rule.exec->get("command"))
        for (const auto& word : command->items) request.args.push_back(word.text);
      request.user = rule.exec->text_of("user");
      request.working_dir = rule.exec->text_of("working_dir");
      UniqueFd null = TRY(open_at(AT_FDCWD, "/dev/null", O_WRONLY));
      request.output = null.get();
      TRY_VOID_CTX(run_in(engine, r.id, std::move(request)), "exec in " + r.name);
    }
    if (report)
      report("Container", r.name,
             rule.action + " (" + std::to_string(paths.size()) + (paths.size() == 1 ? " path)" : " paths)"));
  }
  return {};
}

Result<int> command_watch(const Invocation& i) {
  stack::Project project = TRY(load_project(i, i.args.words()));
  auto rules = TRY(rules_of(project, i.args.words()));
  auto engine = TRY(i.engine());
  stack::Report report = reporter(i.args.flag("quiet"));
  if (!i.args.flag("no-up"))
    TRY_VOID(bring_up_services(*engine, project, i.args.words(), report, puller(*engine, false)));
  Tree tree = TRY(Tree::open());
  for (const auto& r : rules) TRY_VOID(tree.add(r.path));
  print_error("Watching " + std::to_string(rules.size()) + (rules.size() == 1 ? " path" : " paths") +
              " (Ctrl-C ends it; the services go on)");
  std::set<std::string> changed;
  for (;;) {
    pollfd fd = {tree.fd(), POLLIN, 0};
    if (::poll(&fd, 1, changed.empty() ? -1 : kQuietMs) < 0 && errno != EINTR)
      return fail(Error::os("watch", "files"));
    if (fd.revents) {
      TRY_VOID(tree.take(changed));
      continue;
    }
    for (const auto& rule : rules) {
      std::vector<std::string> paths;
      for (const auto& path : changed) {
        bool below = path == rule.path || path.starts_with(rule.path + "/");
        if (below && wanted(rule, path == rule.path ? "" : path.substr(rule.path.size() + 1)))
          paths.push_back(path);
      }
      if (paths.empty()) continue;
      if (auto done = apply_rule(*engine, project.name, rule, paths, report); !done)
        print_error("onggi: " + done.error().text());
    }
    changed.clear();
  }
}

}  // namespace

const std::vector<Command>& stack_watch_commands() {
  static const std::vector<Command> kCommands = {
      {"watch, stack watch, compose watch", "[SERVICE...]",
       "Follow files and sync them into services, or restart these, as develop.watch says", watch_options, 0,
       kAnyWords, false, command_watch}};
  return kCommands;
}

}  // namespace onggi::cli
