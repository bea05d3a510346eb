// process.json of exec, and the resources of update.
#include "fuzz.h"
#include "oci/check.h"
#include "oci/emit.h"
#include "oci/parse.h"

using namespace onggi;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (auto process = oci::parse_process(fuzz::text_of(data, size))) {
    std::vector<std::string> warnings;
    if (oci::check_process(*process, &warnings)) {
      fuzz::require(!process->args.empty() && process->cwd.starts_with('/'), "a good process can be started");
      fuzz::require(process->user.uid != UINT32_MAX && process->user.gid != UINT32_MAX, "ids are ids");
    }
    std::string once = oci::emit_process(*process);
    auto again = oci::parse_process(once);
    fuzz::require(again && oci::emit_process(*again) == once, "a process survives a round trip", once);
  }
  if (auto resources = oci::parse_resources(fuzz::text_of(data, size))) {
    std::string once = oci::emit_resources(*resources);
    auto again = oci::parse_resources(once);
    fuzz::require(again && oci::emit_resources(*again) == once, "resources survive a round trip", once);
  }
  return 0;
}
