// The writing half of Session (distribution-spec "Push").
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/file.h"
#include "transfer/registry.h"

namespace onggi::transfer {

namespace {

constexpr int kAttempts = 6;

void pause_before(int attempt) { std::this_thread::sleep_for(std::chrono::milliseconds(200 << attempt)); }

std::string with_query(const std::string& location, const std::string& query) {
  return location + (location.find('?') == std::string::npos ? "?" : "&") + query;
}

Error refused(const HttpResponse& response, const std::string& what) {
  ErrorKind kind = response.status == 401 || response.status == 403 ? ErrorKind::kPermission : ErrorKind::kOs;
  std::string text = what + ": the registry answered HTTP " + std::to_string(response.status);
  for (char c : response.body.substr(0, 300))
    text += static_cast<unsigned char>(c) < 32 || c == 127 ? ' ' : c;
  if (kind == ErrorKind::kPermission) text += " (it may need 'onggi login')";
  return {kind, std::move(text), kind == ErrorKind::kPermission ? EACCES : EIO};
}

}  // namespace

void Session::want_push() { scope_ = "repository:" + repository_ + ":pull,push"; }

Result<bool> Session::has_blob(const oci::Digest& digest) {
  HttpRequest request;
  request.method = "HEAD";
  request.url = url("/blobs/" + digest.text());
  HttpResponse response = TRY(send(std::move(request), "look for the blob " + digest.text()));
  if (response.status / 100 == 2) return true;
  if (response.status == 404) return false;
  return fail(refused(response, "look for the blob " + digest.text()));
}

Result<bool> Session::has_manifest(const oci::Digest& digest) {
  HttpRequest request;
  request.method = "HEAD";
  request.url = url("/manifests/" + digest.text());
  HttpResponse response = TRY(send(std::move(request), "look for the manifest " + digest.text()));
  return response.status / 100 == 2;
}

Result<std::string> Session::begin_upload(const std::string& query) {
  HttpRequest request;
  request.method = "POST";
  request.url = url("/blobs/uploads/" + query);
  HttpResponse response = TRY(send(std::move(request), "begin an upload to " + repository_));
  if (response.status == 201 && !query.empty()) return std::string();  // mounted
  if (response.status != 202) return fail(refused(response, "begin an upload to " + repository_));
  std::string location = resolve_url(response.url, response.header("location"));
  UrlParts parts = split_url(location);
  if (parts.scheme != "https" && !(parts.scheme == "http" && registry_.base_.starts_with("http://")))
    return fail(Error(ErrorKind::kPermission,
                      "begin an upload: refused: the registry sends it to '" + location.substr(0, 200) + "'",
                      EACCES));
  return location;
}

Result<bool> Session::mount_blob(const oci::Digest& digest, const std::string& from, std::string& location) {
  std::string scope = scope_;
  scope_ += " repository:" + from + ":pull";  // one token for both, as the registry checks both
  auto begun = begin_upload("?mount=" + percent_encode(digest.text()) + "&from=" + percent_encode(from));
  scope_ = scope;
  location = TRY(std::move(begun));
  return location.empty();
}

// How far an upload got (distribution-spec "Getting upload status"). The location may move.
Result<uint64_t> Session::upload_offset(std::string& location) {
  HttpRequest request;
  request.url = location;
  request.foreign = split_url(location).authority != split_url(registry_.base_).authority;
  HttpResponse response = TRY(send(std::move(request), "ask how far the upload got"));
  if (response.status != 204 && response.status != 202) return fail(refused(response, "continue the upload"));
  if (!response.header("location").empty()) location = resolve_url(location, response.header("location"));
  std::string_view range = response.header("range");  // "0-499"
  if (range.starts_with("bytes=")) range.remove_prefix(6);
  size_t dash = range.find('-');
  if (dash == std::string_view::npos) return 0;
  uint64_t last = TRY(parse_u64(range.substr(dash + 1), "the upload's range"));
  return last == 0 ? 0 : last + 1;  // "0-0" stands for nothing at the registries in use
}

// One PATCH with everything that is left, then a PUT that closes it: a break in between costs only what was
// not acknowledged.
Result<> Session::upload_blob(const oci::Digest& digest, int file, uint64_t size, std::string location,
                              const std::function<void(uint64_t)>& progress) {
  std::string what = "push the layer " + digest.text().substr(0, 19);
  if (location.empty()) location = TRY(begin_upload(""));
  uint64_t at = 0;
  for (int attempt = 0; at < size; attempt++) {
    HttpRequest request;
    request.method = "PATCH";
    request.url = location;
    request.foreign = split_url(location).authority != split_url(registry_.base_).authority;
    request.headers.emplace_back("Content-Type", "application/octet-stream");
    if (at > 0)
      request.headers.emplace_back("Content-Range", std::to_string(at) + "-" + std::to_string(size - 1));
    request.body_file = file;
    request.body_size = size - at;
    request.on_sent = [&](uint64_t sent) { progress(at + sent); };
    request.follow = false;
    if (::lseek(file, static_cast<off_t>(at), SEEK_SET) < 0) return fail(Error::os("seek in the blob", ""));
    auto response = send_authorized(request);
    if (response && response->status / 100 == 2) {
      location = resolve_url(location, response->header("location"));
      at = size;
      break;
    }
    bool again = response ? response->status >= 500 || response->status == 429 || response->status == 416
                          : is_transient(response.error());
    if (!again || attempt + 1 == kAttempts)
      return fail(response ? refused(*response, what) : std::move(response).error().wrap(what));
    pause_before(attempt);
    auto offset = upload_offset(location);
    if (offset && *offset <= size) {
      if (*offset > at) attempt = 0;
      at = *offset;
    } else {  // the registry has forgotten it
      location = TRY(begin_upload(""));
      at = 0;
    }
  }
  HttpRequest finish;
  finish.method = "PUT";
  finish.url = with_query(location, "digest=" + percent_encode(digest.text()));
  finish.foreign = split_url(location).authority != split_url(registry_.base_).authority;
  HttpResponse response = TRY(send(std::move(finish), what));
  if (response.status != 201 && response.status != 204) return fail(refused(response, what));
  return {};
}

Result<> Session::upload_text(const oci::Digest& digest, std::string_view content) {
  std::string location = TRY(begin_upload(""));
  HttpRequest request;
  request.method = "PUT";
  request.url = with_query(location, "digest=" + percent_encode(digest.text()));
  request.foreign = split_url(location).authority != split_url(registry_.base_).authority;
  request.headers.emplace_back("Content-Type", "application/octet-stream");
  request.body = content;
  HttpResponse response = TRY(send(std::move(request), "push the config"));
  if (response.status != 201 && response.status != 204) return fail(refused(response, "push the config"));
  return {};
}

Result<> Session::put_manifest(const std::string& tag_or_digest, std::string_view json,
                               std::string_view media_type) {
  std::string what = "push the manifest of " + repository_ + ":" + tag_or_digest;
  HttpRequest request;
  request.method = "PUT";
  request.url = url("/manifests/" + tag_or_digest);
  request.headers.emplace_back("Content-Type", media_type);
  request.body = json;
  HttpResponse response = TRY(send(std::move(request), what));
  if (response.status / 100 != 2) return fail(refused(response, what));
  return {};
}

}  // namespace onggi::transfer
