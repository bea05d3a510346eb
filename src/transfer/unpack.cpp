#include "transfer/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <memory>
#include <optional>

#include "base/file.h"
#include "transfer/plain_tar.h"

namespace onggi::transfer {

namespace {

struct FreeArchive {
  void operator()(archive* a) const { archive_read_free(a); }
};

// libarchive pulls its input through these; the first error of ours is kept aside, since libarchive has only
// text.
struct Source {
  Decompressor& decompressor;
  std::optional<Error> error;
};
la_ssize_t read_source(archive* a, void* data, const void** buffer) {
  auto* source = static_cast<Source*>(data);
  auto piece = source->decompressor.next();
  if (!piece) {
    source->error = std::move(piece).error();
    archive_set_error(a, EIO, "input");
    return -1;
  }
  *buffer = piece->data();
  return static_cast<la_ssize_t>(piece->size());
}

struct Reader {
  archive* a;
  Source& source;
  TreeWriter& writer;
  const UnpackLimits& limits;
  Unpacked result;
};

Error archive_fault(Reader& r, std::string_view where) {
  if (r.source.error) return std::move(*r.source.error);
  const char* text = archive_error_string(r.a);
  return Error::invalid("the layer is no valid tar: " + std::string(where) + (text ? text : "unknown error"));
}

Result<EntryMeta> read_meta(archive_entry* e, std::string_view name) {
  EntryMeta meta;
  la_int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);
  // 2^32-1 means "leave it" to chown and is no id.
  if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
    return fail(Error::invalid("entry '" + std::string(name.substr(0, 200)) + "': its owner " +
                               std::to_string(uid) + ":" + std::to_string(gid) + " is out of range"));
  meta.uid = static_cast<uint32_t>(uid);
  meta.gid = static_cast<uint32_t>(gid);
  meta.mode = archive_entry_perm(e) & 07777;
  meta.mtime = {archive_entry_mtime(e), archive_entry_mtime_nsec(e)};
  const char* key;
  const void* value;
  size_t size;
  archive_entry_xattr_reset(e);
  while (archive_entry_xattr_next(e, &key, &value, &size) == ARCHIVE_OK)
    meta.xattrs.emplace_back(key, std::string(static_cast<const char*>(value), size));
  return meta;
}

Result<> write_at(int fd, const char* data, size_t size, int64_t offset, std::string_view name) {
  while (size > 0) {
    ssize_t n = ::pwrite(fd, data, size, offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::os("write", name));
    data += n, offset += n, size -= static_cast<size_t>(n);
  }
  return {};
}

Result<> write_file_entry(Reader& r, archive_entry* e, std::string_view name, const EntryMeta& meta) {
  int64_t size = archive_entry_size(e);
  if (size < 0 || static_cast<uint64_t>(size) > r.limits.max_bytes - r.result.bytes)
    return fail(Error::invalid("entry '" + std::string(name.substr(0, 200)) + "': " + std::to_string(size) +
                               " bytes are more than the " + std::to_string(r.limits.max_bytes) +
                               " bytes that a layer may have (--max-layer-size)"));
  UniqueFd file = TRY(r.writer.begin_file(name, meta));
  int64_t end = 0;
  for (;;) {
    const void* data;
    size_t length;
    la_int64_t offset;
    int code = archive_read_data_block(r.a, &data, &length, &offset);
    if (code == ARCHIVE_EOF) break;
    if (code < ARCHIVE_WARN)
      return fail(archive_fault(r, "entry '" + std::string(name.substr(0, 200)) + "': "));
    if (length == 0) continue;
    if (offset < end || offset > size || static_cast<int64_t>(length) > size - offset)
      return fail(
          Error::invalid("entry '" + std::string(name.substr(0, 200)) + "': its data does not fit its size"));
    TRY_VOID(write_at(file.get(), static_cast<const char*>(data), length, offset, name));
    end = offset + static_cast<int64_t>(length);
  }
  // Holes at the end of a sparse file.
  if (end < size && ::ftruncate(file.get(), size) < 0) return fail(Error::os("set the size of", name));
  r.result.bytes += static_cast<uint64_t>(size);
  return r.writer.finish_file(std::move(file), name, meta);
}

Result<> write_entry(Reader& r, archive_entry* e) {
  const char* raw = archive_entry_pathname(e);
  if (!raw || !*raw) return fail(Error::invalid("the layer is no valid tar: an entry has no name"));
  std::string name = raw;
  if (++r.result.entries > r.limits.max_entries)
    return fail(Error::invalid("the layer has more than the " + std::to_string(r.limits.max_entries) +
                               " entries that are allowed"));
  if (TRY(r.writer.whiteout(name))) return {};
  const char* link = archive_entry_hardlink(e);
  if (link) return r.writer.hard_link(name, link);
  EntryMeta meta = TRY(read_meta(e, name));
  switch (archive_entry_filetype(e)) {
    case AE_IFREG:
      return write_file_entry(r, e, name, meta);
    case AE_IFDIR:
      return r.writer.directory(name, std::move(meta));
    case AE_IFLNK: {
      const char* target = archive_entry_symlink(e);
      if (!target || !*target)
        return fail(Error::invalid("entry '" + name + "': a symlink without a target"));
      return r.writer.symlink(name, target, meta);
    }
    case AE_IFIFO:
      return r.writer.fifo(name, meta);
    case AE_IFCHR:
    case AE_IFBLK:
      return r.writer.device(name, archive_entry_filetype(e) == AE_IFBLK,
                             static_cast<uint32_t>(archive_entry_rdevmajor(e)),
                             static_cast<uint32_t>(archive_entry_rdevminor(e)), meta);
    default:
      return fail(Error::invalid("entry '" + name + "': its type is not supported"));
  }
}

Result<> finish_input(Decompressor& d, Unpacked& result) {
  while (!TRY(d.next()).empty()) {
  }
  result.diff_hex = d.digest();
  result.input = d.input_bytes();
  return {};
}

}  // namespace

