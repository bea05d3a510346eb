// FsCgroup on the cgroups of this host. Every cgroup is named onggi-test-<pid>-* and removed again.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "runtime/cgroup.h"
#include "runtime/cgroup_stats.h"

namespace onggi::runtime {
namespace {

class CgroupKernel_NeedsRoot : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to make cgroups";
    if (host_cgroup_mode() == CgroupMode::kNone) GTEST_SKIP() << "no cgroup file system is mounted";
    v1_ = host_cgroup_mode() != CgroupMode::kV2;
    static int counter = 0;
    name_ = "onggi-test-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
    auto probe = Cgroup::plan({.id = name_, .cgroups_path = "/" + name_});
    ASSERT_TRUE(probe) << probe.error().text();
    cgroup_ = std::move(*probe);
  }
  void TearDown() override {
    for (int pid : children_) {
      ::kill(pid, SIGKILL);
      ::kill(pid, SIGCONT);
      ::waitpid(pid, nullptr, 0);
    }
    if (cgroup_) {
      (void)cgroup_->freeze(false);
      auto gone = cgroup_->destroy();
      EXPECT_TRUE(gone) << gone.error().text();
      for (const auto& [controller, path] : cgroup_->record().paths) EXPECT_NE(::access(path.c_str(), F_OK), 0) << path;
    }
  }
  // A child that joins as the runtime's child does and then sleeps.
  int spawn() {
    auto fds = cgroup_->join_fds();
    EXPECT_TRUE(fds) << fds.error().text();
    int ready[2];
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    UniqueFd read_end(ready[0]), write_end(ready[1]);
    int pid = ::fork();
    if (pid == 0) {
      for (const UniqueFd& fd : *fds)
        if (::write(fd.get(), "0", 1) != 1) ::_exit(70);
      if (::write(write_end.get(), "r", 1) != 1) ::_exit(71);
      for (;;) ::pause();
    }
    children_.push_back(pid);
    char c;
    EXPECT_EQ(::read(read_end.get(), &c, 1), 1);
    return pid;
  }
  std::string path_of(const std::string& controller) {
    for (const auto& [c, path] : cgroup_->record().paths)
      if (c == controller || (!v1_ && c.empty())) return path;
    return "";
  }
  std::string value(const std::string& controller, const std::string& file) {
    auto text = read_file(path_of(controller) + "/" + file);
    return text ? std::string(trim(*text)) : "error: " + text.error().text();
  }

  bool v1_ = true;
  std::string name_;
  std::unique_ptr<Cgroup> cgroup_;
  std::vector<int> children_;
};

TEST_F(CgroupKernel_NeedsRoot, CreateJoinDestroy) {
  oci::Resources r;
  r.memory = oci::MemoryResources{.limit = 64 << 20};
  r.pids = oci::PidsResources{.limit = 33};
  r.cpu = oci::CpuResources{.shares = 512, .quota = 50000, .period = 100000};
  auto made = cgroup_->create(r);
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_EQ(value("pids", "pids.max"), "33");
  EXPECT_EQ(value("memory", v1_ ? "memory.limit_in_bytes" : "memory.max"), "67108864");
  if (v1_) {
    EXPECT_EQ(value("cpu", "cpu.shares"), "512");
    EXPECT_EQ(value("cpu", "cpu.cfs_quota_us"), "50000");
  } else {
    EXPECT_EQ(value("cpu", "cpu.max"), "50000 100000");
  }
  int pid = spawn();
  auto inside = cgroup_->pids();
  ASSERT_TRUE(inside);
  EXPECT_EQ(*inside, std::vector<int>{pid});
  auto membership = read_file("/proc/" + std::to_string(pid) + "/cgroup");
  ASSERT_TRUE(membership);
  size_t named = 0;
  for (size_t at = 0; (at = membership->find(name_, at)) != std::string::npos; at++) named++;
  EXPECT_GE(named, v1_ ? cgroup_->record().paths.size() : 1u) << *membership;
}

}  // namespace
}  // namespace onggi::runtime
