// why: how a container ended (or how it is), and the evidence for it, in words.
//
// Everything is a fact that somebody recorded: the monitor (exit status, kills for memory), the engine (who
// asked for a stop, restarts, the cgroup's counters before it was removed), the health checks, the log.
#include <signal.h>
#include <string.h>

#include <algorithm>

#include "base/file.h"
#include "cli/command.h"
#include "cli/format.h"
#include "engine/clock.h"
#include "engine/lifecycle.h"
#include "engine/logs.h"
#include "engine/usage.h"

namespace onggi::cli {

namespace {

using engine::ContainerConfig;
using engine::ContainerState;

constexpr auto kValue = OptionKind::kValue;

const Options& why_options() {
  static const Options kOptions = {
      {"format", 'f', kValue, "string", "Format output (json, or Go template)"},
      {"tail", 'n', kValue, "int", "Number of lines of the log to show (default 10)"}};
  return kOptions;
}

struct Fact {
  std::string name, text;
};

struct Answer {
  std::string verdict;
  std::vector<Fact> facts;
  std::vector<std::string> log;
  void add(const char* name, std::string text) {
    if (!text.empty()) facts.push_back({name, std::move(text)});
  }
};

std::string signal_text(int number) {
  const char* name = ::sigabbrev_np(number);
  return "signal " + std::to_string(number) + (name ? " (SIG" + std::string(name) + ")" : "");
}

std::string crash_text(int number) {
  switch (number) {
    case SIGSEGV:
    case SIGBUS:
      return ": the program crashed, it used memory that is not its own";
    case SIGABRT:
      return ": the program gave up by itself (abort)";
    case SIGILL:
      return ": the program crashed, it met an instruction that this processor does not have";
    case SIGFPE:
      return ": the program crashed, it divided by zero or the like";
    case SIGSYS:
      return ": the system call filter ended it";
    default:
      return "";
  }
}

std::string ended_by(const ContainerState& s) {
  constexpr int kShellSignal = 128, kMostSignal = 64;
  int number = s.signal ? s.signal
               : s.exit_code > kShellSignal && s.exit_code <= kShellSignal + kMostSignal
                   ? s.exit_code - kShellSignal
                   : 0;
  if (s.oom_kills)
    return "out of memory: the kernel killed " + std::to_string(s.oom_kills) +
           (s.oom_kills == 1 ? " process" : " processes") + " of it";
  if (s.stopped_by_user) return "it was told to: " + (s.stopped_by.empty() ? "by a user" : s.stopped_by);
  if (number) {
    std::string text = signal_text(number) + crash_text(number);
    if (number == SIGKILL)
      text +=
          ": sent by another process of the host or by itself; onggi did not, and no memory limit was hit";
    return text;
  }
  if (s.exit_code == 0) return "its program came to its end, without error";
  if (s.exit_code == 126)
    return "exit code 126: by convention, the command was found but could not be executed";
  if (s.exit_code == 127) return "exit code 127: by convention, the command was not found";
  return "its program ended with exit code " + std::to_string(s.exit_code);
}

std::string seconds_text(uint64_t nanoseconds) {
  char text[32];
  snprintf(text, sizeof text, "%.2f s", static_cast<double>(nanoseconds) / 1e9);
  return text;
}

std::string since(const std::string& from, const std::string& to) {
  auto a = engine::parse_rfc3339(from);
  auto b = to.empty() ? Result<int64_t>(engine::now_nanoseconds()) : engine::parse_rfc3339(to);
  std::string text = a && b ? engine::human_duration(*b - *a) : "";
  // "Less than a second", "About a minute": here it stands within a sentence.
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] - 'A' + 'a');
  return text;
}

std::string verdict_of(const ContainerConfig& c, const ContainerState& s, const std::string& status) {
  if (status == "created")
    return c.name + " was never started" + (s.error.empty() ? "" : "; the last try failed: " + s.error);
  if (status == "running" || status == "paused")
    return c.name + " is " + status + ", for " + since(s.started_at, "") + " now";
  std::string code = " (exit code " + std::to_string(s.exit_code) + ")";
  if (status == "restarting")
    return c.name + " is about to be started again; it had ended" + code + ": " + ended_by(s);
  return c.name + " ended " + since(s.finished_at, "") + " ago" + code + ": " + ended_by(s);
}

void memory_facts(Answer& answer, const ContainerState& s, const engine::EndEvidence& e) {
  if (!e.memory_peak) return;
  std::string text = "peak " + human_binary(e.memory_peak);
  text += e.memory_limit ? " of a limit of " + human_binary(e.memory_limit) : ", no limit";
  if (e.memory_limit_hits) text += ", the limit was met " + std::to_string(e.memory_limit_hits) + " times";
  answer.add("memory", text);
  if (!s.oom_kills) return;
  // Below its own limit, it was another cgroup or the machine that ran out.
  constexpr uint64_t kNear = 95;
  bool own = e.memory_limit && e.memory_peak * 100 >= e.memory_limit * kNear;
  answer.add("ran out", own ? "its own cgroup: raise --memory, or look for what grows"
                            : "not its own limit: the cgroup above it or the whole machine ran out");
}

void health_facts(engine::Engine& engine, const ContainerConfig& c, Answer& answer) {
  auto text = read_file(engine.paths().live(c.id) + "/health.json", 1 << 20);
  if (!text) return;
  auto health = json_parse<engine::HealthState>(*text, "health");
  if (!health) return;
  answer.add("health",
             health->status + (health->failing_streak
                                   ? ", failed " + std::to_string(health->failing_streak) + " times in a row"
                                   : ""));
  constexpr size_t kShown = 3;
  size_t begin = health->log.size() > kShown ? health->log.size() - kShown : 0;
  for (size_t n = begin; n < health->log.size(); n++) {
    const engine::HealthResult& r = health->log[n];
    answer.add("probe", r.start + " code " + std::to_string(r.exit_code) +
                            (r.output.empty() ? "" : ": " + std::string(trim(r.output))));
  }
}

