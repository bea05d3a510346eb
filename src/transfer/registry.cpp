#include "transfer/registry.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/file.h"
#include "base/json.h"
#include "base/sha256.h"
#include "oci/image_parse.h"

namespace onggi {

struct TokenAnswer {
  std::string token, access_token;
};
template <>
struct JsonFields<TokenAnswer> {
  using T = TokenAnswer;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::token>("token"), json_field<&T::access_token>("access_token")});
};
struct RegistryError {
  std::string code, message;
};
template <>
struct JsonFields<RegistryError> {
  using T = RegistryError;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::code>("code"), json_field<&T::message>("message")});
};
struct RegistryErrors {
  std::vector<RegistryError> errors;
};
template <>
struct JsonFields<RegistryErrors> {
  using T = RegistryErrors;
  static constexpr auto kTable = std::to_array<JsonRow>({json_field<&T::errors>("errors")});
};
struct TagList {
  std::vector<std::string> tags;
};
template <>
struct JsonFields<TagList> {
  using T = TagList;
  static constexpr auto kTable = std::to_array<JsonRow>({json_field<&T::tags>("tags")});
};

namespace transfer {

namespace {

constexpr int kAttempts = 6;
constexpr int kFirstPauseMs = 200, kLongestPauseMs = 10'000;
constexpr std::string_view kAcceptManifests =
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json";
// The default registry's names live at another host than its names say.
constexpr std::string_view kDefaultHost = "registry-1.docker.io";

void pause_before(int attempt, std::string_view retry_after) {
  int ms = std::min(kFirstPauseMs << attempt, kLongestPauseMs);
  if (auto seconds = parse_u64(retry_after, ""); seconds)
    ms = static_cast<int>(std::min<uint64_t>(*seconds, 30) * 1000);
  // Many hosts that were turned away at once should not come back at once.
  ms += static_cast<int>(static_cast<unsigned>(::getpid()) % 97);
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

bool worth_retrying(long status) { return status == 429 || status == 408 || status >= 500; }

// What the registry said went wrong (distribution-spec "Error Codes"), in one line.
std::string said(const HttpResponse& response) {
  std::string text = "HTTP " + std::to_string(response.status);
  auto parsed = json_parse<RegistryErrors>(response.body, "error");
  if (parsed && !parsed->errors.empty()) {
    const RegistryError& first = parsed->errors[0];
    text += " " + first.code.substr(0, 60);
    if (!first.message.empty()) text += ": " + first.message.substr(0, 300);
  }
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = ' ';  // it goes to a terminal
  return text;
}

Error answer_error(const HttpResponse& response, const std::string& what) {
  std::string text = what + ": the registry answered " + said(response);
  switch (response.status) {
    case 401:
    case 403:
      return {ErrorKind::kPermission, text + " (it may need 'onggi login', or the repository does not exist)",
              EACCES};
    case 404:
      return Error::not_found(std::move(text));
    case 429:
      return {ErrorKind::kBusy, text + " (too many requests; wait, or log in)", EAGAIN};
    default:
      return {ErrorKind::kOs, std::move(text), EIO};
  }
}

// --- certs.d (docker: certs.d(5); podman: containers-certs.d(5)) ---

Result<> read_certificate_directory(const std::string& directory, TlsOptions& tls) {
  DIR* raw = ::opendir(directory.c_str());
  if (!raw) return {};
  std::vector<std::string> names;
  while (dirent* e = ::readdir(raw)) names.emplace_back(e->d_name);
  ::closedir(raw);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    std::string path = directory + "/" + name;
    if (name.ends_with(".crt")) {
      tls.ca_pem += TRY(read_file(path, 4 << 20)) + "\n";
    } else if (name.ends_with(".cert") && tls.client_certificate.empty()) {
      std::string key = path.substr(0, path.size() - 5) + ".key";
      if (::access(key.c_str(), R_OK) < 0) return fail(Error::os("find the key of " + path + ",", key));
      tls.client_certificate = path;
      tls.client_key = key;
    }
  }
  return {};
}

Result<TlsOptions> tls_options(const Endpoint& endpoint, const std::string& host,
                               const std::string& ca_file) {
  TlsOptions tls;
  tls.skip_verify = endpoint.skip_verify;
  for (const char* root : {"/etc/containers/certs.d/", "/etc/docker/certs.d/"})
    TRY_VOID(read_certificate_directory(root + host, tls));
  if (!ca_file.empty()) tls.ca_pem += TRY_CTX(read_file(ca_file, 4 << 20), "--cacert");
  return tls;
}

}  // namespace

Result<std::vector<Endpoint>> endpoints_of(const std::string& registry,
                                           const std::vector<image::RegistryOptions>& options) {
  std::vector<Endpoint> endpoints;
  Endpoint origin;
  origin.registry = registry;
  // This machine's registries may speak plain HTTP: nobody can listen on the way.
  origin.plain_http = image::is_loopback_host(registry);
  for (const image::RegistryOptions& o : options) {
    if (o.host != registry) continue;
    origin.plain_http = origin.plain_http || o.plain_http;
    origin.skip_verify = o.skip_verify;
    if (o.plain_http) origin.base = "http://" + registry;
    for (const std::string& mirror : o.mirrors) {
      UrlParts parts = split_url(mirror);
      if ((parts.scheme != "http" && parts.scheme != "https") || parts.authority.empty())
        return fail(Error::invalid("mirror '" + mirror + "' of " + registry +
                                   ": expected http(s)://host[:port][/path]"));
      Endpoint e;
      e.registry = parts.authority;
      e.base = parts.scheme + "://" + parts.authority + (parts.path == "/" ? "" : parts.path);
      while (e.base.ends_with('/')) e.base.pop_back();
      e.is_mirror = true;
      e.plain_http = parts.scheme == "http";
      endpoints.push_back(std::move(e));
    }
  }
  endpoints.push_back(std::move(origin));
  return endpoints;
}

std::string_view Challenge::get(std::string_view name) const {
  for (const auto& [key, value] : parameters)
    if (key == name) return value;
  return {};
}

std::optional<Challenge> parse_challenge(std::string_view s) {
  Challenge c;
  size_t space = s.find(' ');
  c.scheme = s.substr(0, space);
  for (char& ch : c.scheme)
    if (ch >= 'A' && ch <= 'Z') ch = static_cast<char>(ch - 'A' + 'a');
  if (c.scheme.empty()) return std::nullopt;
  s.remove_prefix(space == std::string_view::npos ? s.size() : space);
  while (!(s = trim(s)).empty()) {
    if (s.front() == ',') {
      s.remove_prefix(1);
      continue;
    }
    size_t equals = s.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    std::string name(trim(s.substr(0, equals)));
    s.remove_prefix(equals + 1);
    std::string value;
    if (s.starts_with('"')) {
      size_t i = 1;
      for (; i < s.size() && s[i] != '"'; i++) {
        if (s[i] == '\\' && i + 1 < s.size()) i++;
        value += s[i];
      }
      if (i >= s.size()) return std::nullopt;
      s.remove_prefix(i + 1);
    } else {
      value = trim(s.substr(0, s.find(',')));
      s.remove_prefix(std::min(s.size(), s.find(',')));
    }
    c.parameters.emplace_back(std::move(name), std::move(value));
  }
  return c;
}

// --- Registry ---

Result<std::unique_ptr<Registry>> Registry::connect(const Endpoint& endpoint, const std::string& auth_file,
                                                    const std::string& ca_file) {
  std::optional<Credentials> found = TRY(find_credentials(endpoint.registry, auth_file));
  auto r = TRY(connect_as(endpoint, found.value_or(Credentials{}), ca_file));
  if (!found) r->credentials_.reset();
  return r;
}

Result<std::unique_ptr<Registry>> Registry::connect_as(const Endpoint& endpoint,
                                                       const Credentials& credentials,
                                                       const std::string& ca_file) {
  std::unique_ptr<Registry> r(new Registry);
  r->endpoint_ = endpoint;
  r->local_ = image::is_loopback_host(endpoint.registry);
  r->tls_ = TRY(tls_options(endpoint, endpoint.registry, ca_file));
  r->credentials_ = credentials;
  TRY_VOID(r->find_scheme(endpoint.plain_http));
  return r;
}

// GET /v2/ tells the scheme and how to log in (distribution-spec "Determining Support").
Result<> Registry::find_scheme(bool http_allowed) {
  Http http(tls_, local_);
  std::vector<std::string> candidates;
  if (!endpoint_.base.empty()) {
    candidates = {endpoint_.base};
  } else {
    std::string host(endpoint_.registry == image::kDefaultRegistry ? kDefaultHost
                                                                   : std::string_view(endpoint_.registry));
    candidates = {"https://" + host};
    if (http_allowed) candidates.push_back("http://" + host);
  }
  std::optional<Error> first_error;
  for (const std::string& base : candidates) {
    // Credentials over plain HTTP only where that was allowed: it is, or this candidate would not be here.
    for (int attempt = 0;; attempt++) {
      HttpRequest request;
      request.url = base + "/v2/";
      auto response = http.send(request);
      if (response && !worth_retrying(response->status)) {
        base_ = base;
        if (response->status == 401) return learn_challenge(*response);
        if (response->status / 100 == 2 || response->status == 403 || response->status == 404) return {};
        return fail(answer_error(*response, "connect to " + endpoint_.registry));
      }
      bool last = &base == &candidates.back();
      bool retry = response ? worth_retrying(response->status) : last && is_transient(response.error());
      if (retry && attempt + 1 < kAttempts - 2) {
        pause_before(attempt, response ? response->header("retry-after") : "");
        continue;
      }
      Error error = response ? answer_error(*response, "connect to " + endpoint_.registry)
                             : std::move(response).error();
      // A certificate that is not trusted is an answer: falling back to plain HTTP would throw the protection
      // away.
      if (error.kind() == ErrorKind::kPermission) return fail(std::move(error));
      if (!first_error) first_error = std::move(error);
      break;
    }
  }
  return fail(std::move(*first_error));
}

Result<> Registry::learn_challenge(const HttpResponse& response) {
  auto challenge = parse_challenge(response.header("www-authenticate"));
  if (!challenge)
    return fail(
        Error::invalid("connect to " + endpoint_.registry + ": it asks for a login without saying how"));
  if (challenge->scheme == "basic") {
    scheme_ = Scheme::kBasic;
    return {};
  }
  if (challenge->scheme != "bearer")
    return fail(Error::unsupported("connect to " + endpoint_.registry + ": it asks for the login scheme '" +
                                   challenge->scheme + "'; basic and bearer are supported"));
  scheme_ = Scheme::kBearer;
  realm_ = challenge->get("realm");
  service_ = challenge->get("service");
  UrlParts realm = split_url(realm_);
  // The realm gets the password: it must be as well protected as the registry itself.
  if (realm.scheme != "https" && !(realm.scheme == "http" && base_.starts_with("http://")))
    return fail(Error(ErrorKind::kPermission,
                      "connect to " + endpoint_.registry + ": its token service '" + realm_.substr(0, 200) +
                          "' is not https; refused",
                      EACCES));
  return {};
}

Result<std::string> Registry::fetch_token(Http& http, const std::string& scope) {
  HttpRequest request;
  request.foreign = split_url(realm_).authority != split_url(base_).authority;
  std::string query = "service=" + percent_encode(service_);
  // Several scopes are several parameters.
  for (size_t start = 0; start < scope.size();) {
    size_t end = std::min(scope.find(' ', start), scope.size());
    query += "&scope=" + percent_encode(std::string_view(scope).substr(start, end - start));
    start = end + 1;
  }
  if (credentials_ && !credentials_->identity_token.empty()) {
    request.method = "POST";
    request.url = realm_;
    request.headers.emplace_back("Content-Type", "application/x-www-form-urlencoded");
    request.body = "grant_type=refresh_token&client_id=onggi&refresh_token=" +
                   percent_encode(credentials_->identity_token) + "&" + query;
  } else {
    request.url = realm_ + (realm_.find('?') == std::string::npos ? "?" : "&") + query;
    if (credentials_ && !credentials_->username.empty()) {
      request.url += "&account=" + percent_encode(credentials_->username);
      request.authorization = "Basic " + base64_encode(credentials_->username + ":" + credentials_->password);
    }
  }
  HttpResponse response = TRY_CTX(http.send(request), "get a token for " + endpoint_.registry);
  if (response.status / 100 != 2)
    return fail(answer_error(response, "get a token for " + endpoint_.registry));
  TokenAnswer answer = TRY(json_parse<TokenAnswer>(response.body, "token of " + endpoint_.registry));
  std::string token = answer.token.empty() ? answer.access_token : answer.token;
  if (token.empty() || token.find_first_of("\r\n") != std::string::npos)
    return fail(Error::invalid("get a token for " + endpoint_.registry + ": the answer holds none"));
  return token;
}

Result<std::string> Registry::authorization(Http& http, const std::string& scope, bool renew) {
  std::lock_guard guard(mutex_);  // others wait for the token instead of asking, too
  if (scheme_ == Scheme::kNone) return std::string();
  if (scheme_ == Scheme::kBasic) {
    if (!credentials_ || credentials_->username.empty()) return std::string();
    return "Basic " + base64_encode(credentials_->username + ":" + credentials_->password);
  }
  auto known = std::find_if(tokens_.begin(), tokens_.end(), [&](const auto& t) { return t.first == scope; });
  if (known != tokens_.end() && !renew) return "Bearer " + known->second;
  std::string token = TRY(fetch_token(http, scope));
  if (known != tokens_.end())
    known->second = token;
  else
    tokens_.emplace_back(scope, token);
  return "Bearer " + token;
}

// --- Session ---

Session::Session(Registry& registry, std::string repository)
    : registry_(registry),
      repository_(std::move(repository)),
      scope_(repository_.empty() ? "" : "repository:" + repository_ + ":pull"),
      http_(registry.tls_, registry.local_) {}

std::string Session::url(const std::string& rest) const {
  return registry_.base_ + "/v2/" + repository_ + rest;
}

// One request with whatever login it takes; a token that has expired is renewed once.
Result<HttpResponse> Session::send_authorized(HttpRequest& request) {
  UrlParts target = split_url(request.url), home = split_url(registry_.base_);
  bool ours = target.authority == home.authority && target.scheme == home.scheme;
  off_t start = request.body_file >= 0 ? ::lseek(request.body_file, 0, SEEK_CUR) : 0;
  for (int round = 0;; round++) {
    request.authorization = ours ? TRY(registry_.authorization(http_, scope_, round > 0)) : std::string();
    HttpResponse response = TRY(http_.send(request));
    if (response.status != 401 || round > 0 || !ours) return response;
    {
      std::lock_guard guard(registry_.mutex_);
      // /v2/ may be open where repositories are not: the login is learnt here.
      if (registry_.scheme_ != Registry::Scheme::kBearer) {
        if (registry_.scheme_ == Registry::Scheme::kBasic) return response;
        TRY_VOID(registry_.learn_challenge(response));
      }
    }
    if (request.body_file >= 0 && ::lseek(request.body_file, start, SEEK_SET) < 0)
      return fail(Error::os("seek in the blob", ""));
  }
}

// With retries, for requests without a sink or a body from a file.
Result<HttpResponse> Session::send(HttpRequest request, const std::string& what) {
  for (int attempt = 0;; attempt++) {
    auto response = send_authorized(request);
    bool again = response ? worth_retrying(response->status) : is_transient(response.error());
    if (!again || attempt + 1 == kAttempts) {
      if (!response) return fail(std::move(response).error().wrap(what));
      transferred_ += response->body.size();
      return response;
    }
    pause_before(attempt, response ? response->header("retry-after") : "");
  }
}

Result<Session::Document> Session::manifest(const std::string& tag_or_digest) {
  std::string what =
      "get the manifest of " + registry_.endpoint_.registry + "/" + repository_ + " " + tag_or_digest;
  HttpRequest request;
  request.url = url("/manifests/" + tag_or_digest);
  request.headers.emplace_back("Accept", kAcceptManifests);
  request.max_body = oci::kMaxDocumentBytes;
  HttpResponse response = TRY(send(std::move(request), what));
  if (response.status != 200) return fail(answer_error(response, what));
  Document document;
  std::string_view type = response.header("content-type");
  document.media_type = trim(type.substr(0, type.find(';')));
  // A general type says nothing; the document's own mediaType decides then.
  if (!oci::is_manifest_type(document.media_type) && !oci::is_index_type(document.media_type))
    document.media_type.clear();
  document.json = std::move(response.body);
  document.digest = oci::Digest::sha256(sha256_hex(document.json));
  if (tag_or_digest.starts_with("sha256:") && document.digest.text() != tag_or_digest)
    return fail(
        Error::invalid(what + ": the registry sent a document with the digest " + document.digest.text()));
  return document;
}

Result<std::string> Session::small_blob(const oci::Descriptor& descriptor) {
  std::string what = "get the config " + descriptor.digest.text();
  if (descriptor.size > oci::kMaxDocumentBytes)
    return fail(Error::invalid(what + ": " + std::to_string(descriptor.size) + " bytes; at most " +
                               std::to_string(oci::kMaxDocumentBytes) + " are accepted"));
  HttpRequest request;
  request.url = url("/blobs/" + descriptor.digest.text());
  request.max_body = descriptor.size;
  HttpResponse response = TRY(send(std::move(request), what));
  if (response.status != 200) return fail(answer_error(response, what));
  if (response.body.size() != descriptor.size || sha256_hex(response.body) != descriptor.digest.hex())
    return fail(Error::invalid(what + ": the registry sent something else under this digest"));
  return std::move(response.body);
}

Result<> Session::blob(const oci::Descriptor& descriptor, uint64_t offset,
                       const std::function<Result<>(uint64_t)>& begin,
                       const std::function<Result<>(std::string_view)>& sink) {
  std::string what = "get the layer " + descriptor.digest.text().substr(0, 19);
  uint64_t at = offset;
  for (int attempt = 0;; attempt++) {
    HttpRequest request;
    uint64_t asked = at;
    request.url = url("/blobs/" + descriptor.digest.text());
    if (asked > 0) request.headers.emplace_back("Range", "bytes=" + std::to_string(asked) + "-");
    request.on_status = [&](long status) -> Result<> {
      if (status != 206) at = 0;
      return begin(at);
    };
    request.sink = [&](std::string_view data) -> Result<> {
      if (data.size() > descriptor.size - at)
        return fail(Error::invalid(what + ": the registry sends more than the " +
                                   std::to_string(descriptor.size) + " bytes that the manifest says"));
      at += data.size();
      transferred_ += data.size();
      return sink(data);
    };
    auto response = send_authorized(request);
    if (response && response->status / 100 == 2) {
      if (at == descriptor.size) return {};
      // A complete answer that is too short is no broken line. Without a length, nobody can tell.
      if (!response->header("content-length").empty() || attempt + 1 == kAttempts)
        return fail(Error::invalid(what + ": the registry sent " + std::to_string(at) + " of " +
                                   std::to_string(descriptor.size) + " bytes"));
    } else if (response && response->status == 416 && asked > 0) {
      at = 0;  // what was kept is longer than the blob: begin again
    } else if (response && !worth_retrying(response->status)) {
      return fail(answer_error(*response, what));
    } else if (!response && !is_transient(response.error())) {
      return fail(std::move(response).error().wrap(what));
    } else if (attempt + 1 >= kAttempts) {
      return fail(response ? answer_error(*response, what) : std::move(response).error().wrap(what));
    }
    // Progress earns new patience: a long download over a bad line may break many times.
    if (at > asked) attempt = 0;
    pause_before(attempt, response ? response->header("retry-after") : "");
  }
}

Result<std::vector<std::string>> Session::tags() {
  std::string what = "list the tags of " + registry_.endpoint_.registry + "/" + repository_;
  std::vector<std::string> all;
  std::string next = url("/tags/list");
  for (int page = 0; page < 100 && !next.empty(); page++) {
    HttpRequest request;
    request.url = next;
    HttpResponse response = TRY(send(std::move(request), what));
    if (response.status != 200) return fail(answer_error(response, what));
    TagList list = TRY(json_parse<TagList>(response.body, "tags"));
    all.insert(all.end(), list.tags.begin(), list.tags.end());
    // RFC 5988: </v2/name/tags/list?n=..&last=..>; rel="next"
    std::string_view link = response.header("link");
    size_t open = link.find('<'), close = link.find('>');
    next.clear();
    if (open != std::string_view::npos && close > open && link.find("next", close) != std::string_view::npos)
      next = resolve_url(response.url, link.substr(open + 1, close - open - 1));
  }
  return all;
}

Result<std::string> Session::referrers(const oci::Digest& digest) {
  std::string what = "list the referrers of " + digest.text();
  HttpRequest request;
  request.url = url("/referrers/" + digest.text());
  request.headers.emplace_back("Accept", oci::kMediaIndex);
  HttpResponse response = TRY(send(std::move(request), what));
  if (response.status == 404) {
    // The registry does not know the API: the tag sha256-HEX holds the list.
    HttpRequest fallback;
    fallback.url = url("/manifests/sha256-" + std::string(digest.hex()));
    fallback.headers.emplace_back("Accept", oci::kMediaIndex);
    response = TRY(send(std::move(fallback), what));
    if (response.status == 404)
      return R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]})";
  }
  if (response.status != 200) return fail(answer_error(response, what));
  TRY_CTX(oci::parse_index(response.body), what);
  return std::move(response.body);
}

Result<> Session::ping() {
  HttpRequest request;
  request.url = registry_.base_ + "/v2/";
  HttpResponse response = TRY(send(std::move(request), "log in to " + registry_.endpoint_.registry));
  if (response.status / 100 == 2) return {};
  return fail(answer_error(response, "log in to " + registry_.endpoint_.registry));
}

}  // namespace transfer
}  // namespace onggi
