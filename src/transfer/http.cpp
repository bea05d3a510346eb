#include "transfer/http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/fd.h"
#include "base/file.h"

namespace onggi::transfer {

namespace {

constexpr int kMaxRedirects = 5;
constexpr long kConnectSeconds = 30;
// A peer that drips slower than this for so long has gone.
constexpr long kSlowBytes = 512, kSlowSeconds = 60;
constexpr size_t kMaxHeaders = 256;

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

bool forbidden_v4(uint32_t a, bool trusted_local) {
  if (a >> 16 == 0xa9fe) return true;  // 169.254/16: link-local, metadata services
  if (a >> 24 == 0 || a >> 28 == 0xe || a == 0xffffffff) return true;  // "this host", multicast, broadcast
  if (a == 0x646464c8) return true;  // 100.100.100.200: a cloud's metadata service
  return a >> 24 == 127 && !trusted_local;
}

bool forbidden_v6(const in6_addr& a, bool trusted_local) {
  if (IN6_IS_ADDR_V4MAPPED(&a) || IN6_IS_ADDR_V4COMPAT(&a)) {
    uint32_t v4;
    std::memcpy(&v4, a.s6_addr + 12, 4);
    if (IN6_IS_ADDR_LOOPBACK(&a)) return !trusted_local;
    return forbidden_v4(ntohl(v4), trusted_local);
  }
  if (IN6_IS_ADDR_LINKLOCAL(&a) || IN6_IS_ADDR_MULTICAST(&a) || IN6_IS_ADDR_UNSPECIFIED(&a)) return true;
  static constexpr uint8_t kMetadata[16] = {0xfd, 0x00, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54};
  if (std::memcmp(a.s6_addr, kMetadata, 16) == 0) return true;
  return IN6_IS_ADDR_LOOPBACK(&a) && !trusted_local;
}

bool forbidden(const sockaddr* address, bool trusted_local) {
  if (address->sa_family == AF_INET)
    return forbidden_v4(ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr), trusted_local);
  if (address->sa_family == AF_INET6)
    return forbidden_v6(reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, trusted_local);
  return true;  // nothing else carries HTTP
}

// One hop of one request.
struct Hop {
  const HttpRequest& request;
  HttpResponse response;
  std::optional<Error> error;
  bool judged = false;  // the target was named by a peer
  bool trusted_local = false;
  bool refused = false;  // by address
  bool status_told = false;
  uint64_t sent = 0;
  CURL* curl = nullptr;
};

size_t on_header(char* data, size_t, size_t n, void* user) {
  auto& hop = *static_cast<Hop*>(user);
  std::string_view line = trim(std::string_view(data, n));
  if (line.starts_with("HTTP/")) {  // also after a 100-continue: begin anew
    hop.response.headers.clear();
    return n;
  }
  size_t colon = line.find(':');
  if (colon != std::string_view::npos && hop.response.headers.size() < kMaxHeaders)
    hop.response.headers.emplace_back(lower(line.substr(0, colon)),
                                      std::string(trim(line.substr(colon + 1))));
  return n;
}

size_t on_body(char* data, size_t, size_t n, void* user) {
  auto& hop = *static_cast<Hop*>(user);
  long status = 0;
  curl_easy_getinfo(hop.curl, CURLINFO_RESPONSE_CODE, &status);
  auto keep = [&hop](Result<> r) {
    if (!r) hop.error = std::move(r).error();
    return r.has_value();
  };
  if (hop.request.sink && status / 100 == 2) {
    if (!hop.status_told && hop.request.on_status && !keep(hop.request.on_status(status))) return 0;
    hop.status_told = true;
    return keep(hop.request.sink(std::string_view(data, n))) ? n : 0;
  }
  if (hop.response.body.size() + n > hop.request.max_body) {
    // An error page may be cut; a document may not.
    if (status / 100 != 2) return n;
    hop.error =
        Error::invalid("the answer is larger than " + std::to_string(hop.request.max_body) + " bytes");
    return 0;
  }
  hop.response.body.append(data, n);
  return n;
}

size_t on_read(char* buffer, size_t, size_t n, void* user) {
  auto& hop = *static_cast<Hop*>(user);
  size_t left = static_cast<size_t>(std::min<uint64_t>(n, hop.request.body_size - hop.sent));
  if (left == 0) return 0;
  ssize_t got = ::read(hop.request.body_file, buffer, left);
  if (got <= 0) {
    hop.error = got < 0 ? Error::os("read the blob", "")
                        : Error::internal("the blob's file is shorter than recorded");
    return CURL_READFUNC_ABORT;
  }
  hop.sent += static_cast<uint64_t>(got);
  if (hop.request.on_sent) hop.request.on_sent(hop.sent);
  return static_cast<size_t>(got);
}

curl_socket_t on_socket(void* user, curlsocktype, curl_sockaddr* address) {
  auto& hop = *static_cast<Hop*>(user);
  if (hop.judged && forbidden(&address->addr, hop.trusted_local)) {
    hop.refused = true;
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

Error curl_error(CURLcode code, const char* detail, const std::string& url) {
  std::string text = "connect to " + split_url(url).authority + ": ";
  text += *detail ? detail : curl_easy_strerror(code);
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
      return {ErrorKind::kPermission,
              text + " (put the registry's CA into /etc/docker/certs.d/" + split_url(url).authority +
                  "/ca.crt, or give --cacert)",
              EACCES};
    case CURLE_SSL_CONNECT_ERROR:
      return {ErrorKind::kOs, std::move(text), EPROTO};
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return {ErrorKind::kOs, std::move(text), EHOSTUNREACH};
    case CURLE_COULDNT_CONNECT:
      return {ErrorKind::kOs, std::move(text), ECONNREFUSED};
    case CURLE_OPERATION_TIMEDOUT:
      return {ErrorKind::kOs, std::move(text), ETIMEDOUT};
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_SEND_FAIL_REWIND:  // a kept connection had died; the body's sender begins anew
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return {ErrorKind::kOs, std::move(text), ECONNRESET};
    default:
      return {ErrorKind::kOs, std::move(text), EIO};
  }
}

}  // namespace

bool is_transient(const Error& error) {
  switch (error.os_errno()) {
    case ECONNRESET:
    case ETIMEDOUT:
    case ECONNREFUSED:
    case EHOSTUNREACH:
      return error.kind() == ErrorKind::kOs;
    default:
      return false;
  }
}

bool is_forbidden_address(std::string_view text, bool trusted_local) {
  std::string address(text);
  in_addr v4;
  in6_addr v6;
  if (::inet_pton(AF_INET, address.c_str(), &v4) == 1) return forbidden_v4(ntohl(v4.s_addr), trusted_local);
  if (::inet_pton(AF_INET6, address.c_str(), &v6) == 1) return forbidden_v6(v6, trusted_local);
  return true;
}

std::string_view HttpResponse::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

UrlParts split_url(std::string_view url) {
  UrlParts parts;
  size_t colon = url.find("://");
  if (colon == std::string_view::npos) return parts;
  parts.scheme = lower(url.substr(0, colon));
  url.remove_prefix(colon + 3);
  size_t slash = url.find_first_of("/?#");
  parts.authority = url.substr(0, slash);
  // Whatever stands before an @ is no part of the host.
  if (size_t at = parts.authority.rfind('@'); at != std::string::npos) parts.authority.erase(0, at + 1);
  parts.path = slash == std::string_view::npos ? "/" : std::string(url.substr(slash));
  return parts;
}

std::string resolve_url(std::string_view base, std::string_view location) {
  if (location.empty()) return {};
  UrlParts from = split_url(base);
  if (location.find("://") != std::string_view::npos && location.find("://") < location.find_first_of("/?#"))
    return std::string(location);
  if (location.starts_with("//")) return from.scheme + ":" + std::string(location);
  if (location.starts_with("/")) return from.scheme + "://" + from.authority + std::string(location);
  size_t colon = location.find(':');
  if (colon < location.find_first_of("/?#"))
    return std::string(location);  // another scheme: judged by the caller
  std::string path = from.path.substr(0, from.path.find_first_of("?#"));
  return from.scheme + "://" + from.authority + path.substr(0, path.rfind('/') + 1) + std::string(location);
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                 c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
      continue;
    }
    out += '%';
    out += "0123456789ABCDEF"[static_cast<unsigned char>(c) >> 4];
    out += "0123456789ABCDEF"[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

struct Http::State {
  TlsOptions tls;
  bool trusted_local;
  CURL* curl = nullptr;
  ~State() {
    if (curl) curl_easy_cleanup(curl);
  }
};

Http::Http(TlsOptions tls, bool trusted_local)
    : state_(std::make_unique<State>(State{std::move(tls), trusted_local})) {}
Http::~Http() = default;
Http::Http(Http&&) noexcept = default;

namespace {

void set_basics(CURL* c, const TlsOptions& tls, Hop& hop, const std::string& url, char* detail) {
  curl_easy_setopt(c, CURLOPT_URL, url.c_str());
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_USERAGENT, "onggi/" ONGGI_VERSION);
  curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, kSlowBytes);
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, kSlowSeconds);
  curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(c, CURLOPT_HEADERDATA, &hop);
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, &hop);
  curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
  curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, &hop);
  // A kept connection was judged when it was made, for a hop that may have been trusted more.
  if (hop.judged) curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
  if (tls.skip_verify) {
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  if (!tls.ca_pem.empty()) {
    // The blob takes the place of the bundle file; the directory keeps the system's authorities.
    curl_blob blob = {const_cast<char*>(tls.ca_pem.data()), tls.ca_pem.size(), CURL_BLOB_NOCOPY};
    curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob);
    curl_easy_setopt(c, CURLOPT_CAPATH, "/etc/ssl/certs");
  }
  if (!tls.client_certificate.empty()) {
    curl_easy_setopt(c, CURLOPT_SSLCERT, tls.client_certificate.c_str());
    curl_easy_setopt(c, CURLOPT_SSLKEY, tls.client_key.c_str());
  }
}