Result<Unpacked> unpack_tree(int input, TreeWriter& writer, const UnpackLimits& limits) {
  Decompressor decompressor(input, limits);
  Source source{decompressor, std::nullopt};
  std::unique_ptr<archive, FreeArchive> a(archive_read_new());
  if (!a || archive_read_support_format_tar(a.get()) != ARCHIVE_OK)
    return fail(Error::internal("libarchive could not be set up"));
  Reader r{a.get(), source, writer, limits, {}};
  // A layer without a single byte is the empty layer of some builders; libarchive would see no tar in it.
  archive_read_support_format_empty(a.get());
  if (archive_read_open(a.get(), &source, nullptr, read_source, nullptr) != ARCHIVE_OK)
    return fail(archive_fault(r, ""));
  for (;;) {
    archive_entry* e = nullptr;
    int code = archive_read_next_header(a.get(), &e);
    if (code == ARCHIVE_EOF) break;
    // A warning is a name that is not in this locale's character set; the bytes are there all the same.
    if (code < ARCHIVE_WARN) return fail(archive_fault(r, ""));
    TRY_VOID(write_entry(r, e));
  }
  TRY_VOID(finish_input(decompressor, r.result));
  TRY_VOID(writer.finish());
  r.result.entries = writer.entries();
  r.result.dropped_xattrs = writer.dropped_xattrs();
  return r.result;
}

Result<Unpacked> unpack_raw(int input, int output, const UnpackLimits& limits) {
  Decompressor decompressor(input, limits);
  Unpacked result;
  for (;;) {
    std::string_view piece = TRY(decompressor.next());
    if (piece.empty()) break;
    TRY_VOID(write_all(output, piece, "layer.tar"));
  }
  TRY_VOID(finish_input(decompressor, result));
  TarScan scan = TRY(scan_tar(output, limits));
  result.bytes = scan.bytes;
  result.entries = scan.entries;
  result.not_plain = scan.why_not;
  return result;
}

}  // namespace onggi::transfer
