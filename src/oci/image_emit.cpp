#include "oci/image_emit.h"

#include "oci/image_json.h"

namespace onggi::oci {

template <class T>
static std::string emit(const T& value) {
  JsonWriter w;
  json_write(w, value);
  return w.take();
}

std::string emit_manifest(const Manifest& manifest) { return emit(manifest); }
std::string emit_index(const Index& index) { return emit(index); }
std::string emit_image_config(const ImageConfig& config) { return emit(config); }
std::string emit_container_defaults(const ContainerDefaults& defaults) { return emit(defaults); }

}  // namespace onggi::oci
