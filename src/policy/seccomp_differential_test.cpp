// The compiler's verdicts on profiles made at random: every architecture, operator and action, values of 32
// and 64 bits, several conditions, names that an architecture multiplexes. Seeds are fixed, so a failure can
// be repeated.
//
// Two references. The meaning (reference::Meaning) evaluates a profile rule by rule; the compiler must agree
// with it always. libseccomp must agree in profiles that name each call once, wherever a number has at most
// one rule with conditions: when it merges several such rules into one tree, version 2.5 gets some of them
// wrong (a failed inner test ends the search, and one call's tree can change another's), also in favour of
// the container.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "policy/seccomp.h"
#include "policy/seccomp_reference.h"

// The library forgets trees that it replaces; the leak is its own.
extern "C" const char* __lsan_default_suppressions() { return "leak:libseccomp.so"; }

namespace onggi::policy {
namespace {

const char* const kOps[] = {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",       "SCMP_CMP_EQ",
                            "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"};

// The number on one architecture as the library has it; its marks for "not here" become kNone.
int32_t library_number(uint16_t row, Arch arch) {
  std::string name(syscall_name(row));
  int number = seccomp_syscall_resolve_name_arch(reference::token(arch), name.c_str());
  return number <= -1000 || number == __NR_SCMP_ERROR ? kNone : number;
}

// loongarch64 came with version 2.6 of the library; the rest is older than any that is in use.
bool library_has(Arch arch) {
  return arch != Arch::kLoongarch64 || seccomp_syscall_resolve_name_arch(arch_info(arch).audit, "read") >= 0;
}

// Rows that libseccomp of this host knows with the same numbers: the table lists newer calls, and a newer
// library may know a call on more architectures than the one that the table was made from. Left out is the
// one name that the library cannot translate between architectures, having given sys_debug_setcontext and
// switch_endian the same mark.
std::vector<uint16_t> shared_rows() {
  std::vector<uint16_t> rows;
  for (uint16_t row = 0; row < syscall_count(); row++) {
    std::string name(syscall_name(row));
    if (name == "sys_debug_setcontext") continue;
    bool same = seccomp_syscall_resolve_name(name.c_str()) != __NR_SCMP_ERROR;
    for (size_t i = 0; i < kArchCount && same; i++) {
      auto arch = static_cast<Arch>(i);
      if (arch != Arch::kLoongarch64) same = library_number(row, arch) == syscall_number(row, arch);
    }
    if (same) rows.push_back(row);
  }
  return rows;
}

// What is random about a profile.
struct Shape {
  bool repeat_names = false;  // several rules for one system call
  bool several_actions = false;
};

class Maker {
 public:
  explicit Maker(uint64_t seed) : random_(seed) {}
  size_t below(size_t n) { return random_() % n; }
  template <class T, size_t N>
  T pick(const T (&items)[N]) {
    return items[below(N)];
  }

  uint64_t value() {
    static constexpr uint64_t kValues[] = {0,
                                           1,
                                           2,
                                           5,
                                           16,
                                           0x7fffffff,
                                           0x80000000,
                                           0xffffffff,
                                           0x100000000,
                                           0x100000005,
                                           0x7fffffffffffffff,
                                           0x8000000000000000,
                                           ~uint64_t{0},
                                           2114060288};
    return below(4) == 0 ? random_() : pick(kValues);
  }
  oci::SeccompArg arg(uint32_t index) {
    oci::SeccompArg out{index, value(), 0, pick(kOps)};
    if (out.op == "SCMP_CMP_MASKED_EQ") out.value_two = below(2) ? value() & out.value : value();
    return out;
  }
  oci::Seccomp profile(const std::vector<uint16_t>& rows, size_t rules, Shape shape) {
    std::set<std::string> used;
    static const char* const kDefaults[] = {"SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                                            "SCMP_ACT_TRAP",  "SCMP_ACT_LOG",  "SCMP_ACT_TRACE",
                                            "SCMP_ACT_ALLOW"};
    oci::Seccomp out;
    out.default_action = pick(kDefaults);
    if (out.default_action == "SCMP_ACT_ERRNO" && below(2)) out.default_errno_ret = below(2) ? 38 : 7;
    for (size_t i = 0; i < rules; i++) {
      oci::SyscallRule rule;
      // One action for all: then the order of overlapping rules does not matter.
      rule.action = out.default_action == "SCMP_ACT_ALLOW" ? "SCMP_ACT_ERRNO" : "SCMP_ACT_ALLOW";
      if (shape.several_actions) rule.action = pick(kDefaults);
      size_t names = 1 + below(4);
      // Sockets and SysV IPC often: they are what architectures multiplex.
      static const char* const kOften[] = {"socket",     "sendmsg",    "recv",   "accept",      "shmat",
                                           "semtimedop", "semop",      "msgctl", "personality", "clone",
                                           "read",       "socketcall", "ipc",    "ptrace"};
      for (size_t n = 0; n < names; n++) {
        std::string name = below(2) ? pick(kOften) : std::string(syscall_name(rows[below(rows.size())]));
        if (used.insert(name).second || shape.repeat_names) rule.names.push_back(name);
      }
      if (rule.names.empty()) continue;
      if (size_t args = below(4); args < 3)
        for (size_t n = 0; n < args; n++)
          rule.args.push_back(arg(static_cast<uint32_t>(below(8) ? n : below(6))));
      out.syscalls.push_back(std::move(rule));
    }
    return out;
  }

