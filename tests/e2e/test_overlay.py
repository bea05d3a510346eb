"""Roots assembled the way that kernels before 6.15 need: lowers attached by name in a private mount namespace.

ONGGI_TEST_OVERLAY=names makes this host go that way; the whole of tests/e2e can be run with it. What is compared is what the other way
gives on the same host, so these tests say nothing new on a kernel that has only one way.
"""

import json
import os
import subprocess
import tempfile
import unittest

import onggi_test
from engine import EngineTest, busybox_tree
from image_test import worker_runs


def layer(test, files):
    """A directory with `files`: name -> text, None for a whiteout."""
    where = tempfile.mkdtemp(dir=test.scratch)
    os.chmod(where, 0o755)
    for name, text in files.items():
        path = os.path.join(where, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if text is None:
            os.mknod(path, 0o600 | 0o020000, os.makedev(0, 0))
        else:
            with open(path, "w") as f:
                f.write(text)
    return where


class ByNames(EngineTest):
    def environment(self):
        return dict(super().environment(), ONGGI_TEST_OVERLAY="names")

    def normally(self, *words):
        """Output of the same command by whatever way this kernel prefers."""
        env = self.environment()
        del env["ONGGI_TEST_OVERLAY"]
        r = subprocess.run([onggi_test.HELPERS + "/onggi", *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(r.returncode, 0, r.stderr)
        return r.stdout

    def test_many_layers(self):
        """The uppermost of a hundred wins, whiteouts hide, and both ways show the same."""
        base = busybox_tree(tempfile.mkdtemp(dir=self.scratch))
        trees = [base] + [layer(self, {"data/n": "%d\n" % n, "data/f%d" % n: "x"}) for n in range(98)]
        trees.append(layer(self, {"data/f7": None, "data/n": "top\n"}))
        self.image("tall", trees=trees)
        words = ("run", "--rm", "tall", "sh", "-c", "cat /data/n; ls /data | wc -l; ls /data/f7 2>/dev/null; stat -c %u:%g /data/n; touch /data/new && rm /data/f1 && ls /data | wc -l")
        out = self.onggi(*words)
        self.assertEqual(out, "top\n98\n0:0\n98\n")
        self.assertEqual(out, self.normally(*words))

    def test_host_sees_nothing(self):
        """Not while it runs and not afterwards; the test's own end looks for processes and mounts as well."""
        self.start("--name", "web")
        self.assertEqual(self._mounts(), [])
        with open("/proc/self/mountinfo") as f:
            self.assertNotIn("overlay onggi", f.read())
        self.assertEqual(self.onggi("exec", "web", "sh", "-c", "mount | grep -c ' / .*overlay'"), "1\n")

    def test_bounded_and_not(self):
        for size, free in (("16m", False), ("-1", True)):
            out = self.onggi("run", "--rm", "--storage-opt", "size=" + size, "busybox", "sh", "-c", "dd if=/dev/zero of=/f bs=1M count=20 2>/dev/null; stat -c %s /f")
            self.assertEqual(int(out) == 20 << 20, free, size)

    def test_stop_start_and_copy(self):
        self.start("--name", "web", command=("sh", "-c", "echo $((`cat /n 2>/dev/null || echo 0` + 1)) > /n; exec sleep 1000"))
        self.wait_for(lambda: self.command("exec", "web", "cat", "/n").stdout == "1\n", "the first start wrote")
        self.onggi("restart", "-t", "0", "web")
        self.wait_for(lambda: self.command("exec", "web", "cat", "/n").stdout == "2\n", "the second start wrote")
        self.onggi("stop", "-t", "0", "web")
        where = os.path.join(self.scratch, "out")
        self.onggi("cp", "web:/n", where)
        with open(where) as f:
            self.assertEqual(f.read(), "2\n")
        self.assertIn("A /n", self.onggi("diff", "web"))

    @unittest.skipUnless(worker_runs(), "onggi-transfer does not run here")
    def test_commit(self):
        self.onggi("run", "--name", "changed", "busybox", "sh", "-c", "echo kept > /kept; rm /bin/yes")
        self.onggi("commit", "changed", "mine:1")
        self.assertEqual(self.onggi("run", "--rm", "mine:1", "sh", "-c", "cat /kept; ls /bin/yes 2>&1 | wc -l"), "kept\n1\n")

    def test_a_layer_that_is_gone(self):
        """The error names the layer, nothing is left, and the next run works again."""
        self.image("two", trees=[busybox_tree(tempfile.mkdtemp(dir=self.scratch)), layer(self, {"x": "x"})])
        ids = json.loads(self.onggi("image", "inspect", "two"))[0]["RootFS"]["Layers"]
        where = os.path.join(self.root, "images", "layers", ids[1].split(":")[1], "fs")
        os.rename(where, where + "-away")
        self.assertIn(ids[1].split(":")[1], self.fails("run", "--rm", "two", "true"))
        os.rename(where + "-away", where)
        self.assertEqual(self.onggi("run", "--rm", "two", "cat", "/x"), "x")
