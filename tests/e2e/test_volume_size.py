"""Volumes with a bound (size=): the container meets ENOSPC, several share one, and what was in it is there afterwards."""

import json
import os
import signal
import subprocess
import time
import unittest

from engine import PROGRAM, EngineTest

needs_disks = unittest.skipUnless(os.access("/dev/loop-control", os.W_OK) and os.path.exists("/usr/sbin/mkfs.ext4"), "needs disk_quota")


@needs_disks
class Sizes(EngineTest):
    def sh(self, script, *options):
        return self.onggi("run", "--rm", "--network", "none", *options, "busybox", "sh", "-c", script)

    def test_enospc_for_the_container(self):
        self.onggi("volume", "create", "--opt", "size=32m", "small")
        out = self.sh("dd if=/dev/zero of=/v/f bs=1M count=64 2>&1; stat -c %s /v/f; ls -A /v", "-v", "small:/v")
        self.assertIn("No space left on device", out)
        lines = out.strip().split("\n")
        self.assertTrue(16 << 20 < int(lines[-2]) < 32 << 20, out)
        self.assertEqual(lines[-1], "f")  # no lost+found: the tree is the user's alone
        self.assertEqual(self.sh("rm /v/f && echo again > /v/g && cat /v/g", "-v", "small:/v"), "again\n")

    def test_inspect_df_and_removal(self):
        self.onggi("volume", "create", "-o", "size=64m", "named")
        v = json.loads(self.onggi("volume", "inspect", "named"))[0]
        disk = os.path.join(self.root, "volumes/named/disk")
        self.assertEqual((v["Options"], v["Mountpoint"], v["Status"]["Bound"]), ({"size": "64m"}, disk, 64 << 20))
        self.assertLess(v["Status"]["OnDisk"], 16 << 20)
        self.assertEqual(os.stat(disk).st_size, 64 << 20)
        self.sh("dd if=/dev/urandom of=/v/f bs=1M count=20 2>/dev/null; sync", "-v", "named:/v")
        self.assertGreater(json.loads(self.onggi("volume", "inspect", "named"))[0]["Status"]["OnDisk"], 20 << 20)
        self.assertRegex(self.onggi("system", "df", "-v"), r"named +0 +2\d\.?\d*MB")
        self.onggi("volume", "rm", "named")
        self.wait_for(lambda: not os.path.exists(disk), "the file goes")

    def test_two_containers_have_one_file_system(self):
        self.start("--name", "one", "--mount", "source=both,target=/v,volume-opt=size=16m")
        self.start("--name", "two", "-v", "both:/v:ro")
        self.onggi("exec", "one", "sh", "-c", "echo hello > /v/x")
        self.assertEqual(self.onggi("exec", "two", "cat", "/v/x"), "hello\n")
        self.assertIn("Read-only", self.command("exec", "two", "touch", "/v/y").stderr)
        self.assertEqual(self._mounts(), [])
        mine = [json.loads(self.onggi("exec", "one", "sh", "-c", "stat -c '[%u,%g]' /v/x"))]
        self.assertEqual(mine, [[0, 0]])  # each container's own range, one owner on disk
        self.onggi("rm", "-f", "one", "two")
        self.assertEqual(self.sh("cat /v/x", "-v", "both:/v"), "hello\n")
        self.assertEqual(json.loads(self.onggi("volume", "inspect", "both"))[0]["Options"], {"size": "16m"})

    def test_it_has_what_the_image_has(self):
        self.assertIn("passwd", self.sh("ls /etc", "--mount", "source=filled,target=/etc,volume-opt=size=16m"))
        self.assertIn("root:x:0:0", self.sh("cat /v/passwd; stat -c %u /v/passwd", "-v", "filled:/v"))

    def test_with_the_way_of_older_kernels(self):
        env = dict(self.environment(), ONGGI_TEST_OVERLAY="names")
        self.onggi("volume", "create", "-o", "size=16m", "old")
        out = subprocess.run([PROGRAM, "run", "--rm", "--network", "none", "--read-only", "-v", "old:/v", "busybox", "sh", "-c", "echo y > /v/y; touch /x || cat /v/y"],
                             env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(out.stdout, "y\n", out.stderr)

    def test_bad_sizes_and_other_sizes(self):
        for size, words in (("1m", "the least is 16m"), ("much", "not a size"), ("", "not a size"), ("99999999999999999999g", "not a size"), ("-1", "not a size")):
            self.assertIn(words, self.fails("volume", "create", "-o", "size=" + size, "bad"))
        self.assertIn("not supported", self.fails("volume", "create", "-o", "type=nfs", "bad"))
        self.assertIn("mount type 'bind'", self.fails("run", "--mount", "type=bind,src=/tmp,dst=/t,volume-opt=size=16m", "busybox"))
        self.assertIn("KEY=VALUE", self.fails("run", "--mount", "dst=/t,volume-opt=size", "busybox"))
        self.assertEqual(self.onggi("volume", "ls", "-q"), "")
        self.onggi("volume", "create", "-o", "size=16m", "fixed")
        self.onggi("volume", "create", "-o", "size=16m", "fixed")
        for options in (["-o", "size=32m"],):
            self.assertIn("the size of a volume cannot be changed", self.fails("volume", "create", *options, "fixed"))

    def test_killed_while_it_is_made(self):
        """kill -9 at some moment of the creation: it is there whole, or it is made by the next one."""
        for n in range(12):
            p = subprocess.Popen([PROGRAM, "volume", "create", "-o", "size=16m", "cut%d" % n], env=self.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(n * 0.002)
            p.send_signal(signal.SIGKILL)
            p.wait()
            self.onggi("volume", "create", "-o", "size=16m", "cut%d" % n)
            self.assertEqual(self.sh("echo z > /v/z; cat /v/z", "-v", "cut%d:/v" % n), "z\n")

    def test_a_damaged_disk(self):
        self.onggi("volume", "create", "-o", "size=16m", "hurt")
        with open(os.path.join(self.root, "volumes/hurt/disk"), "r+b") as f:
            f.seek(1024)
            f.write(b"\\0" * 1024)
        error = self.fails("run", "--rm", "--network", "none", "-v", "hurt:/v", "busybox", "true")
        self.assertIn("mount the volume hurt", error)
        self.assertEqual(self.sh("echo fine"), "fine\n")
