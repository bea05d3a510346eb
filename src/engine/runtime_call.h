// Executing onggi-runtime for single commands.
#pragma once

#include <string>
#include <vector>

#include "engine/paths.h"

namespace onggi::engine {

struct RuntimeOutput {
  int code = 0;
  std::string out;
};
// Runs `onggi-runtime WORDS`; its standard output, at most 16 MiB. An exit code other than 0 is an error with
// what it wrote to standard error.
Result<RuntimeOutput> call_runtime(const Paths& paths, const std::vector<std::string>& words);

}  // namespace onggi::engine
