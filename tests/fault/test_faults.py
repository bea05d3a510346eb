"""Every step may fail, and the runtime may be killed at every step: nothing stays behind.

Faults are injected by strace (error or SIGKILL at the N-th call of a kind, in the runtime and in its child), so the program under test is
the release binary, unchanged. Every N from 1 on is tried until the call is not reached any more. After an injected error the container was made
or was not, and in the second case nothing of it is left; after a kill, `delete --force` must be able to remove all. The leak check of
RuntimeTest compares mounts, cgroups, processes, descriptors and state.
"""

import os
import random
import signal
import subprocess
import time
import unittest

import onggi_test
from onggi_test import RuntimeTest, deviates, reap

STRACE = next((p for p in ("/usr/bin/strace", "/bin/strace") if os.access(p, os.X_OK)), None)
# What a start is made of. `%file`-like classes would hit the dynamic loader of peers: these are the calls of the work itself.
CALLS = ("openat", "openat2", "mkdir", "mkdirat", "write", "clone,clone3", "unshare,setns", "mount,move_mount,open_tree,mount_setattr", "fsopen,fsconfig,fsmount",
         "pivot_root,umount2,chdir,fchdir", "mknodat,symlinkat", "prctl,capset,seccomp", "setresuid,setresgid,setgroups", "sendmsg,recvmsg", "socketpair,socket",
         "memfd_create,ftruncate,mmap", "execve,execveat", "fcntl", "rename,renameat,renameat2", "flock", "newfstatat,fstat,statx")
# Points of one kind that are tried; where there are more, they are spread evenly.
POINTS = int(os.environ.get("ONGGI_FAULT_POINTS", "12"))


