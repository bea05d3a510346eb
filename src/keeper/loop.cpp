#include "keeper/loop.h"

#include <sys/epoll.h>
#include <time.h>

namespace onggi::keeper {

int64_t steady_ms() {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1'000'000;
}

Result<Loop> Loop::create() {
  Loop loop;
  loop.epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!loop.epoll_) return fail(Error::os("make an epoll", ""));
  return loop;
}

Result<> Loop::add(int fd, uint32_t events, std::function<void(uint32_t)> ready) {
  epoll_event e = {};
  e.events = events;
  e.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) < 0) return fail(Error::os("watch a descriptor", ""));
  handlers_[fd] = std::make_shared<std::function<void(uint32_t)>>(std::move(ready));
  return {};
}

void Loop::change(int fd, uint32_t events) {
  epoll_event e = {};
  e.events = events;
  e.data.fd = fd;
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &e);
}

void Loop::remove(int fd) {
  if (handlers_.erase(fd)) (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void Loop::turn(int timeout_ms) {
  epoll_event events[64];
  int n = ::epoll_wait(epoll_.get(), events, 64, timeout_ms);
  for (int i = 0; i < n; i++) {
    // A handler may remove others of this round, and itself.
    auto at = handlers_.find(events[i].data.fd);
    if (at == handlers_.end()) continue;
    auto handler = at->second;
    (*handler)(events[i].events);
  }
}

}  // namespace onggi::keeper
