// commit and export: what a container has written, as a layer of a new image; its whole root, as a tar.
#pragma once

#include "base/result.h"
#include "image/store.h"
#include "image/transfer_protocol.h"
#include "transfer/progress.h"

namespace onggi::transfer {

Result<image::TransferEvent> commit(image::Store& store, const image::TransferRequest& request,
                                    Progress& progress);
Result<image::TransferEvent> export_tree(const image::TransferRequest& request, Progress& progress);

}  // namespace onggi::transfer
