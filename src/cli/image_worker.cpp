#include "cli/image_worker.h"

namespace onggi::cli {

Result<> pull_image(engine::Engine&, const std::string& reference, const PullOptions&) {
  return fail(Error::unsupported("pull " + reference + ": not built yet"));
}

}  // namespace onggi::cli
