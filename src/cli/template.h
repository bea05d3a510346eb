// Go's text/template (pkg.go.dev/text/template) over a JSON value, as far as people write it in --format:
// fields, variables, pipelines, if/else/with/range/break/continue, comparison, the built-in functions but
// html, js, urlquery and call, and docker's own (json, join, split, lower, upper, title, pad, truncate,
// trim...). No define, block or template.
//
// Two passes: template_parse.cpp turns the text into a tree and refuses what is malformed before anything is
// printed; template.cpp walks the tree. A field that is not there is false in a condition and an error where
// it would be printed: a typing mistake must not look like an empty value.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace onggi::cli {

// Renders `text` over the JSON value. Errors (kInvalid) name line and column in the template, and what is
// there instead of a field that is not.
Result<std::string> render_template(std::string_view text, JsonValue value);

}  // namespace onggi::cli
