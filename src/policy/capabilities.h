// Capabilities by name and number; the vocabulary is the specification's, so its home is oci/.
#pragma once

#include "oci/capability.h"

namespace onggi::policy {

using oci::capability_name;
using oci::capability_names;
using oci::capability_number;
using oci::kLastCapability;

}  // namespace onggi::policy