void set_method(CURL* c, const HttpRequest& request, Hop& hop, const std::string& method) {
  if (method == "HEAD") {
    curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
  } else if (request.body_file >= 0) {
    curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method.c_str());
    curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(c, CURLOPT_READDATA, &hop);
    curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body_size));
    curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 512L << 10);
  } else if (method != "GET") {
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method.c_str());
    if (method != "DELETE") {
      curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(c, CURLOPT_POSTFIELDS, request.body.c_str());
    }
  }
}

Result<HttpResponse> one_hop(CURL* c, const TlsOptions& tls, Hop& hop, const std::string& url,
                             bool same_host) {
  curl_easy_reset(c);
  hop.curl = c;
  char detail[CURL_ERROR_SIZE] = "";
  set_basics(c, tls, hop, url, detail);
  set_method(c, hop.request, hop, hop.request.method);
  curl_slist* list = nullptr;
  auto add = [&list](const std::string& line) { list = curl_slist_append(list, line.c_str()); };
  for (const auto& [name, value] : hop.request.headers) add(name + ": " + value);
  if (same_host && !hop.request.authorization.empty()) add("Authorization: " + hop.request.authorization);
  add("Expect:");  // no round trip before a body
  curl_easy_setopt(c, CURLOPT_HTTPHEADER, list);
  CURLcode code = curl_easy_perform(c);
  curl_slist_free_all(list);
  if (hop.error) return fail(std::move(*hop.error));
  if (hop.refused)
    return fail(Error(ErrorKind::kPermission,
                      "refused: the registry sends to " + split_url(url).authority +
                          ", an address of this machine or its link (see docs/images.md)",
                      EACCES));
  if (code != CURLE_OK) return fail(curl_error(code, detail, url));
  curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &hop.response.status);
  hop.response.url = url;
  // An empty body never reached on_body.
  if (hop.request.on_status && !hop.status_told && hop.response.status / 100 == 2)
    TRY_VOID(hop.request.on_status(hop.response.status));
  return std::move(hop.response);
}