 private:
  std::mt19937_64 random_;
};

// Arguments at and around every value that the rule speaks of.
void add_neighbours(std::vector<uint64_t>& values, uint64_t v) {
  for (uint64_t x : {v, v - 1, v + 1, v ^ 0x100000000, v & 0xffffffff, v | 0xffffffff00000000, ~v})
    values.push_back(x);
}

struct Counter {
  size_t compared = 0, with_library = 0;
  bool trust_library = true;
};

std::string describe(const oci::Seccomp& profile, const reference::Call& call) {
  char text[256];
  snprintf(text, sizeof text, "arch %#x nr %d args %#lx %#lx %#lx %#lx %#lx %#lx, default %s", call.arch,
           static_cast<int>(call.nr), call.args[0], call.args[1], call.args[2], call.args[3], call.args[4],
           call.args[5], profile.default_action.c_str());
  std::string out = text;
  for (const auto& rule : profile.syscalls) {
    out += "\n  " + rule.action + ":";
    for (size_t i = 0; i < rule.names.size() && i < 8; i++) out += " " + rule.names[i];
    for (const auto& a : rule.args) {
      snprintf(text, sizeof text, " [%u %s %#lx %#lx]", a.index, a.op.c_str(), a.value, a.value_two);
      out += text;
    }
  }
  return out;
}

// A profile, compiled by us and by the library, and its meaning on each architecture.
struct Subject {
  oci::Seccomp profile;
  std::vector<Arch> arches;
  std::vector<uint64_t> ours;
  reference::Code theirs;
  std::vector<reference::Meaning> meanings;

