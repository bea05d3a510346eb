// Compose files as anybody may write them: text -> project -> text -> the same project. Includes and extends
// may name the file itself.
#include "fuzz.h"
#include "stack/emit.h"
#include "stack/identity.h"
#include "stack/load.h"

using namespace onggi;

namespace {

Result<stack::Project> load(std::string_view text) {
  stack::LoadRequest request;
  request.current_directory = "/work";
  request.files = {"/work/compose.yaml"};
  request.profiles = {"*"};
  request.environment = {{"HOME", "/root"}, {"SET", "value"}, {"EMPTY", ""}};
  request.read = [text](const std::string& path) -> Result<std::string> {
    if (path.ends_with(".yaml")) return std::string(text);
    if (path.ends_with(".env")) return std::string("A=1\nB=\"${SET} x\"\nC\n");
    return fail(Error::os("open", path, ENOENT));
  };
  return stack::load(request);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kMost = 1 << 16;
  if (size > kMost) return 0;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto project = load(text);
  if (!project) {
    fuzz::require(!project.error().text().empty(), "an error has words", text);
    return 0;
  }
  for (const auto& name : project->service_names())
    (void)stack::service_hash(*project, *project->service(name));
  std::string printed = stack::to_yaml(project->root, {.escape_dollars = true});
  auto again = load(printed);
  fuzz::require(again.has_value(), "what config prints is a Compose file", printed);
  fuzz::require(stack::to_canonical_json(again->root) == stack::to_canonical_json(project->root),
                "it means the same", printed);
  return 0;
}
