// onggi-runtime: the OCI runtime.
#include "rtcli/command.h"

int main(int argc, char** argv) { return onggi::rtcli::main(argc, argv); }