Answer explain(engine::Engine& engine, const ContainerConfig& c, const ContainerState& s) {
  Answer answer;
  std::string status = engine::status_of(engine, c, s);
  answer.verdict = verdict_of(c, s, status);
  bool alive = status == "running" || status == "paused";
  engine::EndEvidence e = alive ? engine::read_evidence(c, engine.host()) : s.evidence;
  answer.add("recorded", alive ? "" : s.reason);
  if (!s.started_at.empty() && !alive)
    answer.add("ran for",
               since(s.started_at, s.finished_at) + ", from " + s.started_at + " to " + s.finished_at);
  if (s.stopped_by_user && !alive) answer.add("asked by", s.stopped_by);
  if (!s.error.empty() && status != "created") answer.add("error", s.error);
  memory_facts(answer, s, e);
  if (e.pids_limit_hits)
    answer.add("processes", "the limit of " + std::to_string(e.pids_limit) + " refused " +
                                std::to_string(e.pids_limit_hits) + " new ones");
  if (e.cpu_ns)
    answer.add("cpu", seconds_text(e.cpu_ns) + " used" +
                          (e.throttled_ns ? ", held back for " + seconds_text(e.throttled_ns) : ""));
  answer.add("memory stalls", e.memory_pressure);
  answer.add("cpu stalls", e.cpu_pressure);
  answer.add("disk stalls", e.io_pressure);
  if (s.restarts || c.restart.name != "no")
    answer.add("restarts", std::to_string(s.restarts) + ", policy " + c.restart.name);
  health_facts(engine, c, answer);
  return answer;
}

Result<> last_lines(engine::Engine& engine, const ContainerConfig& c, uint64_t count, Answer& answer) {
  if (c.log_driver == "none" || c.log_driver == "journald" || !count) return {};
  engine::LogRange range;
  range.tail = count;
  auto no_more = [] { return false; };
  auto read = engine::read_logs(
      engine.paths().container(c.id) + "/log", range, no_more, [&](const engine::LogLine& line) {
        std::string_view text = line.text;
        while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
        answer.log.push_back((line.stream == 2 ? "err " : "out ") + std::string(text));
        return true;
      });
  // A container that never ran has no log yet.
  return !read && read.error().kind() != ErrorKind::kNotFound && read.error().os_errno() != ENOENT
             ? read
             : Result<>();
}

std::string as_text(const Answer& answer) {
  std::string text = answer.verdict + "\n";
  constexpr size_t kColumn = 16;
  for (const auto& fact : answer.facts) {
    std::string left = "  " + fact.name;
    left.resize(std::max(left.size() + 1, kColumn), ' ');
    text += left + fact.text + "\n";
  }
  if (!answer.log.empty()) text += "  last lines of its log:\n";
  for (const auto& line : answer.log) text += "    " + line + "\n";
  return text;
}

std::string as_json(const ContainerConfig& c, const ContainerState& s, const Answer& answer) {
  JsonWriter w;
  w.begin_object();
  w.member("ID", c.id);
  w.member("Name", c.name);
  w.member("Verdict", answer.verdict);
  w.member_number("ExitCode", s.exit_code);
  w.member_number("Signal", s.signal);
  w.member_number("OOMKills", s.oom_kills);
  w.member_number("Restarts", s.restarts);
  w.member("StoppedBy", s.stopped_by);
  w.member("Reason", s.reason);
  w.member("StartedAt", s.started_at);
  w.member("FinishedAt", s.finished_at);
  w.key("Evidence");
  json_write(w, s.evidence);
  w.key("Facts");
  w.begin_array();
  for (const auto& fact : answer.facts) {
    w.begin_object();
    w.member("Name", fact.name);
    w.member("Text", fact.text);
    w.end_object();
  }
  w.end_array();
  w.member_strings("Log", answer.log);
  w.end_object();
  return w.take();
}

Result<int> command_why(const Invocation& i) {
  constexpr int64_t kLines = 10;
  int64_t lines = TRY(i.args.integer("tail")).value_or(kLines);
  if (lines < 0)
    return fail(Error::invalid("invalid --tail " + std::to_string(lines) + ": a number of lines is wanted"));
  auto engine = TRY(i.engine());
  std::string format = i.args.get("format"), text;
  std::vector<std::string> documents;
  int code = TRY(for_each_word(i, [&](const std::string& word) -> Result<> {
    engine::ContainerDir dir = TRY(engine->containers().find(word));
    ContainerConfig c = TRY(dir.config());
    ContainerState s = TRY(dir.state());
    Answer answer = explain(*engine, c, s);
    TRY_VOID(last_lines(*engine, c, static_cast<uint64_t>(lines), answer));
    text += as_text(answer);
    documents.push_back(as_json(c, s, answer));
    return {};
  }));
  TRY_VOID(format.empty() ? print(text) : print_document(format, documents));
  return code;
}

}  // namespace

const std::vector<Command>& why_commands() {
  static const std::vector<Command> kCommands = {{"why", "CONTAINER [CONTAINER...]",
                                                  "Tell how containers ended, and the evidence for it",
                                                  why_options, 1, kAnyWords, false, command_why}};
  return kCommands;
}

}  // namespace onggi::cli
