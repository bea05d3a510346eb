#include "oci/image_parse.h"

#include "oci/image_json.h"

namespace onggi::oci {

namespace {

struct Members {
  bool manifests = false, layers = false, config = false, fs_layers = false;
  std::string_view media_type;
  std::optional<int64_t> schema_version;
};

Result<Members> look_at(const JsonDocument& document, std::string_view name) {
  JsonValue root = document.root();
  if (root.kind() != JsonValue::Kind::kObject)
    return fail(Error::invalid(std::string(name) + ": expected an object, found " + root.describe()));
  Members m;
  for (size_t i = 0; i < root.size(); i++) {
    std::string_view member = root.member_name(i);
    JsonValue value = root.member(i);
    if (value.kind() == JsonValue::Kind::kNull) continue;
    if (member == "manifests") m.manifests = true;
    if (member == "layers") m.layers = true;
    if (member == "config") m.config = true;
    if (member == "fsLayers") m.fs_layers = true;
    if (member == "mediaType" && value.kind() == JsonValue::Kind::kString) m.media_type = value.string();
    if (member == "schemaVersion" && value.kind() == JsonValue::Kind::kNumber)
      m.schema_version = value.as_int64();
  }
  return m;
}

Result<JsonDocument> parse_bounded(std::string_view json, std::string_view name) {
  if (json.size() > kMaxDocumentBytes)
    return fail(Error::invalid(std::string(name) + ": " + std::to_string(json.size()) +
                               " bytes; documents of images have at most " +
                               std::to_string(kMaxDocumentBytes)));
  return JsonDocument::parse(json, name);
}

Error old_schema(std::string_view name) {
  return Error::unsupported(std::string(name) +
                            ": it has the old format 'schema 1', which is not supported; push the image "
                            "again with a current program");
}

// What both kinds of document must satisfy before their members are read.
Result<> check_kind(const Members& m, std::string_view media_type, bool index, std::string_view name) {
  if (m.fs_layers || (m.schema_version && *m.schema_version == 1)) return fail(old_schema(name));
  if (!m.schema_version || *m.schema_version != 2)
    return fail(Error::invalid(std::string(name) + ": schemaVersion: must be 2"));
  // A text that is a manifest to one reader and an index to another would give one digest two meanings
  // (CVE-2021-41190).
  if (index ? m.layers || m.config : m.manifests)
    return fail(Error::invalid(std::string(name) +
                               ": it has members of an index and of a manifest at once; refused"));
  if (!media_type.empty() && !m.media_type.empty() && media_type != m.media_type)
    return fail(Error::invalid(std::string(name) + ": mediaType: the document says '" +
                               std::string(m.media_type) + "', its sender said '" + std::string(media_type) +
                               "'"));
  std::string_view said = m.media_type.empty() ? media_type : m.media_type;
  if (!said.empty() && (index ? is_manifest_type(said) : is_index_type(said)))
    return fail(Error::invalid(std::string(name) + ": mediaType: '" + std::string(said) + "' does not fit " +
                               (index ? "an index" : "a manifest")));
  return {};
}

template <class T>
Result<T> read_tree(const JsonDocument& document, std::string_view name) {
  JsonReader reader(name);
  T out{};
  if (!JsonOps<T>::read(reader, document.root(), out)) return fail(reader.take_error());
  return out;
}

Result<> check_count(size_t count, size_t limit, std::string_view what, std::string_view name) {
  if (count <= limit) return {};
  return fail(Error::invalid(std::string(name) + ": " + std::string(what) + ": " + std::to_string(count) +
                             " entries; at most " + std::to_string(limit) + " are accepted"));
}

}  // namespace

Result<bool> document_is_index(std::string_view json, std::string_view media_type) {
  JsonDocument document = TRY(parse_bounded(json, "manifest"));
  Members m = TRY(look_at(document, "manifest"));
  if (m.fs_layers || (m.schema_version && *m.schema_version == 1)) return fail(old_schema("manifest"));
  for (std::string_view type : {m.media_type, media_type}) {
    if (is_index_type(type)) return true;
    if (is_manifest_type(type)) return false;
  }
  return m.manifests;
}

Result<Manifest> parse_manifest(std::string_view json, std::string_view media_type) {
  constexpr std::string_view kName = "manifest";
  JsonDocument document = TRY(parse_bounded(json, kName));
  TRY_VOID(check_kind(TRY(look_at(document, kName)), media_type, false, kName));
  Manifest out = TRY(read_tree<Manifest>(document, kName));
  TRY_VOID(check_count(out.layers.size(), kMaxLayers, "layers", kName));
  if (out.media_type.empty()) out.media_type = media_type;
  return out;
}

Result<Index> parse_index(std::string_view json, std::string_view media_type) {
  constexpr std::string_view kName = "index";
  JsonDocument document = TRY(parse_bounded(json, kName));
  TRY_VOID(check_kind(TRY(look_at(document, kName)), media_type, true, kName));
  Index out = TRY(read_tree<Index>(document, kName));
  TRY_VOID(check_count(out.manifests.size(), kMaxIndexEntries, "manifests", kName));
  if (out.media_type.empty()) out.media_type = media_type;
  return out;
}

Result<ImageConfig> parse_image_config(std::string_view json) {
  constexpr std::string_view kName = "image config";
  JsonDocument document = TRY(parse_bounded(json, kName));
  ImageConfig out = TRY(read_tree<ImageConfig>(document, kName));
  if (out.rootfs.type != "layers" && !out.rootfs.type.empty())
    return fail(Error::unsupported("image config: rootfs.type: '" + out.rootfs.type +
                                   "' is not supported; only \"layers\" is defined"));
  TRY_VOID(check_count(out.rootfs.diff_ids.size(), kMaxLayers, "rootfs.diff_ids", kName));
  return out;
}

}  // namespace onggi::oci
