// The client of the OCI distribution specification 1.1.
//
// A Registry is one endpoint (the registry or one of its mirrors) with its scheme, TLS options and tokens; it
// may be shared by threads, each of which has a Session with a connection of its own. Transient failures are
// retried with growing pauses; a blob continues where it broke off.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "image/reference.h"
#include "image/transfer_protocol.h"
#include "oci/image_spec.h"
#include "transfer/credentials.h"
#include "transfer/http.h"

namespace onggi::transfer {

struct Endpoint {
  std::string registry;  // as in references; names the credentials and certs.d
  std::string base;      // "https://host[:port][/prefix]"; empty: https, then http where that is allowed
  bool is_mirror = false;
  bool plain_http = false;  // allowed
  bool skip_verify = false;
};

// In the order in which they are tried: mirrors, then the registry.
Result<std::vector<Endpoint>> endpoints_of(const std::string& registry,
                                           const std::vector<image::RegistryOptions>& options);

class Registry {
 public:
  static Result<std::unique_ptr<Registry>> connect(const Endpoint& endpoint, const std::string& auth_file,
                                                   const std::string& ca_file);
  // As connect, with these credentials instead of the files' (login).
  static Result<std::unique_ptr<Registry>> connect_as(const Endpoint& endpoint,
                                                      const Credentials& credentials,
                                                      const std::string& ca_file);
  [[nodiscard]] const std::string& base() const { return base_; }

 private:
  friend class Session;
  Registry() = default;
  Result<> find_scheme(bool http_allowed);
  Result<> learn_challenge(const HttpResponse& response);
  // The Authorization header for these scopes; empty when the registry asks for none.
  Result<std::string> authorization(Http& http, const std::string& scope, bool renew);
  Result<std::string> fetch_token(Http& http, const std::string& scope);

  Endpoint endpoint_;
  std::string base_;
  TlsOptions tls_;
  bool local_ = false;  // the registry is on this machine
  std::optional<Credentials> credentials_;
  std::mutex mutex_;  // guards what follows
  enum class Scheme : uint8_t { kNone, kBasic, kBearer } scheme_ = Scheme::kNone;
  std::string realm_, service_;
  std::vector<std::pair<std::string, std::string>> tokens_;  // by scope
};

class Session {
 public:
  Session(Registry& registry, std::string repository);

  struct Document {
    std::string json, media_type;
    oci::Digest digest;  // computed here
  };
  // By tag or digest. A digest is verified.
  Result<Document> manifest(const std::string& tag_or_digest);
  // Config and other small blobs, verified.
  Result<std::string> small_blob(const oci::Descriptor& descriptor);
  // Bytes from `offset` on. `begin` is called when an answer starts, with the offset at which it really
  // starts (0 when the registry cannot continue): the receiver goes back there. Verification is the
  // receiver's.
  Result<> blob(const oci::Descriptor& descriptor, uint64_t offset,
                const std::function<Result<>(uint64_t)>& begin,
                const std::function<Result<>(std::string_view)>& sink);
  Result<std::vector<std::string>> tags();
  // The index of what refers to the manifest; falls back to the tag schema (distribution-spec "Listing
  // Referrers").
  Result<std::string> referrers(const oci::Digest& digest);
  // GET /v2/: whether the credentials are accepted.
  Result<> ping();

  // --- push ---
  // Tokens must allow writing from now on.
  void want_push();
  // A small blob in one request.
  Result<> upload_text(const oci::Digest& digest, std::string_view content);
  Result<bool> has_blob(const oci::Digest& digest);
  Result<bool> has_manifest(const oci::Digest& digest);
  // Tries to mount it from another repository of this registry. False: it has to be uploaded, and `location`
  // is where.
  Result<bool> mount_blob(const oci::Digest& digest, const std::string& from, std::string& location);
  // Uploads `size` bytes of `file`. `location` as mount_blob gave it, or empty.
  Result<> upload_blob(const oci::Digest& digest, int file, uint64_t size, std::string location,
                       const std::function<void(uint64_t)>& progress);
  Result<> put_manifest(const std::string& tag_or_digest, std::string_view json, std::string_view media_type);

  [[nodiscard]] uint64_t transferred() const { return transferred_; }

 private:
  Result<HttpResponse> send(HttpRequest request, const std::string& what);
  Result<HttpResponse> send_authorized(HttpRequest& request);
  [[nodiscard]] std::string url(const std::string& rest) const;
  Result<std::string> begin_upload(const std::string& query);
  Result<uint64_t> upload_offset(std::string& location);

  Registry& registry_;
  std::string repository_;
  std::string scope_;
  Http http_;
  uint64_t transferred_ = 0;
};

// "Bearer realm=\"...\",service=\"...\"" -> its parameters; for tests.
struct Challenge {
  std::string scheme;  // lower case
  std::vector<std::pair<std::string, std::string>> parameters;
  [[nodiscard]] std::string_view get(std::string_view name) const;
};
std::optional<Challenge> parse_challenge(std::string_view header);

}  // namespace onggi::transfer
