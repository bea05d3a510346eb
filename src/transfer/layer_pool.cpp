#include "transfer/layer_pool.h"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>

#include "transfer/unpack_client.h"

namespace onggi::transfer {

// Each layer is two processors' work (receive and hash here, inflate and write in its unpacker) and some
// megabytes.
static constexpr uint32_t kDefaultParallel = 4;
static constexpr uint32_t kMaxParallel = 16;

namespace {

struct Pool {
  const std::string& root;
  const std::vector<LayerJob>& jobs;
  const UnpackLimits& limits;
  Progress& progress;
  int user_namespace;
  std::atomic<size_t> next = 0;
  std::atomic<size_t> made = 0;
  std::mutex mutex;
  std::optional<Error> error;  // the first

  void fail_with(Error e) {
    std::lock_guard guard(mutex);
    if (!error) error = std::move(e);
    next = jobs.size();  // the others finish what they have and take no more
  }

  void work(const MakeSource& make_source) {
    auto store = image::Store::open(root);
    if (!store) return fail_with(std::move(store).error());
    LayerContext context{*store, progress, limits, user_namespace};
    for (size_t i; (i = next.fetch_add(1)) < jobs.size();) {
      auto fetched = fetch_layer(context, jobs[i].diff_id, jobs[i].blob, make_source(jobs[i]));
      if (!fetched) return fail_with(std::move(fetched).error());
      if (*fetched) made++;
    }
  }
};

}  // namespace

Result<UnpackLimits> limits_of(const image::TransferRequest& request) {
  UnpackLimits limits;
  if (request.max_layer_bytes) limits.max_bytes = request.max_layer_bytes;
  const char* set = ::getenv("ONGGI_STORAGE_FORM");
  std::string form = request.storage_form.empty() && set ? set : request.storage_form;
  if (form.empty() || form == "directory") return limits;
  if (form != "erofs" && form != "auto")
    return fail(Error::invalid("the storage form '" + form + "' is not known (directory, erofs, auto)"));
  limits.keep = form == "erofs" ? UnpackLimits::Keep::kErofs : UnpackLimits::Keep::kErofsIfPossible;
  return limits;
}

Result<size_t> fetch_layers(const std::string& root, const std::vector<LayerJob>& jobs,
                            const UnpackLimits& limits, Progress& progress, uint32_t parallel,
                            const std::function<MakeSource()>& make_thread) {
  if (jobs.empty()) return 0;
  auto ns = unpack_namespace();
  if (!ns) progress.note("layers are unpacked without a user namespace of their own: " + ns.error().text());
  Pool pool{root, jobs, limits, progress, ns ? ns->get() : -1};
  size_t count =
      std::min<size_t>(jobs.size(), std::min(parallel ? parallel : kDefaultParallel, kMaxParallel));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < count; i++)
    threads.emplace_back([&pool, source = make_thread()] { pool.work(source); });
  for (std::thread& t : threads) t.join();
  if (pool.error) return fail(std::move(*pool.error));
  return pool.made.load();
}

}  // namespace onggi::transfer
