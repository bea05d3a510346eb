#include "sys/nftables.h"

#include <netinet/in.h>
// After the C library's own.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cstring>

namespace onggi::sys {

namespace {

// Not in the headers of Debian 12.
constexpr uint16_t kConnlimitCount = 1, kConnlimitFlags = 2;
constexpr uint32_t kConnlimitOver = 1;

nfgenmsg body(uint8_t family, uint16_t resource) {
  nfgenmsg m = {};
  m.nfgen_family = family;
  m.version = NFNETLINK_V0;
  m.res_id = __builtin_bswap16(resource);
  return m;
}

}  // namespace

NftBatch::NftBatch(std::string table) : table_(std::move(table)) {
  batch_.begin(NFNL_MSG_BATCH_BEGIN, 0, body(AF_UNSPEC, NFNL_SUBSYS_NFTABLES),
               "begin a firewall transaction");
}

// The first attribute of every message that we send is the table's name (1).
void NftBatch::begin(uint16_t message, uint16_t flags, std::string what) {
  batch_.begin(static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message), flags, body(NFPROTO_INET, 0),
               std::move(what) + " in the table inet " + table_);
  batch_.put_string(1, table_);
  commands_++;
}

void NftBatch::add_table() {
  begin(NFT_MSG_NEWTABLE, NLM_F_CREATE, "make");
  batch_.put_u32be(NFTA_TABLE_FLAGS, 0);
}
void NftBatch::delete_table() { begin(NFT_MSG_DELTABLE, 0, "remove"); }

void NftBatch::add_base_chain(const std::string& name, const char* type, uint32_t hook, int priority) {
  begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE, "make the chain " + name);
  batch_.put_string(NFTA_CHAIN_NAME, name);
  size_t at = batch_.open(NFTA_CHAIN_HOOK | NLA_F_NESTED);
  batch_.put_u32be(NFTA_HOOK_HOOKNUM, hook);
  batch_.put_u32be(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(priority));
  batch_.close_nested(at);
  batch_.put_u32be(NFTA_CHAIN_POLICY, NF_ACCEPT);
  batch_.put_string(NFTA_CHAIN_TYPE, type);
}
void NftBatch::add_chain(const std::string& name) {
  begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE, "make the chain " + name);
  batch_.put_string(NFTA_CHAIN_NAME, name);
}
void NftBatch::flush_chain(const std::string& name) {
  begin(NFT_MSG_DELRULE, 0, "empty the chain " + name);
  batch_.put_string(NFTA_RULE_CHAIN, name);
}
void NftBatch::delete_chain(const std::string& name) {
  begin(NFT_MSG_DELCHAIN, 0, "remove the chain " + name);
  batch_.put_string(NFTA_CHAIN_NAME, name);
}

