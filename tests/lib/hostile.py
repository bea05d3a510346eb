"""Fixtures for hostile containers and killed commands: what engine.py's tests do not need.

Owns: ROOT and RUN below the test's temporary directory, an image "busy" (busybox, the probe, the hostile program), and the proof at the end
that nothing is left: no container, `system check` clean, no cgroup, mount, process or descriptor. Ids of containers are read from the
engine's own journal (RUN/events.jsonl), so containers of other engines on the same host are never looked at or touched.

Beyond engine.py: every container's cgroup lies below one that carries the worker's tag, so limits can stand above all of a test's
containers and leaks are found by RuntimeTest's checker.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile

import engine
import onggi_test
from onggi_test import RuntimeTest, build_rootfs, helper, needs, wait_until

ONGGI = engine.PROGRAM
IMAGE_CONFIG = {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin:/usr/bin"]}
onggi_test.FACILITIES.setdefault("engine", lambda: os.access(ONGGI, os.X_OK) and os.access(engine.IMPORTER, os.X_OK))
onggi_test.FACILITIES.setdefault("disk_quota", lambda: os.path.exists("/dev/loop-control") and any(os.access(p + "/mkfs.ext4", os.X_OK) for p in ("/usr/sbin", "/sbin")))


def hostile_rootfs(path):
    build_rootfs(path)
    if helper("onggi-test-hostile"):
        shutil.copy(helper("onggi-test-hostile"), os.path.join(path, "bin/hostile"))
    with open(os.path.join(path, "etc/passwd"), "a") as f:
        f.write("user:x:12345:12345:user:/tmp:/bin/sh\n")


@needs("root", "engine")
class HostileTest(RuntimeTest):

    def setUp(self):
        super().setUp()
        onggi_test.private_network()
        self.store, self.run_dir = os.path.join(self.tmp, "root"), os.path.join(self.tmp, "run")
        self.env = {"PATH": os.environ["PATH"], "HOME": self.tmp, "ONGGI_ROOT": self.store, "ONGGI_RUN": self.run_dir}
        # A cgroup of the test's own above its containers: its name carries the worker's tag, so that leaks are found.
        self.parent = "/%s-e%d" % (onggi_test.TAG, id(self) % 100000)
        self.tree = os.path.join(self.tmp, "busy")
        hostile_rootfs(self.tree)
        self.onggi("ps")
        self.add_image("busy")
        self.addCleanup(self._end_engine)

    def add_image(self, name, config=None, change=None):
        """An image of the hostile tree; `change(directory)` makes it worse before."""
        tree = os.path.join(self.tmp, "image-" + name)
        shutil.copytree(self.tree, tree, symlinks=True)
        if change:
            change(tree)
        argv = [engine.IMPORTER, self.store, name, json.dumps({**IMAGE_CONFIG, **(config or {})}), tree]
        p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(0, p.returncode, p.stderr)
        return p.stdout.strip()

    # --- running ---
    def onggi(self, *args, check=True, stdin=None, timeout=None, env=None):
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        argv = [ONGGI, *args]
        with out, err:
            p = subprocess.Popen(argv, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE, stdout=out, stderr=err,
                                 env={**self.env, **(env or {})})
            try:
                onggi_test.wait_reaping(p, stdin.encode() if stdin is not None else None, timeout)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                raise AssertionError("timed out: " + " ".join(argv))

            def text(f):
                f.seek(0)
                return f.read().decode("utf-8", "replace")
            result = onggi_test.Result(argv, p.returncode, text(out), text(err))
        if check:
            self.assertEqual(0, result.rc, str(result))
        return result

    def run_options(self, *options):
        return ["run", "--cgroup-parent", self.parent, *options]

    def attack(self, *command, options=(), check=True, **kwargs):
        """A container of the default profile to its end: `run --rm`. Its output is the result's."""
        return self.onggi(*self.run_options("--rm", *options), "busy", *command, check=check, **kwargs)

    def attack_sh(self, script, **kwargs):
        return self.attack("/bin/sh", "-c", script, **kwargs)

    def background(self, name, *command, options=()):
        """A container that goes on; the name."""
        self.onggi(*self.run_options("-d", "--name", name, *options), "busy", *command)
        return name

    def in_container(self, name, *command, **kwargs):
        return self.onggi("exec", name, *command, **kwargs)

    def wait_logs(self, name, test, what):
        return wait_until(lambda: (lambda t: t if test(t) else None)(self.onggi("logs", name, check=False).out), what)

    def state_of(self, name):
        """What the engine wrote down about the container: RUN/containers/ID/state.json, and what `ps` makes of it as "shown"."""
        cid = os.readlink(os.path.join(self.store, "names", name)) if not os.path.isdir(os.path.join(self.store, "containers", name)) else name
        with open(os.path.join(self.run_dir, "containers", cid, "state.json")) as f:
            state = json.load(f)
        rows = [json.loads(line) for line in self.onggi("ps", "-a", "--no-trunc", "--format", "json").out.splitlines()]
        return {"pid": 0, "exitCode": 0, **state, "shown": {r["ID"]: r["State"] for r in rows}[cid]}

    # --- the end ---
    def ids(self):
        """Of every container that this test's engine has made."""
        found = set()
        with contextlib.suppress(OSError), open(os.path.join(self.run_dir, "events.jsonl")) as f:
            for line in f:
                with contextlib.suppress(ValueError):
                    row = json.loads(line)
                    if row.get("type") == "container":
                        found.add(row.get("id"))
        return found

    def remove_all(self):
        for cid in self.onggi("ps", "-aq", "--no-trunc", check=False).out.split():
            self.onggi("rm", "-f", cid, check=False)

    def _end_engine(self):
        self.remove_all()
        self.assertEqual("", self.onggi("ps", "-aq").out, "containers left")
        self.wait_clean()
        ids = self.ids()
        wait_until(lambda: not [g for g in onggi_test.cgroups() if any(i and i in g for i in ids)], "the containers' cgroups are gone")
        self.remove_parent()

    def wait_clean(self):
        """The sweeper runs in the background: clean within a bounded time."""
        def clean():
            onggi_test.reap()
            return self.onggi("system", "check", check=False).out.endswith("clean\n")
        try:
            wait_until(clean, "system check is clean", timeout=20, interval=0.2)
        except AssertionError:
            self.fail("not clean: " + str(self.onggi("system", "check", check=False)))

    def remove_parent(self):
        for group in sorted(onggi_test.cgroups(self.parent), key=len, reverse=True):
            with contextlib.suppress(OSError):
                os.rmdir(group)

    def limit_parent(self, controller, **values):
        """The test's own cgroup, made with limits: what stands for a small host in tests of exhaustion (cgroup v1 and v2)."""
        if onggi_test.cgroup_mode() == "v2":
            where = "/sys/fs/cgroup" + self.parent
        else:
            where = onggi_test.v1_mounts()[controller] + self.parent
        os.makedirs(where, exist_ok=True)
        for name, value in values.items():
            with open(os.path.join(where, controller + "." + name), "w") as f:
                f.write(str(value))
        return where


def end_process(p):
    with contextlib.suppress(OSError):
        p.send_signal(signal.SIGKILL)
    p.wait()
