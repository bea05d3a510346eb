// Claims, names, ranges, removal and the sweep, on directories of the test's own. Needs no image and no
// runtime.
#include "engine/container_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/file.h"

namespace onggi::engine {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

class Store : public testing::Test {
 protected:
  void SetUp() override {
    char dir[] = "/tmp/onggi-store-XXXXXX";
    ASSERT_TRUE(mkdtemp(dir));
    base_ = dir;
    paths_.root = base_ + "/root";
    paths_.run = base_ + "/run";
    for (const char* name :
         {"/root/containers", "/root/names", "/root/ranges", "/root/trash", "/run/containers"})
      fs::create_directories(base_ + name);
  }
  void TearDown() override { fs::remove_all(base_); }

  ContainerConfig config(const std::string& name) {
    ContainerConfig c;
    c.name = name;
    return c;
  }
  std::string made(const std::string& name) {
    ContainerConfig c = config(name);
    auto claim = store_.claim(c);
    EXPECT_TRUE(claim) << claim.error().text();
    EXPECT_TRUE(claim->commit(c));
    return c.id;
  }
  Names list(const std::string& where) {
    Names names;
    for (const auto& e : fs::directory_iterator(base_ + where)) names.push_back(e.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  Names report(bool repair) {
    Names said;
    EXPECT_TRUE(store_.sweep(repair, [&](const std::string& text) { said.push_back(text); }));
    return said;
  }

  std::string base_;
  Paths paths_;
  ContainerStore store_{paths_};
};

TEST_F(Store, AClaimThatIsNotCommittedLeavesNothing) {
  {
    ContainerConfig c = config("web");
    auto claim = store_.claim(c);
    ASSERT_TRUE(claim);
    EXPECT_EQ(list("/root/names"), Names{"web"});
    EXPECT_EQ(list("/root/ranges").size(), 1u);
    EXPECT_TRUE(store_.ids()->empty()) << "half-made ones are not listed";
    EXPECT_FALSE(store_.resolve("web"));
  }
  for (const char* where : {"/root/names", "/root/ranges", "/root/containers", "/root/trash"})
    EXPECT_TRUE(list(where).empty()) << where;
}

TEST_F(Store, ConfigurationComesBackAsItWasGiven) {
  ContainerConfig c = config("web");
  c.command = {"a", "b c", "\"'\n\xc3\xa9"};
  c.labels = {{"k", "v"}};
  c.security.cap_drop = {"ALL"};
  c.stop_timeout = 0;
  auto claim = store_.claim(c);
  ASSERT_TRUE(claim && claim->commit(c));
  auto back = store_.open(c.id)->config();
  ASSERT_TRUE(back);
  EXPECT_EQ(back->command, c.command);
  EXPECT_EQ(back->labels, c.labels);
  EXPECT_EQ(back->security.cap_drop, Names{"ALL"});
  EXPECT_EQ(back->stop_timeout, std::optional<int>(0));
  EXPECT_EQ(back->id_base, c.id_base);
  EXPECT_TRUE(back->init);
}

TEST_F(Store, NamesAreUnique) {
  std::string id = made("web");
  ContainerConfig other = config("web");
  auto refused = store_.claim(other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kExists);
  EXPECT_NE(refused.error().text().find(id.substr(0, 12)), std::string::npos) << "whose it is";
  EXPECT_EQ(store_.ids()->size(), 1u);
  EXPECT_EQ(list("/root/ranges").size(), 1u) << "the refused claim gave its range back";
}

TEST_F(Store, NamesAreChecked) {
  for (const char* name : {"a", "-web", ".web", "we b", "we/b", "web\n", "w\xc3\xa9"})
    EXPECT_FALSE(check_container_name(name)) << name;
  EXPECT_FALSE(check_container_name(std::string(256, 'a')));
  for (const char* name : {"ab", "a-", "Web_1.x-y", "0a"}) EXPECT_TRUE(check_container_name(name)) << name;
  ContainerConfig c;
  auto claim = store_.claim(c);
  ASSERT_TRUE(claim);
  EXPECT_TRUE(check_container_name(c.name)) << "a name that it makes up: " << c.name;
}

TEST_F(Store, EachRangeIsOnesOwn) {
  std::set<uint32_t> seen;
  for (int n = 0; n < 50; n++) {
    ContainerConfig c = config("c" + std::to_string(n));
    auto claim = store_.claim(c);
    ASSERT_TRUE(claim && claim->commit(c));
    EXPECT_EQ((c.id_base - kRangeBase) % kRangeSize, 0u);
    EXPECT_TRUE(seen.insert(c.id_base).second);
  }
  ContainerConfig host = config("host");
  host.security.host_userns = true;
  auto claim = store_.claim(host);
  ASSERT_TRUE(claim);
  EXPECT_EQ(host.id_base, 0u);
  EXPECT_EQ(list("/root/ranges").size(), 50u);
}

TEST_F(Store, ReferencesAreResolvedAndNeverArePaths) {
  std::string id = made("web"), other = made("db");
  EXPECT_EQ(store_.resolve("web").value(), id);
  EXPECT_EQ(store_.resolve(id).value(), id);
  EXPECT_EQ(store_.resolve(id.substr(0, 12)).value(), id);
  for (const char* bad : {"", ".", "..", "../names", "web/", "/web", "nobody"}) {
    auto r = store_.resolve(bad);
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().kind(), ErrorKind::kNotFound);
  }
  // Two ids of one prefix.
  std::string twin = id.substr(0, 8) + std::string(56, id[8] == 'f' ? 'e' : 'f');
  fs::create_directory(paths_.container(twin));
  std::ofstream(paths_.container(twin) + "/config.json") << "{}";
  auto ambiguous = store_.resolve(id.substr(0, 8));
  ASSERT_FALSE(ambiguous);
  EXPECT_NE(ambiguous.error().text().find("several"), std::string::npos);
}

TEST_F(Store, RenameMovesTheNameOnly) {
  std::string id = made("web");
  made("db");
  auto dir = store_.open(id);
  ASSERT_TRUE(dir && dir->lock());
  EXPECT_FALSE(store_.rename(*dir, "db")) << "taken";
  EXPECT_FALSE(store_.rename(*dir, "web")) << "the same";
  EXPECT_FALSE(store_.rename(*dir, "x/y"));
  ASSERT_TRUE(store_.rename(*dir, "front"));
  EXPECT_EQ(store_.resolve("front").value(), id);
  EXPECT_FALSE(store_.resolve("web"));
  EXPECT_EQ(dir->config()->name, "front");
  EXPECT_TRUE(report(false).empty());
}

TEST_F(Store, NamesThatKilledCommandsLeft) {
  std::string id = made("web");
  auto dir = store_.open(id);
  ASSERT_TRUE(dir && dir->lock());
  // A rename killed after the link of the new name goes through when it is tried again.
  ASSERT_EQ(::symlink(id.c_str(), (paths_.root + "/names/front").c_str()), 0);
  ASSERT_TRUE(store_.rename(*dir, "front"));
  EXPECT_EQ(list("/root/names"), Names{"front"});
  // Killed before the old name went: that one is free for others, but not while the container is locked.
  ASSERT_EQ(::symlink(id.c_str(), (paths_.root + "/names/web").c_str()), 0);
  ContainerConfig other = config("web");
  EXPECT_FALSE(store_.claim(other));
  dir->unlock();
  std::string twin = made("web");
  EXPECT_EQ(store_.resolve("web").value(), twin);
  EXPECT_EQ(store_.resolve("front").value(), id);
  // Of a creator that was killed: its directory has no configuration and nobody holds it.
  fs::create_directory(paths_.container("dead"));
  ASSERT_EQ(::symlink("dead", (paths_.root + "/names/late").c_str()), 0);
  made("late");
}

TEST_F(Store, RemovedIsGoneAtOnceAndItsRangeOnlyAfterTheSweep) {
  std::string id = made("web");
  auto dir = store_.open(id);
  ASSERT_TRUE(dir && dir->lock());
  ASSERT_TRUE(store_.remove(*dir));
  EXPECT_FALSE(store_.resolve("web"));
  EXPECT_TRUE(store_.ids()->empty());
  EXPECT_EQ(list("/root/ranges").size(), 1u) << "files of those ids are still on disk";
  made("web");  // the name is free
  EXPECT_TRUE(report(false).empty()) << "trash is no fault";
  ASSERT_TRUE(store_.sweep(true, {}));
  EXPECT_TRUE(list("/root/trash").empty());
  EXPECT_EQ(list("/root/ranges").size(), 1u);
}

TEST_F(Store, WhoeverHadItOpenLearnsThatItWasRemoved) {
  std::string id = made("web");
  auto dir = store_.open(id), late = store_.open(id);
  ASSERT_TRUE(dir && late && dir->lock() && store_.remove(*dir));
  dir->unlock();
  auto locked = late->lock();
  ASSERT_FALSE(locked);
  EXPECT_EQ(locked.error().kind(), ErrorKind::kNotFound);
}

TEST_F(Store, ABusyContainerSaysSo) {
  std::string id = made("web");
  auto holder = store_.open(id), other = store_.open(id);
  ASSERT_TRUE(holder && holder->lock());
  auto refused = other->lock(20);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kBusy);
  EXPECT_TRUE(other->config()) << "readers take no lock";
  holder->unlock();
  EXPECT_TRUE(other->lock(20));
}

// A creator that is killed leaves a claim: seen by a check, removed by a repair, and its name can be had at
// once.
TEST_F(Store, ClaimsOfTheDead) {
  pid_t pid = fork();
  if (pid == 0) {
    ContainerConfig c = config("web");
    auto claim = store_.claim(c);
    if (claim) kill(getpid(), SIGKILL);
    _exit(1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(store_.ids()->empty());
  Names said = report(false);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said[0].find("its creation was interrupted"), std::string::npos);
  EXPECT_EQ(list("/root/containers").size(), 1u) << "a check changes nothing";
  EXPECT_EQ(report(true).front(), said.front());
  EXPECT_TRUE(report(false).empty());
  for (const char* where : {"/root/names", "/root/ranges", "/root/containers", "/root/trash"})
    EXPECT_TRUE(list(where).empty()) << where;
}

TEST_F(Store, AClaimUnderWayIsLeftAlone) {
  ContainerConfig c = config("web");
  auto claim = store_.claim(c);
  ASSERT_TRUE(claim);
  EXPECT_TRUE(report(true).empty());
  EXPECT_TRUE(claim->commit(c));
  EXPECT_EQ(store_.resolve("web").value(), c.id);
}

TEST_F(Store, LiveDirectoriesOfNobody) {
  std::string id = made("web"), gone(64, 'a');
  fs::create_directories(paths_.live(id));
  fs::create_directories(paths_.live(gone) + "/rootfs");
  ASSERT_EQ(report(false), Names{"container aaaaaaaaaaaa: its removal was interrupted"});
  EXPECT_EQ(report(true), Names{"container aaaaaaaaaaaa: its removal was interrupted"});
  EXPECT_EQ(list("/run/containers"), Names{id});
}

TEST_F(Store, LinksOfNobody) {
  ASSERT_EQ(symlink("gone", (paths_.root + "/names/old").c_str()), 0);
  ASSERT_EQ(symlink("gone", (paths_.root + "/ranges/7").c_str()), 0);
  EXPECT_EQ(report(false),
            (Names{"names/old: belongs to no container", "ranges/7: belongs to no container"}));
  std::string id = made("old");
  EXPECT_EQ(store_.resolve("old").value(), id) << "a stale name is taken over";
  EXPECT_EQ(report(true), Names{"ranges/7: belongs to no container"});
  EXPECT_TRUE(report(false).empty());
}

// --- states ---

TEST_F(Store, AProcessThatIsGoneHasExited) {
  std::string id = made("web");
  auto dir = store_.open(id);
  EXPECT_EQ(dir->state()->status, "created");
  ContainerState s;
  s.status = "running";
  s.pid = 1 << 30;  // beyond pid_max
  s.pid_start = 5;
  s.boot_id = boot_id();
  ASSERT_TRUE(dir->save_state(s));
  auto now = dir->state();
  EXPECT_EQ(now->status, "exited");
  EXPECT_EQ(now->exit_code, 255);
  EXPECT_EQ(now->reason, "its monitor was killed: how it ended is not known");
  // The same after a reboot, when RUN is empty.
  fs::remove_all(paths_.live(id));
  s.boot_id = "another";
  ASSERT_TRUE(dir->save_state(s));
  fs::remove_all(paths_.live(id));
  EXPECT_EQ(dir->state()->reason, "the machine was restarted while it ran");
}

TEST_F(Store, AMonitorThatNobodyReapedIsGone) {
  std::string id = made("web");
  auto dir = store_.open(id);
  pid_t zombie = fork();
  if (zombie == 0) _exit(0);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(zombie), &info, WEXITED | WNOWAIT);
  ContainerState s;
  s.status = "running";
  s.pid = zombie;
  s.monitor = zombie;
  s.pid_start = 1;
  ASSERT_TRUE(dir->save_state(s));
  EXPECT_EQ(dir->state()->status, "exited");
  waitpid(zombie, nullptr, 0);
}

TEST_F(Store, ALiveProcessOfAnotherStartIsNotOurs) {
  std::string id = made("web");
  auto dir = store_.open(id);
  ContainerState s;
  s.status = "running";
  s.pid = getpid();
  s.pid_start = 1;  // this process did not start then
  ASSERT_TRUE(dir->save_state(s));
  EXPECT_EQ(dir->state()->status, "exited");
}

// A sweeper that looks between a claim's mkdir and its lock took the directory for that of a dead creator.
TEST_F(Store, ClaimsAreMadeWhileAnotherSweeps) {
  pid_t sweeper = fork();
  if (sweeper == 0)
    for (;;) (void)store_.sweep(true, {});
  for (int n = 0; n < 300; n++) {
    ContainerConfig c = config("c" + std::to_string(n));
    auto claim = store_.claim(c);
    ASSERT_TRUE(claim) << claim.error().text();
    ASSERT_TRUE(claim->commit(c));
    ASSERT_TRUE(store_.open(c.id)) << n;
  }
  kill(sweeper, SIGKILL);
  waitpid(sweeper, nullptr, 0);
  EXPECT_EQ(store_.ids()->size(), 300u);
}

TEST_F(Store, DamagedFilesAreErrorsThatNameThem) {
  std::string id = made("web");
  auto dir = store_.open(id);
  std::ofstream(paths_.container(id) + "/config.json") << "{\"id\": 7}";
  auto config = dir->config();
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().text().find(id.substr(0, 12)), std::string::npos);
  std::ofstream(paths_.container(id) + "/last.json") << "{";
  EXPECT_FALSE(dir->state());
}

}  // namespace
}  // namespace onggi::engine
