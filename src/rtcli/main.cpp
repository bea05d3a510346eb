// Global options, dispatch, and the one place where errors become words and exit codes.
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/file.h"
#include "base/json.h"
#include "oci/runtime_spec.h"
#include "rtcli/command.h"
#include "sys/process.h"

namespace onggi::rtcli {

namespace {

const std::vector<Option>& global_options() {
  static const std::vector<Option> kOptions = {
      {"root", 0, true, "DIR",
       "state directory (default: /run/onggi-runtime, or $XDG_RUNTIME_DIR/onggi-runtime)"},
      {"log", 0, true, "FILE", "append errors and warnings to this file"},
      {"log-format", 0, true, "text|json", "format of the log (default: text)"},
      {"debug", 0, false, "", "log more"},
      {"systemd-cgroup", 0, false, "", "let systemd make cgroups; cgroupsPath is slice:prefix:name"},
      {"cgroup-manager", 0, true, "NAME",
       "cgroupfs (default), systemd, or disabled (no cgroup, limits are left out)"},
      {"rootless", 0, true, "true|false|auto", "leave out what needs root (default: auto)"},
      {"criu", 0, true, "PATH", "(obsolete; do not use)"},
      {"help", 'h', false, "", "print this help"},
      {"version", 'v', false, "", "print the version"}};
  return kOptions;
}

std::span<const Command> table;
std::vector<std::string> started_with;

struct Log {
  UniqueFd file;
  bool json = false;

