// Image documents: values -> JSON text, for images that are made here. The text's digest is the document's
// name, so the output is deterministic: no spaces, members in the order of the specification's Go types.
#pragma once

#include <string>

#include "oci/image_spec.h"

namespace onggi::oci {

std::string emit_manifest(const Manifest& manifest);
std::string emit_index(const Index& index);
std::string emit_image_config(const ImageConfig& config);
// The "config" member alone.
std::string emit_container_defaults(const ContainerDefaults& defaults);

}  // namespace onggi::oci