void NftBatch::add_set(const NftSet& set) {
  begin(NFT_MSG_NEWSET, NLM_F_CREATE, "make the set " + set.name);
  batch_.put_string(NFTA_SET_NAME, set.name);
  uint32_t flags = 0;
  if (set.data_type) flags |= NFT_SET_MAP;
  if (set.dynamic) flags |= NFT_SET_EVAL;
  if (!set.interval_fields.empty()) flags |= NFT_SET_INTERVAL | NFT_SET_CONCAT;
  batch_.put_u32be(NFTA_SET_FLAGS, flags);
  batch_.put_u32be(NFTA_SET_KEY_TYPE, set.key_type);
  batch_.put_u32be(NFTA_SET_KEY_LEN, set.key_length);
  if (set.data_type) {
    batch_.put_u32be(NFTA_SET_DATA_TYPE, set.data_type);
    if (set.data_type != static_cast<uint32_t>(NftType::kVerdict))
      batch_.put_u32be(NFTA_SET_DATA_LEN, set.data_length);
  }
  if (set.size || !set.interval_fields.empty()) {
    size_t at = batch_.open(NFTA_SET_DESC | NLA_F_NESTED);
    if (set.size) batch_.put_u32be(NFTA_SET_DESC_SIZE, set.size);
    if (!set.interval_fields.empty()) {
      size_t fields = batch_.open(NFTA_SET_DESC_CONCAT | NLA_F_NESTED);
      for (uint32_t bytes : set.interval_fields) {
        size_t field = batch_.open(NFTA_LIST_ELEM | NLA_F_NESTED);
        batch_.put_u32be(NFTA_SET_FIELD_LEN, bytes);
        batch_.close_nested(field);
      }
      batch_.close_nested(fields);
    }
    batch_.close_nested(at);
  }
  // For nft(8): how to show keys and data (libnftnl's type-length-value; 1 is the host's order, 2 the
  // network's).
  auto host_order = [](uint32_t type) {
    return type == static_cast<uint32_t>(NftType::kMark) ||
           type % 64 == static_cast<uint32_t>(NftType::kIfname);
  };
  std::string order;
  for (uint32_t n : {0u, 1u}) {
    if (n && !set.data_type) continue;
    uint32_t value = host_order(n ? set.data_type : set.key_type) ? 1 : 2;
    order += static_cast<char>(n);
    order += static_cast<char>(sizeof value);
    order.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  batch_.put(NFTA_SET_USERDATA, order);
  // Only needed for references within a transaction, but the kernel asks for one.
  batch_.put_u32be(NFTA_SET_ID, static_cast<uint32_t>(commands_));
}
void NftBatch::delete_set(const std::string& name) {
  begin(NFT_MSG_DELSET, 0, "remove the set " + name);
  batch_.put_string(NFTA_SET_NAME, name);
}
void NftBatch::flush_set(const std::string& name) {
  begin(NFT_MSG_DELSETELEM, 0, "empty the set " + name);
  batch_.put_string(NFTA_SET_ELEM_LIST_SET, name);
}

void NftBatch::put_data(uint16_t attribute, std::string_view value) {
  size_t at = batch_.open(attribute | NLA_F_NESTED);
  batch_.put(NFTA_DATA_VALUE, value);
  batch_.close_nested(at);
}
void NftBatch::put_verdict(uint16_t attribute, int code, const std::string& chain) {
  size_t at = batch_.open(attribute | NLA_F_NESTED);
  size_t inner = batch_.open(NFTA_DATA_VERDICT | NLA_F_NESTED);
  batch_.put_u32be(NFTA_VERDICT_CODE, static_cast<uint32_t>(code));
  if (!chain.empty()) batch_.put_string(NFTA_VERDICT_CHAIN, chain);
  batch_.close_nested(inner);
  batch_.close_nested(at);
}

void NftBatch::element(uint16_t message, uint16_t flags, const std::string& set, std::string_view key,
                       std::string_view data, const std::string& chain, std::string_view key_end) {
  begin(message, flags, (message == NFT_MSG_DELSETELEM ? "remove from " : "add to ") + set);
  batch_.put_string(NFTA_SET_ELEM_LIST_SET, set);
  size_t list = batch_.open(NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED);
  size_t one = batch_.open(NFTA_LIST_ELEM | NLA_F_NESTED);
  put_data(NFTA_SET_ELEM_KEY, key);
  if (!key_end.empty()) put_data(NFTA_SET_ELEM_KEY_END, key_end);
  if (!data.empty()) put_data(NFTA_SET_ELEM_DATA, data);
  if (!chain.empty()) put_verdict(NFTA_SET_ELEM_DATA, kNftGoto, chain);
  batch_.close_nested(one);
  batch_.close_nested(list);
}

void NftBatch::add_element(const std::string& set, std::string_view key, std::string_view data) {
  element(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, key, data, "");
}
void NftBatch::add_interval(const std::string& set, std::string_view first, std::string_view last) {
  element(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, first, "", "", last);
}
void NftBatch::delete_interval(const std::string& set, std::string_view first, std::string_view last) {
  element(NFT_MSG_DELSETELEM, 0, set, first, "", "", last);
}
void NftBatch::add_jump_element(const std::string& map, std::string_view key, const std::string& chain) {
  element(NFT_MSG_NEWSETELEM, NLM_F_CREATE, map, key, "", chain);
}
void NftBatch::delete_element(const std::string& set, std::string_view key) {
  element(NFT_MSG_DELSETELEM, 0, set, key, "", "");
}

void NftBatch::begin_rule(const std::string& chain, std::string_view comment) {
  begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, "add a rule to " + chain);
  batch_.put_string(NFTA_RULE_CHAIN, chain);
  if (!comment.empty()) {
    // libnftnl's type-length-value: type 0 is the comment.
    std::string data = {0, static_cast<char>(comment.size() + 1)};
    batch_.put(NFTA_RULE_USERDATA, data + std::string(comment) + '\0');
  }
  rule_ = batch_.open(NFTA_RULE_EXPRESSIONS | NLA_F_NESTED);
}
void NftBatch::end_rule() { batch_.close_nested(rule_); }

