#include "policy/bpf.h"

#include <bit>

namespace onggi::policy {

uint32_t BpfBuilder::push(uint16_t code, uint8_t jt, uint8_t jf, uint32_t k) {
  reversed_.push_back({code, jt, jf, k});
  return static_cast<uint32_t>(reversed_.size() - 1);
}

// A position within reach of a conditional jump that is made next.
uint32_t BpfBuilder::reach(Target target) {
  if (!target.returns) {
    if (distance(target.value) <= kReach) return target.value;
    return push(BPF_JMP | BPF_JA, 0, 0, distance(target.value));
  }
  for (auto& [value, position] : returns_) {
    if (value != target.value) continue;
    if (distance(position) > kReach) position = push(BPF_RET | BPF_K, 0, 0, value);
    return position;
  }
  uint32_t position = push(BPF_RET | BPF_K, 0, 0, target.value);
  returns_.emplace_back(target.value, position);
  return position;
}

BpfBuilder::Target BpfBuilder::jump(uint16_t code, uint32_t k, Target yes, Target no) {
  if (yes == no) return yes;
  uint32_t to_yes = reach(yes), to_no = reach(no);
  // What was made for `no` may have pushed the place for `yes` out of reach; its own copy is then made last
  // and near.
  if (distance(to_yes) > kReach) to_yes = reach(yes);
  if (distance(to_no) > kReach) to_no = reach(no);
  auto jt = static_cast<uint8_t>(distance(to_yes)), jf = static_cast<uint8_t>(distance(to_no));
  return {false, push(static_cast<uint16_t>(BPF_JMP | code | BPF_K), jt, jf, k)};
}

// Makes sure that the instruction made next falls through to `next`.
void BpfBuilder::put_before(Target next) {
  if (next.returns) {
    if (!reversed_.empty() && reversed_.back().code == (BPF_RET | BPF_K) && reversed_.back().k == next.value)
      return;
    push(BPF_RET | BPF_K, 0, 0, next.value);
  } else if (distance(next.value) != 0) {
    push(BPF_JMP | BPF_JA, 0, 0, distance(next.value));
  }
}

BpfBuilder::Target BpfBuilder::statement(uint16_t code, uint32_t k, Target next) {
  put_before(next);
  return {false, push(code, 0, 0, k)};
}

std::vector<uint64_t> BpfBuilder::finish(Target entry) {
  put_before(entry);
  std::vector<uint64_t> code;
  code.reserve(reversed_.size());
  for (auto it = reversed_.rbegin(); it != reversed_.rend(); ++it)
    code.push_back(std::bit_cast<uint64_t>(*it));
  return code;
}

}  // namespace onggi::policy
