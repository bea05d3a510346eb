// onggi-unpack: see src/transfer/unpack.h.
#include "transfer/unpack.h"

int main(int argc, char** argv) { return onggi::transfer::unpack_main(argc, argv); }
