// pull: a reference from a registry into the store.
#pragma once

#include "base/result.h"
#include "image/store.h"
#include "image/transfer_protocol.h"
#include "transfer/progress.h"

namespace onggi::transfer {

Result<image::TransferEvent> pull(image::Store& store, const image::TransferRequest& request,
                                  Progress& progress);
Result<image::TransferEvent> list_referrers(const image::TransferRequest& request);
Result<image::TransferEvent> login(const image::TransferRequest& request);
Result<image::TransferEvent> logout(const image::TransferRequest& request);

}  // namespace onggi::transfer
