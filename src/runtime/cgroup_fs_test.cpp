// FsCgroup on fake trees: where it puts things, what it refuses, what it undoes.
#include "runtime/cgroup_fs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "runtime/cgroup_stats.h"

namespace onggi::runtime {
namespace {

class FakeTree : public ::testing::Test {
 protected:
  FakeTree() {
    char name[] = "/tmp/onggi-cgroupfs-test-XXXXXX";
    root_ = ::mkdtemp(name);
    dir("sys");
    dir("proc");
    roots_ = {root_ + "/sys", root_ + "/proc", root_ + "/proc", root_ + "/systemd"};
  }
  ~FakeTree() override {
    (void)!::system(("chmod -R u+rwx " + root_).c_str());
    std::filesystem::remove_all(root_);
  }
  void dir(const std::string& path) { std::filesystem::create_directories(root_ + "/" + path); }
  void put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + "/" + path).parent_path());
    ASSERT_TRUE(write_file(root_ + "/" + path, text, O_CREAT | O_TRUNC));
  }
  // Interface files of an existing, empty cgroup; the kernel would make them with the directory.
  void files(const std::string& path, std::initializer_list<const char*> names) {
    for (const char* name : names) put(path + "/" + name, "");
  }
  std::string get(const std::string& path) {
    auto text = read_file(root_ + "/" + path);
    return text ? *text : "(" + text.error().text() + ")";
  }
  bool exists(const std::string& path) { return ::access((root_ + "/" + path).c_str(), F_OK) == 0; }
  std::string paths(const Cgroup& cgroup) {
    std::string out;
    for (const auto& [controller, path] : cgroup.record().paths)
      out += controller + "=" + (path.starts_with(root_) ? path.substr(root_.size()) : path) + " ";
    return out;
  }
  Result<std::unique_ptr<Cgroup>> plan(CgroupConfig config) {
    if (config.id.empty()) config.id = "c1";
    return Cgroup::plan(config, roots_);
  }
  // A v1 host whose container cgroup /c1 has every file.
  void full_v1() {
    put("proc/cgroup",
        "9:hugetlb:/\n8:net_cls,net_prio:/\n7:rdma:/\n6:blkio:/\n5:devices:/\n4:cpuset:/\n3:cpu,cpuacct:/"
        "\n2:memory:/\n"
        "1:pids:/\n0::/\n");
    for (const char* h : {"hugetlb", "net_cls,net_prio", "rdma", "blkio", "devices", "cpuset", "cpu,cpuacct",
                          "memory", "pids"}) {
      files(std::string("sys/") + h + "/c1", {"tasks", "cgroup.procs"});
    }
    files("sys/memory/c1", {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
                            "memory.soft_limit_in_bytes", "memory.kmem.limit_in_bytes",
                            "memory.kmem.tcp.limit_in_bytes", "memory.swappiness", "memory.oom_control"});
    files("sys/cpu,cpuacct/c1",
          {"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us", "cpu.idle"});
    put("sys/cpuset/cpuset.cpus", "0-3\n");
    put("sys/cpuset/cpuset.mems", "0\n");
    files("sys/cpuset/c1", {"cpuset.cpus", "cpuset.mems"});
    files("sys/pids/c1", {"pids.max"});
    files("sys/blkio/c1", {"blkio.bfq.weight", "blkio.throttle.read_bps_device"});
    files("sys/devices/c1", {"devices.allow", "devices.deny", "devices.list"});
    files("sys/hugetlb/c1", {"hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.rsvd.limit_in_bytes"});
    files("sys/net_cls,net_prio/c1", {"net_cls.classid", "net_prio.ifpriomap"});
    files("sys/rdma/c1", {"rdma.max"});
  }
  void full_v2(const std::string& own = "/") {
    put("proc/cgroup", "0::" + own + "\n");
    put("sys/cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma misc\n");
    put("sys/cgroup.subtree_control", "cpuset cpu io memory hugetlb pids rdma misc\n");
  }

  std::string root_;
  sys::CgroupRoots roots_;
};

