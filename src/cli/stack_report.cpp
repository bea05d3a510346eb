#include "cli/stack_report.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "cli/image_worker.h"
#include "sys/worker.h"

namespace onggi::cli {

stack::Report reporter(bool quiet) {
  if (quiet) return {};
  return [](const std::string& kind, const std::string& name, const std::string& what) {
    print_error(" " + kind + " " + name + "  " + what);
  };
}

stack::Pull puller(engine::Engine& engine, bool quiet) {
  return [&engine, quiet](const std::string& reference, const std::string& platform) -> Result<> {
    TRY(pull_image(engine, reference, {.platform = platform, .quiet = quiet}));
    return {};
  };
}

Result<StackView> view_stack(const Invocation& i, const std::vector<std::string>& services, bool oneoff) {
  StackView v;
  v.engine = TRY(i.engine());
  auto project = load_project(i);
  if (project) {
    v.name = project->name;
    v.project = std::move(*project);
  } else {
    // Without a file (it may have been moved), the name is enough.
    bool named =
        i.args.has("project-name") || i.global.has("project-name") || ::getenv("COMPOSE_PROJECT_NAME");
    if (!named) return fail(std::move(project).error());
    v.name = TRY(project_name(i));
  }
  for (auto& r : TRY(stack::read_replicas(*v.engine, v.name))) {
    bool wanted =
        services.empty() || std::find(services.begin(), services.end(), r.service) != services.end();
    if (wanted && (oneoff || !r.oneoff)) v.replicas.push_back(std::move(r));
  }
  for (const auto& s : services) {
    bool known = v.project && v.project->service(s);
    if (v.project)
      known = known || std::find(v.project->disabled.begin(), v.project->disabled.end(), s) !=
                           v.project->disabled.end();
    known = known ||
            std::any_of(v.replicas.begin(), v.replicas.end(), [&](const auto& r) { return r.service == s; });
    if (!known) return fail(Error::not_found("no such service: " + s));
  }
  return v;
}

Result<stack::Replica> one_replica(const Invocation& i, engine::Engine& engine, const std::string& service,
                                   int64_t index) {
  std::string name = TRY(project_name(i));
  for (auto& r : TRY(stack::read_replicas(engine, name)))
    if (r.service == service && !r.oneoff && (index <= 0 || r.number == index)) return std::move(r);
  return fail(Error::not_found("service \"" + service + "\" has no container" +
                               (index > 0 ? " #" + std::to_string(index) : "") + " in the stack " + name +
                               "; start it with onggi up"));
}

namespace {

std::string prefix_of(const stack::Replica& r, size_t width, size_t number, bool color) {
  static constexpr const char* kColors[] = {"\033[36m", "\033[33m", "\033[32m", "\033[35m",
                                            "\033[34m", "\033[96m", "\033[93m", "\033[92m"};
  std::string text = r.name;
  text.resize(std::max(width, text.size()), ' ');
  text += "  | ";
  return color ? kColors[number % std::size(kColors)] + text + "\033[0m" : text;
}

// In a worker: lines go straight to standard output, each with one write.
std::string print_lines(engine::Engine& engine, const stack::Replica& r, const LogView& view,
                        const std::string& prefix) {
  auto running = [&] {
    auto now = stack::read_replica(engine, r.id);
    return now && (now->status == "running" || now->status == "restarting" || now->status == "paused");
  };
  auto read = engine::read_logs(
      engine.paths().container(r.id) + "/log", view.range, running, [&](const engine::LogLine& line) {
        std::string text = prefix + (view.timestamps ? line.time + " " : "") + line.text;
        if (!text.ends_with('\n')) text += '\n';
        return write_all(line.stream == 2 && prefix.empty() ? STDERR_FILENO : STDOUT_FILENO, text, "output")
            .has_value();
      });
  return read ? "" : read.error().text();
}

}  // namespace

Result<bool> show_logs(engine::Engine& engine, const std::vector<stack::Replica>& replicas,
                       const LogView& view) {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) < 0) return fail(Error::os("block", "signals"));
  UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC));
  size_t width = 0, number = 0;
  for (const auto& r : replicas) width = std::max(width, r.name.size());
  bool color = view.color && ::isatty(STDOUT_FILENO);
  std::vector<sys::Worker> workers;
  for (const auto& r : replicas) {
    if (r.config.log_driver == "none" || r.config.log_driver == "journald") continue;
    std::string prefix = view.prefix ? prefix_of(r, width, number++, color) : "";
    if (!view.range.follow) {  // one after the other: whole logs stay together
      print_lines(engine, r, view, prefix);
      continue;
    }
    workers.push_back(TRY(sys::Worker::start([&]() -> std::string {
      engine.after_fork();
      return print_lines(engine, r, view, prefix);
    })));
  }
  while (!workers.empty()) {
    std::vector<pollfd> fds = {{signals.get(), POLLIN, 0}};
    for (const auto& w : workers) fds.push_back({w.fd(), POLLIN, 0});
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR)
      return fail(Error::os("wait for", "the logs"));
    if (fds[0].revents) {
      signalfd_siginfo info;
      (void)!::read(signals.get(), &info, sizeof info);
      for (const auto& w : workers) (void)::kill(w.pid(), SIGKILL);
      return false;
    }
    for (size_t n = workers.size(); n-- > 0;)
      if (fds[n + 1].revents && TRY(workers[n].take())) workers.erase(workers.begin() + static_cast<long>(n));
  }
  return true;
}

}  // namespace onggi::cli
