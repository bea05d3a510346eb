// One thread, one epoll: descriptors with what to do when they can be read or written.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::keeper {

class Loop {
 public:
  static Result<Loop> create();
  // `events`: EPOLLIN, EPOLLOUT. The descriptor stays its owner's, who removes it before it is closed.
  Result<> add(int fd, uint32_t events, std::function<void(uint32_t)> ready);
  void change(int fd, uint32_t events);
  void remove(int fd);
  // Waits at most `timeout_ms` (-1: for ever) and calls what is ready.
  void turn(int timeout_ms);

 private:
  UniqueFd epoll_;
  std::unordered_map<int, std::shared_ptr<std::function<void(uint32_t)>>> handlers_;
};

int64_t steady_ms();

}  // namespace onggi::keeper