// --- paths ---

TEST_F(FakeTree, PathsOnV1) {
  put("proc/cgroup", "2:memory:/sub/me\n1:cpu,cpuacct:/\n0::/\n");
  EXPECT_EQ(paths(**plan({.cgroups_path = "/a/b"})),
            "memory=/sys/memory/a/b cpu=/sys/cpu,cpuacct/a/b cpuacct=/sys/cpu,cpuacct/a/b ");
  EXPECT_EQ(paths(**plan({.cgroups_path = "a/b"})),
            "memory=/sys/memory/sub/me/a/b cpu=/sys/cpu,cpuacct/a/b cpuacct=/sys/cpu,cpuacct/a/b ");
  EXPECT_EQ(paths(**plan({})),
            "memory=/sys/memory/sub/me/c1 cpu=/sys/cpu,cpuacct/c1 cpuacct=/sys/cpu,cpuacct/c1 ");
  EXPECT_EQ(paths(**plan({.cgroups_path = "/../../etc"})),
            "memory=/sys/memory/etc cpu=/sys/cpu,cpuacct/etc cpuacct=/sys/cpu,cpuacct/etc ");
  EXPECT_EQ(paths(**plan({.cgroups_path = "../../x"})),
            "memory=/sys/memory/sub/me/x cpu=/sys/cpu,cpuacct/x cpuacct=/sys/cpu,cpuacct/x ");
}

TEST_F(FakeTree, PathsOnV2) {
  full_v2("/user.slice/session-1.scope");
  EXPECT_EQ(paths(**plan({.cgroups_path = "/a/b"})), "=/sys/a/b ");
  // Relative paths start beside the runtime, not below it: a cgroup with processes can have no children with
  // controllers.
  EXPECT_EQ(paths(**plan({.cgroups_path = "a/b"})), "=/sys/user.slice/a/b ");
  EXPECT_EQ(paths(**plan({})), "=/sys/user.slice/c1 ");
  put("proc/cgroup", "0::/\n");
  EXPECT_EQ(paths(**plan({})), "=/sys/c1 ");
}

TEST_F(FakeTree, NoCgroupsAtAll) {
  put("proc/cgroup", "0::/\n");
  put("proc/mountinfo", "");
  auto none = plan({});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind(), ErrorKind::kUnsupported);
  auto rootless = plan({.rootless = true});
  ASSERT_TRUE(rootless) << rootless.error().text();
  EXPECT_TRUE((*rootless)->create({}));
  EXPECT_TRUE((*rootless)->join_fds()->empty());
}

TEST_F(FakeTree, RecordSurvives) {
  full_v1();
  auto cgroup = plan({.cgroups_path = "/c1"});
  ASSERT_TRUE(cgroup);
  auto loaded = Cgroup::load((*cgroup)->record(), roots_);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(paths(**loaded), paths(**cgroup));
  oci::Resources r{.pids = oci::PidsResources{7}};
  auto updated = (*loaded)->update(r);
  ASSERT_TRUE(updated) << updated.error().text();
  EXPECT_EQ(get("sys/pids/c1/pids.max"), "7");
}

// --- creation ---

