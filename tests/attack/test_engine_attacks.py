"""A01-A30 of SECURITY.md, each as a hostile container against the engine's default profile: `onggi run` with no option that relaxes anything.

Not here: the network half of A04-A05 and A12 (bridges), A19 (cp), A23-A26 (archives and registries), A27 (the API).
The last class runs the attacks marked * against Docker's own defaults, where each succeeds: that is what the profile is for.
"""

import errno
import glob
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import unittest

import hostile
import onggi_test
from hostile import HostileTest
from onggi_test import needs, wait_until

# System call numbers of x86_64 and, for the 32-bit gate, of i386.
MKNODAT, SOCKET, UNSHARE, IOCTL, BPF, KEYCTL, ADD_KEY, IO_URING, USERFAULTFD, PERF, CLONE3 = 259, 41, 272, 16, 321, 250, 248, 425, 323, 298, 435
SOCKETCALL_386, SOCKET_386, GETPID_386 = 102, 359, 20
AF_UNIX, AF_INET, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK = 1, 2, 16, 17, 38, 40
NETLINK_ROUTE, NETLINK_XFRM, NETLINK_NETFILTER = 0, 6, 12
RAW, DGRAM, STREAM, SEQPACKET = 3, 2, 1, 5
RANGE_BASE, RANGE_SIZE = 0x60000000, 65536
TIOCSTI, TIOCLINUX, TIOCGWINSZ = 0x5412, 0x541C, 0x5413


class AttackTest(HostileTest):

    def syscall(self, *numbers, gate="syscall", options=()):
        """(result, errno) of one raw system call inside."""
        value, error = self.attack("probe", gate, *map(str, numbers), options=options).out.split()
        return int(value), int(error)

    def syscalls(self, rows, gate="syscall", options=()):
        """The errnos (0: it worked) of several raw calls in one container."""
        script = "; ".join("probe %s %s" % (gate, " ".join(map(str, row))) for row in rows)
        out = self.attack_sh(script, options=options).out
        return [int(line.split()[1]) for line in out.splitlines()]

    def canary(self):
        path = os.path.join(self.tmp, "canary")
        with open(path, "w") as f:
            f.write("CANARY-SECRET\n")
        os.chmod(path, 0o644)
        os.utime(path, (1000, 1000))
        return path

    def assert_canary_intact(self, path):
        with open(path) as f:
            self.assertEqual("CANARY-SECRET\n", f.read())
        s = os.stat(path)
        self.assertEqual((0o100644, 0, 0, 1000), (s.st_mode, s.st_uid, s.st_gid, int(s.st_mtime)))

    def pid_of(self, name):
        return self.state_of(name)["pid"]


