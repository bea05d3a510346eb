// The engine's cold work on images is done by libexec/onggi/onggi-transfer; this is the side that starts it
// and shows its progress.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"

namespace onggi::cli {

struct PullOptions {
  std::string platform;
  bool quiet = false;
};
Result<> pull_image(engine::Engine& engine, const std::string& reference, const PullOptions& options);

}  // namespace onggi::cli