TEST_F(FakeTree, CreateWritesEveryControllerOnV1) {
  full_v1();
  auto cgroup = plan({.cgroups_path = "/c1"});
  ASSERT_TRUE(cgroup);
  oci::Resources r;
  r.memory = oci::MemoryResources{.limit = 1000,
                                  .reservation = 500,
                                  .swap = 2000,
                                  .kernel = 300,
                                  .kernel_tcp = 200,
                                  .swappiness = 5,
                                  .disable_oom_killer = true};
  r.cpu = oci::CpuResources{.shares = 100, .quota = 200, .burst = 50, .period = 300, .mems = "0", .idle = 0};
  r.cpu->cpus = "1";
  r.pids = oci::PidsResources{9};
  r.block_io = oci::BlockIoResources{.weight = 77, .throttle_read_bps = {{8, 0, 11}}};
  r.hugepage_limits = {{"2MB", 4096}};
  r.network = oci::NetworkResources{.class_id = 3, .priorities = {{"eth0", 2}}};
  r.rdma = {{"mlx", 1, 2}};
  r.devices = {{false, "", {}, {}, "rwm"}, {true, "c", 10, 200, "rw"}};
  auto made = (*cgroup)->create(r);
  ASSERT_TRUE(made) << made.error().text();
  const std::pair<const char*, const char*> wanted[] = {
      {"memory/c1/memory.limit_in_bytes", "1000"},
      {"memory/c1/memory.memsw.limit_in_bytes", "2000"},
      {"memory/c1/memory.soft_limit_in_bytes", "500"},
      {"memory/c1/memory.kmem.limit_in_bytes", "300"},
      {"memory/c1/memory.kmem.tcp.limit_in_bytes", "200"},
      {"memory/c1/memory.swappiness", "5"},
      {"memory/c1/memory.oom_control", "1"},
      {"cpu,cpuacct/c1/cpu.shares", "100"},
      {"cpu,cpuacct/c1/cpu.cfs_quota_us", "200"},
      {"cpu,cpuacct/c1/cpu.cfs_period_us", "300"},
      {"cpu,cpuacct/c1/cpu.cfs_burst_us", "50"},
      {"cpu,cpuacct/c1/cpu.idle", "0"},
      {"cpuset/c1/cpuset.mems", "0"},
      {"pids/c1/pids.max", "9"},
      {"blkio/c1/blkio.bfq.weight", "77"},
      {"blkio/c1/blkio.throttle.read_bps_device", "8:0 11"},
      {"hugetlb/c1/hugetlb.2MB.limit_in_bytes", "4096"},
      {"hugetlb/c1/hugetlb.2MB.rsvd.limit_in_bytes", "4096"},
      {"net_cls,net_prio/c1/net_cls.classid", "3"},
      {"net_cls,net_prio/c1/net_prio.ifpriomap", "eth0 2"},
      {"rdma/c1/rdma.max", "mlx hca_handle=1 hca_object=2"}};
  for (const auto& [path, value] : wanted) EXPECT_EQ(get(std::string("sys/") + path), value) << path;
  EXPECT_NE(get("sys/devices/c1/devices.allow").find("c 10:200 rwm"),
            std::string::npos);  // mknod comes from "c *:* m"
  EXPECT_NE(get("sys/devices/c1/devices.allow").find("c 1:3 rwm"), std::string::npos);
}

TEST_F(FakeTree, CpusetIsInitialisedFromTheParents) {
  put("proc/cgroup", "1:cpuset:/\n0::/\n");
  put("sys/cpuset/cpuset.cpus", "0-3\n");
  put("sys/cpuset/cpuset.mems", "0-1\n");
  files("sys/cpuset/outer", {"cpuset.cpus", "cpuset.mems"});
  files("sys/cpuset/outer/c1", {"tasks", "cgroup.procs", "cpuset.cpus", "cpuset.mems"});
  auto cgroup = plan({.cgroups_path = "/outer/c1"});
  ASSERT_TRUE(cgroup);
  auto made = (*cgroup)->create({});
  EXPECT_FALSE(made) << "without a device controller the container must not start";
  EXPECT_NE(made.error().text().find("device"), std::string::npos) << made.error().text();
  EXPECT_EQ(get("sys/cpuset/outer/cpuset.cpus"), "0-3");
  EXPECT_EQ(get("sys/cpuset/outer/c1/cpuset.cpus"), "0-3");
  EXPECT_EQ(get("sys/cpuset/outer/c1/cpuset.mems"), "0-1");
}

