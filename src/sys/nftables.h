// A small encoder for nf_tables transactions: exactly the objects and expressions that the engine's firewall
// is made of. Pure until it is sent; one transaction either happens whole or not at all.
//
// Values are in network byte order, keys and data of concatenations padded to four bytes per field, as the
// kernel lays them out in its 4-byte registers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/netlink.h"

namespace onggi::sys {

// Data types as nft(8) numbers them for display; a concatenation is made by nft_concat().
enum class NftType : uint32_t {
  kInteger = 4,
  kIpv4 = 7,
  kIpv6 = 8,
  kProtocol = 12,
  kService = 13,
  kMark = 19,
  kIfname = 41,
  kVerdict = 0xffffff00,
};
constexpr uint32_t nft_concat(std::initializer_list<NftType> types) {
  uint32_t value = 0;
  for (NftType t : types) value = value << 6 | static_cast<uint32_t>(t);
  return value;
}

// 4-byte registers; a value of more than four bytes takes several in a row.
constexpr uint32_t nft_register(unsigned n) { return 8 + n; }

inline constexpr int kNftAccept = 1, kNftDrop = 0, kNftReturn = -5, kNftJump = -3, kNftGoto = -4;

struct NftSet {
  std::string name;
  uint32_t key_type = 0, key_length = 0;    // bytes, padded fields
  uint32_t data_type = 0, data_length = 0;  // data_type 0: a set, not a map
  bool dynamic = false;                     // filled by rules
  // Of a set of intervals over a concatenation: bytes of each field. Its elements are added by
  // add_interval().
  std::vector<uint32_t> interval_fields;
  uint32_t size = 0;  // of a dynamic set: at most so many elements
};

class NftBatch {
 public:
  // Everything is in the table `table` of family inet.
  explicit NftBatch(std::string table);

  void add_table();
  void delete_table();
  // `type` "filter" or "nat"; `hook` NF_INET_*.
  void add_base_chain(const std::string& name, const char* type, uint32_t hook, int priority);
  void add_chain(const std::string& name);
  void flush_chain(const std::string& name);
  void delete_chain(const std::string& name);
  void add_set(const NftSet& set);
  void delete_set(const std::string& name);
  void flush_set(const std::string& name);
  // `data` empty: an element of a set. Adding what is there already with the same data is no error.
  void add_element(const std::string& set, std::string_view key, std::string_view data = {});
  void add_interval(const std::string& set, std::string_view first, std::string_view last);
  void delete_interval(const std::string& set, std::string_view first, std::string_view last);
  void add_jump_element(const std::string& map, std::string_view key, const std::string& chain);
  void delete_element(const std::string& set, std::string_view key);

  // A rule: begin, its expressions in order, end. The comment is shown by nft(8).
  void begin_rule(const std::string& chain, std::string_view comment = {});
  void end_rule();
  void load_meta(uint32_t key, unsigned to);
  void load_payload(uint32_t base, uint32_t offset, uint32_t length, unsigned to);
  void load_ct(uint32_t key, unsigned to);
  void load_fib(uint32_t result, uint32_t flags, unsigned to);
  void load_random(uint32_t modulus, unsigned to);
  void mask(unsigned at, std::string_view mask);
  void compare(unsigned at, std::string_view value, bool equal = true);
  void in_set(const std::string& set, unsigned at, bool inverted = false);
  void look_up(const std::string& map, unsigned from, unsigned to);
  void jump_by(const std::string& map, unsigned from);
  void verdict(int code, const std::string& chain = {});
  // Destination from registers: address at `address`, port at `port`.
  void dnat(bool v4, unsigned address, unsigned port);
  void masquerade();
  void count();
  // True (goes on) for a source that has more than `most` connections; `set` is dynamic, keyed by register
  // `key`.
  void over_connections(const std::string& set, unsigned key, uint32_t most);

  [[nodiscard]] bool empty() const { return commands_ == 0; }
  // Closes the transaction and sends it.
  Result<> commit(NetlinkSocket& socket);

 private:
  void begin(uint16_t message, uint16_t flags, std::string what);
  size_t expression(const char* name, size_t& data);
  void end_expression(size_t at, size_t data);
  void put_data(uint16_t attribute, std::string_view value);
  void put_verdict(uint16_t attribute, int code, const std::string& chain);
  void element(uint16_t message, uint16_t flags, const std::string& set, std::string_view key,
               std::string_view data, const std::string& chain, std::string_view key_end = {});
  std::string table_;
  NetlinkBatch batch_;
  size_t commands_ = 0, rule_ = 0;
};

}  // namespace onggi::sys
