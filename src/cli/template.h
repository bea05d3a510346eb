// Go's text/template, as far as the field's users write it in --format.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace onggi::cli {

// Renders `text` over the JSON value. Errors name the place in the template.
Result<std::string> render_template(std::string_view text, JsonValue value);

}  // namespace onggi::cli
