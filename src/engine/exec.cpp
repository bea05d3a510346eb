#include "engine/exec.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/scope.h"
#include "engine/events.h"
#include "engine/slice.h"
#include "engine/users.h"
#include "oci/emit.h"
#include "sys/unix_socket.h"

namespace onggi::engine {

namespace {

Result<oci::Process> exec_process(Engine& engine, ContainerConfig& c, int pid, const ExecRequest& request) {
  UniqueFd root = TRY(open_at(AT_FDCWD, "/proc/" + std::to_string(pid) + "/root", O_PATH | O_DIRECTORY));
  c.entrypoint.clear();
  c.command = request.args;
  c.tty = request.tty;
  if (!request.user.empty()) c.user = request.user;
  if (!request.working_dir.empty()) c.working_dir = request.working_dir;
  if (request.tty) c.env.push_back("TERM=xterm");
  for (const auto& entry : request.env) {
    std::erase_if(c.env,
                  [&](const auto& old) { return old.starts_with(entry.substr(0, entry.find('=') + 1)); });
    c.env.push_back(entry);
  }
  c.security.privileged |= request.privileged;
  SpecInputs in;
  in.config = &c;
  in.host = engine.host();
  in.user = TRY(resolve_user(root.get(), c.user, c.group_add));
  return build_process(in);
}

struct Pipes {
  UniqueFd ours[3], theirs[3];

  Result<> make(bool input, uint32_t owner) {
    for (int i = input ? 0 : 1; i < 3; i++) {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) < 0) return fail(Error::os("make a pipe", ""));
      UniqueFd read(ends[0]), write(ends[1]);
      if (owner && ::fchown(read.get(), owner, owner) < 0)
        return fail(Error::os("give a pipe to the container", ""));
      ours[i] = std::move(i == 0 ? write : read);
      theirs[i] = std::move(i == 0 ? read : write);
    }
    return {};
  }
};

// What the runtime wrote before it failed; its exit code stays with the error.
Error runtime_error(int fd, const std::string& name, int code) {
  auto text = read_fd(fd, "error output", 65536);
  std::string_view words = text ? trim(*text) : "";
  for (std::string_view prefix : {"onggi-runtime: ", "exec failed: "})
    if (words.starts_with(prefix)) words.remove_prefix(prefix.size());
  return {ErrorKind::kOs, "exec in container " + name + ": " + std::string(words), code};
}

Result<UniqueFd> accept_console(int listener) {
  UniqueFd connection(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection) return fail(Error::os("accept the terminal", ""));
  return sys::receive_descriptor(connection.get());
}

}  // namespace

Result<ExecStarted> exec_in_container(Engine& engine, const std::string& id, const ExecRequest& request) {
  ContainerDir dir = TRY(engine.containers().open(id));
  ContainerConfig config = TRY(dir.config());
  ContainerState state = TRY(dir.state());
  if (state.status != "running")
    return fail(
        Error::busy("container " + id + " is not running; start it first: onggi start " + config.name));
  if (engine.host().rootless && engine.host().systemd) ensure_slice(engine);
  std::string base = engine.paths().live(id) + "/exec-" + random_id().substr(0, 8),
              runtime_root = engine.paths().runtime_root();
  ScopeExit tidy([&] {
    for (const char* end : {".json", ".pid", ".sock"}) (void)::unlink((base + end).c_str());
  });
  oci::Process process = TRY(exec_process(engine, config, state.pid, request));
  TRY_VOID(write_file(base + ".json", oci::emit_process(process), O_CREAT | O_EXCL, 0600));
  std::vector<std::string> words = {"onggi-runtime", "--root",       runtime_root, "exec",       "--detach",
                                    "--process",     base + ".json", "--pid-file", base + ".pid"};
  UniqueFd listener;
  if (request.tty) {
    listener = TRY(sys::listen_unix(base + ".sock", SOCK_STREAM));
    words.insert(words.end(), {"--console-socket", base + ".sock"});
  }
  words.push_back(id);
  std::vector<const char*> argv;
  for (const auto& w : words) argv.push_back(w.c_str());
  argv.push_back(nullptr);
  // The new process becomes a child of this one when the runtime has ended, so its exit code is had.
  if (!request.detach) ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  UniqueFd null = TRY(open_at(AT_FDCWD, "/dev/null", O_RDWR));
  Pipes pipes;
  bool own_pipes = !request.tty && !request.detach && request.output < 0;
  if (own_pipes) TRY_VOID(pipes.make(request.interactive, config.id_base));
  sys::SpawnArgs args;
  args.exec_path = engine.paths().runtime.c_str();
  args.argv = argv.data();
  args.envp = environ;
  for (int i = 0; i < 3; i++) args.stdio[i] = pipes.theirs[i] ? pipes.theirs[i].get() : -1;
  if (args.stdio[0] < 0) args.stdio[0] = null.get();
  if (request.detach) args.stdio[1] = args.stdio[2] = null.get();
  if (request.output >= 0) args.stdio[1] = args.stdio[2] = request.output;
  sys::Spawned runtime = TRY_CTX(sys::spawn(args), "execute " + engine.paths().runtime);
  for (auto& end : pipes.theirs) end.reset();
  ExecStarted started;
  sys::ExitStatus status = TRY(sys::wait_pidfd(runtime.pidfd.get()));
  if (status.code() != 0 && own_pipes)
    return fail(runtime_error(pipes.ours[2].get(), config.name, status.code()));
  if (status.code() != 0)
    return fail(
        Error(ErrorKind::kOs, "exec in container " + config.name + " failed (see above)", status.code()));
  // The descriptor waits in the socket, whatever has become of its sender.
  if (request.tty) started.console = TRY(accept_console(listener.get()));
  std::string text = TRY(read_file(base + ".pid", 64));
  started.pid = static_cast<int>(TRY(parse_u64(trim(text), "pid file")));
  started.input = std::move(pipes.ours[0]);
  started.output = std::move(pipes.ours[1]);
  started.error = std::move(pipes.ours[2]);
  if (!request.detach) started.process = TRY(sys::pidfd_open(started.pid));
  record_event(engine.paths(), {"container", "exec_start", id, config.name, config.image, {}});
  return started;
}

}  // namespace onggi::engine
