// Every member of config.json is read into its own place, kept by a round trip, and refused when its type is
// wrong.
#include "oci/parse.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "oci/emit.h"
#include "oci/full_spec.h"

namespace onggi::oci {
namespace {

Spec full() {
  auto spec = parse_spec(kFullSpec);
  EXPECT_TRUE(spec) << spec.error().text();
  return spec ? std::move(*spec) : Spec{};
}

using Strings = std::vector<std::string>;

void expect_mapping(const std::vector<IdMapping>& m, uint32_t first) {
  ASSERT_EQ(m.size(), 1u);
  EXPECT_EQ(m[0].container_id, first);
  EXPECT_EQ(m[0].host_id, first + 1);
  EXPECT_EQ(m[0].size, first + 2);
}

TEST(ParseSpec, Process) {
  Spec spec = full();
  EXPECT_EQ(spec.oci_version, "1.3.0");
  ASSERT_TRUE(spec.process);
  const Process& p = *spec.process;
  EXPECT_TRUE(p.terminal);
  EXPECT_EQ(p.console_size->height, 101u);
  EXPECT_EQ(p.console_size->width, 102u);
  EXPECT_EQ(p.user.uid, 103u);
  EXPECT_EQ(p.user.gid, 104u);
  EXPECT_EQ(p.user.umask, 63u);
  EXPECT_EQ(p.user.additional_gids, (std::vector<uint32_t>{105, 106}));
  EXPECT_EQ(p.args, (Strings{"arg-a", "arg-b"}));
  EXPECT_EQ(p.env, (Strings{"NAME=value", "OTHER=x"}));
  EXPECT_EQ(p.cwd, "/cwd");
  EXPECT_EQ(p.capabilities->bounding, Strings{"CAP_CHOWN"});
  EXPECT_EQ(p.capabilities->effective, Strings{"CAP_KILL"});
  EXPECT_EQ(p.capabilities->inheritable, Strings{"CAP_SETUID"});
  EXPECT_EQ(p.capabilities->permitted, Strings{"CAP_SETGID"});
  EXPECT_EQ(p.capabilities->ambient, Strings{"CAP_FOWNER"});
  ASSERT_EQ(p.rlimits.size(), 2u);
  EXPECT_EQ(p.rlimits[0].type, "RLIMIT_NOFILE");
  EXPECT_EQ(p.rlimits[0].hard, 1107u);
  EXPECT_EQ(p.rlimits[0].soft, 108u);
  EXPECT_EQ(p.rlimits[1].hard, UINT64_MAX);
  EXPECT_TRUE(p.no_new_privileges);
  EXPECT_EQ(p.apparmor_profile, "apparmor-profile");
  EXPECT_EQ(p.oom_score_adj, -109);
  EXPECT_EQ(p.scheduler->policy, "SCHED_DEADLINE");
  EXPECT_EQ(p.scheduler->nice, -7);
  EXPECT_EQ(p.scheduler->priority, 9);
  EXPECT_EQ(p.scheduler->flags, Strings{"SCHED_FLAG_RECLAIM"});
  EXPECT_EQ(p.scheduler->runtime, 110u);
  EXPECT_EQ(p.scheduler->deadline, 111u);
  EXPECT_EQ(p.scheduler->period, 112u);
  EXPECT_EQ(p.selinux_label, "selinux-label");
  EXPECT_EQ(p.io_priority->io_class, "IOPRIO_CLASS_BE");
  EXPECT_EQ(p.io_priority->priority, 4);
  EXPECT_EQ(p.exec_cpu_affinity->initial, "0-1");
  EXPECT_EQ(p.exec_cpu_affinity->final, "2,3");
}

void expect_hook(const std::vector<Hook>& hooks, const std::string& name, int timeout) {
  ASSERT_EQ(hooks.size(), 1u);
  EXPECT_EQ(hooks[0].path, "/hook/" + name);
  EXPECT_EQ(hooks[0].args, (Strings{name, "x"}));
  EXPECT_EQ(hooks[0].env, Strings{"K=" + name});
  EXPECT_EQ(hooks[0].timeout, timeout);
}

TEST(ParseSpec, RootMountsHooks) {
  Spec spec = full();
  EXPECT_EQ(spec.root.path, "the-root");
  EXPECT_TRUE(spec.root.readonly);
  EXPECT_EQ(spec.hostname, "host-name");
  EXPECT_EQ(spec.domainname, "domain-name");
  ASSERT_EQ(spec.mounts.size(), 1u);
  const Mount& m = spec.mounts[0];
  EXPECT_EQ(m.destination, "/dst");
  EXPECT_EQ(m.type, "bind");
  EXPECT_EQ(m.source, "/src");
  EXPECT_EQ(m.options, (Strings{"rbind", "ro"}));
  expect_mapping(m.uid_mappings, 113);
  expect_mapping(m.gid_mappings, 116);
  expect_hook(spec.hooks.prestart, "prestart", 119);
  expect_hook(spec.hooks.create_runtime, "createRuntime", 120);
  expect_hook(spec.hooks.create_container, "createContainer", 121);
  expect_hook(spec.hooks.start_container, "startContainer", 122);
  expect_hook(spec.hooks.poststart, "poststart", 123);
  expect_hook(spec.hooks.poststop, "poststop", 124);
  EXPECT_EQ(spec.annotations, (StringMap{{"org.example.b", "second"}, {"org.example.a", "first"}}));
}

TEST(ParseSpec, LinuxMembers) {
  Spec spec = full();
  EXPECT_TRUE(spec.has_linux);
  const Linux& l = spec.linux;
  expect_mapping(l.uid_mappings, 125);
  expect_mapping(l.gid_mappings, 128);
  EXPECT_EQ(l.sysctl, (StringMap{{"net.ipv4.ip_forward", "1"}, {"kernel.shmmax", "4096"}}));
  EXPECT_EQ(l.cgroups_path, "/cgroups/path");
  ASSERT_EQ(l.namespaces.size(), 8u);
  NamespaceType order[] = {NamespaceType::kPid,    NamespaceType::kNetwork, NamespaceType::kMount,
                           NamespaceType::kIpc,    NamespaceType::kUts,     NamespaceType::kUser,
                           NamespaceType::kCgroup, NamespaceType::kTime};
  for (size_t i = 0; i < 8; i++) EXPECT_EQ(l.namespaces[i].type, order[i]);
  EXPECT_EQ(l.namespaces[0].path, "");
  EXPECT_EQ(l.namespaces[1].path, "/ns/net");
  ASSERT_EQ(l.devices.size(), 1u);
  EXPECT_EQ(l.devices[0].path, "/dev/fuse");
  EXPECT_EQ(l.devices[0].type, "c");
  EXPECT_EQ(l.devices[0].major, 166);
  EXPECT_EQ(l.devices[0].minor, 167);
  EXPECT_EQ(l.devices[0].file_mode, 438u);
  EXPECT_EQ(l.devices[0].uid, 168u);
  EXPECT_EQ(l.devices[0].gid, 169u);
  ASSERT_EQ(l.net_devices.size(), 2u);
  EXPECT_EQ(l.net_devices[0].name, "eth1");
  EXPECT_EQ(l.net_devices[0].new_name, "inside0");
  EXPECT_EQ(l.net_devices[1].name, "eth2");
  EXPECT_EQ(l.net_devices[1].new_name, "");
  EXPECT_EQ(l.rootfs_propagation, "rslave");
  EXPECT_EQ(l.masked_paths, Strings{"/proc/kcore"});
  EXPECT_EQ(l.readonly_paths, Strings{"/proc/sys"});
  EXPECT_EQ(l.mount_label, "mount-label");
  EXPECT_EQ(l.personality->domain, "LINUX32");
  EXPECT_EQ(l.personality->flags, Strings{"flag"});
  EXPECT_EQ(l.memory_policy->mode, "MPOL_BIND");
  EXPECT_EQ(l.memory_policy->nodes, "0-1");
  EXPECT_EQ(l.memory_policy->flags, Strings{"MPOL_F_STATIC_NODES"});
  ASSERT_EQ(l.time_offsets.size(), 2u);
  EXPECT_EQ(l.time_offsets[0].first, "monotonic");
  EXPECT_EQ(l.time_offsets[0].second.secs, -173);
  EXPECT_EQ(l.time_offsets[0].second.nanosecs, 174u);
  EXPECT_EQ(l.time_offsets[1].first, "boottime");
  EXPECT_EQ(l.time_offsets[1].second.secs, 175);
  EXPECT_EQ(l.time_offsets[1].second.nanosecs, 176u);
  const IntelRdt& r = *l.intel_rdt;
  EXPECT_EQ(r.clos_id, "guaranteed");
  EXPECT_EQ(r.schemata, (Strings{"L3:0=f", "MB:0=20"}));
  EXPECT_EQ(r.l3_cache_schema, "L3:0=ff");
  EXPECT_EQ(r.mem_bw_schema, "MB:0=70");
  EXPECT_TRUE(r.enable_monitoring && r.enable_cmt && r.enable_mbm);
}

TEST(ParseSpec, Seccomp) {
  Spec spec = full();
  ASSERT_TRUE(spec.linux.seccomp);
  const Seccomp& s = *spec.linux.seccomp;
  EXPECT_EQ(s.default_action, "SCMP_ACT_ERRNO");
  EXPECT_EQ(s.default_errno_ret, 170u);
  EXPECT_EQ(s.architectures, Strings{"SCMP_ARCH_X86"});
  EXPECT_EQ(s.flags, Strings{"SECCOMP_FILTER_FLAG_LOG"});
  EXPECT_EQ(s.listener_path, "/listener");
  EXPECT_EQ(s.listener_metadata, "meta-data");
  ASSERT_EQ(s.syscalls.size(), 1u);
  EXPECT_EQ(s.syscalls[0].names, (Strings{"read", "write"}));
  EXPECT_EQ(s.syscalls[0].action, "SCMP_ACT_TRACE");
  EXPECT_EQ(s.syscalls[0].errno_ret, 171u);
  ASSERT_EQ(s.syscalls[0].args.size(), 1u);
  EXPECT_EQ(s.syscalls[0].args[0].index, 3u);
  EXPECT_EQ(s.syscalls[0].args[0].value, 172u);
  EXPECT_EQ(s.syscalls[0].args[0].value_two, UINT64_MAX);
  EXPECT_EQ(s.syscalls[0].args[0].op, "SCMP_CMP_MASKED_EQ");
}

void expect_throttle(const std::vector<ThrottleDevice>& t, int64_t first) {
  ASSERT_EQ(t.size(), 1u);
  EXPECT_EQ(t[0].major, first);
  EXPECT_EQ(t[0].minor, first + 1);
  EXPECT_EQ(t[0].rate, static_cast<uint64_t>(first) + 2);
}

TEST(ParseSpec, Resources) {
  Spec spec = full();
  ASSERT_TRUE(spec.linux.resources);
  const Resources& r = *spec.linux.resources;
  ASSERT_EQ(r.devices.size(), 2u);
  EXPECT_TRUE(r.devices[0].allow);
  EXPECT_EQ(r.devices[0].type, "c");
  EXPECT_EQ(r.devices[0].major, 131);
  EXPECT_EQ(r.devices[0].minor, 132);
  EXPECT_EQ(r.devices[0].access, "rw");
  EXPECT_FALSE(r.devices[1].allow);
  EXPECT_FALSE(r.devices[1].major.has_value());
  EXPECT_EQ(r.memory->limit, 133);
  EXPECT_EQ(r.memory->reservation, 134);
  EXPECT_EQ(r.memory->swap, -1);
  EXPECT_EQ(r.memory->kernel, 135);
  EXPECT_EQ(r.memory->kernel_tcp, 136);
  EXPECT_EQ(r.memory->swappiness, 60u);
  EXPECT_EQ(r.memory->disable_oom_killer, true);
  EXPECT_EQ(r.memory->use_hierarchy, true);
  EXPECT_EQ(r.memory->check_before_update, true);
  EXPECT_EQ(r.cpu->shares, 137u);
  EXPECT_EQ(r.cpu->quota, -1);
  EXPECT_EQ(r.cpu->burst, 138u);
  EXPECT_EQ(r.cpu->period, 139u);
  EXPECT_EQ(r.cpu->realtime_runtime, 140);
  EXPECT_EQ(r.cpu->realtime_period, 141u);
  EXPECT_EQ(r.cpu->cpus, "0-3");
  EXPECT_EQ(r.cpu->mems, "0,1");
  EXPECT_EQ(r.cpu->idle, 1);
  EXPECT_EQ(r.pids->limit, 142);
  EXPECT_EQ(r.block_io->weight, 143);
  EXPECT_EQ(r.block_io->leaf_weight, 144);
  ASSERT_EQ(r.block_io->weight_device.size(), 1u);
  EXPECT_EQ(r.block_io->weight_device[0].major, 145);
  EXPECT_EQ(r.block_io->weight_device[0].minor, 146);
  EXPECT_EQ(r.block_io->weight_device[0].weight, 147);
  EXPECT_EQ(r.block_io->weight_device[0].leaf_weight, 148);
  expect_throttle(r.block_io->throttle_read_bps, 149);
  expect_throttle(r.block_io->throttle_write_bps, 152);
  expect_throttle(r.block_io->throttle_read_iops, 155);
  expect_throttle(r.block_io->throttle_write_iops, 158);
  ASSERT_EQ(r.hugepage_limits.size(), 1u);
  EXPECT_EQ(r.hugepage_limits[0].page_size, "2MB");
  EXPECT_EQ(r.hugepage_limits[0].limit, 161u);
  EXPECT_EQ(r.network->class_id, 162u);
  ASSERT_EQ(r.network->priorities.size(), 1u);
  EXPECT_EQ(r.network->priorities[0].name, "eth0");
  EXPECT_EQ(r.network->priorities[0].priority, 163u);
  ASSERT_EQ(r.rdma.size(), 1u);
  EXPECT_EQ(r.rdma[0].device, "mlx5_1");
  EXPECT_EQ(r.rdma[0].hca_handles, 164u);
  EXPECT_EQ(r.rdma[0].hca_objects, 165u);
  EXPECT_EQ(r.unified, (StringMap{{"memory.high", "max"}, {"cpu.weight", "50"}}));
}

// --- properties over the whole document ---

// Writes `v` again; the leaf (scalar, or empty container) with number `target` is replaced by `instead`.
struct Rewriter {
  size_t target;
  std::string instead;
  size_t leaf = 0;
  std::string path, replaced_path, replaced_text;
  JsonValue::Kind replaced_kind = JsonValue::Kind::kNull;

