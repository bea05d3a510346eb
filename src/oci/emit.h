// Values of oci/ as JSON and as tables.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "oci/runtime_spec.h"

namespace onggi::oci {

// `indent` as in JsonWriter: "" for one line, "\t" for what `spec` writes. Members that are absent or have their default are left
// out, except those that the specification requires.
std::string emit_spec(const Spec& spec, std::string_view indent = "\t");
std::string emit_process(const Process& process, std::string_view indent = {});
std::string emit_resources(const Resources& resources, std::string_view indent = {});

// What `state` and `list` print about one container; runtime.md "State", with the members that runc adds (rootfs, created,
// owner). Order and spelling are what engines parse.
struct ContainerState {
  std::string oci_version;
  std::string id;
  int pid = 0;  // 0 when stopped
  std::string status;  // creating, created, running, paused, stopped
  std::string bundle;
  std::string rootfs;
  std::string created;  // RFC 3339 with nanoseconds, UTC
  StringMap annotations;
  std::string owner;  // a user's name, or "#" and the id
};

std::string emit_state(const ContainerState& state, std::string_view indent = "  ");
// One line of JSON; "null" for none, which is what runc's users see.
std::string emit_list_json(const std::vector<ContainerState>& states);
// Columns ID PID STATUS BUNDLE CREATED OWNER, at least 12 wide.
std::string emit_list_table(const std::vector<ContainerState>& states);

}  // namespace onggi::oci
