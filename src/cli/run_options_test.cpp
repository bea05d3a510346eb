// `run` and `create`: words in, configuration out. What each option becomes, and what is refused in which
// words.
#include "cli/run_options.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "base/file.h"

namespace onggi::cli {
namespace {

using Words = std::vector<std::string>;

Result<engine::CreateRequest> request(Words words) {
  words.push_back("busy");
  auto args = Args::parse(create_options(), words, true);
  if (!args) return fail(args.error());
  return create_request(*args);
}

engine::ContainerConfig config(const Words& words) {
  auto r = request(words);
  EXPECT_TRUE(r) << r.error().text();
  return r ? r->config : engine::ContainerConfig();
}

std::string refusal(const Words& words) {
  auto r = request(words);
  EXPECT_FALSE(r) << words[0] << " should have been refused";
  return r ? "" : r.error().text();
}

TEST(RunOptions, Defaults) {
  auto c = config({});
  EXPECT_EQ(c.image, "busy");
  EXPECT_EQ(c.network, "") << "the engine's default";
  EXPECT_TRUE(c.init);
  EXPECT_FALSE(c.tty || c.open_stdin || c.read_only || c.auto_remove);
  EXPECT_EQ(c.restart.name, "no");
  EXPECT_EQ(c.log_driver, "json-file");
  EXPECT_FALSE(c.security.privileged || c.security.host_userns || c.security.allow_setuid ||
               c.security.allow_nesting);
  EXPECT_TRUE(c.security.seccomp.empty());
}

TEST(RunOptions, WordsAfterTheImageAreTheCommand) {
  auto args = Args::parse(create_options(), {"--name", "web", "img", "-x", "--name", "y"}, true);
  ASSERT_TRUE(args);
  auto r = create_request(*args);
  ASSERT_TRUE(r);
  EXPECT_EQ(r->config.image, "img");
  EXPECT_EQ(r->config.name, "web");
  EXPECT_EQ(r->config.command, (Words{"-x", "--name", "y"}));
}

TEST(RunOptions, PlainValues) {
  auto c = config({"-it",         "--rm",
                   "--read-only", "-h",
                   "box",         "-u",
                   "1:2",         "-w",
                   "/srv",        "--stop-signal",
                   "INT",         "--stop-timeout",
                   "3",           "--init=false",
                   "--group-add", "a",
                   "--group-add", "7",
                   "--sysctl",    "net.core.somaxconn=5",
                   "--add-host",  "db:10.0.0.2"});
  EXPECT_TRUE(c.tty && c.open_stdin && c.auto_remove && c.read_only && !c.init);
  EXPECT_EQ(c.hostname, "box");
  EXPECT_EQ(c.user, "1:2");
  EXPECT_EQ(c.working_dir, "/srv");
  EXPECT_EQ(c.stop_signal, "INT");
  EXPECT_EQ(c.stop_timeout, 3);
  EXPECT_EQ(c.group_add, (Words{"a", "7"}));
  EXPECT_EQ(c.sysctls, (engine::StringMap{{"net.core.somaxconn", "5"}}));
  EXPECT_EQ(c.extra_hosts, (engine::StringMap{{"db", "10.0.0.2"}}));
}

TEST(RunOptions, Limits) {
  auto c = config({"-m",
                   "64m",
                   "--memory-swap",
                   "128m",
                   "--cpus",
                   "1.5",
                   "--pids-limit",
                   "9",
                   "--cpuset-cpus",
                   "0",
                   "--shm-size",
                   "1m",
                   "--blkio-weight",
                   "10",
                   "--ulimit",
                   "nofile=1:2",
                   "--ulimit",
                   "core=0",
                   "--oom-score-adj",
                   "-5",
                   "--memory-swappiness",
                   "0",
                   "--storage-opt",
                   "size=1g"});
  EXPECT_EQ(c.resources.memory, 64 << 20);
  EXPECT_EQ(c.resources.memory_swap, 128 << 20);
  EXPECT_EQ(c.resources.nano_cpus, 1'500'000'000);
  EXPECT_EQ(c.resources.pids_limit, 9);
  EXPECT_EQ(c.resources.cpuset_cpus, "0");
  EXPECT_EQ(c.shm_size, 1 << 20);
  EXPECT_EQ(c.resources.blkio_weight, 10);
  ASSERT_EQ(c.rlimits.size(), 2u);
  EXPECT_EQ(c.rlimits[0].hard, 2);
  EXPECT_EQ(c.rlimits[1].name, "core");
  EXPECT_EQ(c.oom_score_adj, -5);
  EXPECT_EQ(c.resources.memory_swappiness, 0u);
  EXPECT_EQ(c.storage_size, 1 << 30);
  EXPECT_EQ(config({"-m", "-1"}).resources.memory, -1);
}

TEST(RunOptions, LimitsThatMakeNoSense) {
  EXPECT_EQ(refusal({"-m", "1k"}), "Minimum memory limit allowed is 512KB");
  for (const Words& words :
       {Words{"--memory-swap", "1g"}, Words{"-m", "64m", "--memory-swap", "1m"},
        Words{"--cpus", "1", "--cpu-quota", "5"}, Words{"--cpus", "-1"}, Words{"--cpus", "many"},
        Words{"--memory-swappiness", "101"}, Words{"--blkio-weight", "5"}, Words{"--oom-score-adj", "2000"},
        Words{"--ulimit", "nofile"}, Words{"--ulimit", "nofile=2:1"}, Words{"--ulimit", "nofile=a"},
        Words{"--storage-opt", "inodes=5"}, Words{"--device-read-bps", "sda:1"},
        Words{"--device-read-bps", "/dev/sda"}, Words{"--pids-limit", "x"}, Words{"-m", "lots"}})
    EXPECT_FALSE(refusal(words).empty()) << words[0];
}

TEST(RunOptions, Modes) {
  EXPECT_EQ(config({"--network", "host"}).network, "host");
  EXPECT_EQ(config({"--net=container:web"}).network, "container:web");
  EXPECT_EQ(config({"--ipc", "shareable"}).ipc_mode, "");
  EXPECT_EQ(config({"--pid", "container:web"}).pid_mode, "container:web");
  EXPECT_EQ(config({"--network", "bridge"}).endpoints[0].network, "bridge");
  EXPECT_EQ(config({"-p", "80:80"}).ports, Words{":80:80/tcp"});
  EXPECT_EQ(config({"-p", "80:80"}).expose, Words{"80/tcp"});
  auto e = config({"--network", "name=net,alias=a,alias=b,ip=10.0.0.9,gw-priority=3"}).endpoints;
  ASSERT_EQ(e.size(), 1u);
  EXPECT_EQ(e[0].network + e[0].aliases[1] + e[0].ipv4, "netb10.0.0.9");
  EXPECT_EQ(e[0].priority, 3);
  for (const Words& words :
       {Words{"--network", "none", "--network", "net"}, Words{"--network", "host", "--ip", "10.0.0.1"},
        Words{"--network", "a", "--network", "b", "--ip", "10.0.0.1"}, Words{"--network", "name=x,color=red"},
        Words{"--network", "alias=x"}, Words{"--ip", "fd00::1"}, Words{"--mac-address", "01:00:00:00:00:00"},
        Words{"--add-host", "a:b"}, Words{"--expose", "x"}})
    EXPECT_FALSE(refusal(words).empty()) << words[1];
  for (const Words& words :
       {Words{"--pid", "guest"}, Words{"--ipc", "container:"}, Words{"--uts", "container:web"},
        Words{"--cgroupns", "x"}, Words{"--uts", "host", "--hostname", "a"}, Words{"--isolation", "vm"},
        Words{"--userns", "keep"}})
    EXPECT_FALSE(refusal(words).empty()) << words[0];
}

TEST(RunOptions, WhatRelaxesTheProfile) {
  auto c =
      config({"--cap-add", "NET_ADMIN", "--cap-drop=all", "--allow-setuid", "--allow-nesting", "--userns",
              "host", "--security-opt", "systempaths=unconfined", "--security-opt", "seccomp=unconfined"});
  EXPECT_EQ(c.security.cap_add, Words{"NET_ADMIN"});
  EXPECT_EQ(c.security.cap_drop, Words{"all"});
  EXPECT_TRUE(c.security.allow_setuid && c.security.allow_nesting && c.security.host_userns &&
              c.security.unmask_paths);
  EXPECT_EQ(c.security.seccomp, "unconfined");
  // Docker's old colon, and what switches a row back on.
  EXPECT_EQ(config({"--security-opt", "seccomp:unconfined"}).security.seccomp, "unconfined");
  EXPECT_FALSE(config({"--allow-setuid", "--security-opt", "no-new-privileges"}).security.allow_setuid);
  EXPECT_TRUE(config({"--security-opt", "no-new-privileges=false"}).security.allow_setuid);
  for (const Words& words :
       {Words{"--cap-add", "FLY"}, Words{"--cap-drop", "CAP_"}, Words{"--security-opt", "magic=1"},
        Words{"--security-opt", "seccomp=/no/such/file"}, Words{"--security-opt", "systempaths=confined"}})
    EXPECT_FALSE(refusal(words).empty()) << words[1];
}

TEST(RunOptions, Restart) {
  auto c = config({"--restart", "on-failure:3"});
  EXPECT_EQ(c.restart.name, "on-failure");
  EXPECT_EQ(c.restart.maximum, 3);
  for (const Words& words : {Words{"--restart", "maybe"}, Words{"--restart", "always:3"},
                             Words{"--restart", "on-failure:x"}, Words{"--restart", "always", "--rm"}})
    EXPECT_FALSE(refusal(words).empty()) << words[1];
}

TEST(RunOptions, Health) {
  auto c = config({"--health-cmd", "check me", "--health-interval", "5s", "--health-retries", "2",
                   "--on-unhealthy", "restart"});
  EXPECT_EQ(c.health.test, (Words{"CMD-SHELL", "check me"}));
  EXPECT_EQ(c.health.interval, 5'000'000'000);
  EXPECT_EQ(c.health.retries, 2);
  EXPECT_EQ(config({"--health-tcp", "80"}).health.test, (Words{"TCP", "80"}));
  EXPECT_EQ(config({"--no-healthcheck"}).health.test, Words{"NONE"});
  for (const Words& words : {Words{"--no-healthcheck", "--health-cmd", "x"},
                             Words{"--health-interval", "soon"}, Words{"--on-unhealthy", "panic"}})
    EXPECT_FALSE(refusal(words).empty()) << words[0];
}

TEST(RunOptions, Environment) {
  setenv("ONGGI_TEST_GIVEN", "from here", 1);
  unsetenv("ONGGI_TEST_ABSENT");
  auto c = config({"-e", "A=1", "-e", "ONGGI_TEST_GIVEN", "-e", "ONGGI_TEST_ABSENT", "-e", "B="});
  EXPECT_EQ(c.env, (Words{"A=1", "ONGGI_TEST_GIVEN=from here", "ONGGI_TEST_ABSENT", "B="}));
  EXPECT_FALSE(refusal({"-e", "=x"}).empty());
  char name[] = "/tmp/onggi-env-XXXXXX";
  int fd = mkstemp(name);
  ASSERT_GE(fd, 0);
  ASSERT_TRUE(
      write_file(name, "# comment\n\n  C=3 # kept\r\nONGGI_TEST_GIVEN\nONGGI_TEST_ABSENT\n", O_TRUNC, 0600));
  EXPECT_EQ(config({"--env-file", name, "-e", "A=1"}).env,
            (Words{"C=3 # kept", "ONGGI_TEST_GIVEN=from here", "A=1"}));
  ASSERT_TRUE(write_file(name, "GOOD=1\nBAD NAME=2\n", O_TRUNC, 0600));
  EXPECT_NE(refusal({"--env-file", name}).find("line 2"), std::string::npos);
  unlink(name);
  UniqueFd closer(fd);
}

TEST(RunOptions, Devices) {
  auto c = config({"--device", "/dev/fuse", "--device", "/dev/a:/dev/b", "--device", "/dev/c:r", "--device",
                   "/dev/d:/dev/e:rw"});
  ASSERT_EQ(c.devices.size(), 4u);
  EXPECT_EQ(c.devices[0].container + c.devices[0].access, "/dev/fuserwm");
  EXPECT_EQ(c.devices[1].container, "/dev/b");
  EXPECT_EQ(c.devices[2].container + c.devices[2].access, "/dev/cr");
  EXPECT_EQ(c.devices[3].access, "rw");
  for (const char* bad : {"/dev/a:b:rwx", "/dev/a:rel", "/a:/b:r:w", "/a:/b:"})
    EXPECT_FALSE(refusal({"--device", bad}).empty()) << bad;
}

// --- mounts ---

TEST(Volume, Forms) {
  auto m = parse_volume("data:/var/lib:ro,nocopy");
  ASSERT_TRUE(m);
  EXPECT_EQ(m->type, "volume");
  EXPECT_EQ(m->source, "data");
  EXPECT_TRUE(m->read_only && m->no_copy && !m->anonymous);
  EXPECT_EQ(parse_volume("/srv:/data")->type, "bind");
  EXPECT_EQ(parse_volume("/srv:/data:idmap")->ids, "container");
  EXPECT_EQ(parse_volume("/srv:/data:rslave")->propagation, "rslave");
  EXPECT_TRUE(parse_volume("/data")->anonymous);
  EXPECT_TRUE(parse_volume("./here:/data")->source.starts_with("/"));
  for (const char* bad : {"", "a:b", "/a:b", "a:/", "a:/b:ro:x", "a:/b:shared", "a:/b:rshared", "a:/b:exec"})
    EXPECT_FALSE(parse_volume(bad)) << bad;
}

TEST(Mount, Forms) {
  auto m =
      parse_mount("type=bind,src=/tmp,dst=/data,readonly,bind-nonrecursive=true,bind-propagation=rslave");
  ASSERT_TRUE(m) << m.error().text();
  EXPECT_TRUE(m->read_only && !m->recursive);
  EXPECT_EQ(m->source, "/tmp");
  EXPECT_EQ(m->propagation, "rslave");
  m = parse_mount("type=tmpfs,target=/scratch,tmpfs-size=1m,tmpfs-mode=1770");
  ASSERT_TRUE(m);
  EXPECT_EQ(m->tmpfs_size, 1 << 20);
  EXPECT_EQ(m->tmpfs_mode, 01770u);
  m = parse_mount("source=data,target=/data,ro=false");
  ASSERT_TRUE(m);
  EXPECT_EQ(m->type, "volume");
  EXPECT_FALSE(m->read_only);
  EXPECT_TRUE(parse_mount("target=/data")->anonymous);
  EXPECT_EQ(parse_mount("type=bind,src=/tmp,dst=/d,bind-recursive=disabled")->recursive, false);
}

// A container whose mounts propagate could mount on the host; a word that nobody knows must not be passed by.
TEST(Mount, Refused) {
  for (const char* bad :
       {"type=bind,target=/d", "type=bind,src=/no/such/dir,dst=/d", "type=image,src=a,dst=/d", "src=a",
        "dst=rel", "dst=/", "dst=/d,colour=red", "dst=/d,tmpfs-size=x",
        "type=bind,src=/tmp,dst=/d,bind-propagation=rshared",
        "type=bind,src=/tmp,dst=/d,bind-propagation=shared", "type=bind,src=/tmp,dst=/d,bind-propagation=x",
        "type=tmpfs,dst=/d,tmpfs-mode=9", "type=tmpfs,dst=/d,tmpfs-mode=77777",
        "type=bind,src=/tmp,dst=/d,bind-recursive=perhaps", "type=bind,src=/tmp,dst=/d,ids=mine"})
    EXPECT_FALSE(parse_mount(bad)) << bad;
}

TEST(Mount, TwoAtOnePlace) {
  EXPECT_EQ(refusal({"-v", "a:/d", "--tmpfs", "/d"}), "Duplicate mount point: /d");
  auto c = config({"--tmpfs", "/run:size=1m,ro"});
  ASSERT_EQ(c.mounts.size(), 1u);
  EXPECT_EQ(c.mounts[0].options, Words{"size=1m"});
  EXPECT_TRUE(c.mounts[0].read_only);
}

TEST(Logs, Options) {
  auto c = config({"--log-opt", "max-size=1m", "--log-opt", "max-file=2"});
  EXPECT_EQ(c.log_options, (engine::StringMap{{"max-size", "1048576"}, {"max-file", "2"}}));
  for (const Words& words :
       {Words{"--log-driver", "syslog"}, Words{"--log-opt", "max-size=x"}, Words{"--log-opt", "rate=1"}})
    EXPECT_FALSE(refusal(words).empty()) << words[1];
}

}  // namespace
}  // namespace onggi::cli
