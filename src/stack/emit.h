// A tree as text: JSON for programs, YAML for people.
#pragma once

#include <string>

#include "stack/node.h"

namespace onggi::stack {

struct EmitOptions {
  bool escape_dollars = false;  // "$" -> "$$": the text can be read again as a Compose file
};
std::string to_yaml(const Node& node, const EmitOptions& options = {});
// `indent` as JsonWriter's.
std::string to_json(const Node& node, std::string_view indent = {}, const EmitOptions& options = {});
// One spelling for each value: members sorted, no layout. Equal trees have equal texts.
std::string to_canonical_json(const Node& node);

}  // namespace onggi::stack
