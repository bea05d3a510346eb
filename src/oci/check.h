// Judges a parsed Spec by the rules of the specification that do not depend on the host. Pure.
#pragma once

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace onggi::oci {

// Errors name the member and the rule, e.g. `linux.namespaces: "pid" is listed twice`. What the field ignores (an unknown
// capability) is ignored here too, and said in `warnings` when the caller gives a place for them.
Result<> check_spec(const Spec& spec, std::vector<std::string>* warnings = nullptr);
Result<> check_process(const Process& process, std::vector<std::string>* warnings = nullptr);

}  // namespace onggi::oci
