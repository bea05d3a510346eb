#include "network/pools.h"

#include <gtest/gtest.h>

#include <set>

namespace onggi::network {
namespace {

IpPrefix net(const char* text) { return *IpPrefix::parse(text); }

TEST(Pools, SubnetsDoNotOverlapAndGoAroundTheHostsRoutes) {
  std::vector<IpPrefix> pools = {net("10.208.0.0/12")}, taken = {net("10.208.4.0/21"), net("10.209.0.0/16")};
  taken[0] = *IpPrefix::parse("10.208.4.0/21", true);
  std::set<std::string> found;
  for (int n = 0; n < 300; n++) {
    auto subnet = choose_subnet(pools, kPoolLength, taken);
    ASSERT_TRUE(subnet);
    for (const auto& t : taken) EXPECT_FALSE(t.overlaps(*subnet)) << subnet->text() << " " << t.text();
    found.insert(subnet->text());
    taken.push_back(*subnet);
  }
  EXPECT_EQ(found.size(), 300u);
}

TEST(Pools, AFullPoolIsSaidAndTheNextOneTaken) {
  std::vector<IpPrefix> taken = {net("10.0.0.0/24")};
  EXPECT_FALSE(choose_subnet({net("10.0.0.0/24")}, 24, taken));
  EXPECT_EQ(choose_subnet({net("10.0.0.0/24"), net("10.1.0.0/16")}, 24, taken)->text(), "10.1.0.0/24");
  // A network as large as everything ends the search instead of going round.
  EXPECT_FALSE(choose_subnet({net("255.255.0.0/16")}, 24, {net("128.0.0.0/1")}));
}

TEST(Pools, UniqueLocal) {
  IpPrefix own = unique_local_prefix("\x01\x02\x03\x04\x05");
  EXPECT_EQ(own.text(), "fd01:203:405::/48");
  EXPECT_EQ(unique_local_subnet(own, 0x1234).text(), "fd01:203:405:1234::/64");
}

TEST(Pools, AddressesOfContainers) {
  IpPrefix subnet = net("10.0.0.0/29");
  EXPECT_EQ(default_gateway(subnet).text(), "10.0.0.1");
  std::set<std::string> claimed;
  auto skip = [&](const IpAddress& a) { return a == default_gateway(subnet); };
  auto claim = [&](const IpAddress& a) -> Result<bool> { return claimed.insert(a.text()).second; };
  for (int n = 2; n <= 6; n++)
    EXPECT_EQ(choose_address(subnet, subnet, skip, claim)->text(), "10.0.0." + std::to_string(n));
  auto full = choose_address(subnet, subnet, skip, claim);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().kind(), ErrorKind::kBusy);
  for (const char* bad : {"10.0.0.0", "10.0.0.7", "10.0.1.1"})
    EXPECT_FALSE(check_host_address(subnet, *IpAddress::parse(bad))) << bad;
  EXPECT_TRUE(check_host_address(net("10.0.0.0/31"), *IpAddress::parse("10.0.0.0")));
}

}  // namespace
}  // namespace onggi::network
