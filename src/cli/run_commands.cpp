// run, create, start, attach, exec.
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/command.h"
#include "cli/image_worker.h"
#include "cli/run_options.h"
#include "cli/session.h"
#include "engine/exec.h"
#include "engine/lifecycle.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;
constexpr auto kList = OptionKind::kList;

const Options& run_options() {
  static const Options kOptions = [] {
    Options all = create_options();
    all.push_back({"detach", 'd', kSwitch, "", "Run in the background and print the container ID"});
    all.push_back(
        {"detach-keys", 0, kValue, "string", "Override the key sequence for detaching a container"});
    all.push_back({"sig-proxy", 0, kSwitch, "", "Proxy received signals to the process (default true)"});
    return all;
  }();
  return kOptions;
}

// What the client could not do is told by 125; what the program's path is, by 126 and 127.
int failure_code(const Error& error) {
  const std::string& text = error.text();
  if (text.find("exec: \"") == std::string::npos) return kEngineFailed;
  if (text.find("no such file") != std::string::npos || text.find("not found") != std::string::npos)
    return 127;
  if (text.find("permission denied") != std::string::npos || text.find("exec format") != std::string::npos ||
      text.find("is a directory") != std::string::npos)
    return 126;
  return kEngineFailed;
}

Result<engine::Created> create(engine::Engine& engine, const Args& args) {
  engine::CreateRequest request = TRY(create_request(args));
  bool quiet = args.flag("quiet");
  request.pull_image = [&engine, quiet](const std::string& name, const std::string& platform) -> Result<> {
    if (!quiet) print_error("Unable to find image '" + name + "' locally");
    TRY(pull_image(engine, name, {.platform = platform, .quiet = quiet}));
    return {};
  };
  std::string cidfile = args.get("cidfile");
  if (!cidfile.empty() && ::access(cidfile.c_str(), F_OK) == 0)
    return fail(Error::invalid(
        "container ID file found, make sure the other container isn't running or delete " + cidfile));
  engine::Created created = TRY(engine::create_container(engine, std::move(request)));
  for (const auto& warning : created.warnings) print_error("WARNING: " + warning);
  if (!cidfile.empty()) TRY_VOID(write_file(cidfile, created.id, O_CREAT | O_EXCL, 0644));
  return created;
}

