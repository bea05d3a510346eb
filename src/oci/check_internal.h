// What the parts of the check share. Internal to oci/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace onggi::oci {

struct CheckContext {
  std::vector<std::string>* warnings;

  void warn(std::string text) const {
    if (warnings) warnings->push_back(std::move(text));
  }
};

inline std::unexpected<Error> broken(std::string_view member, std::string_view rule) {
  std::string text(member);
  text += ": ";
  text += rule;
  return fail(Error::invalid(std::move(text)));
}

inline std::string at(std::string_view list, size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

inline std::string quoted(std::string_view s) {
  std::string out = "\"";
  out += s;
  out += '"';
  return out;
}

inline bool is_absolute(std::string_view path) { return path.starts_with('/'); }

inline const Namespace* find_namespace(const Spec& spec, NamespaceType type) {
  for (const Namespace& ns : spec.linux.namespaces)
    if (ns.type == type) return &ns;
  return nullptr;
}

// Sizes, overflow and overlap of id mappings.
Result<> check_mappings(const std::vector<IdMapping>& mappings, const std::string& member);

Result<> check_mounts(const Spec& spec, const CheckContext& context);
Result<> check_linux(const Spec& spec, const CheckContext& context);
Result<> check_resources(const Resources& resources);

}  // namespace onggi::oci
