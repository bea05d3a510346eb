// The image documents' member names, one table per object, in the order of the specification's Go types.
// image_parse.cpp and image_emit.cpp both work from these tables. Internal to oci/.
#pragma once

#include "base/json.h"
#include "oci/image_spec.h"

namespace onggi {

template <>
struct JsonOps<oci::Digest> {
  static bool read(JsonReader& r, JsonValue value, oci::Digest& out) {
    std::string text;
    if (!r.read(value, text)) return false;
    auto digest = oci::Digest::parse(text);
    if (!digest) return r.error(digest.error().text());
    out = *std::move(digest);
    return true;
  }
  static void write(JsonWriter& w, const oci::Digest& in) { w.string(in.text()); }
  static bool is_default(const oci::Digest& in) { return in.empty(); }
};

namespace image_json {

// Sizes are int64 in the specification and never negative.
inline constexpr JsonType kSize = {
    [](JsonReader& r, JsonValue value, void* out) {
      return r.read_unsigned(value, INT64_MAX, *static_cast<uint64_t*>(out));
    },
    [](JsonWriter& w, const void* in) { w.unsigned_number(*static_cast<const uint64_t*>(in)); },
    [](const void* in) { return *static_cast<const uint64_t*>(in) == 0; }};

// Go's map[string]struct{}: {"80/tcp": {}} -> ["80/tcp"].
inline constexpr JsonType kSet = {
    [](JsonReader& r, JsonValue value, void* out) {
      if (!r.expect(value, JsonValue::Kind::kObject)) return false;
      for (size_t i = 0; i < value.size(); i++)
        static_cast<std::vector<std::string>*>(out)->emplace_back(value.member_name(i));
      return true;
    },
    [](JsonWriter& w, const void* in) {
      w.begin_object();
      for (const std::string& name : *static_cast<const std::vector<std::string>*>(in)) {
        w.key(name);
        w.begin_object();
        w.end_object();
      }
      w.end_object();
    },
    [](const void* in) { return static_cast<const std::vector<std::string>*>(in)->empty(); }};

template <auto Ptr>
constexpr JsonRow sized(std::string_view name) {
  return {name, json_locate<Ptr>, &kSize, JsonEmit::kAlways, true};
}
template <auto Ptr>
constexpr JsonRow set(std::string_view name) {
  return {name, json_locate<Ptr>, &kSet, JsonEmit::kOmitDefault, false};
}
template <auto Ptr>
constexpr JsonRow required(std::string_view name) {
  return json_field<Ptr>(name, JsonEmit::kAlways, true);
}

}  // namespace image_json

template <>
struct JsonFields<oci::Platform> {
  using T = oci::Platform;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::architecture>("architecture", JsonEmit::kAlways),
       json_field<&T::os>("os", JsonEmit::kAlways), json_field<&T::os_version>("os.version"),
       json_field<&T::os_features>("os.features"), json_field<&T::variant>("variant")});
};
template <>
struct JsonFields<oci::Descriptor> {
  using T = oci::Descriptor;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::media_type>("mediaType", JsonEmit::kAlways), image_json::required<&T::digest>("digest"),
       image_json::sized<&T::size>("size"), json_field<&T::urls>("urls"),
       json_field<&T::annotations>("annotations"), json_field<&T::data>("data"),
       json_field<&T::platform>("platform"), json_field<&T::artifact_type>("artifactType")});
};
template <>
struct JsonFields<oci::Manifest> {
  using T = oci::Manifest;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {image_json::required<&T::schema_version>("schemaVersion"), json_field<&T::media_type>("mediaType"),
       json_field<&T::artifact_type>("artifactType"), image_json::required<&T::config>("config"),
       json_field<&T::layers>("layers", JsonEmit::kAlways), json_field<&T::subject>("subject"),
       json_field<&T::annotations>("annotations")});
};
template <>
struct JsonFields<oci::Index> {
  using T = oci::Index;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {image_json::required<&T::schema_version>("schemaVersion"), json_field<&T::media_type>("mediaType"),
       json_field<&T::artifact_type>("artifactType"),
       json_field<&T::manifests>("manifests", JsonEmit::kAlways), json_field<&T::subject>("subject"),
       json_field<&T::annotations>("annotations")});
};
template <>
struct JsonFields<oci::HealthCheck> {
  using T = oci::HealthCheck;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::test>("Test"), json_field<&T::interval>("Interval"), json_field<&T::timeout>("Timeout"),
       json_field<&T::start_period>("StartPeriod"), json_field<&T::start_interval>("StartInterval"),
       json_field<&T::retries>("Retries")});
};
template <>
struct JsonFields<oci::ContainerDefaults> {
  using T = oci::ContainerDefaults;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::user>("User"), image_json::set<&T::exposed_ports>("ExposedPorts"),
       json_field<&T::env>("Env"), json_field<&T::entrypoint>("Entrypoint"), json_field<&T::cmd>("Cmd"),
       image_json::set<&T::volumes>("Volumes"), json_field<&T::working_dir>("WorkingDir"),
       json_field<&T::labels>("Labels"), json_field<&T::stop_signal>("StopSignal"),
       json_field<&T::healthcheck>("Healthcheck"), json_field<&T::args_escaped>("ArgsEscaped"),
       json_field<&T::on_build>("OnBuild"), json_field<&T::shell>("Shell")});
};
template <>
struct JsonFields<oci::History> {
  using T = oci::History;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::created>("created"), json_field<&T::created_by>("created_by"),
                              json_field<&T::author>("author"), json_field<&T::comment>("comment"),
                              json_field<&T::empty_layer>("empty_layer")});
};
template <>
struct JsonFields<oci::RootFs> {
  using T = oci::RootFs;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::type>("type", JsonEmit::kAlways),
                              json_field<&T::diff_ids>("diff_ids", JsonEmit::kAlways)});
};
template <>
struct JsonFields<oci::ImageConfig> {
  using T = oci::ImageConfig;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::created>("created"), json_field<&T::author>("author"),
       json_field<&T::architecture>("architecture", JsonEmit::kAlways), json_field<&T::variant>("variant"),
       json_field<&T::os>("os", JsonEmit::kAlways), json_field<&T::os_version>("os.version"),
       json_field<&T::os_features>("os.features"), json_field<&T::config>("config"),
       json_field<&T::rootfs>("rootfs", JsonEmit::kAlways), json_field<&T::history>("history")});
};

}  // namespace onggi