class Identity(AttackTest):

    def test_a01_root_inside_is_nobody_outside(self):
        """Every process of the container, exec included, runs with ids of the container's own range; each container has another range."""
        seen = []
        for name in ("one", "two"):
            self.background(name, "sleep", "1000")
            exec_id = self.in_container(name, "cat", "/proc/self/uid_map").out.split()
            self.assertEqual("0", exec_id[0])
            with open("/proc/%d/status" % self.pid_of(name)) as f:
                ids = [int(x) for x in re.search(r"Uid:\s+(.*)", f.read()).group(1).split()]
            with open("/proc/%d/uid_map" % self.pid_of(name)) as f:
                inside, base, size = map(int, f.read().split())
            self.assertEqual((0, RANGE_SIZE), (inside, size))
            self.assertGreaterEqual(base, RANGE_BASE)
            self.assertEqual([base] * 4, ids)
            seen.append(base)
        self.assertNotEqual(seen[0], seen[1])
        self.assertEqual(0, (seen[0] - seen[1]) % RANGE_SIZE, "ranges must not overlap")

    def test_a01_files_written_by_its_root_are_not_the_hosts(self):
        """Through a host directory it is that directory's owner, and no setuid file of host root can be made."""
        directory = os.path.join(self.tmp, "shared")
        os.mkdir(directory)
        os.chown(directory, 4242, 4242)
        self.attack_sh("cp /bin/busybox /shared/suid && chmod 4755 /shared/suid && id -u", options=["-v", directory + ":/shared"])
        s = os.stat(os.path.join(directory, "suid"))
        self.assertEqual((4242, 4242), (s.st_uid, s.st_gid))

    def test_a01_a_directory_of_host_root_needs_a_word(self):
        directory = os.path.join(self.tmp, "rooted")
        os.mkdir(directory)
        r = self.attack("true", options=["-v", directory + ":/shared"], check=False)
        self.assertEqual(125, r.rc, str(r))
        self.assertIn("belongs to the host's root", r.err)
        self.assertEqual("0\n", self.attack("id", "-u", options=["-v", directory + ":/shared:ro"]).out)

    def test_a22_user_ids_out_of_range(self):
        for user in ("4294967296", "-1", "4294967295", "0:4294967296", "0:-1", "1e3", "0x0", "99999999999999999999", "\n0"):
            with self.subTest(user):
                r = self.attack("id", options=["--user", user], check=False)
                self.assertEqual((125, ""), (r.rc, r.out), str(r))
                self.assertTrue(r.err.strip())
        # The same from an image, where nobody typed it.
        for number, user in enumerate(("4294967296", "-1", "4294967295")):
            with self.subTest("image " + user):
                self.add_image("evil%d" % number, {"Cmd": ["/bin/id"], "User": user})
                r = self.onggi(*self.run_options("--rm"), "evil%d" % number, check=False)
                self.assertEqual((125, ""), (r.rc, r.out), str(r))
        # An id that fits the number but not the container's 65,536 must not become a neighbour's.
        r = self.attack("id", options=["--user", str(RANGE_SIZE)], check=False)
        self.assertNotEqual(0, r.rc, str(r))

    def test_a22_hostile_passwd(self):
        """The image's passwd is data: a FIFO, a link outwards, a huge line do not hang, leak or confuse the engine."""
        canary = self.canary()
        for kind in ("fifo", "link", "huge", "overflow"):
            def change(tree, kind=kind):
                passwd = os.path.join(tree, "etc/passwd")
                os.remove(passwd)
                if kind == "fifo":
                    os.mkfifo(passwd)
                elif kind == "link":
                    os.symlink("../../../../../../../.." + canary, passwd)
                else:
                    with open(passwd, "w") as f:
                        f.write("a" * (64 << 20) if kind == "huge" else "evil:x:4294967296:0::/:/bin/sh\n")
            with self.subTest(kind):
                self.add_image(kind, change=change)
                r = self.onggi(*self.run_options("--rm", "--user", "evil"), kind, "id", check=False, timeout=30)
                self.assertEqual((125, ""), (r.rc, r.out), str(r)[:2000])
                self.assertNotIn("CANARY", r.err)


