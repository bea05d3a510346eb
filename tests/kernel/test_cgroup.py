"""config-linux.md "Control groups", and the commands update, events, pause on them; cgroup v1 and v2 by the same tests."""

import json
import os
import subprocess
import unittest

from onggi_test import TAG, RuntimeTest, cgroup_mode, cgroup_roots, cgroups, deviates, has, needs, reap, v1_mounts, wait_until

MIB = 1 << 20


def cpu_weight(shares):
    """The conversion that runc and crun use for cpu.weight, up to runc 1.3: 1 + (shares - 2) * 9999 / 262142."""
    return 1 + (shares - 2) * 9999 // 262142


def cpu_weight_newer(shares):
    """The conversion of the kernel's own default: 1024 shares are weight 100 (runc 1.4, crun 1.23)."""
    import math
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612.0 - 7.0 / 34.0))


class CgroupTest(RuntimeTest):

    def limited(self, resources, *args, annotations=None):
        """A running container with these resources; returns (id, pid)."""
        b = self.bundle(*(args or ("sleep", "1000")))
        b.linux["cgroupsPath"] = "/%s-cg/c%d" % (TAG, self._bundles)
        b.linux["resources"].update(resources)
        self.addCleanup(self.remove_parent)
        cid = self.started(b)
        return cid, self.state(cid)["pid"]

    def remove_parent(self):
        for root in cgroup_roots():
            parent = os.path.join(root, TAG + "-cg")
            if os.path.isdir(parent) and not any(e.is_dir() for e in os.scandir(parent)):
                os.rmdir(parent)

    def _finish(self):
        # The parent is the test's, not the container's: no runtime has to remove it.
        for cid in self._containers:
            self.runtime("delete", "--force", cid, check=False)
        for root in cgroup_roots():
            for name in ("%s-cg" % TAG,):
                parent = os.path.join(root, name)
                if os.path.isdir(parent) and not any(e.is_dir() for e in os.scandir(parent)):
                    os.rmdir(parent)
        super()._finish()

    def value(self, pid, v1, v2):
        """A limit as the kernel has it; v1 is (controller, file), v2 a file."""
        return self.cgroup_file(pid, "", v2) if cgroup_mode() == "v2" else self.cgroup_file(pid, *v1)


class Place(CgroupTest):

    def test_cgroups_path_absolute(self):
        b = self.bundle("sleep", "1000")
        b.linux["cgroupsPath"] = "/%s-cg/place" % TAG
        cid = self.create(b)
        controller = "" if cgroup_mode() == "v2" else "memory"
        where = self.cgroup_dir(self.state(cid)["pid"], controller)
        self.assertTrue(where.endswith("/%s-cg/place" % TAG), where)
        self.delete(cid, "--force")
        self.assertFalse(os.path.exists(where))

    def test_every_v1_controller(self):
        if cgroup_mode() == "v2":
            self.skipTest("needs cgroup_v1")
        b = self.bundle("sleep", "1000")
        b.linux["cgroupsPath"] = "/%s-cg/every" % TAG
        pid = self.state(self.create(b))["pid"]
        for controller in v1_mounts():
            with self.subTest(controller):
                self.assertTrue(self.cgroup_dir(pid, controller).endswith("/%s-cg/every" % TAG))

    def test_without_path_is_consistent_and_removed(self):
        before = cgroups()
        cid = self.create(self.bundle("sleep", "1000"))
        made = {g for g in cgroups() - before if cid in g}
        self.assertTrue(made)
        self.delete(cid, "--force")
        self.assertFalse({g for g in cgroups() if cid in g})

    def test_members_are_inside_from_the_first_instruction(self):
        b = self.bundle(sh="cat /proc/self/cgroup").without_namespace("cgroup")
        b.linux["cgroupsPath"] = "/%s-cg/first" % TAG
        lines = [x for x in self.output(b).splitlines() if not x.endswith(":unified")]
        wanted = [x for x in lines if "/%s-cg/first" % TAG in x]
        self.assertTrue(wanted)

    @deviates(runc="joins any cgroup without a check", crun="joins any cgroup without a check")
    def test_nested_in_a_frozen_or_used_cgroup_is_refused(self):
        """ "a non-empty cgroup" is an error for create: two containers must not share one by accident."""
        b = self.bundle("sleep", "1000")
        b.linux["cgroupsPath"] = "/%s-cg/shared" % TAG
        self.create(b)
        other = self.bundle("sleep", "1000")
        other.linux["cgroupsPath"] = "/%s-cg/shared" % TAG
        r = self.runtime("create", "--bundle", other.write(), self.cid(), check=False, capture=False)
        self.assertNotEqual(0, r.rc)

    def test_path_with_dotdot_stays_inside(self):
        b = self.bundle("sleep", "1000")
        b.linux["cgroupsPath"] = "/../../../%s-cg/dots" % TAG
        r = self.runtime("create", "--bundle", b.write(), self.cid(), check=False, capture=False)
        outside = os.path.join("/sys", TAG + "-cg")
        self.assertFalse(os.path.exists(outside) or os.path.exists("/sys/fs/%s-cg" % TAG))


