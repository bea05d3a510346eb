#include "engine/tar.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "base/file.h"

namespace onggi::engine {

namespace {

constexpr size_t kBlock = 512;
constexpr size_t kCopy = 65536;
constexpr uint64_t kMaxPax = 1 << 20;      // bytes of one extended header
constexpr uint64_t kMaxSize = 1ull << 50;  // bytes of one file
constexpr uint64_t kOctal7 = 07777777, kOctal11 = 077777777777;

struct Raw {
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[8],
      user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
static_assert(sizeof(Raw) == kBlock);

template <size_t N>
void octal(char (&field)[N], uint64_t value) {
  snprintf(field, N, "%0*llo", static_cast<int>(N - 1), static_cast<unsigned long long>(value));
}
template <size_t N>
void text_field(char (&field)[N], std::string_view value) {
  memcpy(field, value.data(), std::min(N, value.size()));
}

unsigned checksum(const Raw& raw) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(&raw);
  unsigned sum = 0;
  for (size_t n = 0; n < kBlock; n++) sum += n >= 148 && n < 156 ? ' ' : bytes[n];
  return sum;
}

// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
std::string pax_record(const std::string& key, std::string_view value) {
  size_t rest = key.size() + value.size() + 3, length = rest + 1;
  while (std::to_string(length).size() + rest != length) length = std::to_string(length).size() + rest;
  return std::to_string(length) + " " + key + "=" + std::string(value) + "\n";
}

char type_of(const FileEntry& e) {
  if (e.hard_link) return '1';
  if (S_ISDIR(e.mode)) return '5';
  if (S_ISLNK(e.mode)) return '2';
  if (S_ISCHR(e.mode)) return '3';
  if (S_ISBLK(e.mode)) return '4';
  return S_ISFIFO(e.mode) ? '6' : '0';
}

std::string padding_of(uint64_t size) { return std::string((kBlock - size % kBlock) % kBlock, '\0'); }

std::string block_of(Raw& raw) {
  snprintf(raw.checksum, sizeof raw.checksum, "%06o", checksum(raw));
  raw.checksum[7] = ' ';
  return {reinterpret_cast<const char*>(&raw), kBlock};
}

}  // namespace

// --- writing ---

Result<> TarWriter::put(std::string_view data) { return write_all(stream_, data, "the archive"); }

Result<> TarWriter::header(const FileEntry& e) {
  std::string path = S_ISDIR(e.mode) ? e.path + "/" : e.path, pax;
  uint64_t size = S_ISREG(e.mode) && !e.hard_link ? e.size : 0;
  auto seconds = static_cast<uint64_t>(std::max<time_t>(e.mtime.tv_sec, 0));
  if (path.size() > 100) pax += pax_record("path", path);
  if (e.link.size() > 100) pax += pax_record("linkpath", e.link);
  if (size > kOctal11) pax += pax_record("size", std::to_string(size));
  if (e.uid > kOctal7) pax += pax_record("uid", std::to_string(e.uid));
  if (e.gid > kOctal7) pax += pax_record("gid", std::to_string(e.gid));
  for (const auto& [name, value] : e.xattrs) pax += pax_record("SCHILY.xattr." + name, value);
  if (!pax.empty()) {
    Raw raw = {};
    text_field(raw.name, "PaxHeaders/" + std::to_string(pax_count_++));
    octal(raw.mode, 0644), octal(raw.uid, 0), octal(raw.gid, 0), octal(raw.size, pax.size()),
        octal(raw.mtime, 0);
    raw.type = 'x';
    memcpy(raw.magic, "ustar\00000", 8);
    TRY_VOID(put(block_of(raw) + pax + padding_of(pax.size())));
  }
  Raw raw = {};
  text_field(raw.name, path), text_field(raw.link, e.link);
  octal(raw.mode, e.mode & 07777);
  octal(raw.uid, std::min<uint64_t>(e.uid, kOctal7)), octal(raw.gid, std::min<uint64_t>(e.gid, kOctal7));
  octal(raw.size, std::min(size, kOctal11)), octal(raw.mtime, std::min(seconds, kOctal11));
  raw.type = type_of(e);
  memcpy(raw.magic, "ustar\00000", 8);
  octal(raw.major, ::major(e.device)), octal(raw.minor, ::minor(e.device));
  return put(block_of(raw));
}

Result<> TarWriter::content(int from, uint64_t size) {
  char block[kCopy];
  for (uint64_t done = 0; done < size;) {
    size_t want = static_cast<size_t>(std::min<uint64_t>(sizeof block, size - done));
    ssize_t n = from < 0 ? 0 : ::read(from, block, want);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::os("read a file for the archive", ""));
    if (n == 0) memset(block, 0, want);
    size_t got = n ? static_cast<size_t>(n) : want;
    TRY_VOID(put({block, got}));
    done += got;
  }
  return put(padding_of(size));
}