class Exhaustion(AttackTest):
    """Each attacker runs in a cgroup of the test's, and what it takes is counted."""

    def drain(self, name, kind, limit, options=()):
        """Starts an attacker that takes up to `limit`; (count, errno) when it got no more."""
        self.background(name, "hostile", "drain", kind, str(limit), options=options)
        count, error = self.wait_logs(name, lambda t: t.count("\n"), "%s has drained %s" % (name, kind)).split()
        return int(count), int(error)

    def test_a02_fork_bomb_stops_at_the_cap(self):
        """1,024 tasks, also where the slice above has room for more; the neighbour can fork."""
        self.limit_parent("pids", max=1400)
        count, error = self.drain("bomb", "fork", 1300)
        # init, the attacker itself and the engine's init share the cap.
        self.assertEqual(errno.EAGAIN, error)
        self.assertTrue(1000 <= count < 1024, count)
        self.assertEqual("ok\n", self.attack("hostile", "take", "fork").out)
        self.onggi("rm", "-f", "bomb")

    def test_a03_inotify_drain_leaves_the_neighbours_quota(self):
        """Also when both are the same user inside: the quota belongs to the creator of the user namespace."""
        for user in ("0", "12345"):
            name = "drain" + user
            count, error = self.drain(name, "inotify", 4000, options=["--user", user])
            self.assertEqual(errno.EMFILE, error)
            self.assertGreater(count, 0)
            self.assertEqual("ok\n", self.attack("hostile", "take", "inotify", options=["--user", user]).out)
            self.assertEqual("ok\n", subprocess.run([onggi_test.helper("onggi-test-hostile"), "take", "inotify"], stdout=subprocess.PIPE, text=True).stdout)

    @needs("disk_quota")
    def test_a14_filling_the_disk_stops_at_the_quota(self):
        """The writable layer has a size of its own: ENOSPC for the container, nothing for the host."""
        free = os.statvfs(self.tmp)
        done, error = map(int, self.attack("hostile", "fill", "/big", str(400 << 20), options=["--storage-opt", "size=64m"]).out.split())
        self.assertEqual(errno.ENOSPC, error)
        self.assertTrue(20 << 20 <= done <= 64 << 20, done)
        after = os.statvfs(self.tmp)
        self.assertLess((free.f_bavail - after.f_bavail) * free.f_frsize, 200 << 20)

    def test_a14_memory_file_systems_are_bounded(self):
        """/dev/shm and --tmpfs: 64 MiB each; /dev too."""
        for path in ("/dev/shm/big", "/scratch/big", "/dev/big"):
            with self.subTest(path):
                done, error = map(int, self.attack("hostile", "fill", path, str(200 << 20), options=["--tmpfs", "/scratch", "--memory", "300m"]).out.split())
                self.assertEqual(errno.ENOSPC, error)
                self.assertLessEqual(done, 64 << 20)

    def test_a30_ptys_are_capped(self):
        count, error = self.drain("ptys", "pty", 4000)
        self.assertEqual((256, errno.ENOSPC), (count, error))
        fd = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
        os.close(fd)
        self.assertEqual("ok\n", self.attack("hostile", "take", "pty").out)

    def test_pipes_are_charged_to_the_container(self):
        """Pipe buffers beyond the soft limit per user shrink to a page; the neighbour's stay large."""
        count, _ = self.drain("pipes", "pipe", 300, options=["--memory", "256m", "--user", "12345"])
        self.assertGreater(count, 0)
        self.assertEqual("ok\n", self.attack("hostile", "take", "pipe", options=["--user", "12345"]).out)

    def test_memory_is_bounded_without_a_flag(self):
        """Half of the machine at most, and no swap beyond it."""
        self.background("idle", "sleep", "1000")
        with open("/proc/meminfo") as f:
            total = int(f.readline().split()[1]) * 1024
        v2 = onggi_test.cgroup_mode() == "v2"
        limit = int(self.cgroup_file(self.pid_of("idle"), "memory", "memory.max" if v2 else "memory.limit_in_bytes"))
        self.assertTrue(0 < limit <= total // 2 + 4096, limit)
        self.assertEqual("1024", self.cgroup_file(self.pid_of("idle"), "pids", "pids.max"))

    def test_a13_a_flood_of_log_is_bounded(self):
        """16 MiB x 3; $ONGGI_LOG_FLOOD_MB for more. What is kept is the end, and the service was never blocked."""
        megabytes = int(os.environ.get("ONGGI_LOG_FLOOD_MB", "160"))
        self.onggi(*self.run_options("--name", "flood", "-d"), "busy", "hostile", "say", str(megabytes << 20))
        self.assertEqual("0\n", self.onggi("wait", "flood", timeout=600).out)
        files = glob.glob(os.path.join(self.store, "containers", "*", "log*"))
        sizes = {os.path.basename(f): os.path.getsize(f) for f in files}
        self.assertTrue(sizes)
        self.assertLessEqual(sum(sizes.values()), 48 << 20, sizes)
        last = self.onggi("logs", "--tail", "1", "flood").out
        self.assertRegex(last, r"^0\d{11} 0+$")


class Kernel(AttackTest):
    """What a filter, capabilities and namespaces refuse, by errno."""

    def test_a04_no_packet_socket(self):
        self.assertEqual((-1, errno.EAFNOSUPPORT), self.syscall(SOCKET, AF_PACKET, RAW, 0x0300))
        self.assertEqual((-1, errno.EAFNOSUPPORT), self.syscall(SOCKET, AF_PACKET, DGRAM, 0x0608))
        # Raw IP needs a capability that is not given.
        self.assertEqual((-1, errno.EPERM), self.syscall(SOCKET, AF_INET, RAW, 1))

    @unittest.skipUnless(os.uname().machine == "x86_64", "needs x86_64 to be present")
    def test_a05_the_32_bit_gate_is_shut(self):
        """Through int 0x80 the family of socketcall lies behind a pointer; no 32-bit call is answered at all."""
        for row in ((GETPID_386,), (SOCKET_386, AF_ALG, SEQPACKET, 0), (SOCKETCALL_386, 1, 0)):
            r = self.attack("probe", "syscall32", *map(str, row), check=False)
            words = r.out.split()
            if words:  # refused by errno; a kill by signal is as good
                self.assertEqual("-1", words[0], r)
            else:
                self.assertGreaterEqual(r.rc, 128, str(r))

    def test_a06_xfrm_and_netfilter(self):
        self.assertEqual(str(errno.EPROTONOSUPPORT), self.attack("hostile", "xfrm").out.strip())
        rows = [(SOCKET, AF_NETLINK, RAW, p) for p in range(32)]
        answers = self.syscalls(rows)
        self.assertEqual({0: 0, 4: 0, 15: 0}, {p: e for p, e in enumerate(answers) if e == 0})
        self.assertEqual({errno.EPROTONOSUPPORT}, {e for e in answers if e})

    def test_a07_high_bits_of_the_family(self):
        """The kernel reads an int: the upper half must not carry a denied family past the filter, nor deny an allowed one."""
        rows = [(SOCKET, high | family, kind, protocol)
                for high in (0, 1 << 32, 0xdeadbeef << 32) for family, kind, protocol in
                ((AF_ALG, SEQPACKET, 0), (AF_PACKET, RAW, 0), (AF_VSOCK, STREAM, 0), (AF_NETLINK, RAW, NETLINK_XFRM), (AF_NETLINK, RAW, (1 << 32) | NETLINK_XFRM),
                 (AF_UNIX, STREAM, 0))]
        refused = [errno.EAFNOSUPPORT] * 3 + [errno.EPROTONOSUPPORT] * 2 + [0]
        self.assertEqual(refused * 3, self.syscalls(rows))

    def test_a08_every_other_family(self):
        answers = self.syscalls([(SOCKET, family, STREAM, 0) for family in range(64)] + [(SOCKET, AF_ALG, SEQPACKET, 0)])
        self.assertEqual(errno.EAFNOSUPPORT, answers[-1])
        for family, error in enumerate(answers[:-1]):
            if family not in (1, 2, 10, 16):
                self.assertEqual(errno.EAFNOSUPPORT, error, "family %d" % family)
        self.assertEqual([0, 0], [answers[1], answers[2]])

    def test_a09_no_namespace_inside(self):
        flags = (0x10000000, 0x20000, 0x40000000, 0x08000000, 0x20000000, 0x04000000, 0x02000000, 0x80)
        answers = self.syscalls([(UNSHARE, f) for f in flags] + [(UNSHARE, 0x10000000 | 1 << 40), (UNSHARE, 0x400)])
        self.assertEqual([errno.EPERM] * 9 + [0], answers)
        self.assertEqual((-1, errno.ENOSYS), self.syscall(CLONE3, 0, 0))
        # clone with CLONE_NEWUSER; flags are the first argument.
        self.assertEqual((-1, errno.EPERM), self.syscall(56, 0x10000000 | 17, 0, 0, 0, 0))
        r = self.attack("unshare", "-r", "id", check=False)
        self.assertNotEqual(0, r.rc)

    def test_a10_not_built_in(self):
        calls = (IO_URING, 426, 427, BPF, KEYCTL, ADD_KEY, 249, USERFAULTFD, PERF)
        self.assertEqual([errno.ENOSYS] * len(calls), self.syscalls([(n, 0, 0, 0, 0, 0) for n in calls]))

    def test_a11_no_device_nodes(self):
        """mknod of the host's disk, of a character device, in any directory that a container has."""
        major, minor = os.major(os.stat("/tmp").st_dev), os.minor(os.stat("/tmp").st_dev)
        device = (major << 8) | minor
        rows = [(MKNODAT, -100, "s:" + where, mode, number) for where in ("/d", "/dev/d", "/tmp/d", "/dev/shm/d")
                for mode, number in ((0o60666, device), (0o20666, 0x0101))]
        rows = [tuple((x if not isinstance(x, int) or x >= 0 else x & 0xffffffffffffffff) for x in row) for row in rows]
        self.assertEqual([errno.EPERM] * len(rows), self.syscalls(rows))
        # A FIFO is no device.
        self.assertEqual("prw", self.attack_sh("mkfifo /tmp/f; stat -c %A /tmp/f").out[:3])

    def test_a11_a_device_node_of_the_image_opens_nothing(self):
        self.add_image("devices", change=lambda tree: os.mknod(os.path.join(tree, "disk"), 0o60666, os.stat("/tmp").st_dev))
        r = self.onggi(*self.run_options("--rm"), "devices", "/bin/sh", "-c", "head -c 16 /disk | wc -c; echo x > /disk", check=False)
        self.assertEqual("0\n", r.out, str(r))
        self.assertIn("denied" if "denied" in r.err else "permitted", r.err)

    def test_a28_core_pattern_and_release_agent(self):
        with open("/proc/sys/kernel/core_pattern") as f:
            before = f.read()
        script = ("for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hotplug /proc/sysrq-trigger /proc/sys/fs/binfmt_misc/register "
                  "/proc/sys/vm/drop_caches /sys/kernel/uevent_helper /sys/kernel/mm/transparent_hugepage/enabled; do (echo '|/tmp/x' > $f) 2>/dev/null && echo wrote $f; done; "
                  "for f in $(find /sys/fs/cgroup -maxdepth 3 2>/dev/null -name 'release_agent' -o -maxdepth 3 -name 'notify_on_release' -o -maxdepth 3 -name 'devices.allow' "
                  "-o -maxdepth 3 -name 'cgroup.procs' -o -maxdepth 3 -name 'memory.limit_in_bytes' -o -maxdepth 3 -name 'pids.max'); do (echo 1 > $f) 2>/dev/null && echo wrote $f; done; "
                  "ls -d /sys/fs/cgroup/*/release_agent 2>/dev/null; mount -t cgroup -o rdma none /mnt 2>/dev/null && echo mounted; mount -t tmpfs none /mnt 2>/dev/null && echo mounted; "
                  "mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted; mount -o remount,rw /proc/sys 2>/dev/null && echo remounted; echo end")
        self.assertEqual("end\n", self.attack_sh(script.replace("$(find", "$(/bin/busybox find")).out)
        with open("/proc/sys/kernel/core_pattern") as f:
            self.assertEqual(before, f.read())

    def test_a29_typing_into_the_terminal(self):
        """TIOCSTI and TIOCLINUX, plain and with high bits, on a real terminal; other ioctls of terminals work."""
        rows = [(IOCTL, 0, high | request, "s:x") for high in (0, 1 << 32, 0xffffffff << 32) for request in (TIOCSTI, TIOCLINUX)]
        script = "; ".join("probe syscall %s" % " ".join(map(str, r)) for r in rows) + "; stty -a 2>/dev/null | head -1"
        r = self.onggi(*self.run_options("--rm", "-t"), "busy", "/bin/sh", "-c", script)
        lines = r.out.replace("\r", "").splitlines()
        self.assertEqual(["-1 %d" % errno.EPERM] * 6, lines[:6], str(r))
        self.assertIn("speed", lines[6])

    def test_masked_files_tell_nothing(self):
        script = "for f in kallsyms kcore keys timer_list interrupts diskstats config.gz kmsg; do [ -e /proc/$f ] && head -c 64 /proc/$f 2>/dev/null | wc -c; done; ls -A /sys/firmware | wc -l"
        self.assertEqual({"0"}, set(self.attack_sh(script).out.split()))

    def test_capabilities_are_the_eleven(self):
        out = self.attack_sh("grep -E 'Cap(Bnd|Eff|Prm|Amb|Inh)|NoNewPrivs|Seccomp:' /proc/self/status").out
        rows = dict(line.split(":\t") for line in out.splitlines())
        bits = sum(1 << n for n in (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31))
        self.assertEqual({bits}, {int(rows[k], 16) for k in ("CapBnd", "CapEff", "CapPrm")})
        self.assertEqual((0, 0, "1", "2"), (int(rows["CapAmb"], 16), int(rows["CapInh"], 16), rows["NoNewPrivs"].strip(), rows["Seccomp"].strip()))


class Escape(AttackTest):

    def digests(self):
        found = {}
        for path in (hostile.ONGGI, onggi_test.RUNTIME, os.path.join(os.path.dirname(os.path.dirname(hostile.ONGGI)), "libexec/onggi/onggi-init")):
            with open(path, "rb") as f:
                found[path] = hashlib.sha256(f.read()).hexdigest()
        return found

    def test_a15_the_engines_programs_cannot_be_overwritten(self):
        """Through every exe that /proc shows while commands enter the container; and as its own entry point."""
        before = self.digests()
        self.background("writer", "/bin/sh", "-c",
                        "while :; do for p in /proc/[0-9]*; do for t in exe task/*/exe; do (echo overwritten > $p/$t) 2>/dev/null && echo WROTE $p/$t; done; done; done")
        for _ in range(12):
            self.in_container("writer", "true", check=False)
        self.assertNotIn("WROTE", self.onggi("logs", "writer").out)
        self.assertEqual(before, self.digests())
        for name, entry in (("own", "/proc/self/exe"), ("script", "/evil")):
            def change(tree):
                with open(os.path.join(tree, "evil"), "w") as f:
                    f.write("#!/proc/self/exe\n")
                os.chmod(os.path.join(tree, "evil"), 0o755)
            self.add_image(name, {"Entrypoint": [entry]}, change)
            self.onggi(*self.run_options("--rm", "--init=false"), name, check=False, timeout=30)
            self.assertEqual(before, self.digests())
        # The init program is bound into the container: read-only, whatever is tried.
        r = self.attack_sh("echo x > /dev/onggi-init; rm /dev/onggi-init; mv /dev/onggi-init /dev/x; chmod 777 /dev/onggi-init; echo done", check=False)
        self.assertEqual("done\n", r.out, str(r))
        self.assertEqual(before, self.digests())

    def test_a16_a_working_directory_that_is_a_descriptor(self):
        canary = self.canary()
        for n in list(range(3, 14)) + [100]:
            with self.subTest(n):
                r = self.attack_sh("cat ../../../../../../../..%s ./..%s; ls" % (canary, canary), options=["--workdir", "/proc/self/fd/%d" % n], check=False)
                self.assertNotEqual(0, r.rc, str(r))
                self.assertNotIn("CANARY", r.out)
        self.background("cwd", "sleep", "1000")
        for n in range(3, 10):
            r = self.onggi("exec", "--workdir", "/proc/self/fd/%d" % n, "cwd", "cat", "../../../../../../../.." + canary, check=False)
            self.assertNotEqual(0, r.rc, str(r))
            self.assertNotIn("CANARY", r.out)
        self.assert_canary_intact(canary)

    def test_a17_dev_of_the_image_is_made_of_links(self):
        """CVE-2025-31133: /dev, its entries and the engine's own targets are links to a file of the host."""
        canary = self.canary()
        outward = "../../../../../../../.." + canary

        def link_entries(tree):
            for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "console", "onggi-init", "pts", "shm", "mqueue"):
                os.symlink(outward, os.path.join(tree, "dev", name))
            for name in ("hosts", "hostname", "resolv.conf"):
                os.symlink(outward, os.path.join(tree, "etc", name))
        self.add_image("links", change=link_entries)
        r = self.onggi(*self.run_options("--rm"), "links", "/bin/sh", "-c",
                       "echo x > /dev/null; stat -c %t:%T /dev/null; echo evil > /etc/hosts; echo evil > /etc/hostname; cat /etc/resolv.conf", check=False)
        self.assert_canary_intact(canary)
        self.assertNotIn("CANARY", r.out)
        if r.rc == 0:
            self.assertIn("1:3", r.out)
        for directory in ("dev", "proc", "sys", "etc"):
            def link_whole(tree, directory=directory):
                shutil.rmtree(os.path.join(tree, directory))
                os.symlink("../../../../../../../.." + self.tmp, os.path.join(tree, directory))
            self.add_image("whole-" + directory, change=link_whole)
            before = sorted(os.listdir(self.tmp))
            with self.subTest(directory):
                self.onggi(*self.run_options("--rm"), "whole-" + directory, "/bin/sh", "-c", "id", check=False)
                self.assertEqual(before, sorted(os.listdir(self.tmp)))
                self.assert_canary_intact(canary)

    def test_a18_a_mount_target_that_is_swapped(self):
        """Two containers share a volume; one swaps a directory for a link outwards as fast as it can while the other is started with
        a mount on it. CVE-2021-30465. $ONGGI_SWAPS starts, 40 by default (the swapper turns thousands of times meanwhile)."""
        canary_dir = os.path.join(self.tmp, "target")
        os.mkdir(canary_dir)
        with open(os.path.join(canary_dir, "secret"), "w") as f:
            f.write("CANARY-SECRET\n")
        outward = "../../../../../../../.." + canary_dir
        self.onggi("volume", "create", "shared")
        self.background("swapper", "/bin/sh", "-c", "mkdir -p /v/a; n=0; while :; do mv /v/a /v/b; ln -s %s /v/a; rm /v/a; mv /v/b /v/a; n=$((n+1)); "
                        "[ $((n %% 50)) = 0 ] && echo $n; done" % shlex.quote(outward), options=["-v", "shared:/v"])
        for _ in range(int(os.environ.get("ONGGI_SWAPS", "40"))):
            self.attack_sh("cat /v/a/secret 2>/dev/null; echo evil > /v/a/evil", options=["-v", "shared:/v", "--tmpfs", "/v/a", "--tmpfs", "/v/a/deep"], check=False)
        turns = int(self.wait_logs("swapper", lambda t: t.strip(), "it has swapped").split()[-1])
        self.assertGreater(turns, 50)
        self.assertEqual(["secret"], os.listdir(canary_dir))
        with open("/proc/self/mountinfo") as f:
            self.assertNotIn(canary_dir, f.read())

    def test_a20_programs_of_the_image_are_never_executed_by_the_engine(self):
        """The image brings its own xz, tar, cp, mount, ps, sh and a C library that reports: none runs outside its process."""
        def set_traps(tree):
            for name in ("xz", "gzip", "tar", "cp", "mount", "ps", "newuidmap", "runc", "onggi", "onggi-runtime", "nsenter", "getent"):
                path = os.path.join(tree, "usr/bin", name)
                with open(path, "w") as f:
                    f.write("#!/bin/sh\necho \"$0 as $(id -u)\" >> /trapped\n")
                os.chmod(path, 0o755)
        self.add_image("traps", {"Cmd": ["/bin/sleep", "1000"], "Env": ["PATH=/usr/bin:/bin", "LD_PRELOAD=/evil.so"]}, set_traps)
        self.onggi(*self.run_options("-d", "--name", "trap"), "traps")
        for command in (["ps"], ["logs", "trap"], ["inspect", "trap"], ["top", "trap"], ["stats", "--no-stream", "trap"], ["diff", "trap"], ["export", "-o", self.tmp + "/out.tar", "trap"],
                        ["exec", "trap", "true"], ["pause", "trap"], ["unpause", "trap"]):
            self.onggi(*command, check=False)
        self.assertEqual("absent\n", self.in_container("trap", "/bin/sh", "-c", "[ -e /trapped ] && cat /trapped || echo absent").out)

    def test_a21_labels_and_annotations_of_the_image_set_no_policy(self):
        labels = {"io.kubernetes.cri-o.Devices": "/dev/sda", "run.oci.seccomp_bpf_data": "AAAA", "io.onggi.privileged": "true", "onggi.privileged": "1",
                  "org.systemd.property.DeviceAllow": "[('/dev/sda','rwm')]", "run.oci.keep_original_groups": "1", "run.oci.handler": "krun",
                  "io.containers.autoupdate": "registry", "devices": "all", "security.privileged": "true", "hostUserNamespace": "true"}
        self.add_image("labelled", {"Cmd": ["/bin/sh"], "Labels": labels, "Env": ["PATH=/bin", "ONGGI_ROOT=/", "ONGGI_PRIVILEGED=1"]})
        script = "grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; cat /proc/self/uid_map | tr -s ' ' | cut -d' ' -f2,4; ls /dev"
        plain = self.attack_sh(script).out
        self.assertEqual(plain, self.onggi(*self.run_options("--rm"), "labelled", "/bin/sh", "-c", script).out)


