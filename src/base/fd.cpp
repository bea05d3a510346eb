#include "base/fd.h"

#include <unistd.h>

namespace onggi {

void UniqueFd::reset(int fd) noexcept {
  int old = std::exchange(fd_, fd);
  if (old >= 0 && old != fd) ::close(old);
}

void close_all(std::vector<UniqueFd>& fds) noexcept {
  for (size_t i = 0; i < fds.size();) {
    size_t end = i + 1;
    if (!fds[i]) {
      i = end;
      continue;
    }
    while (end < fds.size() && fds[end].get() == fds[end - 1].get() + 1) end++;
    // close_range closes or (before 5.9, or under a filter) does nothing at all; then each is closed by its
    // owner.
    bool closed = end - i > 1 && ::close_range(static_cast<unsigned>(fds[i].get()),
                                               static_cast<unsigned>(fds[end - 1].get()), 0) == 0;
    for (; i < end; i++)
      if (closed) (void)fds[i].release();
  }
  fds.clear();
}

}  // namespace onggi