TEST_F(FakeTree, RefusesACgroupWithProcesses) {
  full_v1();
  put("sys/pids/c1/sub/cgroup.procs", "4242\n");
  auto cgroup = plan({.cgroups_path = "/c1"});
  ASSERT_TRUE(cgroup);
  auto made = (*cgroup)->create({});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind(), ErrorKind::kBusy);
  EXPECT_NE(made.error().text().find("container's cgroup is not empty: 1 process(es) found"),
            std::string::npos);
  EXPECT_TRUE(exists("sys/pids/c1")) << "what existed before stays";
}

TEST_F(FakeTree, WrongGuessIsCorrectedByMountinfo) {
  put("proc/cgroup", "2:memory:/\n0::/\n");
  put("proc/mountinfo", "30 1 0:9 / " + root_ + "/elsewhere/mem rw - cgroup cgroup rw,memory\n");
  files("elsewhere/mem/c1", {"tasks", "cgroup.procs", "memory.limit_in_bytes"});
  dir("sys/memory");  // looks usual, but is no cgroup: there will be no file "tasks"
  auto cgroup = plan({.rootless = true});
  ASSERT_TRUE(cgroup);
  auto made = (*cgroup)->create({.memory = oci::MemoryResources{.limit = 5}});
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_EQ(paths(**cgroup), "memory=/elsewhere/mem/c1 ");
  EXPECT_EQ(get("elsewhere/mem/c1/memory.limit_in_bytes"), "5");
  EXPECT_FALSE(exists("sys/memory/c1")) << "the attempt is undone";
}

TEST_F(FakeTree, FailureUndoesEverything) {
  put("proc/cgroup", "2:memory:/\n1:pids:/\n0::/\n");
  put("proc/mountinfo", "30 1 0:9 / " + root_ + "/sys/memory rw - cgroup cgroup rw,memory\n");
  dir("sys/memory");
  dir("sys/pids");
  auto cgroup = plan({.cgroups_path = "/a/b/c1"});
  ASSERT_TRUE(cgroup);
  EXPECT_FALSE((*cgroup)->create({}));  // no "tasks" appears in a plain directory
  EXPECT_FALSE(exists("sys/memory/a"));
  EXPECT_FALSE(exists("sys/pids/a"));
}

TEST_F(FakeTree, BadFieldsFailBeforeAnyEffect) {
  full_v2();
  auto cgroup = plan({.cgroups_path = "/x/c1"});
  ASSERT_TRUE(cgroup);
  EXPECT_FALSE((*cgroup)->create({.memory = oci::MemoryResources{.swappiness = 1000}}));
  EXPECT_FALSE((*cgroup)->create({.devices = {{true, "x", 1, 1, "r"}}}));
  EXPECT_FALSE(exists("sys/x"));
}

// --- v2 ---

TEST_F(FakeTree, V2EnablesControllersFromTheTop) {
  put("proc/cgroup", "0::/\n");
  put("sys/cgroup.controllers", "cpu memory\n");
  put("sys/cgroup.subtree_control", "");
  put("sys/a/cgroup.subtree_control", "");
  put("sys/a/b/cgroup.subtree_control", "cpu\n");
  std::string culprit;
  auto enabled = enable_controllers_v2(root_ + "/sys", root_ + "/sys/a/b", culprit);
  ASSERT_TRUE(enabled) << enabled.error().text();
  EXPECT_EQ(get("sys/cgroup.subtree_control"), "+memory");
  EXPECT_EQ(get("sys/a/cgroup.subtree_control"), "+memory");
  EXPECT_EQ(get("sys/a/b/cgroup.subtree_control"), "+memory");
  EXPECT_EQ(culprit, "");
}

TEST_F(FakeTree, V2TypesAreChecked) {
  put("sys/invalid/cgroup.type", "domain invalid\n");
  put("sys/threaded/cgroup.type", "threaded\n");
  put("sys/domain/cgroup.type", "domain\n");
  EXPECT_TRUE(check_type_v2(root_ + "/sys/domain", true));
  EXPECT_FALSE(check_type_v2(root_ + "/sys/invalid", true));
  EXPECT_FALSE(check_type_v2(root_ + "/sys/threaded", true));
  EXPECT_TRUE(check_type_v2(root_ + "/sys/invalid", false));
  EXPECT_TRUE(get("sys/invalid/cgroup.type").starts_with("threaded"));
}

