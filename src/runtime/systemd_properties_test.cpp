#include "runtime/systemd_properties.h"

#include <gtest/gtest.h>

namespace onggi::runtime {
namespace {

std::string text(const Result<std::vector<SystemdProperty>>& properties) {
  if (!properties) return "error: " + properties.error().text();
  std::string out;
  for (const SystemdProperty& p : *properties) {
    out += p.name + "=" + p.signature + ":";
    for (size_t i = 0; i < p.values.size(); i++) out += (i ? "," : "") + p.values[i];
    out += "; ";
  }
  return out;
}
std::string annotation(const std::string& name, const std::string& value) {
  return text(annotation_properties({{"org.systemd.property." + name, value}, {"other", "x"}}));
}
std::string v2(const oci::Resources& r) { return text(resource_properties(r, true, nullptr, "")); }
std::string v1(const oci::Resources& r) { return text(resource_properties(r, false, nullptr, "")); }

TEST(SystemdAnnotations, GVariantText) {
  EXPECT_EQ(annotation("CollectMode", "'inactive-or-failed'"), "CollectMode=s:inactive-or-failed; ");
  EXPECT_EQ(annotation("Foo", "\"it's \\\"x\\\"\""), "Foo=s:it's \"x\"; ");
  EXPECT_EQ(annotation("TasksMax", "uint64 123"), "TasksMax=t:123; ");
  EXPECT_EQ(annotation("Num", "42"), "Num=i:42; ");
  EXPECT_EQ(annotation("Num", "-1"), "Num=i:-1; ");
  EXPECT_EQ(annotation("Flag", "true"), "Flag=b:true; ");
  EXPECT_EQ(annotation("Byte", "byte 0x1f"), "Byte=y:31; ");
  EXPECT_EQ(annotation("Ratio", "1.5"), "Ratio=d:1.5; ");
  EXPECT_EQ(annotation("Path", "objectpath '/a'"), "Path=o:/a; ");
  EXPECT_EQ(annotation("After", "['a.service', 'b.service']"), "After=as:a.service,b.service; ");
  EXPECT_EQ(annotation("After", "@as []"), "After=as:; ");
  EXPECT_EQ(annotation("Cpus", "[byte 0x03, 0x01]"), "Cpus=ay:3,1; ");
  EXPECT_EQ(annotation("Wide", "@t 7"), "Wide=t:7; ");
}

TEST(SystemdAnnotations, SecondsBecomeMicroseconds) {
  EXPECT_EQ(annotation("TimeoutStopSec", "uint64 10"), "TimeoutStopUSec=t:10000000; ");
  EXPECT_EQ(annotation("TimeoutStopSec", "1.5"), "TimeoutStopUSec=t:1500000; ");
  EXPECT_EQ(annotation("TimeoutStopUSec", "uint64 10"), "TimeoutStopUSec=t:10; ");
  EXPECT_EQ(annotation("USec", "uint64 10"), "USec=t:10; ");
  EXPECT_TRUE(annotation("TimeoutStopSec", "'ten'").starts_with("error"));
  EXPECT_TRUE(annotation("TimeoutStopSec", "-3").starts_with("error"));
}

TEST(SystemdAnnotations, RefusesNonsense) {
  for (const char* bad :
       {"", "'open", "[]", "['a', 1]", "('a', 1)", "uint64 'x'", "what", "1 2", "['a'", "@as 'x'", "byte"})
    EXPECT_TRUE(annotation("Name", bad).starts_with("error")) << bad;
  EXPECT_TRUE(annotation("ab", "1").starts_with("error")) << "too short";
  EXPECT_TRUE(annotation("a-bc", "1").starts_with("error")) << "letters only";
}

TEST(SystemdPath, SlicePrefixName) {
  auto u = parse_systemd_path("machine.slice:libpod:abc", "id", false);
  ASSERT_TRUE(u);
  EXPECT_EQ(u->slice, "machine.slice");
  EXPECT_EQ(u->unit, "libpod-abc.scope");
  u = parse_systemd_path("", "id", false);
  ASSERT_TRUE(u);
  EXPECT_EQ(u->slice + "/" + u->unit, "system.slice/onggi-id.scope");
  u = parse_systemd_path("", "id", true);
  ASSERT_TRUE(u);
  EXPECT_EQ(u->slice, "user.slice");
  u = parse_systemd_path("::abc", "id", false);
  ASSERT_TRUE(u);
  EXPECT_EQ(u->slice + "/" + u->unit, "system.slice/abc.scope");
  for (const char* bad : {"/a/b", "a:b", "a:b:c:d", "x:p:n", "a--b.slice:p:n", "a.slice:p:", "a.slice:p:../x",
                          "a.slice:p:n.slice"})
    EXPECT_FALSE(parse_systemd_path(bad, "id", false)) << bad;
  EXPECT_EQ(
      parse_systemd_path("/a/b", "id", false).error().text(),
      "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\" instead");
}

TEST(SystemdPath, UnitProperties) {
  auto u = parse_systemd_path("machine.slice:libpod:abc", "id", false);
  ASSERT_TRUE(u);
  EXPECT_EQ(
      text(unit_properties(*u, 77, true)),
      "Description=s:onggi container abc; Slice=s:machine.slice; Delegate=b:true; PIDs=au:77; "
      "MemoryAccounting=b:true; "
      "CPUAccounting=b:true; IOAccounting=b:true; TasksAccounting=b:true; DefaultDependencies=b:false; ");
  EXPECT_NE(text(unit_properties(*u, 77, false)).find("BlockIOAccounting"), std::string::npos);
}

TEST(SystemdResources, Memory) {
  EXPECT_EQ(v2({.memory = oci::MemoryResources{.limit = 100, .reservation = 50, .swap = 300}}),
            "MemoryMax=t:100; MemoryLow=t:50; MemorySwapMax=t:200; ");
  EXPECT_EQ(v2({.memory = oci::MemoryResources{.limit = 100, .swap = 100}}),
            "MemoryMax=t:100; MemorySwapMax=t:0; ");
  EXPECT_EQ(v2({.memory = oci::MemoryResources{.limit = -1}}),
            "MemoryMax=t:18446744073709551615; MemorySwapMax=t:18446744073709551615; ");
  EXPECT_EQ(v1({.memory = oci::MemoryResources{.limit = 100, .swap = 300}}), "MemoryLimit=t:100; ");
}

TEST(SystemdResources, Cpu) {
  EXPECT_EQ(v2({.cpu = oci::CpuResources{.shares = 1024}}), "CPUWeight=t:100; ");
  EXPECT_EQ(v1({.cpu = oci::CpuResources{.shares = 1024}}), "CPUShares=t:1024; ");
  EXPECT_EQ(v2({.cpu = oci::CpuResources{.shares = 1024, .idle = 1}}), "CPUWeight=t:0; ");
  EXPECT_EQ(v2({.cpu = oci::CpuResources{.quota = 50000, .period = 100000}}),
            "CPUQuotaPeriodUSec=t:100000; CPUQuotaPerSecUSec=t:500000; ");
  // systemd rounds to whole per cents; the property must not be below the exact quota.
  EXPECT_EQ(v2({.cpu = oci::CpuResources{.quota = 3, .period = 1000}}),
            "CPUQuotaPeriodUSec=t:1000; CPUQuotaPerSecUSec=t:10000; ");
  EXPECT_EQ(v2({.cpu = oci::CpuResources{.quota = 33333}}), "CPUQuotaPerSecUSec=t:340000; ");
  EXPECT_EQ(v2({.cpu = oci::CpuResources{.quota = -1}}), "CPUQuotaPerSecUSec=t:18446744073709551615; ");
  EXPECT_EQ(v2({.cpu = oci::CpuResources{.period = 5000}}), "CPUQuotaPeriodUSec=t:5000; ");
  oci::CpuResources sets;
  sets.cpus = "0-1,9";
  sets.mems = "0";
  EXPECT_EQ(v2({.cpu = sets}), "AllowedCPUs=ay:3,2; AllowedMemoryNodes=ay:1; ");
}

TEST(SystemdResources, PidsBlockIoUnified) {
  EXPECT_EQ(v2({.pids = oci::PidsResources{20}}), "TasksMax=t:20; ");
  EXPECT_EQ(v2({.pids = oci::PidsResources{-1}}), "TasksMax=t:18446744073709551615; ");
  EXPECT_EQ(v2({.pids = oci::PidsResources{0}}), "TasksMax=t:1; ");
  EXPECT_EQ(v1({.block_io = oci::BlockIoResources{.weight = 300}}), "BlockIOWeight=t:300; ");
  EXPECT_EQ(v2({.unified = {{"memory.high", "max"},
                            {"memory.min", "5"},
                            {"cpu.max", "50000 100000"},
                            {"pids.max", " 9\n"},
                            {"cpuset.cpus", "1"},
                            {"hugetlb.2MB.max", "7"}}}),
            "MemoryHigh=t:18446744073709551615; MemoryMin=t:5; CPUQuotaPeriodUSec=t:100000; "
            "CPUQuotaPerSecUSec=t:500000; TasksMax=t:9; "
            "AllowedCPUs=ay:2; ");
  EXPECT_EQ(v2({.unified = {{"cpu.weight", "50"}, {"cpu.idle", "1"}}}), "CPUWeight=t:0; ");
  EXPECT_TRUE(v2({.unified = {{"memory.max", "lots"}}}).starts_with("error"));
}

TEST(SystemdResources, Devices) {
  constexpr std::string_view kDrivers =
      "Character devices:\n  1 mem\n  5 /dev/tty\n136 pts\n\nBlock devices:\n  8 sd\n136 other\n";
  auto policy = device_policy({{false, "", {}, {}, "rwm"},
                               {true, "b", 8, 0, "rw"},
                               {true, "b", 8, {}, "r"},
                               {true, "c", 250, {}, "r"}});
  ASSERT_TRUE(policy);
  std::string got = text(resource_properties({}, true, &*policy, kDrivers));
  EXPECT_TRUE(got.starts_with("DeviceAllow=a(ss):; DevicePolicy=s:strict; DeviceAllow=a(ss):")) << got;
  for (const char* part :
       {"/dev/char/1:3,rwm", "char-pts,rwm", "char-*,m", "block-*,m", "/dev/block/8:0,rwm", "block-sd,rm"})
    EXPECT_NE(got.find(part), std::string::npos) << part << " in " << got;
  EXPECT_EQ(got.find("250"), std::string::npos) << "a driver that is not loaded has no name";
  // What systemd cannot express is left to the device program.
  auto open = device_policy({{true, "", {}, {}, "rwm"}, {false, "b", 8, 0, "rwm"}});
  ASSERT_TRUE(open);
  EXPECT_EQ(text(resource_properties({}, true, &*open, kDrivers)),
            "DeviceAllow=a(ss):; DevicePolicy=s:auto; ");
}

}  // namespace
}  // namespace onggi::runtime
