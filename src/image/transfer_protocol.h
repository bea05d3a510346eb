// What the engine and libexec/onggi/onggi-transfer say to each other.
//
// The worker gets one TransferRequest as JSON on its standard input and writes one TransferEvent a line on
// its standard output: any number of "layer" and "note", then exactly one "result" or "error" as the last
// line. After a result the worker may live on for a second or two: it lets go of its starter, makes what it
// stored durable and empties trash. Before that it dies with its starter, and what it had begun is found
// again or swept away.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "oci/image_spec.h"

namespace onggi::image {

// How to reach one registry. Everything else is found by the conventions of docker and podman
// (certs.d, config.json).
struct RegistryOptions {
  std::string host;                  // as in references: "docker.io", "registry.example.org:5000"
  std::vector<std::string> mirrors;  // "https://mirror.example.org[/prefix]", tried in this order before it
  bool plain_http = false;           // allowed and tried first
  bool skip_verify = false;          // of its certificate
};

// $ONGGI_REGISTRIES, else ~/.config/onggi/registries.json, else /etc/onggi/registries.json: the first that is
// there.
struct RegistriesFile {
  std::vector<RegistryOptions> registries;
};

struct TransferRequest {
  // pull, push, load, save, import, commit, export, referrers, login, logout, sweep, check
  std::string operation;
  std::string root;                     // the engine's root; the store is ROOT/images
  std::vector<std::string> references;  // of images: one, except for save
  std::string platform;                 // "linux/arm64"; empty: the host's
  // pull: every tag of the repository. push: every name of it that is in the store.
  bool all_tags = false;
  // load, import: what to read; save: what to write. "oci:DIR[:TAG]", "oci-archive:FILE",
  // "docker-archive:FILE", or a FILE, whose form is recognised (load) or is docker-archive (save). "-":
  // descriptor 3.
  std::string path;
  // import: a tag for the new image comes from `references`, its config from here (JSON of "config").
  std::string config, message, author, created_by;
  // commit: the image below, and overlay's upper directory; its names are `references`. export: the
  // container's root, and `path` is where the tar goes. `tree` may be /proc/PID/fd/N of the engine. The
  // container's ids 0.. are id_base.. of this host (id_count of them; 0: as they are).
  std::string image, tree;
  uint32_t id_base = 0, id_count = 0;
  std::string auth_file;                    // default: ~/.docker/config.json, then podman's auth.json
  std::string ca_file;                      // --cacert, beside certs.d and the system's
  std::string username, password;           // login
  std::vector<RegistryOptions> registries;  // empty: what the registries file says (RegistriesFile)
  uint32_t parallel = 0;                    // layers at once; 0: the default
  uint64_t max_layer_bytes = 0;             // 0: the default budget
  // pull, load: "directory", "erofs", "auto" (erofs where this host can); empty: $ONGGI_STORAGE_FORM, else
  // directory.
  std::string storage_form;
  bool repair = false;        // check
  bool wait_durable = false;  // the result comes only when it would survive a power cut
};

struct TransferEvent {
  std::string event;  // "layer", "note", "result", "error"
  // layer
  std::string layer;                // digest
  std::string status;               // waiting, downloading, unpacking, done, exists, pushing, mounted
  uint64_t current = 0, total = 0;  // bytes
  // note, error
  std::string text;
  std::string kind;  // error: ErrorKind by name, see error_kind_name()
  // result
  std::vector<std::string> ids;         // of images
  std::vector<std::string> references;  // canonical names that now exist
  std::string digest;                   // of the manifest that was pulled or pushed
  bool changed = false;                 // something new came into the store (or registry)
  uint64_t transferred = 0;             // bytes over the wire
  std::string json;                     // referrers: the index; check: the report
};

const char* error_kind_name(ErrorKind kind);
ErrorKind error_kind_from_name(std::string_view name);

}  // namespace onggi::image

namespace onggi {

template <>
struct JsonFields<image::RegistryOptions> {
  using T = image::RegistryOptions;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::host>("host"), json_field<&T::mirrors>("mirrors"),
       json_field<&T::plain_http>("plainHttp"), json_field<&T::skip_verify>("skipVerify")});
};
template <>
struct JsonFields<image::RegistriesFile> {
  using T = image::RegistriesFile;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::registries>("registries", JsonEmit::kAlways, true)});
};
template <>
struct JsonFields<image::TransferRequest> {
  using T = image::TransferRequest;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::operation>("operation", JsonEmit::kAlways, true),
                              json_field<&T::root>("root"),
                              json_field<&T::references>("references"),
                              json_field<&T::platform>("platform"),
                              json_field<&T::all_tags>("allTags"),
                              json_field<&T::path>("path"),
                              json_field<&T::config>("config"),
                              json_field<&T::message>("message"),
                              json_field<&T::author>("author"),
                              json_field<&T::created_by>("createdBy"),
                              json_field<&T::image>("image"),
                              json_field<&T::tree>("tree"),
                              json_field<&T::id_base>("idBase"),
                              json_field<&T::id_count>("idCount"),
                              json_field<&T::auth_file>("authFile"),
                              json_field<&T::ca_file>("caFile"),
                              json_field<&T::username>("username"),
                              json_field<&T::password>("password"),
                              json_field<&T::registries>("registries"),
                              json_field<&T::parallel>("parallel"),
                              json_field<&T::max_layer_bytes>("maxLayerBytes"),
                              json_field<&T::storage_form>("storageForm"),
                              json_field<&T::repair>("repair"),
                              json_field<&T::wait_durable>("waitDurable")});
};
template <>
struct JsonFields<image::TransferEvent> {
  using T = image::TransferEvent;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::event>("event", JsonEmit::kAlways, true), json_field<&T::layer>("layer"),
       json_field<&T::status>("status"), json_field<&T::current>("current"), json_field<&T::total>("total"),
       json_field<&T::text>("text"), json_field<&T::kind>("kind"), json_field<&T::ids>("ids"),
       json_field<&T::references>("references"), json_field<&T::digest>("digest"),
       json_field<&T::changed>("changed"), json_field<&T::transferred>("transferred"),
       json_field<&T::json>("json")});
};

}  // namespace onggi
