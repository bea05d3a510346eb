// FsCgroup on the cgroups of this host. Every cgroup is named onggi-test-<pid>-* and removed again.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <set>

#include "base/file.h"
#include "runtime/cgroup.h"
#include "runtime/cgroup_devices.h"
#include "runtime/cgroup_stats.h"
#include "sys/bpf.h"
#include "sys/process.h"

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
    // Thawed first: a frozen process of v1 does not die.
    if (cgroup_) (void)cgroup_->freeze(false);
    for (int pid : children_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    if (cgroup_) {
      auto gone = cgroup_->destroy();
      EXPECT_TRUE(gone) << gone.error().text();
      for (const auto& [controller, path] : cgroup_->record().paths)
        EXPECT_NE(::access(path.c_str(), F_OK), 0) << path;
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
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (const UniqueFd& fd : *fds)
        if (::write(fd.get(), "0", 1) != 1) ::_exit(70);
      if (::write(write_end.get(), "r", 1) != 1) ::_exit(71);
      for (;;) ::pause();
    }
    children_.push_back(pid);
    write_end.reset();  // so that a child that fails is seen as the end of file
    char c;
    EXPECT_EQ(::read(read_end.get(), &c, 1), 1);
    return pid;
  }
  // A hybrid host may have a controller in its v2 tree (kernels are built without memory on v1).
  bool on_v1(const std::string& controller) {
    for (const auto& [c, path] : cgroup_->record().paths)
      if (c == controller) return true;
    return false;
  }
  // Waits for its end, at most five seconds; -1 when it still runs.
  int end_of(int pid) {
    for (int i = 0; i < 500; i++) {
      int status = 0;
      if (::waitpid(pid, &status, WNOHANG) == pid) {
        std::erase(children_, pid);
        return status;
      }
      ::usleep(10000);
    }
    return -1;
  }
  std::string path_of(const std::string& controller) {
    for (const auto& [c, path] : cgroup_->record().paths)
      if (on_v1(controller) ? c == controller : c.empty()) return path;
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
  EXPECT_EQ(value("memory", on_v1("memory") ? "memory.limit_in_bytes" : "memory.max"), "67108864");
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
  std::set<std::string> directories;  // controllers that are mounted together share one
  for (const auto& [controller, path] : cgroup_->record().paths) directories.insert(path);
  EXPECT_EQ(named, directories.size()) << *membership;
}

TEST_F(CgroupKernel_NeedsRoot, RefusesAPopulatedCgroup) {
  ASSERT_TRUE(cgroup_->create({}));
  spawn();
  auto second = Cgroup::plan({.id = name_, .cgroups_path = "/" + name_});
  ASSERT_TRUE(second);
  auto made = (*second)->create({});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind(), ErrorKind::kBusy) << made.error().text();
}

// Limits constrain each other, so raising and lowering need different orders.
TEST_F(CgroupKernel_NeedsRoot, MemoryAndSwapRaiseAndLower) {
  auto limits = [](int64_t memory, int64_t swap) {
    return oci::Resources{.memory = oci::MemoryResources{.limit = memory, .swap = swap}};
  };
  ASSERT_TRUE(cgroup_->create(limits(64 << 20, 128 << 20)));
  for (auto [memory, swap] : {std::pair<int64_t, int64_t>{256 << 20, 512 << 20},
                              {32 << 20, 32 << 20},
                              {-1, -1},
                              {16 << 20, 64 << 20}}) {
    auto done = cgroup_->update(limits(memory, swap));
    ASSERT_TRUE(done) << memory << " " << swap << ": " << done.error().text();
    std::string now = value("memory", on_v1("memory") ? "memory.limit_in_bytes" : "memory.max");
    EXPECT_EQ(now, memory < 0 ? (on_v1("memory") ? "9223372036854771712" : "max") : std::to_string(memory));
    if (on_v1("memory")) {
      EXPECT_EQ(value("memory", "memory.memsw.limit_in_bytes"),
                swap < 0 ? "9223372036854771712" : std::to_string(swap));
    }
  }
}

TEST_F(CgroupKernel_NeedsRoot, QuotaPeriodAndBurstInAnyOrder) {
  auto limits = [](int64_t quota, uint64_t period, uint64_t burst) {
    return oci::Resources{.cpu = oci::CpuResources{.quota = quota, .burst = burst, .period = period}};
  };
  ASSERT_TRUE(cgroup_->create(limits(50000, 100000, 20000)));
  for (auto [quota, period, burst] : {std::tuple<int64_t, uint64_t, uint64_t>{200000, 400000, 150000},
                                      {5000, 10000, 1000},
                                      {100000, 100000, 90000}}) {
    auto done = cgroup_->update(limits(quota, period, burst));
    ASSERT_TRUE(done) << quota << ": " << done.error().text();
    if (v1_) {
      EXPECT_EQ(value("cpu", "cpu.cfs_quota_us") + " " + value("cpu", "cpu.cfs_period_us"),
                std::to_string(quota) + " " + std::to_string(period));
      EXPECT_EQ(value("cpu", "cpu.cfs_burst_us"), std::to_string(burst));
    } else {
      EXPECT_EQ(value("cpu", "cpu.max"), std::to_string(quota) + " " + std::to_string(period));
      EXPECT_EQ(value("cpu", "cpu.max.burst"), std::to_string(burst));
    }
  }
}

