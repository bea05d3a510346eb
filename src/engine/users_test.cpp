#include "engine/users.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"

namespace onggi::engine {
namespace {

const std::string kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "web:x:33:34:web:/var/www:/bin/false\n"
    "# a comment\n"
    "short:x:1\n"
    "1000:x:77:78::/odd:/bin/sh\n"  // a name made of digits: the name wins over the number
    "nohome:x:90:91:::/bin/sh\n"
    "big:x:4294967295:0::/:/bin/sh\n"
    "minus:x:-1:0::/:/bin/sh\n";
const std::string kGroup =
    "root:x:0:\nweb:x:34:\nlog:x:4:web,root\ntwice:x:4:web\nadm:x:5:web\nodd:x:abc:web\n12:x:999:\n";

Result<ResolvedUser> resolve(const std::string& user, const std::vector<std::string>& add = {}) {
  return resolve_user_in(kPasswd, kGroup, user, add);
}

using Ids = std::vector<uint32_t>;

TEST(Users, NoUserIsRoot) {
  auto u = resolve("");
  ASSERT_TRUE(u);
  EXPECT_EQ(u->uid, 0u);
  EXPECT_EQ(u->gid, 0u);
  EXPECT_EQ(u->home, "/root");
  EXPECT_EQ(u->groups, (Ids{4}));
}

TEST(Users, NameBringsGroupHomeAndSupplementaryGroups) {
  auto u = resolve("web");
  ASSERT_TRUE(u);
  EXPECT_EQ(u->uid, 33u);
  EXPECT_EQ(u->gid, 34u);
  EXPECT_EQ(u->home, "/var/www");
  // Lines with a bad number are nobody's.
  EXPECT_EQ(u->groups, (Ids{4, 5}));
}

TEST(Users, GivenGroupReplacesTheLoginsGroups) {
  auto u = resolve("web:log");
  ASSERT_TRUE(u);
  EXPECT_EQ(u->gid, 4u);
  EXPECT_TRUE(u->groups.empty());
  EXPECT_EQ(resolve("web:70")->gid, 70u);
  EXPECT_EQ(resolve("0:12")->gid, 999u) << "a group named 12 is meant before the number";
}

TEST(Users, NumbersNeedNoEntry) {
  auto u = resolve("5000:6000");
  ASSERT_TRUE(u);
  EXPECT_EQ(u->uid, 5000u);
  EXPECT_EQ(u->gid, 6000u);
  EXPECT_EQ(u->home, "/");
  EXPECT_EQ(resolve("5000")->gid, 0u);
  EXPECT_EQ(resolve("33")->home, "/var/www");
  EXPECT_EQ(resolve("1000")->uid, 77u);
  EXPECT_EQ(resolve("nohome")->home, "/");
}

TEST(Users, AddedGroups) {
  auto u = resolve("web", {"5", "adm", "700", "web"});
  ASSERT_TRUE(u);
  EXPECT_EQ(u->groups, (Ids{4, 5, 700, 34}));
  EXPECT_FALSE(resolve("web", {"nobody-has-this"}));
}

// CVE-2024-40635: an id past 32 bits must not wrap to root.
TEST(Users, IdsAreStrict) {
  for (const char* user :
       {"4294967295", "4294967296", "18446744073709551616", "-1", "+1", "0x10", "1e3", " 1", "1 ",
        "0:4294967296", "0:-1", "big", "minus", "short", "no-such-user", "web:no-such-group"}) {
    auto u = resolve(user);
    EXPECT_FALSE(u) << user;
    if (!u) {
      EXPECT_FALSE(u.error().text().empty());
    }
  }
  EXPECT_EQ(resolve("4294967294")->uid, 4294967294u);
}

TEST(Users, ErrorsNameWhatIsMissingAndWhere) {
  EXPECT_EQ(resolve("ghost").error().text(),
            "unable to find user ghost: no matching entries in the image's /etc/passwd");
  EXPECT_EQ(resolve("web:ghost").error().text(),
            "unable to find group ghost: no matching entries in the image's /etc/group");
}

// The files are read inside the root and only when they are files.
TEST(Users, FilesOfTheRootAreData) {
  char dir[] = "/tmp/onggi-users-XXXXXX";
  ASSERT_TRUE(mkdtemp(dir));
  std::string root = dir;
  auto fd = open_at(AT_FDCWD, root, O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(fd);
  EXPECT_EQ(resolve_user(fd->get(), "12:13", {})->uid, 12u) << "no /etc at all";
  ASSERT_EQ(mkdir((root + "/etc").c_str(), 0755), 0);
  ASSERT_TRUE(write_file(root + "/etc/passwd", kPasswd, O_CREAT, 0644));
  EXPECT_EQ(resolve_user(fd->get(), "web", {})->uid, 33u);
  unlink((root + "/etc/passwd").c_str());
  ASSERT_EQ(symlink("/../../../../../../etc/passwd", (root + "/etc/passwd").c_str()), 0);
  EXPECT_FALSE(resolve_user(fd->get(), "daemon", {})) << "a link must not reach the host's passwd";
  unlink((root + "/etc/passwd").c_str());
  ASSERT_EQ(mkfifo((root + "/etc/passwd").c_str(), 0644), 0);
  EXPECT_FALSE(resolve_user(fd->get(), "web", {})) << "a FIFO must neither hang nor be read";
  unlink((root + "/etc/passwd").c_str());
  rmdir((root + "/etc").c_str());
  rmdir(root.c_str());
}

}  // namespace
}  // namespace onggi::engine
