// A thread per layer, as far as the number of threads goes; the first failure stops the rest.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "image/store.h"
#include "image/transfer_protocol.h"
#include "transfer/layer_store.h"

namespace onggi::transfer {

struct LayerJob {
  oci::Digest diff_id;
  oci::Descriptor blob;
};

// The budget and the form that a request asks for.
Result<UnpackLimits> limits_of(const image::TransferRequest& request);

// Makes the source of a layer for one thread; called in that thread.
using MakeSource = std::function<LayerSource(const LayerJob& job)>;

// `root` is the engine's root: each thread opens the store for itself. Returns how many layers were new.
Result<size_t> fetch_layers(const std::string& root, const std::vector<LayerJob>& jobs,
                            const UnpackLimits& limits, Progress& progress, uint32_t parallel,
                            const std::function<MakeSource()>& make_thread);

}  // namespace onggi::transfer
