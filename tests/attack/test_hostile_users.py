"""Hostile users of the command line, and images that wait for what the runtime does with its own rights.

Each test plants what an attacker can make beforehand (a link, a FIFO, a directory of another user, a program in the image) and looks
afterwards what became of the host's file, or with which rights the attacker's program ran.
"""

import json
import os
import stat
import subprocess
import unittest

import onggi_test
from onggi_test import RuntimeTest, Swapper, deviates, wait_until

STRACE = next((p for p in ("/usr/bin/strace", "/bin/strace") if os.access(p, os.X_OK)), None)
STATUS_FIELDS = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")


class StartContainerHook(RuntimeTest):
    """A startContainer hook is a program of the image, so the image decides what it does: it has the rights of the container's process,
    in the container's cgroup, and no more."""

    def traced(self, **user):
        trace = os.path.join(self.tmp, "trace")
        os.mkdir(trace)
        os.chmod(trace, 0o777)
        record = "cat /proc/self/status > /trace/%s.status; cat /proc/self/cgroup > /trace/%s.cgroup"
        b = self.bundle(sh=record % ("program", "program") + "; echo done > /trace/end; sleep 1000")
        b.mount("/trace", trace, "bind", ["bind"])
        b.process["user"].update(user)
        b.config["hooks"] = {"startContainer": [{
            "path": "/bin/sh", "env": ["PATH=/bin"],
            "args": ["sh", "-c", record % ("hook", "hook") + "; mknod /tmp/disk b 7 0 && echo MADE > /trace/made; mount -t tmpfs t /mnt && echo MOUNTED > /trace/mounted; true"]}]}
        return b, trace

    def compare(self, trace):
        def read(name):
            with open(os.path.join(trace, name)) as f:
                return f.read()
        wait_until(lambda: os.path.exists(os.path.join(trace, "end")), "the program has written all")
        status = {who: dict(line.split(":\t", 1) for line in read(who + ".status").splitlines() if ":\t" in line) for who in ("hook", "program")}
        for field in STATUS_FIELDS:
            self.assertEqual(status["program"][field], status["hook"][field], field)
        self.assertEqual(read("program.cgroup"), read("hook.cgroup"))
        self.assertFalse(os.path.exists(os.path.join(trace, "made")), "the hook could make a device")
        self.assertFalse(os.path.exists(os.path.join(trace, "mounted")), "the hook could mount")

    def test_rights_at_start(self):
        b, trace = self.traced()
        self.started(b)
        self.compare(trace)

    def test_rights_at_run(self):
        b, trace = self.traced(uid=1000, gid=1000, additionalGids=[7, 8])
        cid = self.cid()
        self.runtime("run", "--detach", "--bundle", b.write(), cid, capture=False)
        self.compare(trace)


class Groups(RuntimeTest):
    """CVE-2022-24769's class: an id that does not fit must not become another one."""

    @deviates(runc="wraps around", crun="wraps around")
    def test_additional_gids_out_of_range(self):
        cid = self.started(self.bundle("sleep", "1000"))
        for bad in ("4294967296", "4294967295", "18446744073709551615", "-1", "1e3", ""):
            with self.subTest(bad):
                r = self.exec(cid, "id", "-G", options=["--additional-gids", bad], check=False)
                self.assertNotEqual(0, r.rc, str(r))
                self.assertIn("--additional-gids", r.err)
        self.assertIn("4294967294", self.exec(cid, "cat", "/proc/self/status", options=["--additional-gids", "4294967294"]).out)


