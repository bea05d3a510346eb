// ScopeExit and Rollback: undo that cannot be forgotten.
#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace onggi {

// Runs a callable at the end of the scope unless released.
template <class F>
class [[nodiscard]] ScopeExit {
 public:
  explicit ScopeExit(F f) : f_(std::move(f)) {}
  ScopeExit(const ScopeExit&) = delete;
  ScopeExit& operator=(const ScopeExit&) = delete;
  ~ScopeExit() {
    if (armed_) f_();
  }
  void release() { armed_ = false; }

 private:
  F f_;
  bool armed_ = true;
};

// A set-up of several steps: each step that succeeded pushes its undo; commit() is the last line. Without it
// the destructor undoes everything in reverse order. Undo functions must not fail the program: they ignore
// errors.
class [[nodiscard]] Rollback {
 public:
  Rollback() = default;
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;
  ~Rollback() { run(); }

  void push(std::function<void()> undo) { undo_.push_back(std::move(undo)); }
  void commit() { undo_.clear(); }
  void run() noexcept {
    while (!undo_.empty()) {
      auto undo = std::move(undo_.back());
      undo_.pop_back();
      undo();
    }
  }

 private:
  std::vector<std::function<void()>> undo_;
};

}  // namespace onggi