class Memory(CgroupTest):

    def test_limit(self):
        _, pid = self.limited({"memory": {"limit": 64 * MIB}})
        self.assertEqual(str(64 * MIB), self.value(pid, ("memory", "memory.limit_in_bytes"), "memory.max"))

    def test_reservation(self):
        _, pid = self.limited({"memory": {"limit": 64 * MIB, "reservation": 32 * MIB}})
        self.assertEqual(str(32 * MIB), self.value(pid, ("memory", "memory.soft_limit_in_bytes"), "memory.low"))

    def test_unlimited(self):
        _, pid = self.limited({"memory": {"limit": -1}})
        self.assertIn(self.value(pid, ("memory", "memory.limit_in_bytes"), "memory.max"), ("9223372036854771712", "max"))

    @needs("swap_accounting")
    def test_swap(self):
        """v1: memory and swap together; v2: swap alone, so the limit is taken off."""
        _, pid = self.limited({"memory": {"limit": 32 * MIB, "swap": 48 * MIB}})
        v1 = ("memory", "memory.memsw.limit_in_bytes")
        self.assertEqual(str(16 * MIB if cgroup_mode() == "v2" else 48 * MIB), self.value(pid, v1, "memory.swap.max"))

    @needs("swap_accounting", "cgroup_v2")
    def test_swap_equal_to_limit_is_none(self):
        _, pid = self.limited({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}})
        self.assertEqual("0", self.cgroup_file(pid, "", "memory.swap.max"))

    @needs("cgroup_v2", "swap_accounting")
    def test_swap_below_limit_is_an_error(self):
        b = self.bundle("true")
        b.linux["resources"]["memory"] = {"limit": 32 * MIB, "swap": 16 * MIB}
        self.fails(b)

    @needs("cgroup_v1")
    def test_swappiness_and_oom_killer(self):
        _, pid = self.limited({"memory": {"limit": 64 * MIB, "swappiness": 33, "disableOOMKiller": True}})
        self.assertEqual("33", self.cgroup_file(pid, "memory", "memory.swappiness"))
        self.assertIn("oom_kill_disable 1", self.cgroup_file(pid, "memory", "memory.oom_control"))

    @needs("cgroup_v1")
    @deviates(runc="1.1 does not write it")
    def test_kernel_tcp(self):
        _, pid = self.limited({"memory": {"limit": 64 * MIB, "kernelTCP": 8 * MIB}})
        self.assertEqual(str(8 * MIB), self.cgroup_file(pid, "memory", "memory.kmem.tcp.limit_in_bytes"))

    @deviates(runc="leaves it out", crun="leaves it out")
    def test_kernel(self):
        """v1: written; kernels since 5.16 take it without effect, so what counts is the write that they saw. v2 has no such limit: an error."""
        b = self.bundle("true")
        b.linux["resources"]["memory"] = {"limit": 64 * MIB, "kernel": 16 * MIB}
        if has("cgroup_v2"):
            self.fails(b, says="linux.resources.memory.kernel: cgroup v2 has no such limit; kernel memory counts towards memory.limit")
            return
        trace = os.path.join(self.tmp, "trace")
        cid = self.cid()
        done = subprocess.run(["strace", "-f", "-qq", "-y", "-e", "trace=write", "-o", trace, *self.argv("run", "--bundle", b.write(), cid)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.assertEqual(0, done.returncode, done.stderr)
        with open(trace) as f:
            self.assertRegex(f.read(), r'%s/memory\.kmem\.limit_in_bytes>, "%d", \d+\) = \d+' % (cid, 16 * MIB))

    @needs("cgroup_v1")
    def test_use_hierarchy(self):
        """The only mode that kernels still have; asking for it is no error, asking for the other one is."""
        _, pid = self.limited({"memory": {"limit": 64 * MIB, "useHierarchy": True}})
        self.assertEqual("1", self.cgroup_file(pid, "memory", "memory.use_hierarchy"))

    @needs("helpers")
    def test_limit_is_enforced(self):
        b = self.bundle("/bin/probe", "alloc", str(128 * MIB))
        b.linux["resources"]["memory"] = {"limit": 24 * MIB}
        r = self.run_bundle(b, check=False)
        self.assertEqual(137, r.rc, str(r))

    @needs("cgroup_v2")
    @deviates(runc="1.1 has no such check", crun="does not check")
    def test_check_before_update(self):
        cid, pid = self.limited({"memory": {"limit": 64 * MIB}}, "/bin/probe", "hold")
        before = self.cgroup_file(pid, "", "memory.max")
        r = self.runtime("update", "-r", "-", cid, check=False, stdin=json.dumps({"memory": {"limit": 4096, "checkBeforeUpdate": True}}))
        self.assertNotEqual(0, r.rc)
        self.assertEqual(before, self.cgroup_file(pid, "", "memory.max"))


class Cpu(CgroupTest):

    def test_shares(self):
        _, pid = self.limited({"cpu": {"shares": 512}})
        got = self.value(pid, ("cpu", "cpu.shares"), "cpu.weight")
        self.assertIn(int(got), (512,) if cgroup_mode() != "v2" else (cpu_weight(512), cpu_weight_newer(512)))

    def test_quota_and_period(self):
        _, pid = self.limited({"cpu": {"quota": 25000, "period": 50000}})
        if cgroup_mode() == "v2":
            self.assertEqual("25000 50000", self.cgroup_file(pid, "", "cpu.max"))
        else:
            self.assertEqual("25000", self.cgroup_file(pid, "cpu", "cpu.cfs_quota_us"))
            self.assertEqual("50000", self.cgroup_file(pid, "cpu", "cpu.cfs_period_us"))

    def test_quota_unlimited(self):
        _, pid = self.limited({"cpu": {"quota": -1, "period": 50000}})
        self.assertIn(self.value(pid, ("cpu", "cpu.cfs_quota_us"), "cpu.max"), ("-1", "max 50000"))

    @deviates(runc="1.1 has no burst")
    def test_burst(self):
        _, pid = self.limited({"cpu": {"quota": 25000, "period": 50000, "burst": 10000}})
        self.assertEqual("10000", self.value(pid, ("cpu", "cpu.cfs_burst_us"), "cpu.max.burst"))

    @deviates(runc="1.1 has no idle")
    def test_idle(self):
        _, pid = self.limited({"cpu": {"idle": 1}})
        self.assertEqual("1", self.value(pid, ("cpu", "cpu.idle"), "cpu.idle"))

    def test_cpus_and_mems(self):
        _, pid = self.limited({"cpu": {"cpus": "0", "mems": "0"}})
        self.assertEqual("0", self.value(pid, ("cpuset", "cpuset.cpus"), "cpuset.cpus"))
        self.assertEqual("0", self.value(pid, ("cpuset", "cpuset.mems"), "cpuset.mems"))
        with open("/proc/%d/status" % pid) as f:
            self.assertIn("Cpus_allowed_list:\t0\n", f.read())

    def test_impossible_cpus_is_an_error(self):
        b = self.bundle("true")
        b.linux["resources"]["cpu"] = {"cpus": "4096"}
        self.fails(b)

    @needs("rt_group")
    def test_realtime(self):
        _, pid = self.limited({"cpu": {"realtimePeriod": 1000000, "realtimeRuntime": 0}})
        self.assertEqual("1000000", self.cgroup_file(pid, "cpu", "cpu.rt_period_us"))


class Pids(CgroupTest):

    def test_limit(self):
        _, pid = self.limited({"pids": {"limit": 77}})
        self.assertEqual("77", self.value(pid, ("pids", "pids.max"), "pids.max"))

    def test_unlimited(self):
        _, pid = self.limited({"pids": {"limit": -1}})
        self.assertEqual("max", self.value(pid, ("pids", "pids.max"), "pids.max"))

    @needs("helpers")
    def test_limit_is_enforced(self):
        b = self.bundle("/bin/probe", "fork", "100")
        b.linux["resources"]["pids"] = {"limit": 12}
        made, errno = self.output(b).split()
        self.assertLess(int(made), 13)
        self.assertEqual("11", errno)


class BlockIo(CgroupTest):

    def disk(self):
        """A disk on this machine, as major:minor."""
        for name in sorted(os.listdir("/sys/block")):
            if not name.startswith(("loop", "ram", "zram", "sr", "fd", "nbd")):
                with open("/sys/block/%s/dev" % name) as f:
                    return [int(x) for x in f.read().split(":")]
        self.skipTest("needs a disk")

    def test_throttle(self):
        major, minor = self.disk()
        d = {"major": major, "minor": minor}
        _, pid = self.limited({"blockIO": {"throttleReadBpsDevice": [{**d, "rate": 10 * MIB}], "throttleWriteBpsDevice": [{**d, "rate": 20 * MIB}],
                                           "throttleReadIOPSDevice": [{**d, "rate": 300}], "throttleWriteIOPSDevice": [{**d, "rate": 400}]}})
        if cgroup_mode() == "v2":
            self.assertEqual("%d:%d rbps=%d wbps=%d riops=300 wiops=400" % (major, minor, 10 * MIB, 20 * MIB), self.cgroup_file(pid, "", "io.max"))
        else:
            for name, value in (("read_bps", 10 * MIB), ("write_bps", 20 * MIB), ("read_iops", 300), ("write_iops", 400)):
                self.assertEqual("%d:%d %d" % (major, minor, value), self.cgroup_file(pid, "blkio", "blkio.throttle.%s_device" % name))

    @needs("blkio_weight")
    def test_weight(self):
        _, pid = self.limited({"blockIO": {"weight": 300}})
        where = self.cgroup_dir(pid, "" if cgroup_mode() == "v2" else "blkio")
        names = ("io.bfq.weight", "io.weight", "blkio.bfq.weight", "blkio.weight")
        values = {n: self.cgroup_file(pid, "" if cgroup_mode() == "v2" else "blkio", n) for n in names if os.path.exists(os.path.join(where, n))}
        self.assertTrue(any(v.split()[-1] in ("300", "2930") for v in values.values()), values)


class Others(CgroupTest):

    @needs("hugetlb")
    def test_hugepage_limits(self):
        _, pid = self.limited({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]})
        self.assertEqual(str(4 * MIB), self.value(pid, ("hugetlb", "hugetlb.2MB.limit_in_bytes"), "hugetlb.2MB.max"))

    @needs("net_cls")
    def test_class_id(self):
        _, pid = self.limited({"network": {"classID": 0x100001}})
        self.assertEqual(str(0x100001), self.cgroup_file(pid, "net_cls", "net_cls.classid"))

    def test_rdma(self):
        """Where no hierarchy has the controller, a limit that cannot be kept is an error."""
        if os.path.isdir("/sys/class/infiniband") and os.listdir("/sys/class/infiniband"):
            device = os.listdir("/sys/class/infiniband")[0]
            _, pid = self.limited({"rdma": {device: {"hcaHandles": 3, "hcaObjects": 10000}}})
            self.assertIn("%s hca_handle=3 hca_object=10000" % device, self.value(pid, ("rdma", "rdma.max"), "rdma.max"))
            return
        b = self.bundle("true")
        b.linux["resources"]["rdma"] = {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}
        self.fails(b)

    @needs("net_prio")
    def test_priorities(self):
        _, pid = self.limited({"network": {"priorities": [{"name": "lo", "priority": 5}]}})
        self.assertIn("lo 5", self.cgroup_file(pid, "net_prio", "net_prio.ifpriomap"))

    @needs("cgroup_v2")
    def test_unified(self):
        _, pid = self.limited({"unified": {"memory.high": str(48 * MIB), "pids.max": "55", "memory.oom.group": "1"}})
        self.assertEqual(str(48 * MIB), self.cgroup_file(pid, "", "memory.high"))
        self.assertEqual("55", self.cgroup_file(pid, "", "pids.max"))
        self.assertEqual("1", self.cgroup_file(pid, "", "memory.oom.group"))

    @needs("cgroup_v2")
    def test_unified_unknown_file_is_an_error(self):
        b = self.bundle("true")
        b.linux["resources"]["unified"] = {"no.such.file": "1"}
        self.fails(b)

    @needs("cgroup_v2")
    def test_unified_may_not_leave_the_directory(self):
        b = self.bundle("true")
        b.linux["resources"]["unified"] = {"../cgroup.procs": "1"}
        self.fails(b)

    @needs("cgroup_v2")
    @deviates(crun="changes no owner for the container's user")
    def test_ownership_for_a_writable_mount(self):
        """ "Cgroup ownership": a new cgroup namespace and a writable /sys/fs/cgroup give the container's user its cgroup."""
        b = self.bundle(sh="stat -c %u /sys/fs/cgroup /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/memory.max; mkdir /sys/fs/cgroup/mine && echo made; rmdir /sys/fs/cgroup/mine")
        b.process["user"] = {"uid": 1000, "gid": 1000}
        for m in b.config["mounts"]:
            if m["destination"] == "/sys/fs/cgroup":
                m["options"] = [o for o in m["options"] if o != "ro"]
        self.assertEqual(["1000", "1000", "0", "made"], self.output(b).split())


class Update(CgroupTest):

    def test_flags(self):
        cid, pid = self.limited({"memory": {"limit": 64 * MIB}, "pids": {"limit": 50}})
        self.runtime("update", "--memory", str(96 * MIB), "--pids-limit", "99", "--cpu-quota", "30000", "--cpu-period", "60000", cid)
        self.assertEqual(str(96 * MIB), self.value(pid, ("memory", "memory.limit_in_bytes"), "memory.max"))
        self.assertEqual("99", self.value(pid, ("pids", "pids.max"), "pids.max"))
        self.assertIn(self.value(pid, ("cpu", "cpu.cfs_quota_us"), "cpu.max"), ("30000", "30000 60000"))

    def test_more_flags(self):
        cid, pid = self.limited({"memory": {"limit": 64 * MIB}})
        self.runtime("update", "--memory-reservation", str(16 * MIB), "--cpu-share", "256", "--cpuset-cpus", "0", "--cpuset-mems", "0", cid)
        self.assertEqual(str(16 * MIB), self.value(pid, ("memory", "memory.soft_limit_in_bytes"), "memory.low"))
        self.assertIn(int(self.value(pid, ("cpu", "cpu.shares"), "cpu.weight")), (256, cpu_weight(256), cpu_weight_newer(256)))
        self.assertEqual("0", self.value(pid, ("cpuset", "cpuset.cpus"), "cpuset.cpus"))

    def test_resources_on_stdin_and_in_a_file(self):
        cid, pid = self.limited({"pids": {"limit": 50}, "memory": {"limit": 64 * MIB}})
        self.runtime("update", "--resources", "-", cid, stdin=json.dumps({"pids": {"limit": 60}}))
        self.assertEqual("60", self.value(pid, ("pids", "pids.max"), "pids.max"))
        self.assertEqual(str(64 * MIB), self.value(pid, ("memory", "memory.limit_in_bytes"), "memory.max"), "what is absent stays")
        path = os.path.join(self.tmp, "resources.json")
        with open(path, "w") as f:
            json.dump({"pids": {"limit": 61}}, f)
        self.runtime("update", "-r", path, cid)
        self.assertEqual("61", self.value(pid, ("pids", "pids.max"), "pids.max"))

    def test_device_rules_survive(self):
        cid, pid = self.limited({}, "sleep", "1000")
        self.runtime("update", "--pids-limit", "44", cid)
        self.assertEqual("ok\n", self.exec(cid, "/bin/sh", "-c", "head -c 1 /dev/zero > /dev/null && echo ok").out)

    def test_absent_container(self):
        self.assertNotEqual(0, self.runtime("update", "--pids-limit", "44", "absent-three", check=False).rc)

    def test_bad_value(self):
        cid, _ = self.limited({})
        self.assertNotEqual(0, self.runtime("update", "--memory", "lots", cid, check=False).rc)


@needs("cgroup_v2")
class DeviceRulesV2(CgroupTest):
    """On v2 the rules are an eBPF program; its effect is what counts."""

    def test_rules(self):
        b = self.bundle(sh="head -c 1 /dev/zero >/dev/null && echo zero-ok; cat /dev/kmsg2 2>&1 | head -c 60; mknod /tmp/n c 1 3 && echo mknod-ok; "
                           "dd if=/tmp/blk of=/dev/null count=1 2>&1 | grep -o 'not permitted'")
        b.caps("CAP_MKNOD")
        b.linux["devices"] = [{"path": "/dev/kmsg2", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666},
                              {"path": "/tmp/blk", "type": "b", "major": 254, "minor": 0, "fileMode": 0o666}]
        out = self.output(b)
        self.assertIn("zero-ok", out)
        self.assertIn("mknod-ok", out)
        self.assertGreaterEqual(out.count("not permitted"), 2)


class Events(CgroupTest):

    @deviates(crun="has no events command")
    def test_stats(self):
        cid, _ = self.limited({"memory": {"limit": 64 * MIB}, "pids": {"limit": 50}})
        event = json.loads(self.runtime("events", "--stats", cid).out)
        self.assertEqual(("stats", cid), (event["type"], event["id"]))
        data = event["data"]
        self.assertEqual(50, data["pids"]["limit"])
        self.assertGreaterEqual(data["pids"]["current"], 1)
        self.assertEqual(64 * MIB, data["memory"]["usage"]["limit"])
        self.assertGreater(data["memory"]["usage"]["usage"], 0)
        self.assertGreaterEqual(data["cpu"]["usage"]["total"], 0)

    def follow(self, cid, *options):
        p = subprocess.Popen(self.argv("events", *options, cid), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, bufsize=0)
        os.set_blocking(p.stdout.fileno(), False)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        text = []

        def seen(kind):
            piece = p.stdout.read()
            text.append((piece or b"").decode())
            whole = "".join(text)
            return kind in [json.loads(x)["type"] for x in whole[:whole.rfind("\n") + 1].splitlines()]
        return p, seen

    @deviates(crun="has no events command")
    def test_interval_and_end(self):
        cid, _ = self.limited({})
        p, seen = self.follow(cid, "--interval", "300ms")
        wait_until(lambda: seen("stats"), "statistics come")
        self.delete(cid, "--force")

        def ended():
            reap_others(p.pid)
            return p.poll() is not None
        wait_until(ended, "events ends with the container")

    @needs("helpers")
    @deviates(crun="has no events command")
    def test_oom(self):
        b = self.bundle(sh="sleep 1; /bin/probe alloc %d; sleep 1000" % (128 * MIB))
        b.linux["resources"]["memory"] = {"limit": 16 * MIB}
        cid = self.started(b)
        _, seen = self.follow(cid, "--interval", "200ms")
        wait_until(lambda: seen("oom"), "an oom event comes")


@needs("cgroup_v2")
class Nested(CgroupTest):

    @deviates(crun="changes no owner for the container's user")
    def test_exec_into_a_container_that_manages_its_cgroup(self):
        """Once controllers are enabled for children the kernel lets no process into the cgroup itself: exec goes where init is."""
        b = self.bundle(sh="mkdir /sys/fs/cgroup/init && echo $$ >/sys/fs/cgroup/init/cgroup.procs && "
                           "echo +pids +memory >/sys/fs/cgroup/cgroup.subtree_control && touch /ready; sleep 1000")
        for m in b.config["mounts"]:
            if m["destination"] == "/sys/fs/cgroup":
                m["options"] = [o for o in m["options"] if o != "ro"]
        cid = self.started(b)
        wait_until(lambda: os.path.exists(os.path.join(b.rootfs, "ready")), "controllers are enabled")
        self.assertEqual("0::/init", self.runtime("exec", cid, "cat", "/proc/self/cgroup").out.strip())


def reap_others(pid):
    import onggi_test
    onggi_test.reap_strangers(pid)


@needs("systemd", "cgroup_v2")
class Systemd(CgroupTest):

    def setUp(self):
        super().setUp()
        self.global_args = ["--systemd-cgroup"]

    def unit_bundle(self, *args, **resources):
        b = self.bundle(*(args or ("sleep", "1000")))
        b.linux["cgroupsPath"] = "system.slice:ogt:%s-%d" % (TAG, self._bundles)
        b.linux["resources"].update(resources)
        return b, "ogt-%s-%d.scope" % (TAG, self._bundles)

    def show(self, unit, prop):
        return subprocess.run(["systemctl", "show", "-p", prop, "--value", unit], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def test_scope_is_made_and_removed(self):
        b, unit = self.unit_bundle()
        cid = self.started(b)
        self.assertEqual("active", self.show(unit, "ActiveState"))
        self.assertIn("/system.slice/" + unit, self.cgroup_dir(self.state(cid)["pid"], ""))
        self.delete(cid, "--force")
        wait_until(lambda: self.show(unit, "ActiveState") == "inactive", "the scope is gone")

    def test_properties(self):
        b, unit = self.unit_bundle(memory={"limit": 64 * MIB}, pids={"limit": 66}, cpu={"quota": 50000, "period": 100000, "shares": 512})
        cid = self.started(b)
        self.assertEqual(str(64 * MIB), self.show(unit, "MemoryMax"))
        self.assertEqual("66", self.show(unit, "TasksMax"))
        self.assertEqual("500ms", self.show(unit, "CPUQuotaPerSecUSec"))
        pid = self.state(cid)["pid"]
        self.assertEqual(str(64 * MIB), self.cgroup_file(pid, "", "memory.max"))

    def test_update_goes_through_systemd(self):
        b, unit = self.unit_bundle(pids={"limit": 66})
        cid = self.started(b)
        self.runtime("update", "--pids-limit", "88", cid)
        self.assertEqual("88", self.show(unit, "TasksMax"))
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        self.assertEqual("88", self.cgroup_file(self.state(cid)["pid"], "", "pids.max"))

    @deviates(crun="sets its own description afterwards")
    def test_property_annotations(self):
        b, unit = self.unit_bundle()
        b.config["annotations"] = {"org.systemd.property.TimeoutStopUSec": "uint64 123456789", "org.systemd.property.Description": "'a described one'"}
        self.started(b)
        self.assertEqual("a described one", self.show(unit, "Description"))

    def test_stopped_container_can_be_deleted(self):
        b, unit = self.unit_bundle("true")
        cid = self.started(b)
        self.wait_status(cid, "stopped")
        self.delete(cid)


if __name__ == "__main__":
    unittest.main()
