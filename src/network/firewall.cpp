#include "network/firewall.h"

#include <netinet/in.h>
// After the C library's own.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>

namespace onggi::network {

namespace {

using sys::NftBatch;
using sys::NftSet;
using sys::NftType;

constexpr uint32_t kIfnameBytes = 16;
// Slots of a shared port: each target has its share of them. 120 divides evenly by most small numbers.
constexpr uint32_t kSlots = 120;
constexpr int kPriorityGuard = -160;  // after connection tracking (-200), before anything else decides
constexpr int kPriorityDnat = -100, kPriorityFilter = 0, kPrioritySnat = 100;
constexpr uint32_t kSourcesMost = 65536;
constexpr uint32_t kLocalAddress = 2;  // RTN_LOCAL

std::string ifname(const std::string& name) {
  std::string key = name;
  key.resize(kIfnameBytes);
  return key;
}

std::string be16(uint16_t v) { return {static_cast<char>(v >> 8), static_cast<char>(v)}; }
// A field of a concatenation: padded to four bytes.
std::string padded(std::string value) {
  value.resize((value.size() + 3) / 4 * 4);
  return value;
}
std::string host_u32(uint32_t v) { return {reinterpret_cast<const char*>(&v), sizeof v}; }

std::string place_key(const FirewallPort& p, bool with_address) {
  std::string key = padded(std::string(1, static_cast<char>(p.protocol)));
  if (with_address) key += p.host.bytes();
  return key + padded(be16(p.host_port));
}
std::string target_value(const FirewallPort& p) {
  return std::string(p.target.bytes()) + padded(be16(p.target_port));
}

struct Family {
  bool v4;
  const char* digit;
  NftType type;
  uint32_t bytes, source_offset, destination_offset;
  uint32_t nfproto;
};
constexpr Family kFamilies[] = {{true, "4", NftType::kIpv4, 4, 12, 16, NFPROTO_IPV4},
                                {false, "6", NftType::kIpv6, 16, 8, 24, NFPROTO_IPV6}};
const Family& family_of(const IpAddress& a) { return kFamilies[a.is_v4() ? 0 : 1]; }

std::string map_of(const FirewallPort& p) {
  return (p.host.is_unspecified() ? "any" : "ports") + std::string(family_of(p.target).digit);
}

void add_sets(NftBatch& b) {
  constexpr auto kIf = static_cast<uint32_t>(NftType::kIfname);
  for (const char* name : {"bridges", "internal", "routed"}) b.add_set({name, kIf, kIfnameBytes});
  b.add_set({"same", sys::nft_concat({NftType::kIfname, NftType::kIfname}), 2 * kIfnameBytes});
  for (const Family& f : kFamilies) {
    uint32_t place = sys::nft_concat({NftType::kProtocol, f.type, NftType::kService});
    uint32_t target = sys::nft_concat({f.type, NftType::kService});
    b.add_set({std::string("ports") + f.digit, place, 8 + f.bytes, target, 4 + f.bytes});
    b.add_set({std::string("any") + f.digit, sys::nft_concat({NftType::kProtocol, NftType::kService}), 8,
               target, 4 + f.bytes});
    constexpr auto kJump = static_cast<uint32_t>(NftType::kVerdict);
    b.add_set({std::string("shared") + f.digit, place, 8 + f.bytes, kJump, 0});
    uint32_t any = sys::nft_concat({NftType::kProtocol, NftType::kService});
    b.add_set({std::string("sharedany") + f.digit, any, 8, kJump, 0});
    NftSet hairpin{std::string("hairpin") + f.digit, sys::nft_concat({f.type, f.type}), 2 * f.bytes};
    hairpin.interval_fields = {f.bytes, f.bytes};
    b.add_set(hairpin);
    NftSet sources{std::string("sources") + f.digit, static_cast<uint32_t>(f.type), f.bytes};
    sources.dynamic = true;
    sources.size = kSourcesMost;
    b.add_set(sources);
  }
}

void for_family(NftBatch& b, const Family& f) {
  b.load_meta(NFT_META_NFPROTO, 0);
  b.compare(0, std::string(1, static_cast<char>(f.nfproto)));
}

void for_state(NftBatch& b, uint32_t bits) {
  b.load_ct(NFT_CT_STATE, 0);
  b.mask(0, host_u32(bits));
  b.compare(0, host_u32(0), false);
}
constexpr uint32_t state_bit(unsigned info) { return 1u << (info % IP_CT_IS_REPLY + 1); }

// What a container may not even send to its gateway.
void add_guard(NftBatch& b, uint32_t most) {
  b.add_base_chain("guard", "filter", NF_INET_PRE_ROUTING, kPriorityGuard);
  b.begin_rule("guard");
  for_state(b, state_bit(IP_CT_ESTABLISHED) | state_bit(IP_CT_RELATED));
  b.verdict(sys::kNftAccept);
  b.end_rule();
  b.begin_rule("guard");
  b.load_meta(NFT_META_IIFNAME, 0);
  b.in_set("bridges", 0, true);
  b.verdict(sys::kNftAccept);
  b.end_rule();
  // A port published for localhost makes the bridge route loopback addresses; only the host's own packets may
  // have them.
  b.begin_rule("guard", "loopback addresses are the host's own");
  for_family(b, kFamilies[0]);
  b.load_payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 1, 0);
  b.compare(0, "\x7f");
  b.verdict(sys::kNftDrop);
  b.end_rule();
  b.begin_rule("guard", "a source must be of the network it comes from");
  b.load_fib(NFT_FIB_RESULT_OIF, NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF, 0);
  b.compare(0, host_u32(0));
  b.verdict(sys::kNftDrop);
  b.end_rule();
  if (!most) return;
  for (const Family& f : kFamilies) {
    b.begin_rule("guard", "too many connections of one source");
    for_family(b, f);
    b.load_payload(NFT_PAYLOAD_NETWORK_HEADER, f.source_offset, f.bytes, 0);
    b.over_connections(std::string("sources") + f.digit, 0, most);
    b.count();
    b.verdict(sys::kNftDrop);
    b.end_rule();
  }
}

// Places most exact first: one address, every address, then the shared ones.
void add_port_rules(NftBatch& b) {
  b.add_chain("ports");
  for (const Family& f : kFamilies) {
    unsigned after = 1 + f.bytes / 4;  // register of what follows the address
    for (bool exact : {true, false}) {
      b.begin_rule("ports", exact ? "published on one address" : "published on every address");
      for_family(b, f);
      b.load_meta(NFT_META_L4PROTO, 0);
      if (exact) b.load_payload(NFT_PAYLOAD_NETWORK_HEADER, f.destination_offset, f.bytes, 1);
      b.load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, exact ? after : 1);
      b.look_up((exact ? "ports" : "any") + std::string(f.digit), 0, 0);
      b.dnat(f.v4, 0, f.bytes / 4);
      b.end_rule();
    }
    for (bool exact : {true, false}) {
      b.begin_rule("ports", "balanced over replicas");
      for_family(b, f);
      b.load_meta(NFT_META_L4PROTO, 0);
      if (exact) b.load_payload(NFT_PAYLOAD_NETWORK_HEADER, f.destination_offset, f.bytes, 1);
      b.load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, exact ? after : 1);
      b.jump_by((exact ? "shared" : "sharedany") + std::string(f.digit), 0);
      b.end_rule();
    }
  }
  for (bool out : {false, true}) {
    const char* chain = out ? "from_host" : "from_outside";
    b.add_base_chain(chain, "nat", out ? NF_INET_LOCAL_OUT : NF_INET_PRE_ROUTING, kPriorityDnat);
    b.begin_rule(chain);
    b.load_fib(NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR, 0);
    b.compare(0, host_u32(kLocalAddress));
    b.verdict(sys::kNftJump, "ports");
    b.end_rule();
  }
}

