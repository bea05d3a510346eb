// How a later Compose file changes an earlier one (Compose specification, 13), on canonical trees: mappings
// are merged, sequences appended, what has a key of its own (ports, mounts, secrets, ...) replaced by it;
// commands and health tests are replaced whole; !reset removes and !override replaces.
#pragma once

#include "stack/node.h"

namespace onggi::stack {

// `over` wins. A value that cannot replace another (a list over a mapping) is an error with its place.
Result<> merge_files(Node& base, Node over);
Result<> merge_service(Node& base, Node over);
// What !reset and !override leave where there was nothing to reset or override.
void apply_tags(Node& node);

}  // namespace onggi::stack
