// Golden tests: configuration in, specification out, as text where all of it is promised and by field where
// one row is. Nothing of the host is looked at.
#include "engine/spec_build.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "oci/emit.h"
#include "policy/container_profile.h"

namespace onggi::engine {
namespace {

using Names = std::vector<std::string>;

constexpr uint32_t kBase = 0x60010000;

struct Fixture {
  ContainerConfig config;
  SpecInputs in;
  Fixture() {
    config.id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    config.name = "web";
    config.command = {"serve", "--port", "80"};
    config.env = {"PATH=/bin"};
    config.network = "none";
    config.id_base = kBase;
    in.config = &config;
    in.host.memory_total = 8ull << 30;
    in.host.nofile_hard = 4096;
    in.host.swap = true;
    in.user.home = "/root";
    in.directory = "/store/containers/0123";
    in.init = "/libexec/onggi-init";
  }
  oci::Spec build() {
    auto spec = build_spec(in);
    EXPECT_TRUE(spec) << spec.error().text();
    return spec ? *spec : oci::Spec();
  }
  std::string refusal() {
    auto spec = build_spec(in);
    EXPECT_FALSE(spec);
    return spec ? "" : spec.error().text();
  }
};

const oci::Mount* mount_at(const oci::Spec& spec, const std::string& where) {
  const oci::Mount* found = nullptr;
  for (const auto& m : spec.mounts)
    if (m.destination == where) found = &m;
  return found;
}

bool has(const Names& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

std::string text_of(const Names& list) {
  std::string text;
  for (const auto& s : list) text += (text.empty() ? "" : ",") + s;
  return text;
}

Names namespaces_of(const oci::Spec& spec) {
  Names names;
  for (const auto& n : spec.linux.namespaces)
    names.push_back(std::to_string(static_cast<int>(n.type)) + (n.path.empty() ? "" : "=" + n.path));
  return names;
}

std::optional<std::string> sysctl(const oci::Spec& spec, const std::string& name) {
  for (const auto& [key, value] : spec.linux.sysctl)
    if (key == name) return value;
  return std::nullopt;
}

// --- the default profile, row by row ---

TEST(SpecBuild, TheProcessOfTheDefaultProfile) {
  Fixture f;
  auto process = build_process(f.in);
  ASSERT_TRUE(process);
  const std::string caps =
      R"(["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FOWNER","CAP_FSETID","CAP_KILL","CAP_SETGID","CAP_SETUID","CAP_SETPCAP",)"
      R"("CAP_NET_BIND_SERVICE","CAP_SYS_CHROOT","CAP_SETFCAP"])";
  EXPECT_EQ(oci::emit_process(*process),
            R"({"user":{"uid":0,"gid":0},"args":["/dev/onggi-init","--","serve","--port","80"],)"
            R"("env":["PATH=/bin","HOME=/root"],"cwd":"/","capabilities":{"bounding":)" +
                caps + R"(,"effective":)" + caps + R"(,"permitted":)" + caps +
                R"(},"rlimits":[{"type":"RLIMIT_NOFILE","hard":4096,"soft":1024},)"
                R"({"type":"RLIMIT_CORE","hard":1,"soft":1}],"noNewPrivileges":true})");
}

TEST(SpecBuild, TheResourcesOfTheDefaultProfile) {
  Fixture f;
  EXPECT_EQ(
      oci::emit_resources(build_resources(f.config, f.in.host)),
      R"({"devices":[{"allow":false,"access":"rwm"}],"memory":{"limit":4294967296,"swap":4294967296},"cpu":{},)"
      R"("pids":{"limit":1024}})");
  f.in.host.cgroup_v2 = true;
  f.in.host.swap = false;
  auto resources = build_resources(f.config, f.in.host);
  EXPECT_FALSE(resources.memory->swap) << "without swap there is no such file";
  ASSERT_EQ(resources.unified.size(), 1u);
  EXPECT_EQ(resources.unified[0].first, "memory.oom.group");
}

TEST(SpecBuild, TheDefaultIsAccepted) {
  Fixture f;
  oci::Spec spec = f.build();
  EXPECT_EQ(spec.hostname, "0123456789ab");
  EXPECT_EQ(spec.linux.cgroups_path, "/onggi/" + f.config.id);
  ASSERT_EQ(spec.linux.uid_mappings.size(), 1u);
  EXPECT_EQ(spec.linux.uid_mappings[0].host_id, kBase);
  EXPECT_EQ(spec.linux.uid_mappings[0].size, 65536u);
  EXPECT_EQ(spec.linux.namespaces.size(), 7u);
  EXPECT_TRUE(spec.linux.seccomp);
  EXPECT_EQ(spec.linux.masked_paths, policy::container_masked_paths());
  EXPECT_EQ(spec.linux.readonly_paths, policy::container_readonly_paths());
  EXPECT_EQ(sysctl(spec, "net.ipv4.ping_group_range"), "0 65535");
  EXPECT_EQ(sysctl(spec, "net.ipv6.conf.default.accept_ra"), "0");
}

TEST(SpecBuild, SystemMountsAreClosed) {
  Fixture f;
  oci::Spec spec = f.build();
  const std::pair<const char*, const char*> rows[] = {
      {"/proc", "nosuid,noexec,nodev"},
      {"/dev", "nosuid,strictatime,mode=755,size=65536k"},
      {"/dev/pts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5,max=256"},
      {"/sys", "nosuid,noexec,nodev,ro"},
      {"/sys/fs/cgroup", "nosuid,noexec,nodev,relatime,ro"},
      {"/dev/shm", "nosuid,noexec,nodev,mode=1777,size=67108864"},
      {"/dev/mqueue", "nosuid,noexec,nodev"},
      {"/etc/hosts", "bind,rprivate,nosuid,noexec,nodev"},
      {"/dev/onggi-init", "bind,ro,nosuid,nodev"}};
  for (const auto& [where, options] : rows) {
    const oci::Mount* m = mount_at(spec, where);
    ASSERT_TRUE(m) << where;
    EXPECT_EQ(text_of(m->options), options) << where;
  }
  EXPECT_EQ(mount_at(spec, "/etc/hosts")->source, "/store/containers/0123/hosts");
}

// --- what relaxes a row relaxes that row ---

TEST(SpecBuild, PrivilegedOpensWhatItNames) {
  Fixture f;
  f.config.security.privileged = f.config.security.host_userns = true;
  f.config.id_base = 0;
  oci::Spec spec = f.build();
  EXPECT_EQ(spec.process->capabilities->bounding.size(), 41u);
  EXPECT_FALSE(spec.process->no_new_privileges);
  EXPECT_FALSE(spec.linux.seccomp);
  EXPECT_TRUE(spec.linux.masked_paths.empty() && spec.linux.readonly_paths.empty());
  EXPECT_TRUE(spec.linux.uid_mappings.empty());
  EXPECT_TRUE(spec.linux.resources->devices[0].allow);
  EXPECT_TRUE(has(mount_at(spec, "/sys")->options, "rw"));
}

TEST(SpecBuild, EachSwitchRelaxesOneRow) {
  Fixture f;
  f.config.security.allow_setuid = true;
  EXPECT_FALSE(f.build().process->no_new_privileges);
  f = Fixture();
  f.in.config = &f.config;
  f.config.security.unmask_paths = true;
  EXPECT_TRUE(f.build().linux.masked_paths.empty());
  EXPECT_TRUE(f.build().process->no_new_privileges);
  f = Fixture();
  f.in.config = &f.config;
  f.config.security.seccomp = "unconfined";
  EXPECT_FALSE(f.build().linux.seccomp);
  EXPECT_FALSE(f.build().linux.masked_paths.empty());
}

TEST(SpecBuild, Capabilities) {
  SecurityConfig s;
  s.cap_add = {"net_admin", "CAP_CHOWN"};
  s.cap_drop = {"kill"};
  Names caps = resolve_capabilities(s).value();
  EXPECT_EQ(caps.size(), 11u);
  EXPECT_TRUE(has(caps, "CAP_NET_ADMIN"));
  EXPECT_FALSE(has(caps, "CAP_KILL"));
  s.cap_add = {"SYS_TIME"};
  s.cap_drop = {"all"};
  EXPECT_EQ(resolve_capabilities(s).value(), Names{"CAP_SYS_TIME"});
  s.cap_add = {"ALL"};
  s.cap_drop = {"SYS_ADMIN"};
  EXPECT_EQ(resolve_capabilities(s).value().size(), 40u);
  s.cap_add = {"CAP_FLY"};
  auto bad = resolve_capabilities(s);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().text(), "unknown capability 'CAP_FLY' (capabilities(7) lists them)");
}

TEST(SpecBuild, AnotherUserHoldsNoCapability) {
  Fixture f;
  f.in.user = {1000, 1001, {7, 8}, "/home/u"};
  oci::Process p = *f.build().process;
  EXPECT_EQ(p.user.uid, 1000u);
  EXPECT_EQ(p.user.additional_gids, (std::vector<uint32_t>{7, 8}));
  EXPECT_EQ(p.capabilities->bounding.size(), 11u);
  EXPECT_TRUE(p.capabilities->effective.empty() && p.capabilities->permitted.empty() &&
              p.capabilities->ambient.empty() && p.capabilities->inheritable.empty());
  EXPECT_TRUE(has(p.env, "HOME=/home/u"));
  f.config.env.push_back("HOME=/given");
  EXPECT_FALSE(has(f.build().process->env, "HOME=/home/u"));
}

// --- namespaces and modes ---

TEST(SpecBuild, HostModesTakeTheNamespaceAway) {
  Fixture f;
  Names all = namespaces_of(f.build());
  for (std::string ContainerConfig::*mode :
       {&ContainerConfig::network, &ContainerConfig::pid_mode, &ContainerConfig::ipc_mode,
        &ContainerConfig::uts_mode, &ContainerConfig::cgroupns_mode}) {
    Fixture one;
    one.config.*mode = "host";
    EXPECT_EQ(namespaces_of(one.build()).size(), all.size() - 1);
  }
  Fixture net;
  net.config.network = "host";
  EXPECT_EQ(net.build().linux.sysctl.size(), 0u) << "the host's network is not for the container to tune";
  Fixture uts;
  uts.config.uts_mode = "host";
  EXPECT_TRUE(uts.build().hostname.empty());
  Fixture ipc;
  ipc.config.ipc_mode = "host";
  EXPECT_EQ(mount_at(ipc.build(), "/dev/shm")->type, "bind");
}

TEST(SpecBuild, SharedNamespacesAreJoinedInTheirUserNamespace) {
  Fixture f;
  f.config.network = "container:abc";
  f.in.shared.network = "/proc/7/ns/net";
  f.in.shared.user = "/proc/7/ns/user";
  oci::Spec spec = f.build();
  Names names = namespaces_of(spec);
  EXPECT_EQ(std::count_if(names.begin(), names.end(),
                          [](const auto& n) { return n.find("/proc/7/ns/") != n.npos; }),
            2);
  EXPECT_TRUE(spec.linux.uid_mappings.empty()) << "a joined user namespace has its map already";
  EXPECT_TRUE(spec.linux.sysctl.empty());
}

// --- mounts of the user ---

TEST(SpecBuild, BindMountsAreSquashedAndClosed) {
  Fixture f;
  MountConfig m;
  m.type = "bind";
  m.target = "/data";
  ResolvedMount r{&m, "/srv/data", 1234, 2345, false};
  f.in.mounts = {r};
  oci::Spec spec = f.build();
  const oci::Mount* out = mount_at(spec, "/data");
  ASSERT_TRUE(out);
  EXPECT_EQ(text_of(out->options), "rbind,rw,rprivate,nosuid,nodev,idmap");
  ASSERT_EQ(out->uid_mappings.size(), 1u);
  EXPECT_EQ(out->uid_mappings[0].container_id, 1234u);
  EXPECT_EQ(out->uid_mappings[0].host_id, kBase);
  EXPECT_EQ(out->uid_mappings[0].size, 1u);
  EXPECT_EQ(out->gid_mappings[0].container_id, 2345u);
  m.ids = "identity";
  EXPECT_TRUE(mount_at(f.build(), "/data")->uid_mappings.empty());
  m.ids = "container";
  EXPECT_EQ(mount_at(f.build(), "/data")->uid_mappings[0].size, 65536u);
  m.ids = "";
  m.read_only = true;
  EXPECT_TRUE(has(mount_at(f.build(), "/data")->options, "rro")) << "read-only reaches what is mounted below";
  m.recursive = false;
  EXPECT_EQ(text_of(mount_at(f.build(), "/data")->options), "bind,ro,rprivate,nosuid,nodev,idmap");
}

TEST(SpecBuild, ParentsComeBeforeWhatIsBelow) {
  Fixture f;
  MountConfig deep, shallow, other;
  deep.type = shallow.type = other.type = "tmpfs";
  deep.target = "/a/b/c";
  shallow.target = "/a";
  other.target = "/a/b";
  f.in.mounts = {{&deep}, {&other}, {&shallow}};
  oci::Spec spec = f.build();
  Names order;
  for (const auto& m : spec.mounts)
    if (m.destination.starts_with("/a")) order.push_back(m.destination);
  EXPECT_EQ(order, (Names{"/a", "/a/b", "/a/b/c"}));
}

TEST(SpecBuild, OwnFilesGiveWayToTheUsers) {
  Fixture f;
  MountConfig m;
  m.type = "bind";
  m.target = "/etc/hosts";
  f.in.mounts = {{&m, "/srv/hosts", 1, 1, false}};
  oci::Spec spec = f.build();
  EXPECT_EQ(std::count_if(spec.mounts.begin(), spec.mounts.end(),
                          [](const auto& x) { return x.destination == "/etc/hosts"; }),
            1);
  EXPECT_EQ(mount_at(spec, "/etc/hosts")->source, "/srv/hosts");
}

TEST(SpecBuild, TmpfsIsBounded) {
  Fixture f;
  MountConfig m;
  m.type = "tmpfs";
  m.target = "/run";
  f.in.mounts = {{&m}};
  EXPECT_EQ(text_of(mount_at(f.build(), "/run")->options), "nosuid,nodev,noexec,rw,size=67108864,mode=1777");
  m.options = {"size=1m", "mode=700", "exec"};
  EXPECT_EQ(text_of(mount_at(f.build(), "/run")->options), "nosuid,nodev,rw,size=1m,mode=700,exec");
  m.options = {};
  m.tmpfs_size = 4096;
  m.tmpfs_mode = 0750;
  EXPECT_EQ(text_of(mount_at(f.build(), "/run")->options), "nosuid,nodev,noexec,rw,size=4096,mode=750");
}

// --- limits ---

TEST(SpecBuild, LimitsOfTheUser) {
  Fixture f;
  ResourceConfig& r = f.config.resources;
  r.memory = 64 << 20;
  r.nano_cpus = 1'500'000'000;
  r.pids_limit = -1;
  r.cpuset_cpus = "0-1";
  r.blkio_weight = 300;
  auto out = build_resources(f.config, f.in.host);
  EXPECT_EQ(out.memory->limit, 64 << 20);
  EXPECT_EQ(out.memory->swap, 64 << 20) << "no swap beyond the limit unless asked for";
  EXPECT_EQ(out.cpu->quota, 150'000);
  EXPECT_EQ(out.cpu->period, 100'000u);
  EXPECT_EQ(out.pids->limit, -1);
  EXPECT_EQ(out.cpu->cpus, "0-1");
  EXPECT_EQ(out.block_io->weight, 300);
  r.memory = -1;
  EXPECT_EQ(build_resources(f.config, f.in.host).memory->limit, -1);
  r.memory = 64 << 20;
  r.memory_swap = -1;
  EXPECT_EQ(build_resources(f.config, f.in.host).memory->swap, -1);
}

TEST(SpecBuild, UlimitsReplaceTheDefaults) {
  Fixture f;
  f.config.rlimits = {{"nofile", 10, 20}, {"nproc", -1, -1}};
  auto limits = f.build().process->rlimits;
  ASSERT_EQ(limits.size(), 3u);
  EXPECT_EQ(limits[0].type, "RLIMIT_CORE");
  EXPECT_EQ(limits[1].type, "RLIMIT_NOFILE");
  EXPECT_EQ(limits[1].soft, 10u);
  EXPECT_EQ(limits[2].hard, UINT64_MAX) << "-1 is without limit";
}

TEST(SpecBuild, AHardLimitOfTheHostIsNeverRaised) {
  Fixture f;
  f.in.host.nofile_hard = 512;
  auto limits = f.build().process->rlimits;
  EXPECT_EQ(limits[0].soft, 512u);
  EXPECT_EQ(limits[0].hard, 512u);
}

TEST(SpecBuild, SysctlsOfTheUserWin) {
  Fixture f;
  f.config.sysctls = {{"net.ipv4.ping_group_range", "1 0"}, {"kernel.shm_rmid_forced", "1"}};
  oci::Spec spec = f.build();
  EXPECT_EQ(sysctl(spec, "net.ipv4.ping_group_range"), "1 0");
  EXPECT_EQ(std::count_if(spec.linux.sysctl.begin(), spec.linux.sysctl.end(),
                          [](const auto& s) { return s.first == "net.ipv4.ping_group_range"; }),
            1);
}

TEST(SpecBuild, ErrorsOfTheUser) {
  Fixture f;
  f.config.security.cap_add = {"CAP_NONE_SUCH"};
  EXPECT_NE(f.refusal().find("CAP_NONE_SUCH"), std::string::npos);
}

TEST(SpecBuild, WithoutInitTheProgramIsFirst) {
  Fixture f;
  f.in.init.clear();
  f.config.entrypoint = {"/entry"};
  EXPECT_EQ(f.build().process->args, (Names{"/entry", "serve", "--port", "80"}));
  EXPECT_FALSE(mount_at(f.build(), "/dev/onggi-init"));
}

}  // namespace
}  // namespace onggi::engine
