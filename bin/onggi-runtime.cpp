// onggi-runtime: the OCI runtime.
#include "rtcli/command.h"

int main(int argc, char** argv) { return onggi::rtcli::main(argc, argv, onggi::rtcli::commands()); }

// Called when something throws after all. The library's own version prints the exception's type, for which it
// brings a demangler and 60 kB into every static program; nothing here throws, so there is nothing to print.
namespace __gnu_cxx {
void __verbose_terminate_handler() { __builtin_trap(); }
}  // namespace __gnu_cxx
