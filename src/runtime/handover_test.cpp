// The pid file: complete or absent.
#include "runtime/handover.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

namespace onggi::runtime {
namespace {

class PidFile : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/onggi-handover-XXXXXX";
    ASSERT_NE(nullptr, ::mkdtemp(name));
    directory_ = name;
  }
  void TearDown() override {
    for (const char* name : {"pid", "taken"}) (void)::unlink((directory_ + "/" + name).c_str());
    (void)::rmdir((directory_ + "/taken").c_str());
    EXPECT_EQ(0, ::rmdir(directory_.c_str())) << "something was left behind";
  }
  std::string directory_;
};

TEST_F(PidFile, HoldsTheNumberAndReplacesWhatWasThere) {
  std::string path = directory_ + "/pid";
  ASSERT_TRUE(write_pid_file(path, 4194304));
  EXPECT_EQ("4194304", read_file(path).value());
  ASSERT_TRUE(write_pid_file(path, 7));
  EXPECT_EQ("7", read_file(path).value());
}

TEST_F(PidFile, LeavesNothingWhereItCannotBe) {
  std::string path = directory_ + "/taken";
  ASSERT_EQ(0, ::mkdir(path.c_str(), 0700));
  auto r = write_pid_file(path, 1);
  ASSERT_FALSE(r);
  EXPECT_EQ(EISDIR, r.error().os_errno());
  EXPECT_NE(std::string::npos, r.error().text().find("pid file: rename to '" + path + "'"))
      << r.error().text();
}

TEST_F(PidFile, NamesTheDirectoryThatIsMissing) {
  auto r = write_pid_file(directory_ + "/no/pid", 1);
  ASSERT_FALSE(r);
  EXPECT_EQ(ENOENT, r.error().os_errno());
  EXPECT_NE(std::string::npos, r.error().text().find("pid file: open")) << r.error().text();
}

TEST(HandoverSockets, NobodyListens) {
  Handover h;
  auto r = h.connect("/nonexistent/console.sock", "");
  ASSERT_FALSE(r);
  EXPECT_NE(std::string::npos, r.error().text().find("console socket")) << r.error().text();
  r = h.connect("", "/nonexistent/pidfd.sock");
  ASSERT_FALSE(r);
  EXPECT_NE(std::string::npos, r.error().text().find("pidfd socket")) << r.error().text();
  EXPECT_TRUE(h.send_pidfd(0)) << "without a socket there is nothing to send";
}

TEST(HandoverSockets, KeepsTheTerminalThatNobodyElseGets) {
  Handover h;
  int fd = ::dup(0);
  ASSERT_TRUE(h.take_console(UniqueFd(fd)));
  UniqueFd console = h.console();
  EXPECT_EQ(fd, console.get());
  EXPECT_FALSE(h.console());
}

}  // namespace
}  // namespace onggi::runtime
