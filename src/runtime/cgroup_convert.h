// The OCI specification speaks cgroup v1; these are the conversions to the units of v2, and the parsing of
// lists that both need. Pure. The formulas are the ones that runc and crun document, since engines and their
// tests compare the results.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onggi::runtime {

// cpu.shares (2..262144, default 1024) -> cpu.weight (1..10000, default 100): 10^((l^2 + 125 l) / 612 - 7/34)
// with l = log2(shares), rounded up. It maps both ends and the default on each other, which the older linear
// formula (1024 -> 39) did not. 0 (unset) gives 0.
uint64_t cpu_weight_from_shares(uint64_t shares);
// blkio weight (10..1000) -> io.weight (1..10000), linear: 1 + (w - 10) * 9999 / 990. 0 gives 0.
uint64_t io_weight_from_blkio(uint16_t weight);

// memory.swap of the specification is memory plus swap together; memory.swap.max is swap alone. Bytes; -1 is
// unlimited, and absence is passed as 0. The result is the value for memory.swap.max: -1 for "max"; nothing
// to write is `unset`.
struct SwapMax {
  bool unset = true;
  int64_t value = 0;
};
Result<SwapMax> swap_max_from_memsw(int64_t memsw, int64_t memory);

// "max" for negative values, else the number.
std::string max_or_number(int64_t value);

// A list such as "0-3,7" -> numbers in ascending order. Empty text gives an empty list. Errors name `what`.
Result<std::vector<uint16_t>> parse_id_list(std::string_view list, std::string_view what);
// The same as the little-endian bit mask that systemd takes for AllowedCPUs.
Result<std::vector<uint8_t>> bits_from_id_list(std::string_view list, std::string_view what);
// "a-b-c.slice" -> "/a.slice/a-b.slice/a-b-c.slice"; "-.slice" -> "".
Result<std::string> expand_slice(std::string_view slice);

}  // namespace onggi::runtime