TEST_F(FakeTree, V2UpdateComputesSwapFromTheCurrentLimit) {
  full_v2();
  put("sys/c1/memory.max", "1000\n");
  put("sys/c1/memory.current", "900\n");
  files("sys/c1", {"memory.swap.max", "cgroup.procs"});
  auto loaded = Cgroup::load({.paths = {{"", root_ + "/sys/c1"}}}, roots_);
  ASSERT_TRUE(loaded);
  auto updated = (*loaded)->update({.memory = oci::MemoryResources{.swap = 1700}});
  ASSERT_TRUE(updated) << updated.error().text();
  EXPECT_EQ(get("sys/c1/memory.swap.max"), "700");
  auto refused =
      (*loaded)->update({.memory = oci::MemoryResources{.limit = 800, .check_before_update = true}});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text().find("900"), std::string::npos) << refused.error().text();
}

TEST_F(FakeTree, V2PeriodAloneKeepsTheQuota) {
  full_v2();
  put("sys/c1/cpu.max", "50000 100000\n");
  auto loaded = Cgroup::load({.paths = {{"", root_ + "/sys/c1"}}}, roots_);
  ASSERT_TRUE((*loaded)->update({.cpu = oci::CpuResources{.period = 20000}}));
  EXPECT_TRUE(get("sys/c1/cpu.max").starts_with("50000 20000"));
}

TEST_F(FakeTree, V2ExplainsMissingControllers) {
  full_v2();
  put("sys/c1/cgroup.controllers", "cpu pids\n");
  auto loaded = Cgroup::load({.paths = {{"", root_ + "/sys/c1"}}}, roots_);
  auto failed = (*loaded)->update({.memory = oci::MemoryResources{.limit = 800}});
  ASSERT_FALSE(failed);
  EXPECT_NE(
      failed.error().text().find("controller 'memory' is not available in this cgroup (it has: cpu pids)"),
      std::string::npos)
      << failed.error().text();
}

// --- hybrid ---

TEST_F(FakeTree, HybridTakesMissingControllersFromV2) {
  put("proc/cgroup", "2:memory:/\n1:devices:/\n0::/\n");
  put("sys/unified/cgroup.controllers", "hugetlb\n");
  put("sys/unified/cgroup.subtree_control", "");
  files("sys/unified/c1", {"cgroup.procs", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"});
  put("sys/unified/c1/cgroup.controllers", "hugetlb\n");
  files("sys/memory/c1", {"tasks", "cgroup.procs", "memory.limit_in_bytes"});
  files("sys/devices/c1", {"tasks", "cgroup.procs", "devices.allow", "devices.list"});
  auto cgroup = plan({.cgroups_path = "/c1"});
  ASSERT_TRUE(cgroup);
  oci::Resources r{.memory = oci::MemoryResources{.limit = 10}, .hugepage_limits = {{"2MB", 8}}};
  auto made = (*cgroup)->create(r);
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_EQ(get("sys/memory/c1/memory.limit_in_bytes"), "10");
  EXPECT_EQ(get("sys/unified/c1/hugetlb.2MB.max"), "8");
  EXPECT_EQ(get("sys/unified/cgroup.subtree_control"), "+hugetlb");
  // A controller that neither has is named.
  auto refused = (*cgroup)->update({.pids = oci::PidsResources{5}});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text().find("pids"), std::string::npos) << refused.error().text();
  // The v2 tree can be entered by clone3 or by a file, as the caller chooses.
  EXPECT_TRUE((*cgroup)->clone_fd()->get() >= 0);
  EXPECT_EQ((*cgroup)->join_fds({}, JoinV2::kLeaveOut)->size(), 2u);
  EXPECT_EQ((*cgroup)->join_fds()->size(), 3u);
}

TEST_F(FakeTree, SubCgroupsOfExec) {
  full_v1();
  files("sys/memory/c1/inner", {"tasks"});
  files("sys/cpu,cpuacct/c1/inner", {"tasks"});
  auto loaded = Cgroup::load({.paths = {{"memory", root_ + "/sys/memory/c1"},
                                        {"cpu", root_ + "/sys/cpu,cpuacct/c1"},
                                        {"cpuacct", root_ + "/sys/cpu,cpuacct/c1"}}},
                             roots_);
  ASSERT_TRUE(loaded);
  auto target = [&](const UniqueFd& fd) {
    char path[4096];
    ssize_t n = ::readlink(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), path, sizeof path);
    return std::string(path + root_.size(), static_cast<size_t>(n) - root_.size());
  };
  auto fds = (*loaded)->join_fds({{"memory", "inner"}});
  ASSERT_TRUE(fds);
  EXPECT_EQ(target((*fds)[0]), "/sys/memory/c1/inner/tasks");
  EXPECT_EQ(target((*fds)[1]), "/sys/cpu,cpuacct/c1/tasks");
  fds = (*loaded)->join_fds({{"", "/inner"}});
  ASSERT_TRUE(fds);
  EXPECT_EQ(target((*fds)[1]), "/sys/cpu,cpuacct/c1/inner/tasks");
  EXPECT_FALSE((*loaded)->join_fds({{"", "absent"}}));
  EXPECT_FALSE((*loaded)->join_fds({{"", "../../../../etc"}})) << "confined to the container's cgroup";
}

