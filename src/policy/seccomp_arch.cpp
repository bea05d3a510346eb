// Tables of architectures and system calls. Names are found by a hash table that the compiler fills, since a
// profile asks for several hundred names and the time of each start counts.
#include "policy/seccomp_arch.h"

#include <algorithm>
#include <array>

namespace onggi::policy {
namespace {

// As generated; used by the compiler only, to fill kSyscalls.
struct GeneratedRow {
  std::string_view name;
  int32_t number[kArchCount];
};
constexpr GeneratedRow kGenerated[] = {
#include "policy/syscalls.inc"
};
constexpr size_t kRows = std::size(kGenerated);

constexpr ArchInfo kArches[kArchCount] = {
    {"SCMP_ARCH_X86_64", 0xC000003E, false, false, 0, kNone, kNone},
    {"SCMP_ARCH_X86", 0x40000003, true, false, 0, 102, 117},
    {"SCMP_ARCH_X32", 0xC000003E, true, false, 0x40000000, kNone, kNone},
    {"SCMP_ARCH_ARM", 0x40000028, true, false, 0, kNone, kNone},
    {"SCMP_ARCH_AARCH64", 0xC00000B7, false, false, 0, kNone, kNone},
    {"SCMP_ARCH_MIPS", 0x00000008, true, true, 4000, 4102, 4117},
    {"SCMP_ARCH_MIPS64", 0x80000008, false, true, 5000, kNone, kNone},
    {"SCMP_ARCH_MIPS64N32", 0xA0000008, true, true, 6000, kNone, kNone},
    {"SCMP_ARCH_MIPSEL", 0x40000008, true, false, 4000, 4102, 4117},
    {"SCMP_ARCH_MIPSEL64", 0xC0000008, false, false, 5000, kNone, kNone},
    {"SCMP_ARCH_MIPSEL64N32", 0xE0000008, true, false, 6000, kNone, kNone},
    {"SCMP_ARCH_PARISC", 0x0000000F, true, true, 0, kNone, kNone},
    {"SCMP_ARCH_PARISC64", 0x8000000F, false, true, 0, kNone, kNone},
    {"SCMP_ARCH_PPC", 0x00000014, true, true, 0, 102, 117},
    {"SCMP_ARCH_PPC64", 0x80000015, false, true, 0, 102, 117},
    {"SCMP_ARCH_PPC64LE", 0xC0000015, false, false, 0, 102, 117},
    {"SCMP_ARCH_S390", 0x00000016, true, true, 0, 102, 117},
    {"SCMP_ARCH_S390X", 0x80000016, false, true, 0, 102, 117},
    {"SCMP_ARCH_RISCV64", 0xC00000F3, false, false, 0, kNone, kNone},
    {"SCMP_ARCH_LOONGARCH64", 0xC0000102, false, false, 0, kNone, kNone},
};

// What is looked up: name and numbers side by side, small and in alphabetic order like most profiles, since
// at the start of a program every line of memory is a cache miss.
struct SyscallRow {
  uint8_t length;
  char name[29];
  int16_t number[kArchCount];  // packed
  [[nodiscard]] constexpr std::string_view view() const { return {name, length}; }
};

// Packed numbers: from the architecture's base on; below zero the mark of a multiplexed call; kPackedNone; or
// one of arm's private calls.
constexpr int16_t kPackedNone = INT16_MIN, kPackedArm = 0x4000;
constexpr int32_t kArmPrivate = 0xf0000;

constexpr int16_t pack(int32_t number, int32_t base) {
  if (number == kNone) return kPackedNone;
  if (number < 0) return static_cast<int16_t>(number);
  if (number >= kArmPrivate && base == 0) return static_cast<int16_t>(number - kArmPrivate + kPackedArm);
  return static_cast<int16_t>(number - base);
}
constexpr int32_t unpack(int16_t packed, int32_t base) {
  if (packed == kPackedNone) return kNone;
  if (packed < 0) return packed;
  return packed >= kPackedArm ? packed - kPackedArm + kArmPrivate : packed + base;
}

constexpr auto kSyscalls = [] {
  std::array<SyscallRow, kRows> rows{};
  for (size_t row = 0; row < kRows; row++) {
    rows[row].length = static_cast<uint8_t>(kGenerated[row].name.size());
    for (size_t i = 0; i < kGenerated[row].name.size(); i++) rows[row].name[i] = kGenerated[row].name[i];
    for (size_t i = 0; i < kArchCount; i++)
      rows[row].number[i] = pack(kGenerated[row].number[i], kArches[i].base);
  }
  return rows;
}();
static_assert([] {
  for (size_t row = 0; row < kRows; row++)
    for (size_t i = 0; i < kArchCount; i++)
      if (unpack(kSyscalls[row].number[i], kArches[i].base) != kGenerated[row].number[i]) return false;
  return true;
}());

constexpr uint32_t hash(std::string_view s) {
  uint32_t h = 2166136261u;  // FNV-1a
  for (char c : s) h = (h ^ static_cast<unsigned char>(c)) * 16777619u;
  return h ^ (h >> 15);
}

// Open addressing; twice as many places as names and more, so that nearly every probe is the first.
constexpr size_t kPlaces = 2048;
static_assert(kRows * 2 < kPlaces);
constexpr auto kPlaceOf = [] {
  std::array<uint16_t, kPlaces> places{};  // row + 1; 0 is empty
  for (size_t row = 0; row < kRows; row++) {
    size_t at = hash(kGenerated[row].name) % kPlaces;
    while (places[at]) at = (at + 1) % kPlaces;
    places[at] = static_cast<uint16_t>(row + 1);
  }
  return places;
}();

// Numbers of multiplexed calls that also have their own: sockets on i386 and s390 since Linux 4.3, SysV IPC
// since 5.1.
struct DirectRow {
  int32_t mark;
  int32_t number[kArchCount];
};
constexpr DirectRow kDirect[] = {
#include "policy/syscalls_direct.inc"
};

}  // namespace

const ArchInfo& arch_info(Arch arch) { return kArches[static_cast<size_t>(arch)]; }

std::optional<Arch> arch_by_name(std::string_view name) {
  for (size_t i = 0; i < kArchCount; i++)
    if (kArches[i].name == name) return static_cast<Arch>(i);
  return std::nullopt;
}

Arch native_arch() {
#if defined(__x86_64__)
  return Arch::kX86_64;
#elif defined(__aarch64__)
  return Arch::kAarch64;
#elif defined(__riscv) && __riscv_xlen == 64
  return Arch::kRiscv64;
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
  return Arch::kPpc64le;
#elif defined(__s390x__)
  return Arch::kS390x;
#elif defined(__loongarch64)
  return Arch::kLoongarch64;
#elif defined(__arm__)
  return Arch::kArm;
#elif defined(__i386__)
  return Arch::kX86;
#else
#error "name this architecture in seccomp_arch.cpp"
#endif
}

std::optional<uint16_t> find_syscall(std::string_view name) {
  for (size_t at = hash(name) % kPlaces; kPlaceOf[at]; at = (at + 1) % kPlaces) {
    uint16_t row = static_cast<uint16_t>(kPlaceOf[at] - 1);
    if (kSyscalls[row].view() == name) return row;
  }
  return std::nullopt;
}

std::string_view syscall_name(uint16_t row) { return kSyscalls[row].view(); }
size_t syscall_count() { return kRows; }
int32_t syscall_number(uint16_t row, Arch arch) {
  auto column = static_cast<size_t>(arch);
  return unpack(kSyscalls[row].number[column], kArches[column].base);
}

int32_t direct_number(int32_t mark, Arch arch) {
  for (const DirectRow& row : kDirect)
    if (row.mark == mark) return row.number[static_cast<size_t>(arch)];
  return kNone;
}

}  // namespace onggi::policy
