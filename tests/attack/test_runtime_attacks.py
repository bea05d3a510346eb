"""Hostile bundles and processes against the runtime: the classes of SECURITY.md that have cost other runtimes a CVE.

Each test plants a canary on the host and looks afterwards whether it is as it was. A refusal is as good as containment: what counts is
that nothing outside the container was read, written, made or mounted.
"""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import time
import unittest

import onggi_test
from onggi_test import ConsoleSocket, RuntimeTest, Swapper, deviates, wait_until


class AttackTest(RuntimeTest):

    def setUp(self):
        super().setUp()
        self.canary = os.path.join(self.tmp, "canary")
        os.mkdir(self.canary)
        self.secret = os.path.join(self.canary, "secret")
        with open(self.secret, "w") as f:
            f.write("CANARY-SECRET\n")
        os.chmod(self.secret, 0o640)
        os.utime(self.secret, (1000, 1000))

    def assert_canary_intact(self):
        self.assertEqual(["secret"], os.listdir(self.canary))
        s = os.stat(self.secret)
        self.assertEqual((0o640, 0, 0, 1000), (stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid, int(s.st_mtime)))
        with open(self.secret) as f:
            self.assertEqual("CANARY-SECRET\n", f.read())
        with open("/proc/self/mountinfo") as f:
            self.assertNotIn(self.canary, f.read())

    def without_mount(self, bundle, *destinations):
        bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] not in destinations]
        return bundle


class OwnBinary(AttackTest):
    """A15; CVE-2016-9962, CVE-2019-5736: the runtime's file cannot be reached through /proc."""

    def digest(self):
        with open(shutil.which(onggi_test.RUNTIME), "rb") as f:
            return hashlib.sha256(f.read()).hexdigest()

    def test_program_is_proc_self_exe(self):
        """The container's program is a link to /proc/self/exe: the runtime would execute itself inside."""
        before = self.digest()
        for how in ("symlink", "script"):
            with self.subTest(how):
                b = self.bundle("/bin/evil")
                evil = os.path.join(b.rootfs, "bin/evil")
                if how == "symlink":
                    os.symlink("/proc/self/exe", evil)
                else:
                    with open(evil, "w") as f:
                        f.write("#!/proc/self/exe\n")
                    os.chmod(evil, 0o755)
                b.caps("CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE")
                self.run_bundle(b, check=False)
                self.assertEqual(before, self.digest())

    def test_written_through_proc_by_a_neighbour(self):
        """A process inside, root with CAP_SYS_PTRACE, tries to write every exe it can see while processes are started beside it."""
        before = self.digest()
        b = self.bundle(sh="while :; do for p in /proc/[0-9]*; do for t in exe task/*/exe; do (echo overwritten > $p/$t) 2>/dev/null; done; done; done")
        b.caps("CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN")
        cid = self.started(b)
        for _ in range(25):
            self.exec(cid, "true", check=False)
        self.assertEqual(before, self.digest())

    @deviates(runc="1.1: its init is a copy in a memfd, but readable", crun="as runc")
    def test_nothing_of_the_host_is_seen_through_proc(self):
        """CVE-2016-9962, CVE-2024-21626: root, cwd and fd of a process that is just entering lead nowhere outside."""
        b = self.bundle(sh="while :; do for p in /proc/[0-9]*; do cat $p/root%s $p/cwd%s $p/cwd/../../../../..%s 2>/dev/null; "
                           "for f in $p/fd/*; do cat $f/..%s $f%s $f/../../../../..%s 2>/dev/null; done; done; done" % ((self.secret,) * 6))
        b.caps("CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_SYS_CHROOT")
        cid = self.started(b)
        for _ in range(25):
            self.exec(cid, "true", check=False)
        self.assertNotIn("CANARY-SECRET", self.log(cid))


class WorkingDirectory(AttackTest):
    """A16; CVE-2024-21626: a working directory that is a leaked descriptor."""

    def test_cwd_is_a_descriptor(self):
        for n in list(range(3, 16)) + [100]:
            b = self.bundle(sh="cat ../../../../../../../..%s; cat ./..%s; ls" % (self.secret, self.secret))
            b.process["cwd"] = "/proc/self/fd/%d" % n
            with self.subTest(n):
                r = self.run_bundle(b, check=False)
                self.assertNotIn("CANARY-SECRET", r.out)
                self.assertNotEqual(0, r.rc)

    def test_exec_cwd_is_a_descriptor(self):
        cid = self.started(self.bundle("sleep", "1000"))
        for n in range(3, 12):
            with self.subTest(n):
                r = self.exec(cid, "/bin/sh", "-c", "cat ../../../../../../../..%s" % self.secret, options=["--cwd", "/proc/self/fd/%d" % n], check=False)
                self.assertNotIn("CANARY-SECRET", r.out)
                self.assertNotEqual(0, r.rc)

    def test_cwd_through_a_link_stays_inside(self):
        b = self.bundle(sh="pwd; cat secret")
        os.symlink(self.canary, os.path.join(b.rootfs, "way"))
        b.process["cwd"] = "/way"
        r = self.run_bundle(b, check=False)
        self.assertNotIn("CANARY-SECRET", r.out)
        self.assert_canary_intact()