Result<> TarWriter::finish() { return put(std::string(2 * kBlock, '\0')); }

// --- reading ---

namespace {

std::unexpected<Error> malformed(const char* what) {
  return fail(Error::invalid(std::string("the archive is damaged or no tar: ") + what));
}

template <size_t N>
std::string field_text(const char (&field)[N]) {
  return {field, ::strnlen(field, N)};
}

// Octal, or GNU's base 256 for what does not fit.
template <size_t N>
std::optional<uint64_t> field_number(const char (&field)[N]) {
  uint64_t value = 0;
  if (field[0] & 0x80) {
    if (field[0] & 0x40) return std::nullopt;  // negative
    for (size_t n = 0; n < N; n++) {
      if (value >> 55) return std::nullopt;
      value = value << 8 | static_cast<unsigned char>(n ? field[n] : field[0] & 0x3f);
    }
    return value;
  }
  bool any = false;
  for (char c : field) {
    if ((c == ' ' && !any) || (c == 0 && !any)) continue;
    if (c == ' ' || c == 0) break;
    if (c < '0' || c > '7' || value >> 60) return std::nullopt;
    value = value << 3 | static_cast<uint64_t>(c - '0');
    any = true;
  }
  return value;
}

// What an extended header says over the entry that follows.
struct Extended {
  std::optional<std::string> path, link;
  std::optional<uint64_t> size, uid, gid;
  std::optional<timespec> mtime;
  std::vector<std::pair<std::string, std::string>> xattrs;
};

Result<timespec> parse_time(const std::string& text) {
  size_t dot = text.find('.');
  timespec t = {};
  t.tv_sec = TRY(parse_i64(text.substr(0, dot), "mtime"));
  std::string fraction = dot == std::string::npos ? "" : text.substr(dot + 1, 9);
  fraction.resize(9, '0');
  t.tv_nsec = static_cast<long>(TRY(parse_u64(fraction, "mtime")));
  return t;
}

Result<> parse_pax(std::string_view text, Extended& out) {
  while (!text.empty()) {
    size_t space = text.find(' ');
    auto length = parse_u64(text.substr(0, space), "length");
    if (space == std::string_view::npos || !length || *length <= space + 1 || *length > text.size())
      return malformed("an extended header has a wrong length");
    std::string_view record = text.substr(space + 1, *length - space - 2);
    size_t equals = record.find('=');
    if (equals == std::string_view::npos) return malformed("an extended header has no value");
    std::string key(record.substr(0, equals)), value(record.substr(equals + 1));
    if (key == "path") out.path = value;
    if (key == "linkpath") out.link = value;
    if (key == "size") out.size = TRY(parse_u64(value, "size"));
    if (key == "uid") out.uid = TRY(parse_u64(value, "uid"));
    if (key == "gid") out.gid = TRY(parse_u64(value, "gid"));
    if (key == "mtime") out.mtime = TRY(parse_time(value));
    if (key.starts_with("SCHILY.xattr.")) out.xattrs.push_back({key.substr(13), value});
    text.remove_prefix(*length);
  }
  return {};
}

std::optional<mode_t> type_mode(char type) {
  switch (type) {
    case '0':
    case '\0':
    case '7':
    case '1':
      return S_IFREG;
    case '2':
      return S_IFLNK;
    case '3':
      return S_IFCHR;
    case '4':
      return S_IFBLK;
    case '5':
      return S_IFDIR;
    case '6':
      return S_IFIFO;
    default:
      return std::nullopt;
  }
}

Result<FileEntry> entry_of(const Raw& raw, Extended x) {
  FileEntry e;
  auto mode = field_number(raw.mode), uid = field_number(raw.uid), gid = field_number(raw.gid),
       size = field_number(raw.size), mtime = field_number(raw.mtime), major = field_number(raw.major),
       minor = field_number(raw.minor);
  if (!mode || !uid || !gid || !size || !mtime) return malformed("a number in a header is out of range");
  auto type = type_mode(raw.type);
  if (!type)
    return fail(Error::unsupported("the archive has an entry of the unknown type '" +
                                   std::string(1, raw.type) + "'"));
  e.path = field_text(raw.name);
  if (memcmp(raw.magic, "ustar\0", 6) == 0 && raw.prefix[0]) e.path = field_text(raw.prefix) + "/" + e.path;
  if (x.path) e.path = *x.path;
  e.link = x.link.value_or(field_text(raw.link));
  e.mode = *type | (static_cast<mode_t>(*mode) & 07777);
  // An old directory is a file with a slash at the end.
  if (S_ISREG(e.mode) && raw.type != '1' && e.path.ends_with("/")) e.mode = S_IFDIR | (e.mode & 07777);
  uint64_t ids[2] = {x.uid.value_or(*uid), x.gid.value_or(*gid)};
  if (ids[0] >= UINT32_MAX || ids[1] >= UINT32_MAX) return malformed("an owner is out of range");
  e.uid = static_cast<uint32_t>(ids[0]);
  e.gid = static_cast<uint32_t>(ids[1]);
  e.hard_link = raw.type == '1';
  e.size = x.size.value_or(*size);
  if (e.size > kMaxSize) return malformed("the size of a file is out of range");
  e.mtime = x.mtime.value_or(timespec{static_cast<time_t>(*mtime), 0});
  e.device = ::makedev(static_cast<unsigned>(major.value_or(0)), static_cast<unsigned>(minor.value_or(0)));
  e.xattrs = std::move(x.xattrs);
  if (e.path.size() >= PATH_MAX || e.link.size() >= PATH_MAX || e.path.find('\0') != std::string::npos)
    return malformed("a name is too long");
  return e;
}

}  // namespace

