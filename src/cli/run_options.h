// Options of `run` and `create`: docker's, and the engine's own switches that relax a row of the default
// profile.
#pragma once

#include "cli/args.h"
#include "engine/create.h"

namespace onggi::cli {

// Those that `run` and `create` share.
const Options& create_options();
// words: IMAGE [COMMAND] [ARG...]. Errors name the option.
Result<engine::CreateRequest> create_request(const Args& args);
// `update`: limits and restart policy that were given, over those that `config` has.
Result<> apply_update(const Args& args, engine::ContainerConfig& config);

// "[SOURCE:]TARGET[:OPTIONS]" (--volume).
Result<engine::MountConfig> parse_volume(const std::string& text);
// "type=bind,source=...,target=..." (--mount).
Result<engine::MountConfig> parse_mount(const std::string& text);
// Lines of KEY=VALUE; a KEY alone takes the value of this process's environment.
Result<std::vector<std::string>> read_env_file(const std::string& path);
Result<int64_t> parse_cpus(const std::string& text);

}  // namespace onggi::cli
