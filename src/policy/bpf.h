// Assembles classic BPF from the end to the beginning. Internal to policy/.
//
// BPF jumps only forward, conditional ones by at most 255 instructions. Building backwards, every target is
// known when a jump is made, so distances are exact and what is too far gets a copy of the return, or a long
// jump, close by.
#pragma once

#include <linux/filter.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace onggi::policy {

class BpfBuilder {
 public:
  // Where control goes: an instruction already made, or "return this action", for which an instruction is
  // made on demand.
  struct Target {
    bool returns = false;
    uint32_t value = 0;  // the action, or the instruction's distance from the program's end
    bool operator==(const Target&) const = default;
  };
  static Target action(uint32_t value) { return {true, value}; }

  BpfBuilder() { reversed_.reserve(1024); }

  // A statement (load, and) followed by `next`.
  Target statement(uint16_t code, uint32_t k, Target next);
  // Conditional jump on the accumulator: code is BPF_JEQ, BPF_JGT, BPF_JGE or BPF_JSET.
  Target jump(uint16_t code, uint32_t k, Target yes, Target no);
  // Loads the 32-bit word of seccomp_data at `offset`.
  Target load(uint32_t offset, Target next) { return statement(BPF_LD | BPF_W | BPF_ABS, offset, next); }

  // The program whose first instruction is `entry` (made last, or reached by one more instruction).
  std::vector<uint64_t> finish(Target entry);
  [[nodiscard]] size_t size() const { return reversed_.size(); }

 private:
  static constexpr uint32_t kReach = 255;
  uint32_t push(uint16_t code, uint8_t jt, uint8_t jf, uint32_t k);
  // Distance from the instruction made next to `position`.
  [[nodiscard]] uint32_t distance(uint32_t position) const {
    return static_cast<uint32_t>(reversed_.size()) - 1 - position;
  }
  uint32_t reach(Target target);
  void put_before(Target next);

  std::vector<sock_filter> reversed_;
  std::vector<std::pair<uint32_t, uint32_t>> returns_;  // (action, the nearest position that returns it)
};

}  // namespace onggi::policy