void add_forward(NftBatch& b, bool only_own_routes) {
  b.add_base_chain("forward", "filter", NF_INET_FORWARD, kPriorityFilter);
  b.begin_rule("forward");
  for_state(b, state_bit(IP_CT_ESTABLISHED) | state_bit(IP_CT_RELATED));
  b.verdict(sys::kNftAccept);
  b.end_rule();
  b.begin_rule("forward");
  b.load_meta(NFT_META_IIFNAME, 0);
  b.load_meta(NFT_META_OIFNAME, 4);
  b.in_set("same", 0);
  b.verdict(sys::kNftAccept);
  b.end_rule();
  for (uint32_t direction : {NFT_META_IIFNAME, NFT_META_OIFNAME}) {
    b.begin_rule("forward", "internal networks have no way in or out");
    b.load_meta(direction, 0);
    b.in_set("internal", 0);
    b.count();
    b.verdict(sys::kNftDrop);
    b.end_rule();
  }
  b.begin_rule("forward", "published ports");
  b.load_ct(NFT_CT_STATUS, 0);
  b.mask(0, host_u32(IPS_DST_NAT));
  b.compare(0, host_u32(0), false);
  b.load_meta(NFT_META_OIFNAME, 0);
  b.in_set("bridges", 0);
  b.verdict(sys::kNftAccept);
  b.end_rule();
  b.begin_rule("forward", "nothing else comes in, from a neighbour network neither");
  b.load_meta(NFT_META_OIFNAME, 0);
  b.in_set("bridges", 0);
  b.count();
  b.verdict(sys::kNftDrop);
  b.end_rule();
  if (!only_own_routes) return;
  b.begin_rule("forward", "this host routes for its containers only");
  b.load_meta(NFT_META_IIFNAME, 0);
  b.in_set("bridges", 0, true);
  b.count();
  b.verdict(sys::kNftDrop);
  b.end_rule();
}

