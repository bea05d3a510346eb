#include "sys/nftables_read.h"

#include <netinet/in.h>
// After the C library's own.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cstring>
#include <tuple>

namespace onggi::sys {

namespace {

uint32_t be32(std::string_view data) {
  uint32_t v = 0;
  if (data.size() == 4) memcpy(&v, data.data(), 4);
  return __builtin_bswap32(v);
}
std::string text(std::string_view data) { return std::string(data.substr(0, data.find('\0'))); }

std::string family_name(uint8_t family) {
  switch (family) {
    case NFPROTO_INET:
      return "inet";
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_BRIDGE:
      return "bridge";
    default:
      return "family " + std::to_string(family);
  }
}

nfgenmsg body(uint8_t family) {
  nfgenmsg m = {};
  m.nfgen_family = family;
  m.version = NFNETLINK_V0;
  return m;
}

constexpr uint16_t message(uint16_t type) { return static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type); }

void read_data(std::string_view data, NftElement& out) {
  each_attribute(data, [&](uint16_t type, std::string_view value) {
    if (type == NFTA_DATA_VALUE) out.data = value;
    if (type == NFTA_DATA_VERDICT)
      each_attribute(value, [&](uint16_t inner, std::string_view v) {
        if (inner == NFTA_VERDICT_CHAIN) out.chain = text(v);
      });
  });
}

}  // namespace

Result<std::vector<NftBaseChain>> nft_base_chains(NetlinkSocket& socket) {
  std::vector<NftBaseChain> list;
  NetlinkBatch batch;
  batch.begin(message(NFT_MSG_GETCHAIN), NLM_F_DUMP, body(NFPROTO_UNSPEC), "list the firewall's chains");
  TRY_VOID(socket.dump(batch, [&](const nlmsghdr* h) {
    auto* m = static_cast<const nfgenmsg*>(NLMSG_DATA(const_cast<nlmsghdr*>(h)));
    NftBaseChain chain;
    bool is_base = false;
    chain.family = family_name(m->nfgen_family);
    each_attribute(attributes_of(h, sizeof *m), [&](uint16_t type, std::string_view data) {
      if (type == NFTA_CHAIN_TABLE) chain.table = text(data);
      if (type == NFTA_CHAIN_NAME) chain.chain = text(data);
      if (type == NFTA_CHAIN_TYPE) chain.type = text(data);
      if (type == NFTA_CHAIN_POLICY) chain.drops = be32(data) == NF_DROP;
      if (type != NFTA_CHAIN_HOOK) return;
      is_base = true;
      each_attribute(data, [&](uint16_t inner, std::string_view value) {
        if (inner == NFTA_HOOK_HOOKNUM) chain.hook = be32(value);
        if (inner == NFTA_HOOK_PRIORITY) chain.priority = static_cast<int>(be32(value));
      });
    });
    if (is_base) list.push_back(std::move(chain));
  }));
  std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) {
    return std::tie(a.hook, a.priority) < std::tie(b.hook, b.priority);
  });
  return list;
}

Result<std::optional<NftElement>> nft_element(NetlinkSocket& socket, const std::string& table,
                                              const std::string& map, std::string_view key) {
  NetlinkBatch batch;
  batch.begin(message(NFT_MSG_GETSETELEM), NLM_F_DUMP, body(NFPROTO_INET), "list the map " + map);
  batch.put_string(NFTA_SET_ELEM_LIST_TABLE, table);
  batch.put_string(NFTA_SET_ELEM_LIST_SET, map);
  std::optional<NftElement> found;
  auto dumped = socket.dump(batch, [&](const nlmsghdr* h) {
    each_attribute(attributes_of(h, sizeof(nfgenmsg)), [&](uint16_t type, std::string_view list) {
      if (type != NFTA_SET_ELEM_LIST_ELEMENTS) return;
      each_attribute(list, [&](uint16_t, std::string_view element) {
        NftElement candidate;
        bool same = false;
        each_attribute(element, [&](uint16_t field, std::string_view value) {
          if (field == NFTA_SET_ELEM_KEY)
            each_attribute(value,
                           [&](uint16_t t, std::string_view v) { same |= t == NFTA_DATA_VALUE && v == key; });
          if (field == NFTA_SET_ELEM_DATA) read_data(value, candidate);
        });
        if (same) found = std::move(candidate);
      });
    });
  });
  if (!dumped && dumped.error().os_errno() != ENOENT) return fail(std::move(dumped).error());
  return found;
}

}  // namespace onggi::sys