// Waits for the monitor, which by then has become the recorder of the end: what comes after this command
// finds the container stopped, or (--rm) gone.
void wait_for_recorder(const engine::MonitorClient& monitor) {
  if (monitor.process().pidfd) (void)sys::wait_exited(monitor.process().pidfd.get(), 60'000);
}

Result<SessionOptions> session_options(const Args& args, const engine::ContainerConfig& c) {
  SessionOptions options;
  options.tty = c.tty;
  options.input = c.open_stdin;
  options.signals = args.flag("sig-proxy", true);
  options.detach_keys = args.get("detach-keys", options.detach_keys);
  TRY(parse_detach_keys(options.detach_keys));
  auto streams = args.all("attach");
  if (streams.empty()) return options;
  options.input = options.out = options.err = false;
  for (const auto& stream : streams) {
    std::string name;
    for (char ch : stream) name += static_cast<char>(::tolower(static_cast<unsigned char>(ch)));
    if (name != "stdin" && name != "stdout" && name != "stderr")
      return fail(Error::invalid("valid streams are STDIN, STDOUT and STDERR, not '" + stream + "'"));
    (name == "stdin" ? options.input : name == "stdout" ? options.out : options.err) = true;
  }
  return options;
}

Result<int> run_attached(engine::Engine& engine, const std::string& id, const SessionOptions& options) {
  Signals signals = TRY(Signals::block());
  auto started = engine::start_container(engine, id, {.attach = true});
  if (!started) return fail(std::move(started).error());
  if (started->already_running) return fail(Error::busy("the container is running already"));
  SessionEnd end = TRY(run_session(started->monitor, started->attach, signals, options));
  if (end.detached) return 0;
  wait_for_recorder(started->monitor);
  return end.exit_code;
}

Result<int> command_run(const Invocation& i) {
  if (i.args.flag("tty") && i.args.flag("interactive") && !i.args.flag("detach") && !::isatty(STDIN_FILENO))
    return fail(Error::invalid("the input device is not a TTY"));
  if (i.args.flag("detach") && i.args.has("attach"))
    return fail(Error::invalid("Conflicting options: -a and -d"));
  auto engine = TRY(i.engine());
  engine::Created created = TRY(create(*engine, i.args));
  engine::ContainerDir dir = TRY(engine->containers().open(created.id));
  engine::ContainerConfig config = TRY(dir.config());
  SessionOptions options = TRY(session_options(i.args, config));
  Result<int> code = 0;
  if (i.args.flag("detach")) {
    auto started = engine::start_container(*engine, created.id, {});
    if (started) {
      TRY_VOID(print(created.id + "\n"));
      return 0;
    }
    code = fail(std::move(started).error());
  } else {
    code = run_attached(*engine, created.id, options);
  }
  if (code) return code;
  // A container that could not be started stays for a look at it, unless it was to be removed anyway.
  if (config.auto_remove)
    (void)engine::remove_container(*engine, created.id, {.force = true, .volumes = true});
  int exit_code = failure_code(code.error());
  print_error("onggi: " + code.error().text() + "\nRun 'onggi run --help' for more information");
  return exit_code;
}

Result<int> command_create(const Invocation& i) {
  auto engine = TRY(i.engine());
  TRY_VOID(print(TRY(create(*engine, i.args)).id + "\n"));
  return 0;
}

const Options& start_options() {
  static const Options kOptions = {
      {"attach", 'a', kSwitch, "", "Attach STDOUT/STDERR and forward signals"},
      {"checkpoint", 0, kValue, "string", "",
       "checkpoints of the engine are not built; onggi-runtime has them"},
      {"checkpoint-dir", 0, kValue, "string", "",
       "checkpoints of the engine are not built; onggi-runtime has them"},
      {"detach-keys", 0, kValue, "string", "Override the key sequence for detaching a container"},
      {"interactive", 'i', kSwitch, "", "Attach the container's STDIN"}};
  return kOptions;
}

Result<int> command_start(const Invocation& i) {
  auto engine = TRY(i.engine());
  if (!i.args.flag("attach") && !i.args.flag("interactive"))
    return for_each_word(i, [&](const std::string& word) -> Result<> {
      std::string id = TRY(engine->containers().resolve(word));
      TRY(engine::start_container(*engine, id, {}));
      return print(word + "\n");
    });
  if (i.args.words().size() > 1)
    return fail(Error::invalid("you cannot start and attach multiple containers at once"));
  std::string id = TRY(engine->containers().resolve(i.args.words()[0]));
  engine::ContainerConfig config = TRY(TRY(engine->containers().open(id)).config());
  SessionOptions options = TRY(session_options(Args(), config));
  options.input = i.args.flag("interactive") && config.open_stdin;
  options.detach_keys = i.args.get("detach-keys", options.detach_keys);
  return run_attached(*engine, id, options);
}

const Options& attach_options() {
  static const Options kOptions = {
      {"detach-keys", 0, kValue, "string", "Override the key sequence for detaching a container"},
      {"no-stdin", 0, kSwitch, "", "Do not attach STDIN"},
      {"sig-proxy", 0, kSwitch, "", "Proxy all received signals to the process (default true)"}};
  return kOptions;
}

Result<int> command_attach(const Invocation& i) {
  auto engine = TRY(i.engine());
  engine::ContainerDir dir = TRY(engine->containers().find(i.args.words()[0]));
  engine::ContainerConfig config = TRY(dir.config());
  if (TRY(dir.state()).status != "running")
    return fail(Error::busy("You cannot attach to a stopped container, start it first"));
  SessionOptions options = TRY(session_options(i.args, config));
  options.input = config.open_stdin && !i.args.flag("no-stdin");
  Signals signals = TRY(Signals::block());
  std::string live = engine->paths().live(dir.id());
  UniqueFd attach = TRY(engine::connect_attach(live));
  engine::MonitorClient monitor = TRY(engine::MonitorClient::connect(live));
  SessionEnd end = TRY(run_session(monitor, attach, signals, options));
  return end.exit_code;
}

const Options& exec_options() {
  static const Options kOptions = {
      {"detach", 'd', kSwitch, "", "Detached mode: run command in the background"},
      {"detach-keys", 0, kValue, "string", "Override the key sequence for detaching a container"},
      {"env", 'e', kList, "list", "Set environment variables"},
      {"env-file", 0, kList, "list", "Read in a file of environment variables", "", "file"},
      {"interactive", 'i', kSwitch, "", "Keep STDIN open even if not attached"},
      {"privileged", 0, kSwitch, "",
       "Give all capabilities of the container's user namespace to the command"},
      {"tty", 't', kSwitch, "", "Allocate a pseudo-TTY"},
      {"user", 'u', kValue, "string", "Username or UID (format: \"<name|uid>[:<group|gid>]\")"},
      {"workdir", 'w', kValue, "string", "Working directory inside the container"}};
  return kOptions;
}

Result<int> command_exec(const Invocation& i) {
  engine::ExecRequest request;
  const auto& words = i.args.words();
  request.args.assign(words.begin() + 1, words.end());
  request.tty = i.args.flag("tty");
  request.interactive = i.args.flag("interactive");
  request.detach = i.args.flag("detach");
  request.privileged = i.args.flag("privileged");
  request.user = i.args.get("user");
  request.working_dir = i.args.get("workdir");
  if (request.tty && request.interactive && !request.detach && !::isatty(STDIN_FILENO))
    return fail(Error::invalid("the input device is not a TTY"));
  // Before anything runs that nobody would wait for.
  if (auto keys = i.args.find("detach-keys")) TRY(parse_detach_keys(*keys));
  for (const auto& file : i.args.all("env-file"))
    for (const auto& entry : TRY(read_env_file(file))) request.env.push_back(entry);
  for (const auto& entry : i.args.all("env")) {
    const char* value = entry.find('=') == std::string::npos ? ::getenv(entry.c_str()) : nullptr;
    if (value || entry.find('=') != std::string::npos)
      request.env.push_back(value ? entry + "=" + value : entry);
  }
  auto engine = TRY(i.engine());
  auto id = engine->containers().resolve(words[0]);
  if (!id) {
    print_error("onggi: " + id.error().text());
    return 1;
  }
  Signals signals = TRY(Signals::block());
  auto started = engine::exec_in_container(*engine, *id, request);
  if (!started) {
    print_error("onggi: " + started.error().text());
    int code = failure_code(started.error());
    return code == kEngineFailed ? 1 : code;
  }
  if (request.detach) return 0;
  SessionOptions options;
  options.tty = request.tty;
  options.input = request.interactive;
  options.detach_keys = i.args.get("detach-keys", options.detach_keys);
  SessionEnd end = TRY(run_exec_session(*started, signals, options));
  return end.exit_code;
}

}  // namespace

const std::vector<Command>& run_commands() {
  static const std::vector<Command> kCommands = {
      {"run, container run", "IMAGE [COMMAND] [ARG...]", "Create and run a new container from an image",
       run_options, 1, kAnyWords, true, command_run},
      {"create, container create", "IMAGE [COMMAND] [ARG...]", "Create a new container", create_options, 1,
       kAnyWords, true, command_create},
      {"start, container start", "CONTAINER [CONTAINER...]", "Start stopped containers", start_options, 1,
       kAnyWords, false, command_start},
      {"attach, container attach", "CONTAINER",
       "Attach standard input, output, and error to a running container", attach_options, 1, 1, false,
       command_attach},
      {"exec, container exec", "CONTAINER COMMAND [ARG...]", "Execute a command in a running container",
       exec_options, 2, kAnyWords, true, command_exec}};
  return kCommands;
}

}  // namespace onggi::cli