TEST_F(FakeTree, ExecGoesWhereTheKernelLetsIt) {
  put("sys/a.slice/c1/cgroup.subtree_control", "");
  put("proc/77/cgroup", "0::/a.slice/c1/init.scope\n");
  auto loaded = Cgroup::load({.paths = {{"", root_ + "/sys/a.slice/c1"}}}, roots_);
  ASSERT_TRUE(loaded);
  EXPECT_TRUE((*loaded)->exec_sub_cgroup(77)->empty())
      << "the container's own cgroup, while that is possible";
  put("sys/a.slice/c1/cgroup.subtree_control", "memory pids\n");
  auto sub = (*loaded)->exec_sub_cgroup(77);
  ASSERT_TRUE(sub) << sub.error().text();
  EXPECT_EQ(*sub, (oci::StringMap{{"", "/init.scope"}}));
  put("proc/77/cgroup", "0::/elsewhere\n");
  EXPECT_TRUE((*loaded)->exec_sub_cgroup(77)->empty());
}

// --- rootless (needs an unprivileged process: a child that gives up root) ---

TEST_F(FakeTree, RootlessLeavesOutWhatItMayNotMake_NeedsRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  put("proc/cgroup", "2:memory:/\n1:pids:/\n0::/\n");
  files("sys/memory", {"cgroup.procs"});
  dir("sys/pids");
  (void)!::system(("chmod -R a+rX " + root_).c_str());
  int status = 0;
  int pid = ::fork();
  if (pid == 0) {
    if (::setuid(65534) != 0) ::_exit(90);
    auto free = Cgroup::plan({.id = "c1", .rootless = true}, roots_);
    if (!free || !(*free)->create({}) || !(*free)->record().paths.empty()) ::_exit(1);
    auto limited = Cgroup::plan({.id = "c1", .rootless = true}, roots_);
    auto refused = (*limited)->create({.pids = oci::PidsResources{5}});
    if (refused ||
        refused.error().text().find("cannot set pids limit: container could not join or create cgroup") ==
            std::string::npos)
      ::_exit(2);
    auto asked = Cgroup::plan({.id = "c1", .cgroups_path = "/c1", .rootless = true}, roots_);
    auto denied = (*asked)->create({});
    if (denied || denied.error().kind() != ErrorKind::kPermission) ::_exit(3);
    ::_exit(0);
  }
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace onggi::runtime
