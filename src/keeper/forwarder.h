// Questions that are not about containers, asked of other servers from the host's network.
//
// Every question has a socket of its own, so that a forged answer has to guess its port and its number.
// Bounded: so many at a time in all and for each client; who is over it hears that the service failed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "keeper/dns_message.h"
#include "keeper/loop.h"

namespace onggi::keeper {

class Forwarder {
 public:
  // The reply's bytes; empty: nobody answered.
  using Done = std::function<void(std::string reply)>;

  explicit Forwarder(Loop& loop);
  ~Forwarder();
  // `servers` empty: those of the host's /etc/resolv.conf. `client` names who is counted. `stream`: over TCP.
  void ask(const Question& question, const std::string& client, std::vector<IpAddress> servers, bool stream,
           Done done);
  // Gives up on what is overdue. Milliseconds until that is worth a call again; -1: nothing is waiting.
  int expire();

 private:
  struct Pending;
  void begin(Pending& p);
  void next(Pending& p);
  void finish(Pending& p, std::string reply);
  void ready(uint64_t key, uint32_t events);
  void read_stream(Pending& p);
  Loop& loop_;
  std::map<uint64_t, std::unique_ptr<Pending>> pending_;
  std::unordered_map<std::string, size_t> of_client_;
  uint64_t next_key_ = 1;
};

// "nameserver" lines; at most three, as the C library has it. Read again when the file changes.
std::vector<IpAddress> host_resolvers(const std::string& path = "/etc/resolv.conf");

}  // namespace onggi::keeper
