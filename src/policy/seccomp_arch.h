// Architectures as seccomp sees them, and the numbers of system calls on each. Internal to policy/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace onggi::policy {

// Columns of syscalls.inc.
enum class Arch : uint8_t {
  kX86_64,
  kX86,
  kX32,
  kArm,
  kAarch64,
  kMips,
  kMips64,
  kMips64N32,
  kMipsel,
  kMipsel64,
  kMipsel64N32,
  kParisc,
  kParisc64,
  kPpc,
  kPpc64,
  kPpc64le,
  kS390,
  kS390x,
  kRiscv64,
  kLoongarch64,
};
inline constexpr size_t kArchCount = 20;

inline constexpr int32_t kNone = INT32_MIN;  // the architecture does not have the call
inline constexpr uint32_t kX32Bit = 0x40000000;

struct ArchInfo {
  std::string_view name;  // "SCMP_ARCH_X86_64"
  uint32_t audit;         // AUDIT_ARCH_*, the value of seccomp_data.arch
  // Arguments are compared as 32 bits. libseccomp counts x32 and n32 among these; so does this compiler.
  bool args32;
  bool big_endian;
  int32_t base;  // the lowest number; dense tables are indexed from here
  // Numbers of the multiplexers, or kNone where each call has only its own number.
  int32_t socketcall, ipc;
};

const ArchInfo& arch_info(Arch arch);
std::optional<Arch> arch_by_name(std::string_view name);
Arch native_arch();

// A row of the table; nullopt for a name that no architecture knows.
std::optional<uint16_t> find_syscall(std::string_view name);
std::string_view syscall_name(uint16_t row);
size_t syscall_count();
// The number, kNone, or a mark below -100: -1XX is sub-call XX of socketcall(2), -2XX of ipc(2).
int32_t syscall_number(uint16_t row, Arch arch);
// The number that newer kernels gave a multiplexed call beside its sub-call; kNone if there is none.
int32_t direct_number(int32_t mark, Arch arch);

}  // namespace onggi::policy
