// What the kernel's nf_tables has, as far as the engine asks: base chains of all tables, and single elements.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/netlink.h"

namespace onggi::sys {

struct NftBaseChain {
  std::string family, table, chain, type;  // "ip", "inet", ...
  uint32_t hook = 0;                       // NF_INET_*
  int priority = 0;
  bool drops = false;  // by policy
};
// In the order in which packets meet them: by hook, then priority.
Result<std::vector<NftBaseChain>> nft_base_chains(NetlinkSocket& socket);

struct NftElement {
  std::string data;   // of a map
  std::string chain;  // of a verdict map
};
// The element of a map (of family inet) with this key; nullopt: there is none, or no such map.
Result<std::optional<NftElement>> nft_element(NetlinkSocket& socket, const std::string& table,
                                              const std::string& map, std::string_view key);

}  // namespace onggi::sys
