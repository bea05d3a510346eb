#include "engine/socket_table.h"

#include <algorithm>
#include <optional>
#include <string>

#include "base/file.h"

namespace onggi::engine {

namespace {

std::optional<uint32_t> hexadecimal(std::string_view text) {
  uint32_t value = 0;
  for (char c : text) {
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return std::nullopt;
    value = value << 4 | static_cast<uint32_t>(digit);
  }
  return value;
}

// Words of 32 bits as this machine has them in memory, which is network order.
std::optional<IpAddress> address_of(std::string_view digits) {
  constexpr size_t kWord = 8;
  std::string bytes;
  for (size_t at = 0; at + kWord <= digits.size(); at += kWord) {
    auto word = hexadecimal(digits.substr(at, kWord));
    if (!word) return std::nullopt;
    bytes.append(reinterpret_cast<const char*>(&*word), sizeof *word);
  }
  constexpr std::string_view kMapped("\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
  if (bytes.size() == 16 && bytes.starts_with(kMapped)) bytes.erase(0, kMapped.size());
  return IpAddress::from_bytes(bytes);
}

// "ADDRESS:PORT", the address in 8 or 32 digits.
bool read_place(std::string_view word, IpAddress& address, uint16_t& port) {
  constexpr size_t kV4 = 8, kV6 = 32, kPort = 4;
  size_t colon = word.find(':');
  if ((colon != kV4 && colon != kV6) || word.size() != colon + 1 + kPort) return false;
  auto a = address_of(word.substr(0, colon));
  auto p = hexadecimal(word.substr(colon + 1));
  if (!a || !p) return false;
  address = *a;
  port = static_cast<uint16_t>(*p);
  return true;
}

std::string_view next_word(std::string_view& line) {
  size_t begin = std::min(line.find_first_not_of(' '), line.size());
  size_t end = std::min(line.find(' ', begin), line.size());
  std::string_view word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

}  // namespace

std::vector<SocketEntry> parse_socket_table(std::string_view text) {
  std::vector<SocketEntry> list;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    (void)next_word(line);  // "0:"; of the heading "sl", whose next words are no addresses
    SocketEntry e;
    if (!read_place(next_word(line), e.local, e.local_port) ||
        !read_place(next_word(line), e.remote, e.remote_port))
      continue;
    auto state = hexadecimal(next_word(line));
    if (!state || *state > 0xff) continue;
    e.state = static_cast<uint8_t>(*state);
    list.push_back(e);
  }
  return list;
}

std::vector<SocketEntry> sockets_of(int pid, const char* protocol) {
  constexpr size_t kMostBytes = 1 << 20;
  std::vector<SocketEntry> all;
  for (const char* family : {"", "6"}) {
    auto text = read_file("/proc/" + std::to_string(pid) + "/net/" + protocol + family, kMostBytes);
    if (!text) continue;
    auto some = parse_socket_table(*text);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace onggi::engine
