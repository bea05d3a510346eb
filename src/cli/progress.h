// Progress of a transfer on a terminal: a line per layer that is rewritten in place; in a pipe, one line per
// layer when it is done; quiet: nothing.
#pragma once

#include <string>
#include <vector>

#include "image/transfer_protocol.h"

namespace onggi::cli {

class Progress {
 public:
  explicit Progress(bool quiet);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void show(const image::TransferEvent& event);

 private:
  struct Line {
    std::string layer, status;
    uint64_t current = 0, total = 0;
  };
  void draw();
  [[nodiscard]] std::string text_of(const Line& line) const;
  std::vector<Line> lines_;
  size_t drawn_ = 0;  // lines on the screen
  int64_t last_draw_ms_ = 0;
  bool quiet_, terminal_;
};

}  // namespace onggi::cli
