#include "cli/image_worker.h"

#include <unistd.h>

#include "cli/progress.h"
#include "engine/events.h"
#include "image/reference.h"

namespace onggi::cli {

Result<image::TransferEvent> transfer(engine::Engine& engine, image::TransferRequest request, bool quiet,
                                      int stream) {
  Progress progress(quiet);
  return engine::run_transfer(
      engine, std::move(request), [&](const image::TransferEvent& event) { progress.show(event); }, stream);
}

// onggi/base comes with the engine.
Result<image::TransferEvent> load_base(engine::Engine& engine, const std::string& file) {
  image::TransferRequest request;
  request.operation = "load";
  request.path = "oci-archive:" + file;
  return transfer(engine, std::move(request), true, -1);
}

Result<image::TransferEvent> pull_image(engine::Engine& engine, const std::string& reference,
                                        const PullOptions& options) {
  image::Reference name = TRY(options.all_tags ? image::Reference::parse_untagged(reference)
                                               : image::Reference::parse(reference));
  std::string base = engine.paths().libexec + "/base.tar";
  if (name.canonical() == "docker.io/onggi/base:latest" && ::access(base.c_str(), R_OK) == 0)
    return load_base(engine, base);
  image::TransferRequest request;
  request.operation = "pull";
  request.references = {name.canonical()};
  request.platform = options.platform;
  request.all_tags = options.all_tags;
  request.auth_file = options.auth_file;
  request.ca_file = options.ca_file;
  request.max_layer_bytes = options.max_layer_bytes;
  request.storage_form = options.storage_form;
  image::TransferEvent result = TRY(transfer(engine, std::move(request), options.quiet));
  engine::record_event(engine.paths(), {"image", "pull", name.canonical(), name.familiar(), "", {}});
  return result;
}

}  // namespace onggi::cli
