// Waiting for a process in the foreground: signals go to it, a terminal is relayed, its exit code is ours.
#pragma once

#include <termios.h>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/container.h"

namespace onggi::rtcli {

class Foreground {
 public:
  Foreground() = default;
  Foreground(const Foreground&) = delete;
  Foreground& operator=(const Foreground&) = delete;
  ~Foreground();  // restores the terminal

  // Blocks signals, so that none is lost between the start of the process and wait(). Before the process is
  // started.
  Result<> prepare();
  // Returns its exit code, or 128 + the signal that ended it.
  Result<int> wait(runtime::Started started);

 private:
  void raw_terminal();
  void resize(int master) const;
  void handle_signal(const runtime::Started& started);
  void drain(int master);
  bool relay(runtime::Started& started, short master_events, short input_events);

  UniqueFd signals_;
  bool raw_ = false;
  bool input_open_ = true;
  termios saved_ = {};
};

}  // namespace onggi::rtcli