void add_masquerade(NftBatch& b) {
  b.add_base_chain("leaving", "nat", NF_INET_POST_ROUTING, kPrioritySnat);
  // The answer would otherwise take the short way past the host and be of no connection.
  // By addresses: where bridged packets come by here, too (bridge-nf-call-iptables), they have no interface.
  for (const Family& f : kFamilies) {
    b.begin_rule("leaving", "a published port asked from its own network");
    b.load_ct(NFT_CT_STATUS, 0);
    b.mask(0, host_u32(IPS_DST_NAT));
    b.compare(0, host_u32(0), false);
    for_family(b, f);
    b.load_payload(NFT_PAYLOAD_NETWORK_HEADER, f.source_offset, f.bytes, 0);
    b.load_payload(NFT_PAYLOAD_NETWORK_HEADER, f.destination_offset, f.bytes, f.bytes / 4);
    b.in_set(std::string("hairpin") + f.digit, 0);
    b.masquerade();
    b.end_rule();
  }
  for (const Family& f : kFamilies) {
    b.begin_rule("leaving", "a published port asked from localhost");
    b.load_meta(NFT_META_OIFNAME, 0);
    b.in_set("bridges", 0);
    for_family(b, f);
    b.load_payload(NFT_PAYLOAD_NETWORK_HEADER, f.source_offset, f.v4 ? 1 : 16, 0);
    b.compare(0, f.v4 ? std::string("\x7f") : std::string(15, '\0') + '\1');
    b.masquerade();
    b.end_rule();
  }
  b.begin_rule("leaving", "networks with addresses of their own");
  b.load_meta(NFT_META_IIFNAME, 0);
  b.in_set("routed", 0);
  b.load_meta(NFT_META_OIFNAME, 0);
  b.in_set("bridges", 0, true);
  b.masquerade();
  b.end_rule();
}

// A packet that goes back out by the bridge it came in by makes the kernel tell its sender a shorter way,
// which there is not: the way is through the address translation.
void add_no_redirects(NftBatch& b) {
  constexpr char kIcmp = 1, kIcmp6 = 58, kRedirect = 5, kRedirect6 = static_cast<char>(137);
  b.add_base_chain("no_redirects", "filter", NF_INET_LOCAL_OUT, kPriorityFilter);
  for (auto [protocol, type] : {std::pair{kIcmp, kRedirect}, std::pair{kIcmp6, kRedirect6}}) {
    b.begin_rule("no_redirects");
    b.load_meta(NFT_META_L4PROTO, 0);
    b.compare(0, std::string(1, protocol));
    b.load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, 0);
    b.compare(0, std::string(1, type));
    b.load_meta(NFT_META_OIFNAME, 0);
    b.in_set("bridges", 0);
    b.verdict(sys::kNftDrop);
    b.end_rule();
  }
}

}  // namespace

