// Variables in values: $V ${V} ${V:-d} ${V-d} ${V:?e} ${V?e} ${V:+a} ${V+a} and $$, nested (Compose
// specification, 12). And the files that variables come from: .env, --env-file, env_file.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "stack/node.h"

namespace onggi::stack {

using Environment = std::map<std::string, std::string, std::less<>>;
using Lookup = std::function<std::optional<std::string>(std::string_view name)>;

inline constexpr size_t kInterpolatedMaxBytes = 1u << 20;  // of one value
inline constexpr size_t kInterpolationMaxDepth = 32;       // ${A:-${B:-...}}

// `unset` (may be nullptr) hears of variables without value and default, which become empty. kInvalid says
// what is wrong, without a place.
Result<std::string> interpolate(std::string_view text, const Lookup& lookup, std::set<std::string>* unset);
// All values of a tree (not its keys). Errors carry the value's place.
Result<> interpolate_tree(Node& node, const Lookup& lookup, std::set<std::string>* unset);

// Lines of [export ]NAME=VALUE; values plain (a comment begins at " #"), 'literal' or "with \n and
// ${VARIABLES}"; a NAME alone takes the value of `lookup`. Values may use earlier ones. `name` is what errors
// call the file. In the order of the text.
Result<std::vector<std::pair<std::string, std::string>>> parse_dotenv(std::string_view text,
                                                                      std::string_view name,
                                                                      const Lookup& lookup);

}  // namespace onggi::stack
