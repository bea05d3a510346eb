// onggi-transfer: the worker that moves images; see src/transfer/worker.h.
#include "transfer/worker.h"

int main(int argc, char** argv) { return onggi::transfer::worker_main(argc, argv); }
