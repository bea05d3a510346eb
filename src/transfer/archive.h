// Images in files: oci: directories, oci-archive: and docker-archive: tars.
//
// Reading: an archive is first unpacked by the confined unpacker into a scratch directory, like any layer,
// and then read from there by descriptors that cannot leave it; so no byte of it meets a parser with
// privileges except JSON. Writing: one form serves all readers - an OCI layout with docker's manifest.json
// beside it, as docker itself writes since version 25. The file appears under its name when it is complete.
#pragma once

#include "base/result.h"
#include "image/store.h"
#include "image/transfer_protocol.h"
#include "transfer/progress.h"

namespace onggi::transfer {

Result<image::TransferEvent> load(image::Store& store, const image::TransferRequest& request,
                                  Progress& progress);
Result<image::TransferEvent> save(image::Store& store, const image::TransferRequest& request,
                                  Progress& progress);
// A root file system's tar becomes an image of one layer.
Result<image::TransferEvent> import_tar(image::Store& store, const image::TransferRequest& request,
                                        Progress& progress);

// Adds an image that was made here: writes its config and manifest.
Result<image::TransferEvent> add_made_image(image::Store& store, image::NewImage& image,
                                            const oci::ImageConfig& config,
                                            std::vector<image::ImageLayer> layers);

// "oci:DIR:TAG" and its relatives, taken apart.
enum class Transport : uint8_t { kAuto, kOciDirectory, kOciArchive, kDockerArchive };
struct Location {
  Transport transport = Transport::kAuto;
  std::string path;
  std::string name;  // behind the last colon, for oci: and oci-archive:
};
Result<Location> parse_location(std::string_view text);

}  // namespace onggi::transfer
