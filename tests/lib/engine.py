"""Fixtures for tests that drive `onggi`, the engine, as a user does.

Owns: a private ONGGI_ROOT and ONGGI_RUN per test, images made of busybox-static by onggi-test-image, and the look afterwards:
every container removed, `system check` clean, no mount, cgroup or process left that names this store.
The program under test is $ONGGI_PROGRAM (default: build/release/bin/onggi). Standard library only.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import onggi_test

PROGRAM = os.environ.get("ONGGI_PROGRAM") or os.path.join(onggi_test.HELPERS, "onggi")
IMPORTER = os.path.join(onggi_test.HELPERS, "onggi-test-image")
TIMEOUT = onggi_test.COMMAND_TIMEOUT


class CommandFailed(AssertionError):
    pass


def busybox_tree(where):
    """A root of busybox with its applets as links, /etc/passwd and the usual empty directories."""
    for name in ("bin", "etc", "tmp", "root", "var", "home"):
        os.makedirs(os.path.join(where, name), exist_ok=True)
    os.chmod(os.path.join(where, "tmp"), 0o1777)
    shutil.copy(onggi_test.BUSYBOX, os.path.join(where, "bin/busybox"))
    for applet in onggi_test.APPLETS + ["nc", "tar", "diff", "find", "httpd", "wget", "id", "sha256sum"]:
        with contextlib.suppress(FileExistsError):
            os.symlink("busybox", os.path.join(where, "bin", applet))
    with open(os.path.join(where, "etc/passwd"), "w") as f:
        f.write("root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home:/bin/sh\n")
    with open(os.path.join(where, "etc/group"), "w") as f:
        f.write("root:x:0:\nweb:x:1000:\n")
    return where


class EngineTest(unittest.TestCase):
    """A test with a store of its own. `image` (default "busybox") is there when the test begins."""
    IMAGE = "busybox"

    def setUp(self):
        onggi_test.private_network()
        self.scratch = tempfile.mkdtemp(prefix="onggi-e2e-")
        self.root, self.run_dir = os.path.join(self.scratch, "root"), os.path.join(self.scratch, "run")
        os.mkdir(self.root, 0o700)
        os.mkdir(self.run_dir, 0o700)
        self.addCleanup(self._leave_nothing)
        if self.IMAGE:
            self.image(self.IMAGE)

    def image(self, name, config=None, trees=None):
        """Puts directory trees (default: busybox) into the store as image `name`; its id."""
        config = {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin:/sbin"], **(config or {})}
        trees = trees or [busybox_tree(tempfile.mkdtemp(dir=self.scratch))]
        out = subprocess.run([IMPORTER, self.root, name, json.dumps(config)] + trees, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, timeout=TIMEOUT)
        if out.returncode:
            raise CommandFailed(out.stderr)
        return out.stdout.strip()

    def environment(self):
        env = dict(os.environ, ONGGI_ROOT=self.root, ONGGI_RUN=self.run_dir)
        env.pop("XDG_RUNTIME_DIR", None)
        return env

    def command(self, *words, **options):
        """subprocess.run of `onggi WORDS` with text in and out; never raises for an exit code."""
        options.setdefault("stdin", None if "input" in options else subprocess.DEVNULL)
        if "input" in options:
            options.pop("stdin")
        options.setdefault("text", True)
        return subprocess.run([PROGRAM] + list(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT,
                              env=self.environment(), **options)

    def onggi(self, *words, **options):
        """Standard output of a command that must succeed."""
        out = self.command(*words, **options)
        if out.returncode:
            raise CommandFailed("onggi %s: code %d\n%s%s" % (" ".join(words), out.returncode, out.stdout, out.stderr))
        return out.stdout

    def fails(self, *words, code=None, **options):
        """Standard error of a command that must fail."""
        out = self.command(*words, **options)
        self.assertNotEqual(out.returncode, 0, "onggi %s succeeded: %s" % (" ".join(words), out.stdout))
        if code is not None:
            self.assertEqual(out.returncode, code, out.stderr)
        return out.stderr

    def start(self, *options, command=("sleep", "1000"), image=None):
        """`run -d` of a container; its id."""
        return self.onggi("run", "-d", "--network", "none", *options, image or self.IMAGE, *command).strip()

    def inspect(self, name, *options):
        return json.loads(self.onggi("inspect", *options, name))[0]

    def wait_for(self, condition, what, seconds=20):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                self.fail("waited %d s in vain: %s" % (seconds, what))
            time.sleep(0.02)

    def _leave_nothing(self):
        self._reap()
        ids = self.command("ps", "-aq", "--no-trunc").stdout.split()
        if ids:
            self.command("rm", "-f", "-v", *ids)
        # Sweepers that were started in the background end by themselves.
        end = time.monotonic() + 20
        left = self._left(ids)
        while any(left.values()) and time.monotonic() < end:
            time.sleep(0.02)
            left = self._left(ids)
        checked = self.command("system", "check")
        for pid in left["processes"]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for where in reversed(left["mounts"]):
            subprocess.run(["umount", "-l", where], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.assertEqual({k: v for k, v in left.items() if v}, {}, "left behind")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    @staticmethod
    def _reap():
        """What `exec -d` left is this worker's child (it is a subreaper): unreaped, it would keep its pid namespace from ending."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def _left(self, ids):
        return {"containers": self.command("ps", "-aq").stdout.split(), "processes": self._processes(), "mounts": self._mounts(),
                "cgroups": [c for i in ids for c in onggi_test.cgroups(i)]}

    def _processes(self):
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid():
                with contextlib.suppress(OSError), open("/proc/%s/cmdline" % name, "rb") as f:
                    if self.scratch.encode() in f.read():
                        found.append(int(name))
        return found

    def _mounts(self):
        with open("/proc/self/mountinfo") as f:
            return [line.split()[4] for line in f if self.scratch in line.split()[4]]
