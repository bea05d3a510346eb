// The image store: what is on this machine, by content.
//
// Layout below ROOT/images:
//   db.sqlite              images, names, layers, blobs, holds; and the bytes of manifests, indexes and
//   configs blobs/sha256/HEX       layers as they were transferred (for push, save and repair) layers/HEX/ an
//   unpacked layer (HEX of its diff id): fs/ (a tree), or layer.tar + layer.erofs locks/HEX flock: who is
//   making this layer or blob now tmp/                   what is being made; trash/ what is being deleted
//
// Invariants, which hold after a kill or a power cut at any point:
//   - A row is written only after what it names was renamed into its final place; it is deleted before its
//   file
//     is moved to trash. So what the database knows exists, and what it does not know is rubbish.
//   - Files are not synced one by one. A row says in which boot it was written until a sync after it has
//     succeeded (make_durable). After a power cut, rows of another boot that never became durable are not
//     trusted: open() drops them, and the image says that it has to be pulled again.
//   - Deleting is a transaction and a rename; sweep() does the slow part later, in whatever process.
// Every method may be called from several processes at once; one Store object belongs to one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "image/reference.h"
#include "oci/image_spec.h"

namespace onggi::image {

// How an unpacked layer lies on disk.
enum class LayerForm : uint8_t { kDirectory, kErofs };

struct LayerInfo {
  oci::Digest diff_id;
  LayerForm form = LayerForm::kDirectory;
  uint64_t size = 0;     // bytes of file content
  uint64_t entries = 0;  // files, directories, ... below the root; 0: not counted
};

// One layer of an image as it was transferred.
struct ImageLayer {
  oci::Digest diff_id;
  oci::Digest blob;        // digest of the (compressed) transfer; empty when it was only made here
  std::string media_type;  // of the transfer
  uint64_t blob_size = 0;
};

struct ImageRecord {
  oci::Digest id;                    // digest of the config: Docker's image id
  oci::Digest manifest;              // of the manifest it was stored with
  std::vector<std::string> names;    // canonical, with tag: docker.io/library/nginx:latest
  std::vector<std::string> digests;  // canonical, by digest: docker.io/library/nginx@sha256:...
  int64_t created = 0;               // Unix seconds, from the config; 0 when it says nothing
  int64_t pulled = 0;                // Unix seconds: when it came into this store
  uint64_t size = 0;                 // bytes of file content of all its layers
  std::vector<ImageLayer> layers;    // base first
  oci::ImageConfig config;
  std::string config_json;  // the exact bytes behind `id`
};

// What `images` and `ps` need of an image, without its documents.
struct ImageSummary {
  oci::Digest id;
  std::vector<std::string> names, digests;
  int64_t created = 0, pulled = 0;
  uint64_t size = 0;
  std::string architecture, variant;
  uint32_t holders = 0;  // containers
};

// An image on its way into the store (add_image).
struct NewImage {
  std::string config_json;
  std::string manifest_json;
  std::string manifest_type;  // media type
  std::vector<ImageLayer> layers;
  std::vector<Reference> names;  // tags that it shall have from now on
  std::vector<std::pair<std::string, oci::Digest>>
      digests;  // repository name() and the digest it was asked by
};

struct Removed {
  std::vector<std::string> untagged;  // familiar names
  std::vector<oci::Digest> deleted;   // images, then layers
  uint64_t freed = 0;                 // bytes that sweep() will give back
};

struct Usage {
  uint64_t images = 0, images_held = 0;
  uint64_t layers = 0, layer_bytes = 0;  // unpacked
  uint64_t blobs = 0, blob_bytes = 0;    // as transferred
  uint64_t reclaimable = 0;              // of images that no container holds
};

struct CheckReport {
  std::vector<std::string> problems;  // one sentence each; empty: clean
  std::vector<std::string> repaired;  // what was done about it, when repair was asked for
};

// Which images prune() and the garbage budget take. Images that a container holds are never taken.
struct PrunePolicy {
  bool all = false;            // named images, too, not only those without a name
  int64_t created_before = 0;  // Unix seconds; 0: any age
  uint64_t keep_bytes = 0;     // 0: all that fit; else oldest use first until the rest is below this
  // Further conditions (labels); may be empty.
  std::function<bool(const ImageRecord&)> filter;
};

struct StoreOptions {
  bool create = true;
  std::string boot_id;  // of the running kernel when empty; tests pretend a reboot with it
};

class Store;
struct StoreState;  // store_state.h

// One layer being made. Holds the layer's lock, so one process makes it and others wait. Without commit() the
// destructor moves what was made to trash.
class LayerWriter {
 public:
  LayerWriter(LayerWriter&&) noexcept;
  LayerWriter& operator=(LayerWriter&&) noexcept;
  ~LayerWriter();

  // The directory to fill: its entry "fs" (empty, 0755) is the tree's root.
  [[nodiscard]] int directory() const { return directory_.get(); }
  [[nodiscard]] std::string path() const;
  // Takes the tree `name` in `directory` (a Scratch) as its "fs".
  Result<> adopt(int directory, const std::string& name);
  // Renames it into place and records it.
  Result<> commit(const LayerInfo& info);

 private:
  friend class Store;
  LayerWriter() = default;
  StoreState* store_ = nullptr;  // the Store must outlive this
  oci::Digest diff_id_;
  UniqueFd lock_, directory_;
  std::string name_;  // in tmp/
};

// One blob being received; as LayerWriter. What was received before a kill is kept and found again.
class BlobWriter {
 public:
  BlobWriter(BlobWriter&&) noexcept;
  BlobWriter& operator=(BlobWriter&&) noexcept;
  ~BlobWriter();

