#include "transfer/repair.h"

#include <algorithm>

#include "transfer/layer_pool.h"

namespace onggi::transfer {

namespace {

// Layers that images need and that are here only as blobs.
Result<std::vector<LayerJob>> lost_layers(image::Store& store) {
  std::vector<LayerJob> jobs;
  for (const image::ImageSummary& summary : TRY(store.list())) {
    auto image = store.resolve(summary.id.text());
    if (!image) continue;  // the check has said so
    for (const image::ImageLayer& layer : image->layers) {
      bool planned = std::any_of(jobs.begin(), jobs.end(),
                                 [&](const LayerJob& j) { return j.diff_id == layer.diff_id; });
      if (planned || TRY(store.layer(layer.diff_id))) continue;
      image::ImageLayer source = layer;
      if (!TRY(store.has_blob(layer.blob))) {
        auto other = TRY(store.blob_of_layer(layer.diff_id));
        if (!other) continue;
        source = *other;
      }
      oci::Descriptor blob;
      blob.digest = source.blob;
      blob.media_type = source.media_type;
      blob.size = source.blob_size;
      jobs.push_back({layer.diff_id, std::move(blob)});
    }
  }
  return jobs;
}

Result<> unpack_again(image::Store& store, const image::TransferRequest& request, Progress& progress,
                      std::vector<std::string>& repaired) {
  UnpackLimits limits = TRY(limits_of(request));
  auto no_source = []() -> MakeSource {
    return [](const LayerJob& job) -> LayerSource {
      return [&job](uint64_t, const auto&, const auto&) -> Result<> {
        return fail(Error::not_found("blob " + job.blob.digest.text() + " has gone meanwhile"));
      };
    };
  };
  for (const LayerJob& job : TRY(lost_layers(store))) {
    std::string name = "layer " + std::string(job.diff_id.hex().substr(0, 12));
    auto made = fetch_layers(request.root, {job}, limits, progress, 1, no_source);
    if (made)
      repaired.push_back(name + ": unpacked again");
    else
      progress.note(name + ": " + made.error().text());
  }
  return {};
}

}  // namespace

Result<image::TransferEvent> check_store(image::Store& store, const image::TransferRequest& request,
                                         Progress& progress) {
  image::CheckReport report = TRY(store.check(request.repair, true));
  std::vector<std::string> remaining = report.problems;
  if (request.repair) {
    TRY_VOID(unpack_again(store, request, progress, report.repaired));
    remaining = TRY(store.check(false, false)).problems;
  }
  JsonWriter w;
  w.begin_object();
  w.member_strings("problems", report.problems);
  w.member_strings("repaired", report.repaired);
  w.member_strings("remaining", remaining);
  w.end_object();
  image::TransferEvent result;
  result.json = w.take();
  result.changed = !report.repaired.empty();
  return result;
}

}  // namespace onggi::transfer
