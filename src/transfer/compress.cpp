#include "transfer/compress.h"

#include <isa-l/igzip_lib.h>

#include <array>
#include <string>

namespace onggi::transfer {

struct GzipWriter::State {
  isal_zstream stream;
  std::array<uint8_t, ISAL_DEF_LVL1_DEFAULT> level;
  std::string out = std::string(256 << 10, '\0');
};

GzipWriter::GzipWriter(Sink sink) : sink_(std::move(sink)), state_(std::make_unique<State>()) {
  isal_zstream& s = state_->stream;
  isal_deflate_init(&s);
  s.level = 1;
  s.level_buf = state_->level.data();
  s.level_buf_size = static_cast<uint32_t>(state_->level.size());
  s.gzip_flag = IGZIP_GZIP;
}
GzipWriter::~GzipWriter() = default;

Result<> GzipWriter::pump(std::string_view data, bool end) {
  isal_zstream& s = state_->stream;
  s.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(data.data()));
  s.avail_in = static_cast<uint32_t>(data.size());
  s.end_of_stream = end;
  do {
    s.next_out = reinterpret_cast<uint8_t*>(state_->out.data());
    s.avail_out = static_cast<uint32_t>(state_->out.size());
    if (int code = isal_deflate(&s); code != COMP_OK)
      return fail(Error::internal("compress: ISA-L says " + std::to_string(code)));
    std::string_view made(state_->out.data(), state_->out.size() - s.avail_out);
    if (!made.empty()) TRY_VOID(sink_(made));
  } while (s.avail_out == 0 || (end && s.internal_state.state != ZSTATE_END));
  return {};
}

Result<> GzipWriter::write(std::string_view data) { return data.empty() ? Result<>() : pump(data, false); }
Result<> GzipWriter::finish() { return pump({}, true); }

}  // namespace onggi::transfer
