#include "runtime/cgroup_convert.h"

#include <gtest/gtest.h>

namespace onggi::runtime {
namespace {

TEST(CgroupConvert, SharesToWeight) {
  EXPECT_EQ(cpu_weight_from_shares(0), 0u);
  EXPECT_EQ(cpu_weight_from_shares(1), 1u);
  EXPECT_EQ(cpu_weight_from_shares(2), 1u);
  EXPECT_EQ(cpu_weight_from_shares(1024), 100u);
  EXPECT_EQ(cpu_weight_from_shares(262144), 10000u);
  EXPECT_EQ(cpu_weight_from_shares(UINT64_MAX), 10000u);
  // Reference values of the formula in the documentation of both peers.
  EXPECT_EQ(cpu_weight_from_shares(256), 35u);
  EXPECT_EQ(cpu_weight_from_shares(512), 59u);
  EXPECT_EQ(cpu_weight_from_shares(2048), 174u);
  uint64_t last = 0;
  for (uint64_t s = 2; s < 262144; s += 97) {
    uint64_t w = cpu_weight_from_shares(s);
    EXPECT_GE(w, last);
    EXPECT_LE(w, 10000u);
    last = w;
  }
}

TEST(CgroupConvert, BlkioToIoWeight) {
  EXPECT_EQ(io_weight_from_blkio(0), 0u);
  EXPECT_EQ(io_weight_from_blkio(10), 1u);
  EXPECT_EQ(io_weight_from_blkio(100), 910u);
  EXPECT_EQ(io_weight_from_blkio(500), 4950u);
  EXPECT_EQ(io_weight_from_blkio(1000), 10000u);
}

TEST(CgroupConvert, SwapIsTheDifference) {
  auto value = [](int64_t memsw, int64_t memory) -> std::string {
    auto r = swap_max_from_memsw(memsw, memory);
    if (!r) return "error";
    return r->unset ? "unset" : max_or_number(r->value);
  };
  EXPECT_EQ(value(0, 0), "unset");
  EXPECT_EQ(value(0, 100), "unset");
  EXPECT_EQ(value(0, -1), "max");
  EXPECT_EQ(value(-1, 100), "max");
  EXPECT_EQ(value(-1, 0), "max");
  EXPECT_EQ(value(100, 100), "0");
  EXPECT_EQ(value(300, 100), "200");
  EXPECT_EQ(value(300, -1), "300");
  EXPECT_EQ(value(300, 0), "error");
  EXPECT_EQ(value(50, 100), "error");
  EXPECT_EQ(value(50, -7), "error");
}

TEST(CgroupConvert, IdLists) {
  EXPECT_EQ(parse_id_list("0-2,7", "x").value_or(std::vector<uint16_t>{}),
            (std::vector<uint16_t>{0, 1, 2, 7}));
  EXPECT_EQ(parse_id_list(" 3 , 1 ,1\n", "x").value_or(std::vector<uint16_t>{}),
            (std::vector<uint16_t>{1, 3}));
  EXPECT_TRUE(parse_id_list("", "x")->empty());
  EXPECT_FALSE(parse_id_list("3-1", "x"));
  EXPECT_FALSE(parse_id_list("a", "x"));
  EXPECT_FALSE(parse_id_list("-1", "x"));
  EXPECT_FALSE(parse_id_list("0-4294967295", "x"));
  EXPECT_EQ(bits_from_id_list("0-1,9", "x").value_or(std::vector<uint8_t>{}),
            (std::vector<uint8_t>{0x03, 0x02}));
  EXPECT_EQ(bits_from_id_list("5", "x").value_or(std::vector<uint8_t>{}), (std::vector<uint8_t>{0x20}));
  EXPECT_FALSE(bits_from_id_list("", "x"));
}

TEST(CgroupConvert, Slices) {
  EXPECT_EQ(expand_slice("a-b-c.slice").value_or("error"), "/a.slice/a-b.slice/a-b-c.slice");
  EXPECT_EQ(expand_slice("machine.slice").value_or("error"), "/machine.slice");
  EXPECT_EQ(expand_slice("-.slice").value_or("error"), "");
  for (const char* bad : {"a", ".slice", "a--b.slice", "-a.slice", "a-.slice", "a/b.slice", "a.scope"})
    EXPECT_FALSE(expand_slice(bad)) << bad;
}

}  // namespace
}  // namespace onggi::runtime
