// Actions, flags, errors and limits of the seccomp compiler; verdicts at large are in
// seccomp_differential_test.cpp.
#include "policy/seccomp.h"

#include <gtest/gtest.h>

#include <set>

#include "policy/bpf.h"
#include "policy/default_spec.h"
#include "policy/seccomp_reference.h"

namespace onggi::policy {
namespace {

constexpr uint32_t kX86_64Audit = 0xC000003E;

oci::Seccomp profile(const char* action = "SCMP_ACT_ERRNO") {
  oci::Seccomp s;
  s.default_action = action;
  return s;
}
oci::SyscallRule rule(std::vector<std::string> names, const char* action = "SCMP_ACT_ALLOW") {
  oci::SyscallRule r;
  r.names = std::move(names);
  r.action = action;
  return r;
}

uint32_t answer(const oci::Seccomp& s, uint32_t nr, uint64_t arg0 = 0) {
  auto program = compile_seccomp_for(Arch::kX86_64, s);
  EXPECT_TRUE(program) << program.error().text();
  return program ? reference::verdict(program->code, {nr, kX86_64Audit, {arg0}}, false) : 0;
}

std::string error_of(const oci::Seccomp& s) {
  auto program = compile_seccomp_for(Arch::kX86_64, s);
  return program ? "" : program.error().text();
}

TEST(Seccomp, EveryActionHasItsValue) {
  struct Row {
    const char* name;
    std::optional<uint32_t> data;
    uint32_t value;
  };
  for (const Row& row : std::initializer_list<Row>{{"SCMP_ACT_ALLOW", {}, SECCOMP_RET_ALLOW},
                                                   {"SCMP_ACT_ERRNO", {}, SECCOMP_RET_ERRNO | EPERM},
                                                   {"SCMP_ACT_ERRNO", 38, SECCOMP_RET_ERRNO | 38},
                                                   {"SCMP_ACT_ERRNO", 0, SECCOMP_RET_ERRNO},
                                                   {"SCMP_ACT_KILL", {}, SECCOMP_RET_KILL_THREAD},
                                                   {"SCMP_ACT_KILL_THREAD", {}, SECCOMP_RET_KILL_THREAD},
                                                   {"SCMP_ACT_KILL_PROCESS", {}, SECCOMP_RET_KILL_PROCESS},
                                                   {"SCMP_ACT_LOG", {}, SECCOMP_RET_LOG},
                                                   {"SCMP_ACT_NOTIFY", {}, SECCOMP_RET_USER_NOTIF},
                                                   {"SCMP_ACT_TRACE", {}, SECCOMP_RET_TRACE | EPERM},
                                                   {"SCMP_ACT_TRACE", 7, SECCOMP_RET_TRACE | 7},
                                                   {"SCMP_ACT_TRAP", {}, SECCOMP_RET_TRAP}}) {
    // As a rule, beside a default that differs from all of them.
    oci::Seccomp s = profile();
    s.default_errno_ret = 99;
    s.syscalls = {rule({"getpid"}, row.name), rule({"futex"})};
    s.syscalls[0].errno_ret = row.data;
    EXPECT_EQ(answer(s, 39), row.value) << row.name;
    EXPECT_EQ(answer(s, 40), SECCOMP_RET_ERRNO | 99u);
    if (row.name == std::string("SCMP_ACT_NOTIFY")) continue;
    oci::Seccomp d = profile(row.name);
    d.default_errno_ret = row.data;
    d.syscalls = {
        rule({"futex"}, row.name == std::string("SCMP_ACT_ALLOW") ? "SCMP_ACT_ERRNO" : "SCMP_ACT_ALLOW")};
    EXPECT_EQ(answer(d, 39), row.value) << row.name;
  }
}

TEST(Seccomp, ErrorsNameTheMember) {
  EXPECT_EQ(error_of(profile("SCMP_ACT_FOO")),
            "linux.seccomp.defaultAction: 'SCMP_ACT_FOO' is no seccomp action");
  EXPECT_EQ(error_of(profile("")), "linux.seccomp.defaultAction: '' is no seccomp action");
  EXPECT_EQ(
      error_of(profile("SCMP_ACT_NOTIFY")).find("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be"),
      0u);
  oci::Seccomp s = profile("SCMP_ACT_ALLOW");
  s.default_errno_ret = 1;
  EXPECT_EQ(error_of(s), "linux.seccomp.defaultAction: SCMP_ACT_ALLOW takes no errno, remove it");

  auto with_rule = [](auto change) {
    oci::Seccomp p = profile();
    p.syscalls = {rule({"read"}), rule({"getpid"})};
    change(p.syscalls[1]);
    return error_of(p);
  };
  EXPECT_EQ(with_rule([](oci::SyscallRule& r) { r.action = "ALLOW"; }),
            "linux.seccomp.syscalls[1]: 'ALLOW' is no seccomp action");
  EXPECT_EQ(with_rule([](oci::SyscallRule& r) { r.errno_ret = 1; }),
            "linux.seccomp.syscalls[1]: SCMP_ACT_ALLOW takes no errno, remove it");
  EXPECT_EQ(with_rule([](oci::SyscallRule& r) {
              r.action = "SCMP_ACT_ERRNO";
              r.errno_ret = 65536;
            }),
            "linux.seccomp.syscalls[1]: errno 65536 is over 65535");
  EXPECT_EQ(
      with_rule([](oci::SyscallRule& r) { r.names.clear(); }).find("linux.seccomp.syscalls[1].names: empty"),
      0u);
  EXPECT_EQ(with_rule([](oci::SyscallRule& r) {
              r.names = {"read", ""};
            }),
            "linux.seccomp.syscalls[1].names: an empty name");
  EXPECT_EQ(with_rule([](oci::SyscallRule& r) {
              r.args = {{0, 1, 0, "SCMP_CMP_EQ"}, {6, 1, 0, "SCMP_CMP_EQ"}};
            }),
            "linux.seccomp.syscalls[1].args[1]: argument index 6 is over 5");
  EXPECT_EQ(with_rule([](oci::SyscallRule& r) {
              r.args = {{0, 1, 0, "EQ"}};
            }),
            "linux.seccomp.syscalls[1].args[0]: 'EQ' is no comparison");
  EXPECT_EQ(with_rule([](oci::SyscallRule& r) {
              r.action = "SCMP_ACT_NOTIFY";
              r.names = {"getpid", "write"};
            }).find("linux.seccomp.syscalls[1]: SCMP_ACT_NOTIFY cannot be used for write"),
            0u);

  s = profile();
  s.architectures = {"SCMP_ARCH_X86", "SCMP_ARCH_VAX"};
  EXPECT_EQ(error_of(s), "linux.seccomp.architectures: 'SCMP_ARCH_VAX' is no architecture");
  s.architectures = {"SCMP_ARCH_S390X"};
  EXPECT_EQ(error_of(s).find("linux.seccomp.architectures: SCMP_ARCH_S390X has another byte order"), 0u);
  s = profile();
  s.flags = {"SECCOMP_FILTER_FLAG_NEW"};
  EXPECT_EQ(error_of(s), "linux.seccomp.flags: 'SECCOMP_FILTER_FLAG_NEW' is no filter flag");
}

TEST(Seccomp, Flags) {
  auto flags = [](std::optional<std::vector<std::string>> names, bool notify) {
    oci::Seccomp s = profile();
    s.flags = std::move(names);
    if (notify) s.syscalls = {rule({"getpid"}, "SCMP_ACT_NOTIFY")};
    auto program = compile_seccomp(s);
    EXPECT_TRUE(program);
    EXPECT_EQ(program->notifies, notify);
    return program->flags;
  };
  EXPECT_EQ(flags(std::nullopt, false), 4u);  // absent: speculation is left alone, as runc does
  EXPECT_EQ(flags({{}}, false), 0u);
  EXPECT_EQ(flags({{"SECCOMP_FILTER_FLAG_TSYNC"}}, false), 1u);
  EXPECT_EQ(flags({{"SECCOMP_FILTER_FLAG_LOG"}}, false), 2u);
  EXPECT_EQ(flags({{"SECCOMP_FILTER_FLAG_SPEC_ALLOW"}}, false), 4u);
  EXPECT_EQ(flags({{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"}}, false),
            0u);  // means nothing without a listener
  EXPECT_EQ(flags({{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"}}, true), 32u);
  EXPECT_EQ(flags({{"SECCOMP_FILTER_FLAG_TSYNC"}}, true),
            17u);  // with ESRCH for an answer, or the kernel refuses
  EXPECT_EQ(flags({{"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"}}, false), 6u);
}

TEST(Seccomp, EnosysAboveTheNewestKnownCall) {
  oci::Seccomp s = profile();
  s.syscalls = {rule({"read", "close_range"}),
                rule({"openat2"}, "SCMP_ACT_ERRNO")};  // 0, 436; 437 is known, and denied
  EXPECT_EQ(answer(s, 0), SECCOMP_RET_ALLOW);
  EXPECT_EQ(answer(s, 436), SECCOMP_RET_ALLOW);
  EXPECT_EQ(answer(s, 435), SECCOMP_RET_ERRNO | EPERM);
  EXPECT_EQ(answer(s, 437), SECCOMP_RET_ERRNO | EPERM);
  EXPECT_EQ(answer(s, 438), SECCOMP_RET_ERRNO | ENOSYS);
  EXPECT_EQ(answer(s, 0x3fffffff), SECCOMP_RET_ERRNO | ENOSYS);
  EXPECT_EQ(answer(s, 0x40000000), SECCOMP_RET_KILL_THREAD);  // x32 is not in the profile
  for (const char* permissive : {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"}) {
    oci::Seccomp p = profile(permissive);
    p.syscalls = {rule({"read"}, "SCMP_ACT_TRAP")};
    EXPECT_NE(answer(p, 438), SECCOMP_RET_ERRNO | ENOSYS) << permissive;
  }
  // A deadly default does not make new calls deadly.
  oci::Seccomp k = profile("SCMP_ACT_KILL_PROCESS");
  k.syscalls = {rule({"futex"})};  // 202
  EXPECT_EQ(answer(k, 203), SECCOMP_RET_ERRNO | ENOSYS);
  EXPECT_EQ(answer(k, 201), SECCOMP_RET_KILL_PROCESS);
  // Nothing known, nothing newer.
  EXPECT_EQ(answer(profile(), 438), SECCOMP_RET_ERRNO | EPERM);
}

TEST(Seccomp, RulesBesideEachOther) {
  oci::Seccomp s = profile();
  s.syscalls = {rule({"personality"}), rule({"futex"})};
  s.syscalls[0].args = {{0, 8, 0, "SCMP_CMP_EQ"},
                        {0, 0xffffffff, 0, "SCMP_CMP_EQ"}};  // one argument twice: either
  EXPECT_EQ(answer(s, 135, 8), SECCOMP_RET_ALLOW);
  EXPECT_EQ(answer(s, 135, 0xffffffff), SECCOMP_RET_ALLOW);
  EXPECT_EQ(answer(s, 135, 9), SECCOMP_RET_ERRNO | EPERM);
  EXPECT_EQ(answer(s, 135, 0x100000008), SECCOMP_RET_ERRNO | EPERM);  // high words count on 64 bits
  // Without conditions beats with, whatever the order; the first of two without stands.
  s.syscalls = {rule({"personality"}, "SCMP_ACT_TRAP"), rule({"personality"}, "SCMP_ACT_LOG"),
                rule({"personality"}), rule({"futex"})};
  s.syscalls[0].args = {{0, 8, 0, "SCMP_CMP_EQ"}};
  EXPECT_EQ(answer(s, 135, 8), SECCOMP_RET_LOG);
}

TEST(Seccomp, UnknownNamesAreSkippedAndNativeIsTakenForGranted) {
  oci::Seccomp s = profile();
  s.architectures = {"SCMP_ARCH_X86_64", "SCMP_ARCH_NATIVE", "SCMP_ARCH_X86", "SCMP_ARCH_X86"};
  s.syscalls = {rule({"no_such_call", "getpid", "futex"})};
  EXPECT_EQ(answer(s, 39), SECCOMP_RET_ALLOW);
  auto program = compile_seccomp_for(Arch::kX86_64, s);
  EXPECT_EQ(reference::verdict(program->code, {20, 0x40000003, {}}, false),
            SECCOMP_RET_ALLOW);  // getpid of i386
  EXPECT_EQ(reference::verdict(program->code, {20, 0xC00000B7, {}}, false), SECCOMP_RET_KILL_THREAD);
}

TEST(Seccomp, TooManyInstructionsIsAnError) {
  oci::Seccomp s = profile();
  for (uint64_t i = 0; i < 1500; i++) {
    s.syscalls.push_back(rule({"ioctl"}));
    s.syscalls.back().args = {{1, i * 7, 0, "SCMP_CMP_EQ"}};
  }
  EXPECT_NE(error_of(s).find("the kernel takes at most 4096"), std::string::npos);
  s.syscalls.resize(
      1000);  // long, but it fits; every value is found through jumps over more than 255 instructions
  auto program = compile_seccomp_for(Arch::kX86_64, s);
  ASSERT_TRUE(program) << program.error().text();
  for (uint64_t i = 0; i < 1000; i++) {
    ASSERT_EQ(reference::verdict(program->code, {16, kX86_64Audit, {0, i * 7}}, false), SECCOMP_RET_ALLOW)
        << i;
    ASSERT_EQ(reference::verdict(program->code, {16, kX86_64Audit, {0, i * 7 + 1}}, false),
              SECCOMP_RET_ERRNO | EPERM)
        << i;
  }
}

// Programs as the kernel's checker wants them: jumps forward and inside, a return at the end.
TEST(Seccomp, ProgramsAreWellFormed) {
  oci::Seccomp s = profile();
  s.architectures = {"SCMP_ARCH_X86", "SCMP_ARCH_X32"};
  for (uint16_t row = 0; row < syscall_count(); row += 2) {
    s.syscalls.push_back(rule({std::string(syscall_name(row))}));
    if (row % 3 == 0) s.syscalls.back().args = {{row % 6u, row, 0, "SCMP_CMP_GT"}};
  }
  auto program = compile_seccomp_for(Arch::kX86_64, s);
  ASSERT_TRUE(program) << program.error().text();
  size_t n = program->code.size();
  for (size_t i = 0; i < n; i++) {
    auto insn = std::bit_cast<sock_filter>(program->code[i]);
    if (BPF_CLASS(insn.code) == BPF_JMP) {
      size_t furthest = BPF_OP(insn.code) == BPF_JA ? insn.k : std::max(insn.jt, insn.jf);
      ASSERT_LT(i + 1 + furthest, n);
    }
  }
  EXPECT_EQ(std::bit_cast<sock_filter>(program->code[n - 1]).code, BPF_RET | BPF_K);
}

TEST(Seccomp, NamesForFeatures) {
  EXPECT_EQ(seccomp_actions().size(), 9u);
  EXPECT_EQ(seccomp_operators().size(), 7u);
  EXPECT_EQ(seccomp_architectures().size(), kArchCount);
  EXPECT_EQ(seccomp_known_flags().size(), 4u);
  std::set<std::string> known;
  for (const auto& name : seccomp_known_flags()) known.insert(name);
  for (const auto& name : seccomp_supported_flags()) EXPECT_TRUE(known.contains(name));
  EXPECT_GE(seccomp_supported_flags().size(),
            3u);  // TSYNC, LOG and SPEC_ALLOW are older than any kernel this runs on
  for (const auto* list : {"a", "o", "r"}) {
    auto names = *list == 'a'   ? seccomp_actions()
                 : *list == 'o' ? seccomp_operators()
                                : seccomp_architectures();
    EXPECT_TRUE(std::ranges::is_sorted(names));
  }
}

TEST(Bpf, FarTargetsAreReached) {
  BpfBuilder b;
  BpfBuilder::Target far = b.load(0, BpfBuilder::action(SECCOMP_RET_ALLOW));
  BpfBuilder::Target t = BpfBuilder::action(SECCOMP_RET_TRAP);
  for (int i = 0; i < 600; i++) t = b.statement(BPF_ALU | BPF_AND | BPF_K, 0xffffffff, t);
  t = b.jump(BPF_JEQ, 1, far, t);
  auto code = b.finish(b.load(4, t));
  uint32_t data[16] = {0, 1};
  EXPECT_EQ(reference::run(code, data), SECCOMP_RET_ALLOW);
  data[1] = 2;
  EXPECT_EQ(reference::run(code, data), SECCOMP_RET_TRAP);
}

}  // namespace
}  // namespace onggi::policy
