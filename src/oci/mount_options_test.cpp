#include "oci/mount_options.h"

#include <gtest/gtest.h>
#include <linux/mount.h>

#include <algorithm>
#include <set>

namespace onggi::oci {
namespace {

MountFlags parse(const std::vector<std::string>& options) {
  auto r = parse_mount_options(options);
  EXPECT_TRUE(r) << r.error().text();
  return r ? *r : MountFlags{};
}

struct Row {
  const char* option;
  uint64_t set, clear, propagation, rec_set, rec_clear;
};
constexpr uint64_t kAtime = MOUNT_ATTR__ATIME;

// Every option of config.md that stands for flags.
constexpr Row kRows[] = {
    {"async", 0, MS_SYNCHRONOUS, 0, 0, 0},
    {"atime", 0, MS_NOATIME, 0, 0, 0},
    {"bind", MS_BIND, 0, 0, 0, 0},
    {"defaults", 0, 0, 0, 0, 0},
    {"dev", 0, MS_NODEV, 0, 0, 0},
    {"diratime", 0, MS_NODIRATIME, 0, 0, 0},
    {"dirsync", MS_DIRSYNC, 0, 0, 0, 0},
    {"exec", 0, MS_NOEXEC, 0, 0, 0},
    {"iversion", MS_I_VERSION, 0, 0, 0, 0},
    {"lazytime", MS_LAZYTIME, 0, 0, 0, 0},
    {"loud", 0, MS_SILENT, 0, 0, 0},
    {"mand", MS_MANDLOCK, 0, 0, 0, 0},
    {"noatime", MS_NOATIME, 0, 0, 0, 0},
    {"nodev", MS_NODEV, 0, 0, 0, 0},
    {"nodiratime", MS_NODIRATIME, 0, 0, 0, 0},
    {"noexec", MS_NOEXEC, 0, 0, 0, 0},
    {"noiversion", 0, MS_I_VERSION, 0, 0, 0},
    {"nolazytime", 0, MS_LAZYTIME, 0, 0, 0},
    {"nomand", 0, MS_MANDLOCK, 0, 0, 0},
    {"norelatime", 0, MS_RELATIME, 0, 0, 0},
    {"nostrictatime", 0, MS_STRICTATIME, 0, 0, 0},
    {"nosuid", MS_NOSUID, 0, 0, 0, 0},
    {"nosymfollow", 256, 0, 0, 0, 0},
    {"private", 0, 0, MS_PRIVATE, 0, 0},
    {"ratime", 0, 0, 0, 0, kAtime},
    {"rbind", MS_BIND | MS_REC, 0, 0, 0, 0},
    {"rdev", 0, 0, 0, 0, MOUNT_ATTR_NODEV},
    {"rdiratime", 0, 0, 0, 0, MOUNT_ATTR_NODIRATIME},
    {"relatime", MS_RELATIME, 0, 0, 0, 0},
    {"remount", MS_REMOUNT, 0, 0, 0, 0},
    {"rexec", 0, 0, 0, 0, MOUNT_ATTR_NOEXEC},
    {"rnoatime", 0, 0, 0, MOUNT_ATTR_NOATIME, kAtime},
    {"rnodev", 0, 0, 0, MOUNT_ATTR_NODEV, 0},
    {"rnodiratime", 0, 0, 0, MOUNT_ATTR_NODIRATIME, 0},
    {"rnoexec", 0, 0, 0, MOUNT_ATTR_NOEXEC, 0},
    {"rnorelatime", 0, 0, 0, 0, 0},
    {"rnostrictatime", 0, 0, 0, 0, kAtime},
    {"rnosuid", 0, 0, 0, MOUNT_ATTR_NOSUID, 0},
    {"rnosymfollow", 0, 0, 0, 0x200000, 0},
    {"ro", MS_RDONLY, 0, 0, 0, 0},
    {"rprivate", 0, 0, MS_PRIVATE | MS_REC, 0, 0},
    {"rrelatime", 0, 0, 0, 0, kAtime},
    {"rro", 0, 0, 0, MOUNT_ATTR_RDONLY, 0},
    {"rrw", 0, 0, 0, 0, MOUNT_ATTR_RDONLY},
    {"rshared", 0, 0, MS_SHARED | MS_REC, 0, 0},
    {"rslave", 0, 0, MS_SLAVE | MS_REC, 0, 0},
    {"rstrictatime", 0, 0, 0, MOUNT_ATTR_STRICTATIME, kAtime},
    {"rsuid", 0, 0, 0, 0, MOUNT_ATTR_NOSUID},
    {"rsymfollow", 0, 0, 0, 0, 0x200000},
    {"runbindable", 0, 0, MS_UNBINDABLE | MS_REC, 0, 0},
    {"rw", 0, MS_RDONLY, 0, 0, 0},
    {"shared", 0, 0, MS_SHARED, 0, 0},
    {"silent", MS_SILENT, 0, 0, 0, 0},
    {"slave", 0, 0, MS_SLAVE, 0, 0},
    {"strictatime", MS_STRICTATIME, 0, 0, 0, 0},
    {"suid", 0, MS_NOSUID, 0, 0, 0},
    {"symfollow", 0, 256, 0, 0, 0},
    {"sync", MS_SYNCHRONOUS, 0, 0, 0, 0},
    {"unbindable", 0, 0, MS_UNBINDABLE, 0, 0},
};

TEST(MountOptions, EachAlone) {
  for (const Row& row : kRows) {
    MountFlags f = parse({row.option});
    EXPECT_EQ(f.ms_set, row.set) << row.option;
    EXPECT_EQ(f.ms_clear, row.clear) << row.option;
    EXPECT_EQ(f.propagation, row.propagation) << row.option;
    EXPECT_EQ(f.rec_attr_set, row.rec_set) << row.option;
    EXPECT_EQ(f.rec_attr_clr, row.rec_clear) << row.option;
    EXPECT_TRUE(f.data.empty()) << row.option;
    EXPECT_EQ(f.bind, (row.set & MS_BIND) != 0) << row.option;
    EXPECT_EQ(f.rbind, row.set == (MS_BIND | MS_REC)) << row.option;
  }
}

TEST(MountOptions, KnownListIsTheTableAndTheExtensions) {
  std::set<std::string> expected{"idmap",        "ridmap",       "tmpcopyup",
                                 "copy-symlink", "src-nofollow", "dest-nofollow"};
  for (const Row& row : kRows) expected.insert(row.option);
  auto known = known_mount_options();
  EXPECT_TRUE(std::ranges::is_sorted(known));
  EXPECT_EQ(std::set<std::string>(known.begin(), known.end()), expected);
}

TEST(MountOptions, Extensions) {
  EXPECT_TRUE(parse({"idmap"}).idmap);
  EXPECT_TRUE(parse({"ridmap"}).ridmap);
  EXPECT_TRUE(parse({"tmpcopyup"}).tmpcopyup);
  EXPECT_TRUE(parse({"copy-symlink"}).copy_symlink);
  EXPECT_TRUE(parse({"src-nofollow"}).src_nofollow);
  EXPECT_TRUE(parse({"dest-nofollow"}).dest_nofollow);
  MountFlags none = parse({});
  EXPECT_FALSE(none.idmap || none.ridmap || none.tmpcopyup || none.copy_symlink || none.src_nofollow ||
               none.dest_nofollow);
}

TEST(MountOptions, TheLastOfTwoContradictingWins) {
  MountFlags f = parse({"ro", "nosuid", "rw"});
  EXPECT_EQ(f.ms_set, static_cast<uint64_t>(MS_NOSUID));
  EXPECT_EQ(f.ms_clear, static_cast<uint64_t>(MS_RDONLY));
  f = parse({"rrw", "rro"});
  EXPECT_EQ(f.rec_attr_set, static_cast<uint64_t>(MOUNT_ATTR_RDONLY));
  EXPECT_EQ(f.rec_attr_clr, 0u);
  f = parse({"rro", "rrw"});
  EXPECT_EQ(f.rec_attr_set, 0u);
  EXPECT_EQ(f.rec_attr_clr, static_cast<uint64_t>(MOUNT_ATTR_RDONLY));
  // Access times are one choice.
  f = parse({"rnoatime", "rstrictatime", "rnosuid"});
  EXPECT_EQ(f.rec_attr_set, static_cast<uint64_t>(MOUNT_ATTR_STRICTATIME | MOUNT_ATTR_NOSUID));
  EXPECT_EQ(f.rec_attr_clr, kAtime);
  f = parse({"rnoatime", "ratime"});
  EXPECT_EQ(f.rec_attr_set, 0u);
  EXPECT_EQ(f.rec_attr_clr, kAtime);
}

TEST(MountOptions, PropagationKeepsItsOrder) {
  MountFlags f = parse({"rslave", "shared"});
  EXPECT_EQ(f.propagation, static_cast<uint64_t>(MS_SHARED));
  EXPECT_EQ(f.propagation_steps, (std::vector<uint64_t>{MS_SLAVE | MS_REC, MS_SHARED}));
  EXPECT_EQ(propagation_flag("rslave"), static_cast<uint64_t>(MS_SLAVE | MS_REC));
  EXPECT_EQ(propagation_flag("ro"), 0u);
  EXPECT_EQ(propagation_flag(""), 0u);
}

TEST(MountOptions, TheRestIsDataInOrder) {
  MountFlags f = parse({"mode=755", "nosuid", "newinstance", "", "lowerdir=/a:/b=c", "x=", "RO"});
  std::vector<std::pair<std::string, std::optional<std::string>>> expected{{"mode", "755"},
                                                                           {"newinstance", std::nullopt},
                                                                           {"lowerdir", "/a:/b=c"},
                                                                           {"x", ""},
                                                                           {"RO", std::nullopt}};
  EXPECT_EQ(f.data, expected);
  EXPECT_EQ(join_mount_data(f), "mode=755,newinstance,lowerdir=/a:/b=c,x=,RO");
  EXPECT_EQ(join_mount_data(parse({"ro"})), "");
}

TEST(MountOptions, InlineIdMappings) {
  MountFlags f = parse({"ridmap=uids=0-1000-10#@20-3000-5;gids=@0-7-1"});
  EXPECT_TRUE(f.ridmap);
  EXPECT_FALSE(f.idmap);
  ASSERT_EQ(f.inline_uid_mappings.size(), 2u);
  EXPECT_EQ(f.inline_uid_mappings[0].map.host_id, 1000u);
  EXPECT_FALSE(f.inline_uid_mappings[0].relative);
  EXPECT_EQ(f.inline_uid_mappings[1].map.container_id, 20u);
  EXPECT_EQ(f.inline_uid_mappings[1].map.size, 5u);
  EXPECT_TRUE(f.inline_uid_mappings[1].relative);
  ASSERT_EQ(f.inline_gid_mappings.size(), 1u);
  EXPECT_TRUE(f.inline_gid_mappings[0].relative);
  for (const char* bad :
       {"idmap=x", "idmap=uids=", "idmap=uids=1-2", "idmap=uids=1-2-3-4", "idmap=uids=-1-2-3",
        "idmap=uids=1-2-4294967296", "idmap=uids=1-2-3;x=1", "idmap=uids=1-2-3##1-2-3", "idmap=uids=1-2-x"})
    EXPECT_FALSE(parse_mount_options({bad})) << bad;
}

}  // namespace
}  // namespace onggi::oci
