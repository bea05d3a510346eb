// `system check`: the store's own check, and with repair what needs the workers: layers whose tree is lost
// are unpacked again from their blobs.
#pragma once

#include "base/result.h"
#include "image/store.h"
#include "image/transfer_protocol.h"
#include "transfer/progress.h"

namespace onggi::transfer {

// result.json: {"problems": [what was found], "repaired": [what was done], "remaining": [what only a pull can
// mend]}.
Result<image::TransferEvent> check_store(image::Store& store, const image::TransferRequest& request,
                                         Progress& progress);

}  // namespace onggi::transfer
