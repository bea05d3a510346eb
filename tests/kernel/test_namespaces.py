"""config-linux.md "Namespaces", "User namespace mappings", "Offset for Time Namespace"; config.md hostname and domainname."""

import os
import subprocess
import unittest

from onggi_test import RuntimeTest, deviates, has, needs, shell, wait_until

KINDS = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "cgroup": "cgroup", "user": "user", "time": "time"}
UIDS = [{"containerID": 0, "hostID": 200000, "size": 65536}]


def own(kind):
    return os.readlink("/proc/self/ns/" + KINDS[kind])


class Holder:
    """A process that sits in a new namespace of one kind, so that a configuration can name it by path."""

    def __init__(self, test, kind):
        flags = {"pid": ["--pid", "--fork", "--kill-child"], "network": ["--net"], "ipc": ["--ipc"], "uts": ["--uts"], "mount": ["--mount"],
                 "cgroup": ["--cgroup"], "time": ["--time", "--fork", "--kill-child"]}[kind]
        self.process = subprocess.Popen(["unshare", *flags, "sleep", "1000"], stdin=subprocess.DEVNULL)
        test.addCleanup(self.close)
        name = "pid_for_children" if kind == "pid" else "time_for_children" if kind == "time" else KINDS[kind]
        self.path = "/proc/%d/ns/%s" % (self.process.pid, name)

        def entered():
            try:
                return os.readlink(self.path) != own(kind)
            except OSError:  # pid_for_children has no target before its first process is there
                return False
        wait_until(entered, "the holder is in its namespace")
        self.id = os.readlink(self.path)

    def close(self):
        self.process.kill()
        self.process.wait()


def set_namespace(bundle, kind, path=None):
    bundle.without_namespace(kind)
    bundle.linux["namespaces"].append({"type": kind, **({"path": path} if path else {})})
    return bundle


class New(RuntimeTest):

    @deviates(runc="1.1 has no time namespace")
    def test_each_listed_kind_is_new(self):
        kinds = [k for k in KINDS if k != "user" and (k != "time" or has("time_namespace"))]
        b = self.bundle("sleep", "1000")
        b.linux["namespaces"] = [{"type": k} for k in kinds]
        pid = self.state(self.started(b))["pid"]  # a time namespace is entered by exec
        for kind in kinds:
            with self.subTest(kind):
                self.assertNotEqual(own(kind), os.readlink("/proc/%d/ns/%s" % (pid, KINDS[kind])))

    def test_each_kind_not_listed_is_inherited(self):
        for kind in ("pid", "network", "ipc", "uts", "cgroup"):
            with self.subTest(kind):
                b = self.bundle("sleep", "1000").without_namespace(kind)
                b.config.pop("hostname") if kind == "uts" else None
                if kind == "network":  # sysfs shows a network namespace, and mqueue an ipc one: both are the host's own then
                    pass
                cid = self.create(b)
                pid = self.state(cid)["pid"]
                self.assertEqual(own(kind), os.readlink("/proc/%d/ns/%s" % (pid, KINDS[kind])))
                for other in ("pid", "network", "ipc", "uts", "mount"):
                    if other != kind:
                        self.assertNotEqual(own(other), os.readlink("/proc/%d/ns/%s" % (pid, KINDS[other])))
                self.delete(cid, "--force")

    def test_pid_1_and_own_proc(self):
        out = self.output(self.bundle(sh="echo $$; ls -d /proc/[0-9]* | wc -l"))
        pid, count = out.split()
        self.assertEqual("1", pid)
        self.assertLessEqual(int(count), 4)

    def test_network_is_empty(self):
        out = self.output(self.bundle("cat", "/proc/net/dev"))
        self.assertEqual(["lo"], [line.split(":")[0].strip() for line in out.splitlines()[2:]])

    @deviates(crun="leaves lo down")
    def test_loopback_is_up(self):
        """Not in the specification, but what every engine relies on for its own network set-up."""
        self.assertIn("UP", self.output(self.bundle("ifconfig", "lo")))

    def test_duplicate_kind_is_an_error(self):
        b = self.bundle()
        b.linux["namespaces"].append({"type": "pid"})
        self.fails(b)

    def test_unknown_kind_is_an_error(self):
        b = self.bundle()
        b.linux["namespaces"].append({"type": "nosuch"})
        self.fails(b)


