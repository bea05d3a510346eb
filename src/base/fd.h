// UniqueFd: the only owner of a file descriptor. close(2) is called in fd.cpp and nowhere else.
//
// Typed wrappers make it impossible to hand a pidfd where a mount is wanted. Parameters borrow: functions
// take `int` (or the typed wrapper by const reference) and never close what they were given.
#pragma once

#include <utility>
#include <vector>

namespace onggi {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  // Gives ownership to the caller.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept;

 private:
  int fd_ = -1;
};

struct PidFd : UniqueFd {
  using UniqueFd::UniqueFd;
};
struct MountFd : UniqueFd {
  using UniqueFd::UniqueFd;
};
struct NsFd : UniqueFd {
  using UniqueFd::UniqueFd;
};

// Closes all of them, with one call for each run of neighbouring numbers.
void close_all(std::vector<UniqueFd>& fds) noexcept;

}  // namespace onggi
