#include "keeper/listeners.h"

#include <gtest/gtest.h>

namespace onggi::keeper {
namespace {

const std::string kHead4 =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const std::string kHead6 =
    "  sl  local_address                         remote_address                        st tx_queue "
    "rx_queue\n";
std::string four(const char* address, const char* port, const char* state) {
  return std::string("   0: ") + address + ":" + port + " 00000000:0000 " + state +
         " 00000000:00000000 00:00000000 00000000     0        0 1\n";
}
std::string six(const char* port) {
  return std::string("   0: 00000000000000000000000000000000:") + port +
         " 00000000000000000000000000000000:0000 0A 00000000:00000000\n";
}

TEST(Listeners, AServerOnIpv4Alone) {
  EXPECT_TRUE(listens_on_v4_alone(kHead4 + four("00000000", "18EB", "0A"), kHead6));
  EXPECT_TRUE(listens_on_v4_alone(kHead4 + four("0200D00A", "18EB", "0A"), kHead6 + six("1F40")));
}

TEST(Listeners, BothFamilies) {
  EXPECT_FALSE(listens_on_v4_alone(kHead4 + four("00000000", "1F40", "0A"), kHead6 + six("1F40")));
  EXPECT_FALSE(listens_on_v4_alone(kHead4, kHead6 + six("1F40"))) << "one socket for both stands in tcp6";
  EXPECT_FALSE(listens_on_v4_alone(kHead4, kHead6)) << "nothing listens";
}

TEST(Listeners, WhatDoesNotCount) {
  EXPECT_FALSE(listens_on_v4_alone(kHead4 + four("0100007F", "18EB", "0A"), kHead6)) << "loopback";
  EXPECT_FALSE(listens_on_v4_alone(kHead4 + four("0200D00A", "18EB", "01"), kHead6)) << "a connection";
  EXPECT_FALSE(listens_on_v4_alone("", "")) << "no table";
  EXPECT_FALSE(listens_on_v4_alone(kHead4 + "   0: 0000\n   1:\n:\n", kHead6 + "x")) << "malformed lines";
}

}  // namespace
}  // namespace onggi::keeper
