#include "sys/cgroup.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/file.h"

namespace onggi::sys {
namespace {

// A directory that goes away with the test; put() makes parents.
class Tree {
 public:
  Tree() {
    char name[] = "/tmp/onggi-cgroup-test-XXXXXX";
    root_ = ::mkdtemp(name);
    dir("sys");
    dir("proc");
  }
  ~Tree() { std::filesystem::remove_all(root_); }
  void dir(const std::string& path) { std::filesystem::create_directories(root_ + "/" + path); }
  void put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + "/" + path).parent_path());
    ASSERT_TRUE(write_file(root_ + "/" + path, text, O_CREAT | O_TRUNC));
  }
  [[nodiscard]] CgroupRoots roots() const { return {root_ + "/sys", root_ + "/proc", root_ + "/proc"}; }
  [[nodiscard]] std::string path(const std::string& p) const { return root_ + "/" + p; }

 private:
  std::string root_;
};

std::string mounts_of(const CgroupLayout& layout, const std::string& strip) {
  std::string out;
  for (const CgroupHierarchy& h : layout.hierarchies) {
    for (const std::string& c : h.controllers) out += c + ",";
    out += "@" + (h.mount.starts_with(strip) ? h.mount.substr(strip.size()) : h.mount) + "+" + h.own + " ";
  }
  return out;
}

TEST(CgroupLayout, GuessesV1) {
  Tree t;
  t.put("proc/cgroup", "4:name=systemd:/user\n3:cpu,cpuacct:/a/b\n2:memory:/\n0::/\n");
  auto layout = guess_cgroups(t.roots());
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->mode, CgroupMode::kV1);
  EXPECT_FALSE(layout->exact);
  EXPECT_EQ(mounts_of(*layout, t.path("sys")),
            "name=systemd,@/systemd+/user cpu,cpuacct,@/cpu,cpuacct+/a/b memory,@/memory+ ");
}

TEST(CgroupLayout, GuessesHybridAndV2) {
  Tree hybrid;
  hybrid.put("proc/cgroup", "2:memory:/\n0::/x\n");
  hybrid.put("sys/unified/cgroup.controllers", "hugetlb\n");
  auto layout = guess_cgroups(hybrid.roots());
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->mode, CgroupMode::kHybrid);
  EXPECT_EQ(mounts_of(*layout, hybrid.path("sys")), "memory,@/memory+ @/unified+/x ");

  Tree v2;
  v2.put("proc/cgroup", "0::/system.slice/a:b.service\n");
  v2.put("sys/cgroup.controllers", "cpu memory pids\n");
  layout = guess_cgroups(v2.roots());
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->mode, CgroupMode::kV2);
  EXPECT_EQ(mounts_of(*layout, v2.path("sys")), "@+/system.slice/a:b.service ");
  EXPECT_EQ(cgroup_mode(v2.roots()), CgroupMode::kV2);
}

TEST(CgroupLayout, ReadsMountinfo) {
  Tree t;
  t.put("proc/cgroup",
        "5:cpu,cpuacct:/docker/x/sub\n4:memory:/docker/x\n3:pids:/other\n2:freezer:/\n0::/y\n");
  t.put(
      "proc/mountinfo",
      "25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
      "31 25 0:27 /docker/x /odd\\040place/cpu rw,nosuid shared:10 master:3 - cgroup cgroup rw,cpu,cpuacct\n"
      "32 25 0:28 /docker/x /cg/memory rw - cgroup cgroup rw,memory\n"
      "33 25 0:29 /docker/x /cg/pids rw - cgroup cgroup rw,pids\n"
      "34 25 0:30 / /cg/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
      "35 25 0:30 / /second/unified rw - cgroup2 cgroup2 rw\n"
      "36 25 0:31 / /mnt rw - ext4 /dev/vda1 rw,memory\n");
  auto layout = read_cgroups(t.roots());
  ASSERT_TRUE(layout) << layout.error().text();
  EXPECT_TRUE(layout->exact);
  EXPECT_EQ(layout->mode, CgroupMode::kHybrid);
  // The own path loses the mount's root; one outside of it is shown as the root; freezer is not mounted.
  EXPECT_EQ(mounts_of(*layout, ""),
            "cpu,cpuacct,@/odd place/cpu+/sub memory,@/cg/memory+ pids,@/cg/pids+ @/cg/unified+/y ");
}

