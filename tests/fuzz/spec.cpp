// config.json: any bytes give a Spec or an error; what was read, printed and read again is the same; judging
// it never fails badly.
#include "fuzz.h"
#include "oci/check.h"
#include "oci/emit.h"
#include "oci/parse.h"

using namespace onggi;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto spec = oci::parse_spec(fuzz::text_of(data, size));
  if (!spec) {
    fuzz::require(spec.error().text().starts_with("config.json: "), "errors name the document",
                  spec.error().text());
    return 0;
  }
  std::vector<std::string> warnings;
  auto judged = oci::check_spec(*spec, &warnings);
  if (!judged) fuzz::require(judged.error().kind() == ErrorKind::kInvalid, "a broken rule is invalid input");
  std::string once = oci::emit_spec(*spec);
  auto again = oci::parse_spec(once);
  fuzz::require(again.has_value(), "what is printed can be read", again ? "" : again.error().text());
  fuzz::require(oci::emit_spec(*again) == once, "a round trip changes nothing", once);
  return 0;
}
