// Code generation: per architecture the rules of each system call are collected by number, then the numbers
// are cut into ranges with one outcome each, and a balanced tree of comparisons finds the range. Everything
// is emitted backwards (bpf.h).
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
  // Sub-call of a multiplexer that argument 0 must name, in place of the rule's own condition on it; -1:
  // none.
  int32_t subcall;
  uint32_t next;  // index + 1 of the number's next alternative; 0: the last
};

struct Call {
  uint32_t number;
  uint32_t action = 0;           // when unconditional
  uint32_t first = 0, last = 0;  // alternatives, index + 1
  bool unconditional = false;
};

bool applies_to_all(const Condition& c, bool args32) {
  if (c.op != Compare::kMaskedEq) return false;
  return args32 ? static_cast<uint32_t>(c.mask) == 0 : c.mask == 0;
}

// The rules of one architecture by number. Numbers near the architecture's base are found by index, which
// also yields them in order without sorting; the few beyond (arm's private calls) are searched.
class CallTable {
 public:
  explicit CallTable(Arch arch) : arch_(arch), info_(arch_info(arch)) { calls_.reserve(512); }

  void add(uint16_t syscall, const FilterRule& rule) {
    int32_t number = syscall_number(syscall, arch_);
    if (number == kNone) return;
    if (number >= 0) {
      put(number, rule, -1);
      return;
    }
    // Multiplexed: by the multiplexer's number and a sub-call, and by its own number where newer kernels have
    // one.
    int32_t multiplexer = number > -200 ? info_.socketcall : info_.ipc;
    if (multiplexer == kNone) return;
    put(multiplexer, rule, -number % 100);
    if (int32_t direct = direct_number(number, arch_); direct != kNone) put(direct, rule, -1);
  }

  template <class F>
  void for_each_in_order(F f) {
    for (uint16_t place : place_)
      if (place) f(calls_[place - 1u]);
    std::ranges::sort(far_, {}, [&](uint16_t i) { return calls_[i].number; });
    for (uint16_t i : far_) f(calls_[i]);
  }
  [[nodiscard]] const Alternative& alternative(uint32_t index) const { return alternatives_[index - 1]; }

 private:
  static constexpr size_t kDense = 1024;

  uint16_t make(int32_t number) {
    calls_.push_back({.number = static_cast<uint32_t>(number)});
    return static_cast<uint16_t>(calls_.size() - 1);
  }

  Call& call(int32_t number) {
    auto index = static_cast<size_t>(number - info_.base);
    if (index < kDense) {
      if (!place_[index]) place_[index] = static_cast<uint16_t>(make(number) + 1);
      return calls_[place_[index] - 1u];
    }
    for (uint16_t i : far_)
      if (calls_[i].number == static_cast<uint32_t>(number)) return calls_[i];
    far_.push_back(make(number));
    return calls_[far_.back()];
  }

  void put(int32_t number, const FilterRule& rule, int32_t subcall) {
    Call& c = call(number);
    if (c.unconditional) return;  // what decides without conditions first, stands
    bool all = subcall < 0 && std::ranges::all_of(rule.conditions, [&](const Condition& x) {
                 return applies_to_all(x, info_.args32);
               });
    if (all) {
      c.unconditional = true;
      c.action = rule.action;
      return;
    }
    alternatives_.push_back({&rule, subcall, 0});
    auto added = static_cast<uint32_t>(alternatives_.size());
    if (c.last)
      alternatives_[c.last - 1].next = added;
    else
      c.first = added;
    c.last = added;
  }

  Arch arch_;
  const ArchInfo& info_;
  std::vector<Call> calls_;
  std::vector<Alternative> alternatives_;
  std::vector<uint16_t> far_;             // indices into calls_
  std::array<uint16_t, kDense> place_{};  // index into calls_ + 1
};

class Generator {
 public:
  Generator(const RuleSet& set, BpfBuilder& out) : set_(set), out_(out) {}

