"""A19: `cp` raced with swaps. A hostile container replaces directories by symlinks to the host while its files are copied in and out."""

import os

from engine import EngineTest


class A19CopyRace(EngineTest):
    """Whatever the container swaps, a copy reads from its root and writes to its root, or fails."""
    ROUNDS = 150

    def setUp(self):
        super().setUp()
        self.canary = os.path.join(self.scratch, "canary")
        os.makedirs(self.canary)
        with open(os.path.join(self.canary, "file"), "w") as f:
            f.write("host secret")
        self.before = self.look()

    def look(self):
        with open(os.path.join(self.canary, "file")) as f:
            return sorted(os.listdir(self.canary)), f.read()

    def swapper(self):
        # `x` is in turn a directory with a file of the container's and a symlink to the host's directory of the canary.
        self.start("--name", "evil", command=(
            "sh", "-c", "mkdir -p /w/real; echo container > /w/real/file; ln -s %s /w/link; cp -a /w/real /w/x;"
            "while :; do mv /w/x /w/y; mv /w/link /w/x; mv /w/x /w/link; mv /w/y /w/x; done" % self.canary))

    def test_copy_out(self):
        self.swapper()
        target, seen = os.path.join(self.scratch, "out"), set()
        for n in range(self.ROUNDS):
            out = self.command("cp", "evil:/w/x/file", target)
            if out.returncode == 0:
                with open(target) as f:
                    seen.add(f.read())
                os.unlink(target)
            out = self.command("cp", "evil:/w", target + str(n))
            link = os.path.join(target + str(n), "x")
            if out.returncode == 0 and os.path.isdir(link) and not os.path.islink(link):
                with open(os.path.join(link, "file")) as f:
                    seen.add(f.read())
        self.assertEqual(seen, {"container\n"})  # some copies succeeded, and none read the host
        self.assertEqual(self.look(), self.before)

    def test_copy_in(self):
        self.swapper()
        source = os.path.join(self.scratch, "source")
        os.makedirs(source + "/x")
        with open(source + "/x/planted", "w") as f:
            f.write("planted")
        done = 0
        for _ in range(self.ROUNDS):
            done += self.command("cp", source + "/x/planted", "evil:/w/x/planted").returncode == 0
            done += self.command("cp", source + "/.", "evil:/w").returncode == 0
        self.assertGreater(done, 0)
        self.assertEqual(self.look(), self.before)

    def test_links_to_proc_and_absolute_ones(self):
        self.start("--name", "evil")
        self.onggi("exec", "evil", "sh", "-c", "ln -s /proc/1/root /tmp/magic; ln -s /../../../../.. /tmp/up; ln -s %s /tmp/abs" % self.canary)
        target = os.path.join(self.scratch, "out")
        self.assertNotEqual(self.command("cp", "evil:/tmp/magic/etc/passwd", target).returncode, 0)  # magic links are refused
        self.assertNotEqual(self.command("cp", "evil:/tmp/abs/file", target).returncode, 0)
        self.assertFalse(os.path.exists(target))
        self.onggi("cp", "evil:/tmp/up/etc/passwd", target)
        with open(target) as f:
            self.assertIn("web:x:1000", f.read())  # the container's own
        self.assertEqual(self.look(), self.before)

    def test_nothing_of_the_container_is_executed(self):
        # A20's place for cp: programs and a name service that the container supplies are never run.
        self.start("--name", "evil")
        self.onggi("exec", "evil", "sh", "-c", "for p in tar xz gzip cp unpigz; do rm -f /bin/$p; printf '#!/bin/sh\\ntouch /ran\\n' > /bin/$p; chmod +x /bin/$p; done;"
                   "echo 'passwd: evil' > /etc/nsswitch.conf")
        target = os.path.join(self.scratch, "out")
        self.onggi("cp", "-a", "evil:/etc", target)
        self.onggi("cp", target, "evil:/tmp")
        self.onggi("export", "-o", target + ".tar", "evil")
        self.assertEqual(self.onggi("exec", "evil", "sh", "-c", "ls /ran 2>/dev/null; true"), "")
