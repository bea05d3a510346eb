// The OCI image specification 1.1 (descriptor, manifest, index, config) and Docker's schema 2 as plain
// values.
//
// Pure data; image_parse.h fills it, image_emit.h prints it. One struct serves both families, since schema 2
// differs only in media types. A document that came from outside is kept as the bytes it was: its digest is
// its name, so these values are for reading, never for printing it again.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace onggi::oci {

// --- media types (image-spec media-types.md; Docker's distribution manifest-v2-2) ---
inline constexpr std::string_view kMediaManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kMediaIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kMediaConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kMediaLayerTar = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kMediaLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kMediaLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view kMediaEmpty = "application/vnd.oci.empty.v1+json";
inline constexpr std::string_view kMediaDockerManifest =
    "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kMediaDockerIndex =
    "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kMediaDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kMediaDockerLayer = "application/vnd.docker.image.rootfs.diff.tar.gzip";

// How the bytes of a layer are packed, by its media type.
enum class Compression : uint8_t { kNone, kGzip, kZstd };

// "sha256:<64 lower-case hex digits>": the only algorithm that registries use and that this engine accepts
// (descriptor.md "Digests"). A value of this type is well-formed or empty, so that it may become a file name.
class Digest {
 public:
  Digest() = default;
  static Result<Digest> parse(std::string_view text);
  // `hex` must be 64 hex digits from a hash function of ours.
  static Digest sha256(std::string_view hex);
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::string_view hex() const {
    return empty() ? std::string_view() : std::string_view(text_).substr(7);
  }
  [[nodiscard]] bool empty() const { return text_.empty(); }
  auto operator<=>(const Digest&) const = default;

 private:
  std::string text_;
};

// descriptor.md and image-index.md "platform". Names are Go's (GOOS, GOARCH).
struct Platform {
  std::string architecture, os, os_version;
  std::vector<std::string> os_features;
  std::string variant;
};

struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;  // bytes
  std::vector<std::string> urls;
  StringMap annotations;
  std::optional<Platform> platform;  // only in an index
  std::string artifact_type;
  std::string data;  // base64 of the content, where the descriptor embeds it
};

struct Manifest {
  int32_t schema_version = 0;
  std::string media_type;
  std::string artifact_type;
  Descriptor config;
  std::vector<Descriptor> layers;  // base first
  std::optional<Descriptor> subject;
  StringMap annotations;
};

struct Index {
  int32_t schema_version = 0;
  std::string media_type;
  std::string artifact_type;
  std::vector<Descriptor> manifests;
  std::optional<Descriptor> subject;
  StringMap annotations;
};

// Docker's health check; durations are nanoseconds, 0 means inherited or the default.
struct HealthCheck {
  std::vector<std::string> test;  // {"CMD", ...}, {"CMD-SHELL", line} or {"NONE"}
  int64_t interval = 0, timeout = 0, start_period = 0, start_interval = 0;
  int64_t retries = 0;
};

// config.md "config": what a container of this image runs by default. Labels are data of the image's author
// and never set policy.
struct ContainerDefaults {
  std::string user;
  std::vector<std::string> exposed_ports;  // "80/tcp"
  std::vector<std::string> env;
  std::vector<std::string> entrypoint, cmd;
  std::vector<std::string> volumes;  // paths
  std::string working_dir;
  StringMap labels;
  std::string stop_signal;
  // Docker's extensions.
  std::optional<HealthCheck> healthcheck;
  std::vector<std::string> on_build, shell;
  bool args_escaped = false;
};

struct History {
  std::string created, author, created_by, comment;
  bool empty_layer = false;
};

struct RootFs {
  std::string type = "layers";
  std::vector<Digest> diff_ids;  // of the uncompressed tars, base first
};

struct ImageConfig {
  std::string created;  // RFC 3339
  std::string author;
  std::string architecture, os, os_version, variant;
  std::vector<std::string> os_features;
  ContainerDefaults config;
  RootFs rootfs;
  std::vector<History> history;
};

// Compression by media type; nullopt when it is no layer that can be unpacked (encrypted, foreign, unknown).
std::optional<Compression> layer_compression(std::string_view media_type);
bool is_manifest_type(std::string_view media_type);
bool is_index_type(std::string_view media_type);
// "linux/arm64/v8" -> Platform. The operating system may be left out.
Result<Platform> parse_platform(std::string_view text);
std::string to_string(const Platform& platform);
// The platform of this build (linux and the compiler's architecture), with its usual variant.
Platform host_platform();
// The entry that fits `wanted` best: same OS and architecture; then the highest variant that `wanted` can
// run; then the first listed (image-index.md). Entries for "unknown/unknown" (attestations) never fit. An
// error lists what there is.
Result<const Descriptor*> select_platform(const Index& index, const Platform& wanted);
// Chain ids of config.md "Layer ChainID", base first. `sha256` is the caller's hash: text -> hex.
std::vector<Digest> chain_ids(const std::vector<Digest>& diff_ids,
                              std::string (*sha256_hex)(std::string_view));

}  // namespace onggi::oci
