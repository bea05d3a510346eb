#include "transfer/stream_layer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "transfer/hash.h"
#include "transfer/unpack_client.h"

namespace onggi::transfer {

namespace {

std::string_view media_type_of(std::string_view head) {
  if (head.starts_with("\x1f\x8b")) return oci::kMediaLayerGzip;
  if (head.starts_with("\x28\xb5\x2f\xfd")) return oci::kMediaLayerZstd;
  return oci::kMediaLayerTar;
}

struct Received {
  Unpacked unpacked;
  std::string blob_hex;
  uint64_t size = 0;
  std::string media_type;
};

Result<Received> receive(int scratch, int tree, const UnpackLimits& limits,
                         const std::function<Result<>(const Feed&)>& produce) {
  auto ns = unpack_namespace();  // where it cannot be made, the unpacker's other limits remain
  Unpacker unpacker = TRY(Unpacker::start({tree, false, ns ? ns->get() : -1}, limits));
  UniqueFd blob = TRY(open_at(scratch, "blob", O_WRONLY | O_CREAT | O_EXCL, 0600));
  BulkHash hash;
  Received r;
  std::string head;
  bool refused = false;
  Result<> produced = produce([&](std::string_view data) -> Result<> {
    if (head.size() < 8) head += data.substr(0, 8 - head.size());
    hash.update(data);
    r.size += data.size();
    TRY_VOID(write_all(blob.get(), data, "the layer"));
    refused = !TRY(unpacker.feed(data));
    if (refused) return fail(Error::invalid("the unpacker refused the data"));
    return {};
  });
  // What the unpacker found wrong explains more than that it stopped reading.
  if (!produced && !refused) return fail(std::move(produced).error());
  r.unpacked = TRY(unpacker.finish());
  TRY_VOID(produced);
  r.blob_hex = hash.hex();
  r.media_type = media_type_of(head);
  return r;
}

}  // namespace

Result<image::ImageLayer> store_stream(image::Store& store, const UnpackLimits& limits,
                                       const std::function<Result<>(const Feed&)>& produce) {
  image::Scratch scratch = TRY(store.begin_scratch());
  int directory = scratch.directory();
  if (::mkdirat(directory, "fs", 0755) < 0 || ::fchmodat(directory, "fs", 0755, 0) < 0)
    return fail(Error::os("create the directory", "fs"));
  UniqueFd tree = TRY(open_at(directory, "fs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  Received r = TRY(receive(directory, tree.get(), limits, produce));
  oci::Digest diff = oci::Digest::sha256(r.unpacked.diff_hex), blob = oci::Digest::sha256(r.blob_hex);
  if (auto layer = TRY(store.begin_layer(diff))) {
    TRY_VOID(layer->adopt(directory, "fs"));
    TRY_VOID(layer->commit({diff, image::LayerForm::kDirectory, r.unpacked.bytes, r.unpacked.entries}));
  }
  if (auto writer = TRY(store.begin_blob(blob))) {
    TRY_VOID(writer->adopt(directory, "blob"));
    TRY_VOID(writer->commit(r.size));
  }
  return image::ImageLayer{diff, blob, r.media_type, r.size};
}

}  // namespace onggi::transfer
