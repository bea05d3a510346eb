// HTTP for registries: one request at a time on one connection that is kept, with the rules that a registry's
// word is held to.
//
// Redirects are followed here and not by libcurl, so that each hop is judged: only http and https, never from
// https to http, never to an address that only this machine or its link can mean (link-local, metadata
// services, loopback - unless the registry itself is there), and without the credentials when the host
// changes. The addresses are those that are really connected to, so a name that resolves to a forbidden one
// does not help.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace onggi::transfer {

struct TlsOptions {
  std::string ca_pem;                          // further certificate authorities, beside the system's
  std::string client_certificate, client_key;  // files
  bool skip_verify = false;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string authorization;  // value of that header; sent to the first host only
  std::string body;           // of POST, PUT, PATCH, unless body_file
  int body_file = -1;         // borrowed: body_size bytes from its offset
  uint64_t body_size = 0;
  size_t max_body = 4u << 20;  // of a response that is kept
  // For a 2xx answer: gets the body instead of HttpResponse::body. An error ends the transfer and is
  // returned.
  std::function<Result<>(std::string_view)> sink;
  // Called once before the sink, with the status.
  std::function<Result<>(long status)> on_status;
  std::function<void(uint64_t sent)> on_sent;
  bool follow = true;
  // The request's own target was named by the registry (a token realm, an upload's location), not by the
  // user: it is judged like a redirect.
  bool foreign = false;
};

struct HttpResponse {
  long status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  std::string url;  // of the last hop
  [[nodiscard]] std::string_view header(std::string_view name) const;
};

class Http {
 public:
  // `trusted_local`: the registry itself is on this machine, so its redirects may stay here.
  Http(TlsOptions tls, bool trusted_local);
  ~Http();
  Http(Http&&) noexcept;
  Http& operator=(Http&&) = delete;

  // Failures of the network are kOs with ECONNRESET, ETIMEDOUT, ... (worth another attempt, see is_transient)
  // or kPermission for a certificate that is not trusted.
  Result<HttpResponse> send(const HttpRequest& request);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Whether another attempt may succeed where this error came up.
bool is_transient(const Error& error);

// For tests: whether an address (textual, IPv4 or IPv6) may be the target of a redirect.
bool is_forbidden_address(std::string_view address, bool trusted_local);

// RFC 3986: resolves a Location against the URL it came from. Empty when it is neither.
std::string resolve_url(std::string_view base, std::string_view location);
// "https://host:443/x" -> "https", "host:443".
struct UrlParts {
  std::string scheme, authority, path;
};
UrlParts split_url(std::string_view url);
std::string percent_encode(std::string_view text);

}  // namespace onggi::transfer
