#include "network/ports.h"

#include <gtest/gtest.h>

namespace onggi::network {
namespace {

std::string all(const std::string& text) {
  auto specs = parse_publish(text);
  if (!specs) return "error: " + specs.error().text();
  std::string out;
  for (const auto& s : *specs) out += (out.empty() ? "" : " ") + port_text(s);
  return out;
}

TEST(Ports, EveryForm) {
  EXPECT_EQ(all("80"), ":0:80/tcp");
  EXPECT_EQ(all("8080:80"), ":8080:80/tcp");
  EXPECT_EQ(all("8080:80/UDP"), ":8080:80/udp");
  EXPECT_EQ(all("127.0.0.1:8080:80"), "127.0.0.1:8080:80/tcp");
  EXPECT_EQ(all("127.0.0.1::80"), "127.0.0.1:0:80/tcp");
  EXPECT_EQ(all("[::1]:8080:80/sctp"), "[::1]:8080:80/sctp");
  EXPECT_EQ(all("[2001:db8::1]::80"), "[2001:db8::1]:0:80/tcp");
  EXPECT_EQ(all("2001:db8::1:8080:80"), "[2001:db8::1]:8080:80/tcp");
  EXPECT_EQ(all("8000-8002:80-82"), ":8000:80/tcp :8001:81/tcp :8002:82/tcp");
  EXPECT_EQ(all("8000-8010:80"), ":8000-8010:80/tcp");
  EXPECT_EQ(all("target=80,published=8080,protocol=udp,mode=host"), ":8080:80/udp");
  EXPECT_EQ(all("target=80"), ":0:80/tcp");
}

TEST(Ports, TheNormalFormReadsAsItself) {
  for (const char* text :
       {":0:80/tcp", ":8080:80/udp", "127.0.0.1:0:80/tcp", "[::1]:8080:80/sctp", ":8000-8010:80/tcp"})
    EXPECT_EQ(all(text), text);
}

TEST(Ports, BadOnes) {
  for (const char* text :
       {"", ":", "80:", "x", "80:x", "0", "80:0", "80:70000", "-1:80", "1-2:1-3", "9-8:9-8", "1.2.3:80:80",
        "80/icmp", "1:2:3:4:5", "[::1:80:80", "target=x", "published=80", "target=80,color=red"})
    EXPECT_TRUE(all(text).starts_with("error")) << text << " -> " << all(text);
}

TEST(Ports, Expose) {
  EXPECT_EQ(*parse_expose("80-82/udp"), (std::vector<std::string>{"80/udp", "81/udp", "82/udp"}));
  EXPECT_FALSE(parse_expose("82-80"));
}

}  // namespace
}  // namespace onggi::network
