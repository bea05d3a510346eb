// onggi-runtime's side of checkpoint and restore: it becomes libexec/onggi/onggi-criu, with the same words.
//
// Becomes, not runs: the caller's process id, parent, descriptors and terminal then belong to the program
// that does the work, and a restored container in the foreground is its child.
#include <unistd.h>

#include "rtcli/command.h"
#include "runtime/helper_program.h"

namespace onggi::rtcli {

namespace {

Result<int> become_helper(const char* command) {
  std::string helper = TRY(runtime::find_helper("onggi-criu", command, ""));
  std::vector<char*> argv;
  for (const auto& word : command_line()) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execv(helper.c_str(), argv.data());
  return fail(Error::os("execute", helper));
}

}  // namespace

Result<int> run_checkpoint(const Invocation&) { return become_helper("checkpoint"); }
Result<int> run_restore(const Invocation&) { return become_helper("restore"); }

}  // namespace onggi::rtcli