class ByPath(RuntimeTest):

    def check(self, kind):
        holder = Holder(self, kind)
        b = set_namespace(self.bundle("sleep", "1000"), kind, holder.path)
        if kind == "uts":
            b.config.pop("hostname")
        cid = self.create(b)
        self.assertEqual(holder.id, os.readlink("/proc/%d/ns/%s" % (self.state(cid)["pid"], KINDS[kind])))
        self.delete(cid, "--force")

    def test_network(self):
        self.check("network")

    def test_ipc(self):
        self.check("ipc")

    def test_uts(self):
        self.check("uts")

    def test_pid(self):
        self.check("pid")

    def test_cgroup(self):
        self.check("cgroup")

    @needs("time_namespace")
    @deviates(runc="1.1 has no time namespace", crun="1.21 fails to join one")
    def test_time(self):
        self.check("time")

    def test_wrong_type_is_an_error(self):
        self.fails(set_namespace(self.bundle(), "network", "/proc/self/ns/uts"))
        self.fails(set_namespace(self.bundle(), "ipc", "/proc/self/ns/net"))

    def test_absent_path_is_an_error(self):
        self.fails(set_namespace(self.bundle(), "network", "/nonexistent/ns"))

    def test_not_a_namespace_is_an_error(self):
        self.fails(set_namespace(self.bundle(), "network", "/etc/hostname"))

    @deviates(runc="accepts relative paths", crun="accepts relative paths")
    def test_relative_path_is_an_error(self):
        self.fails(set_namespace(self.bundle(), "network", "proc/self/ns/net"))

    def test_container_shares_with_another(self):
        """How a pod is made: the second container joins the first one's namespaces by path."""
        first = self.create(self.bundle("sleep", "1000"))
        pid = self.state(first)["pid"]
        b = self.bundle("sleep", "1000")
        b.config.pop("hostname")
        for kind in ("network", "ipc", "uts", "pid"):
            set_namespace(b, kind, "/proc/%d/ns/%s" % (pid, KINDS[kind]))
        second = self.create(b)
        other = self.state(second)["pid"]
        for kind in ("network", "ipc", "uts", "pid"):
            self.assertEqual(os.readlink("/proc/%d/ns/%s" % (pid, KINDS[kind])), os.readlink("/proc/%d/ns/%s" % (other, KINDS[kind])))
        self.delete(second, "--force")
        self.delete(first, "--force")


class Names(RuntimeTest):

    def test_hostname(self):
        b = self.bundle("hostname")
        b.config["hostname"] = "name-inside"
        self.assertEqual("name-inside\n", self.output(b))
        self.assertNotEqual("name-inside", os.uname().nodename)

    @deviates(runc="1.1 ignores domainname")
    def test_domainname(self):
        b = self.bundle("cat", "/proc/sys/kernel/domainname")
        b.config["domainname"] = "domain.inside"
        self.assertEqual("domain.inside\n", self.output(b))

    def test_hostname_without_uts_is_an_error(self):
        b = self.bundle("true").without_namespace("uts")
        before = os.uname().nodename
        self.fails(b)
        self.assertEqual(before, os.uname().nodename)


