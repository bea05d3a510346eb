// stop, kill, restart, rm, pause, unpause, rename, wait.
#include <unistd.h>

#include <algorithm>

#include "cli/command.h"
#include "engine/lifecycle.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;

const Options& stop_options() {
  static const Options kOptions = {
      {"signal", 's', kValue, "string", "Signal to send to the container"},
      {"time", 't', kValue, "int", "Seconds to wait before killing the container (-1: for ever)"},
      {"timeout", 0, kValue, "int", "The same as --time"}};
  return kOptions;
}

Result<std::optional<int>> seconds_of(const Args& args) {
  for (const char* name : {"time", "timeout"})
    if (auto value = TRY(args.integer(name))) return std::optional<int>(static_cast<int>(*value));
  return std::optional<int>();
}

// Each word is a container; what was done to it is told by its name as it was given.
template <class F>
Result<int> for_each_container(const Invocation& i, F each) {
  auto engine = TRY(i.engine());
  return for_each_word(i, [&](const std::string& word) -> Result<> {
    std::string id = TRY(engine->containers().resolve(word));
    TRY_VOID(each(*engine, id));
    return print(word + "\n");
  });
}

// The containers that the words name, for operations on all of them at once.
struct Named {
  std::vector<std::string> words, ids;
  int code = 0;

  void say(const Error& error) {
    print_error("onggi: " + error.text());
    code = 1;
  }
  // What became of each is told by its name as it was given.
  engine::EachResult teller() {
    return [this](size_t n, const Result<>& r) {
      auto told = r ? print(words[n] + "\n") : r;
      if (!told) say(told.error());
    };
  }
};

Named resolve_words(const Invocation& i, engine::Engine& engine, bool missing_is_fine) {
  Named named;
  for (const auto& word : i.args.words()) {
    auto id = engine.containers().resolve(word);
    if (id && std::find(named.ids.begin(), named.ids.end(), *id) == named.ids.end()) {
      named.words.push_back(word);
      named.ids.push_back(*id);
    } else if (!id && !(missing_is_fine && id.error().kind() == ErrorKind::kNotFound)) {
      named.say(id.error());
    }
  }
  return named;
}

Result<int> command_stop(const Invocation& i) {
  auto seconds = TRY(seconds_of(i.args));
  auto engine = TRY(i.engine());
  Named named = resolve_words(i, *engine, false);
  engine::stop_containers(*engine, named.ids, seconds, i.args.get("signal"), named.teller());
  return named.code;
}

Result<int> command_restart(const Invocation& i) {
  auto seconds = TRY(seconds_of(i.args));
  return for_each_container(i, [&](engine::Engine& engine, const std::string& id) {
    return engine::restart_container(engine, id, seconds);
  });
}

const Options& kill_options() {
  static const Options kOptions = {
      {"signal", 's', kValue, "string", "Signal to send to the container (default KILL)"}};
  return kOptions;
}

Result<int> command_kill(const Invocation& i) {
  return for_each_container(i, [&](engine::Engine& engine, const std::string& id) {
    return engine::kill_container(engine, id, i.args.get("signal"));
  });
}

const Options& rm_options() {
  static const Options kOptions = {
      {"force", 'f', kSwitch, "", "Force the removal of a running container (uses SIGKILL)"},
      {"link", 0, kSwitch, "", "", "links are not built; networks have names"},
      {"volumes", 'v', kSwitch, "", "Remove anonymous volumes associated with the container"}};
  return kOptions;
}

Result<int> command_rm(const Invocation& i) {
  engine::RemoveOptions options{i.args.flag("force"), i.args.flag("volumes")};
  auto engine = TRY(i.engine());
  // What is not there need not be forced away (docker says so since 20.10).
  Named named = resolve_words(i, *engine, options.force);
  engine::remove_containers(*engine, named.ids, options, named.teller());
  return named.code;
}

Result<int> command_pause(const Invocation& i) {
  return for_each_container(i, [](engine::Engine& engine, const std::string& id) {
    return engine::pause_container(engine, id, true);
  });
}
Result<int> command_unpause(const Invocation& i) {
  return for_each_container(i, [](engine::Engine& engine, const std::string& id) {
    return engine::pause_container(engine, id, false);
  });
}

Result<int> command_rename(const Invocation& i) {
  auto engine = TRY(i.engine());
  std::string id = TRY(engine->containers().resolve(i.args.words()[0]));
  TRY_VOID(engine::rename_container(*engine, id, i.args.words()[1]));
  return 0;
}

const Options& wait_options() {
  static const Options kOptions = {{"condition", 0, kValue, "string",
                                    "What to wait for (not-running, next-exit, removed)", "",
                                    "not-running next-exit removed"}};
  return kOptions;
}

Result<int> command_wait(const Invocation& i) {
  auto engine = TRY(i.engine());
  return for_each_word(i, [&](const std::string& word) -> Result<> {
    std::string id = TRY(engine->containers().resolve(word));
    int code = TRY(engine::wait_container(*engine, id, i.args.get("condition")));
    return print(std::to_string(code) + "\n");
  });
}

}  // namespace

const std::vector<Command>& lifecycle_commands() {
  static const std::vector<Command> kCommands = {
      {"stop, container stop", "CONTAINER [CONTAINER...]", "Stop running containers", stop_options, 1,
       kAnyWords, false, command_stop},
      {"restart, container restart", "CONTAINER [CONTAINER...]", "Restart containers", stop_options, 1,
       kAnyWords, false, command_restart},
      {"kill, container kill", "CONTAINER [CONTAINER...]", "Kill running containers", kill_options, 1,
       kAnyWords, false, command_kill},
      {"rm, container rm, container remove", "CONTAINER [CONTAINER...]", "Remove containers", rm_options, 1,
       kAnyWords, false, command_rm},
      {"pause, container pause", "CONTAINER [CONTAINER...]", "Pause all processes within containers",
       no_options, 1, kAnyWords, false, command_pause},
      {"unpause, container unpause", "CONTAINER [CONTAINER...]", "Unpause all processes within containers",
       no_options, 1, kAnyWords, false, command_unpause},
      {"rename, container rename", "CONTAINER NEW_NAME", "Rename a container", no_options, 2, 2, false,
       command_rename},
      {"wait, container wait", "CONTAINER [CONTAINER...]",
       "Block until containers stop, then print their exit codes", wait_options, 1, kAnyWords, false,
       command_wait}};
  return kCommands;
}

}  // namespace onggi::cli
