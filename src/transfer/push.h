// push: an image of the store into a registry.
//
// What the registry has is not sent: blobs are asked for, then mounted from other repositories of the same
// registry that are known to hold them, then uploaded. The manifest goes as it was stored, so its digest
// stays; it goes last, so a registry never names what it does not have.
#pragma once

#include "base/result.h"
#include "image/store.h"
#include "image/transfer_protocol.h"
#include "transfer/progress.h"

namespace onggi::transfer {

Result<image::TransferEvent> push(image::Store& store, const image::TransferRequest& request,
                                  Progress& progress);

}  // namespace onggi::transfer