class User(RuntimeTest):
    """Ids inside are shifted outside; the rootfs needs owners that are mapped."""

    def user_bundle(self, *args, sh=None, uids=None, gids=None):
        b = self.bundle(*args, sh=sh)
        b.linux["namespaces"].append({"type": "user"})
        b.linux["uidMappings"] = uids or UIDS
        b.linux["gidMappings"] = gids or uids or UIDS
        base = b.linux["uidMappings"][0]["hostID"]
        for where, dirs, files in os.walk(b.rootfs):
            for n in [where] + [os.path.join(where, x) for x in files]:
                os.lchown(n, base, base)
        return b

    def test_mappings_are_written(self):
        uids = [{"containerID": 0, "hostID": 200000, "size": 1000}, {"containerID": 1000, "hostID": 300000, "size": 10}]
        gids = [{"containerID": 0, "hostID": 400000, "size": 2000}]
        b = self.user_bundle(sh="cat /proc/self/uid_map; echo --; cat /proc/self/gid_map", uids=uids, gids=gids)
        for where, dirs, files in os.walk(b.rootfs):
            for n in [where] + [os.path.join(where, x) for x in files]:
                os.lchown(n, 200000, 400000)
        uid_map, gid_map = self.output(b).split("--\n")
        self.assertEqual([["0", "200000", "1000"], ["1000", "300000", "10"]], [x.split() for x in uid_map.splitlines()])
        self.assertEqual([["0", "400000", "2000"]], [x.split() for x in gid_map.splitlines()])

    def test_root_inside_is_not_root_outside(self):
        cid = self.started(self.user_bundle("sleep", "1000"))
        with open("/proc/%d/status" % self.state(cid)["pid"]) as f:
            status = f.read()
        self.assertRegex(status, r"Uid:\s+200000\s+200000\s+200000\s+200000")
        self.assertRegex(status, r"Gid:\s+200000\s+200000\s+200000\s+200000")

    def test_owned_by_the_new_user_namespace(self):
        """Every other namespace belongs to the container's user namespace, so root inside may configure it."""
        out = self.output(self.user_bundle(sh="hostname changed && hostname; ip link set lo up && echo lo-ok")
                          .caps("CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SETUID", "CAP_SETGID"))
        self.assertIn("changed", out)
        self.assertIn("lo-ok", out)

    def test_devices_work(self):
        out = self.output(self.user_bundle(sh="echo x > /dev/null && head -c 4 /dev/zero | od -An -tx1; stat -c '%t:%T' /dev/null"))
        self.assertIn("00 00 00 00", out)
        self.assertIn("1:3", out)

    def test_user_and_groups(self):
        b = self.user_bundle("id")
        b.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [7, 8]}
        self.assertRegex(self.output(b), r"uid=1000 gid=1001 groups=(1001,)?7,8")

    def test_exec_joins_it(self):
        cid = self.started(self.user_bundle("sleep", "1000"))
        self.assertEqual("0\n", self.exec(cid, "id", "-u").out)
        self.assertIn("200000", self.exec(cid, "cat", "/proc/self/uid_map").out)

    @deviates(crun="maps the caller")
    def test_without_mappings_is_an_error(self):
        b = self.user_bundle()
        del b.linux["uidMappings"], b.linux["gidMappings"]
        self.fails(b)

    @deviates(crun="accepts mappings without a user namespace", runc="accepts mappings without a user namespace")
    def test_mappings_without_namespace_are_an_error(self):
        b = self.bundle()
        b.linux["uidMappings"] = b.linux["gidMappings"] = UIDS
        self.fails(b)

    @deviates(runc="1.1 wants a fresh user namespace with mappings")
    def test_by_path(self):
        first = self.started(self.user_bundle("sleep", "1000"))
        path = "/proc/%d/ns/user" % self.state(first)["pid"]
        b = self.user_bundle("sleep", "1000")
        b.linux["namespaces"] = [n for n in b.linux["namespaces"] if n["type"] != "user"] + [{"type": "user", "path": path}]
        second = self.create(b)
        self.assertEqual(os.readlink(path), os.readlink("/proc/%d/ns/user" % self.state(second)["pid"]))
        self.delete(second, "--force")
        self.delete(first, "--force")


@needs("time_namespace", "helpers")
class Time(RuntimeTest):

    @deviates(runc="1.1 has no time namespace")
    def test_offsets(self):
        b = self.bundle("/bin/probe", "clock")
        b.linux["namespaces"].append({"type": "time"})
        b.linux["timeOffsets"] = {"monotonic": {"secs": 100000, "nanosecs": 5}, "boottime": {"secs": 7777777}}
        monotonic, boottime, _ = map(int, self.output(b).split())
        import time
        self.assertAlmostEqual(100000, monotonic - time.clock_gettime(time.CLOCK_MONOTONIC), delta=120)
        self.assertAlmostEqual(7777777, boottime - time.clock_gettime(time.CLOCK_BOOTTIME), delta=120)

    @deviates(runc="1.1 has no time namespace", crun="ignores them")
    def test_offsets_without_namespace_are_an_error(self):
        b = self.bundle()
        b.linux["timeOffsets"] = {"monotonic": {"secs": 1}}
        self.fails(b)

    @deviates(runc="1.1 has no time namespace", crun="ignores it")
    def test_unknown_clock_is_an_error(self):
        b = self.bundle()
        b.linux["namespaces"].append({"type": "time"})
        b.linux["timeOffsets"] = {"realtime": {"secs": 1}}
        self.fails(b)

    @deviates(runc="1.1 has no time namespace")
    def test_exec_sees_the_offset(self):
        b = self.bundle("sleep", "1000")
        b.linux["namespaces"].append({"type": "time"})
        b.linux["timeOffsets"] = {"boottime": {"secs": 500000}}
        cid = self.started(b)
        import time
        boottime = int(self.exec(cid, "/bin/probe", "clock").out.split()[1])
        self.assertAlmostEqual(500000, boottime - time.clock_gettime(time.CLOCK_BOOTTIME), delta=120)


if __name__ == "__main__":
    unittest.main()
