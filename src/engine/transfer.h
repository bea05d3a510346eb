// Executing libexec/onggi/onggi-transfer: pull, push, load, save and what else needs TLS, inflate and
// archives.
#pragma once

#include <functional>

#include "base/fd.h"
#include "engine/engine.h"
#include "image/transfer_protocol.h"

namespace onggi::engine {

// Runs one request to its end and hands over each event; the last one ("result") is returned, an "error" is
// the Error. `stream`: descriptor 3 of the worker, for path "-"; -1: none. Dies with this process.
Result<image::TransferEvent> run_transfer(Engine& engine, image::TransferRequest request,
                                          const std::function<void(const image::TransferEvent&)>& each,
                                          int stream = -1);

}  // namespace onggi::engine
