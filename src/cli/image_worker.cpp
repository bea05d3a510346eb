#include "cli/image_worker.h"

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

Result<image::TransferEvent> pull_image(engine::Engine& engine, const std::string& reference,
                                        const PullOptions& options) {
  image::Reference name = TRY(image::Reference::parse(reference));
  image::TransferRequest request;
  request.operation = "pull";
  request.references = {name.canonical()};
  request.platform = options.platform;
  request.all_tags = options.all_tags;
  image::TransferEvent result = TRY(transfer(engine, std::move(request), options.quiet));
  engine::record_event(engine.paths(), {"image", "pull", name.canonical(), name.familiar(), "", {}});
  return result;
}

}  // namespace onggi::cli