  [[nodiscard]] int file() const { return file_.get(); }
  // Bytes that an interrupted transfer left (the file's offset is behind them). They are not verified.
  [[nodiscard]] uint64_t resumed() const { return resumed_; }
  // Throws away what is there and begins again.
  Result<> restart();
  // Takes the file `name` in `directory` (a Scratch) as its content.
  Result<> adopt(int directory, const std::string& name);
  // The caller has verified digest and size.
  Result<> commit(uint64_t size);
  // The bytes are wrong: the destructor shall not keep them for a resumption.
  void discard() { keep_partial_ = false; }

 private:
  friend class Store;
  BlobWriter() = default;
  StoreState* store_ = nullptr;  // the Store must outlive this
  oci::Digest digest_;
  UniqueFd lock_, file_;
  std::string name_;
  uint64_t resumed_ = 0;
  bool keep_partial_ = true;
};

// A directory for what has no digest yet: an archive being read, a layer being made. Its lock keeps sweep()
// away; the destructor moves it to trash.
class Scratch {
 public:
  Scratch(Scratch&&) noexcept;
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch();
  [[nodiscard]] int directory() const { return directory_.get(); }

 private:
  friend class Store;
  Scratch() = default;
  StoreState* store_ = nullptr;
  UniqueFd directory_;
  std::string name_;
};

class Store {
 public:
  // `root` is the engine's root directory (0700); the store is ROOT/images. kNotFound when it is not there
  // and options.create is false.
  static Result<Store> open(const std::string& root, StoreOptions options = {});
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  // --- images ---
  // By name (any spelling), by name@digest, by id, or by a prefix of an id of at least four digits. kNotFound
  // names what was looked for; an ambiguous prefix is kInvalid and lists the candidates.
  Result<ImageRecord> resolve(std::string_view reference_or_id);
  Result<std::vector<ImageSummary>> list();
  // All layers must be there (begin_layer/commit). One transaction; names move here from where they were.
  // Returns the id.
  Result<oci::Digest> add_image(const NewImage& image);
  Result<> tag(std::string_view reference_or_id, const Reference& name);
  // The image is also known as repository@digest (after a push).
  Result<> add_digest(const oci::Digest& image, const std::string& repository, const oci::Digest& digest);
  // `docker rmi`: by name removes that name, and the image with its last one; by id removes the image with
  // all its names. kBusy when a container holds it, or when several names would go, without `force` (which
  // still never takes a held image's layers: only its names).
  Result<Removed> remove(std::string_view reference_or_id, bool force);
  Result<Removed> prune(const PrunePolicy& policy);

  // --- holds: a container keeps its image ---
  // `holder` is the container's id. Holding again moves the hold. Fails with kNotFound when the image is
  // gone.
  Result<> hold(const std::string& holder, const oci::Digest& image);
  Result<> release(const std::string& holder);
  Result<std::vector<std::pair<std::string, oci::Digest>>> holds();

  // --- layers ---
  Result<std::optional<LayerInfo>> layer(const oci::Digest& diff_id);
  // The right to make a layer; nullopt when it is there (perhaps because another process made it while this
  // one waited). `waiting` is called once when another process is at it.
  Result<std::optional<LayerWriter>> begin_layer(const oci::Digest& diff_id,
                                                 const std::function<void()>& waiting = {});
  // Absolute host path of an unpacked layer's directory (see the layout); for errors and for mounting.
  [[nodiscard]] std::string layer_path(const oci::Digest& diff_id) const;
  // Of every layer of the image, uppermost first, as overlay wants them. kNotFound when one is missing.
  Result<std::vector<LayerInfo>> layers_of(const ImageRecord& image);

  // --- blobs ---
  Result<bool> has_blob(const oci::Digest& digest);
  Result<UniqueFd> open_blob(const oci::Digest& digest);
  Result<std::optional<BlobWriter>> begin_blob(const oci::Digest& digest,
                                               const std::function<void()>& waiting = {});
  // The blob turned out to be damaged.
  Result<> forget_blob(const oci::Digest& digest);
  // Manifests, indexes and configs: small, kept in the database. The digest is computed here.
  Result<oci::Digest> put_document(std::string_view json, std::string_view media_type);
  struct Document {
    std::string json, media_type;
  };
  Result<Document> document(const oci::Digest& digest);

  Result<Scratch> begin_scratch();
  // A blob of this layer that is here, whatever its compression; nullopt when there is none.
  Result<std::optional<ImageLayer>> blob_of_layer(const oci::Digest& diff_id);
  // Repositories (name()) of images that have this blob, for mounting it from there.
  Result<std::vector<std::string>> repositories_with(const oci::Digest& blob);

  // --- care ---
  // Syncs the file system and marks everything written so far as durable. Slow; after the answer to the user.
  Result<> make_durable();
  // Deletes trash and what dead processes left in tmp. Returns bytes freed as far as known.
  Result<uint64_t> sweep();
  Result<Usage> usage();
  // Compares database and directories; `deep` reads every blob and document again. With `repair`, rows
  // without files go (and images that need them say so), files without rows go to trash.
  Result<CheckReport> check(bool repair, bool deep);

  [[nodiscard]] const std::string& root() const;  // ROOT/images

 private:
  explicit Store(std::unique_ptr<StoreState> state);
  std::unique_ptr<StoreState> state_;
};

}  // namespace onggi::image
