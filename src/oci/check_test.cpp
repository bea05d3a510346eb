// One row per rule: what is wrong, and the words that must name it.
#include "oci/check.h"

#include <gtest/gtest.h>

#include <functional>

namespace onggi::oci {
namespace {

// A spec that breaks no rule and has something of everything that rules speak about.
Spec good() {
  Spec s;
  s.oci_version = "1.3.0";
  s.root.path = "rootfs";
  Process& p = s.process.emplace();
  p.args = {"sh"};
  p.cwd = "/";
  p.env = {"A=b"};
  p.rlimits = {{"RLIMIT_NOFILE", 1, 2}};
  s.has_linux = true;
  for (int i = 0; i < 8; i++) s.linux.namespaces.push_back({static_cast<NamespaceType>(i), ""});
  s.linux.uid_mappings = {{0, 1000, 10}};
  s.linux.gid_mappings = {{0, 1000, 10}};
  s.mounts = {{"/proc", "proc", "proc", {}, {}, {}}};
  s.hostname = "h";
  s.domainname = "d";
  return s;
}

void drop(Spec& s, NamespaceType type) {
  std::erase_if(s.linux.namespaces, [&](const Namespace& ns) { return ns.type == type; });
}

struct Row {
  const char* expected;  // start of the error; "" for none
  std::function<void(Spec&)> change;
};

void expect_rows(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    Spec s = good();
    row.change(s);
    auto r = check_spec(s);
    if (!*row.expected) {
      EXPECT_TRUE(r) << r.error().text();
    } else {
      ASSERT_FALSE(r) << "accepted, expected: " << row.expected;
      EXPECT_EQ(r.error().text().find(row.expected), 0u)
          << r.error().text() << "\n expected: " << row.expected;
      EXPECT_EQ(r.error().kind(), ErrorKind::kInvalid);
    }
  }
}

TEST(CheckSpec, AcceptsAGoodOne) {
  expect_rows({{"", [](Spec&) {}}});
  std::vector<std::string> warnings;
  ASSERT_TRUE(check_spec(good(), &warnings));
  EXPECT_TRUE(warnings.empty()) << warnings[0];
}

TEST(CheckSpec, Version) {
  for (const char* v : {"1.0.0", "1.3.0", "1.0.2-dev", "1.1.0+dev", "1.2.0-rc.1+x.y", "1.99.0", "1.0.0-0"})
    expect_rows({{"", [v](Spec& s) { s.oci_version = v; }}});
  for (const char* v : {"1", "1.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0+", "1.0.0-a..b", "v1.0.0", "1.0.x",
                        "1.0.0 ", "one"})
    expect_rows({{"ociVersion: \"", [v](Spec& s) { s.oci_version = v; }}});
  expect_rows({{"ociVersion: missing", [](Spec& s) { s.oci_version = ""; }},
               {"ociVersion: \"2.0.0\" is not supported", [](Spec& s) { s.oci_version = "2.0.0"; }},
               {"ociVersion: \"0.9.0\" is not supported", [](Spec& s) { s.oci_version = "0.9.0"; }},
               {"ociVersion: \"10.0.0\" is not supported", [](Spec& s) { s.oci_version = "10.0.0"; }}});
}

TEST(CheckSpec, TopLevel) {
  expect_rows({{"root.path: missing", [](Spec& s) { s.root.path = ""; }},
               {"process: missing", [](Spec& s) { s.process.reset(); }},
               {"annotations: a key is empty",
                [](Spec& s) {
                  s.annotations = {{"", "x"}};
                }},
               {"hostname: given",
                [](Spec& s) {
                  s.domainname = "";
                  drop(s, NamespaceType::kUts);
                }},
               {"domainname: given",
                [](Spec& s) {
                  s.hostname = "";
                  drop(s, NamespaceType::kUts);
                }},
               {"", [](Spec& s) {
                  s.hostname = s.domainname = "";
                  drop(s, NamespaceType::kUts);
                }}});
}

TEST(CheckSpec, Process) {
  expect_rows({
      {"process.args: empty", [](Spec& s) { s.process->args.clear(); }},
      {"process.cwd: missing", [](Spec& s) { s.process->cwd = ""; }},
      {"process.cwd: \"tmp\" is not an absolute", [](Spec& s) { s.process->cwd = "tmp"; }},
      {"process.user.uid: 4294967295", [](Spec& s) { s.process->user.uid = UINT32_MAX; }},
      {"process.user.gid: 4294967295", [](Spec& s) { s.process->user.gid = UINT32_MAX; }},
      {"process.user.additionalGids[1]: 4294967295",
       [](Spec& s) {
         s.process->user.additional_gids = {1, UINT32_MAX};
       }},
      {"", [](Spec& s) { s.process->user.umask = 0777; }},
      {"process.oomScoreAdj: 1001", [](Spec& s) { s.process->oom_score_adj = 1001; }},
      {"process.oomScoreAdj: -1001", [](Spec& s) { s.process->oom_score_adj = -1001; }},
      {"", [](Spec& s) { s.process->oom_score_adj = -1000; }},
      {"process.rlimits[1]: \"RLIMIT_NOFILE\" is listed twice",
       [](Spec& s) {
         s.process->rlimits.push_back({"RLIMIT_NOFILE", 1, 1});
       }},
      {"process.rlimits[0]: RLIMIT_NOFILE: soft 3 is over hard 2",
       [](Spec& s) { s.process->rlimits[0].soft = 3; }},
      {"process.rlimits[0].type: missing", [](Spec& s) { s.process->rlimits[0].type = ""; }},
  });
}

TEST(CheckSpec, SchedulingOfTheProcess) {
  auto scheduler = [](Scheduler value) { return [value](Spec& s) { s.process->scheduler = value; }; };
  auto io = [](const char* io_class, int priority) {
    return [=](Spec& s) { s.process->io_priority = IoPriority{io_class, priority}; };
  };
  auto cpus = [](const char* initial, const char* final) {
    return [=](Spec& s) { s.process->exec_cpu_affinity = ExecCpuAffinity{initial, final}; };
  };
  expect_rows({
      {"process.scheduler.policy: missing", scheduler({})},
      {"process.scheduler.nice: 20", scheduler({.policy = "SCHED_OTHER", .nice = 20})},
      {"process.scheduler.nice: -21", scheduler({.policy = "SCHED_OTHER", .nice = -21})},
      {"process.scheduler.priority: only", scheduler({.policy = "SCHED_OTHER", .priority = 1})},
      {"", scheduler({.policy = "SCHED_RR", .priority = 1})},
      {"process.scheduler: runtime", scheduler({.policy = "SCHED_FIFO", .priority = 1, .runtime = 1})},
      {"process.scheduler: runtime", scheduler({.policy = "SCHED_FIFO", .deadline = 1})},
      {"process.scheduler: runtime", scheduler({.policy = "SCHED_FIFO", .period = 1})},
      {"", scheduler({.policy = "SCHED_DEADLINE", .runtime = 1, .deadline = 2, .period = 3})},
      {"process.ioPriority.class: \"BE\"", io("BE", 0)},
      {"process.ioPriority.priority: 8", io("IOPRIO_CLASS_BE", 8)},
      {"process.ioPriority.priority: -1", io("IOPRIO_CLASS_RT", -1)},
      {"", io("IOPRIO_CLASS_IDLE", 7)},
      {"", cpus("0-3, 7,,", "")},
      {"process.execCPUAffinity.initial: \"3-1\" ends", cpus("0,3-1", "")},
      {"process.execCPUAffinity.final: \"x\" is neither", cpus("", "x")},
      {"process.execCPUAffinity.final: \"1-\" is neither", cpus("", "1-")},
      {"process.execCPUAffinity.final: \"-1\" is neither", cpus("", "-1")},
      {"process.execCPUAffinity.final: \"99999999999\" is neither", cpus("", "99999999999")},
  });
}

TEST(CheckSpec, Hooks) {
  std::vector<Hook> Hooks::*kinds[] = {&Hooks::prestart,         &Hooks::create_runtime,
                                       &Hooks::create_container, &Hooks::start_container,
                                       &Hooks::poststart,        &Hooks::poststop};
  const char* names[] = {"prestart",       "createRuntime", "createContainer",
                         "startContainer", "poststart",     "poststop"};
  for (int i = 0; i < 6; i++) {
    auto kind = kinds[i];
    std::string prefix = std::string("hooks.") + names[i] + "[0]";
    expect_rows({{(prefix + ".path: \"bin/x\" is not an absolute").c_str(),
                  [kind](Spec& s) {
                    s.hooks.*kind = {{"bin/x", {}, {}, {}}};
                  }},
                 {(prefix + ".timeout: 0 is not greater").c_str(),
                  [kind](Spec& s) {
                    s.hooks.*kind = {{"/x", {}, {}, 0}};
                  }},
                 {(prefix + ".timeout: -5 is not greater").c_str(),
                  [kind](Spec& s) {
                    s.hooks.*kind = {{"/x", {}, {}, -5}};
                  }},
                 {"", [kind](Spec& s) {
                    s.hooks.*kind = {{"/x", {}, {}, 1}};
                  }}});
  }
}

TEST(CheckSpec, Namespaces) {
  expect_rows({
      {"linux.namespaces: \"pid\" is listed twice",
       [](Spec& s) {
         s.linux.namespaces.push_back({NamespaceType::kPid, "/x"});
       }},
      {"linux.namespaces: \"pid\": path \"x\" is not absolute",
       [](Spec& s) { s.linux.namespaces[0].path = "x"; }},
      {"linux.uidMappings: given, but", [](Spec& s) { drop(s, NamespaceType::kUser); }},
      {"linux.gidMappings: given, but",
       [](Spec& s) {
         s.linux.uid_mappings.clear();
         drop(s, NamespaceType::kUser);
       }},
      {"linux.uidMappings: missing", [](Spec& s) { s.linux.uid_mappings.clear(); }},
      {"linux.gidMappings: missing", [](Spec& s) { s.linux.gid_mappings.clear(); }},
      {"",
       [](Spec& s) {
         s.linux.namespaces[5].path = "/proc/1/ns/user";
         s.linux.uid_mappings.clear();
         s.linux.gid_mappings.clear();
       }},
      {"linux.uidMappings[0].size: 0", [](Spec& s) { s.linux.uid_mappings[0].size = 0; }},
      {"linux.uidMappings[0]: passes",
       [](Spec& s) {
         s.linux.uid_mappings = {{0, 1, UINT32_MAX}};
       }},
      {"linux.gidMappings[0]: passes",
       [](Spec& s) {
         s.linux.gid_mappings = {{UINT32_MAX, 1, 1}};
       }},
      {"",
       [](Spec& s) {
         s.linux.uid_mappings = {{0, 0, UINT32_MAX}};
       }},
      {"linux.uidMappings[1]: overlaps linux.uidMappings[0]",
       [](Spec& s) {
         s.linux.uid_mappings = {{0, 0, 10}, {9, 20, 1}};
       }},
      {"linux.uidMappings[1]: overlaps linux.uidMappings[0]",
       [](Spec& s) {
         s.linux.uid_mappings = {{0, 5, 10}, {20, 0, 6}};
       }},
      {"",
       [](Spec& s) {
         s.linux.uid_mappings = {{0, 0, 10}, {10, 10, 1}};
       }},
      {"linux.uidMappings: 341 entries",
       [](Spec& s) {
         s.linux.uid_mappings.clear();
         for (uint32_t i = 0; i < 341; i++) s.linux.uid_mappings.push_back({i, i, 1});
       }},
  });
}

TEST(CheckSpec, TimeOffsets) {
  auto offset = [](const char* clock, uint32_t ns) {
    return [=](Spec& s) { s.linux.time_offsets = {{clock, {1, ns}}}; };
  };
  expect_rows({
      {"", offset("monotonic", 999999999)},
      {"", offset("boottime", 0)},
      {"linux.timeOffsets: \"realtime\" is neither", offset("realtime", 0)},
      {"linux.timeOffsets.boottime.nanosecs: 1000000000", offset("boottime", 1000000000)},
      {"linux.timeOffsets: given, but",
       [](Spec& s) {
         s.linux.time_offsets = {{"boottime", {}}};
         drop(s, NamespaceType::kTime);
       }},
      {"linux.timeOffsets: the offsets of a joined",
       [](Spec& s) {
         s.linux.time_offsets = {{"boottime", {}}};
         s.linux.namespaces[7].path = "/t";
       }},
  });
}

TEST(CheckSpec, Sysctls) {
  auto sysctl = [](const char* key, std::optional<NamespaceType> without = {}) {
    return [=](Spec& s) {
      s.linux.sysctl = {{key, "1"}};
      s.hostname = s.domainname = "";
      if (without) drop(s, *without);
    };
  };
  for (const char* key :
       {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
        "kernel.shmmni", "kernel.shm_rmid_forced", "fs.mqueue.msg_max", "kernel/shmmax"}) {
    expect_rows({{"", sysctl(key)},
                 {(std::string("linux.sysctl: \"") + key + "\" needs a ipc").c_str(),
                  sysctl(key, NamespaceType::kIpc)}});
  }
  for (const char* key : {"net.ipv4.ip_forward", "net/ipv4/conf/eno2.100/rp_filter"})
    expect_rows({{"", sysctl(key)},
                 {(std::string("linux.sysctl: \"") + key + "\" needs a network").c_str(),
                  sysctl(key, NamespaceType::kNetwork)}});
  expect_rows(
      {{"", sysctl("kernel.domainname")},
       {"linux.sysctl: \"kernel.domainname\" needs a uts", sysctl("kernel.domainname", NamespaceType::kUts)},
       {"linux.sysctl: \"kernel.hostname\" conflicts", sysctl("kernel.hostname")}});
  for (const char* key :
       {"kernel.core_pattern", "vm.swappiness", "fs.file-max", "kernel.msgmaxx", "nets.x", "fs.mqueue"})
    expect_rows(
        {{(std::string("linux.sysctl: \"") + key + "\" is not in a namespace").c_str(), sysctl(key)}});
  // Ways out of the allowed part of /proc/sys.
  for (const char* key :
       {"net/../kernel/core_pattern", "net/./x", "net//x", "net/", "/net/x", "", "net..x", "net.", ".", "..",
        "net///kernel/core_pattern", "fs/mqueue/../../kernel/core_pattern"})
    expect_rows({{(std::string("linux.sysctl: \"") + key + "\" is not the name").c_str(), sysctl(key)}});
}

TEST(CheckSpec, SysctlPaths) {
  EXPECT_EQ(*sysctl_path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
  EXPECT_EQ(*sysctl_path("net/ipv4/conf/eno2.100/rp_filter"), "net/ipv4/conf/eno2.100/rp_filter");
  EXPECT_EQ(*sysctl_path("net.ipv4.conf.eno2/100.rp_filter"), "net/ipv4/conf/eno2.100/rp_filter");
}

TEST(CheckSpec, Devices) {
  auto device = [](Device d) { return [d](Spec& s) { s.linux.devices = {d}; }; };
  expect_rows({
      {"", device({.type = "c", .path = "/dev/x", .major = 4095, .minor = 1048575})},
      {"", device({.type = "p", .path = "/dev/x"})},
      {"linux.devices[0].type: \"f\"", device({.type = "f", .path = "/dev/x"})},
      {"linux.devices[0].type: \"\"", device({.type = "", .path = "/dev/x"})},
      {"linux.devices[0].path: \"dev/x\"", device({.type = "c", .path = "dev/x"})},
      {"linux.devices[0].major: -1", device({.type = "c", .path = "/x", .major = -1})},
      {"linux.devices[0].major: 4096", device({.type = "b", .path = "/x", .major = 4096})},
      {"linux.devices[0].minor: 1048576", device({.type = "u", .path = "/x", .minor = 1048576})},
      {"linux.devices[0]: 4294967295", device({.type = "c", .path = "/x", .uid = UINT32_MAX})},
      {"linux.devices[0]: 4294967295", device({.type = "c", .path = "/x", .gid = UINT32_MAX})},
  });
}

TEST(CheckSpec, PathsAndPropagation) {
  expect_rows({
      {"linux.maskedPaths[0]: \"proc\"", [](Spec& s) { s.linux.masked_paths = {"proc"}; }},
      {"linux.readonlyPaths[1]: \"\"",
       [](Spec& s) {
         s.linux.readonly_paths = {"/a", ""};
       }},
      {"linux.maskedPaths: given, but",
       [](Spec& s) {
         s.linux.masked_paths = {"/a"};
         drop(s, NamespaceType::kMount);
       }},
      {"linux.readonlyPaths: given, but",
       [](Spec& s) {
         s.linux.readonly_paths = {"/a"};
         drop(s, NamespaceType::kMount);
       }},
      {"linux.rootfsPropagation: \"rbind\"", [](Spec& s) { s.linux.rootfs_propagation = "rbind"; }},
      {"linux.rootfsPropagation: \"Shared\"", [](Spec& s) { s.linux.rootfs_propagation = "Shared"; }},
  });
  for (const char* mode :
       {"shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable"})
    expect_rows({{"", [mode](Spec& s) { s.linux.rootfs_propagation = mode; }}});
}

TEST(CheckSpec, NetDevices) {
  auto devices = [](std::vector<NetDevice> d) { return [d](Spec& s) { s.linux.net_devices = d; }; };
  expect_rows({
      {"", devices({{"eth0", ""}, {"eth1", "lan"}})},
      {"linux.netDevices: \"\" is no", devices({{"", ""}})},
      {"linux.netDevices: \"..\" is no", devices({{"..", ""}})},
      {"linux.netDevices: \"sixteen_letters_\" is no", devices({{"sixteen_letters_", ""}})},
      {"", devices({{"fifteen_letters", ""}})},
      {"linux.netDevices.eth0.name: \"a/b\"", devices({{"eth0", "a/b"}})},
      {"linux.netDevices.eth0.name: \"a:b\"", devices({{"eth0", "a:b"}})},
      {"linux.netDevices.eth0.name: \"a b\"", devices({{"eth0", "a b"}})},
      {"linux.netDevices: two devices would be called \"x\"", devices({{"eth0", "x"}, {"x", ""}})},
      {"linux.netDevices: given, but",
       [](Spec& s) {
         s.linux.net_devices = {{"eth0", ""}};
         drop(s, NamespaceType::kNetwork);
       }},
  });
}

TEST(CheckSpec, MemoryPolicyRdtSeccomp) {
  auto policy = [](MemoryPolicy p) { return [p](Spec& s) { s.linux.memory_policy = p; }; };
  auto closid = [](const char* id) { return [id](Spec& s) { s.linux.intel_rdt.emplace().clos_id = id; }; };
  expect_rows({
      {"linux.memoryPolicy.mode: missing", policy({})},
      {"linux.memoryPolicy.nodes: MPOL_DEFAULT takes no", policy({"MPOL_DEFAULT", "0", {}})},
      {"linux.memoryPolicy.nodes: MPOL_LOCAL takes no", policy({"MPOL_LOCAL", "0", {}})},
      {"linux.memoryPolicy.nodes: missing, MPOL_BIND", policy({"MPOL_BIND", "", {}})},
      {"", policy({"MPOL_PREFERRED", "", {}})},
      {"", policy({"MPOL_BIND", "0", {"MPOL_F_STATIC_NODES"}})},
      {"linux.memoryPolicy.flags: MPOL_F_STATIC",
       policy({"MPOL_BIND", "0", {"MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"}})},
      {"linux.intelRdt.closID: \"..\"", closid("..")},
      {"linux.intelRdt.closID: \".\"", closid(".")},
      {"linux.intelRdt.closID: \"a/b\"", closid("a/b")},
      {"linux.intelRdt.closID: \"/a\"", closid("/a")},
      {"", closid("/")},
      {"", closid("group")},
      {"linux.intelRdt.schemata: a line break",
       [](Spec& s) { s.linux.intel_rdt.emplace().schemata = {"L3:0=1\nMB:0=1"}; }},
      {"linux.seccomp.defaultAction: missing", [](Spec& s) { s.linux.seccomp.emplace(); }},
      {"linux.seccomp.listenerMetadata: given without",
       [](Spec& s) {
         s.linux.seccomp.emplace() = {.default_action = "SCMP_ACT_ALLOW", .listener_metadata = "x"};
       }},
  });
}

TEST(CheckSpec, Resources) {
  auto with = [](std::function<void(Resources&)> f) {
    return [f](Spec& s) { f(s.linux.resources.emplace()); };
  };
  expect_rows({
      {"linux.resources.devices[0].type: \"u\"", with([](Resources& r) { r.devices = {{.type = "u"}}; })},
      {"linux.resources.devices[0].access: \"rx\"",
       with([](Resources& r) { r.devices = {{.access = "rx"}}; })},
      {"linux.resources.devices[0].major: -2", with([](Resources& r) { r.devices = {{.major = -2}}; })},
      {"linux.resources.devices[0].minor: -2", with([](Resources& r) { r.devices = {{.minor = -2}}; })},
      {"",
       with([](Resources& r) { r.devices = {{.type = "a", .major = -1, .minor = -1, .access = "rwm"}}; })},
      {"linux.resources.memory.swappiness: 101",
       with([](Resources& r) { r.memory.emplace().swappiness = 101; })},
      {"", with([](Resources& r) { r.memory.emplace().swappiness = 100; })},
      {"linux.resources.blockIO.weightDevice[0]: neither", with([](Resources& r) {
         r.block_io.emplace().weight_device = {{8, 0, {}, {}}};
       })},
      {"linux.resources.hugepageLimits[0].pageSize: \"2M\"", with([](Resources& r) {
         r.hugepage_limits = {{"2M", 1}};
       })},
      {"linux.resources.hugepageLimits[0].pageSize: \"../x\"", with([](Resources& r) {
         r.hugepage_limits = {{"../x", 1}};
       })},
      {"linux.resources.hugepageLimits[0].pageSize: \"02MB\"", with([](Resources& r) {
         r.hugepage_limits = {{"02MB", 1}};
       })},
      {"", with([](Resources& r) {
         r.hugepage_limits = {{"64KB", 1}, {"2MB", 1}, {"1GB", 1}};
       })},
      {"linux.resources.network.priorities[0].name: missing", with([](Resources& r) {
         r.network.emplace().priorities = {{"", 1}};
       })},
      {"linux.resources.rdma.mlx: neither", with([](Resources& r) {
         r.rdma = {{"mlx", {}, {}}};
       })},
      {"linux.resources.unified: \"a/b\"", with([](Resources& r) {
         r.unified = {{"a/b", "1"}};
       })},
      {"linux.resources.unified: \"..\"", with([](Resources& r) {
         r.unified = {{"..", "1"}};
       })},
      {"linux.resources.unified: \"\"", with([](Resources& r) {
         r.unified = {{"", "1"}};
       })},
      {"", with([](Resources& r) {
         r.unified = {{"memory.high", "1"}};
       })},
  });
}

TEST(CheckSpec, Mounts) {
  auto mount = [](Mount m) { return [m](Spec& s) { s.mounts = {m}; }; };
  std::vector<IdMapping> map{{0, 5, 1}};
  expect_rows({
      {"mounts[0].destination: missing", mount({"", "proc", "proc", {}, {}, {}})},
      {"mounts[0].type: missing", mount({"/x", "", "/src", {"ro"}, {}, {}})},
      {"", mount({"/x", "", "/src", {"rbind"}, {}, {}})},
      {"", mount({"/x", "bind", "/src", {}, {}, {}})},
      {"", mount({"/x", "", "", {"remount", "ro"}, {}, {}})},
      {"mounts[0].source: missing", mount({"/x", "bind", "", {}, {}, {}})},
      {"", mount({"/x", "bind", "/src", {}, map, map})},
      {"", mount({"/x", "none", "/src", {"bind", "ridmap"}, map, map})},
      {"mounts[0]: uidMappings and gidMappings must", mount({"/x", "bind", "/src", {}, map, {}})},
      {"mounts[0]: uidMappings and gidMappings must", mount({"/x", "bind", "/src", {}, {}, map})},
      {"mounts[0]: id mappings need the option bind", mount({"/x", "tmpfs", "t", {}, map, map})},
      {"mounts[0]: id mappings need the option bind", mount({"/x", "tmpfs", "t", {"idmap"}, {}, {}})},
      {"", mount({"/x", "bind", "/src", {"idmap"}, {}, {}})},
      {"mounts[0]: the option idmap without",
       [](Spec& s) {
         drop(s, NamespaceType::kUser);
         s.linux.uid_mappings.clear();
         s.linux.gid_mappings.clear();
         s.mounts = {{"/x", "bind", "/src", {"idmap"}, {}, {}}};
       }},
      {"mounts[0].uidMappings[0].size: 0", mount({"/x", "bind", "/src", {}, {{0, 5, 0}}, map})},
      {"mounts[0].gidMappings[0].size: 0", mount({"/x", "bind", "/src", {}, map, {{0, 5, 0}}})},
      {"", mount({"/x", "bind", "/src", {"idmap=uids=0-1-2;gids=0-1-2"}, {}, {}})},
      {"mounts[0]: the option idmap= must", mount({"/x", "bind", "/src", {"idmap=uids=0-1-2"}, {}, {}})},
      {"mounts[0].options: mount option 'idmap=x'", mount({"/x", "bind", "/src", {"idmap=x"}, {}, {}})},
  });
}

TEST(CheckSpec, WarningsAreNotErrors) {
  Spec s = good();
  s.process->capabilities = Capabilities{.bounding = {"CAP_CHOWN", "CAP_NEW"},
                                         .effective = {"CAP_NEW"},
                                         .inheritable = {"CAP_KILL"},
                                         .permitted = {"CAP_KILL"},
                                         .ambient = {"CAP_KILL", "CAP_CHOWN"}};
  s.process->user.umask = 01000;
  s.process->env.push_back("NOVALUE");
  s.mounts = {{"rel", "tmpfs", "t", {}, {}, {}},
              {"/b", "bind", "/s", {"mode=7"}, {}, {}},
              {"/c", "bind", "/s", {"tmpcopyup"}, {}, {}}};
  s.linux.personality = Personality{"LINUX", {"flag"}};
  std::vector<std::string> warnings;
  ASSERT_TRUE(check_spec(s, &warnings));
  std::vector<std::string> expected{
      "process.user.umask: the bits of 512 above 0777 (511) are ignored",
      "process.env: \"NOVALUE\" is not NAME=VALUE",
      "process.capabilities: \"CAP_NEW\" is no capability of this runtime, ignored",
      "process.capabilities.ambient: \"CAP_CHOWN\" is not permitted, ignored",
      "mounts[0].destination: \"rel\" is relative, which is deprecated; taken as /rel",
      "mounts[1].options: a bind mount has no file system options, ignored: mode=7",
      "mounts[2].options: tmpcopyup belongs to tmpfs, ignored for \"bind\"",
      "linux.personality.flags: the specification defines none yet, ignored",
  };
  EXPECT_EQ(warnings, expected);
  EXPECT_TRUE(check_spec(s));  // without a place for them
}

}  // namespace
}  // namespace onggi::oci