@needs("dockerd", "cgroup_v1")
class AgainstDocker(AttackTest):
    """The starred attacks against Docker's own default profile: each succeeds there. If one fails, the star in SECURITY.md is wrong."""

    check_leaks = False  # dockerd keeps cgroups and files of its own; they are removed below

    def setUp(self):
        super().setUp()
        self.socket = self.tmp + "/docker.sock"
        log = open(self.tmp + "/dockerd.log", "w")
        self.addCleanup(log.close)
        argv = ["dockerd", "--data-root", self.tmp + "/data", "--exec-root", self.tmp + "/exec", "--pidfile", self.tmp + "/docker.pid", "--host", "unix://" + self.socket,
                "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver", "vfs", "--cgroup-parent", self.parent]
        self.limit_parent("pids", max=1400)  # the exhaustion below ends here, not at the host's limits
        self.limit_parent("memory", limit_in_bytes=1 << 30)
        self.daemon = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.addCleanup(self.end_daemon)
        wait_until(lambda: self.docker("version", check=False).rc == 0, "dockerd answers", timeout=120, interval=0.2)
        archive = os.path.join(self.tmp, "image.tar")
        subprocess.run(["tar", "-C", self.tree, "-cf", archive, "."], check=True)
        self.docker("import", archive, "busy")

    def end_daemon(self):
        for cid in self.docker("ps", "-aq", check=False).out.split():
            self.docker("rm", "-f", cid, check=False)
        self.daemon.terminate()
        try:
            onggi_test.wait_reaping(self.daemon, timeout=30)
        except subprocess.TimeoutExpired:
            pass
        for pid, _ in onggi_test.descendants(self.daemon.pid):
            try:
                os.kill(pid, 9)
            except OSError:
                pass
        hostile.end_process(self.daemon)

    def docker(self, *args, check=True):
        argv = ["docker", "--host", "unix://" + self.socket, *args]
        with open(self.tmp + "/docker.out", "w+") as out, open(self.tmp + "/docker.err", "w+") as err:
            p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            rc = onggi_test.wait_reaping(p, timeout=180)
            out.seek(0)
            err.seek(0)
            result = onggi_test.Result(argv, rc, out.read(), err.read())
        if check:
            self.assertEqual(0, rc, str(result))
        return result

    def run_docker(self, *command, options=(), check=True):
        return self.docker("run", "--rm", "--network", "none", *options, "busy", *command, check=check)

    def drained(self, name, kind, limit, options=()):
        self.docker("run", "-d", "--network", "none", "--name", name, *options, "busy", "hostile", "drain", kind, str(limit))
        return wait_until(lambda: self.docker("logs", name).out, "%s has drained" % name).split()

    def errno_of(self, *numbers):
        return int(self.run_docker("probe", "syscall", *map(str, numbers)).out.split()[1])

    def test_the_starred_attacks_succeed_against_dockers_default(self):
        with self.subTest("A01: root inside is root outside"):
            self.assertEqual(["0", "0", "4294967295"], self.run_docker("cat", "/proc/self/uid_map").out.split())
        with self.subTest("A04: a packet socket, to forge ARP with"):
            self.assertEqual(0, self.errno_of(SOCKET, AF_PACKET, RAW, 0x0300))
        with self.subTest("A05: the 32-bit gate is open"):
            value, error = self.run_docker("probe", "syscall32", str(GETPID_386)).out.split()
            self.assertGreater(int(value), 0)
        with self.subTest("A06: XFRM and netfilter sockets"):
            self.assertEqual(0, self.errno_of(SOCKET, AF_NETLINK, RAW, NETLINK_XFRM))
            self.assertEqual(0, self.errno_of(SOCKET, AF_NETLINK, RAW, NETLINK_NETFILTER))
        with self.subTest("A11: mknod of a block device"):
            self.assertIn("brw", self.run_docker("/bin/sh", "-c", "mknod /tmp/d b 254 0; stat -c %A /tmp/d").out)
        with self.subTest("A13: the log grows without bound"):
            self.docker("run", "-d", "--network", "none", "--name", "flood", "busy", "hostile", "say", str(64 << 20))
            self.docker("wait", "flood")
            sizes = [os.path.getsize(f) for f in glob.glob(self.tmp + "/data/containers/*/*-json.log*")]
            self.assertGreater(sum(sizes), 64 << 20)
            self.docker("rm", "flood")
        with self.subTest("A03: the neighbour of the same user id has no inotify left"):
            # Not root's: that quota is this host's own.
            self.assertEqual(str(errno.EMFILE), self.drained("inotify", "inotify", 4000, options=["--user", "12345"])[1])
            self.assertEqual(str(errno.EMFILE), self.run_docker("hostile", "take", "inotify", options=["--user", "12345"]).out.strip())
            self.docker("rm", "-f", "inotify")
        with self.subTest("A30: more than 256 ptys of the host's number space"):
            self.assertEqual("400", self.drained("ptys", "pty", 400)[0])
            self.docker("rm", "-f", "ptys")
        with self.subTest("A02: no cap: the bomb takes all that the slice has, and the neighbour cannot fork"):
            count, error = map(int, self.drained("bomb", "fork", 1600))
            self.assertEqual(errno.EAGAIN, error)
            self.assertGreater(count, 1300)
            r = self.run_docker("hostile", "take", "fork", check=False)
            self.assertNotEqual("ok\n", r.out)
            self.docker("rm", "-f", "bomb")


if __name__ == "__main__":
    unittest.main()