  void write(JsonWriter& w, JsonValue v) {
    bool object = v.kind() == JsonValue::Kind::kObject, array = v.kind() == JsonValue::Kind::kArray;
    if ((object || array) && v.size() > 0) {
      object ? w.begin_object() : w.begin_array();
      for (size_t i = 0; i < v.size(); i++) {
        std::string saved = path;
        if (object) {
          path += (path.empty() ? "" : ".") + std::string(v.member_name(i));
          w.key(v.member_name(i));
        } else {
          path += "[" + std::to_string(i) + "]";
        }
        write(w, object ? v.member(i) : v.element(i));
        path = saved;
      }
      object ? w.end_object() : w.end_array();
      return;
    }
    if (leaf++ == target) {
      replaced_path = path;
      replaced_kind = v.kind();
      w.raw(instead);
      return;
    }
    switch (v.kind()) {
      case JsonValue::Kind::kBool:
        w.boolean(v.boolean());
        break;
      case JsonValue::Kind::kString:
        w.string(v.string());
        break;
      case JsonValue::Kind::kNumber:
        if (v.as_int64())
          w.number(*v.as_int64());
        else
          w.unsigned_number(*v.as_uint64());
        break;
      default:
        w.raw(object ? "{}" : "[]");
    }
  }
};

TEST(ParseSpec, EveryMemberSurvivesARoundTrip) {
  auto document = JsonDocument::parse(kFullSpec, "full");
  ASSERT_TRUE(document) << document.error().text();
  JsonWriter original("  ");
  Rewriter{SIZE_MAX, ""}.write(original, document->root());
  EXPECT_EQ(emit_spec(full(), "  "), original.text());
}

// Each leaf in turn gets a value of another type; the error names it.
TEST(ParseSpec, WrongTypesAreRefusedByName) {
  auto document = JsonDocument::parse(kFullSpec, "full");
  ASSERT_TRUE(document);
  size_t checked = 0;
  for (size_t i = 0;; i++) {
    for (const char* instead : {"{\"x\":{}}", "[[]]", "1.5", "true", "\"text\""}) {
      JsonWriter w;
      Rewriter rewriter{i, instead};
      rewriter.write(w, document->root());
      if (rewriter.replaced_path.empty()) {
        EXPECT_GT(checked, 850u);
        return;
      }
      bool same_kind = (instead[0] == 't' && rewriter.replaced_kind == JsonValue::Kind::kBool) ||
                       (instead[0] == '"' && rewriter.replaced_kind == JsonValue::Kind::kString) ||
                       (instead[0] == '{' && rewriter.replaced_kind == JsonValue::Kind::kObject);
      if (same_kind) continue;
      auto result = parse_spec(w.text());
      ASSERT_FALSE(result) << rewriter.replaced_path << " accepted " << instead;
      std::string expected = "config.json: " + rewriter.replaced_path + ": expected ";
      ASSERT_EQ(result.error().text().find(expected), 0u) << result.error().text();
      checked++;
    }
  }
}

// A member that is left out (null) changes what was read: no member is ignored.
TEST(ParseSpec, NoMemberIsIgnored) {
  auto document = JsonDocument::parse(kFullSpec, "full");
  ASSERT_TRUE(document);
  std::string whole = emit_spec(full());
  size_t checked = 0;
  for (size_t i = 0;; i++) {
    JsonWriter w;
    Rewriter rewriter{i, "null"};
    rewriter.write(w, document->root());
    if (rewriter.replaced_path.empty()) break;
    // An element of an array cannot be null; a zero cannot be told from nothing.
    if (rewriter.replaced_path.ends_with(']')) continue;
    auto result = parse_spec(w.text());
    if (!result) {  // the values of maps and the type of a namespace are not optional
      EXPECT_TRUE(result.error().text().ends_with("found null") ||
                  result.error().text().ends_with("type: missing"))
          << result.error().text();
      continue;
    }
    bool zero =
        rewriter.replaced_path.ends_with("rlimits[1].soft") || rewriter.replaced_path.ends_with("[1].allow");
    EXPECT_EQ(emit_spec(*result) == whole, zero) << rewriter.replaced_path;
    checked++;
  }
  EXPECT_GT(checked, 140u);
}

TEST(ParseSpec, IdsAreStrict) {
  for (const char* bad : {"4294967296", "-1", "1.5", "\"0\"", "1e3", "18446744073709551616", "true", "[]"}) {
    auto r = parse_spec(std::string(R"({"process":{"user":{"uid":)") + bad + "}}}");
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().text().find("config.json: process.user.uid: expected an integer"), 0u)
        << r.error().text();
  }
}

TEST(ParseSpec, UnknownMembersAreIgnoredAndUnknownNamespacesAreNot) {
  EXPECT_TRUE(parse_spec(R"({"vm":{"x":1},"linux":{"future":[1,2]},"windows":null})"));
  auto r = parse_spec(R"({"linux":{"namespaces":[{"type":"pid"},{"type":"disk"}]}})");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().text(),
            "config.json: linux.namespaces[1].type: 'disk' is no namespace type (pid, network, mount, ipc, "
            "uts, user, cgroup, time)");
}

