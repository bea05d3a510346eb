#include "transfer/decompress.h"

#include <isa-l/igzip_lib.h>
#include <unistd.h>
#include <zstd.h>

#include <cstring>

namespace onggi::transfer {

namespace {

constexpr size_t kInput = 256 << 10;
constexpr size_t kOutput = 512 << 10;  // stays in the second-level cache between inflate, hash and write
// 128 MiB: zstd's own default limit for streams; a frame that wants more memory is refused.
constexpr int kMaxWindowLog = 27;

}  // namespace

struct Decompressor::Gzip {
  inflate_state state;
  bool in_member = false;
};
struct Decompressor::Zstd {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  bool in_frame = false;
  bool output_full = false;
  ~Zstd() { ZSTD_freeDCtx(context); }
};

Decompressor::Decompressor(int input, const UnpackLimits& limits) : source_(input), limits_(limits) {
  in_.resize(kInput);
}
Decompressor::~Decompressor() = default;

// Reads until the buffer is full or the input ends: short pieces of a pipe would cost a round each.
Result<> Decompressor::fill() {
  if (in_used_ < in_size_ || end_of_input_) return {};
  in_used_ = in_size_ = 0;
  while (in_size_ < in_.size()) {
    ssize_t n = ::read(source_, in_.data() + in_size_, in_.size() - in_size_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::os("read the layer", ""));
    if (n == 0) {
      end_of_input_ = true;
      break;
    }
    in_size_ += static_cast<size_t>(n);
  }
  input_total_ += in_size_;
  return {};
}

Result<> Decompressor::sniff() {
  TRY_VOID(fill());
  std::string_view head(in_.data(), in_size_);
  format_ = Format::kPlain;
  if (head.starts_with("\x1f\x8b")) {
    format_ = Format::kGzip;
    gzip_ = std::make_unique<Gzip>();
  } else if (head.starts_with("\x28\xb5\x2f\xfd") ||
             (head.size() >= 4 && (head[0] & 0xf0) == 0x50 && head.substr(1, 3) == "\x2a\x4d\x18")) {
    format_ = Format::kZstd;
    zstd_ = std::make_unique<Zstd>();
    ZSTD_DCtx_setParameter(zstd_->context, ZSTD_d_windowLogMax, kMaxWindowLog);
  } else if (head.starts_with("BZh") || head.starts_with(std::string_view("\xfd"
                                                                          "7zXZ",
                                                                          5))) {
    return fail(
        Error::unsupported("the layer is compressed with bzip2 or xz, which the image specification does not "
                           "have; compress it with gzip or zstd"));
  }
  if (format_ != Format::kPlain) out_.resize(kOutput);
  return {};
}

Result<size_t> Decompressor::inflate() {
  Gzip& g = *gzip_;
  TRY_VOID(fill());
  if (!g.in_member) {
    // Between members: the end, zeros as padding (as tar and gzip allow), or another member.
    while (in_used_ < in_size_ && in_[in_used_] == '\0' && output_ > 0) {
      in_used_++;
      TRY_VOID(fill());
    }
    if (in_used_ == in_size_) return 0;
    isal_inflate_init(&g.state);
    g.state.crc_flag = ISAL_GZIP;
    g.in_member = true;
  }
  if (in_used_ == in_size_) return fail(Error::invalid("the layer ends in the middle of its gzip data"));
  g.state.next_in = reinterpret_cast<uint8_t*>(in_.data()) + in_used_;
  g.state.avail_in = static_cast<uint32_t>(in_size_ - in_used_);
  g.state.next_out = reinterpret_cast<uint8_t*>(out_.data());
  g.state.avail_out = static_cast<uint32_t>(out_.size());
  int code = isal_inflate(&g.state);
  if (code != ISAL_DECOMP_OK && code != ISAL_END_INPUT)
    return fail(
        Error::invalid(code == ISAL_INCORRECT_CHECKSUM
                           ? "the layer's gzip checksum does not fit its data"
                           : "the layer is damaged: invalid gzip data (" + std::to_string(code) + ")"));
  in_used_ = in_size_ - g.state.avail_in;
  if (g.state.block_state == ISAL_BLOCK_FINISH) g.in_member = false;
  return out_.size() - g.state.avail_out;
}

Result<size_t> Decompressor::unzstd() {
  Zstd& z = *zstd_;
  TRY_VOID(fill());
  if (in_used_ == in_size_ && !z.output_full) {
    if (z.in_frame) return fail(Error::invalid("the layer ends in the middle of its zstd data"));
    return 0;
  }
  ZSTD_inBuffer in = {in_.data(), in_size_, in_used_};
  ZSTD_outBuffer out = {out_.data(), out_.size(), 0};
  size_t code = ZSTD_decompressStream(z.context, &out, &in);
  if (ZSTD_isError(code))
    return fail(Error::invalid(std::string("the layer is damaged: invalid zstd data (") +
                               ZSTD_getErrorName(code) + ")"));
  in_used_ = in.pos;
  z.in_frame = code != 0;
  z.output_full = out.pos == out.size && code != 0;
  return out.pos;
}

Result<> Decompressor::check_budget() const {
  if (output_ > limits_.max_bytes)
    return fail(Error::invalid("the layer unpacks to more than the " + std::to_string(limits_.max_bytes) +
                               " bytes that are allowed (--max-layer-size)"));
  if (output_ > limits_.ratio_from && output_ / limits_.max_ratio > input_total_)
    return fail(Error::invalid("the layer looks like a decompression bomb: " + std::to_string(output_ >> 20) +
                               " MiB from " + std::to_string(input_total_ >> 20) + " MiB"));
  return {};
}

Result<std::string_view> Decompressor::next() {
  if (format_ == Format::kUnknown) TRY_VOID(sniff());
  std::string_view piece;
  if (format_ == Format::kPlain) {
    TRY_VOID(fill());
    piece = std::string_view(in_).substr(in_used_, in_size_ - in_used_);
    in_used_ = in_size_;
  } else {
    // A member or frame may give nothing (empty, or skippable): go on until the input ends.
    for (;;) {
      size_t n = TRY(format_ == Format::kGzip ? inflate() : unzstd());
      piece = std::string_view(out_).substr(0, n);
      if (n > 0) break;
      bool open = format_ == Format::kGzip ? gzip_->in_member : zstd_->in_frame;
      if (end_of_input_ && in_used_ == in_size_ && !open) break;
    }
  }
  output_ += piece.size();
  hash_.update(piece);
  TRY_VOID(check_budget());
  return piece;
}

}  // namespace onggi::transfer
