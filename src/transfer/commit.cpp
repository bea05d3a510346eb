#include "transfer/commit.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/scope.h"
#include "base/time.h"
#include "oci/image_json.h"
#include "transfer/archive.h"
#include "transfer/compress.h"
#include "transfer/stream_layer.h"
#include "transfer/tree_reader.h"

namespace onggi::transfer {

namespace {

TreeOptions tree_options(const image::TransferRequest& request, bool upper) {
  return {request.id_base, request.id_count, upper};
}

void tell(const TreeSummary& summary, Progress& progress) {
  if (summary.skipped)
    progress.note(std::to_string(summary.skipped) + " sockets were left out: a layer cannot hold them");
  if (summary.foreign)
    progress.note(std::to_string(summary.foreign) +
                  " owners were not of the container's range of ids; they are nobody (65534) now");
}

Result<image::ImageLayer> store_tree(image::Store& store, const image::TransferRequest& request,
                                     Progress& progress) {
  UniqueFd root = TRY(open_at(AT_FDCWD, request.tree, O_RDONLY | O_DIRECTORY));
  UnpackLimits limits;
  if (request.max_layer_bytes) limits.max_bytes = request.max_layer_bytes;
  limits.max_ratio = UINT64_MAX;  // what a container wrote itself may be as empty as it likes
  return store_stream(store, limits, [&](const Feed& feed) -> Result<> {
    GzipWriter gzip(feed);
    TarWriter tar([&gzip](std::string_view data) { return gzip.write(data); });
    TreeSummary summary = TRY(write_tree(root.get(), tree_options(request, true), tar));
    tell(summary, progress);
    return gzip.finish();
  });
}

}  // namespace

Result<image::TransferEvent> commit(image::Store& store, const image::TransferRequest& request,
                                    Progress& progress) {
  image::NewImage image;
  for (const std::string& name : request.references)
    image.names.push_back(TRY(image::Reference::parse(name)));
  image::ImageRecord base = TRY_CTX(store.resolve(request.image), "commit");
  image::ImageLayer layer = TRY_CTX(store_tree(store, request, progress), "commit");
  oci::ImageConfig config = base.config;
  if (!request.config.empty())
    config.config = TRY_CTX(json_parse<oci::ContainerDefaults>(request.config, "config"), "commit");
  config.created = format_rfc3339(now());
  if (!request.author.empty()) config.author = request.author;
  config.rootfs.diff_ids.push_back(layer.diff_id);
  config.history.push_back({config.created, request.author, request.created_by, request.message, false});
  std::vector<image::ImageLayer> layers = base.layers;
  layers.push_back(layer);
  return add_made_image(store, image, config, std::move(layers));
}

Result<image::TransferEvent> export_tree(const image::TransferRequest& request, Progress& progress) {
  UniqueFd root = TRY_CTX(open_at(AT_FDCWD, request.tree, O_RDONLY | O_DIRECTORY), "export");
  bool stream = request.path == "-";
  std::string temporary = request.path + ".tmp." + std::to_string(::getpid());
  UniqueFd out =
      stream
          ? UniqueFd(::fcntl(3, F_DUPFD_CLOEXEC, 4))
          : TRY_CTX(open_at(AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600), "export");
  if (!out) return fail(Error::invalid("export: '-' needs descriptor 3"));
  ScopeExit undo([&] {
    if (!stream) ::unlink(temporary.c_str());
  });
  TarWriter tar([&out](std::string_view data) { return write_all(out.get(), data, "the archive"); });
  TreeSummary summary = TRY_CTX(write_tree(root.get(), tree_options(request, false), tar), "export");
  tell(summary, progress);
  if (!stream && ::rename(temporary.c_str(), request.path.c_str()) < 0)
    return fail(Error::os("export: rename", request.path));
  undo.release();
  return image::TransferEvent{};
}

}  // namespace onggi::transfer
