// Global options, dispatch, and the one place where errors become words and exit codes.
#include <unistd.h>

#include <cstdio>

#include "base/file.h"
#include "cli/command.h"
#include "cli/stack_project.h"

namespace onggi::cli {

const Options& global_options() {
  static const Options kOptions = [] {
    Options own = {
        {"root", 0, OptionKind::kValue, "dir", "Where images, containers and volumes are kept", "", "file"},
        {"run", 0, OptionKind::kValue, "dir", "Where the state of running containers is kept", "", "file"},
        {"debug", 'D', OptionKind::kSwitch, "", "Say more on standard error"},
        {"help", 'h', OptionKind::kSwitch, "", "Print this help"},
        {"version", 'v', OptionKind::kSwitch, "", "Print the version"}};
    return with_project_options(std::move(own), true);
  }();
  return kOptions;
}

std::vector<std::string> names_of(const Command& c) {
  std::vector<std::string> names;
  std::string text = c.name;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find(", ", at);
    names.push_back(text.substr(at, end == std::string::npos ? end : end - at));
    at = end == std::string::npos ? text.size() : end + 2;
  }
  return names;
}

namespace {

// The command that the first one or two words name; `used` words.
const Command* find_command(const std::vector<std::string>& words, size_t& used) {
  for (size_t count : {size_t{2}, size_t{1}}) {
    if (words.size() < count) continue;
    std::string name = count == 2 ? words[0] + " " + words[1] : words[0];
    for (const auto& c : command_table())
      for (const auto& n : names_of(c))
        if (n == name) {
          used = count;
          return &c;
        }
  }
  return nullptr;
}

std::string overview(const std::string& group) {
  std::string text =
      group.empty()
          ? "Usage:  onggi [OPTIONS] COMMAND\n\nMany services on one machine, each in an isolated system "
            "of its own.\n\nCommands:\n"
          : "Usage:  onggi " + group + " COMMAND\n\nCommands:\n";
  for (const auto& c : command_table()) {
    if (c.hidden) continue;
    for (const auto& name : names_of(c)) {
      size_t space = name.find(' ');
      bool in_group = !group.empty() && space != std::string::npos && name.substr(0, space) == group;
      if (group.empty() ? space != std::string::npos : !in_group) continue;
      std::string left = "  " + (group.empty() ? name : name.substr(space + 1));
      left.resize(std::max<size_t>(left.size() + 1, 14), ' ');
      text += left + c.help + "\n";
    }
  }
  if (!group.empty()) return text + "\nRun 'onggi " + group + " COMMAND --help' for more.\n";
  text +=
      "\nGroups (see onggi GROUP --help): container, image, network, stack (or compose), system, "
      "volume\n\nOptions:\n" +
      options_help(global_options());
  return text + "\nRun 'onggi COMMAND --help' for more on a command.\n";
}

bool is_group(const std::string& word) {
  for (const auto& c : command_table())
    for (const auto& name : names_of(c))
      if (name.starts_with(word + " ")) return true;
  return false;
}

std::string command_help(const Command& c) {
  auto names = names_of(c);
  std::string text = "Usage:  onggi " + names[0] + (c.options().empty() ? " " : " [OPTIONS] ") + c.usage +
                     "\n\n" + c.help + "\n";
  if (names.size() > 1) {
    text += "\nAliases:\n  ";
    for (size_t n = 0; n < names.size(); n++) text += (n ? ", onggi " : "onggi ") + names[n];
    text += "\n";
  }
  return c.options().empty() ? text : text + "\nOptions:\n" + options_help(c.options());
}

bool wants_help(const Command& c, const std::vector<std::string>& words) {
  for (const auto& w : words) {
    if (w == "--help") return true;
    if (w == "--" || (c.program && (w.empty() || w[0] != '-'))) return false;
  }
  return false;
}

std::string word_count_error(const Command& c, size_t count) {
  std::string name = names_of(c)[0];
  size_t wanted = count < c.min_words ? c.min_words : c.max_words;
  std::string how = c.min_words == c.max_words ? "exactly " : count < c.min_words ? "at least " : "at most ";
  return "\"onggi " + name + "\" requires " + how + std::to_string(wanted) +
         (wanted == 1 ? " argument" : " arguments") + ".\nUsage:  onggi " + name + " [OPTIONS] " + c.usage +
         "\nSee 'onggi " + name + " --help'.";
}

Result<int> dispatch(const Command& c, Invocation invocation, const std::vector<std::string>& words) {
  if (wants_help(c, words)) {
    TRY_VOID(print(command_help(c)));
    return 0;
  }
  auto args = Args::parse(c.options(), words, c.program);
  if (!args)
    return fail(
        Error(args.error().kind(), args.error().text() + "\nSee 'onggi " + names_of(c)[0] + " --help'."));
  invocation.args = std::move(*args);
  size_t count = invocation.args.words().size();
  if (count < c.min_words || count > c.max_words) return fail(Error::invalid(word_count_error(c, count)));
  return c.run(invocation);
}

// Words that are an engine's and a stack's. The engine's win, unless what they name is no container of its
// and a service of the Compose file at hand is meant; with --file, --project-name or another option of stacks
// before the command, the stack's is meant anyway.
constexpr const char* kShared[] = {"ps",   "logs",   "exec", "restart", "pull",    "events", "wait",
                                   "port", "cp",     "kill", "pause",   "unpause", "start",  "stop",
                                   "rm",   "create", "run",  "images",  "top"};

bool is_shared(const std::string& word) {
  for (const char* shared : kShared)
    if (word == shared) return true;
  return false;
}

// The first word that names a container, of a command that takes some.
std::string named_container(const Invocation& i, const Command& c) {
  std::string usage = c.usage;
  const auto& words = i.args.words();
  if (words.empty()) return {};
  if (usage.starts_with("CONTAINER")) return words[0];
  if (names_of(c)[0] != "cp") return {};
  for (const auto& w : words)
    if (size_t colon = w.find(':'); colon != std::string::npos && w[0] != '/' && w[0] != '.')
      return w.substr(0, colon);
  return {};
}

// The stack's command of the same word, when that is what is meant.
const Command* stack_meaning(const Command& c, const Invocation& base,
                             const std::vector<std::string>& words) {
  std::string name = names_of(c)[0];
  if (!is_shared(name)) return nullptr;
  auto as_stack = [&]() -> const Command* {
    size_t used = 0;
    return find_command({"stack", name}, used);
  };
  if (name == "top" && (words.empty() || words[0].starts_with("--"))) return as_stack();
  for (const char* option : {"file", "project-name", "project-directory", "env-file", "profile"})
    if (base.global.has(option)) return as_stack();
  Invocation look = base;
  auto args = Args::parse(c.options(), words, c.program);
  if (!args) return nullptr;
  look.args = std::move(*args);
  std::string container = named_container(look, c);
  if (container.empty() || !names_service(look, container)) return nullptr;
  auto engine = look.engine();
  if (!engine) return nullptr;
  // A service's name may also be the beginning of some container's id; that is not what was meant.
  auto dir = (*engine)->containers().find(container);
  auto config = dir ? dir->config() : Result<engine::ContainerConfig>(fail(dir.error()));
  bool exact = config && (config->name == container || config->id == container);
  return exact ? nullptr : as_stack();
}

int report(const Error& error, int code) {
  print_error("onggi: " + error.text());
  return code;
}

}  // namespace

