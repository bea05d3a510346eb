#include "sys/namespace.h"

#include <fcntl.h>
#include <sched.h>

#include <cstdlib>

#include "base/file.h"

namespace onggi::sys {

Result<NetworkVisit> NetworkVisit::enter(int pid) {
  std::string path = "/proc/" + std::to_string(pid) + "/ns/net";
  UniqueFd there = TRY(open_at(AT_FDCWD, path, O_RDONLY));
  return enter_fd(there.get(), path);
}

Result<NetworkVisit> NetworkVisit::enter_fd(int netns, const std::string& what) {
  NetworkVisit visit;
  NsFd home = TRY(own_network_namespace());
  if (::setns(netns, CLONE_NEWNET) < 0) return fail(Error::os("enter the network namespace", what));
  visit.home_ = std::move(home);
  return visit;
}

NetworkVisit::~NetworkVisit() {
  // Going on in a stranger's network would be worse than ending.
  if (home_ && ::setns(home_.get(), CLONE_NEWNET) < 0) ::abort();
}

Result<NsFd> own_network_namespace() {
  return NsFd(TRY(open_at(AT_FDCWD, "/proc/thread-self/ns/net", O_RDONLY)).release());
}

Result<NsFd> make_network_namespace() {
  NsFd home = TRY(own_network_namespace());
  if (::unshare(CLONE_NEWNET) < 0) return fail(Error::os("make a network namespace", ""));
  auto made = own_network_namespace();
  if (::setns(home.get(), CLONE_NEWNET) < 0) ::abort();
  return made;
}

}  // namespace onggi::sys