@unittest.skipUnless(STRACE, "needs strace")
class FaultTest(RuntimeTest):

    def traced(self, injection, *args):
        """Runs one runtime command under strace with an injection; returns (exit code, was it injected)."""
        out = os.path.join(self.tmp, "strace.out")
        p = subprocess.Popen([STRACE, "-f", "-qq", "-o", out, "-e", "trace=" + injection.split(":")[0], "-e", "inject=" + injection, *self.argv(*args)],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            code = onggi_test.wait_reaping(p)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
            raise AssertionError("hangs with " + injection)
        with open(out, errors="replace") as f:
            text = f.read()
        return code, "(INJECTED)" in text or "killed by SIGKILL" in text

    def count(self, calls, *args):
        """How many calls of this kind the busiest process makes."""
        out = os.path.join(self.tmp, "strace.out")
        subprocess.run([STRACE, "-f", "-qq", "-o", out, "-e", "trace=" + calls, *self.argv(*args)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=120)
        counts = {}
        with open(out, errors="replace") as f:
            for line in f:
                if "(" in line and "resumed" not in line:
                    counts[line.split()[0]] = counts.get(line.split()[0], 0) + 1
        return max(counts.values(), default=0)

    def points(self, total):
        if total <= POINTS:
            return list(range(1, total + 1))
        return sorted({1 + i * (total - 1) // (POINTS - 1) for i in range(POINTS)})

    def assert_clean(self, what):
        left = self._leaks.differences()
        self.assertEqual([], left, "left behind by " + what)


class Errors(FaultTest):

    def each(self, error):
        b = self.bundle("true")
        b.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}], "poststop": [{"path": "/bin/true"}]}
        where = b.write()
        tried = injected = 0
        for calls in CALLS:
            cid = self.cid()
            total = self.count(calls, "run", "--bundle", where, cid)
            for n in self.points(total):
                with self.subTest("%s %s at %d of %d" % (error, calls, n, total)):
                    cid = self.cid()
                    tried += 1
                    injected += self.traced("%s:error=%s:when=%d" % (calls, error, n), "run", "--bundle", where, cid)[1]
                    # A removal that was itself made to fail may be tried again by hand, and then nothing is left.
                    if self._leaks.differences(patience=0.3):
                        self.runtime("delete", "--force", cid, check=False)
                    self.assert_clean("%s:%s:%d" % (calls, error, n))
        self.assertGreater(injected, tried * 3 // 4, "of %d points" % tried)

    @deviates(runc="Go's own threads are hit", crun="leaves cgroups and state behind")
    def test_eio(self):
        self.each("EIO")

    @deviates(runc="Go's own threads are hit", crun="leaves cgroups and state behind")
    def test_enomem(self):
        self.each("ENOMEM")


class Kills(FaultTest):

    @deviates(runc="what it made before its state file is lost", crun="what it made before its state file is lost")
    def test_killed_anywhere(self):
        """`run` passes through create, start, wait and delete; the kill hits the runtime or its child, whichever gets there first. (`create`
        would leave strace waiting for the container.)"""
        where = self.bundle("true").write()
        tried = injected = 0
        for calls in CALLS + ("unlinkat,unlink,rmdir", "poll,ppoll,waitid,wait4"):
            total = self.count(calls, "run", "--bundle", where, self.cid())
            for n in self.points(total):
                with self.subTest("%s at %d of %d" % (calls, n, total)):
                    cid = self.cid()
                    tried += 1
                    injected += self.traced("%s:signal=SIGKILL:when=%d" % (calls, n), "run", "--bundle", where, cid)[1]
                    r = self.runtime("delete", "--force", cid, check=False)
                    self.assertEqual(0, r.rc, str(r))
                    self.assert_clean("a kill at %s:%d" % (calls, n))
        self.assertGreater(injected, tried * 3 // 4, "of %d points" % tried)

    @deviates(runc="not atomic", crun="not atomic")
    def test_delete_killed_anywhere(self):
        """A delete that was killed half way can be done again."""
        where = self.bundle("sleep", "1000").write()
        for calls in ("write", "openat", "unlinkat,unlink,rmdir", "kill,pidfd_send_signal"):
            for n in (1, 2, 3, 5, 8):
                with self.subTest("%s at %d" % (calls, n)):
                    cid = self.cid()
                    self.runtime("create", "--bundle", where, cid, capture=False)
                    self.traced("%s:signal=SIGKILL:when=%d" % (calls, n), "delete", "--force", cid)
                    self.runtime("delete", "--force", cid)
                    self.assert_clean("a kill of delete at %s:%d" % (calls, n))


class HangingHook(RuntimeTest):
    """A runtime that is killed while one of its hooks hangs takes the hook with it: nobody else knows of that process."""

    @deviates(runc="the hook lives on", crun="the hook lives on")
    def test_killed_beside_a_hook(self):
        for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart"):
            with self.subTest(kind):
                b = self.bundle("sleep", "1000")
                trace = os.path.join(self.tmp, kind)
                os.mkdir(trace)
                b.mount("/trace", trace, "bind", ["bind"])
                where = "/trace" if kind == "startContainer" else trace
                b.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", "echo > %s/hangs; exec sleep 1000" % where], "env": ["PATH=/usr/bin:/bin"]}]}
                cid = self.cid()
                p = subprocess.Popen(self.argv("run", "--bundle", b.write(), cid), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                onggi_test.wait_until(lambda: os.path.exists(os.path.join(trace, "hangs")), "the hook hangs")
                p.kill()
                p.wait()
                self.runtime("delete", "--force", cid)
                self.assertEqual([], self._leaks.differences(), "left behind by a kill beside a %s hook" % kind)


class ForeignCgroup(FaultTest):
    """linux.cgroupsPath names a cgroup that somebody else uses. The refusal comes after the container was recorded; a runtime that was killed
    in between never owned the cgroup, so `delete --force` must neither signal nor remove anything in it."""

    def setUp(self):
        super().setUp()
        self.inner = "/%s-foreign" % onggi_test.TAG
        self.directories = [os.path.join(r + self.inner, "child") for r in onggi_test.cgroup_roots()]
        self.sleeper = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(self._end)
        for d in self.directories:
            os.makedirs(d)  # an empty cgroup of theirs below, too
            for name in ("cpuset.cpus", "cpuset.mems"):  # v1: a cpuset without these takes no process
                if os.path.exists(os.path.join(d, name)) and onggi_test.cgroup_mode() != "v2":
                    with open(os.path.join(os.path.dirname(os.path.dirname(d)), name)) as f:
                        value = f.read()
                    with open(os.path.join(os.path.dirname(d), name), "w") as f:
                        f.write(value)
            with open(os.path.join(os.path.dirname(d), "cgroup.procs"), "w") as f:
                f.write(str(self.sleeper.pid))
        self._leaks = onggi_test.LeakChecker(self.root)

    def _end(self):
        self.sleeper.kill()
        self.sleeper.wait()
        for d in self.directories:
            for where in (d, os.path.dirname(d)):
                onggi_test.wait_until(lambda where=where: self._removed(where), "cgroup %s is removed" % where)

    @staticmethod
    def _removed(where):
        try:
            os.rmdir(where)
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return True

    def assert_untouched(self, what):
        self.assertIsNone(self.sleeper.poll(), "the other owner's process was ended by " + what)
        for d in self.directories:
            self.assertTrue(os.path.isdir(d), "%s was removed by %s" % (d, what))
            with open(os.path.join(os.path.dirname(d), "cgroup.procs")) as f:
                self.assertEqual(str(self.sleeper.pid), f.read().strip(), "%s after %s" % (d, what))

    @deviates(runc="not atomic", crun="not atomic")
    def test_killed_before_the_refusal(self):
        b = self.bundle("true")
        b.linux["cgroupsPath"] = self.inner
        where = b.write()
        r = self.runtime("run", "--bundle", where, self.cid(), check=False)
        self.assertNotEqual(0, r.rc)
        self.assertIn("container's cgroup is not empty", r.err)
        self.assert_untouched("a refused run")
        tried = injected = 0
        for calls in ("mkdir,mkdirat", "openat", "newfstatat,fstat,statx", "rename,renameat,renameat2", "unlinkat,unlink,rmdir"):
            for command in ("run", "create"):
                for n in self.points(self.count(calls, command, "--bundle", where, self.cid())):
                    with self.subTest("%s killed at %s %d" % (command, calls, n)):
                        cid = self.cid()
                        tried += 1
                        injected += self.traced("%s:signal=SIGKILL:when=%d" % (calls, n), command, "--bundle", where, cid)[1]
                        self.runtime("kill", "--all", cid, "KILL", check=False)
                        self.assert_untouched("kill --all after a kill at %s:%d" % (calls, n))
                        self.runtime("delete", "--force", cid)
                        self.assert_untouched("delete --force after a kill at %s:%d" % (calls, n))
                        self.assert_clean("a kill of %s at %s:%d" % (command, calls, n))
        self.assertGreater(injected, tried // 2, "of %d points" % tried)


class Cycles(RuntimeTest):
    """Create, start, delete over and over, a tenth of them killed at a random moment (ONGGI_CYCLES, default 200)."""

    @deviates(runc="what it made before its state file is lost", crun="what it made before its state file is lost")
    def test_cycles_with_kills(self):
        rounds = int(os.environ.get("ONGGI_CYCLES", "200"))
        where = self.bundle("true").write()
        chance = random.Random(os.environ.get("ONGGI_SEED", "1"))
        killed = 0
        for i in range(rounds):
            cid = "%s-cycle%d" % (onggi_test.TAG, i)
            if i % 10 == 9:
                p = subprocess.Popen(self.argv("create", "--bundle", where, cid), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(chance.uniform(0, 0.015))
                p.kill()
                killed += p.wait() == -signal.SIGKILL
                self.runtime("delete", "--force", cid)
            else:
                self.runtime("create", "--bundle", where, cid, capture=False)
                self.start(cid)
                self.runtime("delete", "--force", cid)
            if i % 50 == 49:
                reap()
                self.assertEqual([], self._leaks.differences(), "after %d cycles" % (i + 1))
        print("%d cycles, %d killed" % (rounds, killed))
        self.assertGreater(killed, 0)


if __name__ == "__main__":
    unittest.main()
