// onggi-criu: checkpoint and restore. onggi-runtime becomes this program for these two commands, so that the
// program that every start reads stays small.
//
//   onggi-criu [OPTION...] checkpoint|restore ...           as onggi-runtime
#include "rtcli/command.h"

int main(int argc, char** argv) { return onggi::rtcli::main(argc, argv, onggi::rtcli::criu_commands()); }

// As in onggi-runtime.cpp: nothing throws, so there is nothing to print.
namespace __gnu_cxx {
void __verbose_terminate_handler() { __builtin_trap(); }
}  // namespace __gnu_cxx
