// Templates of --format: whatever the text is, rendering it ends, bounded, with text or an error.
// The input is the template; a fixed document has every kind of value.
#include "cli/template.h"

#include "fuzz.h"

namespace {
constexpr std::string_view kDocument = R"({
  "ID": "0123456789abcdef", "Pid": 42, "Ratio": 1.5, "Big": 1e300, "On": true, "Null": null, "Names": ["a", "b"],
  "Labels": {"x.y": "1", "b": "2"}, "Deep": {"A": [{"B": [[1, 2], [3]]}]}, "Text": "\u00e9\u4e2d"})";
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Steps are bounded by the program itself; nested ranges over a small document stay cheap for short texts.
  if (size > 512) return 0;
  static auto document = onggi::JsonDocument::parse(kDocument, "document");
  auto out = onggi::cli::render_template({reinterpret_cast<const char*>(data), size}, document->root());
  if (!out && out.error().text().find("template") == std::string::npos) __builtin_trap();
  return 0;
}
