// Connection tracking's table (ctnetlink): reading it, and forgetting entries.
#pragma once

#include <functional>

#include "base/ip.h"
#include "sys/netlink.h"

namespace onggi::sys {

// One tracked connection. Addresses are those of its first packet, and of the answers (which differ by NAT).
struct Flow {
  uint8_t protocol = 0;  // IPPROTO_*
  IpAddress source, destination, reply_source, reply_destination;
  uint16_t source_port = 0, destination_port = 0, reply_source_port = 0, reply_destination_port = 0;
  uint32_t status = 0;    // IPS_*
  uint8_t tcp_state = 0;  // TCP_CONNTRACK_*; 0: not TCP, or not told
  uint32_t mark = 0;
};

// `socket` is of NETLINK_NETFILTER, in the network namespace that is asked about.
Result<> each_flow(NetlinkSocket& socket, const std::function<void(const Flow&)>& each);
Result<> forget_flows(NetlinkSocket& socket, const std::function<bool(const Flow&)>& which);

}  // namespace onggi::sys
