#include "image/reference.h"

#include <algorithm>

#include "base/file.h"

namespace onggi::image {

namespace {

constexpr size_t kMaxName = 255;  // distribution-spec "Pulling manifests"
constexpr size_t kMaxTag = 128;

bool lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool alnum(char c) { return lower_alnum(c) || (c >= 'A' && c <= 'Z'); }

Error bad(std::string_view text, std::string_view reason) {
  return Error::invalid("image reference '" + std::string(text.substr(0, 300)) + "': " + std::string(reason));
}

// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* (distribution-spec).
bool valid_component(std::string_view s) {
  if (s.empty() || !lower_alnum(s.front()) || !lower_alnum(s.back())) return false;
  for (size_t i = 0; i < s.size();) {
    if (lower_alnum(s[i])) {
      i++;
      continue;
    }
    size_t end = i;
    while (end < s.size() && !lower_alnum(s[end])) end++;
    std::string_view separator = s.substr(i, end - i);
    bool dashes = separator.find_first_not_of('-') == std::string_view::npos;
    if (!dashes && separator != "." && separator != "_" && separator != "__") return false;
    i = end;
  }
  return true;
}

bool valid_port(std::string_view s) {
  auto port = parse_u64(s, "port");
  return port && *port > 0 && *port < 65536;
}

// A host name, IPv4 address or [IPv6 address], with an optional port.
bool valid_registry(std::string_view s) {
  if (s.starts_with('[')) {
    size_t end = s.find(']');
    if (end == std::string_view::npos || end < 3) return false;
    for (char c : s.substr(1, end - 1))
      if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F') && c != ':' &&
          c != '.')
        return false;
    s.remove_prefix(end + 1);
    return s.empty() || (s.front() == ':' && valid_port(s.substr(1)));
  }
  size_t colon = s.find(':');
  if (colon != std::string_view::npos) {
    if (!valid_port(s.substr(colon + 1))) return false;
    s = s.substr(0, colon);
  }
  if (s.empty() || s.size() > 253) return false;
  for (size_t start = 0; start <= s.size();) {
    size_t dot = std::min(s.find('.', start), s.size());
    std::string_view label = s.substr(start, dot - start);
    if (label.empty() || !alnum(label.front()) || !alnum(label.back())) return false;
    for (char c : label)
      if (!alnum(c) && c != '-') return false;
    start = dot + 1;
  }
  return true;
}

bool valid_tag(std::string_view s) {
  if (s.empty() || s.size() > kMaxTag || s.front() == '.' || s.front() == '-') return false;
  return std::all_of(s.begin(), s.end(), [](char c) { return alnum(c) || c == '_' || c == '.' || c == '-'; });
}

// Docker's rule for whether the first part is a host.
bool looks_like_host(std::string_view s) {
  return s == "localhost" || s.find_first_of(".:[") != std::string_view::npos ||
         std::any_of(s.begin(), s.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

Result<> check_repository(std::string_view text, std::string_view repository, size_t registry_size) {
  if (repository.empty()) return fail(bad(text, "the repository's name is missing"));
  if (registry_size + 1 + repository.size() > kMaxName)
    return fail(bad(text, "longer than 255 characters without its tag"));
  for (size_t start = 0; start <= repository.size();) {
    size_t slash = std::min(repository.find('/', start), repository.size());
    std::string_view part = repository.substr(start, slash - start);
    if (!valid_component(part)) {
      bool upper = std::any_of(part.begin(), part.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
      return fail(bad(text, upper ? "repository names are lower-case"
                                  : "'" + std::string(part) +
                                        "' is no part of a repository's name (lower-case letters and digits, "
                                        "joined by '.', '_', '__' or '-')"));
    }
    start = slash + 1;
  }
  return {};
}

}  // namespace

Result<Reference> Reference::parse_untagged(std::string_view text) {
  Reference ref;
  std::string_view rest = text;
  if (text.empty()) return fail(bad(text, "empty"));
  if (rest.size() == 64 && rest.find_first_not_of("0123456789abcdef") == std::string_view::npos)
    return fail(bad(text, "64 hex digits are an image id, not a name"));
  if (size_t at = rest.find('@'); at != std::string_view::npos) {
    auto digest = oci::Digest::parse(rest.substr(at + 1));
    if (!digest) return fail(bad(text, digest.error().text()));
    ref.digest = *std::move(digest);
    rest = rest.substr(0, at);
  }
  // A colon behind the last slash begins the tag; one before it belongs to a registry's port.
  size_t slash = rest.rfind('/');
  size_t colon = rest.find(':', slash == std::string_view::npos ? 0 : slash);
  if (colon != std::string_view::npos) {
    ref.tag = rest.substr(colon + 1);
    if (!valid_tag(ref.tag))
      return fail(bad(text, "the tag '" + ref.tag.substr(0, 140) +
                                "' is not valid (letters, digits, '_', '.', '-'; at most 128; not beginning "
                                "with '.' or '-')"));
    rest = rest.substr(0, colon);
  }
  size_t first = rest.find('/');
  if (first != std::string_view::npos && looks_like_host(rest.substr(0, first))) {
    ref.registry = rest.substr(0, first);
    ref.repository = rest.substr(first + 1);
    if (!valid_registry(ref.registry))
      return fail(bad(text, "'" + ref.registry + "' is no host name with an optional port"));
    if (ref.registry == "index.docker.io") ref.registry = kDefaultRegistry;
  } else {
    ref.registry = kDefaultRegistry;
    ref.repository = rest;
  }
  if (ref.registry == kDefaultRegistry && !ref.repository.empty() &&
      ref.repository.find('/') == std::string::npos)
    ref.repository = "library/" + ref.repository;
  TRY_VOID(check_repository(text, ref.repository, ref.registry.size()));
  return ref;
}

Result<Reference> Reference::parse(std::string_view text) {
  Reference ref = TRY(parse_untagged(text));
  if (ref.tag.empty() && ref.digest.empty()) ref.tag = kDefaultTag;
  return ref;
}

static std::string with_tag(std::string s, const Reference& ref) {
  if (!ref.tag.empty()) s += ":" + ref.tag;
  if (!ref.digest.empty()) s += "@" + ref.digest.text();
  return s;
}

std::string Reference::canonical() const { return with_tag(name(), *this); }
std::string Reference::familiar() const { return with_tag(familiar_name(), *this); }

std::string Reference::familiar_name() const {
  if (registry != kDefaultRegistry) return name();
  constexpr std::string_view kLibrary = "library/";
  std::string_view shown = repository;
  // docker.io/example.org/x, without its registry, would be another one's.
  size_t slash = shown.find('/');
  if (slash != std::string_view::npos && looks_like_host(shown.substr(0, slash))) return name();
  if (shown.starts_with(kLibrary) && shown.find('/', kLibrary.size()) == std::string_view::npos)
    shown.remove_prefix(kLibrary.size());
  return std::string(shown);
}

bool Reference::is_loopback() const { return is_loopback_host(registry); }

bool is_loopback_host(std::string_view host) {
  if (host.starts_with('[')) {
    std::string_view address = host.substr(1, host.find(']') - 1);
    return address == "::1" || address == "0:0:0:0:0:0:0:1";
  }
  host = host.substr(0, host.find(':'));
  if (host == "localhost" || host.ends_with(".localhost")) return true;
  // Four decimal numbers, the first 127: a name such as 127.0.0.1.example.org is not this machine.
  int numbers = 0;
  for (std::string_view rest = host;;) {
    size_t dot = rest.find('.');
    auto number = parse_u64(rest.substr(0, dot), "address");
    if (!number || *number > 255 || (numbers == 0 && *number != 127)) return false;
    numbers++;
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  return numbers == 4;
}

}  // namespace onggi::image
