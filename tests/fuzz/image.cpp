// Documents of images as a registry may send them, and references as people and documents write them. The
// first byte says what the rest is.
#include "base/time.h"
#include "fuzz.h"
#include "image/reference.h"
#include "oci/image_emit.h"
#include "oci/image_parse.h"

using namespace onggi;

namespace {

void digest_is_a_file_name(const oci::Digest& digest) {
  fuzz::require(digest.hex().size() == 64 &&
                    digest.hex().find_first_not_of("0123456789abcdef") == std::string_view::npos,
                "a digest is 64 hex digits", digest.text());
}

// What was accepted can be printed, and then means the same.
void manifest(std::string_view text) {
  auto m = oci::parse_manifest(text);
  if (!m) return;
  fuzz::require(!oci::parse_index(text), "no document is a manifest and an index", text);
  digest_is_a_file_name(m->config.digest);
  for (const oci::Descriptor& d : m->layers) digest_is_a_file_name(d.digest);
  std::string printed = oci::emit_manifest(*m);
  auto again = oci::parse_manifest(printed);
  fuzz::require(again.has_value(), "a printed manifest is a manifest", printed);
  fuzz::require(oci::emit_manifest(*again) == printed, "printing is stable", printed);
}

void index(std::string_view text) {
  auto i = oci::parse_index(text);
  if (!i) return;
  for (const oci::Descriptor& d : i->manifests) digest_is_a_file_name(d.digest);
  if (auto chosen = oci::select_platform(*i, oci::host_platform()))
    fuzz::require(*chosen >= i->manifests.data() && *chosen < i->manifests.data() + i->manifests.size(),
                  "the choice is one of the index");
  fuzz::require(oci::parse_index(oci::emit_index(*i)).has_value(), "a printed index is an index", text);
}

void config(std::string_view text) {
  auto c = oci::parse_image_config(text);
  if (!c) return;
  std::string printed = oci::emit_image_config(*c);
  auto again = oci::parse_image_config(printed);
  fuzz::require(again.has_value(), "a printed config is a config", printed);
  fuzz::require(oci::emit_image_config(*again) == printed, "printing is stable", printed);
  if (auto time = parse_rfc3339(c->created))
    if (time->seconds >= -62135596800 &&
        time->seconds < 253402300800)  // years 1 to 9999, which the format can say
      fuzz::require(parse_rfc3339(format_rfc3339(*time)).has_value(), "a printed time is a time", c->created);
}

void reference(std::string_view text) {
  auto r = image::Reference::parse(text);
  if (!r) return;
  for (const std::string& spelling : {r->canonical(), r->familiar()}) {
    auto again = image::Reference::parse(spelling);
    fuzz::require(again && *again == *r, "both spellings name the same", spelling);
  }
  // It becomes part of URLs.
  fuzz::require(r->canonical().find_first_of(" ?#%\\\"<>\n\r\t") == std::string::npos,
                "no character needs escaping", text);
  fuzz::require(r->repository.find("..") == std::string::npos, "no '..' in a repository", text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view text = fuzz::text_of(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      manifest(text);
      break;
    case 1:
      index(text);
      break;
    case 2:
      config(text);
      break;
    default:
      reference(text);
  }
  return 0;
}
