// create, run, start, exec, kill, delete, pause, resume.
#include <regex.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/file.h"
#include "oci/parse.h"
#include "rtcli/command.h"
#include "rtcli/foreground.h"
#include "runtime/process_attributes.h"

namespace onggi::rtcli {

namespace {

// Socket activation: systemd's descriptors follow the three standard ones (sd_listen_fds(3)).
Result<int> activated_fds() {
  const char* listen = ::getenv("LISTEN_FDS");
  const char* pid = ::getenv("LISTEN_PID");
  if (!listen || (pid && std::to_string(::getpid()) != pid)) return 0;
  uint64_t n = TRY(parse_u64(listen, "LISTEN_FDS"));
  if (n > 65536) return fail(Error::invalid("LISTEN_FDS: at most 65536"));
  return static_cast<int>(n);
}

Result<int> preserve_fds(const Args& args) {
  int activated = TRY(activated_fds());
  uint64_t n = TRY(parse_u64(args.get("preserve-fds", "0"), "option --preserve-fds"));
  if (n > 65536) return fail(Error::invalid("option --preserve-fds: at most 65536"));
  return static_cast<int>(n) + activated;
}

Result<runtime::CreateOptions> create_options(const Invocation& i) {
  runtime::CreateOptions o;
  o.id = i.args.rest()[0];
  o.bundle = i.args.get("bundle");
  o.config = i.args.get("config");
  o.console_socket = i.args.get("console-socket");
  o.pidfd_socket = i.args.get("pidfd-socket");
  o.pid_file = i.args.get("pid-file");
  o.no_pivot = TRY(i.args.flag("no-pivot"));
  o.no_new_keyring = TRY(i.args.flag("no-new-keyring"));
  o.preserve_fds = TRY(preserve_fds(i.args));
  o.listen_fds = TRY(activated_fds());
  return o;
}

}  // namespace

Result<int> run_create(const Invocation& i) {
  runtime::CreateOptions o = TRY(create_options(i));
  (void)TRY(runtime::create_container(i.context, o));
  return 0;
}

Result<int> run_run(const Invocation& i) {
  runtime::CreateOptions o = TRY(create_options(i));
  bool detach = TRY(i.args.flag("detach")), keep = TRY(i.args.flag("keep"));
  bool no_subreaper = TRY(i.args.flag("no-subreaper"));
  if (!no_subreaper) ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  Foreground foreground;
  if (!detach) TRY_VOID(foreground.prepare());
  o.detach = detach;
  runtime::Started started = TRY(runtime::run_container(i.context, o));
  if (detach) return 0;
  flush_warnings();
  int code = TRY(foreground.wait(std::move(started)));
  if (i.context.phase) i.context.phase("process");
  if (!keep) TRY_VOID(runtime::delete_container(i.context, o.id, true));
  if (i.context.phase) i.context.phase("delete");
  return code;
}

Result<int> run_start(const Invocation& i) {
  TRY_VOID(runtime::start_container(i.context, i.args.rest()[0]));
  return 0;
}

namespace {

// A user or group id. (uid_t)-1 is none, and what does not fit must not wrap around to another one.
Result<uint32_t> parse_id(const std::string& text, const std::string& option) {
  uint64_t n = TRY(parse_u64(text, option));
  if (n > 0xfffffffeULL) return fail(Error::invalid(option + ": " + text + " is not an id"));
  return static_cast<uint32_t>(n);
}

Result<> set_user(const std::string& text, runtime::ExecOptions& o) {
  size_t colon = text.find(':');
  o.uid = TRY(parse_id(text.substr(0, colon), "option --user"));
  if (colon != std::string::npos) o.gid = TRY(parse_id(text.substr(colon + 1), "option --user"));
  return {};
}

Result<runtime::ExecOptions> exec_options(const Invocation& i) {
  runtime::ExecOptions o;
  const Args& a = i.args;
  o.id = a.rest()[0];
  o.args.assign(a.rest().begin() + 1, a.rest().end());
  if (!o.args.empty() && o.args[0] == "--") o.args.erase(o.args.begin());
  if (auto file = a.find("process")) {
    std::string json = TRY_CTX(read_file(*file), "option --process");
    o.process = TRY_CTX(oci::parse_process(json), "option --process: " + *file);
  } else if (o.args.empty()) {
    return fail(Error::invalid("exec: no command: give one after the id, or --process FILE"));
  }
  o.tty = TRY(a.flag("tty"));
  o.env = a.all("env");
  o.capabilities = a.all("cap");
  o.cwd = a.find("cwd");
  o.apparmor = a.find("apparmor");
  o.selinux_label = a.find("process-label");
  if (auto user = a.find("user")) TRY_VOID(set_user(*user, o));
  for (const auto& list : a.all("additional-gids"))
    o.additional_gids.push_back(TRY(parse_id(list, "option --additional-gids")));
  if (a.has("no-new-privs")) o.no_new_privileges = TRY(a.flag("no-new-privs"));
  o.console_socket = a.get("console-socket");
  o.pidfd_socket = a.get("pidfd-socket");
  o.pid_file = a.get("pid-file");
  o.preserve_fds = TRY(preserve_fds(a));
  o.listen_fds = TRY(activated_fds());
  o.ignore_paused = TRY(a.flag("ignore-paused"));
  for (const auto& entry : a.all("cgroup")) {
    // "CTRL[,CTRL...]:PATH" on v1, "PATH" for all.
    size_t colon = entry.find(':');
    std::string controllers = colon == std::string::npos ? "" : entry.substr(0, colon);
    std::string path = colon == std::string::npos ? entry : entry.substr(colon + 1);
    if (("/" + path + "/").find("/../") != std::string::npos)
      return fail(Error::invalid("option --cgroup: " + path + " is not a sub cgroup path"));
    size_t at = 0;
    do {
      size_t comma = std::min(controllers.find(',', at), controllers.size());
      o.sub_cgroup.emplace_back(controllers.substr(at, comma - at), path);
      at = comma + 1;
    } while (at <= controllers.size() && !controllers.empty());
  }
  return o;
}

}  // namespace

Result<int> run_exec(const Invocation& i) {
  runtime::ExecOptions o = TRY(exec_options(i));
  bool detach = TRY(i.args.flag("detach"));
  bool terminal = o.tty || (o.process && o.process->terminal);
  if (detach && terminal && o.console_socket.empty())
    return fail(
        Error::invalid("cannot allocate tty if the runtime will detach without setting console socket"));
  Foreground foreground;
  if (!detach) TRY_VOID(foreground.prepare());
  runtime::Started started = TRY(runtime::exec_in_container(i.context, o));
  if (detach) return 0;
  flush_warnings();
  return foreground.wait(std::move(started));
}

namespace {

// The ids that a command is about: the words themselves, or with --regex all containers whose id they match
// (regex(7), extended).
Result<std::vector<std::string>> matching_ids(const Invocation& i, const std::vector<std::string>& words) {
  bool by_regex = TRY(i.args.flag("regex"));
  if (!by_regex) return words;
  std::vector<std::string> all = TRY(runtime::list_ids(i.context.root)), ids;
  for (const auto& word : words) {
    regex_t compiled;
    if (::regcomp(&compiled, word.c_str(), REG_EXTENDED | REG_NOSUB) != 0)
      return fail(Error::invalid("option --regex: '" + word + "' is not a regular expression"));
    for (const auto& id : all)
      if (::regexec(&compiled, id.c_str(), 0, nullptr, 0) == 0) ids.push_back(id);
    ::regfree(&compiled);
  }
  return ids;
}

}  // namespace

Result<int> run_kill(const Invocation& i) {
  const auto& words = i.args.rest();
  int signal = TRY(runtime::signal_number(words.size() > 1 ? words[1] : "TERM"));
  bool all = TRY(i.args.flag("all"));
  std::vector<std::string> ids = TRY(matching_ids(i, {words[0]}));
  for (const auto& id : ids) {
    TRY_VOID(runtime::kill_container(i.context, id, signal, all));
  }
  return 0;
}

Result<int> run_delete(const Invocation& i) {
  bool force = TRY(i.args.flag("force"));
  std::vector<std::string> ids = TRY(matching_ids(i, i.args.rest()));
  for (const auto& id : ids) {
    TRY_VOID(runtime::delete_container(i.context, id, force));
  }
  return 0;
}

Result<int> run_pause(const Invocation& i) {
  TRY_VOID(runtime::pause_container(i.context, i.args.rest()[0]));
  return 0;
}

Result<int> run_resume(const Invocation& i) {
  TRY_VOID(runtime::resume_container(i.context, i.args.rest()[0]));
  return 0;
}

}  // namespace onggi::rtcli
