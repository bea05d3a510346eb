// The keeper and its watcher: two processes of one program, each holding the other's pidfd.
//
// The keeper serves names and heals the firewall while containers are on networks. When it ends without
// having said so, the watcher becomes the next keeper; when the watcher ends, the keeper starts another. Both
// killed at once leave containers running, without names until the next command of the engine (or its systemd
// unit) starts it. It keeps no state: all that it knows it reads from ROOT/networks and RUN/network, which it
// watches.
#pragma once

#include <string>

#include "base/result.h"

namespace onggi::keeper {

struct KeeperOptions {
  std::string root, run;
  int watch = 0;      // pid of the keeper to watch; 0: be the keeper
  bool wait = false;  // for the lock of the one that is at work
};
// Returns when no container is on a network any more, or another keeper is at work.
Result<> run_keeper(const KeeperOptions& options);

}  // namespace onggi::keeper
