#include "runtime/cgroup_owner.h"

#include <gtest/gtest.h>

namespace onggi::runtime {
namespace {

oci::Spec spec() {
  oci::Spec s;
  s.process.emplace();
  s.process->user.uid = 1000;
  s.linux.namespaces = {{oci::NamespaceType::kCgroup, ""}};
  s.mounts = {{"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "rw"}, {}, {}}};
  return s;
}

TEST(CgroupOwner, TheProcessMapped) {
  oci::Spec s = spec();
  EXPECT_EQ(cgroup_owner(s), 1000);
  s.linux.namespaces.push_back({oci::NamespaceType::kUser, ""});
  s.linux.uid_mappings = {{0, 100000, 500}, {500, 300000, 4000}};
  EXPECT_EQ(cgroup_owner(s), 300500);
  s.process->user.uid = 9000;
  EXPECT_EQ(cgroup_owner(s), -1) << "not mapped";
  s.linux.uid_mappings.clear();
  EXPECT_EQ(cgroup_owner(s), -1) << "a joined user namespace";
}

TEST(CgroupOwner, OnlyWithItsOwnWritableCgroups) {
  oci::Spec s = spec();
  s.mounts[0].options = {"ro"};
  EXPECT_EQ(cgroup_owner(s), -1);
  s = spec();
  s.mounts[0].destination = "/elsewhere";
  EXPECT_EQ(cgroup_owner(s), -1);
  s = spec();
  s.mounts[0].type = "bind";
  EXPECT_EQ(cgroup_owner(s), -1);
  s = spec();
  s.linux.namespaces.clear();
  EXPECT_EQ(cgroup_owner(s), -1);
  s = spec();
  s.linux.namespaces[0].path = "/proc/1/ns/cgroup";
  EXPECT_EQ(cgroup_owner(s), -1);
}

}  // namespace
}  // namespace onggi::runtime
