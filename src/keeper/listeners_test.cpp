#include "keeper/listeners.h"

#include <gtest/gtest.h>

namespace onggi::keeper {
namespace {

engine::SocketEntry listening(const char* address, uint16_t port, uint8_t state = engine::kSocketListens) {
  engine::SocketEntry e;
  e.local = *IpAddress::parse(address);
  e.local_port = port;
  e.state = state;
  return e;
}

TEST(Listeners, AServerOnIpv4Alone) {
  EXPECT_TRUE(listens_on_v4_alone({listening("0.0.0.0", 6379)}));
  EXPECT_TRUE(listens_on_v4_alone({listening("10.208.0.2", 6379), listening("::", 8000)}));
}

TEST(Listeners, BothFamilies) {
  EXPECT_FALSE(listens_on_v4_alone({listening("0.0.0.0", 8000), listening("::", 8000)}));
  EXPECT_FALSE(listens_on_v4_alone({listening("::", 8000)})) << "one socket for both";
  EXPECT_FALSE(listens_on_v4_alone({})) << "nothing listens";
}

TEST(Listeners, WhatDoesNotCount) {
  EXPECT_FALSE(listens_on_v4_alone({listening("127.0.0.1", 6379)})) << "loopback";
  EXPECT_FALSE(listens_on_v4_alone({listening("10.208.0.2", 6379, engine::kSocketEstablished)}));
}

}  // namespace
}  // namespace onggi::keeper
