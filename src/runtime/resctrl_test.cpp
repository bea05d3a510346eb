// resctrl groups on a fake tree. The kernel would make the files of a group with its directory; here they are
// made before.
#include "runtime/resctrl.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"

namespace onggi::runtime {
namespace {

class Resctrl : public ::testing::Test {
 protected:
  Resctrl() {
    char name[] = "/tmp/onggi-resctrl-test-XXXXXX";
    root_ = ::mkdtemp(name);
    put("mountinfo", "20 1 0:5 / /sys rw - sysfs sysfs rw\n21 20 0:6 / " + root_ +
                         "/rc rw,nosuid shared:3 - resctrl resctrl rw\n");
    put("rc/tasks", "");
    put("rc/schemata", "    L3:0=fff;1=fff\n    MB:0=100;1=100\n");
    put("rc/info/last_cmd_status", "ok\n");
    roots_.mountinfo = root_ + "/mountinfo";
  }
  ~Resctrl() override { std::filesystem::remove_all(root_); }
  void put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + "/" + path).parent_path());
    ASSERT_TRUE(write_file(root_ + "/" + path, text, O_CREAT | O_TRUNC));
  }
  std::string get(const std::string& path) { return read_file(root_ + "/" + path).value_or("(absent)"); }
  bool exists(const std::string& path) { return ::access((root_ + "/" + path).c_str(), F_OK) == 0; }
  Result<std::string> create(const oci::IntelRdt& rdt) { return create_resctrl_group(rdt, "c1", 42, roots_); }
  std::string root_;
  ResctrlRoots roots_;
};

TEST_F(Resctrl, NotMountedIsSaid) {
  put("mountinfo", "20 1 0:5 / /sys rw - sysfs sysfs rw\n");
  auto r = create({.schemata = {"L3:0=f"}});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().kind(), ErrorKind::kUnsupported);
  EXPECT_NE(r.error().text().find("mount -t resctrl"), std::string::npos);
}

TEST_F(Resctrl, ExistingClassIsJoinedAndKept) {
  put("rc/gold/tasks", "");
  put("rc/gold/schemata", "L3:0=0ff;1=0FF\nMB:0= 50;1= 70\n");
  auto r = create({.clos_id = "gold", .l3_cache_schema = "L3:0=ff;1=ff", .mem_bw_schema = "MB:0=50"});
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_EQ(get("rc/gold/tasks"), "42");
  ASSERT_TRUE(join_resctrl_group(*r, 43));
  EXPECT_EQ(get("rc/gold/tasks"), "43");
  EXPECT_TRUE(remove_resctrl_group(*r));
  EXPECT_TRUE(exists("rc/gold")) << "it was there before";
}

TEST_F(Resctrl, ExistingClassMustHaveTheSchemata) {
  put("rc/gold/tasks", "");
  put("rc/gold/schemata", "L3:0=0ff;1=0ff\nMB:0=50\n");
  EXPECT_FALSE(create({.clos_id = "gold", .l3_cache_schema = "L3:0=f"}));
  EXPECT_FALSE(create({.clos_id = "gold", .mem_bw_schema = "MB:0=60"}));
  EXPECT_FALSE(create({.clos_id = "gold", .schemata = {"L2:0=f"}}));
  EXPECT_TRUE(create({.clos_id = "gold", .schemata = {"MB:0=50"}}));
  EXPECT_EQ(get("rc/gold/schemata"), "L3:0=0ff;1=0ff\nMB:0=50\n") << "never written";
}

TEST_F(Resctrl, ClassWithoutSchemataMustExist) {
  auto r = create({.clos_id = "absent"});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().kind(), ErrorKind::kNotFound);
  EXPECT_FALSE(exists("rc/absent"));
}

TEST_F(Resctrl, RootClass) {
  auto r = create({.clos_id = "/"});
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_EQ(get("rc/tasks"), "42");
  EXPECT_TRUE(remove_resctrl_group(*r));
  EXPECT_TRUE(exists("rc/tasks"));
}

