#include "sys/namespace.h"

#include <fcntl.h>
#include <sched.h>

#include <cstdlib>

#include "base/file.h"

namespace onggi::sys {

Result<NetworkVisit> NetworkVisit::enter(int pid) {
  std::string path = "/proc/" + std::to_string(pid) + "/ns/net";
  UniqueFd there = TRY(open_at(AT_FDCWD, path, O_RDONLY)),
           home = TRY(open_at(AT_FDCWD, "/proc/thread-self/ns/net", O_RDONLY));
  if (::setns(there.get(), CLONE_NEWNET) < 0) return fail(Error::os("enter the network namespace", path));
  NetworkVisit visit;
  visit.home_ = NsFd(home.release());
  return visit;
}

NetworkVisit::~NetworkVisit() {
  // Going on in a stranger's network would be worse than ending.
  if (home_ && ::setns(home_.get(), CLONE_NEWNET) < 0) ::abort();
}

}  // namespace onggi::sys
