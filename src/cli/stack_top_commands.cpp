// top: a live view of a stack's services, or of all containers' stacks: replicas, health, CPU, memory,
// pressure, network, restarts.
//
// Everything is read from files and cgroups; two readings make rates. On a terminal ncurses draws it anew
// every interval; with --once or into a pipe it is a table, with --format json one document.
#define NCURSES_NOMACROS  // functions, not macros with names like these
#include <curses.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/file.h"
#include "cli/command.h"
#include "cli/format.h"
#include "cli/stack_report.h"
#include "engine/clock.h"
#include "engine/usage.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;

const Options& top_options() {
  static const Options kOptions = with_project_options(
      {{"format", 0, kValue, "string", "With --once: table (default), json", "", "table json"},
       {"interval", 0, kValue, "duration", "Time between readings (default 1s)"},
       {"once", 0, kSwitch, "", "Print one reading and end"}},
      true);
  return kOptions;
}

struct Service {
  std::string name;
  int running = 0, replicas = 0, healthy = 0, unhealthy = 0, checked = 0;
  int64_t restarts = 0;
  engine::Usage usage;            // sums; memory_limit: of one
  double cpu = 0;                 // percent of one processor
  double received = 0, sent = 0;  // bytes per second
  std::string pressure;           // avg10 of CPU, of the worst
};

struct Reading {
  int64_t time = 0;
  std::map<std::string, Service> services;
};

// "some avg10=1.23 ..." -> 1.23
double pressure_of(const std::string& text) {
  size_t at = text.find("avg10=");
  return at == std::string::npos ? -1 : ::strtod(text.c_str() + at + 6, nullptr);
}

Result<Reading> read_all(engine::Engine& engine, const std::string& project,
                         const std::vector<std::string>& wanted) {
  Reading reading;
  reading.time = engine::now_nanoseconds();
  for (const auto& r : TRY(stack::read_replicas(engine, project))) {
    if (r.oneoff || (!wanted.empty() && std::find(wanted.begin(), wanted.end(), r.service) == wanted.end()))
      continue;
    Service& s = reading.services[r.service];
    s.name = r.service;
    s.replicas++;
    s.restarts += r.state.restarts;
    s.checked += !r.health.empty();
    s.healthy += r.health == "healthy";
    s.unhealthy += r.health == "unhealthy";
    if (r.status != "running" && r.status != "paused") continue;
    s.running++;
    auto u = engine::read_usage(engine, r.config, r.state.pid);
    if (!u) continue;
    s.usage.cpu_ns += u->cpu_ns;
    s.usage.memory += u->memory;
    s.usage.memory_limit = u->memory_limit;
    s.usage.pids += u->pids;
    s.usage.received_bytes += u->received_bytes;
    s.usage.sent_bytes += u->sent_bytes;
    auto files = engine::CgroupFiles::of(r.config, engine.host());
    auto text = files ? files->read("", "", "cpu.pressure") : std::nullopt;
    double now = text ? pressure_of(*text) : -1,
           before = s.pressure.empty() ? -1 : ::strtod(s.pressure.c_str(), nullptr);
    if (now > before) {
      char shown[24];
      (void)snprintf(shown, sizeof shown, "%.1f%%", now);
      s.pressure = shown;
    }
  }
  return reading;
}

void rates(const Reading& before, Reading& now) {
  double seconds = static_cast<double>(now.time - before.time) / 1e9;
  for (auto& [name, s] : now.services) {
    auto old = before.services.find(name);
    if (old == before.services.end() || seconds <= 0) continue;
    auto per_second = [&](uint64_t a, uint64_t b) {
      return b >= a ? static_cast<double>(b - a) / seconds : 0.0;
    };
    s.cpu = per_second(old->second.usage.cpu_ns, s.usage.cpu_ns) / 1e7;
    s.received = per_second(old->second.usage.received_bytes, s.usage.received_bytes);
    s.sent = per_second(old->second.usage.sent_bytes, s.usage.sent_bytes);
  }
}

std::string health_text(const Service& s) {
  if (!s.checked) return "-";
  if (s.unhealthy) return std::to_string(s.unhealthy) + " unhealthy";
  return s.healthy == s.checked ? "healthy"
                                : std::to_string(s.healthy) + "/" + std::to_string(s.checked) + " healthy";
}

std::vector<std::string> cells(const Service& s) {
  char cpu[24];
  (void)snprintf(cpu, sizeof cpu, "%.1f%%", s.cpu);
  return {s.name,
          std::to_string(s.running) + "/" + std::to_string(s.replicas),
          health_text(s),
          cpu,
          human_binary(s.usage.memory),
          s.pressure.empty() ? "-" : s.pressure,
          human_size(static_cast<uint64_t>(s.received)) + "/s",
          human_size(static_cast<uint64_t>(s.sent)) + "/s",
          std::to_string(s.usage.pids),
          std::to_string(s.restarts)};
}
const std::vector<std::string> kHeaders = {"SERVICE",  "REPLICAS", "HEALTH",  "CPU",  "MEMORY",
                                           "PRESSURE", "NET IN",   "NET OUT", "PIDS", "RESTARTS"};

std::string table_of(const Reading& reading) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, s] : reading.services) rows.push_back(cells(s));
  return table_text(kHeaders, rows);
}

