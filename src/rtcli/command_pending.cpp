// Commands that are not built yet say so.
#include <unistd.h>

#include "rtcli/command.h"

namespace onggi::rtcli {

namespace {

// Says what is missing: the tool, or this part of the runtime.
Result<int> without_criu(const char* what) {
  bool installed = false;
  for (const char* path : {"/usr/sbin/criu", "/usr/local/sbin/criu", "/usr/bin/criu", "/usr/local/bin/criu"})
    installed |= ::access(path, X_OK) == 0;
  std::string text = std::string(what) + " by CRIU is not built into this version of onggi-runtime";
  if (!installed) text += ", and criu is not installed on this host";
  return fail(Error::unsupported(text + "; the container is as it was"));
}

}  // namespace

Result<int> run_checkpoint(const Invocation&) { return without_criu("checkpoint"); }
Result<int> run_restore(const Invocation&) { return without_criu("restore"); }

}  // namespace onggi::rtcli
