#include "network/pools.h"

#include <algorithm>

namespace onggi::network {

Result<IpPrefix> choose_subnet(const std::vector<IpPrefix>& pools, unsigned length,
                               const std::vector<IpPrefix>& taken) {
  for (const IpPrefix& pool : pools) {
    unsigned bits = pool.is_v4() ? 32 : 128;
    if (length < pool.length() || length > bits) continue;
    IpAddress at = pool.address();
    while (pool.contains(at)) {
      IpPrefix candidate(at, length);
      auto clash =
          std::find_if(taken.begin(), taken.end(), [&](const auto& t) { return t.overlaps(candidate); });
      if (clash == taken.end()) return candidate;
      // Behind whichever is the larger; the end of the address space ends the search.
      IpAddress last = std::max(candidate.last(), clash->last());
      IpAddress next = IpPrefix(last, length).last().plus(1);
      if (next <= at) break;
      at = next;
    }
  }
  return fail(Error::busy(
      "could not find an available, non-overlapping subnet among the pools; remove unused networks (onggi "
      "network prune), or give one with --subnet"));
}

IpPrefix unique_local_prefix(std::string_view random) {
  std::string bytes = "\xfd" + std::string(random.substr(0, 5));
  bytes.resize(16);
  return {IpAddress::from_bytes(bytes), 48};
}

IpPrefix unique_local_subnet(const IpPrefix& prefix, uint16_t n) {
  std::string bytes(prefix.address().bytes());
  bytes[6] = static_cast<char>(n >> 8);
  bytes[7] = static_cast<char>(n);
  return {IpAddress::from_bytes(bytes), 64};
}

IpAddress default_gateway(const IpPrefix& subnet) { return subnet.address().plus(1); }

Result<> check_host_address(const IpPrefix& subnet, const IpAddress& address) {
  auto invalid = [&](const char* why) {
    return fail(Error::invalid("the address " + address.text() + why + subnet.text()));
  };
  if (!subnet.contains(address)) return invalid(" does not belong to the subnet ");
  if (subnet.is_v4() && subnet.length() >= 31) return {};
  if (address == subnet.address()) return invalid(" is the address of the network ");
  if (subnet.is_v4() && address == subnet.last()) return invalid(" is the broadcast address of ");
  return {};
}

Result<IpAddress> choose_address(const IpPrefix& subnet, const IpPrefix& range,
                                 const std::function<bool(const IpAddress&)>& skip,
                                 const std::function<Result<bool>(const IpAddress&)>& claim) {
  constexpr uint64_t kMostTries = 1u << 20;  // of an IPv6 subnet nobody fills more
  IpAddress at = range.address();
  for (uint64_t n = 0; n < kMostTries && range.contains(at); n++, at = at.plus(1)) {
    if (check_host_address(subnet, at) && !skip(at) && TRY(claim(at))) return at;
    if (at == range.last()) break;
  }
  return fail(Error::busy("no available addresses on the network: all of " + range.text() +
                          " are taken; remove containers, or make a larger network"));
}

}  // namespace onggi::network