  void compare(const reference::Call& call, Counter& counter) const {
    std::optional<uint32_t> stub;
    std::optional<reference::Meaning::Verdict> meaning;
    for (const auto& m : meanings) {
      if (arch_info(arches[static_cast<size_t>(&m - meanings.data())]).audit == call.arch && !stub)
        stub = m.stub(call);
      if (m.owns(call)) meaning = m.verdict(call);
    }
    bool big_endian = arch_info(arches[0]).big_endian;
    uint32_t have = reference::verdict(ours, call, big_endian);
    uint32_t library = stub ? *stub : reference::verdict(theirs, call, big_endian);
    counter.compared++;
    if (meaning) {
      ASSERT_EQ(have, stub ? *stub : meaning->action) << "meaning: " << describe(profile, call);
    }
    if (!counter.trust_library || (meaning && meaning->conditional_rules > 1)) return;
    counter.with_library++;
    ASSERT_EQ(have, library) << "libseccomp: " << describe(profile, call);
  }
};

void compare_rule(const Subject& subject, Arch arch, const oci::SyscallRule& rule, Maker& maker,
                  Counter& counter) {
  const ArchInfo& info = arch_info(arch);
  std::vector<uint64_t> values{0, 1, 5};
  for (const auto& a : rule.args) {
    add_neighbours(values, a.value);
    add_neighbours(values, a.value_two);
  }
  for (const auto& name : rule.names) {
    auto row = find_syscall(name);
    ASSERT_TRUE(row) << name;
    int32_t number = syscall_number(*row, arch);
    if (number == kNone) continue;
    std::vector<std::pair<int32_t, int32_t>> places;  // number, sub-call or -1
    if (number >= 0) {
      places.emplace_back(number, -1);
    } else {
      places.emplace_back(number > -200 ? info.socketcall : info.ipc, -number % 100);
      places.emplace_back(direct_number(number, arch), -1);
    }
    for (auto [nr, subcall] : places) {
      for (int round = 0; nr != kNone && round < 24; round++) {
        reference::Call call{static_cast<uint32_t>(nr), info.audit, {}};
        for (uint64_t& a : call.args) a = values[maker.below(values.size())];
        if (subcall >= 0 && round % 4) call.args[0] = static_cast<uint64_t>(subcall);
        ASSERT_NO_FATAL_FAILURE(subject.compare(call, counter));
      }
    }
  }
}

void compare_profile(const oci::Seccomp& profile, const std::vector<Arch>& arches, Maker& maker,
                     Counter& counter) {
  auto ours = compile_seccomp_for(arches[0], profile);
  ASSERT_TRUE(ours) << ours.error().text();
  Subject subject{profile, arches, ours->code, reference::compile(profile, arches), {}};
  for (Arch arch : arches) subject.meanings.emplace_back(profile, arch);
  for (Arch arch : arches) {
    const ArchInfo& info = arch_info(arch);
    auto base = static_cast<uint32_t>(info.base);
    // Every number, with arguments that few rules know.
    for (uint32_t nr = base; nr < base + 480; nr++)
      ASSERT_NO_FATAL_FAILURE(subject.compare({nr, info.audit, {77, 78, 79, 80, 81, 82}}, counter));
    for (uint32_t nr : {0u, 0xffffffffu, 0xfffffffeu, 0x40000000u, 0x3fffffffu, 0x7fffffffu, 983045u, 5000u})
      ASSERT_NO_FATAL_FAILURE(subject.compare({nr, info.audit, {}}, counter));
    for (const auto& rule : profile.syscalls)
      ASSERT_NO_FATAL_FAILURE(compare_rule(subject, arch, rule, maker, counter));
  }
  ASSERT_NO_FATAL_FAILURE(subject.compare({1, 0xdeadbeef, {}}, counter));
}

std::vector<std::vector<Arch>> arch_sets() {
  std::vector<std::vector<Arch>> sets;
  for (size_t i = 0; i < kArchCount; i++) {
    auto arch = static_cast<Arch>(i);
    // libseccomp 2.5 does not know loongarch64, and x32 alone is not an architecture of a host.
    if (arch != Arch::kLoongarch64 && arch != Arch::kX32) sets.push_back({arch});
  }
  sets.push_back({Arch::kX86_64, Arch::kX86});
  sets.push_back({Arch::kX86_64, Arch::kX32});
  sets.push_back({Arch::kX86_64, Arch::kX86, Arch::kX32});
  sets.push_back({Arch::kAarch64, Arch::kArm});
  sets.push_back({Arch::kS390x, Arch::kS390});
  sets.push_back({Arch::kMips64, Arch::kMips, Arch::kMips64N32});
  sets.push_back({Arch::kMipsel64, Arch::kMipsel, Arch::kMipsel64N32});
  return sets;
}

void compare_random(Shape shape, uint64_t seeds, Counter& counter) {
  auto rows = shared_rows();
  ASSERT_GT(rows.size(), 400u);
  for (const auto& arches : arch_sets()) {
    for (uint64_t seed = 0; seed < seeds; seed++) {
      Maker maker(seed * 1000 + arches.size());
      oci::Seccomp profile = maker.profile(rows, 1 + maker.below(20), shape);
      for (size_t i = 1; i < arches.size(); i++)
        profile.architectures.emplace_back(arch_info(arches[i]).name);
      ASSERT_NO_FATAL_FAILURE(compare_profile(profile, arches, maker, counter))
          << arch_info(arches[0]).name << " +" << arches.size() - 1 << " seed " << seed;
    }
  }
}

TEST(SeccompDifferential, OneRuleForEachName) {
  Counter counter;
  compare_random({.repeat_names = false}, 60, counter);
  EXPECT_GT(counter.with_library, 800000u);
}

TEST(SeccompDifferential, SeveralRulesForOneName) {
  Counter counter;
  counter.trust_library = false;
  compare_random({.repeat_names = true}, 60, counter);
  EXPECT_GT(counter.compared, 800000u);
}

TEST(SeccompDifferential, SeveralActions) {
  // Overlapping rules with different actions: here the first that matches decides, where the library's order
  // is its own.
  Counter counter;
  counter.trust_library = false;
  compare_random({.repeat_names = true, .several_actions = true}, 60, counter);
  EXPECT_GT(counter.compared, 800000u);
}

// Every name of the table, without arguments, in two profiles per architecture set.
TEST(SeccompDifferential, EveryName) {
  auto rows = shared_rows();
  for (const auto& arches : arch_sets()) {
    Counter counter;
    // For the other byte order the library (2.5.4) writes long programs that it would itself misread.
    counter.trust_library = !arch_info(arches[0]).big_endian;
    for (size_t half = 0; half < 2; half++) {
      Maker maker(half);
      oci::Seccomp profile;
      profile.default_action = "SCMP_ACT_ERRNO";
      oci::SyscallRule rule;
      rule.action = "SCMP_ACT_ALLOW";
      for (size_t i = half; i < rows.size(); i += 2) rule.names.emplace_back(syscall_name(rows[i]));
      profile.syscalls.push_back(rule);
      for (size_t i = 1; i < arches.size(); i++)
        profile.architectures.emplace_back(arch_info(arches[i]).name);
      ASSERT_NO_FATAL_FAILURE(compare_profile(profile, arches, maker, counter)) << arch_info(arches[0]).name;
    }
  }
}

TEST(SeccompDifferential, NumbersAgreeWithTheLibrary) {
  for (uint16_t row = 0; row < syscall_count(); row++) {
    for (size_t i = 0; i < kArchCount; i++) {
      auto arch = static_cast<Arch>(i);
      if (!library_has(arch)) continue;
      int32_t ours = syscall_number(row, arch), theirs = library_number(row, arch);
      // One side may know a call earlier than the other; two numbers for one call are a bug.
      if (ours != kNone && theirs != kNone) {
        EXPECT_EQ(ours, theirs) << syscall_name(row) << " on " << arch_info(arch).name;
      }
    }
  }
  EXPECT_GE(shared_rows().size() + 20, syscall_count()) << "run tools/gen-syscalls again";
}

}  // namespace
}  // namespace onggi::policy
