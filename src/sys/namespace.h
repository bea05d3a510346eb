// Entering namespaces of other processes, and coming back.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

// While it lives, the calling thread is in the network namespace of another process.
class NetworkVisit {
 public:
  // Needs privileges over both namespaces.
  static Result<NetworkVisit> enter(int pid);
  static Result<NetworkVisit> enter_fd(int netns, const std::string& what);
  NetworkVisit(NetworkVisit&&) noexcept = default;
  NetworkVisit& operator=(NetworkVisit&&) noexcept = default;
  ~NetworkVisit();

 private:
  NetworkVisit() = default;
  NsFd home_;
};

// A new network namespace with nothing in it but a loopback device; the caller stays where it is. It lives as
// long as the descriptor, sockets made in it, or links that lead to it.
Result<NsFd> make_network_namespace();
// The calling thread's.
Result<NsFd> own_network_namespace();

}  // namespace onggi::sys