  // One line per message, in the shape of the format that engines parse ({"level","msg","time"}).
  void write(const char* level, const std::string& text) const {
    if (file) write_to(file.get(), level, text);
  }
  void write_to(int fd, const char* level, const std::string& text) const {
    std::string time = runtime::now_rfc3339(), line;
    time = time.substr(0, 19) + "Z";
    if (json) {
      JsonWriter w;
      w.begin_object();
      w.member("level", level);
      w.member("msg", text);
      w.member("time", time);
      w.end_object();
      line = w.take();
    } else {
      JsonWriter w;
      w.string(text);
      line = "time=\"" + time + "\" level=" + level + " msg=" + w.text();
    }
    line += '\n';
    (void)write_all(fd, line, "log");
  }
};

Log log;

// Engines take the first words on standard error for the reason of a failure: warnings wait until the command
// has succeeded, and go to the log alone when it fails.
std::vector<std::string> warnings;

void warn(const std::string& text) {
  if (log.file)
    log.write("warning", text);
  else
    warnings.push_back(text);
}

}  // namespace

void flush_warnings() {
  for (const auto& text : warnings)
    (void)write_all(STDERR_FILENO, "onggi-runtime: warning: " + text + "\n", "standard error");
  warnings.clear();
}

namespace {

int64_t monotonic_us() {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

int64_t phase_start = monotonic_us();

// --debug: how long each phase of a start took, in microseconds.
void log_phase(const char* name) {
  int64_t now = monotonic_us();
  std::string text = std::string(name) + ": " + std::to_string(now - phase_start) + " us";
  phase_start = now;
  log.write_to(log.file ? log.file.get() : STDERR_FILENO, "debug", text);
}

std::string default_root() {
  if (::geteuid() == 0 && !sys::in_user_namespace()) return "/run/onggi-runtime";
  if (const char* dir = ::getenv("XDG_RUNTIME_DIR"); dir && dir[0] == '/')
    return std::string(dir) + "/onggi-runtime";
  return ::geteuid() == 0 ? "/run/onggi-runtime" : "/tmp/onggi-runtime-" + std::to_string(::geteuid());
}

std::string global_help() {
  std::string text =
      "NAME:\n  onggi-runtime - runs containers as the Open Container Initiative specifies\n\n"
      "USAGE:\n  onggi-runtime [OPTION...] COMMAND [OPTION...] [WORD...]\n\nCOMMANDS:\n";
  for (const auto& c : table) {
    std::string left = std::string("  ") + c.name;
    left.resize(14, ' ');
    text += left + c.help + "\n";
  }
  return text + "\nOPTIONS:\n" + options_help(global_options());
}

std::vector<Option> options_of(const Command& c) { return c.options ? c.options() : std::vector<Option>{}; }

std::string command_help(const Command& c) {
  std::string text = std::string("NAME:\n  onggi-runtime ") + c.name + " - " + c.help +
                     "\n\nUSAGE:\n  onggi-runtime " + c.name + (c.options ? " [OPTION...] " : " ") + c.usage +
                     "\n";
  return c.options ? text + "\nOPTIONS:\n" + options_help(c.options()) : text;
}

int report(const std::string& text, int code) {
  log.write("error", text);
  (void)write_all(STDERR_FILENO, "onggi-runtime: " + text + "\n", "standard error");
  return code;
}

Result<bool> is_rootless(const Args& args) {
  std::string mode = args.get("rootless", "auto");
  if (mode == "true") return true;
  if (mode == "false") return false;
  if (mode == "auto") return sys::is_rootless();
  return fail(Error::invalid("option --rootless: '" + mode + "' is none of true, false, auto"));
}

Result<> open_log(const Args& args) {
  std::string format = args.get("log-format", "text");
  if (format != "text" && format != "json")
    return fail(Error::invalid("option --log-format: unknown format '" + format + "' (text or json)"));
  log.json = format == "json";
  std::string path = args.get("log");
  if (!path.empty()) log.file = TRY(open_at(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT, 0644));
  return {};
}

Result<int> dispatch(const Command& command, const Args& global, const std::vector<std::string>& words) {
  Invocation i;
  if (command.elsewhere) return command.run(i);
  for (const auto& w : words) {
    if (w == "--help" || w == "-h") {
      TRY_VOID(print(command_help(command)));
      return 0;
    }
    if (w.empty() || w[0] != '-') break;
  }
  // What follows the id of `exec` and `ps` belongs to another program.
  bool own_words_only = command.max_words < 1000 || command.name == std::string_view("delete");
  i.args = TRY(Args::parse(options_of(command), words, own_words_only));
  size_t count = i.args.rest().size();
  if (count < command.min_words || count > command.max_words)
    return fail(
        Error::invalid(std::string("\"") + command.name + "\" requires " +
                       (count < command.min_words ? "a minimum of " + std::to_string(command.min_words)
                                                  : "a maximum of " + std::to_string(command.max_words)) +
                       " argument(s); usage: onggi-runtime " + command.name + " " + command.usage));
  i.context.root = global.has("root") ? global.get("root") : default_root();
  i.context.systemd_cgroup = TRY(global.flag("systemd-cgroup"));
  std::string manager = global.get("cgroup-manager", "cgroupfs");
  if (manager != "cgroupfs" && manager != "systemd" && manager != "disabled")
    return fail(
        Error::invalid("option --cgroup-manager: '" + manager + "' is none of cgroupfs, systemd, disabled"));
  i.context.systemd_cgroup |= manager == "systemd";
  i.context.no_cgroup = manager == "disabled";
  i.context.rootless = TRY(is_rootless(global));
  i.context.warn = warn;
  i.debug = TRY(global.flag("debug"));
  if (i.debug) i.context.phase = log_phase;
  return command.run(i);
}

int run(const std::vector<std::string>& words) {
  auto global = Args::parse(global_options(), words);
  if (!global) return report(global.error().text(), 1);
  if (global->has("version")) {
    std::string text =
        std::string("onggi-runtime version ") + ONGGI_VERSION + "\nspec: " + oci::kSpecVersion + "\n";
    return print(text) ? 0 : 1;
  }
  if (global->has("help") || global->rest().empty() || global->rest()[0] == "help")
    return print(global_help()) ? 0 : 1;
  if (auto r = open_log(*global); !r) return report(r.error().text(), 1);
  if (global->has("criu")) warn("--criu ignored (criu binary from $PATH is used); do not use");
  const std::string& name = global->rest()[0];
  for (const Command& command : table) {
    if (name != command.name) continue;
    auto r = dispatch(command, *global, {global->rest().begin() + 1, global->rest().end()});
    if (!r) return report(name + " failed: " + r.error().text(), command.error_code);
    flush_warnings();
    return *r;
  }
  return report("no such command: No help topic for '" + name + "' (see onggi-runtime --help)", 1);
}

}  // namespace

Result<> print(std::string_view text) { return write_all(STDOUT_FILENO, text, "standard output"); }

const std::vector<std::string>& command_line() { return started_with; }

int main(int argc, char** argv, std::span<const Command> commands) {
  table = commands;
  started_with.assign(argv, argv + argc);
  int code = run({started_with.begin() + 1, started_with.end()});
  // Nothing is left to flush: skip destructors of what the process owned until its end.
  ::_exit(code);
}

}  // namespace onggi::rtcli