// A plain directory has no file "schemata", so making a class fails there, which shows the undo and the
// kernel's reason.
TEST_F(Resctrl, FailureRemovesTheNewClass) {
  put("rc/info/last_cmd_status", "Mask out of range\n");
  auto r = create({.l3_cache_schema = "L3:0=fffff"});
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().text().find("Mask out of range"), std::string::npos) << r.error().text();
  EXPECT_FALSE(exists("rc/c1"));
}

TEST_F(Resctrl, MonitoringGroupInAnExistingClass) {
  put("rc/gold/tasks", "");
  put("rc/gold/schemata", "MB:0=50\n");
  put("rc/gold/mon_groups/c1/tasks", "");
  auto r = create({.clos_id = "gold", .enable_monitoring = true});
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_EQ(get("rc/gold/mon_groups/c1/tasks"), "42");
  ASSERT_TRUE(join_resctrl_group(*r, 44));
  EXPECT_EQ(get("rc/gold/mon_groups/c1/tasks"), "44");
}

TEST_F(Resctrl, RemovesOnlyWhatItMade) {
  put("rc/gold/tasks", "");
  std::filesystem::create_directories(root_ + "/rc/mine");
  EXPECT_TRUE(remove_resctrl_group(root_ + "/rc/mine|" + root_ + "/rc/mine|"));
  EXPECT_FALSE(exists("rc/mine"));
  EXPECT_TRUE(remove_resctrl_group(root_ + "/rc/mine|" + root_ + "/rc/mine|")) << "gone already";
  EXPECT_FALSE(remove_resctrl_group("nonsense"));
}

TEST_F(Resctrl, NamesStayInsideTheMount) {
  for (const char* bad : {"..", ".", "a/b", "/abs", "info", "mon_groups", "a|b", "a\nb"})
    EXPECT_FALSE(create({.clos_id = bad, .schemata = {"MB:0=1"}})) << bad;
}

TEST_F(Resctrl, Statistics) {
  put("rc/gold/tasks", "");
  put("rc/gold/schemata", "    MB:0=50\n    L3:0=ff\n");
  put("rc/info/L3/cbm_mask", "fff\n");
  put("rc/info/L3/min_cbm_bits", "2\n");
  put("rc/info/L3/num_closids", "16\n");
  put("rc/info/MB/bandwidth_gran", "10\n");
  put("rc/info/MB/min_bandwidth", "11\n");
  put("rc/info/MB/delay_linear", "1\n");
  put("rc/info/MB/num_closids", "8\n");
  put("rc/info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n");
  put("rc/gold/mon_data/mon_L3_00/mbm_total_bytes", "100\n");
  put("rc/gold/mon_data/mon_L3_00/mbm_local_bytes", "40\n");
  put("rc/gold/mon_data/mon_L3_00/llc_occupancy", "9\n");
  put("rc/gold/mon_data/mon_L3_01/mbm_total_bytes", "7\n");
  auto r = create({.clos_id = "gold"});
  ASSERT_TRUE(r);
  CgroupStats stats;
  ASSERT_TRUE(read_resctrl_stats(*r, stats.intel_rdt));
  std::string json = stats_json(stats, "c1");
  EXPECT_NE(
      json.find(
          R"("intel_rdt":{"l3_cache_info":{"cbm_mask":"fff","min_cbm_bits":2,"num_closids":16},"l3_cache_schema_root":"L3:0=fff;1=fff",)"
          R"("l3_cache_schema":"L3:0=ff","mem_bw_info":{"bandwidth_gran":10,"delay_linear":1,"min_bandwidth":11,"num_closids":8},)"
          R"("mem_bw_schema_root":"MB:0=100;1=100","mem_bw_schema":"MB:0=50",)"
          R"("mbm_stats":[{"mbm_total_bytes":100,"mbm_local_bytes":40},{"mbm_total_bytes":7}],"cmt_stats":[{"llc_occupancy":9},{}]})"),
      std::string::npos)
      << json;
}

}  // namespace
}  // namespace onggi::runtime
