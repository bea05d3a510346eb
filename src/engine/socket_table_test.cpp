#include "engine/socket_table.h"

#include <gtest/gtest.h>

namespace onggi::engine {
namespace {

TEST(SocketTable, LinesOfTheKernel) {
  auto list = parse_socket_table(
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
      "   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n"
      "   1: 0200D00A:1F40 0300D00A:B1E2 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0\n"
      "   2: 000080FE00000000000000000100000A:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 3\n"
      "   3: 0000000000000000FFFF00000200D00A:0050 0000000000000000FFFF00000300D00A:C000 06 0:0 0:0 0 0 0 "
      "3\n");
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(list[0].state, kSocketListens);
  EXPECT_EQ(list[0].local_port, 8000);
  EXPECT_EQ(list[1].local.text() + " " + list[1].remote.text(), "10.208.0.2 10.208.0.3");
  EXPECT_EQ(list[1].remote_port, 0xb1e2);
  EXPECT_EQ(list[2].local.text(), "fe80::a00:1");
  EXPECT_EQ(list[3].local.text() + " " + list[3].remote.text(), "10.208.0.2 10.208.0.3") << "mapped";
  EXPECT_EQ(list[3].state, kSocketTimeWait);
}

TEST(SocketTable, WhatIsNoLine) {
  for (const char* text : {"", "\n\n", "0: 00:00 00:00 0A", "0: 0000000G:1F40 00000000:0000 0A",
                           "0: 00000000:1F40", "0: 00000000:1F40 00000000:0000 zz"})
    EXPECT_TRUE(parse_socket_table(text).empty()) << text;
}

}  // namespace
}  // namespace onggi::engine
