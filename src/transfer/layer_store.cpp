#include "transfer/layer_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <optional>

#include "base/file.h"
#include "image/snapshot.h"
#include "transfer/erofs.h"
#include "transfer/hash.h"
#include "transfer/http.h"
#include "transfer/unpack_client.h"

namespace onggi::transfer {

namespace {

constexpr size_t kReplayBytes = 256 << 10;

// The three receivers of a layer's bytes, kept at one offset.
struct Receiver {
  LayerContext& context;
  const oci::Descriptor& blob;
  const UnpackTarget target;
  std::optional<image::BlobWriter> writer;
  std::optional<Unpacker> unpacker;
  BulkHash hash;
  uint64_t at = 0;
  bool unpacker_ended = false;

  Result<> restart() {
    unpacker.reset();
    TRY_VOID(writer->restart());
    hash = BulkHash();
    at = 0;
    unpacker_ended = false;
    unpacker.emplace(TRY(Unpacker::start(target, context.limits)));
    return {};
  }
  Result<> take(std::string_view data) {
    hash.update(data);
    at += data.size();
    if (!unpacker_ended && !TRY(unpacker->feed(data))) unpacker_ended = true;
    // It ended before the input did: it has found something wrong, and says what.
    if (unpacker_ended) {
      auto why = unpacker->finish();
      return fail(why ? Error::internal("the unpacker stopped reading") : std::move(why).error());
    }
    context.progress.layer(blob.digest, "downloading", at, blob.size);
    return {};
  }
};

// What an interrupted transfer left goes through hash and unpacker as if it came now.
Result<> replay(Receiver& r) {
  uint64_t left = std::min<uint64_t>(r.writer->resumed(), r.blob.size);
  std::string buffer(kReplayBytes, '\0');
  while (r.at < left) {
    size_t want = static_cast<size_t>(std::min<uint64_t>(buffer.size(), left - r.at));
    ssize_t n = ::pread(r.writer->file(), buffer.data(), want, static_cast<off_t>(r.at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(Error::os("read the partial download", r.blob.digest.text()));
    TRY_VOID(r.take(std::string_view(buffer.data(), static_cast<size_t>(n))));
  }
  return {};
}

Result<> receive(Receiver& r, const LayerSource& source) {
  r.unpacker.emplace(TRY(Unpacker::start(r.target, r.context.limits)));
  if (r.writer->resumed() > r.blob.size)
    TRY_VOID(r.restart());
  else
    TRY_VOID(replay(r));
  auto begin = [&r](uint64_t offset) -> Result<> {
    if (offset == r.at) return {};
    if (offset != 0) return fail(Error::internal("the transfer continues at a wrong place"));
    return r.restart();
  };
  auto sink = [&r](std::string_view data) -> Result<> {
    TRY_VOID(write_all(r.writer->file(), data, "the blob"));
    return r.take(data);
  };
  if (r.at < r.blob.size || r.blob.size == 0) TRY_VOID(source(r.at, begin, sink));
  std::string hex = r.hash.hex();
  if (r.at != r.blob.size || hex != r.blob.digest.hex())
    return fail(Error::invalid("layer " + r.blob.digest.text() + ": the data that came has " +
                               std::to_string(r.at) + " bytes and the digest sha256:" + hex +
                               "; it was rejected"));
  return {};
}

Result<> check_diff_id(const Unpacked& unpacked, const oci::Digest& diff_id) {
  if (unpacked.diff_hex == diff_id.hex()) return {};
  return fail(Error::invalid("layer: unpacked it has the digest sha256:" + unpacked.diff_hex +
                             ", the image's config says " + diff_id.text() + "; it was rejected"));
}

// The blob is here already: only unpacked again (another process fetched it, or the tree was lost).
Result<Unpacked> unpack_local(LayerContext& context, const oci::Descriptor& blob,
                              const UnpackTarget& target) {
  context.progress.layer(blob.digest, "unpacking", 0, blob.size);
  UniqueFd file = TRY(context.store.open_blob(blob.digest));
  Unpacker unpacker = TRY(Unpacker::start_from(file.get(), target, context.limits));
  return unpacker.finish();
}

Result<Unpacked> receive_and_unpack(LayerContext& context, const oci::Descriptor& blob,
                                    const UnpackTarget& target, image::BlobWriter writer,
                                    const LayerSource& source) {
  Receiver r{context, blob, target, std::move(writer), std::nullopt, {}};
  if (auto received = receive(r, source); !received) {
    // A broken line leaves what is good; anything else (wrong digest, bomb) is not worth continuing.
    if (!is_transient(received.error())) r.writer->discard();
    return fail(std::move(received).error());
  }
  context.progress.layer(blob.digest, "unpacking", blob.size, blob.size);
  auto unpacked = r.unpacker->finish();
  if (!unpacked) {
    r.writer->discard();
    return unpacked;
  }
  TRY_VOID(r.writer->commit(blob.size));
  return unpacked;
}

}  // namespace

namespace {

// An index; whether the kernel mounts it, and shows what the tar has.
Result<> index_layer(LayerContext& context, const image::LayerWriter& layer, const Unpacked& unpacked) {
  TRY_VOID(make_erofs_index(layer.directory(), context.user_namespace));
  MountFd mount = TRY(image::mount_erofs(layer.path()));
  return compare_tree(mount.get(), unpacked.entries, unpacked.bytes);
}

Result<bool> wants_erofs(LayerContext& context) {
  using Keep = UnpackLimits::Keep;
  if (context.limits.keep == Keep::kDirectory) return false;
  auto supported = image::erofs_supported();
  if (supported) {
    auto program = find_mkfs_erofs();
    if (program) return true;
    supported = fail(std::move(program).error());
  }
  if (context.limits.keep == Keep::kErofs)
    return fail(std::move(supported).error().wrap("keep layers in EROFS form"));
  return false;
}

// The tar lies in the layer's directory: it gets its index, or becomes a directory after all, and `why` says
// why.
Result<image::LayerForm> finish_raw(LayerContext& context, const image::LayerWriter& layer, int tree,
                                    Unpacked& unpacked, std::string& why) {
  if (!unpacked.not_plain.empty()) why = "its tar " + unpacked.not_plain;
  if (why.empty()) {
    auto indexed = index_layer(context, layer, unpacked);
    if (indexed) {
      if (::unlinkat(layer.directory(), "fs", AT_REMOVEDIR) < 0)
        return fail(Error::os("remove the empty directory", "fs"));
      return image::LayerForm::kErofs;
    }
    why = indexed.error().text();
  }
  UniqueFd tar = TRY(open_at(layer.directory(), "layer.tar", O_RDONLY | O_NOFOLLOW));
  Unpacker unpacker =
      TRY(Unpacker::start_from(tar.get(), {tree, false, context.user_namespace}, context.limits));
  unpacked = TRY(unpacker.finish());
  for (const char* name : {"layer.tar", "layer.erofs"})
    if (::unlinkat(layer.directory(), name, 0) < 0 && errno != ENOENT) return fail(Error::os("remove", name));
  return image::LayerForm::kDirectory;
}

// What the user should know of a layer that was made.
void tell(LayerContext& context, const oci::Descriptor& blob, const Unpacked& unpacked,
          const std::string& why_directory) {
  std::string name = "layer " + std::string(blob.digest.hex().substr(0, 12));
  if (unpacked.dropped_xattrs > 0)
    context.progress.note(name + ": " + std::to_string(unpacked.dropped_xattrs) +
                          " extended attributes or device nodes were left out (of namespaces that an image "
                          "may not set, or not possible here)");
  if (!why_directory.empty()) context.progress.note(name + " is kept as a directory: " + why_directory);
}

// `damaged`: the blob that is here does not hold the layer.
Result<bool> fetch_once(LayerContext& context, const oci::Digest& diff_id, const oci::Descriptor& blob,
                        const LayerSource& source, bool& damaged) {
  auto waiting = [&] { context.progress.layer(blob.digest, "waiting", 0, blob.size); };
  std::optional<image::LayerWriter> layer = TRY(context.store.begin_layer(diff_id, waiting));
  if (!layer) {
    context.progress.layer(blob.digest, "exists", blob.size, blob.size);
    return false;
  }
  UniqueFd tree = TRY(open_at(layer->directory(), "fs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  bool raw = TRY(wants_erofs(context));
  UnpackTarget target{raw ? layer->directory() : tree.get(), raw, context.user_namespace};
  std::optional<image::BlobWriter> writer = TRY(context.store.begin_blob(blob.digest, waiting));
  auto unpacked = writer ? receive_and_unpack(context, blob, target, std::move(*writer), source)
                         : unpack_local(context, blob, target);
  Result<> right = unpacked ? check_diff_id(*unpacked, diff_id) : fail(std::move(unpacked).error());
  if (!right) {
    damaged = !writer && right.error().kind() == ErrorKind::kInvalid;
    return fail(std::move(right).error());
  }
  image::LayerForm form = image::LayerForm::kDirectory;
  std::string why_directory;
  if (raw) form = TRY(finish_raw(context, *layer, tree.get(), *unpacked, why_directory));
  tell(context, blob, *unpacked, why_directory);
  TRY_VOID(layer->commit({diff_id, form, unpacked->bytes, unpacked->entries}));
  context.progress.layer(blob.digest, "done", blob.size, blob.size);
  return true;
}

}  // namespace

Result<bool> fetch_layer(LayerContext& context, const oci::Digest& diff_id, const oci::Descriptor& blob,
                         const LayerSource& source) {
  bool damaged = false;
  auto fetched = fetch_once(context, diff_id, blob, source, damaged);
  if (fetched || !damaged) return fetched;
  context.progress.note("blob " + std::string(blob.digest.hex().substr(0, 12)) +
                        " is damaged on this machine: " + fetched.error().text() + "; it is fetched again");
  TRY_VOID(context.store.forget_blob(blob.digest));
  return fetch_once(context, diff_id, blob, source, damaged);
}

}  // namespace onggi::transfer
