// Test support: libseccomp driven as the field's runtimes drive it, and an interpreter of classic BPF to
// compare verdicts.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/fd.h"
#include "oci/runtime_spec.h"
#include "policy/seccomp_arch.h"

namespace onggi::policy::reference {

using Code = std::vector<uint64_t>;

// The verdict of `code` on `data`. Loads see the words as a host of the data's byte order would lay them out,
// so `data` is given as sixteen words. Aborts the test on a jump out of the program or an unknown
// instruction.
inline uint32_t run(const Code& code, const uint32_t (&data)[16]) {
  uint32_t a = 0;
  for (size_t pc = 0;; pc++) {
    if (pc >= code.size()) {
      fprintf(stderr, "pc %zu of %zu\n", pc, code.size());
      abort();
    }
    auto i = std::bit_cast<sock_filter>(code[pc]);
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (i.k % 4 || i.k >= 64) abort();
        a = data[i.k / 4];
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= i.k;
        break;
      case BPF_JMP | BPF_JA:
        pc += i.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        pc += a == i.k ? i.jt : i.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        pc += a > i.k ? i.jt : i.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        pc += a >= i.k ? i.jt : i.jf;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        pc += (a & i.k) ? i.jt : i.jf;
        break;
      case BPF_RET | BPF_K:
        return i.k;
      default:
        fprintf(stderr, "pc %zu of %zu: code %x k %x\n", pc, code.size(), i.code, i.k);
        abort();
    }
  }
}

// One system call as seccomp sees it, on an architecture of either byte order.
struct Call {
  uint32_t nr = 0, arch = 0;
  uint64_t args[6] = {};
};
inline uint32_t verdict(const Code& code, const Call& call, bool big_endian) {
  uint32_t words[16] = {call.nr, call.arch, 0, 0};
  for (int i = 0; i < 6; i++) {
    words[4 + 2 * i + (big_endian ? 1 : 0)] = static_cast<uint32_t>(call.args[i]);
    words[4 + 2 * i + (big_endian ? 0 : 1)] = static_cast<uint32_t>(call.args[i] >> 32);
  }
  return run(code, words);
}

