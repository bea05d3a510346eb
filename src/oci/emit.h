// Values of oci/ as JSON.
#pragma once

#include <string>
#include <string_view>

#include "oci/runtime_spec.h"

namespace onggi::oci {

// `indent` as in JsonWriter: "" for one line, "\t" for what `spec` writes. Members that are absent or have
// their default are left out, except those that the specification requires.
std::string emit_spec(const Spec& spec, std::string_view indent = "\t");
std::string emit_process(const Process& process, std::string_view indent = {});
std::string emit_resources(const Resources& resources, std::string_view indent = {});

}  // namespace onggi::oci
