// Small whole-file reads and writes relative to a directory fd. All reads are bounded.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace onggi {

inline constexpr size_t kDefaultReadLimit = 16u << 20;  // bytes

// openat(2) with O_CLOEXEC added. The error names `path`.
Result<UniqueFd> open_at(int dirfd, const std::string& path, int flags, unsigned mode = 0);

// The whole file; fails with kInvalid (EFBIG) when it is larger than `limit` bytes.
Result<std::string> read_file_at(int dirfd, const std::string& path, size_t limit = kDefaultReadLimit);
Result<std::string> read_file(const std::string& path, size_t limit = kDefaultReadLimit);
Result<std::string> read_fd(int fd, std::string_view name, size_t limit = kDefaultReadLimit);

// One write(2) of all of `data` (what kernel interface files want). `flags` beside O_WRONLY | O_CLOEXEC.
Result<> write_file_at(int dirfd, const std::string& path, std::string_view data, int flags = 0,
                       unsigned mode = 0644);
Result<> write_file(const std::string& path, std::string_view data, int flags = 0, unsigned mode = 0644);
// Writes everything, over as many write(2) calls as it takes; retries EINTR.
Result<> write_all(int fd, std::string_view data, std::string_view name);
// Writes `name`.tmp.<pid> and renames it over `name`: readers see the old or the new content, never a part.
Result<> replace_file_at(int dirfd, const std::string& name, std::string_view data, unsigned mode = 0600);

// Text helpers that the field's interface files need everywhere.
std::string_view trim(std::string_view s);
// Strict unsigned decimal: digits only, no sign, no overflow.
Result<uint64_t> parse_u64(std::string_view s, std::string_view what);
// Strict signed decimal.
Result<int64_t> parse_i64(std::string_view s, std::string_view what);

}  // namespace onggi
