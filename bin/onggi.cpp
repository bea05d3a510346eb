// onggi: the engine and its command line. Nothing but main().
#include "cli/command.h"

int main(int argc, char** argv) { return onggi::cli::main(argc, argv); }
