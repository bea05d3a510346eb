// Code generation: per architecture the rules of each system call are collected by number, then the numbers are cut into
// ranges with one outcome each, and a balanced tree of comparisons finds the range. Everything is emitted backwards (bpf.h).
#include "policy/seccomp.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "policy/bpf.h"
#include "policy/seccomp_rules.h"

namespace onggi::policy {
namespace {

using Target = BpfBuilder::Target;

constexpr uint32_t kBadArch = SECCOMP_RET_KILL_THREAD;
constexpr uint32_t kEnosys = SECCOMP_RET_ERRNO | ENOSYS;

// A rule as it applies to one number on one architecture.
struct Alternative {
  const FilterRule* rule;
  // Sub-call of a multiplexer that argument 0 must name, in place of the rule's own condition on it; -1: none.
  int32_t subcall;
};

struct Call {
  uint32_t number = 0;
  bool unconditional = false;
  uint32_t action = 0;  // when unconditional
  std::vector<Alternative> alternatives;
};

bool applies_to_all(const Condition& c, bool args32) {
  if (c.op != Compare::kMaskedEq) return false;
  return args32 ? static_cast<uint32_t>(c.mask) == 0 : c.mask == 0;
}

// The rules of one architecture by number. Numbers from the architecture's base on are found by index.
class CallTable {
 public:
  explicit CallTable(Arch arch) : arch_(arch), info_(arch_info(arch)) { calls_.reserve(512); }

  void add(uint16_t syscall, const FilterRule& rule) {
    int32_t number = syscall_number(syscall, arch_);
    if (number == kNone) return;
    if (number >= 0) {
      put(number, {&rule, -1});
      return;
    }
    // Multiplexed: by the multiplexer's number and a sub-call, and by its own number where newer kernels have one.
    int32_t multiplexer = number > -200 ? info_.socketcall : info_.ipc;
    if (multiplexer == kNone) return;
    put(multiplexer, {&rule, -number % 100});
    if (int32_t direct = direct_number(number, arch_); direct != kNone) put(direct, {&rule, -1});
  }

  std::vector<Call>& sorted() {
    std::ranges::sort(calls_, {}, &Call::number);
    return calls_;
  }

 private:
  static constexpr size_t kDense = 1024;

  Call& call(int32_t number) {
    auto index = static_cast<size_t>(number - info_.base);
    uint16_t* place = index < kDense ? &place_[index] : nullptr;
    if (place && *place) return calls_[*place - 1u];
    if (!place)  // arm's private calls, far above the rest
      for (Call& c : calls_)
        if (c.number == static_cast<uint32_t>(number)) return c;
    calls_.emplace_back().number = static_cast<uint32_t>(number);
    if (place) *place = static_cast<uint16_t>(calls_.size());
    return calls_.back();
  }

  void put(int32_t number, Alternative alternative) {
    Call& c = call(number);
    if (c.unconditional) return;  // what decides without conditions first, stands
    bool all = alternative.subcall < 0 && std::ranges::all_of(alternative.rule->conditions, [&](const Condition& x) {
                 return applies_to_all(x, info_.args32);
               });
    if (!all) {
      c.alternatives.push_back(alternative);
      return;
    }
    c.unconditional = true;
    c.action = alternative.rule->action;
    c.alternatives.clear();
  }

  Arch arch_;
  const ArchInfo& info_;
  std::vector<Call> calls_;
  std::array<uint16_t, kDense> place_{};  // index into calls_ + 1
};

class Generator {
 public:
  Generator(const RuleSet& set, BpfBuilder& out) : set_(set), out_(out) {}

  // Code for one architecture; the accumulator holds the call's number at its entry.
  Target architecture(Arch arch) {
    CallTable table(arch);
    for (const RuleUse& use : set_.uses) table.add(use.syscall, set_.rules[use.rule]);
    cut_ranges(arch, table.sorted());
    return tree(0, ranges_.size());
  }

 private:
  struct Range {
    uint32_t first;
    Target target;
  };

