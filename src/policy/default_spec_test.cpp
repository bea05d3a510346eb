#include "policy/default_spec.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "oci/check.h"
#include "oci/emit.h"
#include "oci/parse.h"

namespace onggi::policy {
namespace {

bool has_namespace(const oci::Spec& spec, oci::NamespaceType type) {
  return std::ranges::any_of(spec.linux.namespaces, [&](const auto& ns) { return ns.type == type; });
}

TEST(DefaultSpec, KeepsItsOwnRules) {
  for (bool v2 : {false, true}) {
    for (const oci::Spec& spec : {default_spec(v2), rootless_spec(1000, 100, v2)}) {
      std::vector<std::string> warnings;
      auto r = oci::check_spec(spec, &warnings);
      EXPECT_TRUE(r) << r.error().text();
      EXPECT_TRUE(warnings.empty());
      auto back = oci::parse_spec(oci::emit_spec(spec));
      ASSERT_TRUE(back);
      EXPECT_EQ(oci::emit_spec(*back), oci::emit_spec(spec));
      EXPECT_EQ(has_namespace(spec, oci::NamespaceType::kCgroup), v2);
    }
  }
}

TEST(DefaultSpec, IsConfined) {
  oci::Spec spec = default_spec(false);
  EXPECT_TRUE(spec.process->no_new_privileges);
  EXPECT_TRUE(spec.root.readonly);
  EXPECT_EQ(spec.process->capabilities->bounding,
            (std::vector<std::string>{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}));
  EXPECT_TRUE(spec.process->capabilities->inheritable.empty());
  EXPECT_NE(std::ranges::find(spec.linux.masked_paths, "/proc/kcore"), spec.linux.masked_paths.end());
  EXPECT_NE(std::ranges::find(spec.linux.readonly_paths, "/proc/sys"), spec.linux.readonly_paths.end());
  ASSERT_EQ(spec.linux.resources->devices.size(), 1u);
  EXPECT_FALSE(spec.linux.resources->devices[0].allow);
}

TEST(DefaultSpec, RootlessNeedsNoPrivilege) {
  oci::Spec spec = rootless_spec(1000, 100, false);
  EXPECT_TRUE(has_namespace(spec, oci::NamespaceType::kUser));
  EXPECT_FALSE(has_namespace(spec, oci::NamespaceType::kNetwork));
  ASSERT_EQ(spec.linux.uid_mappings.size(), 1u);
  EXPECT_EQ(spec.linux.uid_mappings[0].host_id, 1000u);
  EXPECT_EQ(spec.linux.gid_mappings[0].host_id, 100u);
  EXPECT_FALSE(spec.linux.resources.has_value());
  for (const oci::Mount& mount : spec.mounts) {
    for (const std::string& option : mount.options)
      EXPECT_FALSE(option.starts_with("gid=")) << mount.destination;
    if (mount.destination == "/sys") {
      EXPECT_EQ(mount.source, "/sys");
    }
  }
}

}  // namespace
}  // namespace onggi::policy
