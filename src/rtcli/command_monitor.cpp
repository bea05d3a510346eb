// monitor.
#include "base/file.h"
#include "rtcli/command.h"
#include "runtime/monitor.h"

namespace onggi::rtcli {

Result<int> run_monitor(const Invocation& i) {
  auto text = i.args.find("control-fd");
  if (!text) return fail(Error::invalid("monitor: --control-fd is required"));
  uint64_t fd = TRY(parse_u64(*text, "option --control-fd"));
  if (fd > 1 << 20) return fail(Error::invalid("option --control-fd: " + *text + " is no descriptor"));
  TRY_VOID(runtime::run_monitor(i.context, static_cast<int>(fd)));
  return 0;
}

}  // namespace onggi::rtcli