  void cut_ranges(Arch arch, const std::vector<Call>& calls) {
    const ArchInfo& info = arch_info(arch);
    Target otherwise = BpfBuilder::action(set_.default_action);
    ranges_.clear();
    uint32_t next = 0;  // the first number not covered yet
    for (const Call& call : calls) {
      if (call.number > next) start_range(next, otherwise);
      start_range(call.number, call.unconditional ? BpfBuilder::action(call.action) : alternatives(call, info));
      next = call.number + 1;
    }
    start_range(next, otherwise);
    apply_enosys(arch);
  }

  void start_range(uint32_t first, Target target) {
    if (!ranges_.empty() && ranges_.back().target == target) return;
    ranges_.push_back({first, target});
  }

  // A call newer than every name in the profile did not exist for its author: ENOSYS makes libraries fall back to the older
  // call, where EPERM makes them fail.
  void apply_enosys(Arch arch) {
    if (!set_.enosys_above_newest) return;
    int32_t newest = 0;
    for (uint16_t row : set_.mentioned) {
      int32_t number = syscall_number(row, arch);
      if (number != kNone) newest = std::max(newest, number);
    }
    if (newest == 0) return;
    uint32_t above = static_cast<uint32_t>(newest) + 1;
    while (!ranges_.empty() && ranges_.back().first >= above) ranges_.pop_back();
    start_range(above, BpfBuilder::action(kEnosys));
    // On s390 number 0 stands for every number that the kernel does not know.
    if (arch == Arch::kS390 || arch == Arch::kS390x) {
      Target was = ranges_.front().target;
      ranges_.front().target = BpfBuilder::action(kEnosys);
      if (ranges_.size() < 2 || ranges_[1].first > 1) ranges_.insert(ranges_.begin() + 1, {1, was});
    }
  }

  Target alternatives(const Call& call, const ArchInfo& info) {
    Target next = BpfBuilder::action(set_.default_action);
    for (auto it = call.alternatives.rbegin(); it != call.alternatives.rend(); ++it) {
      Target match = BpfBuilder::action(it->rule->action);
      Target entry = match;
      for (auto c = it->rule->conditions.rbegin(); c != it->rule->conditions.rend(); ++c) {
        if (it->subcall >= 0 && c->arg == 0) continue;
        if (!applies_to_all(*c, info.args32)) entry = condition(*c, info, entry, next);
      }
      if (it->subcall >= 0)
        entry = condition({0, Compare::kEq, static_cast<uint64_t>(it->subcall)}, info, entry, next);
      next = entry;
    }
    return next;
  }

  Target condition(const Condition& c, const ArchInfo& info, Target yes, Target no) {
    switch (c.op) {
      case Compare::kEq: return equal(c, info, yes, no);
      case Compare::kMaskedEq: return equal(c, info, yes, no);
      case Compare::kNe: return equal(c, info, no, yes);
      case Compare::kGt: return greater(BPF_JGT, c, info, yes, no);
      case Compare::kGe: return greater(BPF_JGE, c, info, yes, no);
      case Compare::kLe: return greater(BPF_JGT, c, info, no, yes);
      case Compare::kLt: return greater(BPF_JGE, c, info, no, yes);
    }
    return no;
  }

  static uint32_t low_offset(uint8_t arg, const ArchInfo& info) {
    return static_cast<uint32_t>(offsetof(seccomp_data, args)) + 8u * arg + (info.big_endian ? 4 : 0);
  }
  static uint32_t high_offset(uint8_t arg, const ArchInfo& info) {
    return static_cast<uint32_t>(offsetof(seccomp_data, args)) + 8u * arg + (info.big_endian ? 0 : 4);
  }

  Target equal(const Condition& c, const ArchInfo& info, Target yes, Target no) {
    auto low_mask = static_cast<uint32_t>(c.mask), high_mask = static_cast<uint32_t>(c.mask >> 32);
    Target t = yes;
    if (low_mask != 0) t = equal_word(low_offset(c.arg, info), static_cast<uint32_t>(c.value), low_mask, t, no);
    if (!info.args32 && high_mask != 0)
      t = equal_word(high_offset(c.arg, info), static_cast<uint32_t>(c.value >> 32), high_mask, t, no);
    return t;
  }

