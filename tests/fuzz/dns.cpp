// DNS packets from hostile clients and hostile servers: whatever the bytes are, a reply is a reply to them,
// within bounds. The input is a packet; its second half is also taken for another server's answer.
#include "fuzz.h"
#include "keeper/dns_message.h"

using onggi::fuzz::require;
using namespace onggi::keeper;

namespace {

NameTable& table() {
  static NameTable t = [] {
    NameTable made;
    made.set_network(
        {"n", "net", false, {*onggi::IpPrefix::parse("10.1.0.0/16"), *onggi::IpPrefix::parse("fd00::/64")}});
    for (uint32_t n = 0; n < 120; n++) {
      NamedEndpoint e;
      e.container = std::string(63, 'a') + static_cast<char>('0' + n % 10) + std::to_string(n);
      e.names = {"web", "w" + std::to_string(n)};
      e.ipv4 = onggi::IpAddress::v4(0x0a010000 + n);
      e.ipv6 = onggi::IpAddress::parse("fd00::")->plus(n);
      e.ports = {"80/tcp"};
      made.set_endpoint("n", e);
    }
    return made;
  }();
  return t;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view packet = onggi::fuzz::text_of(data, size);
  Reply code = Reply::kOk;
  auto question = parse_question(packet, code);
  if (!question) return 0;
  require(packet.size() >= 12 && packet.size() <= kMaxQuery, "what is no packet is no question");
  require(question->name.size() <= 255, "a name has at most 255 bytes");
  Answer answer;
  if (code == Reply::kOk) answer = table().ask(std::string(63, 'a') + "00", question->name, question->wanted);
  for (size_t limit : {size_t{512}, kMaxUdp, kMaxMessage}) {
    std::string reply = build_reply(*question, answer, code, limit);
    require(reply.size() <= std::max(limit, size_t{512}), "a reply fits");
    if (reply.empty()) continue;
    require(reply.size() >= 12 && (reply[2] & 0x80), "a reply says that it is one");
    require(reply.substr(0, 2) == packet.substr(0, 2), "it has the question's number");
  }
  std::string other(packet.substr(packet.size() / 2));
  (void)fits_question(other, *question, question->id);
  return 0;
}