TEST(ParseSpec, ANamespaceWithoutTypeIsRefused) {
  // It would otherwise be taken for the first type there is.
  auto r = parse_spec(R"({"linux":{"namespaces":[{"path":"/x"}]}})");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().text(), "config.json: linux.namespaces[0].type: missing");
}

TEST(ParseSpec, AbsenceIsKeptApartFromZero) {
  auto r = parse_spec(
      R"({"linux":{"resources":{"memory":{"limit":0,"disableOOMKiller":false}},"seccomp":{"flags":[]}}})");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->linux.resources->memory->limit, 0);
  EXPECT_EQ(r->linux.resources->memory->disable_oom_killer, false);
  EXPECT_FALSE(r->linux.resources->memory->swap.has_value());
  EXPECT_TRUE(r->linux.seccomp->flags.has_value());
  EXPECT_FALSE(r->process.has_value());
  EXPECT_FALSE(parse_spec("{}")->has_linux);
  EXPECT_TRUE(parse_spec(R"({"linux":{}})")->has_linux);
}

TEST(ParseSpec, AMillionMountsFailCleanly) {
  std::string text = "{\"mounts\":[{\"destination\":\"/a\"}";
  for (int i = 0; i < 1000000; i++) text += ",{}";
  auto r = parse_spec(text + "]}");
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().text().find("more than 262144 values"), std::string::npos);
}

TEST(ParseProcess, ReadsAndNamesItsDocument) {
  auto p = parse_process(R"({"terminal":true,"user":{"uid":5},"args":["a"],"cwd":"/"})");
  ASSERT_TRUE(p);
  EXPECT_TRUE(p->terminal);
  EXPECT_EQ(p->user.uid, 5u);
  auto bad = parse_process(R"({"args":"sh"})");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().text(), "process.json: args: expected an array, found a string");
}

TEST(ParseResources, ReadsTheObjectOfUpdate) {
  auto r = parse_resources(
      R"({"memory":{"limit":-1},"cpu":{"shares":2},"pids":{"limit":7},"blockIO":{"weight":10}})");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->memory->limit, -1);
  EXPECT_EQ(r->cpu->shares, 2u);
  EXPECT_EQ(r->pids->limit, 7);
  EXPECT_EQ(r->block_io->weight, 10);
  EXPECT_EQ(parse_resources("{\"pids\":{\"limit\":\"7\"}}").error().text(),
            "resources: pids.limit: expected an integer, found a string");
}

}  // namespace
}  // namespace onggi::oci