class DeviceNodes(RuntimeTest):
    """The image brings its own /dev, with more than device nodes in it."""

    def image_dev(self, *args):
        b = self.bundle(*args)
        b.config["mounts"] = [m for m in b.config["mounts"] if not m["destination"].startswith("/dev")]
        return b

    @unittest.skipUnless(STRACE, "needs strace")
    def test_existing_node_swapped_for_a_link(self):
        """The node is what it should be when the runtime looks, and a link to a file of the host when it sets the mode."""
        secret = os.path.join(self.tmp, "secret")
        with open(secret, "w") as f:
            f.write("CANARY-SECRET\n")
        os.chmod(secret, 0o640)
        b = self.image_dev("true")
        node, link = os.path.join(b.rootfs, "dev/zero"), os.path.join(b.rootfs, "dev/link")
        os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(1, 5))
        os.symlink(secret, link)
        where = b.write()
        # Every change of a mode waits a little, so that the name means something else by then.
        slow = [STRACE, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fchmodat", "-e", "inject=fchmodat:delay_enter=3000"]
        with Swapper(node, link) as swapper:
            for _ in range(20):
                p = subprocess.Popen([*slow, *self.argv("run", "--bundle", where, self.cid())], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
                onggi_test.wait_reaping(p)
                self.assertEqual(0o640, stat.S_IMODE(os.stat(secret).st_mode))
            wait_until(lambda: swapper.count >= 10000, "there were 10,000 swaps")

    def test_existing_node_gets_its_mode(self):
        b = self.image_dev("stat", "-c", "%a", "/dev/zero")
        os.mknod(os.path.join(b.rootfs, "dev/zero"), stat.S_IFCHR | 0o600, os.makedev(1, 5))
        self.assertEqual("666\n", self.output(b))

    @deviates(runc="waits for a writer", crun="waits for a writer")
    def test_fifo_where_a_device_is_bound(self):
        """In a user namespace devices are bind mounts; a FIFO as their target must not be waited for."""
        b = self.image_dev("sh", "-c", "echo gone > /dev/null; stat -c %t,%T /dev/null")
        b.linux["namespaces"].append({"type": "user"})
        b.linux["uidMappings"] = b.linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        for where, _, _ in os.walk(b.rootfs):
            os.chown(where, 100000, 100000)
        os.mkfifo(os.path.join(b.rootfs, "dev/null"), 0o666)
        os.chown(os.path.join(b.rootfs, "dev/null"), 100000, 100000)
        r = self.run_bundle(b, check=False, timeout=20)
        self.assertTrue(r.rc != 0 or r.out == "1,3\n", str(r))


class StateOfOthers(RuntimeTest):
    """What stands in the state directory is done with the caller's rights (hooks, cgroups, pids): only the caller, or root, may have written it."""

    @deviates(runc="trusts whatever --root names", crun="trusts whatever --root names")
    def test_root_of_another_user(self):
        cid = self.started(self.bundle("sleep", "1000"))
        marker = os.path.join(self.tmp, "hook-ran")
        with open(os.path.join(self.root, cid, "config.json")) as f:
            config = json.load(f)
        config["hooks"] = {"poststop": [{"path": "/usr/bin/touch", "args": ["touch", marker]}]}
        evil, bundle = os.path.join(self.tmp, "evil"), self.bundle("true").write()
        os.makedirs(os.path.join(evil, "victim"))
        with open(os.path.join(self.root, cid, "state.json")) as f:
            state = json.load(f)
        state.update(id="victim", poststopHooks=True)
        for name, value in (("config.json", config), ("state.json", state)):
            with open(os.path.join(evil, "victim", name), "w") as f:
                json.dump(value, f)
        for where in (evil, os.path.join(evil, "victim")):
            os.chown(where, 12345, 12345)
        commands = (["delete", "--force", "victim"], ["kill", "victim", "KILL"], ["exec", "victim", "true"], ["pause", "victim"], ["state", "victim"],
                    ["create", "--bundle", bundle, onggi_test.TAG + "-mine"], ["list"])
        for command in commands:
            with self.subTest(command[0]):
                r = subprocess.run([onggi_test.RUNTIME, "--root", evil, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, timeout=60)
                self.assertNotEqual(0, r.returncode, str(r))
                self.assertIn("12345", r.stderr)
        os.chown(evil, 0, 0)  # the directory is root's, the container's is not
        r = subprocess.run([onggi_test.RUNTIME, "--root", evil, "delete", "--force", "victim"], stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertNotEqual(0, r.returncode, str(r))
        self.assertFalse(os.path.exists(marker), "the other user's hook ran")
        self.assertEqual(["victim"], os.listdir(evil))
        self.assertEqual("running", self.status(cid))

    @deviates(runc="trusts whatever --root names", crun="trusts whatever --root names")
    def test_root_that_everybody_writes(self):
        shared = os.path.join(self.tmp, "shared")
        os.mkdir(shared)
        os.chmod(shared, 0o777)
        where = self.bundle("true").write()
        r = subprocess.run([onggi_test.RUNTIME, "--root", shared, "run", "--bundle", where, onggi_test.TAG + "-mine"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertNotEqual(0, r.returncode)
        self.assertIn("everybody", r.stderr)
        self.assertEqual([], os.listdir(shared))


class PidFile(RuntimeTest):
    """--pid-file in a directory where others make files, too."""

    @deviates(crun="writes the file itself, following links", runc="opens a name of its own, following links")
    def test_links_in_the_way(self):
        spool = os.path.join(self.tmp, "spool")
        os.mkdir(spool)
        canary = os.path.join(self.tmp, "canary")
        with open(canary, "w") as f:
            f.write("CANARY\n")
        path = os.path.join(spool, "pid")
        os.symlink(canary, path)
        # The name of a temporary file can be guessed: one link for each process id that comes next.
        with open("/proc/sys/kernel/pid_max") as f:
            limit = int(f.read())
        last = subprocess.Popen(["true"])
        last.wait()
        for n in range(last.pid, min(last.pid + 4000, limit)):
            os.symlink(canary, "%s.tmp.%d" % (path, n))
        b = self.bundle("sleep", "1000")
        cid = self.create(b, "--pid-file", path)
        with open(canary) as f:
            self.assertEqual("CANARY\n", f.read())
        self.assertFalse(os.path.islink(path))
        with open(path) as f:
            self.assertEqual(self.state(cid)["pid"], int(f.read()))


class StandardStreams(RuntimeTest):
    """Pipes and terminals are given to the container's user; a file of the host is lent, not given away."""

    @deviates(runc="changes the owner", crun="changes the owner")
    def test_files_keep_their_owner(self):
        source, target = os.path.join(self.tmp, "in"), os.path.join(self.tmp, "out")
        with open(source, "w") as f:
            f.write("from the host\n")
        os.chmod(source, 0o600)
        b = self.bundle(sh="cat; (echo overwritten > /proc/self/fd/0) 2>/dev/null; echo end")
        b.process["user"] = {"uid": 1000, "gid": 1000}
        where, cid = b.write(), self.cid()
        with open(source) as i, open(target, "w") as o:
            p = subprocess.Popen(self.argv("run", "--bundle", where, cid), stdin=i, stdout=o)
            self.assertEqual(0, onggi_test.wait_reaping(p))
        with open(target) as f:
            self.assertEqual("from the host\nend\n", f.read())
        with open(source) as f:
            self.assertEqual("from the host\n", f.read())
        self.assertEqual((0, 0), (os.stat(source).st_uid, os.stat(target).st_uid))


if __name__ == "__main__":
    unittest.main()
