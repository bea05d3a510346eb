// From the many ways of saying a thing to one: short forms become long ones, lists of NAME=VALUE become
// mappings, port ranges are spread, sizes and durations get one spelling. The tree was checked before
// (schema.h); what a short form cannot mean is an error with its place.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "stack/node.h"

namespace onggi::stack {

// A whole file's tree, in place.
Result<> canonicalize(Node& file);
// Relative paths become absolute, seen from `directory`; "~" is `home`.
void resolve_paths(Node& file, const std::string& directory, const std::string& home);
// "a/./b//../c" -> "a/c". Pure: symlinks are not looked at.
std::string clean_path(std::string_view path);

// A command line into words, as a shell splits and unquotes it, without expanding anything.
Result<std::vector<std::string>> shell_words(std::string_view text);

}  // namespace onggi::stack
