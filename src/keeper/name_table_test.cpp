#include "keeper/name_table.h"

#include <gtest/gtest.h>

#include <set>

#include "keeper/dns_message.h"

namespace onggi::keeper {
namespace {

NamedEndpoint endpoint(const std::string& id, std::vector<std::string> names, const char* v4,
                       const char* v6 = "") {
  NamedEndpoint e;
  e.container = id + std::string(64 - id.size(), '0');
  e.names = std::move(names);
  e.names.push_back(e.container.substr(0, 12));
  e.ipv4 = *IpAddress::parse(v4);
  if (*v6) e.ipv6 = *IpAddress::parse(v6);
  return e;
}
std::string id(const std::string& short_id) { return short_id + std::string(64 - short_id.size(), '0'); }

class Table : public testing::Test {
 protected:
  void SetUp() override {
    table.set_network({"n1", "front", false, {*IpPrefix::parse("10.1.0.0/24")}});
    table.set_network({"n2", "data", true, {*IpPrefix::parse("10.2.0.0/24")}});
    table.set_endpoint("n1", endpoint("a", {"web-1", "web"}, "10.1.0.2", "fd00::2"));
    table.set_endpoint("n1", endpoint("b", {"web-2", "web"}, "10.1.0.3"));
    table.set_endpoint("n2", endpoint("b", {"web-2"}, "10.2.0.3"));
    table.set_endpoint("n2", endpoint("c", {"db"}, "10.2.0.4"));
  }
  std::set<std::string> addresses(const char* who, const std::string& name, Wanted wanted = Wanted::kA) {
    std::set<std::string> out;
    for (const auto& a : table.ask(id(who), name, wanted).addresses) out.insert(a.text());
    return out;
  }
  NameTable table;
};

TEST_F(Table, ReplicasTakeTurns) {
  EXPECT_EQ(addresses("a", "web"), (std::set<std::string>{"10.1.0.2", "10.1.0.3"}));
  std::set<std::string> first;
  for (int n = 0; n < 4; n++) first.insert(table.ask(id("a"), "web", Wanted::kA).addresses[0].text());
  EXPECT_EQ(first.size(), 2u);
}

TEST_F(Table, OnlyOnesOwnNetworks) {
  EXPECT_EQ(addresses("b", "db"), std::set<std::string>{"10.2.0.4"});
  EXPECT_EQ(table.ask(id("a"), "db", Wanted::kA).kind, Answer::Kind::kForward);
  EXPECT_EQ(addresses("b", "web-2.data"), std::set<std::string>{"10.2.0.3"});
  EXPECT_TRUE(table.may_forward(id("b")));
  EXPECT_FALSE(table.may_forward(id("c"))) << "only on an internal network";
  EXPECT_EQ(table.client("n1", *IpAddress::parse("10.1.0.3"))->container, id("b"));
  EXPECT_EQ(table.client("n2", *IpAddress::parse("10.1.0.3")), nullptr);
}

TEST_F(Table, NoDataIsNotNoName) {
  EXPECT_EQ(table.ask(id("a"), "web-2", Wanted::kAaaa).kind, Answer::Kind::kNoData);
  EXPECT_EQ(table.ask(id("a"), "web-2", Wanted::kOther).kind, Answer::Kind::kNoData);
  EXPECT_EQ(table.ask(id("a"), "9.0.1.10.in-addr.arpa", Wanted::kPtr).kind, Answer::Kind::kNone);
  EXPECT_EQ(table.ask(id("a"), "9.0.9.10.in-addr.arpa", Wanted::kPtr).kind, Answer::Kind::kForward);
}

TEST_F(Table, AServiceOnIpv4AloneHasNoIpv6Name) {
  auto both = endpoint("e", {"both"}, "10.1.0.20");
  both.ipv6 = *IpAddress::parse("fd00::20");
  table.set_endpoint("n1", both);
  EXPECT_EQ(table.ask(id("a"), "both", Wanted::kAaaa).addresses.size(), 1u);
  table.hide_v6_of([](const std::string& container) { return container == id("e"); });
  EXPECT_EQ(table.ask(id("a"), "both", Wanted::kAaaa).kind, Answer::Kind::kNoData);
  EXPECT_EQ(table.ask(id("a"), "both", Wanted::kA).addresses.size(), 1u);
}

TEST_F(Table, ReverseAndServices) {
  auto names = table.ask(id("a"), IpAddress::parse("10.1.0.3")->reverse_name(), Wanted::kPtr).names;
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()),
            (std::set<std::string>{"web.front", "web-2.front"}));
  EXPECT_EQ(table.ask(id("a"), IpAddress::parse("fd00::2")->reverse_name(), Wanted::kPtr).names.size(), 2u);
  auto e = endpoint("d", {"api"}, "10.1.0.9");
  e.ports = {"8080/tcp"};
  table.set_endpoint("n1", e);
  auto answer = table.ask(id("a"), "_8080._tcp.api", Wanted::kSrv);
  ASSERT_EQ(answer.services.size(), 1u);
  EXPECT_EQ(answer.services[0].port, 8080);
  EXPECT_EQ(table.ask(id("a"), "_81._tcp.api", Wanted::kSrv).kind, Answer::Kind::kNoData);
}