TEST_F(CgroupKernel_NeedsRoot, FreezesAndKillsWhatIsFrozen) {
  ASSERT_TRUE(cgroup_->create({}));
  int pid = spawn();
  EXPECT_FALSE(cgroup_->frozen().value_or(true));
  auto frozen = cgroup_->freeze(true);
  ASSERT_TRUE(frozen) << frozen.error().text();
  EXPECT_TRUE(cgroup_->frozen().value_or(false));
  ASSERT_TRUE(cgroup_->freeze(false));
  EXPECT_FALSE(cgroup_->frozen().value_or(true));
  ASSERT_TRUE(cgroup_->freeze(true));
  auto killed = cgroup_->signal_all(SIGKILL);
  ASSERT_TRUE(killed) << killed.error().text();
  int status = end_of(pid);
  ASSERT_NE(status, -1) << "a paused process must die too";
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST_F(CgroupKernel_NeedsRoot, OtherSignalsKeepThePause) {
  ASSERT_TRUE(cgroup_->create({}));
  int pid = spawn();
  ASSERT_TRUE(cgroup_->freeze(true));
  ASSERT_TRUE(cgroup_->signal_all(SIGTERM));
  EXPECT_TRUE(cgroup_->frozen().value_or(false));
  ASSERT_TRUE(cgroup_->freeze(false));
  int status = end_of(pid);
  ASSERT_NE(status, -1);
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

TEST_F(CgroupKernel_NeedsRoot, DestroysSubCgroups) {
  ASSERT_TRUE(cgroup_->create({}));
  for (const auto& [controller, path] : cgroup_->record().paths) {
    ASSERT_EQ(::mkdir((path + "/inner").c_str(), 0755) == 0 || errno == EEXIST, true);
    ASSERT_EQ(::mkdir((path + "/inner/most").c_str(), 0755) == 0 || errno == EEXIST, true);
  }
  auto gone = cgroup_->destroy();
  EXPECT_TRUE(gone) << gone.error().text();
}

TEST_F(CgroupKernel_NeedsRoot, DeviceRulesHoldAndChange) {
  ::mknod("/tmp/onggi-test-kmsg", S_IFCHR | 0600, makedev(1, 11));
  auto opens = [&](const char* path) {
    auto fds = cgroup_->join_fds();
    int pid = ::fork();
    if (pid == 0) {
      for (const UniqueFd& fd : *fds)
        if (::write(fd.get(), "0", 1) != 1) ::_exit(70);
      ::_exit(::open(path, O_RDONLY) >= 0 ? 0 : errno == EPERM ? 1 : 2);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
  };
  ASSERT_TRUE(cgroup_->create({.devices = {{false, "", {}, {}, "rwm"}}}));
  EXPECT_EQ(opens("/dev/null"), 0);
  EXPECT_EQ(opens("/dev/urandom"), 0);
  EXPECT_EQ(opens("/tmp/onggi-test-kmsg"), 1) << "a device without a rule must be denied";
  auto updated = cgroup_->update({.devices = {{false, "", {}, {}, "rwm"}, {true, "c", 1, 11, "r"}}});
  ASSERT_TRUE(updated) << updated.error().text();
  EXPECT_EQ(opens("/tmp/onggi-test-kmsg"), 0);
  updated = cgroup_->update({.devices = {{false, "", {}, {}, "rwm"}}});
  ASSERT_TRUE(updated) << updated.error().text();
  EXPECT_EQ(opens("/tmp/onggi-test-kmsg"), 1);
  EXPECT_EQ(opens("/dev/null"), 0);
  ::unlink("/tmp/onggi-test-kmsg");
}

// The container's cgroup in the v2 tree alone.
Result<std::unique_ptr<Cgroup>> v2_part(const Cgroup& cgroup) {
  CgroupRecord v2_only;
  for (const auto& [controller, path] : cgroup.record().paths)
    if (controller.empty()) v2_only.paths.emplace_back("", path);
  return Cgroup::load(v2_only);
}

// The eBPF program enforced by the kernel: in the v2 tree, which a hybrid host has as well.
TEST_F(CgroupKernel_NeedsRoot, DeviceProgramIsEnforced) {
  if (sys::cgroup_mode() == CgroupMode::kV1) GTEST_SKIP() << "needs cgroup_v2: no v2 tree is mounted";
  ASSERT_TRUE(cgroup_->create({}));
  auto v2 = v2_part(*cgroup_);
  ASSERT_TRUE(v2);
  ::mknod("/tmp/onggi-test-kmsg2", S_IFCHR | 0600, makedev(1, 11));
  auto opens = [&](const char* path, int flags) {
    auto dir = (*v2)->clone_fd();
    EXPECT_TRUE(dir && *dir);
    auto fds = (*v2)->join_fds();
    int pid = ::fork();
    if (pid == 0) {
      for (const UniqueFd& fd : *fds)
        if (::write(fd.get(), "0", 1) != 1) ::_exit(70);
      ::_exit(::open(path, flags) >= 0 ? 0 : errno == EPERM ? 1 : 2);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
  };
  for (int round = 0; round < 2; round++) {
    auto denied = (*v2)->update({.devices = {{false, "", {}, {}, "rwm"}}});
    ASSERT_TRUE(denied) << denied.error().text();
    EXPECT_EQ(opens("/dev/null", O_RDWR), 0);
    EXPECT_EQ(opens("/tmp/onggi-test-kmsg2", O_RDONLY), 1);
    ASSERT_TRUE((*v2)->update(
        {.devices = {{false, "", {}, {}, "rwm"}, {true, "c", 1, 11, "r"}, {false, "c", 1, 3, "w"}}}));
    EXPECT_EQ(opens("/tmp/onggi-test-kmsg2", O_RDONLY), 0) << "an update replaces the program";
    EXPECT_EQ(opens("/dev/null", O_RDONLY), 0);
    EXPECT_EQ(opens("/dev/null", O_RDWR), 1);
  }
  ::unlink("/tmp/onggi-test-kmsg2");
}

// systemd's own program, or what a crash left, must not go on deciding beside the new one.
TEST_F(CgroupKernel_NeedsRoot, DeviceProgramReplacesSeveral) {
  if (sys::cgroup_mode() == CgroupMode::kV1) GTEST_SKIP() << "needs cgroup_v2: no v2 tree is mounted";
  ASSERT_TRUE(cgroup_->create({}));
  auto v2 = v2_part(*cgroup_);
  ASSERT_TRUE(v2);
  auto dir = (*v2)->clone_fd();
  ASSERT_TRUE(dir && *dir);
  auto attached = [&] {
    uint32_t ids[64];
    bpf_attr attr;
    std::memset(&attr, 0, sizeof attr);
    attr.query.target_fd = static_cast<uint32_t>(dir->get());
    attr.query.attach_type = BPF_CGROUP_DEVICE;
    attr.query.prog_cnt = 64;
    attr.query.prog_ids = reinterpret_cast<uint64_t>(ids);
    EXPECT_EQ(::syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof attr), 0);
    return attr.query.prog_cnt;
  };
  auto policy = device_policy({{true, "", {}, {}, "rwm"}});
  ASSERT_TRUE(policy);
  for (int i = 0; i < 3; i++) {
    auto program = sys::load_device_program(device_program(*policy));
    ASSERT_TRUE(program) << program.error().text();
    bpf_attr attr;
    std::memset(&attr, 0, sizeof attr);
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.target_fd = static_cast<uint32_t>(dir->get());
    attr.attach_bpf_fd = static_cast<uint32_t>(program->get());
    attr.attach_flags = BPF_F_ALLOW_MULTI;
    ASSERT_EQ(::syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof attr), 0) << errno;
  }
  EXPECT_GE(attached(), 3u);
  auto updated = (*v2)->update({.devices = {{false, "", {}, {}, "rwm"}}});
  ASSERT_TRUE(updated) << updated.error().text();
  EXPECT_EQ(attached(), 1u);
}

TEST_F(CgroupKernel_NeedsRoot, CloneIntoCgroup) {
  if (sys::cgroup_mode() == CgroupMode::kV1) GTEST_SKIP() << "needs cgroup_v2: no v2 tree is mounted";
  ASSERT_TRUE(cgroup_->create({}));
  auto dir = cgroup_->clone_fd();
  ASSERT_TRUE(dir && *dir);
  const char* argv[] = {"cat", "/proc/self/cgroup", nullptr};
  const char* envp[] = {nullptr};
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  sys::SpawnArgs args;
  args.exec_path = "/bin/cat";
  args.argv = argv;
  args.envp = envp;
  args.cgroup_fd = dir->get();
  args.stdio[1] = write_end.get();
  auto child = sys::spawn(args);
  ASSERT_TRUE(child) << child.error().text();
  write_end.reset();
  auto text = read_fd(read_end.get(), "pipe");
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("0::/" + name_), std::string::npos) << *text;
  ASSERT_TRUE(sys::wait_pidfd(child->pidfd.get()));
}

TEST_F(CgroupKernel_NeedsRoot, EntersTheV2TreeOfAHybridHostEarly) {
  if (sys::cgroup_mode() != CgroupMode::kHybrid)
    GTEST_SKIP() << "needs cgroup_v1: only a hybrid host has both";
  std::string v2;
  for (const auto& [controller, path] : cgroup_->record().paths)
    if (controller.empty()) v2 = path;
  {
    auto abandoned = Cgroup::plan({.id = name_, .cgroups_path = "/" + name_ + "/deep/er"});
    ASSERT_TRUE(abandoned);
    ASSERT_TRUE(*(*abandoned)->enter_early());
    EXPECT_EQ(::access((v2 + "/deep/er").c_str(), F_OK), 0);
  }
  EXPECT_NE(::access(v2.c_str(), F_OK), 0) << "goes away without create()";
  auto early = cgroup_->enter_early();
  ASSERT_TRUE(early && *early);
  const char* argv[] = {"sleep", "1000", nullptr};
  const char* envp[] = {nullptr};
  sys::SpawnArgs args;
  args.exec_path = "/bin/sleep";
  args.argv = argv;
  args.envp = envp;
  args.cgroup_fd = early->get();
  auto child = sys::spawn(args);
  ASSERT_TRUE(child) << child.error().text();
  children_.push_back(child->pid);
  auto made = cgroup_->create({});
  ASSERT_TRUE(made) << "the process that was born there is no stranger: " << made.error().text();
  auto inside = sys::cgroup_pids(v2, false);
  EXPECT_EQ(*inside, std::vector<int>{child->pid});
}

TEST_F(CgroupKernel_NeedsRoot, OomKillIsReportedAndCounted) {
  ASSERT_TRUE(cgroup_->create({.memory = oci::MemoryResources{.limit = 8 << 20, .swap = 8 << 20}}));
  auto event = cgroup_->oom_event_fd();
  ASSERT_TRUE(event) << event.error().text();
  EXPECT_EQ(cgroup_->oom_kills().value_or(99), 0u);
  auto fds = cgroup_->join_fds();
  int pid = ::fork();
  if (pid == 0) {
    for (const UniqueFd& fd : *fds)
      if (::write(fd.get(), "0", 1) != 1) ::_exit(70);
    ::alarm(20);
    for (size_t i = 0; i < 64; i++) {
      auto* p = static_cast<char*>(
          ::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      for (size_t at = 0; at < 1 << 20; at += 4096) static_cast<volatile char*>(p)[at] = 1;
    }
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  pollfd p{event->get(), POLLIN | POLLPRI, 0};
  EXPECT_EQ(::poll(&p, 1, 5000), 1) << "no notice of the OOM kill";
  EXPECT_GE(cgroup_->oom_kills_after(event->get(), 0).value_or(0), 1u);
}

TEST_F(CgroupKernel_NeedsRoot, StatisticsHaveTheShapeOfThePeers) {
  ASSERT_TRUE(
      cgroup_->create({.memory = oci::MemoryResources{.limit = 64 << 20}, .pids = oci::PidsResources{44}}));
  spawn();
  auto stats = cgroup_->stats();
  ASSERT_TRUE(stats) << stats.error().text();
  EXPECT_EQ(stats->pids_current, 1u);
  EXPECT_EQ(stats->pids_limit, 44u);
  EXPECT_EQ(stats->memory.usage.limit, 64u << 20);
  EXPECT_FALSE(stats->memory.raw.empty());
  std::string json = stats_json(*stats, "x");
  for (const char* key :
       {R"({"type":"stats","id":"x","data":{"cpu":{"usage":{)", R"("throttling":{)", R"("cpuset":{)",
        R"("memory":{)", R"("raw":{)", R"("pids":{"current":1,"limit":44})", R"("blkio":{)", R"("hugetlb":{)",
        R"("intel_rdt":{},)"})
    EXPECT_NE(json.find(key), std::string::npos) << key << " in " << json;
}

TEST_F(CgroupKernel_NeedsRoot, FailedLimitLeavesNothing) {
  auto made = cgroup_->create({.cpu = oci::CpuResources{.quota = 1}});  // below the kernel's minimum of 1 ms
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().text().find("linux.resources.cpu.quota"), std::string::npos) << made.error().text();
  for (const auto& [controller, path] : cgroup_->record().paths)
    EXPECT_NE(::access(path.c_str(), F_OK), 0) << path;
}

}  // namespace
}  // namespace onggi::runtime
