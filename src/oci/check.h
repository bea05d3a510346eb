// Judges a parsed Spec by the rules of the specification that do not depend on the host. Pure.
#pragma once

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace onggi::oci {

// Errors name the member and the rule, e.g. `linux.namespaces: "pid" is listed twice`.
Result<> check_spec(const Spec& spec);
Result<> check_process(const Process& process);

}  // namespace onggi::oci