// What a peer may name as the next target.
Result<> judge_target(const std::string& from, const std::string& to) {
  UrlParts a = split_url(from), b = split_url(to);
  if (b.scheme != "http" && b.scheme != "https")
    return fail(
        Error(ErrorKind::kPermission,
              "refused: the registry redirects to '" + to.substr(0, 200) + "', which is not http or https",
              EACCES));
  if (a.scheme == "https" && b.scheme == "http")
    return fail(Error(ErrorKind::kPermission,
                      "refused: the registry redirects from https to plain http (" + b.authority + ")",
                      EACCES));
  return {};
}

}  // namespace

Result<HttpResponse> Http::send(const HttpRequest& request) {
  if (!state_->curl) state_->curl = curl_easy_init();
  if (!state_->curl) return fail(Error::internal("libcurl could not be set up"));
  std::string url = request.url;
  UrlParts first = split_url(url);
  if (first.scheme != "http" && first.scheme != "https")
    return fail(
        Error(ErrorKind::kPermission, "refused: '" + url.substr(0, 200) + "' is not http or https", EACCES));
  bool same_host = true;
  for (int redirects = 0;; redirects++) {
    Hop hop{request};
    hop.judged = request.foreign || redirects > 0;
    hop.trusted_local = state_->trusted_local;
    HttpResponse response = TRY(one_hop(state_->curl, state_->tls, hop, url, same_host));
    std::string_view location = response.header("location");
    bool redirect = response.status == 301 || response.status == 302 || response.status == 303 ||
                    response.status == 307 || response.status == 308;
    if (!redirect || !request.follow || location.empty()) return response;
    if (request.method != "GET" && request.method != "HEAD") return response;
    if (redirects == kMaxRedirects)
      return fail(
          Error::invalid("the registry redirects more than " + std::to_string(kMaxRedirects) + " times"));
    std::string next = resolve_url(url, location);
    TRY_VOID(judge_target(url, next));
    if (split_url(next).authority != first.authority || split_url(next).scheme != first.scheme)
      same_host = false;
    url = std::move(next);
  }
}

}  // namespace onggi::transfer
