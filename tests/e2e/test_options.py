"""Options of run, create, exec, logs, ps and images that no theme of its own covers: each given once, its effect looked at."""

import json
import os
import subprocess

import onggi_test
from engine import PROGRAM, TIMEOUT, EngineTest


class RunOptions(EngineTest):
    def test_names_and_resolver(self):
        out = self.onggi("run", "--rm", "--network", "none", "--dns", "192.0.2.1", "--dns-search", "example.org", "--dns-option", "ndots:2",
                         "--hostname", "web1", "--domainname", "example.net", "--add-host", "db:192.0.2.9", "busybox", "sh", "-c",
                         "cat /etc/resolv.conf; hostname; cat /proc/sys/kernel/domainname; grep db /etc/hosts")
        for line in ("nameserver 192.0.2.1", "search example.org", "options ndots:2", "web1", "example.net"):
            self.assertIn(line + "\n", out)
        self.assertRegex(out, r"192\.0\.2\.9\s+db\n")
        self.assertIn("192.0.2.1x", self.fails("run", "--rm", "--dns", "192.0.2.1x", "busybox", "true", code=125))

    def test_labels_annotations_and_exposed_ports(self):
        path = os.path.join(self.scratch, "labels")
        with open(path, "w") as f:
            f.write("a=1\n# comment\nb=2\n")
        self.onggi("create", "--name", "made", "--label-file", path, "--label", "c=3", "--annotation", "org.example=x", "--expose", "80/tcp", "busybox")
        d = self.inspect("made")
        self.assertEqual((d["Config"]["Labels"], d["HostConfig"]["Annotations"]), ({"a": "1", "b": "2", "c": "3"}, {"org.example": "x"}))
        self.assertEqual(d["Config"]["ExposedPorts"], {"80/tcp": {}})

    def test_mount_and_volumes_from(self):
        os.mkdir(os.path.join(self.scratch, "given"))
        os.chown(os.path.join(self.scratch, "given"), 1234, 1234)
        with open(os.path.join(self.scratch, "given", "file"), "w") as f:
            f.write("from the host")
        self.start("--name", "first", "--mount", "type=bind,source=%s/given,target=/given,readonly" % self.scratch, "--mount",
                   "type=volume,source=vol,target=/vol", "--mount", "type=tmpfs,target=/scratch,tmpfs-size=1m")
        out = self.onggi("exec", "first", "sh", "-c", "cat /given/file; touch /given/x 2>&1; touch /vol/made; df -k /scratch | tail -1")
        self.assertIn("from the host", out)
        self.assertIn("Read-only file system", out)
        self.assertRegex(out, r" 1024 ")
        self.assertEqual(self.onggi("run", "--rm", "--network", "none", "--volumes-from", "first", "busybox", "ls", "/vol"), "made\n")
        self.assertIn("type=nonsense", self.fails("run", "--mount", "type=nonsense,target=/x", "busybox", "true", code=125))

    def test_privileged_and_platform(self):
        out = self.onggi("run", "--rm", "--privileged", "--network", "none", "busybox", "sh", "-c", "grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status")
        self.assertIn("NoNewPrivs:\t0", out)
        self.assertGreaterEqual(bin(int(out.split()[1], 16)).count("1"), 38)
        self.onggi("create", "--name", "made", "--platform", "linux/amd64", "--pull", "never", "--quiet", "busybox")
        self.assertIn("nothing:9", self.fails("run", "--pull", "never", "nothing:9", "true", code=125))

    def test_streams(self):
        out = self.command("run", "--rm", "--network", "none", "--attach", "stderr", "busybox", "sh", "-c", "echo out; echo err >&2")
        self.assertEqual((out.stdout, out.stderr), ("", "err\n"))
        self.assertEqual(self.onggi("run", "--rm", "-i", "--network", "none", "--sig-proxy=false", "--detach-keys", "ctrl-x", "busybox", "cat", input="through\n"),
                         "through\n")

    def test_limits_reach_the_kernel(self):
        ident = self.start("--name", "web", "--cpu-period", "50000", "--cpu-quota", "25000", "--cpuset-mems", "0", "--memory", "64m",
                           "--memory-reservation", "32m", "--cgroup-parent", "/onggi/group")
        try:
            def value(controller, v1, v2):
                root = "/sys/fs/cgroup" if onggi_test.cgroup_mode() == "v2" else onggi_test.v1_mounts()[controller]
                with open("%s/onggi/group/%s/%s" % (root, ident, v2 if onggi_test.cgroup_mode() == "v2" else v1)) as f:
                    return f.read().strip()
            self.assertEqual(value("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0], "25000")
            self.assertEqual(value("memory", "memory.soft_limit_in_bytes", "memory.low"), str(32 << 20))
            self.assertEqual(value("cpuset", "cpuset.mems", "cpuset.mems"), "0")
            self.assertEqual(json.loads(self.onggi("stats", "--no-stream", "--format", "json"))["MemUsage"].split(" / ")[1], "64MiB")
        finally:
            self.onggi("rm", "-f", "web")
            for root in onggi_test.cgroup_roots():
                # Its cgroup goes with the sweeper, which nobody waits for.
                if os.path.isdir(root + "/onggi/group"):
                    self.wait_for(lambda: not [e for e in os.scandir(root + "/onggi/group") if e.is_dir()], "the sweeper")
                    os.rmdir(root + "/onggi/group")

    @onggi_test.needs("cgroup_v1")
    def test_devices_are_throttled(self):
        disk = next((n for n in sorted(os.listdir("/sys/block")) if os.path.exists("/dev/" + n) and not n.startswith(("loop", "ram", "zram"))), "")
        if not disk:
            self.skipTest("needs a disk")
        ident = self.start("--name", "web", "--device-read-iops", "/dev/%s:100" % disk, "--device-write-iops", "/dev/%s:200" % disk,
                           "--device-write-bps", "/dev/%s:1mb" % disk, "--device-read-bps", "/dev/%s:2mb" % disk, "--oom-kill-disable", "-m", "64m")
        with open("/sys/block/%s/dev" % disk) as f:
            number = f.read().strip()
        for file, value in (("read_iops", 100), ("write_iops", 200), ("write_bps", 1 << 20), ("read_bps", 2 << 20)):
            with open("%s/onggi/%s/blkio.throttle.%s_device" % (onggi_test.v1_mounts()["blkio"], ident, file)) as f:
                self.assertEqual(f.read().split(), [number, str(value)])
        with open("%s/onggi/%s/memory.oom_control" % (onggi_test.v1_mounts()["memory"], ident)) as f:
            self.assertIn("oom_kill_disable 1", f.read())
        self.fails("run", "--device-write-bps", "/nonexistent:1mb", "busybox", "true", code=125)

    def test_health_timing(self):
        self.onggi("create", "--name", "made", "--health-cmd", "true", "--health-timeout", "2s", "--health-start-period", "3s",
                   "--health-start-interval", "1s", "busybox")
        h = self.inspect("made")["Config"]["Healthcheck"]
        self.assertEqual((h["Timeout"], h["StartPeriod"], h["StartInterval"]), (2 * 10**9, 3 * 10**9, 10**9))
        self.fails("create", "--health-timeout", "soon", "busybox", code=125)


class OtherOptions(EngineTest):
    def test_exec(self):
        self.start("--name", "web")
        path = os.path.join(self.scratch, "env")
        with open(path, "w") as f:
            f.write("FROM_FILE=yes\n")
        self.assertEqual(self.onggi("exec", "--env-file", path, "-e", "B=2", "web", "sh", "-c", "echo $FROM_FILE $B"), "yes 2\n")
        self.assertRegex(self.onggi("exec", "-t", "web", "tty"), r"/dev/pts/\d+")
        self.onggi("exec", "--detach", "web", "touch", "/made")
        self.wait_for(lambda: self.command("exec", "web", "ls", "/made").returncode == 0, "the detached command ran")
        usual = int(self.onggi("exec", "web", "grep", "CapEff", "/proc/self/status").split()[1], 16)
        more = int(self.onggi("exec", "--privileged", "web", "grep", "CapEff", "/proc/self/status").split()[1], 16)
        self.assertGreater(more, usual)
        self.fails("exec", "--env-file", "/nonexistent", "web", "true")

    def test_attach(self):
        self.onggi("run", "-d", "-i", "--name", "cat", "--network", "none", "busybox", "cat")
        self.assertEqual(self.onggi("attach", "cat", input="hello\n"), "hello\n")
        self.onggi("wait", "cat")
        self.assertIn("cannot attach to a stopped container", self.fails("attach", "cat"))

    def test_ps(self):
        self.start("--name", "old", "-l", "tier=db")
        self.start("--name", "new")
        self.onggi("exec", "new", "sh", "-c", "dd if=/dev/zero of=/x bs=1000 count=5 2>/dev/null")
        names = ("--format", "{{.Names}}")
        self.assertEqual(self.onggi("ps", "--latest", *names), "new\n")
        self.assertEqual(self.onggi("ps", "--last", "1", *names), "new\n")
        self.assertEqual(self.onggi("ps", "--filter", "label=tier=db", *names), "old\n")
        self.assertEqual(self.onggi("ps", "-f", "name=e", "-f", "status=exited", *names), "")
        self.assertIn("5", self.onggi("ps", "--size", "--filter", "name=new", "--format", "{{.Size}}"))
        self.assertIn("invalid filter", self.fails("ps", "--filter", "color=red"))

    def test_images_tag_and_rmi(self):
        ident = self.image("other:1", {"Labels": {"a": "b"}})
        self.onggi("tag", "other:1", "localhost:5000/copy:2")
        self.assertEqual(sorted(self.onggi("images", "--filter", "label=a=b", "--format", "{{.Repository}}:{{.Tag}}").split()), ["localhost:5000/copy:2", "other:1"])
        self.assertEqual(self.onggi("images", "--quiet", "--no-trunc", "other"), ident + "\n")
        self.assertIn("DIGEST", self.onggi("images", "--digests", "--all").splitlines()[0])
        self.assertEqual(self.onggi("images", "--filter", "reference=other:1", "-q"), ident[7:19] + "\n")
        self.assertIn("Untagged: ", self.onggi("rmi", "localhost:5000/copy:2"))
        self.start("--name", "holder", image="other:1")
        self.assertIn("container", self.fails("rmi", ident[7:19]))
        self.assertEqual(self.onggi("images", "-q", "other"), ident[7:19] + "\n")
        self.assertIn("invalid filter", self.fails("images", "--filter", "color=red"))

    def test_logs_details(self):
        self.command("run", "--name", "job", "--network", "none", "busybox", "echo", "line")
        self.assertTrue(self.onggi("logs", "--details", "job").endswith("line\n"))

    def test_events(self):
        self.start("--name", "web")
        self.onggi("kill", "web")
        self.onggi("wait", "web")
        out = self.onggi("events", "--since", "10m", "--until", "0s", "--filter", "type=container", "--format", "{{.Action}} {{.Actor.Attributes.name}}")
        self.assertEqual([x for x in out.splitlines() if x.split()[0] in ("create", "start", "die")], ["create web", "start web", "die web"])
        raw = [json.loads(x) for x in self.onggi("events", "--since", "10m", "--until", "0s", "-f", "event=die", "--format", "json").splitlines()]
        self.assertEqual((raw[0]["Type"], raw[0]["Actor"]["Attributes"]["exitCode"], raw[0]["Actor"]["Attributes"]["image"]), ("container", "137", "busybox"))
        self.assertGreater(raw[0]["timeNano"], 10**18)
        self.assertIn("invalid filter", self.fails("events", "--until", "0s", "--filter", "color=red"))

    def test_top_version_and_prunes(self):
        self.start("--name", "web")
        self.assertIn("sleep 1000", self.onggi("top", "web"))
        self.assertIn("onggi version", self.onggi("version"))
        self.assertEqual(self.onggi("version", "--format", "{{.Client.Os}}"), "linux\n")
        self.command("run", "--name", "job", "--network", "none", "-v", "/anonymous", "busybox", "true")
        self.onggi("volume", "create", "named")
        self.assertIn("Deleted Containers:", self.onggi("container", "prune", "-f"))
        self.assertIn("Deleted Volumes:", self.onggi("volume", "prune", "-f"))
        self.assertEqual(self.onggi("volume", "ls", "-q"), "named\n")
        self.assertEqual(json.loads(self.onggi("volume", "inspect", "named"))[0]["Name"], "named")
        self.assertEqual(self.onggi("port", "web"), "")

    def test_detach_keys_of_exec_are_checked(self):
        self.start("--name", "web")
        self.assertIn("invalid detach keys", self.fails("exec", "--detach-keys", "ctrl-9", "web", "true"))
        p = subprocess.run([PROGRAM, "exec", "--detach-keys", "ctrl-x", "web", "echo", "on"], stdout=subprocess.PIPE, text=True, env=self.environment(), timeout=TIMEOUT)
        self.assertEqual(p.stdout, "on\n")