TEST(CgroupLayout, NothingMountedIsNone) {
  Tree t;
  t.put("proc/cgroup", "0::/\n");
  EXPECT_EQ(cgroup_mode(t.roots()), CgroupMode::kNone);
  t.put("proc/mountinfo", "");
  auto layout = read_cgroups(t.roots());
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->mode, CgroupMode::kNone);
}

TEST(CgroupPath, IsConfined) {
  EXPECT_EQ(clean_path("a/b"), "/a/b");
  EXPECT_EQ(clean_path("/a//./b/"), "/a/b");
  EXPECT_EQ(clean_path("../../etc"), "/etc");
  EXPECT_EQ(clean_path("/a/../../.."), "/");
  EXPECT_EQ(clean_path(""), "/");
  EXPECT_EQ(clean_path("a..b/...c"), "/a..b/...c");
}

TEST(CgroupFiles, ReadsNumbersAndKeys) {
  Tree t;
  t.put("n", "42\n");
  t.put("max", "max\n");
  t.put("bad", "4x\n");
  t.put("events", "low 0\noom 3\noom_kill 7\n");
  EXPECT_EQ(read_cgroup_number(t.path("n")).value_or(0), 42u);
  EXPECT_EQ(read_cgroup_number(t.path("max")).value_or(0), UINT64_MAX);
  EXPECT_FALSE(read_cgroup_number(t.path("bad")));
  EXPECT_EQ(read_cgroup_key(t.path("events"), "oom").value_or(0), 3u);
  EXPECT_EQ(read_cgroup_key(t.path("events"), "oom_kill").value_or(0), 7u);
  auto missing = read_cgroup_key(t.path("events"), "oo");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind(), ErrorKind::kNotFound);
  std::string large(10000, 'x');
  t.put("large", large);
  EXPECT_EQ(read_cgroup_file(t.path("large")).value_or(""), large);
}

TEST(CgroupFiles, RemovesTrees) {
  Tree t;
  t.dir("sys/a/b/c");
  t.dir("sys/a/d");
  auto removed = remove_cgroup(t.path("sys/a"));
  EXPECT_TRUE(removed) << removed.error().text();
  EXPECT_NE(::access(t.path("sys/a").c_str(), F_OK), 0);
  EXPECT_TRUE(remove_cgroup(t.path("sys/a"))) << "an absent cgroup is success";
}

TEST(CgroupFiles, ListsPids) {
  Tree t;
  t.put("c/cgroup.procs", "12\n0\n7\n");
  t.put("c/sub/cgroup.procs", "99\n");
  EXPECT_EQ(cgroup_pids(t.path("c"), false).value_or(std::vector<int>{}), (std::vector<int>{12, 7}));
  EXPECT_EQ(cgroup_pids(t.path("c"), true).value_or(std::vector<int>{}), (std::vector<int>{12, 7, 99}));
  auto absent = cgroup_pids(t.path("none"), true);
  ASSERT_TRUE(absent);
  EXPECT_TRUE(absent->empty());
}

// On the kernel: rmdir says EBUSY while a process is inside, and removal waits for it.
TEST(CgroupRemoval_NeedsRoot, WaitsForDyingProcessesButNotForever) {
  auto layout = guess_cgroups();
  if (::geteuid() != 0 || !layout || layout->hierarchies.empty())
    GTEST_SKIP() << "needs root and a cgroup file system";
  const CgroupHierarchy& h = layout->hierarchies[0];
  std::string path = h.mount + "/onggi-test-rm-" + std::to_string(::getpid());
  ASSERT_TRUE(make_cgroup(path)) << path;
  ASSERT_TRUE(make_cgroup(path + "/inner"));
  int pid = ::fork();
  if (pid == 0) {
    (void)write_file(path + "/inner/" + (h.v2() ? "cgroup.procs" : "tasks"), "0");
    ::pause();
    ::_exit(0);
  }
  while (cgroup_pids(path, true).value_or(std::vector<int>{}).empty()) ::usleep(1000);
  auto busy = remove_cgroup(path, 20);
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error().os_errno(), EBUSY) << busy.error().text();
  std::thread killer([pid] {
    ::usleep(30000);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  });
  auto removed = remove_cgroup(path, 5000);
  killer.join();
  EXPECT_TRUE(removed) << removed.error().text();
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace onggi::sys
