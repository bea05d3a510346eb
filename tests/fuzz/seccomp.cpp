// linux.seccomp as JSON: a program comes out only if the kernel's checker would take it, and it answers every
// call.
#include "policy/seccomp.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <bit>

#include "base/json.h"
#include "fuzz.h"
#include "oci/spec_json.h"
#include "policy/seccomp_arch.h"

using namespace onggi;

namespace {

// The rules of the kernel's bpf_check_classic() and seccomp_check_filter() for the instructions that are made
// here.
void check_program(const std::vector<uint64_t>& code) {
  fuzz::require(!code.empty() && code.size() <= BPF_MAXINSNS, "the length is what the kernel takes");
  for (size_t i = 0; i < code.size(); i++) {
    auto insn = std::bit_cast<sock_filter>(code[i]);
    size_t left = code.size() - i - 1;
    switch (insn.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        fuzz::require(insn.k < sizeof(seccomp_data) && insn.k % 4 == 0, "loads are inside");
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        break;
      case BPF_JMP | BPF_JA:
        fuzz::require(insn.k < left, "long jumps stay inside");
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
      case BPF_JMP | BPF_JGT | BPF_K:
      case BPF_JMP | BPF_JGE | BPF_K:
        fuzz::require(std::max(insn.jt, insn.jf) < left, "jumps stay inside");
        break;
      case BPF_RET | BPF_K:
        break;
      default:
        fuzz::require(false, "only known instructions");
    }
  }
  fuzz::require(std::bit_cast<sock_filter>(code.back()).code == (BPF_RET | BPF_K),
                "the last instruction returns");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto profile = json_parse<oci::Seccomp>(fuzz::text_of(data, size), "seccomp");
  if (!profile) return 0;
  for (policy::Arch native : {policy::Arch::kX86_64, policy::Arch::kAarch64, policy::Arch::kS390x}) {
    auto program = policy::compile_seccomp_for(native, *profile);
    if (program)
      check_program(program->code);
    else
      fuzz::require(program.error().text().starts_with("linux.seccomp"), "errors name the member",
                    program.error().text());
  }
  return 0;
}