inline uint32_t action(const std::string& name, std::optional<uint32_t> data) {
  uint16_t value = static_cast<uint16_t>(data.value_or(EPERM));
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(value);
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(value);
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_NOTIFY") return SCMP_ACT_NOTIFY;
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  return SCMP_ACT_KILL_THREAD;
}
inline scmp_compare compare(const std::string& op) {
  static const std::map<std::string, scmp_compare> kOps = {{"SCMP_CMP_NE", SCMP_CMP_NE},
                                                           {"SCMP_CMP_LT", SCMP_CMP_LT},
                                                           {"SCMP_CMP_LE", SCMP_CMP_LE},
                                                           {"SCMP_CMP_EQ", SCMP_CMP_EQ},
                                                           {"SCMP_CMP_GE", SCMP_CMP_GE},
                                                           {"SCMP_CMP_GT", SCMP_CMP_GT},
                                                           {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
  return kOps.find(op)->second;
}
inline uint32_t token(Arch arch) {
  if (arch == Arch::kX32) return SCMP_ARCH_X32;
  return arch_info(arch).audit;
}

inline Code compile(const oci::Seccomp& profile, const std::vector<Arch>& arches) {
  uint32_t default_action = action(profile.default_action, profile.default_errno_ret);
  scmp_filter_ctx ctx = seccomp_init(default_action);
  bool native_listed = std::ranges::find(arches, native_arch()) != arches.end();
  if (!native_listed) seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE);
  for (Arch arch : arches)
    if (arch != native_arch() && seccomp_arch_add(ctx, token(arch)) != 0) abort();
  for (const auto& rule : profile.syscalls) {
    uint32_t act = action(rule.action, rule.errno_ret);
    if (act == default_action) continue;
    bool twice = false;
    std::vector<scmp_arg_cmp> conditions;
    for (const auto& arg : rule.args) {
      for (const auto& c : conditions) twice |= c.arg == arg.index;
      conditions.push_back({arg.index, compare(arg.op), arg.value, arg.value_two});
    }
    for (const auto& name : rule.names) {
      int nr = seccomp_syscall_resolve_name(name.c_str());
      if (nr == __NR_SCMP_ERROR) continue;
      if (!twice) {
        seccomp_rule_add_array(ctx, act, nr, static_cast<unsigned>(conditions.size()), conditions.data());
      } else {
        for (const auto& c : conditions) seccomp_rule_add_array(ctx, act, nr, 1, &c);
      }
    }
  }
  UniqueFd file(memfd_create("bpf", MFD_CLOEXEC));
  int fd = file.get();
  if (fd < 0 || seccomp_export_bpf(ctx, fd) != 0) abort();
  auto size = static_cast<size_t>(lseek(fd, 0, SEEK_END));
  Code code(size / 8);
  if (pread(fd, code.data(), size, 0) != static_cast<ssize_t>(size)) abort();
  seccomp_release(ctx);
  if (arch_info(arches[0]).big_endian) {  // the library writes for the host that the filter is for
    for (uint64_t& word : code) {
      auto i = std::bit_cast<sock_filter>(word);
      i.code = std::byteswap(i.code);
      i.k = std::byteswap(i.k);
      word = std::bit_cast<uint64_t>(i);
    }
  }
  return code;
}

// --- the meaning of a profile, evaluated rule by rule without any compiling ---

inline bool holds(const oci::SeccompArg& c, const Call& call, bool args32) {
  uint64_t a = call.args[c.index], value = c.value, second = c.value_two;
  if (args32)
    a = static_cast<uint32_t>(a), value = static_cast<uint32_t>(value),
    second = static_cast<uint32_t>(second);
  if (c.op == "SCMP_CMP_NE") return a != value;
  if (c.op == "SCMP_CMP_LT") return a < value;
  if (c.op == "SCMP_CMP_LE") return a <= value;
  if (c.op == "SCMP_CMP_EQ") return a == value;
  if (c.op == "SCMP_CMP_GE") return a >= value;
  if (c.op == "SCMP_CMP_GT") return a > value;
  return (a & value) == (second & value);
}

// Whether a rule without effective conditions decides alone: an empty mask is no condition.
inline bool unconditional(const std::vector<oci::SeccompArg>& args, bool args32) {
  return std::ranges::all_of(args, [&](const auto& c) {
    return c.op == "SCMP_CMP_MASKED_EQ" && (args32 ? static_cast<uint32_t>(c.value) : c.value) == 0;
  });
}

// One architecture of a profile, flattened to "this number, under these conditions, has this action".
class Meaning {
 public:
  struct Verdict {
    uint32_t action;
    size_t conditional_rules;  // how many rules with conditions the number has
  };

  Meaning(const oci::Seccomp& profile, Arch arch) : info_(arch_info(arch)), arch_(arch) {
    default_ = action(profile.default_action, profile.default_errno_ret);
    for (const auto& rule : profile.syscalls) {
      for (const auto& name : rule.names) {
        int number = seccomp_syscall_resolve_name_arch(token(arch), name.c_str());
        newest_ = std::max(newest_, number);
        if (action(rule.action, rule.errno_ret) != default_) add(rule, number);
      }
    }
  }

  [[nodiscard]] Verdict verdict(const Call& call) const {
    std::optional<uint32_t> decided, matched;
    size_t conditional = 0;
    for (const Entry& e : entries_) {
      if (e.number != call.nr) continue;
      bool all =
          e.subcall < 0 || holds({0, static_cast<uint64_t>(e.subcall), 0, "SCMP_CMP_EQ"}, call, info_.args32);
      for (const auto& c : e.args) all &= (e.subcall >= 0 && c.index == 0) || holds(c, call, info_.args32);
      bool always = e.subcall < 0 && unconditional(e.args, info_.args32);
      if (!always) conditional++;
      if (always && !decided) decided = e.action;
      if (all && !matched) matched = e.action;
    }
    return {decided ? *decided : matched.value_or(default_), conditional};
  }

  // Runc's ENOSYS stub, which stands before the filter; nullopt: the filter decides.
  [[nodiscard]] std::optional<uint32_t> stub(const Call& call) const {
    uint32_t kind = default_ & SECCOMP_RET_ACTION_FULL;
    if (kind == SECCOMP_RET_ALLOW || kind == SECCOMP_RET_LOG || kind == SECCOMP_RET_TRACE)
      return std::nullopt;
    if (default_ == SCMP_ACT_ERRNO(ENOSYS) || newest_ <= 0 || !owns(call, kX32Bit)) return std::nullopt;
    bool s390_unknown = (arch_ == Arch::kS390 || arch_ == Arch::kS390x) && call.nr == 0;
    if (s390_unknown || call.nr > static_cast<uint32_t>(newest_)) return SCMP_ACT_ERRNO(ENOSYS);
    return std::nullopt;
  }

  // Whether the call is this architecture's.
  [[nodiscard]] bool owns(const Call& call) const {
    if (info_.audit != call.arch) return false;
    bool x86_64 = arch_ == Arch::kX86_64 || arch_ == Arch::kX32;
    return !x86_64 || (call.nr >= kX32Bit) == (arch_ == Arch::kX32);
  }

 private:
  struct Entry {
    uint32_t number;
    int subcall;  // of a multiplexer, in argument 0; -1: none
    std::vector<oci::SeccompArg> args;
    uint32_t action;
  };

  [[nodiscard]] bool owns(const Call& call, uint32_t x32_bit) const {
    bool x86_64 = arch_ == Arch::kX86_64 || arch_ == Arch::kX32;
    return !x86_64 || ((call.nr & x32_bit) != 0) == (arch_ == Arch::kX32);
  }

  void add(const oci::SyscallRule& rule, int number) {
    if (number >= 0) return add_at(rule, number, -1);
    if (number < -300 || number > -100) return;
    int multiplexer = number > -200 ? info_.socketcall : info_.ipc;
    if (multiplexer == kNone) return;
    add_at(rule, multiplexer, -number % 100);
    if (int direct = direct_number(number, arch_); direct != kNone) add_at(rule, direct, -1);
  }

  void add_at(const oci::SyscallRule& rule, int number, int subcall) {
    unsigned seen = 0;
    bool twice = false;
    for (const auto& c : rule.args) {
      twice |= ((seen >> c.index) & 1) != 0;
      seen |= 1u << c.index;
    }
    uint32_t act = action(rule.action, rule.errno_ret);
    auto nr = static_cast<uint32_t>(number);
    if (!twice)
      entries_.push_back({nr, subcall, rule.args, act});
    else
      for (const auto& c : rule.args) entries_.push_back({nr, subcall, {c}, act});
  }

  const ArchInfo& info_;
  Arch arch_;
  uint32_t default_ = 0;
  int newest_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace onggi::policy::reference
