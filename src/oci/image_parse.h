// Image documents: JSON text -> values, strictly.
//
// Errors name the member by its path. Beyond the types, what a hostile registry could use against later code
// is refused here: digests that are no digests, negative sizes, more layers or manifests than kMax..., a
// manifest that is an index at the same time (CVE-2021-41190), Docker's schema 1.
#pragma once

#include <string_view>

#include "base/result.h"
#include "oci/image_spec.h"

namespace onggi::oci {

inline constexpr size_t kMaxDocumentBytes = 4u << 20;  // what registries accept for a manifest
inline constexpr size_t kMaxLayers = 500;              // overlay's own limit
inline constexpr size_t kMaxIndexEntries = 1000;

// `media_type`: what the transport said the document is (may be empty); it must not contradict the text.
Result<Manifest> parse_manifest(std::string_view json, std::string_view media_type = {});
Result<Index> parse_index(std::string_view json, std::string_view media_type = {});
Result<ImageConfig> parse_image_config(std::string_view json);
// Whether the document is an index rather than a manifest, by its own mediaType, else by `media_type`, else
// by its members.
Result<bool> document_is_index(std::string_view json, std::string_view media_type);

}  // namespace onggi::oci
