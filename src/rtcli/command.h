// Commands of onggi-runtime: each turns words into one call of the runtime and prints the result.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "rtcli/args.h"
#include "runtime/container.h"

namespace onggi::rtcli {

struct Invocation {
  runtime::RuntimeContext context;
  Args args;  // options and positional words of the command
  bool debug = false;
};

struct Command {
  const char* name;
  const char* usage;  // positional words
  const char* help;
  // Builds the list, or null where there are no options: only the command that runs needs its own.
  std::vector<Option> (*options)();
  size_t min_words, max_words;                       // positional
  Result<int> (*run)(const Invocation& invocation);  // the exit code
  int error_code = 1;
  bool elsewhere = false;  // another program reads the words, help included
};

std::span<const Command> commands();

// command_*.cpp
Result<int> run_create(const Invocation& i);
Result<int> run_run(const Invocation& i);
Result<int> run_start(const Invocation& i);
Result<int> run_exec(const Invocation& i);
Result<int> run_state(const Invocation& i);
Result<int> run_kill(const Invocation& i);
Result<int> run_delete(const Invocation& i);
Result<int> run_list(const Invocation& i);
Result<int> run_ps(const Invocation& i);
Result<int> run_pause(const Invocation& i);
Result<int> run_resume(const Invocation& i);
Result<int> run_update(const Invocation& i);
Result<int> run_events(const Invocation& i);
Result<int> run_spec(const Invocation& i);
Result<int> run_features(const Invocation& i);
Result<int> run_checkpoint(const Invocation& i);
Result<int> run_restore(const Invocation& i);
Result<int> run_monitor(const Invocation& i);

// checkpoint and restore are a program of their own (libexec/onggi/onggi-criu) with the same command line,
// which has these commands only; run_checkpoint and run_restore of onggi-runtime become that program.
std::span<const Command> criu_commands();
// All words that this program was started with.
const std::vector<std::string>& command_line();

// Shows warnings now: before a command that stays in the foreground waits.
void flush_warnings();
// Writes to standard output; a closed pipe is an error.
Result<> print(std::string_view text);

// The whole program, with the commands of the table.
int main(int argc, char** argv, std::span<const Command> table);

}  // namespace onggi::rtcli