  // Code for one architecture; the accumulator holds the call's number at its entry.
  Target architecture(Arch arch) {
    CallTable table(arch);
    for (const RuleUse& use : set_.uses) table.add(use.syscall, set_.rules[use.rule]);
    cut_ranges(arch, table);
    return tree(0, ranges_.size());
  }

 private:
  struct Range {
    uint32_t first;
    Target target;
  };

  void cut_ranges(Arch arch, CallTable& table) {
    const ArchInfo& info = arch_info(arch);
    Target otherwise = BpfBuilder::action(set_.default_action);
    ranges_.clear();
    uint32_t next = 0;  // the first number not covered yet
    table.for_each_in_order([&](const Call& call) {
      if (call.number > next) start_range(next, otherwise);
      start_range(call.number, call.unconditional ? BpfBuilder::action(call.action)
                                                  : alternatives(table, call.first, info));
      next = call.number + 1;
    });
    start_range(next, otherwise);
    apply_enosys(arch);
  }

  void start_range(uint32_t first, Target target) {
    if (!ranges_.empty() && ranges_.back().target == target) return;
    ranges_.push_back({first, target});
  }

  // A call newer than every name in the profile did not exist for its author: ENOSYS makes libraries fall
  // back to the older call, where EPERM makes them fail.
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

  // The first alternative that matches decides; emitted last to first.
  Target alternatives(const CallTable& table, uint32_t index, const ArchInfo& info) {
    chain_.clear();
    for (; index; index = table.alternative(index).next) chain_.push_back(index);
    Target next = BpfBuilder::action(set_.default_action);
    for (auto it = chain_.rbegin(); it != chain_.rend(); ++it)
      next = alternative(table.alternative(*it), info, next);
    return next;
  }

  Target alternative(const Alternative& a, const ArchInfo& info, Target otherwise) {
    Target entry = BpfBuilder::action(a.rule->action);
    for (auto c = a.rule->conditions.rbegin(); c != a.rule->conditions.rend(); ++c) {
      if (a.subcall >= 0 && c->arg == 0) continue;
      if (!applies_to_all(*c, info.args32)) entry = condition(*c, info, entry, otherwise);
    }
    if (a.subcall >= 0)
      entry = condition({0, Compare::kEq, static_cast<uint64_t>(a.subcall)}, info, entry, otherwise);
    return entry;
  }

  Target condition(const Condition& c, const ArchInfo& info, Target yes, Target no) {
    switch (c.op) {
      case Compare::kEq:
        return equal(c, info, yes, no);
      case Compare::kMaskedEq:
        return equal(c, info, yes, no);
      case Compare::kNe:
        return equal(c, info, no, yes);
      case Compare::kGt:
        return greater(BPF_JGT, c, info, yes, no);
      case Compare::kGe:
        return greater(BPF_JGE, c, info, yes, no);
      case Compare::kLe:
        return greater(BPF_JGT, c, info, no, yes);
      case Compare::kLt:
        return greater(BPF_JGE, c, info, no, yes);
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
    if (low_mask != 0)
      t = equal_word(low_offset(c.arg, info), static_cast<uint32_t>(c.value), low_mask, t, no);
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
    // One number inside a range of another outcome, the most common shape at the leaves: one test instead of
    // two.
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
  std::vector<uint32_t> chain_;
};

bool has(const RuleSet& set, Arch arch) { return std::ranges::find(set.arches, arch) != set.arches.end(); }

// x86_64 and x32 share one value of seccomp_data.arch; x32's numbers carry bit 30.
Target x86_64_section(const RuleSet& set, Generator& generator, BpfBuilder& out) {
  Target plain =
      has(set, Arch::kX86_64) ? generator.architecture(Arch::kX86_64) : BpfBuilder::action(kBadArch);
  if (has(set, Arch::kX32)) return out.jump(BPF_JGE, kX32Bit, generator.architecture(Arch::kX32), plain);
  // Number -1 is what a tracer leaves to skip a call: the filter's default decides, not the lack of x32.
  Target x32 =
      out.jump(BPF_JEQ, UINT32_MAX, BpfBuilder::action(set.default_action), BpfBuilder::action(kBadArch));
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
