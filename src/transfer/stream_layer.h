// A layer from a stream whose digests are not known beforehand: import, commit.
//
// The bytes go once through hash, blob file and unpacker, all in a scratch directory; then tree and blob are
// moved under their digests, unless the store has them.
#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"
#include "image/store.h"
#include "transfer/decompress.h"

namespace onggi::transfer {

using Feed = std::function<Result<>(std::string_view)>;

// `produce` gives all bytes of the (compressed or plain) tar to the Feed it is handed.
Result<image::ImageLayer> store_stream(image::Store& store, const UnpackLimits& limits,
                                       const std::function<Result<>(const Feed&)>& produce);

}  // namespace onggi::transfer
