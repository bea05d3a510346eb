#include "transfer/push.h"

#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include "oci/image_emit.h"
#include "oci/image_parse.h"
#include "transfer/registry.h"

namespace onggi::transfer {

namespace {

constexpr uint32_t kParallel = 4;

// The documents and blobs that go, in the form in which they go.
struct Plan {
  std::string manifest, manifest_type, config;
  oci::Descriptor config_blob;
  std::vector<oci::Descriptor> layers;
};

// A blob that is not here (its layer came from elsewhere in another compression) is replaced by one that is;
// the manifest changes with it.
Result<Plan> plan_push(image::Store& store, const image::ImageRecord& image, Progress& progress) {
  auto document = TRY(store.document(image.manifest));
  oci::Manifest manifest = TRY(oci::parse_manifest(document.json, document.media_type));
  Plan plan{document.json, document.media_type, image.config_json, manifest.config, manifest.layers};
  bool changed = false;
  for (size_t i = 0; i < plan.layers.size(); i++) {
    if (TRY(store.has_blob(plan.layers[i].digest))) continue;
    auto other = TRY(store.blob_of_layer(image.layers[i].diff_id));
    if (!other) continue;  // the registry may have it; if not, the upload says what is missing
    plan.layers[i].digest = other->blob;
    plan.layers[i].size = other->blob_size;
    plan.layers[i].media_type = other->media_type;
    changed = true;
  }
  if (!changed) return plan;
  manifest.layers = plan.layers;
  manifest.media_type = plan.manifest_type = oci::kMediaManifest;
  manifest.config.media_type = oci::kMediaConfig;
  plan.manifest = oci::emit_manifest(manifest);
  progress.note("the manifest is written anew: a layer is here in another compression than it was pulled in");
  return plan;
}

struct Upload {
  const std::string& root;
  Registry& registry;
  const image::Reference& target;
  const Plan& plan;
  Progress& progress;
  std::atomic<size_t> next = 0;
  std::atomic<uint64_t> sent = 0;
  std::mutex mutex;
  std::optional<Error> error;

  void fail_with(Error e) {
    std::lock_guard guard(mutex);
    if (!error) error = std::move(e);
    next = plan.layers.size();
  }
};

// Repositories of the same registry, other than the target, that held the blob when we last saw them.
Result<std::vector<std::string>> mount_sources(image::Store& store, const image::Reference& target,
                                               const oci::Digest& blob) {
  std::vector<std::string> out;
  std::string prefix = target.registry + "/";
  for (const std::string& name : TRY(store.repositories_with(blob)))
    if (name.starts_with(prefix) && name.substr(prefix.size()) != target.repository)
      out.push_back(name.substr(prefix.size()));
  return out;
}

Result<> push_layer(Upload& u, image::Store& store, Session& session, const oci::Descriptor& d) {
  u.progress.layer(d.digest, "checking", 0, d.size);
  if (TRY(session.has_blob(d.digest))) {
    u.progress.layer(d.digest, "exists", d.size, d.size);
    return {};
  }
  std::string location;
  for (const std::string& from : TRY(mount_sources(store, u.target, d.digest))) {
    if (TRY(session.mount_blob(d.digest, from, location))) {
      u.progress.layer(d.digest, "mounted", d.size, d.size);
      return {};
    }
    if (!location.empty()) break;  // the registry began an upload instead
  }
  auto file = store.open_blob(d.digest);
  if (!file)
    return fail(
        Error::not_found("layer " + std::string(d.digest.hex().substr(0, 12)) +
                         " is here unpacked but not as it was transferred; pull the image again after 'onggi "
                         "rmi' to have it complete"));
  TRY_VOID(session.upload_blob(d.digest, file->get(), d.size, location,
                               [&](uint64_t n) { u.progress.layer(d.digest, "pushing", n, d.size); }));
  u.sent += d.size;
  u.progress.layer(d.digest, "done", d.size, d.size);
  return {};
}

void work(Upload& u) {
  auto store = image::Store::open(u.root);
  if (!store) return u.fail_with(std::move(store).error());
  Session session(u.registry, u.target.repository);
  session.want_push();
  for (size_t i; (i = u.next.fetch_add(1)) < u.plan.layers.size();)
    if (auto pushed = push_layer(u, *store, session, u.plan.layers[i]); !pushed)
      return u.fail_with(std::move(pushed).error());
}

Result<> push_config(Upload& u, Session& session) {
  const oci::Digest& digest = u.plan.config_blob.digest;
  if (TRY(session.has_blob(digest))) return {};
  u.sent += u.plan.config.size();
  return session.upload_text(digest, u.plan.config);
}

Result<uint64_t> push_plan(const std::string& root, Registry& registry, const image::Reference& target,
                           const Plan& plan, uint32_t parallel, Progress& progress) {
  Upload u{root, registry, target, plan, progress};
  size_t count = std::min<size_t>(plan.layers.size(), parallel ? parallel : kParallel);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < count; i++) threads.emplace_back([&u] { work(u); });
  for (std::thread& t : threads) t.join();
  if (u.error) return fail(std::move(*u.error));
  Session session(registry, target.repository);
  session.want_push();
  TRY_VOID(push_config(u, session));
  TRY_VOID(session.put_manifest(target.tag, plan.manifest, plan.manifest_type));
  return u.sent.load();
}

Result<std::vector<image::Reference>> names_to_push(image::Store& store,
                                                    const image::TransferRequest& request) {
  if (request.references.size() != 1) return fail(Error::invalid("push: exactly one reference is needed"));
  if (!request.all_tags) {
    image::Reference ref = TRY(image::Reference::parse(request.references[0]));
    if (!ref.digest.empty()) return fail(Error::invalid("push: a tag is needed, not a digest"));
    return std::vector<image::Reference>{std::move(ref)};
  }
  image::Reference repository = TRY(image::Reference::parse_untagged(request.references[0]));
  std::vector<image::Reference> all;
  for (const image::ImageSummary& image : TRY(store.list()))
    for (const std::string& name : image.names) {
      image::Reference ref = TRY(image::Reference::parse(name));
      if (ref.name() == repository.name()) all.push_back(std::move(ref));
    }
  if (all.empty()) return fail(Error::not_found("push: no image is named " + repository.familiar()));
  return all;
}

}  // namespace

Result<image::TransferEvent> push(image::Store& store, const image::TransferRequest& request,
                                  Progress& progress) {
  image::TransferEvent result;
  for (const image::Reference& target : TRY(names_to_push(store, request))) {
    std::string what = "push " + target.familiar();
    image::ImageRecord image = TRY_CTX(store.resolve(target.canonical()), what);
    Plan plan = TRY_CTX(plan_push(store, image, progress), what);
    // Mirrors are for reading.
    std::vector<Endpoint> endpoints = TRY(endpoints_of(target.registry, request.registries));
    auto registry = TRY_CTX(Registry::connect(endpoints.back(), request.auth_file, request.ca_file), what);
    result.transferred +=
        TRY_CTX(push_plan(request.root, *registry, target, plan, request.parallel, progress), what);
    oci::Digest digest = TRY(store.put_document(plan.manifest, plan.manifest_type));
    TRY_VOID(store.add_digest(image.id, target.name(), digest));
    result.ids.push_back(image.id.text());
    result.references.push_back(target.canonical());
    result.digest = digest.text();
    result.changed = true;
  }
  return result;
}

}  // namespace onggi::transfer
