// Printing is the tables of spec_json.h, written out.
#include "oci/emit.h"

#include "oci/spec_json.h"

namespace onggi::oci {
namespace {

template <class T>
std::string emit(const T& value, std::string_view indent) {
  JsonWriter w(indent);
  json_write(w, value);
  return w.take();
}

}  // namespace

std::string emit_spec(const Spec& spec, std::string_view indent) { return emit(spec, indent); }
std::string emit_process(const Process& process, std::string_view indent) { return emit(process, indent); }
std::string emit_resources(const Resources& resources, std::string_view indent) {
  return emit(resources, indent);
}

}  // namespace onggi::oci
