// One layer into the store: from wherever its bytes come, in one pass, verified before it counts.
//
//   source -> SHA-256 of the transfer -> blob file
//                                     -> unpacker (confined): inflate -> SHA-256 of the tar -> files
//
// Order: the layer's lock, then the blob's (always, so that two pulls cannot wait for each other); bytes that
// an interrupted transfer left are fed first; the digest and size of the transfer are compared before the
// blob is recorded, and the diff id before the layer is.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "image/store.h"
#include "oci/image_spec.h"
#include "transfer/decompress.h"
#include "transfer/progress.h"

namespace onggi::transfer {

// Gives the layer's bytes from `offset` on. `begin` is told the offset at which they really start.
using LayerSource = std::function<Result<>(uint64_t offset, const std::function<Result<>(uint64_t)>& begin,
                                           const std::function<Result<>(std::string_view)>& sink)>;

struct LayerContext {
  image::Store& store;  // of this thread
  Progress& progress;
  const UnpackLimits& limits;
  int user_namespace = -1;  // of unpack_namespace()
};

// Makes the layer exist, unpacked; true when it was not there before. `blob` describes the transfer,
// `diff_id` the tar inside.
Result<bool> fetch_layer(LayerContext& context, const oci::Digest& diff_id, const oci::Descriptor& blob,
                         const LayerSource& source);

}  // namespace onggi::transfer
