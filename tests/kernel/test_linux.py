"""config-linux.md: devices, default devices, masked and read-only paths, sysctl, LSM labels, RDT, network devices, default links."""

import os
import re
import stat
import subprocess
import unittest

from onggi_test import RuntimeTest, deviates, has, needs, wait_until


class Devices(RuntimeTest):

    def test_default_devices(self):
        out = self.output(self.bundle(sh="cd /dev; for d in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' $d; done"))
        for name, number in (("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("random", "1:8"), ("urandom", "1:9"), ("tty", "5:0")):
            self.assertIn("%s character special file %s 666" % (name, number), out)

    def test_default_devices_can_be_used(self):
        out = self.output(self.bundle(sh="echo x > /dev/null && dd if=/dev/zero bs=3 count=1 2>/dev/null | wc -c; dd if=/dev/urandom bs=5 count=1 2>/dev/null | wc -c; "
                                         "echo x > /dev/full || echo full"))
        self.assertEqual(["3", "5", "full"], out.split())

    def test_default_links(self):
        out = self.output(self.bundle(sh="cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done"))
        self.assertEqual(["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"], out.split()[:4])
        self.assertIn(out.split()[4], ("pts/ptmx", "/dev/pts/ptmx"))

    def test_ptmx_opens(self):
        self.assertIn("/dev/pts/0", self.output(self.bundle(sh="exec 3<>/dev/ptmx && ls /dev/pts/0")))

    @deviates(crun="the mode of a device outside /dev")
    def test_listed_devices(self):
        b = self.bundle(sh="stat -c '%F %t:%T %a %u %g' /dev/fuse /dev/deep/er/blk /dev/pipe /elsewhere")
        b.linux["devices"] = [
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 5, "gid": 6},
            {"path": "/dev/deep/er/blk", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
            {"path": "/elsewhere", "type": "u", "major": 1, "minor": 3, "fileMode": 0o666}]
        lines = self.output(b).splitlines()
        self.assertEqual("character special file a:e5 640 5 6", lines[0])
        self.assertEqual("block special file 7:c8 600 0 0", lines[1])
        self.assertRegex(lines[2], "^fifo .* 622 0 0$")
        self.assertRegex(lines[3], "^character special file 1:3 666")

    def test_device_is_not_usable_unless_allowed(self):
        b = self.bundle(sh="dd if=/dev/fuse count=0 2>&1; cat /dev/fuse; true")
        b.linux["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}]
        self.assertRegex(self.run_bundle(b).err + self.run_bundle(b).out, "Operation not permitted")

    def test_device_allowed_by_a_rule(self):
        b = self.bundle(sh="dd if=/dev/kmsg2 of=/dev/null bs=1 count=1 2>/dev/null && echo opened")
        b.linux["devices"] = [{"path": "/dev/kmsg2", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666}]
        self.assertEqual("opened\n", self.output(b))

    def test_rules_apply_in_order(self):
        """deny all, allow 1:* read, deny 1:9: zero can be read, urandom not (a default device is not protected from a later rule)."""
        b = self.bundle(sh="dd if=/dev/loop-c of=/dev/null bs=1 count=1 2>/dev/null && echo read-ok; dd if=/dev/zero of=/dev/loop-c bs=1 count=1 2>/dev/null || echo write-denied")
        b.linux["devices"] = [{"path": "/dev/loop-c", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]
        b.linux["resources"]["devices"] = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}]
        self.assertIn("write-denied", self.output(b))

    def test_mknod_denied_by_default_rules(self):
        """Even with CAP_MKNOD: a block device cannot be opened; making the node is what runtimes allow."""
        b = self.bundle(sh="mknod /tmp/disk b 7 0 && cat /tmp/disk; true").caps("CAP_MKNOD")
        self.assertIn("Operation not permitted", self.run_bundle(b).err)

    @deviates(crun="goes on", runc="goes on")
    def test_existing_other_file_is_an_error(self):
        b = self.bundle("true")
        with open(os.path.join(b.rootfs, "taken"), "w"):
            pass
        b.linux["devices"] = [{"path": "/taken", "type": "c", "major": 1, "minor": 3}]
        self.fails(b)

    @deviates(crun="goes on")
    def test_unknown_type_is_an_error(self):
        b = self.bundle("true")
        b.linux["devices"] = [{"path": "/dev/x", "type": "q", "major": 1, "minor": 3}]
        self.fails(b)

    def test_bind_mounted_dev_is_left_alone(self):
        """No device is made on the host's /dev when it is bound in."""
        b = self.bundle("ls", "/dev/null")
        b.config["mounts"] = [m for m in b.config["mounts"] if not m["destination"].startswith("/dev")]
        b.mount("/dev", "/dev", "bind", ["rbind", "rslave"])
        before = sorted(os.listdir("/dev"))
        self.output(b)
        self.assertEqual(before, sorted(os.listdir("/dev")))


class Paths(RuntimeTest):

    def test_masked_file_and_directory(self):
        b = self.bundle(sh="wc -c < /proc/timer_list; ls /sys/firmware | wc -l; wc -c < /etc/secret; ls /hidden | wc -l")
        with open(os.path.join(b.rootfs, "etc/secret"), "w") as f:
            f.write("secret")
        os.mkdir(os.path.join(b.rootfs, "hidden"))
        with open(os.path.join(b.rootfs, "hidden/file"), "w"):
            pass
        b.linux["maskedPaths"] += ["/etc/secret", "/hidden"]
        r = self.run_bundle(b)
        absent = r.err.count("timer_list")  # a kernel without it
        self.assertEqual(["0"] * (4 - absent), r.out.split())

    def test_masked_directory_cannot_be_written(self):
        b = self.bundle(sh="touch /hidden/x 2>&1; true")
        os.mkdir(os.path.join(b.rootfs, "hidden"))
        b.linux["maskedPaths"] += ["/hidden"]
        self.assertIn("Read-only", self.output(b))

    def test_absent_paths_are_skipped(self):
        b = self.bundle("echo", "fine")
        b.linux["maskedPaths"] += ["/nonexistent/a", "/proc/nonexistent"]
        b.linux["readonlyPaths"] += ["/nonexistent/b"]
        self.assertEqual("fine\n", self.output(b))

    def test_readonly(self):
        b = self.bundle(sh="echo 1 > /proc/sys/kernel/domainname 2>&1; touch /data/x 2>&1; touch /data/sub/x 2>&1; cat /data/file; true")
        os.makedirs(os.path.join(b.rootfs, "data/sub"))
        with open(os.path.join(b.rootfs, "data/file"), "w") as f:
            f.write("readable\n")
        b.linux["readonlyPaths"] += ["/data"]
        out = self.run_bundle(b)
        self.assertGreaterEqual((out.out + out.err).count("Read-only"), 3)
        self.assertIn("readable", out.out)

    def test_none_when_not_listed(self):
        b = self.bundle(sh="head -c 1 /proc/timer_list > /dev/null && echo visible; true")
        b.linux["maskedPaths"] = b.linux["readonlyPaths"] = []
        self.assertEqual(os.access("/proc/timer_list", os.R_OK), "visible" in self.run_bundle(b).out)

    @deviates(runc="allows relative paths", crun="allows relative paths")
    def test_relative_is_an_error(self):
        for key in ("maskedPaths", "readonlyPaths"):
            b = self.bundle("true")
            b.linux[key] = ["proc/kcore"]
            self.fails(b)

    def test_mask_through_symlink_stays_inside(self):
        """A masked path that is a link in the root is not followed to the host (CVE-2023-27561 and its kin)."""
        b = self.bundle("true")
        canary = os.path.join(self.tmp, "canary")
        with open(canary, "w") as f:
            f.write("intact")
        os.symlink(canary, os.path.join(b.rootfs, "link"))
        b.linux["maskedPaths"].append("/link")
        self.run_bundle(b, check=False)
        with open(canary) as f:
            self.assertEqual("intact", f.read())

    def test_dev_null_must_be_the_null_device(self):
        """CVE-2025-31133: a /dev/null that the image replaced must not become what masks (or is made writable by) a path."""
        b = self.bundle(sh="cat /proc/keys | wc -c; echo changed > /proc/keys 2>/dev/null; true")
        canary = os.path.join(self.tmp, "canary")
        with open(canary, "w") as f:
            f.write("intact")
        b.config["mounts"] = [m for m in b.config["mounts"] if m["destination"] != "/dev"]
        os.makedirs(os.path.join(b.rootfs, "dev/pts"), exist_ok=True)
        os.symlink(canary, os.path.join(b.rootfs, "dev/null"))
        r = self.run_bundle(b, check=False)
        with open(canary) as f:
            self.assertEqual("intact", f.read())
        if r.rc == 0:
            self.assertEqual("0", r.out.split()[0])


class Sysctl(RuntimeTest):

    def test_namespaced(self):
        b = self.bundle("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/msgmax", "/proc/sys/net/ipv4/ping_group_range")
        b.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "65530", "net.ipv4.ping_group_range": "0 65535"}
        self.assertEqual(["1", "65530", "0", "65535"], self.output(b).split())

    def test_slash_form(self):
        b = self.bundle("cat", "/proc/sys/net/ipv4/ip_forward")
        b.linux["sysctl"] = {"net/ipv4/ip_forward": "1"}
        self.assertEqual("1\n", self.output(b))

    def test_host_wide_is_refused(self):
        with open("/proc/sys/kernel/panic") as f:
            before = f.read()
        b = self.bundle("true")
        b.linux["sysctl"] = {"kernel.panic": "77"}
        self.fails(b)
        with open("/proc/sys/kernel/panic") as f:
            self.assertEqual(before, f.read())

    def test_net_without_network_namespace_is_refused(self):
        b = self.bundle("true").without_namespace("network")
        b.linux["sysctl"] = {"net.ipv4.ip_forward": open("/proc/sys/net/ipv4/ip_forward").read().strip()}
        self.fails(b)

    def test_ipc_without_ipc_namespace_is_refused(self):
        b = self.bundle("true").without_namespace("ipc")
        b.linux["sysctl"] = {"kernel.msgmax": "65530"}
        self.fails(b)

    def test_dotdot_is_refused(self):
        b = self.bundle("true")
        b.linux["sysctl"] = {"net/../kernel/panic": "77"}
        self.fails(b)

    def test_absent_key_is_an_error(self):
        b = self.bundle("true")
        b.linux["sysctl"] = {"net.ipv4.no_such_thing": "1"}
        self.fails(b)


class NetDevices(RuntimeTest):

    @deviates(runc="1.1 has no netDevices", crun="has no netDevices before 1.22")
    def test_moved_with_its_addresses_and_renamed(self):
        name = "og%d" % (os.getpid() % 100000)
        # The device is made in a namespace of the test's own and the runtime is run in there: the host's network is not touched.
        b = self.bundle(sh="ip addr show inside0 2>&1; ifconfig inside0; ls /sys/class/net")
        b.linux["netDevices"] = {name: {"name": "inside0"}}
        script = ("ip link add %s type veth peer name ogpeer && ip link set ogpeer up && ip addr add 10.77.0.5/24 dev %s && ip link set %s up && %s; rc=$?; ip link show %s >/dev/null 2>&1 && echo STILL-HERE; exit $rc"
                  % (name, name, name, " ".join(self.argv("run", "--bundle", b.write(), self.cid())), name))
        r = subprocess.run(["unshare", "--net", "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        self.assertEqual(0, r.returncode, r.stdout)
        self.assertIn("10.77.0.5", r.stdout)
        self.assertIn("UP", r.stdout)
        self.assertNotIn("STILL-HERE", r.stdout)

    @deviates(runc="1.1 has no netDevices", crun="has no netDevices before 1.22")
    def test_absent_device_is_an_error(self):
        b = self.bundle("true")
        b.linux["netDevices"] = {"og-not-there": {}}
        self.fails(b, says="og-not-there")

    @deviates(runc="1.1 has no netDevices", crun="has no netDevices before 1.22")
    def test_without_network_namespace_is_an_error(self):
        b = self.bundle("true").without_namespace("network")
        b.linux["netDevices"] = {"lo": {"name": "x"}}
        self.fails(b)


class Labels(RuntimeTest):
    """Where the kernel lacks the module, asking for a label is an error and not a silent nothing."""

    @deviates(runc="ignores it", crun="ignores it")
    def test_apparmor_absent_is_an_error(self):
        if has("apparmor"):
            self.skipTest("needs apparmor to be absent")
        b = self.bundle("true")
        b.process["apparmorProfile"] = "some-profile"
        self.fails(b)

    @deviates(runc="ignores it", crun="ignores it")
    def test_selinux_absent_is_an_error(self):
        if has("selinux"):
            self.skipTest("needs selinux to be absent")
        b = self.bundle("true")
        b.process["selinuxLabel"] = "system_u:system_r:svirt_lxc_net_t:s0:c124,c675"
        self.fails(b)

    def test_mount_label_without_selinux_is_an_error(self):
        if has("selinux"):
            self.skipTest("needs selinux to be absent")
        b = self.bundle("true")
        b.linux["mountLabel"] = "system_u:object_r:svirt_sandbox_file_t:s0:c715,c811"
        self.fails(b)

    @needs("apparmor")
    def test_apparmor_profile(self):
        name = "onggi-test-%d" % os.getpid()
        text = "profile %s flags=(attach_disconnected) { file, capability, network, mount, umount, signal, ptrace, dbus, unix, deny /etc/passwd r, }\n" % name
        loaded = subprocess.run(["apparmor_parser", "-r"], input=text, text=True, stderr=subprocess.PIPE)
        self.assertEqual(0, loaded.returncode, loaded.stderr)
        self.addCleanup(subprocess.run, ["apparmor_parser", "-R"], input=text, text=True)
        b = self.bundle(sh="cat /proc/self/attr/current; cat /etc/passwd && echo READ")
        b.process["apparmorProfile"] = name
        r = self.run_bundle(b, check=False)
        self.assertIn(name + " (enforce)", r.out)
        self.assertNotIn("READ", r.out)

    @needs("apparmor")
    def test_apparmor_unknown_profile(self):
        b = self.bundle("true")
        b.process["apparmorProfile"] = "no-such-profile"
        self.fails(b)


class IntelRdt(RuntimeTest):

    def test_without_hardware_is_an_error(self):
        if has("resctrl"):
            self.skipTest("needs resctrl to be absent")
        b = self.bundle("true")
        b.linux["intelRdt"] = {"closID": "guaranteed", "l3CacheSchema": "L3:0=7f0"}
        self.fails(b)

    @needs("resctrl")
    def test_clos_is_made_and_removed(self):
        b = self.bundle("sleep", "1000")
        b.linux["intelRdt"] = {"closID": "onggi-test", "schemata": []}
        cid = self.create(b)
        self.assertTrue(os.path.isdir("/sys/fs/resctrl/onggi-test"))
        self.delete(cid, "--force")
        self.assertFalse(os.path.isdir("/sys/fs/resctrl/onggi-test"))


if __name__ == "__main__":
    unittest.main()
