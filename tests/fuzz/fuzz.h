// What the fuzz targets share: an entry point and an assertion that stays in release builds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace onggi::fuzz {

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

inline void require(bool holds, const char* what, std::string_view detail = {}) {
  if (holds) return;
  fprintf(stderr, "property broken: %s: %.*s\n", what, static_cast<int>(detail.size()), detail.data());
  abort();
}

}  // namespace onggi::fuzz
