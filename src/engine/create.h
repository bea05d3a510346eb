// `create`: from a request and an image to a container that can be started.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace onggi::engine {

// What the command line (or another client) asked for. Members of `config` that the image may also say
// something about hold only what was asked; create merges.
struct CreateRequest {
  ContainerConfig config;
  std::optional<std::vector<std::string>> entrypoint;  // --entrypoint: also drops the image's command
  std::string pull;                                    // "missing" (default), "always", "never"
  std::string platform;
  std::vector<std::string> file_contents;  // of config.files, in their order
  // Makes an image come here: called when it is missing (or always). The error is the worker's.
  std::function<Result<>(const std::string& reference, const std::string& platform)> pull_image;
};

struct Created {
  std::string id, name;
  std::vector<std::string> warnings;
};

Result<Created> create_container(Engine& engine, CreateRequest request);

// The image's part: environment, command, user, working directory, stop signal, volumes, health, labels.
// Labels never become policy. Pure.
Result<> merge_image(CreateRequest& request, const oci::ImageConfig& image);

}  // namespace onggi::engine
