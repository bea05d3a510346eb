// load and import; see archive.h.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/time.h"
#include "oci/image_emit.h"
#include "oci/image_json.h"
#include "oci/image_parse.h"
#include "transfer/archive.h"
#include "transfer/hash.h"
#include "transfer/layer_pool.h"
#include "transfer/stream_layer.h"
#include "transfer/unpack_client.h"

namespace onggi {

// docker save's manifest.json.
struct SavedImage {
  std::string config;
  std::vector<std::string> repo_tags, layers;
};
template <>
struct JsonFields<SavedImage> {
  using T = SavedImage;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::config>("Config"), json_field<&T::repo_tags>("RepoTags"),
                              json_field<&T::layers>("Layers")});
};

namespace transfer {

namespace {

constexpr std::string_view kRefName = "org.opencontainers.image.ref.name";
constexpr std::string_view kFullName =
    "io.containerd.image.name";  // docker's and containerd's, with registry
constexpr size_t kCopy = 256 << 10;

// --- files of an archive ---

// Old docker archives have symlinks between layers; they stay inside.
Result<UniqueFd> open_inside(int root, const std::string& path) {
  open_how how = {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
  if (!fd) return fail(Error::os("open, in the archive,", path.substr(0, 200)));
  struct stat st;
  if (::fstat(fd.get(), &st) < 0) return fail(Error::os("inspect, in the archive,", path.substr(0, 200)));
  if (!S_ISREG(st.st_mode))
    return fail(Error::invalid("the archive's '" + path.substr(0, 200) + "' is no regular file"));
  return fd;
}

Result<std::string> read_inside(int root, const std::string& path) {
  UniqueFd fd = TRY(open_inside(root, path));
  return read_fd(fd.get(), path, oci::kMaxDocumentBytes);
}

std::string blob_path(const oci::Digest& digest) { return "blobs/sha256/" + std::string(digest.hex()); }

Result<std::string> read_document(int root, const oci::Descriptor& d) {
  std::string text = TRY(read_inside(root, blob_path(d.digest)));
  if (sha256_hex(text) != d.digest.hex())
    return fail(
        Error::invalid("the archive's blob " + d.digest.text() + " has another digest; it was rejected"));
  return text;
}

Result<> copy_from(int fd, const Feed& feed) {
  std::string buffer(kCopy, '\0');
  for (;;) {
    ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::os("read the archive", ""));
    if (n == 0) return {};
    TRY_VOID(feed(std::string_view(buffer.data(), static_cast<size_t>(n))));
  }
}

// --- what is in it ---

struct LoadedLayer {
  LayerJob job;
  std::string path;  // in the archive
};
struct LoadedImage {
  image::NewImage image;
  std::vector<LoadedLayer> layers;
};

void add_name(const std::string& text, image::NewImage& image) {
  // A bare tag ("latest") is a name only for its own directory.
  if (text.find_first_of("/:") == std::string::npos) return;
  if (auto ref = image::Reference::parse(text); ref && !ref->tag.empty() && ref->digest.empty())
    image.names.push_back(*std::move(ref));
}

std::string_view annotation(const oci::Descriptor& d, std::string_view key) {
  for (const auto& [name, value] : d.annotations)
    if (name == key) return value;
  return {};
}

Result<LoadedImage> read_oci_image(int root, const oci::Descriptor& top, const oci::Platform& platform) {
  oci::Descriptor d = top;
  std::string text = TRY(read_document(root, d));
  for (int depth = 0; TRY(oci::document_is_index(text, d.media_type)); depth++) {
    if (depth == 2) return fail(Error::invalid("the archive's index leads only to further indexes"));
    oci::Index index = TRY(oci::parse_index(text, d.media_type));
    d = *TRY(oci::select_platform(index, platform));
    text = TRY(read_document(root, d));
  }
  oci::Manifest manifest = TRY(oci::parse_manifest(text, d.media_type));
  LoadedImage loaded;
  loaded.image.manifest_type =
      manifest.media_type.empty() ? std::string(oci::kMediaManifest) : manifest.media_type;
  loaded.image.manifest_json = std::move(text);
  loaded.image.config_json = TRY(read_document(root, manifest.config));
  oci::ImageConfig config = TRY(oci::parse_image_config(loaded.image.config_json));
  if (config.rootfs.diff_ids.size() != manifest.layers.size())
    return fail(Error::invalid("the image's config and manifest list different numbers of layers"));
  for (size_t i = 0; i < manifest.layers.size(); i++) {
    const oci::Descriptor& layer = manifest.layers[i];
    if (!oci::layer_compression(layer.media_type))
      return fail(
          Error::unsupported("layer " + std::to_string(i + 1) + " has the type '" + layer.media_type + "'"));
    loaded.image.layers.push_back({config.rootfs.diff_ids[i], layer.digest, layer.media_type, layer.size});
    loaded.layers.push_back({{config.rootfs.diff_ids[i], layer}, blob_path(layer.digest)});
  }
  add_name(std::string(annotation(top, kFullName)), loaded.image);
  if (loaded.image.names.empty()) add_name(std::string(annotation(top, kRefName)), loaded.image);
  return loaded;
}

Result<std::vector<LoadedImage>> read_oci_layout(int root, const oci::Platform& platform,
                                                 const std::string& name) {
  oci::Index index = TRY_CTX(oci::parse_index(TRY(read_inside(root, "index.json"))), "index.json");
  std::vector<LoadedImage> all;
  std::vector<oci::Digest> seen;
  for (const oci::Descriptor& d : index.manifests) {
    if (!name.empty() && annotation(d, kRefName) != name) continue;
    // What is for another platform, beside ours, is no image to load.
    if (d.platform && index.manifests.size() > 1) {
      oci::Index one;
      one.manifests = {d};
      if (!oci::select_platform(one, platform)) continue;
    }
    all.push_back(TRY(read_oci_image(root, d, platform)));
  }
  if (!all.empty()) return all;
  return fail(Error::not_found(name.empty() ? "the archive holds no image for " + oci::to_string(platform)
                                            : "the archive holds no image named '" + name + "'"));
}

// A layer of an old docker archive has no descriptor: its digest is that of the file.
Result<oci::Descriptor> describe_file(int root, const std::string& path) {
  UniqueFd fd = TRY(open_inside(root, path));
  BulkHash hash;
  oci::Descriptor d;
  std::string head;
  TRY_VOID(copy_from(fd.get(), [&](std::string_view data) -> Result<> {
    if (head.size() < 4) head += data.substr(0, 4);
    hash.update(data);
    d.size += data.size();
    return {};
  }));
  d.digest = oci::Digest::sha256(hash.hex());
  bool gzip = head.starts_with("\x1f\x8b"), zstd = head.starts_with("\x28\xb5\x2f\xfd");
  d.media_type = gzip ? oci::kMediaLayerGzip : zstd ? oci::kMediaLayerZstd : oci::kMediaLayerTar;
  return d;
}

Result<LoadedImage> read_saved_image(int root, const SavedImage& saved) {
  LoadedImage loaded;
  loaded.image.config_json = TRY(read_inside(root, saved.config));
  oci::ImageConfig config = TRY(oci::parse_image_config(loaded.image.config_json));
  if (config.rootfs.diff_ids.size() != saved.layers.size())
    return fail(Error::invalid("manifest.json and the image's config list different numbers of layers"));
  oci::Manifest manifest;
  manifest.schema_version = 2;
  manifest.media_type = oci::kMediaManifest;
  manifest.config.media_type = oci::kMediaConfig;
  manifest.config.digest = oci::Digest::sha256(sha256_hex(loaded.image.config_json));
  manifest.config.size = loaded.image.config_json.size();
  for (size_t i = 0; i < saved.layers.size(); i++) {
    oci::Descriptor d = TRY(describe_file(root, saved.layers[i]));
    manifest.layers.push_back(d);
    loaded.image.layers.push_back({config.rootfs.diff_ids[i], d.digest, d.media_type, d.size});
    loaded.layers.push_back({{config.rootfs.diff_ids[i], d}, saved.layers[i]});
  }
  loaded.image.manifest_json = oci::emit_manifest(manifest);
  loaded.image.manifest_type = manifest.media_type;
  for (const std::string& tag : saved.repo_tags) add_name(tag, loaded.image);
  return loaded;
}

Result<std::vector<SavedImage>> read_saved_list(int root) {
  std::string text = TRY(read_inside(root, "manifest.json"));
  JsonDocument document = TRY(JsonDocument::parse(text, "manifest.json"));
  JsonReader reader("manifest.json");
  std::vector<SavedImage> list;
  if (!JsonOps<std::vector<SavedImage>>::read(reader, document.root(), list))
    return fail(reader.take_error());
  return list;
}

bool has(int root, const char* name) { return ::faccessat(root, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0; }

// Docker 25 and we write both forms into one archive: the OCI part keeps the manifest as it was, docker's
// part has all the names.
Result<std::vector<LoadedImage>> read_archive(int root, const Location& location,
                                              const oci::Platform& platform) {
  bool oci_form = has(root, "index.json") && location.transport != Transport::kDockerArchive;
  bool docker_form = has(root, "manifest.json") && location.transport != Transport::kOciArchive &&
                     location.transport != Transport::kOciDirectory;
  if (!oci_form && !docker_form)
    return fail(Error::invalid("'" + location.path +
                               "' is no image archive: it has neither index.json nor manifest.json"));
  std::vector<LoadedImage> images;
  if (oci_form) {
    auto read = read_oci_layout(root, platform, location.name);
    if (!read && !docker_form) return read;
    if (read) images = *std::move(read);
  }
  if (!docker_form) return images;
  for (const SavedImage& saved : TRY(read_saved_list(root))) {
    std::string id = sha256_hex(TRY(read_inside(root, saved.config)));
    auto same = std::find_if(images.begin(), images.end(),
                             [&](const LoadedImage& i) { return sha256_hex(i.image.config_json) == id; });
    if (same == images.end()) {
      images.push_back(TRY(read_saved_image(root, saved)));
      continue;
    }
    same->image.names.clear();
    for (const std::string& tag : saved.repo_tags) add_name(tag, same->image);
  }
  return images;
}

// --- into the store ---

Result<oci::Digest> store_image(image::Store& store, int root, LoadedImage& loaded,
                                const image::TransferRequest& request, Progress& progress, bool& changed) {
  std::vector<LayerJob> jobs;
  for (const LoadedLayer& layer : loaded.layers)
    if (std::none_of(jobs.begin(), jobs.end(),
                     [&](const LayerJob& j) { return j.diff_id == layer.job.diff_id; }))
      jobs.push_back(layer.job);
  auto make_thread = [&]() -> MakeSource {
    return [&](const LayerJob& job) -> LayerSource {
      return [&](uint64_t offset, const auto& begin, const auto& sink) -> Result<> {
        auto layer = std::find_if(loaded.layers.begin(), loaded.layers.end(),
                                  [&](const LoadedLayer& l) { return l.job.diff_id == job.diff_id; });
        UniqueFd fd = TRY(open_inside(root, layer->path));
        if (::lseek(fd.get(), static_cast<off_t>(offset), SEEK_SET) < 0)
          return fail(Error::os("seek in", layer->path));
        TRY_VOID(begin(offset));
        return copy_from(fd.get(), sink);
      };
    };
  };
  size_t made =
      TRY(fetch_layers(request.root, jobs, TRY(limits_of(request)), progress, request.parallel, make_thread));
  changed = changed || made > 0;
  return store.add_image(loaded.image);
}

Result<UniqueFd> open_input(const std::string& path) {
  if (path == "-") return UniqueFd(::fcntl(3, F_DUPFD_CLOEXEC, 4));
  return open_at(AT_FDCWD, path, O_RDONLY);
}

// Unpacks the archive into the scratch directory's "fs".
Result<UniqueFd> unpack_archive(const image::Scratch& scratch, const std::string& path,
                                const UnpackLimits& limits) {
  UniqueFd input = TRY(open_input(path));
  if (!input) return fail(Error::invalid("load: '-' needs descriptor 3"));
  if (::mkdirat(scratch.directory(), "fs", 0700) < 0) return fail(Error::os("create the directory", "fs"));
  UniqueFd tree = TRY(open_at(scratch.directory(), "fs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  auto ns = unpack_namespace();
  Unpacker unpacker =
      TRY(Unpacker::start_from(input.get(), {tree.get(), false, ns ? ns->get() : -1}, limits));
  TRY_CTX(unpacker.finish(), "'" + path + "'");
  return tree;
}

}  // namespace

Result<Location> parse_location(std::string_view text) {
  Location l;
  struct Prefix {
    std::string_view text;
    Transport transport;
  };
  for (const Prefix& p :
       {Prefix{"oci:", Transport::kOciDirectory}, Prefix{"oci-archive:", Transport::kOciArchive},
        Prefix{"docker-archive:", Transport::kDockerArchive}}) {
    if (!text.starts_with(p.text)) continue;
    l.transport = p.transport;
    text.remove_prefix(p.text.size());
    // A colon behind the last slash begins the name; docker-archive's is a reference with colons of its own.
    size_t colon = text.find(':', text.rfind('/') == std::string_view::npos ? 0 : text.rfind('/'));
    if (p.transport == Transport::kDockerArchive) colon = text.find(':');
    if (colon != std::string_view::npos) {
      l.name = text.substr(colon + 1);
      text = text.substr(0, colon);
    }
    break;
  }
  l.path = text;
  if (l.path.empty()) return fail(Error::invalid("a path is missing"));
  return l;
}

Result<image::TransferEvent> load(image::Store& store, const image::TransferRequest& request,
                                  Progress& progress) {
  Location location = TRY_CTX(parse_location(request.path), "load");
  oci::Platform platform =
      request.platform.empty() ? oci::host_platform() : TRY(oci::parse_platform(request.platform));
  image::Scratch scratch = TRY(store.begin_scratch());
  struct stat st;
  bool is_directory = location.path != "-" && ::stat(location.path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
  UniqueFd root = is_directory
                      ? TRY_CTX(open_at(AT_FDCWD, location.path, O_RDONLY | O_DIRECTORY), "load")
                      : TRY_CTX(unpack_archive(scratch, location.path, TRY(limits_of(request))), "load");
  std::vector<LoadedImage> images = TRY_CTX(read_archive(root.get(), location, platform), "load");
  if (!request.references.empty()) {
    if (images.size() != 1)
      return fail(Error::invalid("load: a name can only be given to an archive of one image; this one has " +
                                 std::to_string(images.size())));
    images[0].image.names = {TRY(image::Reference::parse(request.references[0]))};
  }
  image::TransferEvent result;
  for (LoadedImage& loaded : images) {
    oci::Digest id =
        TRY_CTX(store_image(store, root.get(), loaded, request, progress, result.changed), "load");
    result.ids.push_back(id.text());
    for (const image::Reference& name : loaded.image.names) result.references.push_back(name.canonical());
  }
  return result;
}

Result<image::TransferEvent> import_tar(image::Store& store, const image::TransferRequest& request,
                                        Progress&) {
  UniqueFd input = TRY_CTX(open_input(request.path), "import");
  if (!input) return fail(Error::invalid("import: '-' needs descriptor 3"));
  image::NewImage image;
  oci::ImageConfig config;
  if (!request.config.empty())
    config.config = TRY_CTX(json_parse<oci::ContainerDefaults>(request.config, "config"), "import");
  oci::Platform platform =
      request.platform.empty() ? oci::host_platform() : TRY(oci::parse_platform(request.platform));
  for (const std::string& name : request.references)
    image.names.push_back(TRY(image::Reference::parse(name)));
  image::ImageLayer layer =
      TRY_CTX(store_stream(store, TRY(limits_of(request)),
                           [&](const Feed& feed) { return copy_from(input.get(), feed); }),
              "import");
  config.created = format_rfc3339(now());
  config.architecture = platform.architecture;
  config.variant = platform.variant;
  config.os = platform.os;
  config.rootfs.diff_ids = {layer.diff_id};
  config.history = {
      {config.created, "", "", request.message.empty() ? "Imported from -" : request.message, false}};
  return add_made_image(store, image, config, {layer});
}

Result<image::TransferEvent> add_made_image(image::Store& store, image::NewImage& image,
                                            const oci::ImageConfig& config,
                                            std::vector<image::ImageLayer> layers) {
  image.config_json = oci::emit_image_config(config);
  oci::Manifest manifest;
  manifest.schema_version = 2;
  manifest.media_type = oci::kMediaManifest;
  manifest.config.media_type = oci::kMediaConfig;
  manifest.config.digest = oci::Digest::sha256(sha256_hex(image.config_json));
  manifest.config.size = image.config_json.size();
  for (const image::ImageLayer& layer : layers) {
    oci::Descriptor& d = manifest.layers.emplace_back();
    d.media_type = layer.media_type;
    d.digest = layer.blob;
    d.size = layer.blob_size;
  }
  image.layers = std::move(layers);
  image.manifest_json = oci::emit_manifest(manifest);
  image.manifest_type = manifest.media_type;
  image::TransferEvent result;
  result.ids.push_back(TRY(store.add_image(image)).text());
  for (const image::Reference& name : image.names) result.references.push_back(name.canonical());
  result.changed = true;
  return result;
}

}  // namespace transfer
}  // namespace onggi
