// main() of onggi-transfer: one TransferRequest in, TransferEvents out (image/transfer_protocol.h).
#pragma once

namespace onggi::transfer {

int worker_main(int argc, char** argv);

}  // namespace onggi::transfer