size_t NftBatch::expression(const char* name, size_t& data) {
  size_t at = batch_.open(NFTA_LIST_ELEM | NLA_F_NESTED);
  batch_.put_string(NFTA_EXPR_NAME, name);
  data = batch_.open(NFTA_EXPR_DATA | NLA_F_NESTED);
  return at;
}
void NftBatch::end_expression(size_t at, size_t data) {
  batch_.close_nested(data);
  batch_.close_nested(at);
}

void NftBatch::load_meta(uint32_t key, unsigned to) {
  size_t data, at = expression("meta", data);
  batch_.put_u32be(NFTA_META_KEY, key);
  batch_.put_u32be(NFTA_META_DREG, nft_register(to));
  end_expression(at, data);
}
void NftBatch::load_payload(uint32_t base, uint32_t offset, uint32_t length, unsigned to) {
  size_t data, at = expression("payload", data);
  batch_.put_u32be(NFTA_PAYLOAD_DREG, nft_register(to));
  batch_.put_u32be(NFTA_PAYLOAD_BASE, base);
  batch_.put_u32be(NFTA_PAYLOAD_OFFSET, offset);
  batch_.put_u32be(NFTA_PAYLOAD_LEN, length);
  end_expression(at, data);
}
void NftBatch::load_ct(uint32_t key, unsigned to) {
  size_t data, at = expression("ct", data);
  batch_.put_u32be(NFTA_CT_KEY, key);
  batch_.put_u32be(NFTA_CT_DREG, nft_register(to));
  end_expression(at, data);
}
void NftBatch::load_fib(uint32_t result, uint32_t flags, unsigned to) {
  size_t data, at = expression("fib", data);
  batch_.put_u32be(NFTA_FIB_DREG, nft_register(to));
  batch_.put_u32be(NFTA_FIB_RESULT, result);
  batch_.put_u32be(NFTA_FIB_FLAGS, flags);
  end_expression(at, data);
}
void NftBatch::load_random(uint32_t modulus, unsigned to) {
  size_t data, at = expression("numgen", data);
  batch_.put_u32be(NFTA_NG_DREG, nft_register(to));
  batch_.put_u32be(NFTA_NG_MODULUS, modulus);
  batch_.put_u32be(NFTA_NG_TYPE, NFT_NG_RANDOM);
  batch_.put_u32be(NFTA_NG_OFFSET, 0);
  end_expression(at, data);
}
void NftBatch::mask(unsigned at_register, std::string_view mask) {
  size_t data, at = expression("bitwise", data);
  batch_.put_u32be(NFTA_BITWISE_SREG, nft_register(at_register));
  batch_.put_u32be(NFTA_BITWISE_DREG, nft_register(at_register));
  batch_.put_u32be(NFTA_BITWISE_LEN, static_cast<uint32_t>(mask.size()));
  put_data(NFTA_BITWISE_MASK, mask);
  put_data(NFTA_BITWISE_XOR, std::string(mask.size(), '\0'));
  end_expression(at, data);
}
void NftBatch::compare(unsigned at_register, std::string_view value, bool equal) {
  size_t data, at = expression("cmp", data);
  batch_.put_u32be(NFTA_CMP_SREG, nft_register(at_register));
  batch_.put_u32be(NFTA_CMP_OP, equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
  put_data(NFTA_CMP_DATA, value);
  end_expression(at, data);
}
void NftBatch::in_set(const std::string& set, unsigned from, bool inverted) {
  size_t data, at = expression("lookup", data);
  batch_.put_string(NFTA_LOOKUP_SET, set);
  batch_.put_u32be(NFTA_LOOKUP_SREG, nft_register(from));
  if (inverted) batch_.put_u32be(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
  end_expression(at, data);
}
void NftBatch::look_up(const std::string& map, unsigned from, unsigned to) {
  size_t data, at = expression("lookup", data);
  batch_.put_string(NFTA_LOOKUP_SET, map);
  batch_.put_u32be(NFTA_LOOKUP_SREG, nft_register(from));
  batch_.put_u32be(NFTA_LOOKUP_DREG, nft_register(to));
  end_expression(at, data);
}
void NftBatch::jump_by(const std::string& map, unsigned from) {
  size_t data, at = expression("lookup", data);
  batch_.put_string(NFTA_LOOKUP_SET, map);
  batch_.put_u32be(NFTA_LOOKUP_SREG, nft_register(from));
  batch_.put_u32be(NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
  end_expression(at, data);
}
void NftBatch::verdict(int code, const std::string& chain) {
  size_t data, at = expression("immediate", data);
  batch_.put_u32be(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  put_verdict(NFTA_IMMEDIATE_DATA, code, chain);
  end_expression(at, data);
}
void NftBatch::dnat(bool v4, unsigned address, unsigned port) {
  size_t data, at = expression("nat", data);
  batch_.put_u32be(NFTA_NAT_TYPE, NFT_NAT_DNAT);
  batch_.put_u32be(NFTA_NAT_FAMILY, v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
  batch_.put_u32be(NFTA_NAT_REG_ADDR_MIN, nft_register(address));
  batch_.put_u32be(NFTA_NAT_REG_PROTO_MIN, nft_register(port));
  end_expression(at, data);
}
void NftBatch::masquerade() {
  size_t data, at = expression("masq", data);
  end_expression(at, data);
}
void NftBatch::count() {
  size_t data, at = expression("counter", data);
  end_expression(at, data);
}
void NftBatch::over_connections(const std::string& set, unsigned key, uint32_t most) {
  size_t data, at = expression("dynset", data);
  batch_.put_string(NFTA_DYNSET_SET_NAME, set);
  batch_.put_u32be(NFTA_DYNSET_OP, NFT_DYNSET_OP_ADD);
  batch_.put_u32be(NFTA_DYNSET_SREG_KEY, nft_register(key));
  size_t inner = batch_.open(NFTA_DYNSET_EXPR | NLA_F_NESTED);
  batch_.put_string(NFTA_EXPR_NAME, "connlimit");
  size_t limit = batch_.open(NFTA_EXPR_DATA | NLA_F_NESTED);
  batch_.put_u32be(kConnlimitCount, most);
  batch_.put_u32be(kConnlimitFlags, kConnlimitOver);
  batch_.close_nested(limit);
  batch_.close_nested(inner);
  end_expression(at, data);
}

Result<> NftBatch::commit(NetlinkSocket& socket) {
  if (empty()) return {};
  batch_.acknowledge_last();
  batch_.begin(NFNL_MSG_BATCH_END, 0, body(AF_UNSPEC, NFNL_SUBSYS_NFTABLES), "commit a firewall transaction");
  return socket.run(batch_);
}

}  // namespace onggi::sys