std::string json_of(const Reading& reading, const std::string& project) {
  JsonWriter w("  ");
  w.begin_object();
  w.member("stack", project);
  w.member("time", engine::rfc3339(reading.time));
  w.key("services");
  w.begin_array();
  for (const auto& [name, s] : reading.services) {
    w.begin_object();
    w.member("service", name);
    w.member_number("running", s.running);
    w.member_number("replicas", s.replicas);
    w.member("health", health_text(s));
    char cpu[32];
    (void)snprintf(cpu, sizeof cpu, "%.2f", s.cpu);
    w.key("cpuPercent");
    w.raw(cpu);
    w.member_number("memory", static_cast<int64_t>(s.usage.memory));
    w.member("cpuPressure", s.pressure);
    w.member_number("receivedBytes", static_cast<int64_t>(s.usage.received_bytes));
    w.member_number("sentBytes", static_cast<int64_t>(s.usage.sent_bytes));
    w.member_number("pids", static_cast<int64_t>(s.usage.pids));
    w.member_number("restarts", s.restarts);
    w.end_object();
  }
  w.end_array();
  w.end_object();
  return w.take() + "\n";
}

// The screen, as long as this lives.
class Screen {
 public:
  Screen() {
    good_ = ::newterm(nullptr, stdout, stdin) != nullptr;
    if (!good_) return;
    (void)::cbreak();
    (void)::noecho();
    (void)::curs_set(0);
    (void)::keypad(stdscr, true);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  ~Screen() {
    if (good_) (void)::endwin();
  }
  [[nodiscard]] bool good() const { return good_; }

 private:
  bool good_ = false;
};

// Sorted by name, by CPU (c) or by memory (m); q ends.
Result<int> live_view(engine::Engine& engine, const std::string& project,
                      const std::vector<std::string>& wanted, int interval_ms) {
  Reading before = TRY(read_all(engine, project, wanted));
  Screen screen;
  if (!screen.good())
    return fail(Error::unsupported("the terminal $TERM is not known; use onggi top --once"));
  int order = 'n';
  for (;;) {
    ::wtimeout(stdscr, interval_ms);
    int key = ::getch();
    if (key == 'q' || key == 3 || key == 27) return 0;
    if (key == 'c' || key == 'm' || key == 'n') order = key;
    Reading now = TRY(read_all(engine, project, wanted));
    rates(before, now);
    std::vector<const Service*> list;
    for (const auto& [name, s] : now.services) list.push_back(&s);
    if (order == 'c')
      std::stable_sort(list.begin(), list.end(), [](auto* a, auto* b) { return a->cpu > b->cpu; });
    if (order == 'm')
      std::stable_sort(list.begin(), list.end(),
                       [](auto* a, auto* b) { return a->usage.memory > b->usage.memory; });
    std::vector<std::vector<std::string>> rows;
    for (const auto* s : list) rows.push_back(cells(*s));
    (void)::erase();
    (void)::attron(A_BOLD);
    (void)::mvaddnstr(0, 0,
                      ("onggi top: " + project + "   " + engine::rfc3339(now.time).substr(11, 8) +
                       " UTC   n name, c CPU, m memory, q quit")
                          .c_str(),
                      COLS);
    (void)::attroff(A_BOLD);
    std::string text = table_text(kHeaders, rows);
    int row = 2;
    for (size_t at = 0; at < text.size() && row < LINES; row++) {
      size_t end = std::min(text.find('\n', at), text.size());
      if (row == 2) (void)::attron(A_REVERSE);
      bool bad = row > 2 && list[static_cast<size_t>(row) - 3]->unhealthy;
      if (bad) (void)::attron(A_BOLD);
      (void)::mvaddnstr(row, 0, text.substr(at, end - at).c_str(), COLS);
      (void)::attroff(A_REVERSE);
      (void)::attroff(A_BOLD);
      at = end + 1;
    }
    (void)::refresh();
    before = std::move(now);
  }
}

Result<int> command_top(const Invocation& i) {
  std::string project = TRY(project_name(i));
  auto engine = TRY(i.engine());
  constexpr int64_t kMilli = 1'000'000, kDefault = 1000 * kMilli;
  int64_t interval = kDefault;
  if (auto text = i.args.find("interval")) interval = TRY_CTX(engine::parse_duration(*text), "--interval");
  interval = std::clamp<int64_t>(interval, 50 * kMilli, 3600 * kDefault);
  std::string format = i.args.get("format", "table");
  if (format != "table" && format != "json")
    return fail(Error::invalid("--format takes table or json, not '" + format + "'"));
  bool once = i.args.flag("once") || format == "json" || !::isatty(STDOUT_FILENO) || !::isatty(STDIN_FILENO);
  if (!once) return live_view(*engine, project, i.args.words(), static_cast<int>(interval / kMilli));
  Reading before = TRY(read_all(*engine, project, i.args.words()));
  constexpr int64_t kShort = 200 * kMilli;  // long enough for a rate
  ::usleep(static_cast<useconds_t>(std::min(interval, kShort) / 1000));
  Reading now = TRY(read_all(*engine, project, i.args.words()));
  rates(before, now);
  TRY_VOID(print(format == "json" ? json_of(now, project) : table_of(now)));
  return 0;
}

}  // namespace

const std::vector<Command>& stack_top_commands() {
  static const std::vector<Command> kCommands = {
      {"stack top", "[SERVICE...]",
       "Show services live: replicas, health, CPU, memory, pressure, network, restarts (also: onggi top "
       "without a container)",
       top_options, 0, kAnyWords, false, command_top}};
  return kCommands;
}

}  // namespace onggi::cli
