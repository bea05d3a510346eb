#include "keeper/listeners.h"

#include <algorithm>
#include <set>

#include "base/file.h"

namespace onggi::keeper {

namespace {

constexpr size_t kMostBytes = 1 << 20;  // a table of some 7,000 sockets; of a longer one the beginning counts

// "  0: 00000000:1F90 00000000:0000 0A ...": the ports (hexadecimal, as text) of listening sockets that are
// not on 127/8.
std::set<std::string> listening_ports(std::string_view table, size_t address_digits) {
  std::set<std::string> ports;
  constexpr size_t kPortDigits = 4;
  for (size_t at = table.find('\n'); at != std::string_view::npos;) {
    size_t end = std::min(table.find('\n', at + 1), table.size());
    std::string_view line = table.substr(at + 1, end - at - 1);
    at = end == table.size() ? std::string_view::npos : end;
    size_t colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    line.remove_prefix(colon + 2);
    // ADDRESS:PORT ADDRESS:PORT STATE
    size_t state = 2 * (address_digits + 1 + kPortDigits + 1);
    if (line.size() < state + 2 || line[address_digits] != ':' || line.substr(state, 2) != "0A") continue;
    // Little endian: the first byte of an IPv4 address is its last two digits.
    if (address_digits == 8 && line.substr(6, 2) == "7F") continue;
    ports.emplace(line.substr(address_digits + 1, kPortDigits));
  }
  return ports;
}

}  // namespace

bool listens_on_v4_alone(std::string_view tcp, std::string_view tcp6) {
  auto four = listening_ports(tcp, 8), six = listening_ports(tcp6, 32);
  return std::any_of(four.begin(), four.end(), [&](const std::string& port) { return !six.contains(port); });
}

bool process_listens_on_v4_alone(int pid) {
  std::string base = "/proc/" + std::to_string(pid) + "/net/";
  auto tcp = read_file(base + "tcp", kMostBytes), tcp6 = read_file(base + "tcp6", kMostBytes);
  return tcp && tcp6 && listens_on_v4_alone(*tcp, *tcp6);
}

}  // namespace onggi::keeper
