// Times as users and files see them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace onggi::engine {

// RFC 3339, UTC, nanoseconds: "2024-05-01T12:00:00.123456789Z".
std::string now_rfc3339();
std::string rfc3339(int64_t unix_nanoseconds);
int64_t now_nanoseconds();  // since the epoch
// Any RFC 3339 text, to nanoseconds since the epoch. kInvalid names it.
Result<int64_t> parse_rfc3339(std::string_view text);
// What --since and --until take: RFC 3339 (also without zone or time), Unix seconds with fraction, or a
// duration before now ("10m", "1h30m").
Result<int64_t> parse_moment(std::string_view text);
// Go's durations: "300ms", "1.5h", "2h45m"; to nanoseconds.
Result<int64_t> parse_duration(std::string_view text);
// "2 minutes", "About an hour", ... as the field's tables print ages.
std::string human_duration(int64_t nanoseconds);

}  // namespace onggi::engine