std::string shared_chain(const FirewallPort& p) {
  std::string name =
      "to_" + std::to_string(p.protocol) + "_" + p.host.text() + "_" + std::to_string(p.host_port);
  std::replace(name.begin(), name.end(), ':', '-');
  return name;
}

void firewall_add_network(NftBatch& b, const FirewallNetwork& n) {
  std::string key = ifname(n.bridge);
  b.add_element("bridges", key);
  b.add_element("same", key + key);
  for (const auto& s : n.subnets) {
    std::string first(s.address().bytes()), last(s.last().bytes());
    b.add_interval(std::string("hairpin") + family_of(s.address()).digit, first + first, last + last);
  }
  if (n.internal) b.add_element("internal", key);
  if (n.masquerade && !n.internal) b.add_element("routed", key);
}

void firewall_remove_network(NftBatch& b, const FirewallNetwork& n) {
  std::string key = ifname(n.bridge);
  b.delete_element("bridges", key);
  b.delete_element("same", key + key);
  for (const auto& s : n.subnets) {
    std::string first(s.address().bytes()), last(s.last().bytes());
    b.delete_interval(std::string("hairpin") + family_of(s.address()).digit, first + first, last + last);
  }
  if (n.internal) b.delete_element("internal", key);
  if (n.masquerade && !n.internal) b.delete_element("routed", key);
}

void firewall_add_port(NftBatch& b, const FirewallPort& p) {
  b.add_element(map_of(p), place_key(p, !p.host.is_unspecified()), target_value(p));
}

void firewall_remove_port(NftBatch& b, const FirewallPort& p) {
  b.delete_element(map_of(p), place_key(p, !p.host.is_unspecified()));
}

void firewall_set_shared(NftBatch& b, const FirewallPort& place, const std::vector<FirewallPort>& targets,
                         bool existed) {
  const Family& f = family_of(place.host);
  bool exact = !place.host.is_unspecified();
  std::string chain = shared_chain(place), map = (exact ? "shared" : "sharedany") + std::string(f.digit);
  if (targets.empty()) {
    if (!existed) return;
    b.delete_element(map, place_key(place, exact));
    b.flush_chain(chain);
    b.delete_chain(chain);
    b.delete_set(chain);
    return;
  }
  if (existed) {
    b.flush_set(chain);
  } else {
    b.add_set({chain, static_cast<uint32_t>(NftType::kMark), 4, sys::nft_concat({f.type, NftType::kService}),
               4 + f.bytes});
    b.add_chain(chain);
    b.begin_rule(chain);
    b.load_random(kSlots, 0);
    b.look_up(chain, 0, 0);
    b.dnat(f.v4, 0, f.bytes / 4);
    b.end_rule();
    b.add_jump_element(map, place_key(place, exact), chain);
  }
  for (uint32_t slot = 0; slot < kSlots; slot++)
    b.add_element(chain, host_u32(slot), target_value(targets[slot % targets.size()]));
}

FirewallPlace firewall_place(const FirewallPort& p) {
  bool exact = !p.host.is_unspecified();
  if (p.group.empty()) return {map_of(p), place_key(p, exact), target_value(p)};
  return {(exact ? "shared" : "sharedany") + std::string(family_of(p.host).digit), place_key(p, exact), ""};
}

void firewall_whole(NftBatch& b, const Firewall& firewall) {
  // Adding what is there is no error, removing what is not would be one.
  b.add_table();
  b.delete_table();
  b.add_table();
  add_sets(b);
  add_guard(b, firewall.most_connections);
  add_port_rules(b);
  add_forward(b, firewall.only_own_routes);
  add_masquerade(b);
  add_no_redirects(b);
  for (const auto& n : firewall.networks) firewall_add_network(b, n);
  std::vector<FirewallPort> done;
  for (const auto& p : firewall.ports) {
    if (p.group.empty()) {
      firewall_add_port(b, p);
      continue;
    }
    auto same = [&](const FirewallPort& other) { return !other.group.empty() && other.same_place(p); };
    if (std::any_of(done.begin(), done.end(), same)) continue;
    std::vector<FirewallPort> targets;
    std::copy_if(firewall.ports.begin(), firewall.ports.end(), std::back_inserter(targets), same);
    firewall_set_shared(b, p, targets, false);
    done.push_back(p);
  }
}

}  // namespace onggi::network
