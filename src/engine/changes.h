// Dockerfile instructions that change an image's configuration (commit --change, import --change).
#pragma once

#include <string>

#include "base/result.h"
#include "oci/image_spec.h"

namespace onggi::engine {

// CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR; JSON and shell forms. kInvalid
// names the instruction.
Result<> apply_change(const std::string& line, oci::ContainerDefaults& defaults);

}  // namespace onggi::engine