Result<> print(std::string_view text) { return write_all(STDOUT_FILENO, text, "standard output"); }
void print_error(std::string_view text) {
  (void)write_all(STDERR_FILENO, std::string(text) + "\n", "standard error");
}

const Options& no_options() {
  static const Options kNone;
  return kNone;
}

const std::vector<Command>& command_table() {
  static const std::vector<Command> kTable = [] {
    std::vector<Command> all;
    for (const auto* part :
         {&run_commands(),       &lifecycle_commands(),    &query_commands(),      &inspect_commands(),
          &why_commands(),       &stats_commands(),        &update_commands(),     &disk_commands(),
          &copy_commands(),      &document_commands(),     &commit_commands(),     &image_commands(),
          &volume_commands(),    &network_commands(),      &port_commands(),       &system_commands(),
          &internal_commands(),  &stack_config_commands(), &stack_up_commands(),   &stack_query_commands(),
          &stack_top_commands(), &map_commands(),          &stack_watch_commands()})
      all.insert(all.end(), part->begin(), part->end());
    return all;
  }();
  return kTable;
}

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  auto global = Args::parse(global_options(), words, true);
  if (!global) return report(global.error(), kEngineFailed);
  if (global->flag("version")) return print(std::string("onggi version ") + ONGGI_VERSION + "\n") ? 0 : 1;
  // `onggi compose -f FILE up` is `onggi -f FILE compose up`.
  std::vector<std::string> rest = global->words();
  if (!rest.empty() && (rest[0] == "compose" || rest[0] == "stack") && rest.size() > 1 &&
      rest[1].starts_with("-") && rest[1] != "--help" && rest[1] != "-h") {
    std::string group = rest[0];
    std::vector<std::string> again(words.begin(), words.end() - static_cast<long>(rest.size()));
    again.insert(again.end(), rest.begin() + 1, rest.end());
    global = Args::parse(global_options(), again, true);
    if (!global) return report(global.error(), kEngineFailed);
    rest = global->words();
    rest.insert(rest.begin(), group);
  }
  bool help = global->flag("help") || rest.empty() || rest[0] == "help";
  if (help) return print(overview(rest.size() > 1 ? rest[1] : "")) ? 0 : 1;
  size_t used = 0;
  const Command* command = find_command(rest, used);
  if (!command && is_group(rest[0]) && (rest.size() == 1 || rest[1] == "--help" || rest[1] == "-h"))
    return print(overview(rest[0])) ? 0 : 1;
  if (!command)
    return report(Error::invalid("'" + rest[0] + "' is not an onggi command.\nSee 'onggi --help'"), 1);
  Invocation invocation;
  invocation.paths = {global->get("root"), global->get("run")};
  invocation.debug = global->flag("debug");
  invocation.global = std::move(*global);
  std::vector<std::string> own(rest.begin() + static_cast<long>(used), rest.end());
  if (const Command* other = stack_meaning(*command, invocation, own)) command = other;
  auto code = dispatch(*command, std::move(invocation), own);
  if (code) return *code;
  return report(code.error(), command->program ? kEngineFailed : 1);
}

}  // namespace onggi::cli
