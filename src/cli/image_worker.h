// The engine's cold work on images is done by libexec/onggi/onggi-transfer; this is the side that starts it
// and shows its progress.
#pragma once

#include <string>

#include "engine/transfer.h"

namespace onggi::cli {

struct PullOptions {
  std::string platform;
  bool quiet = false;
  bool all_tags = false;
  std::string auth_file, ca_file;
  uint64_t max_layer_bytes = 0;  // 0: the default budget
  std::string storage_form;      // TransferRequest's
};
Result<image::TransferEvent> pull_image(engine::Engine& engine, const std::string& reference,
                                        const PullOptions& options);
// Any request, with its progress on standard error. `stream`: for path "-".
Result<image::TransferEvent> transfer(engine::Engine& engine, image::TransferRequest request, bool quiet,
                                      int stream = -1);

}  // namespace onggi::cli
