// Names and numbers of the Linux capabilities (capabilities(7), linux/capability.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace onggi::oci {

inline constexpr uint32_t kLastCapability = 40;  // CAP_CHECKPOINT_RESTORE

// "CAP_CHOWN" (any case, with or without the prefix) -> 0. nullopt: unknown.
std::optional<uint32_t> capability_number(std::string_view name);
// 0 -> "CAP_CHOWN". Precondition: number <= kLastCapability.
const char* capability_name(uint32_t number);
std::vector<std::string> capability_names();

}  // namespace onggi::oci
