// Hears of every change of the host's nftables, and tells when our table was touched by somebody else.
#pragma once

#include <functional>
#include <string>

#include "keeper/loop.h"
#include "sys/netlink.h"

namespace onggi::keeper {

class FirewallWatch {
 public:
  // `heal` is called after a transaction of another program that changed the table, and when changes were
  // missed.
  static Result<FirewallWatch> start(Loop& loop, std::string table, std::function<void()> heal);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace onggi::keeper
