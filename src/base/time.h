// Times as documents write them (RFC 3339), without locale or time zone data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace onggi {

struct Timestamp {
  int64_t seconds = 0;  // since the epoch
  int32_t nanoseconds = 0;
};

// "2024-02-29T23:59:60.123456789+09:00"; nullopt when it is not of that form.
std::optional<Timestamp> parse_rfc3339(std::string_view text);
// In UTC with "Z"; the fraction only when it is not 0, without trailing zeros (as Go prints it).
std::string format_rfc3339(Timestamp time);
// The wall clock.
Timestamp now();

}  // namespace onggi
