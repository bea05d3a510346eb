// Who answers to which name, network by network. Pure: fed with endpoint records, asked by the name service.
//
// A container is asked for by what it is on its networks: a client sees the names of all networks that it is
// on itself, and of no other.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ip.h"

namespace onggi::keeper {

struct NamedEndpoint {
  std::string container;           // full id
  std::vector<std::string> names;  // lower case
  IpAddress ipv4, ipv6;
  std::vector<std::string> ports;  // "80/tcp"
  std::vector<IpAddress> resolvers;
  bool drained = false;
};

struct NamedNetwork {
  std::string id, name;
  bool internal = false;
  std::vector<IpPrefix> subnets;
};

// One question's answer, before it is a packet.
struct Answer {
  enum class Kind : uint8_t {
    kForward,  // not ours: another server's to say
    kNone,     // ours, and there is no such name
    kNoData,   // ours, and it has nothing of that type
    kAddresses,
    kNames,  // of an address
    kServices,
  };
  struct Service {
    std::string target;
    uint16_t port = 0;
  };
  Kind kind = Kind::kForward;
  std::vector<IpAddress> addresses;
  std::vector<std::string> names;
  std::vector<Service> services;
};

// Types that are answered from the table (RFC 1035, 3596, 2782).
enum class Wanted : uint8_t { kA, kAaaa, kAny, kPtr, kSrv, kOther };

class NameTable {
 public:
  void set_network(NamedNetwork network);
  void remove_network(const std::string& id);
  void set_endpoint(const std::string& network, NamedEndpoint endpoint);
  void remove_endpoint(const std::string& network, const std::string& container);

  // The container that has the address on the network; nullptr: nobody's.
  [[nodiscard]] const NamedEndpoint* client(const std::string& network, const IpAddress& address) const;
  // `name` in lower case, without a final dot. Addresses start with another one each time.
  [[nodiscard]] Answer ask(const std::string& container, const std::string& name, Wanted wanted);
  // May its other questions leave the machine? Not when all of its networks are internal.
  [[nodiscard]] bool may_forward(const std::string& container) const;
  // Servers that the container asked for (--dns); empty: the host's.
  [[nodiscard]] std::vector<IpAddress> resolvers_of(const std::string& container) const;
  [[nodiscard]] const NamedNetwork* network(const std::string& id) const;
  [[nodiscard]] size_t size() const;
  // Asked when a name's IPv6 address is wanted: true leaves the container's out (listeners.h).
  void hide_v6_of(std::function<bool(const std::string& container)> hides) { hides_v6_ = std::move(hides); }

 private:
  struct Members {
    NamedNetwork network;
    std::unordered_map<std::string, NamedEndpoint> endpoints;           // by container
    std::unordered_map<std::string, std::vector<std::string>> by_name;  // containers
    std::unordered_map<std::string, std::string> by_address;            // container
  };
  void forget(Members& m, const std::string& container);
  void find(const Members& m, const std::string& name, std::vector<const NamedEndpoint*>& out) const;
  [[nodiscard]] std::vector<const Members*> networks_of(const std::string& container) const;
  [[nodiscard]] std::vector<const NamedEndpoint*> named(const std::string& container,
                                                        const std::string& name) const;
  Answer ask_address(const std::string& container, const std::string& name) const;
  Answer ask_service(const std::string& container, const std::string& name) const;
  void rotate(std::vector<IpAddress>& addresses);
  std::map<std::string, Members> networks_;
  std::unordered_map<std::string, std::vector<std::string>> on_;  // container -> networks
  uint64_t turn_ = 0;
  std::function<bool(const std::string&)> hides_v6_;
};

// "http" -> 80, as /etc/services has it; a number is itself. 0: unknown.
uint16_t service_port(const std::string& name, const std::string& protocol);

}  // namespace onggi::keeper
