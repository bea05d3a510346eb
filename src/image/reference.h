// Names of images, as people write them and as registries want them.
//
// Parsing follows Docker's normalisation: "nginx" is docker.io/library/nginx, "host/x" is a registry only
// when the first part has a dot or a colon, is "localhost", or has upper-case letters. A Reference is valid
// and complete: registry and repository are always set; tag or digest may both be there, and then the digest
// decides what is fetched and the tag is kept as a name.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "oci/image_spec.h"

namespace onggi::image {

inline constexpr std::string_view kDefaultRegistry = "docker.io";
inline constexpr std::string_view kDefaultTag = "latest";

struct Reference {
  std::string registry;    // "docker.io", "localhost:5000", "[::1]:5000"
  std::string repository;  // "library/nginx"
  std::string tag;         // empty when none was written and a digest was
  oci::Digest digest;

  // "name[:tag][@digest]". Neither tag nor digest: the tag "latest". Errors say which rule is broken.
  static Result<Reference> parse(std::string_view text);
  // As parse(), but a missing tag stays missing (for "every tag of this repository").
  static Result<Reference> parse_untagged(std::string_view text);

  // docker.io/library/nginx:1.25 - what the store keeps; with "@sha256:..." when there is a digest.
  [[nodiscard]] std::string canonical() const;
  // nginx:1.25 - what people read.
  [[nodiscard]] std::string familiar() const;
  // docker.io/library/nginx and nginx.
  [[nodiscard]] std::string name() const { return registry + "/" + repository; }
  [[nodiscard]] std::string familiar_name() const;
  // The registry is this machine (loopback address or localhost), where plain HTTP is acceptable.
  [[nodiscard]] bool is_loopback() const;

  bool operator==(const Reference&) const = default;
};

// True for "localhost", 127.0.0.0/8 and ::1, with or without a port.
bool is_loopback_host(std::string_view host_and_port);

}  // namespace onggi::image