// False at the end of the file; an end in the middle is an error.
Result<bool> TarReader::fill(char* block, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t n = ::read(stream_, block + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::os("read the archive", ""));
    if (n == 0 && done == 0) return false;
    if (n == 0) return malformed("it ends in the middle");
    done += static_cast<size_t>(n);
  }
  return true;
}

Result<> TarReader::skip(uint64_t size) {
  char block[kCopy];
  while (size) {
    size_t want = static_cast<size_t>(std::min<uint64_t>(size, sizeof block));
    if (!TRY(fill(block, want))) return malformed("it ends in the middle");
    size -= want;
  }
  return {};
}

Result<std::string> TarReader::text(uint64_t size) {
  if (size > kMaxPax) return malformed("an extended header is over a mebibyte");
  std::string out(size, '\0');
  if (size && !TRY(fill(out.data(), size))) return malformed("it ends in the middle");
  TRY_VOID(skip(padding_of(size).size()));
  return out;
}

Result<std::optional<FileEntry>> TarReader::next() {
  TRY_VOID(skip(left_ + padding_));
  left_ = padding_ = 0;
  Extended x;
  for (;;) {
    Raw raw;
    if (!TRY(fill(reinterpret_cast<char*>(&raw), kBlock))) return std::optional<FileEntry>();
    static constexpr char kZeros[kBlock] = {};
    if (memcmp(&raw, kZeros, kBlock) == 0) return std::optional<FileEntry>();
    if (field_number(raw.checksum) != checksum(raw)) return malformed("a header's checksum is wrong");
    auto size = field_number(raw.size);
    if (!size) return malformed("a number in a header is out of range");
    auto named = [](std::string s) { return s.substr(0, s.find('\0')); };
    if (raw.type == 'x')
      TRY_VOID(parse_pax(TRY(text(*size)), x));
    else if (raw.type == 'g')
      TRY(text(*size));  // about the archive, not about a file
    else if (raw.type == 'L')
      x.path = named(TRY(text(*size)));
    else if (raw.type == 'K')
      x.link = named(TRY(text(*size)));
    else {
      FileEntry e = TRY(entry_of(raw, std::move(x)));
      left_ = S_ISREG(e.mode) && !e.hard_link ? e.size : 0;
      padding_ = padding_of(left_).size();
      return std::optional(std::move(e));
    }
  }
}

Result<size_t> TarReader::read(char* block, size_t size) {
  size_t want = static_cast<size_t>(std::min<uint64_t>(size, left_));
  if (!want) return size_t{0};
  if (!TRY(fill(block, want))) return malformed("it ends in the middle");
  left_ -= want;
  return want;
}

}  // namespace onggi::engine
