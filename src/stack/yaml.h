// YAML text to Node: libyaml's events, with aliases and `<<` resolved here, under a budget.
//
// Refused, with file, line and column: more than kYamlMaxBytes of text, nesting over kYamlMaxDepth, more than
// kYamlMaxNodes nodes after aliases were copied (an "anchor bomb" ends here, whatever it would have grown
// to), duplicate keys, keys that are not scalars, unknown aliases, aliases of what contains them, tags other
// than YAML's own, !reset and !override, several documents.
#pragma once

#include <cstddef>
#include <string_view>

#include "stack/node.h"

namespace onggi::stack {

inline constexpr size_t kYamlMaxBytes = 4u << 20;
inline constexpr size_t kYamlMaxDepth = 64;
inline constexpr size_t kYamlMaxNodes = 200'000;

// `name` is what errors call the file. An empty document is null.
Result<Node> parse_yaml(std::string_view text, std::string_view name);

// The kind of a plain (unquoted) scalar.
Node::Kind plain_kind(std::string_view text);

}  // namespace onggi::stack
