#include "oci/image_spec.h"

#include <algorithm>
#include <array>

namespace onggi::oci {

namespace {

bool is_hex(std::string_view s) {
  return std::all_of(s.begin(), s.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

struct LayerType {
  std::string_view media_type;
  Compression compression;
};
constexpr LayerType kLayerTypes[] = {
    {kMediaLayerTar, Compression::kNone},
    {kMediaLayerGzip, Compression::kGzip},
    {kMediaLayerZstd, Compression::kZstd},
    {kMediaDockerLayer, Compression::kGzip},
    // Docker's own names for what OCI later gave types.
    {"application/vnd.docker.image.rootfs.diff.tar", Compression::kNone},
    {"application/vnd.docker.image.rootfs.diff.tar.zstd", Compression::kZstd},
    // "Non-distributable" is deprecated: the bytes are like any other layer's, wherever they are to be had.
    {"application/vnd.oci.image.layer.nondistributable.v1.tar", Compression::kNone},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Compression::kGzip},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", Compression::kZstd},
    {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Compression::kGzip},
};

// uname's and people's names for architectures -> Go's, with the variant they imply.
struct ArchAlias {
  std::string_view alias, architecture, variant;
};
constexpr ArchAlias kArchAliases[] = {
    {"x86_64", "amd64", ""}, {"x86-64", "amd64", ""}, {"aarch64", "arm64", "v8"},
    {"armhf", "arm", "v7"},  {"armel", "arm", "v6"},  {"armv7l", "arm", "v7"},
    {"i386", "386", ""},     {"i686", "386", ""},     {"ppc64el", "ppc64le", ""}};

// arm64 without a variant means v8, arm means v7 (image-index.md "Platform Variants").
std::string_view default_variant(std::string_view architecture) {
  if (architecture == "arm64") return "v8";
  if (architecture == "arm") return "v7";
  if (architecture == "amd64") return "v1";
  return "";
}

int variant_number(std::string_view variant) {
  if (variant.size() < 2 || variant[0] != 'v' || variant[1] < '0' || variant[1] > '9') return -1;
  return variant[1] - '0';
}

// How well `offered` runs where `wanted` does: the higher the better, negative not at all.
int fitness(const Platform& offered, const Platform& wanted) {
  if (offered.os != wanted.os || offered.architecture != wanted.architecture) return -1;
  std::string_view have = offered.variant.empty() ? default_variant(offered.architecture) : offered.variant;
  std::string_view want = wanted.variant.empty() ? default_variant(wanted.architecture) : wanted.variant;
  if (have == want) return 100;
  int h = variant_number(have), w = variant_number(want);
  return h >= 0 && h <= w ? h : -1;
}

}  // namespace

Result<Digest> Digest::parse(std::string_view text) {
  size_t colon = text.find(':');
  std::string_view algorithm = text.substr(0, colon);
  std::string shown(text.substr(0, 100));
  if (colon == std::string_view::npos) return fail(Error::invalid("'" + shown + "' is not a digest"));
  if (algorithm != "sha256")
    return fail(Error::unsupported("digest '" + shown + "': the algorithm '" +
                                   std::string(algorithm.substr(0, 20)) + "' is not supported, only sha256"));
  std::string_view hex = text.substr(colon + 1);
  if (hex.size() != 64 || !is_hex(hex))
    return fail(Error::invalid("digest '" + shown + "': expected 64 lower-case hex digits after 'sha256:'"));
  Digest digest;
  digest.text_ = text;
  return digest;
}

Digest Digest::sha256(std::string_view hex) {
  Digest digest;
  digest.text_.reserve(7 + hex.size());
  digest.text_ = "sha256:";
  digest.text_ += hex;
  return digest;
}

std::optional<Compression> layer_compression(std::string_view media_type) {
  for (const LayerType& known : kLayerTypes)
    if (known.media_type == media_type) return known.compression;
  return std::nullopt;
}

bool is_manifest_type(std::string_view media_type) {
  return media_type == kMediaManifest || media_type == kMediaDockerManifest;
}
bool is_index_type(std::string_view media_type) {
  return media_type == kMediaIndex || media_type == kMediaDockerIndex;
}

Result<Platform> parse_platform(std::string_view text) {
  std::array<std::string_view, 3> part;
  size_t count = 0;
  for (std::string_view rest = text;;) {
    size_t slash = rest.find('/');
    if (count == part.size() || rest.substr(0, slash).empty())
      return fail(Error::invalid("platform '" + std::string(text) +
                                 "': expected [os/]architecture[/variant], for example linux/arm64"));
    part[count++] = rest.substr(0, slash);
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  Platform p;
  size_t next = 0;
  bool has_os = count == 3 || (count == 2 && variant_number(part[1]) < 0);
  p.os = has_os ? part[next++] : "linux";
  p.architecture = part[next++];
  if (next < count) p.variant = part[next];
  for (const ArchAlias& a : kArchAliases) {
    if (p.architecture != a.alias) continue;
    p.architecture = a.architecture;
    if (p.variant.empty()) p.variant = a.variant;
    break;
  }
  return p;
}

std::string to_string(const Platform& platform) {
  std::string s = platform.os + "/" + platform.architecture;
  if (!platform.variant.empty()) s += "/" + platform.variant;
  return s;
}

Platform host_platform() {
  Platform p;
  p.os = "linux";
#if defined(__x86_64__)
  p.architecture = "amd64";
#elif defined(__aarch64__)
  p.architecture = "arm64";
  p.variant = "v8";
#elif defined(__arm__)
  p.architecture = "arm";
  p.variant = "v7";
#elif defined(__riscv) && __riscv_xlen == 64
  p.architecture = "riscv64";
#elif defined(__powerpc64__)
  p.architecture = "ppc64le";
#elif defined(__s390x__)
  p.architecture = "s390x";
#elif defined(__i386__)
  p.architecture = "386";
#else
#error "name this architecture as Go does"
#endif
  return p;
}

Result<const Descriptor*> select_platform(const Index& index, const Platform& wanted) {
  const Descriptor* best = nullptr;
  int best_fit = -1;
  std::string offered;
  for (const Descriptor& d : index.manifests) {
    if (!d.platform) continue;
    int fit = fitness(*d.platform, wanted);
    if (fit > best_fit) best_fit = fit, best = &d;
    if (d.platform->os != "unknown") offered += (offered.empty() ? "" : ", ") + to_string(*d.platform);
  }
  // An index of one manifest without a platform is what `oci:` directories hold.
  if (!best && index.manifests.size() == 1 && !index.manifests[0].platform) best = &index.manifests[0];
  if (best) return best;
  return fail(Error::not_found("no image for " + to_string(wanted) + " in the index; it offers " +
                               (offered.empty() ? "none with a platform" : offered)));
}

std::vector<Digest> chain_ids(const std::vector<Digest>& diff_ids,
                              std::string (*sha256_hex)(std::string_view)) {
  std::vector<Digest> chain;
  chain.reserve(diff_ids.size());
  for (const Digest& diff : diff_ids)
    chain.push_back(chain.empty() ? diff
                                  : Digest::sha256(sha256_hex(chain.back().text() + " " + diff.text())));
  return chain;
}

}  // namespace onggi::oci
