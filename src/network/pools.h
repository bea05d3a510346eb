// Choosing subnets and addresses. Pure: what is taken comes in as data.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/ip.h"

namespace onggi::network {

// Subnets that new IPv4 networks get, when nobody asks for one: 1,024 of 1,021 containers each, which is what
// one bridge has ports for (1,023), then 512 more elsewhere. None is a cloud's or another engine's default.
inline constexpr const char* kPools[] = {"10.208.0.0/12", "172.24.0.0/13"};
inline constexpr unsigned kPoolLength = 22;

// The first subnet of `length` bits in `pools` that overlaps nothing of `taken`. kBusy when there is none.
Result<IpPrefix> choose_subnet(const std::vector<IpPrefix>& pools, unsigned length,
                               const std::vector<IpPrefix>& taken);
// A unique local /48 (RFC 4193, 3.2.2) from 5 random bytes; /64 number `n` of it.
IpPrefix unique_local_prefix(std::string_view five_random_bytes);
IpPrefix unique_local_subnet(const IpPrefix& prefix, uint16_t n);

// First address that a network's gateway gets by default.
IpAddress default_gateway(const IpPrefix& subnet);
// Can a container have it? Not the network's own address, nor the broadcast address of IPv4. kInvalid says
// why.
Result<> check_host_address(const IpPrefix& subnet, const IpAddress& address);
// Calls `claim` for free candidates of `range` in order, beginning at offset `first`, until it takes one
// (true). `skip`: taken for sure. kBusy when the range is used up.
Result<IpAddress> choose_address(const IpPrefix& subnet, const IpPrefix& range,
                                 const std::function<bool(const IpAddress&)>& skip,
                                 const std::function<Result<bool>(const IpAddress&)>& claim);

}  // namespace onggi::network
