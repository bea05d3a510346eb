// The worker's words to the engine: one TransferEvent a line, from any thread, progress at most ten times a
// second per layer.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <string>

#include "image/transfer_protocol.h"

namespace onggi::transfer {

class Progress {
 public:
  explicit Progress(int output) : output_(output) {}

  void layer(const oci::Digest& digest, const char* status, uint64_t current = 0, uint64_t total = 0);
  void note(std::string text);
  // The last line. Afterwards nothing more is written.
  void result(image::TransferEvent event);
  void error(const Error& error);

 private:
  void write(const image::TransferEvent& event);
  struct Last {
    std::string status;
    std::chrono::steady_clock::time_point when;
  };
  int output_;
  std::mutex mutex_;
  std::map<std::string, Last> last_;
  bool ended_ = false;
};

}  // namespace onggi::transfer
