// `diff`: what a container changed in its image, from its writable layer.
#pragma once

#include <functional>

#include "engine/engine.h"

namespace onggi::engine {

enum class ChangeKind : char { kChanged = 'C', kAdded = 'A', kDeleted = 'D' };

// Paths are absolute in the container, parents before what is below them, siblings by name. A directory that
// was replaced as a whole (opaque) tells the deletion of what the image had in it and the addition of what
// is new. Mount points that the runtime made for the container are not told.
Result<> list_changes(Engine& engine, const std::string& id,
                      const std::function<void(ChangeKind kind, const std::string& path)>& each);

}  // namespace onggi::engine