class Devices(AttackTest):
    """A17; CVE-2025-31133, CVE-2025-52565: /dev comes with the image and its entries are links."""

    def evil_dev(self, b, names):
        shutil.rmtree(os.path.join(b.rootfs, "dev"))
        os.mkdir(os.path.join(b.rootfs, "dev"))
        for name in names:
            os.symlink(self.secret, os.path.join(b.rootfs, "dev", name))
        return self.without_mount(b, "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")

    def test_device_nodes_are_links(self):
        b = self.evil_dev(self.bundle(sh="echo gone > /dev/null; echo gone > /dev/zero; chmod 777 /dev/tty; true"),
                          ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "fd", "stdin", "stdout", "stderr", "core"])
        self.run_bundle(b, check=False)
        self.assert_canary_intact()

    def test_null_is_a_link_and_paths_are_masked(self):
        b = self.evil_dev(self.bundle(sh="cat /proc/timer_list /proc/keys; echo gone > /proc/keys; true"), ["null"])
        r = self.run_bundle(b, check=False)
        self.assertNotIn("CANARY-SECRET", r.out)
        self.assert_canary_intact()

    def test_console_is_a_link(self):
        b = self.evil_dev(self.bundle(sh="echo gone > /dev/console"), ["console", "pts"])
        b.process["terminal"] = True
        with ConsoleSocket(os.path.join(self.tmp, "console.sock")) as console:
            subprocess.run(self.argv("run", "--detach", "--console-socket", console.path, "--bundle", b.write(), self.cid()),
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
            time.sleep(0.2)
        self.assert_canary_intact()

    def test_listed_device_below_a_link(self):
        b = self.bundle("true")
        os.symlink(self.canary, os.path.join(b.rootfs, "way"))
        b.linux["devices"] = [{"path": "/way/dev", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]
        self.run_bundle(b, check=False)
        self.assert_canary_intact()


class Races(AttackTest):
    """A18; CVE-2019-16884, CVE-2021-30465, CVE-2023-27561, CVE-2025-52881: what is checked is swapped before it is used."""

    def race(self, prepare, rounds=40):
        b = self.bundle(sh="cat /proc/self/mountinfo; ls /")
        place = os.path.join(b.rootfs, "place")
        os.mkdir(place)
        link = os.path.join(b.rootfs, "link")
        os.symlink(self.canary, link)
        prepare(b)
        roots = []
        with Swapper(place, link) as swapper:
            for _ in range(rounds):
                r = self.run_bundle(b, check=False)
                self.assertNotIn("CANARY-SECRET", r.out)
                if r.rc == 0:
                    roots.append([x.split()[4] for x in r.out.splitlines() if " - " in x])
            wait_until(lambda: swapper.count >= 10000, "there were 10,000 swaps")
        self.assert_canary_intact()
        for mounts in roots:  # inside, nothing may have been put over the root or outside the two names
            self.assertEqual(1, mounts.count("/"))

    @deviates(runc="1.1.5 makes the directory outside")
    def test_mount_target(self):
        self.race(lambda b: b.mount("/place/target", options=["size=1m"]))

    @deviates(runc="1.1.5 makes the directory outside")
    def test_bind_target(self):
        source = os.path.join(self.tmp, "source")
        os.mkdir(source)
        self.race(lambda b: b.mount("/place/target", source, "bind", ["bind", "ro"]))

    def test_masked_and_readonly_path(self):
        def prepare(b):
            os.mkdir(os.path.join(b.rootfs, "place/inner"))
            b.linux["maskedPaths"] += ["/place/inner", "/place"]
            b.linux["readonlyPaths"] += ["/place"]
        self.race(prepare)

    def test_working_directory(self):
        def prepare(b):
            b.process["cwd"] = "/place"
            b.sh("cat secret ./secret ../secret; cat /proc/self/mountinfo")
        self.race(prepare)

    @deviates(runc="1.1.5 makes the node outside")
    def test_device(self):
        self.race(lambda b: b.linux.update(devices=[{"path": "/place/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]))

    @deviates(runc="1.1.5 makes the directory outside")
    def test_copy_up(self):
        self.race(lambda b: b.mount("/place", options=["tmpcopyup", "size=1m"]))

    @deviates(runc="1.1.5 makes the directory outside")
    def test_shared_volume(self):
        """Two mounts in one volume, the second below the first, while another container swaps names in the volume (CVE-2021-30465)."""
        volume = os.path.join(self.tmp, "volume")
        os.makedirs(os.path.join(volume, "sub"))
        os.symlink(self.canary, os.path.join(volume, "link"))
        b = self.bundle(sh="cat /proc/self/mountinfo")
        b.mount("/vol", volume, "bind", ["rbind"]).mount("/vol/sub/deep", options=["size=1m"])
        with Swapper(os.path.join(volume, "sub"), os.path.join(volume, "link")) as swapper:
            for _ in range(40):
                r = self.run_bundle(b, check=False)
                for line in r.out.splitlines():
                    where = line.split()[4]
                    self.assertTrue(where == "/" or where.startswith(("/proc", "/sys", "/dev", "/vol", self.canary)), line)
            wait_until(lambda: swapper.count >= 10000, "there were 10,000 swaps")
        self.assert_canary_intact()


class FakeProc(AttackTest):
    """CVE-2019-16884, CVE-2025-52881: writes that are meant for procfs must reach procfs."""

    def fake(self, b):
        """/proc comes with the image and every file that a runtime writes leads to the canary."""
        self.without_mount(b, "/proc")
        b.linux["maskedPaths"], b.linux["readonlyPaths"] = [], []
        for name in ("self/oom_score_adj", "self/attr/current", "self/attr/exec", "self/attr/apparmor/exec", "self/setgroups", "self/uid_map",
                     "self/loginuid", "thread-self/attr/exec", "sys/net/ipv4/ip_forward", "sys/kernel/msgmax", "sys/kernel/hostname"):
            path = os.path.join(b.rootfs, "proc", name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(self.secret, path)
        return b

    def test_sysctl_and_oom_score(self):
        b = self.fake(self.bundle(sh="echo ran"))
        b.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "65530"}
        b.process["oomScoreAdj"] = 500
        self.run_bundle(b, check=False)
        self.assert_canary_intact()

    def test_label(self):
        b = self.fake(self.bundle("true"))
        b.process["apparmorProfile"] = "unconfined"
        self.run_bundle(b, check=False)
        self.assert_canary_intact()

    @deviates(runc="cannot start without a real /proc")
    def test_exec_into_it(self):
        cid = self.started(self.fake(self.bundle("sleep", "1000")))
        spec = {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["true"], "env": ["PATH=/bin"], "oomScoreAdj": 600}
        path = os.path.join(self.tmp, "process.json")
        with open(path, "w") as f:
            json.dump(spec, f)
        self.runtime("exec", "--process", path, cid, check=False)
        self.assert_canary_intact()


class Identity(AttackTest):
    """A22; CVE-2022-24769, CVE-2024-40635: ids are strict 32-bit numbers, and what the image says about users is bounded."""

    @deviates(crun="wraps around", runc="takes the last 32-bit number")
    def test_ids_out_of_range(self):
        for bad in (1 << 32, -1, (1 << 32) - 1, 1 << 64, 0.5, "0", None, True):
            for key in ("uid", "gid"):
                with self.subTest("%s %r" % (key, bad)):
                    b = self.bundle("id")
                    b.process["user"][key] = bad
                    r = self.run_bundle(b, check=False)
                    if bad is None and r.rc == 0:  # null is "not given", which is 0 in the specification's own bindings
                        self.assertIn("uid=0", r.out)
                    else:
                        self.assertNotEqual(0, r.rc, str(r))

    @deviates(crun="wraps around", runc="wraps around")
    def test_exec_user_out_of_range(self):
        cid = self.started(self.bundle("sleep", "1000"))
        for bad in ("4294967296", "-1", "0:4294967296", "1e3", "0x10", "", "99999999999999999999"):
            with self.subTest(bad):
                r = self.exec(cid, "id", "-u", options=["--user", bad], check=False)
                self.assertTrue(r.rc != 0 or (bad == "" and r.out == "0\n"), str(r))

    @deviates(runc="a fifo blocks it", crun="a fifo blocks it")
    def test_passwd_is_a_trap(self):
        """HOME is looked up in the image's passwd: a fifo, an endless device, a link to the host's file."""
        for trap in ("fifo", "zero", "host", "directory"):
            with self.subTest(trap):
                b = self.bundle(sh="echo home=$HOME")
                b.process["env"] = ["PATH=/bin"]
                path = os.path.join(b.rootfs, "etc/passwd")
                os.unlink(path)
                if trap == "fifo":
                    os.mkfifo(path)
                elif trap == "zero":
                    os.symlink("/dev/zero", path)
                elif trap == "directory":
                    os.mkdir(path)
                else:
                    with open(self.secret, "w") as f:
                        f.write("root:x:0:0::/from-the-host:/bin/sh\n")
                    os.symlink(self.secret, path)
                started = time.monotonic()
                r = self.run_bundle(b, check=False, timeout=30)
                self.assertNotIn("/from-the-host", r.out)
                self.assertLess(time.monotonic() - started, 20)

    def test_inheritable_is_empty_by_default(self):
        out = self.output(self.bundle("cat", "/proc/self/status"))
        self.assertIn("CapInh:\t0000000000000000", out)


class Escalation(AttackTest):
    """A28; CVE-2022-0492: the classic ways from root inside to root outside, under the default configuration."""

    def test_core_pattern_and_release_agent(self):
        with open("/proc/sys/kernel/core_pattern") as f:
            before = f.read()
        b = self.bundle(sh="echo '|/tmp/x' > /proc/sys/kernel/core_pattern; echo 0 > /proc/sys/vm/overcommit_memory; echo c > /proc/sysrq-trigger; "
                           "for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/release_agent; do echo /x > $f; done; "
                           "mkdir /tmp/c; mount -t cgroup -o memory c /tmp/c && echo MOUNTED; mount -t cgroup2 c /tmp/c && echo MOUNTED; "
                           "unshare -UrmC sh -c 'mount -t cgroup -o memory c /tmp/c && echo > /tmp/c/release_agent && echo AGENT'; "
                           "echo 1 > /sys/kernel/uevent_helper; true")
        r = self.run_bundle(b, check=False)
        self.assertNotIn("MOUNTED", r.out)
        self.assertNotIn("AGENT", r.out)
        with open("/proc/sys/kernel/core_pattern") as f:
            self.assertEqual(before, f.read())

    def test_host_device_by_mknod(self):
        b = self.bundle(sh="mknod /tmp/d b 254 0 && head -c 1 /tmp/d >/dev/null && echo READ-DISK; mknod /tmp/m c 1 1 && head -c 1 /tmp/m >/dev/null && echo READ-MEM; true")
        b.caps("CAP_MKNOD", "CAP_DAC_OVERRIDE")
        r = self.run_bundle(b, check=False)
        self.assertNotIn("READ-", r.out)

    def test_chroot_escape(self):
        b = self.bundle(sh="mkdir -p /tmp/a; cd /; chroot /tmp/a /bin/true; for i in 1 2 3 4 5 6 7 8 9; do cd ..; done; cat .%s" % self.secret)
        b.caps("CAP_SYS_CHROOT")
        self.assertNotIn("CANARY-SECRET", self.run_bundle(b, check=False).out)

    def test_umount_does_not_uncover_the_host(self):
        b = self.bundle(sh="umount -l /proc; umount -l /sys; umount -l /dev; umount -l /; cat /..%s %s; ls /" % (self.secret, self.secret))
        b.caps("CAP_SYS_ADMIN")
        self.assertNotIn("CANARY-SECRET", self.run_bundle(b, check=False).out)


class Configuration(AttackTest):
    """Input that is built to break the reader: an error, quickly, and no crash."""

    def refused(self, text):
        b = self.bundle("true")
        b.write()
        with open(os.path.join(b.path, "config.json"), "w") as f:
            f.write(text)
        started = time.monotonic()
        r = self.runtime("run", "--bundle", b.path, self.cid(), check=False, timeout=60)
        self.assertGreater(r.rc, 0)
        self.assertLess(r.rc, 128, "killed by a signal: " + str(r))
        self.assertLess(time.monotonic() - started, 30)
        return r

    def test_nesting(self):
        self.refused("[" * 200000)
        self.refused('{"a":' * 100000)
        self.refused('{"ociVersion":"1.0.2","annotations":' + "[" * 50000 + "]" * 50000 + "}")

    @deviates(runc="cuts at the NUL", crun="cuts at the NUL")
    def test_not_utf8_and_nul(self):
        base = json.dumps(onggi_test.default_config(["true"]))
        self.refused(base.replace('"true"', '"tr\\u0000ue"'))
        self.refused(base.replace('"onggi-test"', '"a\\u0000b"'))

    @deviates(runc="makes them, for minutes", crun="makes them, for minutes")
    def test_many_mounts(self):
        config = onggi_test.default_config(["true"])
        config["mounts"] += [{"destination": "/m%d" % i, "type": "tmpfs", "source": "t"} for i in range(300000)]
        self.refused(json.dumps(config))

    @deviates(crun="wraps around")
    def test_numbers(self):
        base = json.dumps(onggi_test.default_config(["true"]))
        self.refused(base.replace('"soft": 1024', '"soft": -1'))
        self.refused(base.replace('"soft": 1024', '"soft": 1e999'))
        self.refused(base.replace('"soft": 1024', '"soft": 99999999999999999999999'))


if __name__ == "__main__":
    unittest.main()
