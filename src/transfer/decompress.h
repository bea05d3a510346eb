// Compressed bytes in, tar bytes out, hashed on the way: one pass over a layer.
//
// The format is recognised by its first bytes, as every peer does, since media types of old images lie. gzip
// members and zstd frames may follow one another; zstd:chunked's tables are skippable frames. The budget is
// held here as well, because a bomb is all output: the first output beyond it is an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "transfer/hash.h"

namespace onggi::transfer {

// What unpacking one layer may cost.
struct UnpackLimits {
  // Largest known public images have layers of 20-40 GiB (CUDA, language models).
  uint64_t max_bytes = 128ull << 30;
  // A layer with all of node_modules of a large project has 500,000; ext4 gives one inode per 16 KiB.
  uint64_t max_entries = 4'000'000;
  // gzip cannot exceed 1032:1. Real layers are at 2-10:1; files of zeros may be far above, so the ratio
  // counts only behind the first `ratio_from` bytes of output.
  uint64_t max_ratio = 100;
  uint64_t ratio_from = 1ull << 30;
  // The form that layers are kept in: a directory; EROFS (erofs.h); EROFS where this host has what it needs.
  enum class Keep : uint8_t { kDirectory, kErofs, kErofsIfPossible } keep = Keep::kDirectory;
};

class Decompressor {
 public:
  // Reads `input` (borrowed) to its end.
  Decompressor(int input, const UnpackLimits& limits);
  ~Decompressor();
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  // The next piece, valid until the next call; empty at the end of the last frame and of the input.
  Result<std::string_view> next();
  // SHA-256 of everything that came out; after the end. 64 hex digits.
  std::string digest() { return hash_.hex(); }
  [[nodiscard]] uint64_t output_bytes() const { return output_; }
  [[nodiscard]] uint64_t input_bytes() const { return input_total_; }

 private:
  struct Gzip;
  struct Zstd;
  Result<> fill();
  Result<> sniff();
  Result<size_t> inflate();
  Result<size_t> unzstd();
  Result<> check_budget() const;

  int source_;
  UnpackLimits limits_;
  std::string in_, out_;
  size_t in_used_ = 0, in_size_ = 0;
  bool end_of_input_ = false;
  uint64_t input_total_ = 0, output_ = 0;
  enum class Format : uint8_t { kUnknown, kPlain, kGzip, kZstd } format_ = Format::kUnknown;
  std::unique_ptr<Gzip> gzip_;
  std::unique_ptr<Zstd> zstd_;
  BulkHash hash_;
};

}  // namespace onggi::transfer
