// What the systemd manager tells systemd about a container: linux.resources and annotations as D-Bus unit
// properties. Pure.
//
// systemd re-applies its own idea of a unit's limits at daemon-reload, so every limit that it knows is set as
// a property and the rest is written to the cgroup file system afterwards. Names and mapping are runc's
// (docs/systemd.md).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"
#include "runtime/cgroup_devices.h"

namespace onggi::runtime {

// One property. `signature`: a basic D-Bus type (b y n q i u x t d s o), an array of one ("as"), or "a(ss)".
// `values` are the elements in decimal, "true"/"false", or as text; of "a(ss)" pairwise.
struct SystemdProperty {
  std::string name;
  std::string signature;
  std::vector<std::string> values;
};

// Annotations "org.systemd.property.NAME": GVariant text, such as 'inactive-or-failed', uint32 5, true, ['a',
// 'b']. NAME...Sec with a number becomes NAME...USec in microseconds. Errors name the annotation.
Result<std::vector<SystemdProperty>> annotation_properties(const oci::StringMap& annotations);

// `proc_devices`: the text of /proc/devices, which names the drivers of whole majors. `devices`: nullptr
// leaves device rules alone.
Result<std::vector<SystemdProperty>> resource_properties(const oci::Resources& resources, bool v2,
                                                         const DevicePolicy* devices,
                                                         std::string_view proc_devices);

// "slice:prefix:name" (empty: the defaults) -> unit and slice.
struct SystemdUnit {
  std::string slice;  // "machine.slice"
  std::string unit;   // "libpod-ID.scope"
  std::string name;   // for the description
};
Result<SystemdUnit> parse_systemd_path(std::string_view cgroups_path, std::string_view id, bool rootless);

// The unit itself: description, slice, delegation, accounting, the process.
std::vector<SystemdProperty> unit_properties(const SystemdUnit& unit, int pid, bool v2);

}  // namespace onggi::runtime
