// Entering namespaces of other processes, and coming back.
#pragma once

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

// While it lives, the calling thread is in the network namespace of another process.
class NetworkVisit {
 public:
  // Needs privileges over both namespaces.
  static Result<NetworkVisit> enter(int pid);
  NetworkVisit(NetworkVisit&&) noexcept = default;
  NetworkVisit& operator=(NetworkVisit&&) noexcept = default;
  ~NetworkVisit();

 private:
  NetworkVisit() = default;
  NsFd home_;
};

}  // namespace onggi::sys
