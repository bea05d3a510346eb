// One command of `onggi`: its words, options and function. Each file of commands has a table; command_table()
// joins them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/args.h"
#include "engine/engine.h"

namespace onggi::cli {

struct Invocation {
  Args args;
  Args global;  // options before the command
  engine::PathOptions paths;
  bool debug = false;
  [[nodiscard]] Result<std::unique_ptr<engine::Engine>> engine() const {
    return engine::Engine::open(paths, args.words());
  }
};

struct Command {
  const char* name;   // "run"; further names are separated by ", ": "rm, container rm"
  const char* usage;  // words after the options: "IMAGE [COMMAND] [ARG...]"
  const char* help;
  const Options& (*options)();
  size_t min_words, max_words;
  bool program;  // options end at the first word
  Result<int> (*run)(const Invocation& invocation);
  bool hidden = false;
};

inline constexpr size_t kAnyWords = 1000000;

// Exit codes of the field: 125 the engine failed, 126 not executable, 127 not found.
inline constexpr int kEngineFailed = 125;

const std::vector<Command>& command_table();
std::vector<std::string> names_of(const Command& command);
const Options& global_options();
const Options& no_options();
Result<> print(std::string_view text);
void print_error(std::string_view text);
// Asks on the terminal, unless --force was given.
Result<bool> confirm(const Invocation& invocation, const std::string& what);
// Runs `each` for all words, prints each one's error, and returns 1 when there was any.
template <class F>
Result<int> for_each_word(const Invocation& i, F each) {
  int code = 0;
  for (const auto& word : i.args.words())
    if (Result<> r = each(word); !r) {
      print_error("onggi: " + r.error().text());
      code = 1;
    }
  return code;
}

// Tables by theme.
const std::vector<Command>& run_commands();
const std::vector<Command>& lifecycle_commands();
const std::vector<Command>& query_commands();
const std::vector<Command>& inspect_commands();
const std::vector<Command>& why_commands();
const std::vector<Command>& stats_commands();
const std::vector<Command>& update_commands();
const std::vector<Command>& disk_commands();
const std::vector<Command>& copy_commands();
const std::vector<Command>& document_commands();
const std::vector<Command>& commit_commands();
const std::vector<Command>& image_commands();
const std::vector<Command>& volume_commands();
const std::vector<Command>& network_commands();
const std::vector<Command>& port_commands();
const std::vector<Command>& system_commands();
const std::vector<Command>& internal_commands();
const std::vector<Command>& stack_config_commands();
const std::vector<Command>& stack_up_commands();
const std::vector<Command>& stack_query_commands();
const std::vector<Command>& stack_top_commands();
const std::vector<Command>& map_commands();
const std::vector<Command>& stack_watch_commands();

int main(int argc, char** argv);

}  // namespace onggi::cli
