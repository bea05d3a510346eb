#include "transfer/tar_writer.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

namespace onggi::transfer {

namespace {

constexpr size_t kBlock = 512;
constexpr uint64_t kOctal11 = 1ull << 33, kOctal7 = 1ull << 21;  // first values that no longer fit

struct Header {
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6],
      version[2], user[32], group[32], major[8], minor[8], prefix[155], unused[12];
};
static_assert(sizeof(Header) == kBlock);

template <size_t N>
void octal(char (&field)[N], uint64_t value) {
  for (size_t i = N - 1; i-- > 0; value >>= 3) field[i] = static_cast<char>('0' + (value & 7));
}
template <size_t N>
void text(char (&field)[N], std::string_view value) {
  std::memcpy(field, value.data(), std::min(N, value.size()));
}

void seal(Header& h) {
  std::memset(h.checksum, ' ', sizeof h.checksum);
  unsigned sum = 0;
  for (size_t i = 0; i < kBlock; i++) sum += reinterpret_cast<unsigned char*>(&h)[i];
  std::snprintf(h.checksum, sizeof h.checksum, "%06o", sum);
  h.checksum[7] = ' ';
}

// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
void record(std::string& out, std::string_view key, std::string_view value) {
  size_t body = key.size() + value.size() + 3, length = body + 1;
  while (std::to_string(length).size() + body != length) length = std::to_string(length).size() + body;
  out += std::to_string(length);
  out += ' ';
  out += key;
  out += '=';
  out += value;
  out += '\n';
}

bool fits_ustar(std::string_view name) { return name.size() <= 100; }

std::string pax_records(const TarEntry& e) {
  std::string out;
  if (!fits_ustar(e.name)) record(out, "path", e.name);
  if (e.link.size() > 100) record(out, "linkpath", e.link);
  if (e.size >= kOctal11) record(out, "size", std::to_string(e.size));
  if (e.uid >= kOctal7) record(out, "uid", std::to_string(e.uid));
  if (e.gid >= kOctal7) record(out, "gid", std::to_string(e.gid));
  if (e.mtime_nsec || e.mtime < 0 || static_cast<uint64_t>(e.mtime) >= kOctal11) {
    std::string value = std::to_string(e.mtime);
    if (e.mtime_nsec) {
      // Times before the epoch count from the second before; a decimal fraction counts towards zero.
      int64_t seconds = e.mtime;
      uint32_t nanoseconds = e.mtime_nsec;
      bool negative = seconds < 0;
      if (negative) seconds = -(seconds + 1), nanoseconds = 1'000'000'000 - nanoseconds;
      char fraction[16];
      std::snprintf(fraction, sizeof fraction, ".%09u", nanoseconds);
      value = (negative ? "-" : "") + std::to_string(seconds) + fraction;
      value.erase(value.find_last_not_of('0') + 1);
    }
    record(out, "mtime", value);
  }
  for (const auto& [key, value] : e.xattrs) record(out, "SCHILY.xattr." + key, value);
  return out;
}

Header make_header(const TarEntry& e) {
  Header h = {};
  text(h.name, e.name);
  octal(h.mode, e.mode & 07777);
  octal(h.uid, e.uid < kOctal7 ? e.uid : 0);
  octal(h.gid, e.gid < kOctal7 ? e.gid : 0);
  octal(h.size, e.size < kOctal11 ? e.size : 0);
  octal(h.mtime,
        e.mtime >= 0 && static_cast<uint64_t>(e.mtime) < kOctal11 ? static_cast<uint64_t>(e.mtime) : 0);
  h.type = e.type;
  text(h.link, e.link);
  text(h.magic, std::string_view("ustar\0", 6));
  text(h.version, "00");
  octal(h.major, e.major);
  octal(h.minor, e.minor);
  seal(h);
  return h;
}

std::string_view bytes_of(const Header& h) { return {reinterpret_cast<const char*>(&h), sizeof h}; }

}  // namespace

Result<> TarWriter::header(const TarEntry& entry) {
  if (left_ > 0) return fail(Error::internal("tar: the entry before has not got all its data"));
  std::string pax = pax_records(entry);
  if (!pax.empty()) {
    TarEntry extended;
    extended.name = "PaxHeaders/" + entry.name.substr(0, 80);
    extended.type = 'x';
    extended.size = pax.size();
    TRY_VOID(sink_(bytes_of(make_header(extended))));
    pax.resize((pax.size() + kBlock - 1) / kBlock * kBlock, '\0');
    TRY_VOID(sink_(pax));
  }
  TRY_VOID(sink_(bytes_of(make_header(entry))));
  left_ = entry.size;
  padding_ = (kBlock - entry.size % kBlock) % kBlock;
  return {};
}

Result<> TarWriter::end_of_data() {
  static constexpr std::array<char, kBlock> kZeros{};
  if (padding_) TRY_VOID(sink_(std::string_view(kZeros.data(), padding_)));
  padding_ = 0;
  return {};
}

Result<> TarWriter::data(std::string_view bytes) {
  if (bytes.size() > left_) return fail(Error::internal("tar: more data than the header said"));
  left_ -= bytes.size();
  if (!bytes.empty()) TRY_VOID(sink_(bytes));
  return left_ == 0 ? end_of_data() : Result<>();
}

Result<> TarWriter::file(TarEntry entry, std::string_view content) {
  entry.size = content.size();
  TRY_VOID(header(entry));
  return data(content);
}

Result<> TarWriter::file_from(TarEntry entry, int fd) {
  TRY_VOID(header(entry));
  std::string buffer(256 << 10, '\0');
  uint64_t left = entry.size;
  while (left > 0) {
    ssize_t n = ::read(fd, buffer.data(), static_cast<size_t>(std::min<uint64_t>(buffer.size(), left)));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::os("read", entry.name));
    // A file that shrinks while it is read keeps its size in the archive, as tar does it.
    if (n == 0) {
      std::fill(buffer.begin(), buffer.end(), '\0');
      n = static_cast<ssize_t>(std::min<uint64_t>(buffer.size(), left));
    }
    TRY_VOID(data(std::string_view(buffer.data(), static_cast<size_t>(n))));
    left -= static_cast<uint64_t>(n);
  }
  return entry.size == 0 ? end_of_data() : Result<>();
}

Result<> TarWriter::finish() {
  static constexpr std::array<char, 2 * kBlock> kZeros{};
  return sink_(std::string_view(kZeros.data(), kZeros.size()));
}

}  // namespace onggi::transfer