  Target equal_word(uint32_t offset, uint32_t value, uint32_t mask, Target yes, Target no) {
    Target t = out_.jump(BPF_JEQ, value & mask, yes, no);
    if (mask != UINT32_MAX) t = out_.statement(BPF_ALU | BPF_AND | BPF_K, mask, t);
    return out_.load(offset, t);
  }

  // `low_test` decides between the low words when the high words are equal.
  Target greater(uint16_t low_test, const Condition& c, const ArchInfo& info, Target yes, Target no) {
    auto low = static_cast<uint32_t>(c.value), high = static_cast<uint32_t>(c.value >> 32);
    Target t = out_.load(low_offset(c.arg, info), out_.jump(low_test, low, yes, no));
    if (info.args32) return t;
    t = out_.jump(BPF_JEQ, high, t, no);
    t = out_.jump(BPF_JGT, high, yes, t);
    return out_.load(high_offset(c.arg, info), t);
  }

  Target tree(size_t begin, size_t end) {
    if (end - begin == 1) return ranges_[begin].target;
    // One number inside a range of another outcome, the most common shape at the leaves: one test instead of two.
    if (end - begin == 3 && ranges_[begin].target == ranges_[begin + 2].target &&
        ranges_[begin + 2].first == ranges_[begin + 1].first + 1)
      return out_.jump(BPF_JEQ, ranges_[begin + 1].first, ranges_[begin + 1].target, ranges_[begin].target);
    size_t middle = (begin + end) / 2;
    Target high = tree(middle, end);
    Target low = tree(begin, middle);
    return out_.jump(BPF_JGE, ranges_[middle].first, high, low);
  }

  const RuleSet& set_;
  BpfBuilder& out_;
  std::vector<Range> ranges_;
};

bool has(const RuleSet& set, Arch arch) { return std::ranges::find(set.arches, arch) != set.arches.end(); }

// x86_64 and x32 share one value of seccomp_data.arch; x32's numbers carry bit 30.
Target x86_64_section(const RuleSet& set, Generator& generator, BpfBuilder& out) {
  Target plain = has(set, Arch::kX86_64) ? generator.architecture(Arch::kX86_64) : BpfBuilder::action(kBadArch);
  if (has(set, Arch::kX32)) return out.jump(BPF_JGE, kX32Bit, generator.architecture(Arch::kX32), plain);
  // Number -1 is what a tracer leaves to skip a call: the filter's default decides, not the lack of x32.
  Target x32 = out.jump(BPF_JEQ, UINT32_MAX, BpfBuilder::action(set.default_action), BpfBuilder::action(kBadArch));
  return out.jump(BPF_JGE, kX32Bit, x32, plain);
}

}  // namespace

Result<SeccompProgram> compile_seccomp_for(Arch native, const oci::Seccomp& seccomp) {
  RuleSet set = TRY(build_rules(seccomp, native));
  BpfBuilder out;
  Generator generator(set, out);
  Target next = BpfBuilder::action(kBadArch);
  bool x86_64_done = false;
  for (auto arch = set.arches.rbegin(); arch != set.arches.rend(); ++arch) {
    bool x86_64_family = *arch == Arch::kX86_64 || *arch == Arch::kX32;
    if (x86_64_family && std::exchange(x86_64_done, true)) continue;
    Target body = x86_64_family ? x86_64_section(set, generator, out) : generator.architecture(*arch);
    body = out.load(offsetof(seccomp_data, nr), body);
    next = out.jump(BPF_JEQ, arch_info(*arch).audit, body, next);
  }
  next = out.load(offsetof(seccomp_data, arch), next);
  SeccompProgram program;
  program.code = out.finish(next);
  if (program.code.size() > BPF_MAXINSNS)
    return fail(Error::invalid("linux.seccomp: the filter has " + std::to_string(program.code.size()) +
                               " instructions, the kernel takes at most " + std::to_string(BPF_MAXINSNS)));
  program.flags = set.flags;
  program.notifies = set.notifies;
  return program;
}

Result<SeccompProgram> compile_seccomp(const oci::Seccomp& seccomp) {
  return compile_seccomp_for(native_arch(), seccomp);
}

}  // namespace onggi::policy
