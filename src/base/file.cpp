#include "base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>

namespace onggi {

Result<UniqueFd> open_at(int dirfd, const std::string& path, int flags, unsigned mode) {
  int fd = ::openat(dirfd, path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return fail(Error::os("open", path));
  return UniqueFd(fd);
}

Result<std::string> read_fd(int fd, std::string_view name, size_t limit) {
  std::string data;
  size_t used = 0;
  data.resize(4096);
  for (;;) {
    if (used == data.size()) {
      if (data.size() > limit)
        return fail(Error(
            ErrorKind::kInvalid,
            "read '" + std::string(name) + "': larger than the limit of " + std::to_string(limit) + " bytes",
            EFBIG));
      data.resize(data.size() * 2);
    }
    ssize_t n = ::read(fd, data.data() + used, data.size() - used);
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail(Error::os("read", name));
    }
    if (n == 0) break;
    used += static_cast<size_t>(n);
  }
  if (used > limit)
    return fail(Error(
        ErrorKind::kInvalid,
        "read '" + std::string(name) + "': larger than the limit of " + std::to_string(limit) + " bytes",
        EFBIG));
  data.resize(used);
  return data;
}

Result<std::string> read_file_at(int dirfd, const std::string& path, size_t limit) {
  UniqueFd fd = TRY(open_at(dirfd, path, O_RDONLY));
  return read_fd(fd.get(), path, limit);
}

Result<std::string> read_file(const std::string& path, size_t limit) {
  return read_file_at(AT_FDCWD, path, limit);
}

Result<> write_all(int fd, std::string_view data, std::string_view name) {
  while (!data.empty()) {
    ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail(Error::os("write", name));
    }
    data.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<> write_file_at(int dirfd, const std::string& path, std::string_view data, int flags, unsigned mode) {
  UniqueFd fd = TRY(open_at(dirfd, path, O_WRONLY | flags, mode));
  ssize_t n;
  do {
    n = ::write(fd.get(), data.data(), data.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    int e = errno;
    std::string shown(trim(data.substr(0, 128)));
    return fail(Error::os("write '" + shown + "' to", path, e));
  }
  if (static_cast<size_t>(n) != data.size())
    return write_all(fd.get(), data.substr(static_cast<size_t>(n)), path);
  return {};
}

Result<> write_file(const std::string& path, std::string_view data, int flags, unsigned mode) {
  return write_file_at(AT_FDCWD, path, data, flags, mode);
}

Result<> replace_file_at(int dirfd, const std::string& name, std::string_view data, unsigned mode) {
  std::string temporary = name + ".tmp." + std::to_string(::getpid());
  if (auto r = write_file_at(dirfd, temporary, data, O_CREAT | O_TRUNC | O_NOFOLLOW, mode); !r) {
    ::unlinkat(dirfd, temporary.c_str(), 0);
    return r;
  }
  if (::renameat(dirfd, temporary.c_str(), dirfd, name.c_str()) < 0) {
    int e = errno;
    ::unlinkat(dirfd, temporary.c_str(), 0);
    return fail(Error::os("rename", name, e));
  }
  return {};
}

std::string_view trim(std::string_view s) {
  constexpr std::string_view kSpace = " \t\r\n";
  size_t first = s.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return s.substr(first, s.find_last_not_of(kSpace) - first + 1);
}

template <class T>
static Result<T> parse_number(std::string_view s, std::string_view what) {
  T value{};
  auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), value);
  if (s.empty() || ec != std::errc() || end != s.data() + s.size())
    return fail(Error::invalid(std::string(what) + ": '" + std::string(s) + "' is not a valid number"));
  return value;
}

Result<uint64_t> parse_u64(std::string_view s, std::string_view what) {
  return parse_number<uint64_t>(s, what);
}
Result<int64_t> parse_i64(std::string_view s, std::string_view what) {
  return parse_number<int64_t>(s, what);
}

}  // namespace onggi
