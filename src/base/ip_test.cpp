#include "base/ip.h"

#include <gtest/gtest.h>

using onggi::IpAddress;
using onggi::IpPrefix;

namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }
IpPrefix net(const char* text) { return *IpPrefix::parse(text); }

TEST(Ip, TextThereAndBack) {
  for (const char* text :
       {"0.0.0.0", "10.208.0.1", "::", "::1", "fd12:3456:789a::1", "2001:db8::ff00:42:8329"})
    EXPECT_EQ(ip(text).text(), text);
  for (const char* text :
       {"", "10.0.0", "10.0.0.256", "010.0.0.1", "1::2::3", "fe80::1%eth0", "10.0.0.1 ", "x"})
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  EXPECT_FALSE(IpAddress::parse(std::string_view("10.0.0.1\0x", 10)));
}

TEST(Ip, Arithmetic) {
  EXPECT_EQ(ip("10.0.0.255").plus(1), ip("10.0.1.0"));
  EXPECT_EQ(ip("fd00::ffff:ffff").plus(1), ip("fd00::1:0:0"));
  EXPECT_EQ(ip("255.255.255.255").plus(1), ip("0.0.0.0"));
  EXPECT_EQ(ip("10.0.1.5").distance_from(ip("10.0.0.0")), 261u);
  EXPECT_EQ(ip("fd01::5").distance_from(ip("fd00::")), UINT64_MAX);
  EXPECT_EQ(ip("10.0.0.1").distance_from(ip("10.0.0.2")), UINT64_MAX);
}

TEST(Ip, ReverseNames) {
  EXPECT_EQ(ip("10.208.0.5").reverse_name(), "5.0.208.10.in-addr.arpa");
  EXPECT_EQ(ip("fd00::12").reverse_name(),
            "2.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa");
}

TEST(Ip, Prefixes) {
  EXPECT_EQ(net("10.208.4.0/22").last(), ip("10.208.7.255"));
  EXPECT_TRUE(net("10.208.0.0/12").overlaps(net("10.208.4.0/22")));
  EXPECT_FALSE(net("10.208.0.0/22").overlaps(net("10.208.4.0/22")));
  EXPECT_FALSE(net("10.0.0.0/8").overlaps(net("fd00::/8")));
  EXPECT_TRUE(net("0.0.0.0/0").contains(ip("1.2.3.4")));
  EXPECT_EQ(IpPrefix::parse("10.0.0.9/24", true)->text(), "10.0.0.0/24");
  for (const char* text : {"10.0.0.9/24", "10.0.0.0/33", "10.0.0.0", "fd00::/129", "/24", "10.0.0.0/x"})
    EXPECT_FALSE(IpPrefix::parse(text)) << text;
}

}  // namespace
