// IP addresses and prefixes as values: text in, text out, arithmetic within a prefix. No name service.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace onggi {

class IpAddress {
 public:
  IpAddress() = default;  // of no family
  // Strict: "10.0.0.1" (no octal, no short forms) or RFC 4291 text. kInvalid names the text.
  static Result<IpAddress> parse(std::string_view text);
  static IpAddress v4(uint32_t host_order);
  static IpAddress from_bytes(std::string_view network_order);  // 4 or 16 bytes

  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] bool is_v4() const { return size_ == 4; }
  [[nodiscard]] bool is_v6() const { return size_ == 16; }
  [[nodiscard]] size_t size() const { return size_; }  // bytes
  [[nodiscard]] std::string_view bytes() const {
    return {reinterpret_cast<const char*>(bytes_.data()), size_};
  }
  [[nodiscard]] uint8_t operator[](size_t n) const { return bytes_[n]; }
  [[nodiscard]] std::string text() const;  // RFC 5952
  [[nodiscard]] bool is_unspecified() const;
  [[nodiscard]] bool is_loopback() const;
  // The address `n` further on; wraps around at the end.
  [[nodiscard]] IpAddress plus(uint64_t n) const;
  // How far after `base` (same family) it is; UINT64_MAX when that does not fit or it is before.
  [[nodiscard]] uint64_t distance_from(const IpAddress& base) const;
  // "1.0.208.10.in-addr.arpa", lower case, without the final dot.
  [[nodiscard]] std::string reverse_name() const;
  auto operator<=>(const IpAddress&) const = default;

 private:
  friend class IpPrefix;
  size_t size_ = 0;
  std::array<uint8_t, 16> bytes_{};
};

class IpPrefix {
 public:
  IpPrefix() = default;
  IpPrefix(IpAddress address, unsigned length);  // host bits are cleared
  // "ADDRESS/LENGTH"; host bits must be 0 unless `host_bits` allows them.
  static Result<IpPrefix> parse(std::string_view text, bool host_bits = false);

  [[nodiscard]] bool empty() const { return address_.empty(); }
  [[nodiscard]] const IpAddress& address() const { return address_; }  // the first one
  [[nodiscard]] unsigned length() const { return length_; }
  [[nodiscard]] bool is_v4() const { return address_.is_v4(); }
  [[nodiscard]] IpAddress last() const;
  [[nodiscard]] bool contains(const IpAddress& address) const;
  [[nodiscard]] bool contains(const IpPrefix& other) const;
  [[nodiscard]] bool overlaps(const IpPrefix& other) const {
    return contains(other) || other.contains(*this);
  }
  [[nodiscard]] std::string text() const;
  auto operator<=>(const IpPrefix&) const = default;

 private:
  IpAddress address_;
  unsigned length_ = 0;
};

}  // namespace onggi
