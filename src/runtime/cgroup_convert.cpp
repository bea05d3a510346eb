#include "runtime/cgroup_convert.h"

#include <algorithm>
#include <cmath>

#include "base/file.h"

namespace onggi::runtime {

uint64_t cpu_weight_from_shares(uint64_t shares) {
  if (shares == 0) return 0;
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  double l = std::log2(static_cast<double>(shares));
  double exponent = (l * l + 125 * l) / 612.0 - 7.0 / 34.0;
  return static_cast<uint64_t>(std::ceil(std::pow(10, exponent)));
}

uint64_t io_weight_from_blkio(uint16_t weight) {
  if (weight == 0) return 0;
  if (weight < 10) return 1;
  return 1 + (uint64_t{weight} - 10) * 9999 / 990;
}

Result<SwapMax> swap_max_from_memsw(int64_t memsw, int64_t memory) {
  if (memsw == 0) {
    // v1 semantics: unlimited memory without a word about swap means unlimited swap too.
    if (memory == -1) return SwapMax{false, -1};
    return SwapMax{};
  }
  if (memsw < 0) return SwapMax{false, -1};
  if (memory == -1) return SwapMax{false, memsw};
  if (memory == 0)
    return fail(
        Error::invalid("linux.resources.memory.swap: it is the sum of memory and swap, so it needs "
                       "linux.resources.memory.limit as well"));
  if (memory < 0)
    return fail(Error::invalid("linux.resources.memory.limit: " + std::to_string(memory) + " is not a size"));
  if (memsw < memory)
    return fail(Error::invalid("linux.resources.memory.swap: " + std::to_string(memsw) +
                               " is the sum of memory and swap and must not be below the memory limit " +
                               std::to_string(memory)));
  return SwapMax{false, memsw - memory};
}

std::string max_or_number(int64_t value) { return value < 0 ? "max" : std::to_string(value); }

Result<std::vector<uint16_t>> parse_id_list(std::string_view list, std::string_view what) {
  constexpr uint64_t kMaxId = 8191;  // the kernel's largest NR_CPUS
  std::vector<uint16_t> ids;
  list = trim(list);
  while (!list.empty()) {
    size_t comma = list.find(',');
    std::string_view part = trim(list.substr(0, comma));
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
    if (part.empty()) continue;
    size_t dash = part.find('-');
    uint64_t first = TRY(parse_u64(trim(part.substr(0, dash)), what));
    uint64_t last =
        dash == std::string_view::npos ? first : TRY(parse_u64(trim(part.substr(dash + 1)), what));
    if (last < first || last > kMaxId)
      return fail(Error::invalid(std::string(what) + ": '" + std::string(part) +
                                 "' is not a range of ids from 0 to 8191"));
    for (uint64_t id = first; id <= last; id++) ids.push_back(static_cast<uint16_t>(id));
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

Result<std::vector<uint8_t>> bits_from_id_list(std::string_view list, std::string_view what) {
  std::vector<uint16_t> ids = TRY(parse_id_list(list, what));
  if (ids.empty())
    return fail(Error::invalid(std::string(what) + ": '" + std::string(list) + "' names no id"));
  std::vector<uint8_t> bits(ids.back() / 8 + 1, 0);
  for (uint16_t id : ids) bits[id / 8] = static_cast<uint8_t>(bits[id / 8] | 1u << (id % 8));
  return bits;
}

Result<std::string> expand_slice(std::string_view slice) {
  constexpr std::string_view kSuffix = ".slice";
  auto invalid = [&] {
    return fail(Error::invalid("linux.cgroupsPath: '" + std::string(slice) +
                               "' is not a systemd slice name (such as \"machine.slice\" or \"a-b.slice\")"));
  };
  if (!slice.ends_with(kSuffix) || slice.find('/') != std::string_view::npos) return invalid();
  std::string_view name = slice.substr(0, slice.size() - kSuffix.size());
  if (name == "-") return std::string();
  std::string path;
  size_t end = 0;
  for (;;) {
    size_t dash = name.find('-', end);
    size_t stop = dash == std::string_view::npos ? name.size() : dash;
    if (stop == end) return invalid();  // "", "-a", "a--b", "a-"
    path += '/';
    path += name.substr(0, stop);
    path += kSuffix;
    if (dash == std::string_view::npos) return path;
    end = dash + 1;
  }
}

}  // namespace onggi::runtime
