// Commands that are not built yet say so.
#include "rtcli/command.h"

namespace onggi::rtcli {

Result<int> run_checkpoint(const Invocation&) { return fail(Error::unsupported("not built yet")); }
Result<int> run_restore(const Invocation&) { return fail(Error::unsupported("not built yet")); }

}  // namespace onggi::rtcli
