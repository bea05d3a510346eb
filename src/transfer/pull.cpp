#include "transfer/pull.h"

#include <atomic>
#include <memory>

#include "base/sha256.h"
#include "oci/image_parse.h"
#include "transfer/layer_pool.h"
#include "transfer/registry.h"

namespace onggi::transfer {

namespace {

// A concurrent removal may take a layer between its check and the image's transaction; a second look fetches
// it.
constexpr int kStoreAttempts = 3;

// What a reference turned out to be.
struct Found {
  std::unique_ptr<Registry> registry;
  Session::Document manifest;          // of the platform
  oci::Digest asked;                   // digest of what the reference named: the index, or the manifest
  std::string index_json, index_type;  // when it was an index
  oci::Manifest parsed;
};

Result<Session::Document> choose(Session& session, Session::Document document, const oci::Platform& platform,
                                 Found& found) {
  // An index may hold indexes; a chain of them is somebody's joke.
  for (int depth = 0; TRY(oci::document_is_index(document.json, document.media_type)); depth++) {
    if (depth == 2) return fail(Error::invalid("the index leads only to further indexes"));
    oci::Index index = TRY(oci::parse_index(document.json, document.media_type));
    const oci::Descriptor* chosen = TRY(oci::select_platform(index, platform));
    if (depth == 0) {
      found.index_type = index.media_type.empty() ? std::string(oci::kMediaIndex) : index.media_type;
      found.index_json = document.json;
    }
    uint64_t size = chosen->size;
    document = TRY(session.manifest(chosen->digest.text()));
    if (document.json.size() != size)
      return fail(Error::invalid("manifest " + document.digest.text() + ": it has " +
                                 std::to_string(document.json.size()) + " bytes, the index says " +
                                 std::to_string(size)));
  }
  return document;
}

Result<Found> find_at(const Endpoint& endpoint, const image::Reference& ref,
                      const image::TransferRequest& request, const oci::Platform& platform) {
  Found found;
  found.registry = TRY(Registry::connect(endpoint, request.auth_file, request.ca_file));
  Session session(*found.registry, ref.repository);
  Session::Document named = TRY(session.manifest(ref.digest.empty() ? ref.tag : ref.digest.text()));
  found.asked = named.digest;
  found.manifest = TRY(choose(session, std::move(named), platform, found));
  found.parsed = TRY(oci::parse_manifest(found.manifest.json, found.manifest.media_type));
  return found;
}

// Mirrors first; the registry's own error is the one that is told.
Result<Found> find(const image::Reference& ref, const image::TransferRequest& request,
                   const oci::Platform& platform, Progress& progress) {
  std::vector<Endpoint> endpoints = TRY(endpoints_of(ref.registry, request.registries));
  for (const Endpoint& endpoint : endpoints) {
    auto found = find_at(endpoint, ref, request, platform);
    if (found || !endpoint.is_mirror) return found;
    progress.note("mirror " + endpoint.base + ": " + found.error().text());
  }
  return fail(Error::internal("no endpoint for " + ref.registry));
}

Result<std::vector<LayerJob>> plan_layers(const oci::Manifest& manifest, const oci::ImageConfig& config,
                                          image::NewImage& image) {
  if (config.rootfs.diff_ids.size() != manifest.layers.size())
    return fail(Error::invalid("the image's config lists " + std::to_string(config.rootfs.diff_ids.size()) +
                               " layers, its manifest " + std::to_string(manifest.layers.size())));
  std::vector<LayerJob> jobs;
  for (size_t i = 0; i < manifest.layers.size(); i++) {
    const oci::Descriptor& d = manifest.layers[i];
    if (!oci::layer_compression(d.media_type))
      return fail(Error::unsupported("layer " + std::to_string(i + 1) + " of the image has the type '" +
                                     d.media_type + "', which this program cannot unpack"));
    image.layers.push_back({config.rootfs.diff_ids[i], d.digest, d.media_type, d.size});
    bool known = false;  // the same layer twice (the empty one, mostly)
    for (const LayerJob& job : jobs) known = known || job.diff_id == config.rootfs.diff_ids[i];
    if (!known) jobs.push_back({config.rootfs.diff_ids[i], d});
  }
  return jobs;
}

Result<std::string> get_config(image::Store& store, Session& session, const oci::Manifest& manifest) {
  if (!manifest.config.media_type.empty() && manifest.config.media_type != oci::kMediaConfig &&
      manifest.config.media_type != oci::kMediaDockerConfig)
    return fail(Error::unsupported(
        "this is not a container image but an artifact of the type '" +
        (manifest.artifact_type.empty() ? manifest.config.media_type : manifest.artifact_type) + "'"));
  if (auto known = store.document(manifest.config.digest)) return known->json;
  return session.small_blob(manifest.config);
}

LayerSource registry_source(Session& session, const LayerJob& job) {
  return [&session, &job](uint64_t offset, const auto& begin, const auto& sink) {
    return session.blob(job.blob, offset, begin, sink);
  };
}

struct Pulled {
  oci::Digest id, digest;
  bool changed = false;
  uint64_t transferred = 0;
};

Result<Pulled> pull_one(image::Store& store, const image::Reference& ref,
                        const image::TransferRequest& request, Progress& progress) {
  oci::Platform platform =
      request.platform.empty() ? oci::host_platform() : TRY(oci::parse_platform(request.platform));
  Found found = TRY(find(ref, request, platform, progress));
  Session session(*found.registry, ref.repository);
  image::NewImage image;
  image.config_json = TRY(get_config(store, session, found.parsed));
  image.manifest_json = found.manifest.json;
  image.manifest_type =
      found.parsed.media_type.empty() ? std::string(oci::kMediaManifest) : found.parsed.media_type;
  oci::ImageConfig config = TRY(oci::parse_image_config(image.config_json));
  std::vector<LayerJob> jobs = TRY(plan_layers(found.parsed, config, image));
  if (!ref.tag.empty()) {
    image::Reference name = ref;
    name.digest = {};
    image.names.push_back(std::move(name));
  }
  image.digests.emplace_back(ref.name(), found.asked);
  if (found.manifest.digest != found.asked) image.digests.emplace_back(ref.name(), found.manifest.digest);
  UnpackLimits limits = TRY(limits_of(request));
  std::atomic<uint64_t> bytes = 0;
  auto make_thread = [&]() -> MakeSource {
    auto own = std::make_shared<Session>(*found.registry, ref.repository);
    return [own, &bytes](const LayerJob& job) -> LayerSource {
      LayerSource inner = registry_source(*own, job);
      return [own, inner, &bytes](uint64_t offset, const auto& begin, const auto& sink) {
        uint64_t before = own->transferred();
        auto r = inner(offset, begin, sink);
        bytes += own->transferred() - before;
        return r;
      };
    };
  };
  bool known = store.resolve("sha256:" + sha256_hex(image.config_json)).has_value();
  for (int attempt = 0;; attempt++) {
    size_t made = TRY(fetch_layers(request.root, jobs, limits, progress, request.parallel, make_thread));
    auto id = store.add_image(image);
    if (!id && (id.error().kind() != ErrorKind::kNotFound || attempt + 1 == kStoreAttempts))
      return fail(std::move(id).error());
    if (!id) continue;
    if (!found.index_json.empty()) TRY(store.put_document(found.index_json, found.index_type));
    return Pulled{*id, found.asked, made > 0 || !known, bytes + session.transferred()};
  }
}

Result<std::vector<image::Reference>> references_to_pull(const image::TransferRequest& request) {
  if (request.references.size() != 1) return fail(Error::invalid("pull: exactly one reference is needed"));
  if (!request.all_tags)
    return std::vector<image::Reference>{TRY(image::Reference::parse(request.references[0]))};
  image::Reference ref = TRY(image::Reference::parse_untagged(request.references[0]));
  if (!ref.tag.empty() || !ref.digest.empty())
    return fail(
        Error::invalid("pull: '" + ref.familiar() + "': a tag or digest cannot be given with --all-tags"));
  std::vector<Endpoint> endpoints = TRY(endpoints_of(ref.registry, request.registries));
  auto registry = TRY(Registry::connect(endpoints.back(), request.auth_file, request.ca_file));
  Session session(*registry, ref.repository);
  std::vector<image::Reference> all;
  for (const std::string& tag : TRY(session.tags()))
    all.push_back(TRY(image::Reference::parse(ref.name() + ":" + tag)));
  if (all.empty()) return fail(Error::not_found("pull: " + ref.familiar() + " has no tags"));
  return all;
}

}  // namespace

Result<image::TransferEvent> pull(image::Store& store, const image::TransferRequest& request,
                                  Progress& progress) {
  image::TransferEvent result;
  for (const image::Reference& ref : TRY(references_to_pull(request))) {
    Pulled pulled = TRY_CTX(pull_one(store, ref, request, progress), "pull " + ref.familiar());
    result.ids.push_back(pulled.id.text());
    result.references.push_back(ref.canonical());
    result.digest = pulled.digest.text();
    result.changed = result.changed || pulled.changed;
    result.transferred += pulled.transferred;
  }
  return result;
}

Result<image::TransferEvent> list_referrers(const image::TransferRequest& request) {
  if (request.references.size() != 1)
    return fail(Error::invalid("referrers: exactly one reference is needed"));
  image::Reference ref = TRY(image::Reference::parse(request.references[0]));
  std::vector<Endpoint> endpoints = TRY(endpoints_of(ref.registry, request.registries));
  auto registry = TRY(Registry::connect(endpoints.back(), request.auth_file, request.ca_file));
  Session session(*registry, ref.repository);
  oci::Digest subject = ref.digest;
  if (subject.empty()) subject = TRY(session.manifest(ref.tag)).digest;
  image::TransferEvent result;
  result.json = TRY(session.referrers(subject));
  result.digest = subject.text();
  return result;
}

// --- login ---

static Result<std::string> one_registry(const image::TransferRequest& request, const char* operation) {
  if (request.references.size() > 1)
    return fail(Error::invalid(std::string(operation) + ": one registry at a time"));
  std::string host =
      request.references.empty() ? std::string(image::kDefaultRegistry) : request.references[0];
  for (std::string_view scheme : {"https://", "http://"})
    if (host.starts_with(scheme)) host.erase(0, scheme.size());
  while (host.ends_with('/')) host.pop_back();
  if (host == "index.docker.io") host = image::kDefaultRegistry;
  // The same grammar as in references.
  TRY_CTX(image::Reference::parse(host + "/x"), operation);
  return host;
}

Result<image::TransferEvent> login(const image::TransferRequest& request) {
  std::string host = TRY(one_registry(request, "login"));
  if (request.username.empty() || request.password.empty())
    return fail(Error::invalid("login: a user name and a password are needed"));
  if (request.username.find(':') != std::string::npos)
    return fail(Error::invalid("login: a user name cannot contain ':'"));
  Credentials c{request.username, request.password, ""};
  std::vector<Endpoint> endpoints = TRY(endpoints_of(host, request.registries));
  auto registry = TRY_CTX(Registry::connect_as(endpoints.back(), c, request.ca_file), "login");
  Session session(*registry, "");
  TRY_VOID(session.ping());
  TRY_VOID_CTX(store_credentials(host, c, request.auth_file), "login");
  image::TransferEvent result;
  result.changed = true;
  result.references.push_back(host);
  return result;
}

Result<image::TransferEvent> logout(const image::TransferRequest& request) {
  std::string host = TRY(one_registry(request, "logout"));
  image::TransferEvent result;
  result.changed = TRY_CTX(erase_credentials(host, request.auth_file), "logout");
  result.references.push_back(host);
  return result;
}

}  // namespace onggi::transfer
