// config.json and process.json -> oci::Spec, oci::Process, oci::Resources.
//
// Pure: text in, values out. Unknown members are ignored as the specification demands (config.md
// "Extensibility"); a member of the wrong type, a number out of range, a duplicate key or nesting deeper than
// 64 is an error which names the member by its path, e.g. `config.json: linux.resources.memory.limit:
// expected an integer, found a string`.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace onggi::oci {

Result<Spec> parse_spec(std::string_view json);
Result<Process> parse_process(std::string_view json);
// The object of `linux.resources`, which `update --resources` reads from a file.
Result<Resources> parse_resources(std::string_view json);

}  // namespace onggi::oci
