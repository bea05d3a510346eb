// `inspect --isolation`: the default profile row by row, as the kernel says it is for a running container.
//
// Nothing is taken from the configuration but the reason why a row is weaker than the default: a container
// whose profile was not applied must not look as if it were.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"

namespace onggi::cli {

enum class RowState : uint8_t { kDefault, kRelaxed, kWeaker };

struct IsolationRow {
  const char* what;
  std::string found;  // as it is
  RowState state = RowState::kDefault;
  std::string because;  // the option that relaxed it, or what this host lacks
};

// kBusy when it does not run.
Result<std::vector<IsolationRow>> isolation_of(engine::Engine& engine, const std::string& id);
std::string isolation_text(const std::vector<IsolationRow>& rows);
std::string isolation_json(const std::string& name, const std::vector<IsolationRow>& rows);

}  // namespace onggi::cli
