#include "base/ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "base/file.h"

namespace onggi {

Result<IpAddress> IpAddress::parse(std::string_view text) {
  std::string copy(text);
  IpAddress a;
  if (::inet_pton(AF_INET, copy.c_str(), a.bytes_.data()) == 1)
    a.size_ = 4;
  else if (::inet_pton(AF_INET6, copy.c_str(), a.bytes_.data()) == 1)
    a.size_ = 16;
  // inet_pton stops at NUL.
  if (a.size_ && copy.find('\0') == std::string::npos) return a;
  return fail(Error::invalid("invalid IP address: " + copy));
}

IpAddress IpAddress::v4(uint32_t host_order) {
  IpAddress a;
  a.size_ = 4;
  for (size_t n = 0; n < 4; n++) a.bytes_[n] = static_cast<uint8_t>(host_order >> (24 - 8 * n));
  return a;
}

IpAddress IpAddress::from_bytes(std::string_view bytes) {
  IpAddress a;
  if (bytes.size() != 4 && bytes.size() != 16) return a;
  a.size_ = bytes.size();
  memcpy(a.bytes_.data(), bytes.data(), bytes.size());
  return a;
}

std::string IpAddress::text() const {
  if (empty()) return "";
  char out[INET6_ADDRSTRLEN];
  ::inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes_.data(), out, sizeof out);
  return out;
}

bool IpAddress::is_unspecified() const {
  return std::all_of(bytes_.begin(), bytes_.end(), [](uint8_t b) { return b == 0; });
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes_[0] == 127;
  return is_v6() && bytes_[15] == 1 &&
         std::all_of(bytes_.begin(), bytes_.end() - 1, [](uint8_t b) { return b == 0; });
}

IpAddress IpAddress::plus(uint64_t n) const {
  IpAddress a = *this;
  for (size_t at = size_; at-- > 0 && n;) {
    n += a.bytes_[at];
    a.bytes_[at] = static_cast<uint8_t>(n);
    n >>= 8;
  }
  return a;
}

uint64_t IpAddress::distance_from(const IpAddress& base) const {
  if (size_ != base.size_ || *this < base) return UINT64_MAX;
  uint64_t low = 0, low_base = 0;
  size_t first = size_ > 8 ? size_ - 8 : 0;
  if (memcmp(bytes_.data(), base.bytes_.data(), first) != 0) return UINT64_MAX;
  for (size_t n = first; n < size_; n++) {
    low = low << 8 | bytes_[n];
    low_base = low_base << 8 | base.bytes_[n];
  }
  return low - low_base;
}

std::string IpAddress::reverse_name() const {
  std::string name;
  for (size_t n = size_; n-- > 0;) {
    if (is_v4()) {
      name += std::to_string(bytes_[n]) + ".";
      continue;
    }
    for (unsigned shift : {0u, 4u}) {
      name += "0123456789abcdef"[bytes_[n] >> shift & 15];
      name += '.';
    }
  }
  return name + (is_v4() ? "in-addr.arpa" : "ip6.arpa");
}

IpPrefix::IpPrefix(IpAddress address, unsigned length) : address_(address), length_(length) {
  for (size_t n = 0; n < address_.size_; n++) {
    size_t bits = length > 8 * n ? std::min<size_t>(8, length - 8 * n) : 0;
    address_.bytes_[n] &= static_cast<uint8_t>(0xff00 >> bits);
  }
}

Result<IpPrefix> IpPrefix::parse(std::string_view text, bool host_bits) {
  auto invalid = [&] { return fail(Error::invalid("invalid CIDR address: " + std::string(text))); };
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return invalid();
  auto address = IpAddress::parse(text.substr(0, slash));
  auto length = parse_u64(text.substr(slash + 1), "prefix length");
  if (!address || !length || *length > 8 * address->size()) return invalid();
  IpPrefix prefix(*address, static_cast<unsigned>(*length));
  if (!host_bits && prefix.address_ != *address)
    return fail(Error::invalid("invalid subnet " + std::string(text) + ": it should be " + prefix.text()));
  return prefix;
}

IpAddress IpPrefix::last() const {
  IpAddress a = address_;
  for (size_t n = 0; n < a.size_; n++) {
    size_t bits = length_ > 8 * n ? std::min<size_t>(8, length_ - 8 * n) : 0;
    a.bytes_[n] |= static_cast<uint8_t>(0xff >> bits);
  }
  return a;
}

bool IpPrefix::contains(const IpAddress& address) const {
  return !empty() && address.size_ == address_.size_ && IpPrefix(address, length_).address_ == address_;
}

bool IpPrefix::contains(const IpPrefix& other) const {
  return other.length_ >= length_ && contains(other.address_);
}

std::string IpPrefix::text() const { return empty() ? "" : address_.text() + "/" + std::to_string(length_); }

}  // namespace onggi
