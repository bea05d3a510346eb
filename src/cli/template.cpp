#include "cli/template.h"

namespace onggi::cli {

Result<std::string> render_template(std::string_view text, JsonValue) {
  return fail(
      Error::unsupported("templates are not built yet: '" + std::string(text) + "'; use --format json"));
}

}  // namespace onggi::cli
