// SHA-256 (FIPS 180-4) for small texts: names of documents, chain ids. Static programs need it without a
// crypto library; bulk data is hashed by the workers, which have one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace onggi {

class Sha256 {
 public:
  void update(std::string_view data);
  // 64 lower-case hex digits. The object is used up.
  [[nodiscard]] std::string hex();

 private:
  void block(const uint8_t* p);
  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> buffer_{};
  uint64_t length_ = 0;  // bytes
};

std::string sha256_hex(std::string_view data);

}  // namespace onggi
