// A part of this program's work done by a forked copy of it: what a thread would be, but with descriptors,
// working directory, namespaces and libraries' state of its own, and gone at once when its parent is.
#pragma once

#include <functional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

class Worker {
 public:
  // Forks. The copy calls `work`, sends what it returns (at most kMostBytes) and ends, without running
  // destructors or flushing anything of the parent's. It is killed when the thread that started it ends
  // (PR_SET_PDEATHSIG).
  static Result<Worker> start(const std::function<std::string()>& work);

  // Readable when there is something to take; at end of file the worker has ended.
  [[nodiscard]] int fd() const { return pipe_.get(); }
  // Takes what is there. True when the worker has ended; then it is reaped, and `answer()` is whole.
  Result<bool> take();
  [[nodiscard]] const std::string& answer() const { return answer_; }
  [[nodiscard]] bool killed() const { return killed_; }  // it ended without finishing its work
  [[nodiscard]] int pid() const { return pid_; }

 private:
  int pid_ = -1;
  UniqueFd pipe_;
  std::string answer_;
  bool killed_ = false;
};

}  // namespace onggi::sys
