#include "base/fd.h"

#include <unistd.h>

namespace onggi {

void UniqueFd::reset(int fd) noexcept {
  int old = std::exchange(fd_, fd);
  if (old >= 0 && old != fd) ::close(old);
}

}  // namespace onggi