TEST_F(Table, DrainedRenamedAndRemoved) {
  auto e = endpoint("a", {"web-1", "web"}, "10.1.0.2");
  e.drained = true;
  table.set_endpoint("n1", e);
  EXPECT_EQ(addresses("b", "web"), std::set<std::string>{"10.1.0.3"});
  table.set_endpoint("n1", endpoint("b", {"renamed"}, "10.1.0.7"));
  EXPECT_TRUE(addresses("a", "web-2").empty());
  EXPECT_EQ(addresses("a", "renamed"), std::set<std::string>{"10.1.0.7"});
  EXPECT_EQ(table.client("n1", *IpAddress::parse("10.1.0.3")), nullptr);
  table.remove_endpoint("n1", id("b"));
  EXPECT_EQ(table.ask(id("a"), "renamed", Wanted::kA).kind, Answer::Kind::kForward);
  table.remove_network("n2");
  EXPECT_EQ(table.size(), 1u);
}

// --- packets ---

std::string query(const std::string& name, char type, const std::string& tail = "") {
  std::string p("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
  if (!tail.empty()) p[11] = 1;
  for (size_t at = 0; at < name.size();) {
    size_t end = std::min(name.find('.', at), name.size());
    p += static_cast<char>(end - at) + name.substr(at, end - at);
    at = end + 1;
  }
  return p + std::string("\0\0", 2) + type + std::string("\0\1", 2) + tail;
}

TEST(Dns, Questions) {
  Reply code;
  auto q = parse_question(query("WEB.Front", 1), code);
  ASSERT_TRUE(q);
  EXPECT_EQ(code, Reply::kOk);
  EXPECT_EQ(q->name, "web.front");
  EXPECT_EQ(q->udp_size, 512u);
  q = parse_question(query("web", 28, std::string("\0\0\x29\x10\0\0\0\0\0\0\0", 11)), code);
  ASSERT_TRUE(q && q->has_edns);
  EXPECT_EQ(q->udp_size, 4096u);
  EXPECT_EQ(q->wanted, Wanted::kAaaa);
}

TEST(Dns, WhatIsNoQuestion) {
  Reply code;
  std::string good = query("web", 1);
  EXPECT_FALSE(parse_question(good.substr(0, 11), code));
  EXPECT_FALSE(parse_question(good + std::string(5000, 'x'), code));
  std::string reply = good;
  reply[2] = '\x81';
  EXPECT_FALSE(parse_question(reply, code)) << "a reply";
  std::string two = good, update = good, loop = good.substr(0, 12) + std::string("\xc0\x0c\0\1\0\1", 6);
  two[5] = 2;
  update[2] = '\x28';
  EXPECT_TRUE(parse_question(two, code));
  EXPECT_EQ(code, Reply::kFormat);
  EXPECT_TRUE(parse_question(update, code));
  EXPECT_EQ(code, Reply::kNotBuilt);
  EXPECT_TRUE(parse_question(loop, code));
  EXPECT_EQ(code, Reply::kFormat);
}

TEST(Dns, RepliesFitAndAreCut) {
  Reply code;
  auto q = parse_question(query("web", 1), code);
  Answer answer;
  answer.kind = Answer::Kind::kAddresses;
  for (uint32_t n = 0; n < 100; n++) answer.addresses.push_back(IpAddress::v4(0x0a000000 + n));
  std::string whole = build_reply(*q, answer, Reply::kOk, kMaxMessage),
              cut = build_reply(*q, answer, Reply::kOk, 512);
  EXPECT_GT(whole.size(), 1600u);
  EXPECT_LE(cut.size(), 512u);
  EXPECT_TRUE(cut[2] & 2) << "truncated";
  EXPECT_EQ(whole[7], 100);
  EXPECT_EQ(whole.substr(0, 2), "\x12\x34");
}

TEST(Dns, RepliesOfOthersMustFit) {
  Reply code;
  auto q = parse_question(query("example.com", 1), code);
  std::string reply = q->packet;
  reply[0] = '\x55', reply[1] = '\x66', reply[2] = '\x81', reply[3] = '\x80';
  std::string other = reply, capital = reply;
  EXPECT_TRUE(fits_question(reply, *q, 0x5566));
  EXPECT_EQ(reply.substr(0, 2), "\x12\x34") << "the client's number is back";
  EXPECT_FALSE(fits_question(other, *q, 0x5567));
  other[14] = 'y';
  EXPECT_FALSE(fits_question(other, *q, 0x5566));
  capital[13] = 'E';
  EXPECT_TRUE(fits_question(capital, *q, 0x5566));
}

}  // namespace
}  // namespace onggi::keeper
