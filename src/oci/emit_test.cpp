#include "oci/emit.h"

#include <gtest/gtest.h>

#include "oci/features.h"
#include "oci/mount_options.h"
#include "oci/parse.h"

namespace onggi::oci {
namespace {

TEST(Emit, RequiredMembersAreThereEvenWhenZero) {
  Spec spec;
  spec.process.emplace();
  EXPECT_EQ(emit_spec(spec, ""), R"({"ociVersion":"","process":{"user":{"uid":0,"gid":0},"cwd":""}})");
  Process p;
  p.args = {"a"};
  EXPECT_EQ(emit_process(p), R"({"user":{"uid":0,"gid":0},"args":["a"],"cwd":""})");
  Resources r;
  r.devices.emplace_back();
  r.pids.emplace().limit = 0;
  EXPECT_EQ(emit_resources(r), R"({"devices":[{"allow":false}],"pids":{"limit":0}})");
}

TEST(Features, SaysWhatTheFactsSay) {
  FeatureFacts facts;
  facts.seccomp_actions = {"A1"};
  facts.seccomp_operators = {"O1"};
  facts.seccomp_archs = {"R1"};
  facts.seccomp_known_flags = {"F1", "F2"};
  facts.seccomp_supported_flags = {"F1"};
  facts.cgroup_systemd_user = false;
  facts.selinux = false;
  facts.annotations = {{"org.example.version", "1"}};
  facts.potentially_unsafe_annotations = {"org.systemd.property."};
  std::string json = emit_features(facts, "");
  for (
      const char* part :
      {R"({"ociVersionMin":"1.0.0","ociVersionMax":"1.3.0","hooks":["prestart","createRuntime","createContainer",)"
       R"("startContainer","poststart","poststop"],"mountOptions":["async",)",
       R"("linux":{"namespaces":["cgroup","ipc","mount","network","pid","time","user","uts"],"capabilities":["CAP_CHOWN",)",
       R"("CAP_CHECKPOINT_RESTORE"],"cgroup":{"v1":true,"v2":true,"systemd":true,"systemdUser":false,"rdma":true})",
       R"("seccomp":{"enabled":true,"actions":["A1"],"operators":["O1"],"archs":["R1"],"knownFlags":["F1","F2"],)"
       R"("supportedFlags":["F1"]},"apparmor":{"enabled":true},"selinux":{"enabled":false})",
       R"("intelRdt":{"enabled":true,"schemata":true,"monitoring":true})",
       R"("memoryPolicy":{"modes":["MPOL_BIND",)",
       R"("mountExtensions":{"idmap":{"enabled":true}},"netDevices":{"enabled":true}})",
       R"("annotations":{"org.example.version":"1"},"potentiallyUnsafeConfigAnnotations":["org.systemd.property."])"})
    EXPECT_NE(json.find(part), std::string::npos) << part << "\n" << json;
  for (const std::string& option : known_mount_options())
    EXPECT_NE(json.find("\"" + option + "\""), std::string::npos);
}

}  // namespace
}  // namespace onggi::oci
