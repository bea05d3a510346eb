"""cp both ways, tar streams, export, diff: contents, owners, docker's rules for targets, faults."""

import io
import os
import shutil
import stat
import subprocess
import tarfile

from engine import PROGRAM, EngineTest, TIMEOUT, busybox_tree


class Copy(EngineTest):
    def setUp(self):
        super().setUp()
        self.host = os.path.join(self.scratch, "host")
        os.mkdir(self.host)

    def path(self, *names):
        return os.path.join(self.host, *names)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def read(self, name):
        with open(self.path(name)) as f:
            return f.read()

    def sh(self, name, line):
        return self.onggi("exec", name, "sh", "-c", line)

    def test_files_and_directories_both_ways(self):
        self.start("--name", "web", "-v", "data:/data")
        self.write("tree/a", "one")
        self.write("tree/sub/b", "two")
        os.symlink("a", self.path("tree/link"))
        os.chmod(self.path("tree/a"), 0o640)
        self.onggi("cp", self.path("tree"), "web:/tmp")  # into an existing directory
        self.onggi("cp", self.path("tree"), "web:/fresh")  # becomes it
        self.onggi("cp", self.path("tree") + "/.", "web:/data")  # its contents, into a volume
        for where in ("/tmp/tree", "/fresh", "/data"):
            self.assertEqual(self.sh("web", "cd %s; cat a sub/b; readlink link; stat -c '%%u:%%g %%a' a" % where), "onetwoa\n0:0 640\n")
        self.sh("web", "echo new > /data/c; chown web:web /data/c; rm /data/a")
        self.onggi("cp", "web:/data", self.path("out"))
        self.assertEqual(sorted(os.listdir(self.path("out"))), ["c", "link", "sub"])
        self.assertEqual(self.read("out/sub/b"), "two")
        self.assertEqual(os.stat(self.path("out/c")).st_uid, os.getuid())
        self.onggi("cp", "-a", "web:/data/c", self.path("kept"))
        self.assertEqual((os.stat(self.path("kept")).st_uid, os.stat(self.path("kept")).st_gid), (1000, 1000))
        self.onggi("cp", "-a", self.path("kept"), "web:/tmp/kept")
        self.assertEqual(self.sh("web", "stat -c %u:%g /tmp/kept"), "1000:1000\n")

    def test_stopped_container(self):
        self.onggi("create", "--name", "made", "--network", "none", "-v", "data:/data", "busybox", "sh", "-c", "cat /conf; echo more > /left")
        self.onggi("cp", self.write("conf", "settings\n"), "made:/conf")
        self.assertIn("its volume at /data is not mounted; start it first", self.fails("cp", self.path("conf"), "made:/data/x"))
        self.assertEqual(self.onggi("start", "-a", "made"), "settings\n")
        self.onggi("cp", "made:/left", self.path("left"))
        self.assertEqual(self.read("left"), "more\n")

    def test_what_a_target_means(self):
        self.start("--name", "web")
        one = self.write("one", "1")
        self.onggi("cp", one, "web:/tmp/two")
        self.onggi("cp", one, "web:tmp/")  # relative to the root
        self.assertEqual(self.sh("web", "cat /tmp/two /tmp/one"), "11")
        self.onggi("cp", self.write("hosts", "127.0.0.1 x\n"), "web:/etc/hosts")  # something is mounted on it
        self.assertEqual(self.sh("web", "cat /etc/hosts"), "127.0.0.1 x\n")
        os.mkdir(self.path("dir"))
        for words, reason in (((one, "web:/none/x"), "No such file"), ((one, "web:/none/"), "destination directory must exist"),
                              ((self.path("dir"), "web:/tmp/one"), "cannot copy a directory to the file"), ((one, "web:/etc/passwd/"), "ot a directory"),
                              (("web:/nothing", self.host), "No such file"), ((one, self.path("x")), "at least one container"),
                              (("web:/a", "web:/b"), "between containers"), ((one, "nobody:/"), "No such container"), ((one, "web:"), "a path is empty"),
                              (("web:/etc/passwd/.", self.host), "ot a directory")):
            self.assertIn(reason, self.fails("cp", *words), words)

    def test_symlinks(self):
        self.start("--name", "web")
        self.sh("web", "echo secret > /etc/real; ln -s /etc/real /tmp/link; ln -s /etc /tmp/dir")
        self.onggi("cp", "web:/tmp/link", self.path("copied"))
        self.assertEqual(os.readlink(self.path("copied")), "/etc/real")
        self.onggi("cp", "-L", "web:/tmp/link", self.path("followed"))
        self.assertEqual(self.read("followed"), "secret\n")  # the container's, not the host's
        self.onggi("cp", self.write("x", "in"), "web:/tmp/dir/x")
        self.assertEqual(self.sh("web", "cat /etc/x"), "in")
        self.assertFalse(os.path.exists("/etc/x"))

    def test_streams(self):
        self.start("--name", "web")
        self.sh("web", "mkdir -p /d/e; echo 1 > /d/a; ln /d/a /d/b; ln -s a /d/l; chown -R web:web /d; chmod 4750 /d/a; touch /d/$(printf '%0150d' 7)")
        out = subprocess.run([PROGRAM, "cp", "web:/d", "-"], stdout=subprocess.PIPE, check=True, env=self.environment(), timeout=TIMEOUT).stdout
        with tarfile.open(fileobj=io.BytesIO(out)) as t:
            names = {m.name: m for m in t.getmembers()}
            self.assertEqual(sorted(names), ["d", "d/" + "%0150d" % 7, "d/a", "d/b", "d/e", "d/l"])
            first, second = sorted((names["d/a"], names["d/b"]), key=lambda m: m.islnk())
            self.assertEqual((second.islnk(), second.linkname, t.extractfile(first).read()), (True, first.name, b"1\n"))
            self.assertEqual((names["d/e"].uid, first.mode, names["d/l"].linkname), (1000, 0o4750, "a"))
        made = subprocess.run([PROGRAM, "cp", "-a", "-", "web:/tmp"], input=out, env=self.environment(), timeout=TIMEOUT)
        self.assertEqual(made.returncode, 0)
        self.assertEqual(self.sh("web", "cd /tmp/d; cat a b; stat -c '%u %a %h' a; readlink l; ls | wc -l"), "1\n1\n1000 4750 2\na\n5\n")

    def test_damaged_and_hostile_streams(self):
        self.start("--name", "web")

        def stream(*members, cut=None):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as t:
                for name, kind, extra in members:
                    m = tarfile.TarInfo(name)
                    m.type = kind
                    m.linkname = extra if isinstance(extra, str) else ""
                    data = extra if isinstance(extra, bytes) else b""
                    m.size = len(data)
                    t.addfile(m, io.BytesIO(data))
            return buffer.getvalue()[:cut]

        def put(data):
            r = subprocess.run([PROGRAM, "cp", "-", "web:/tmp"], input=data, env=self.environment(), stderr=subprocess.PIPE, timeout=TIMEOUT)
            return r.returncode, r.stderr.decode()
        canary = os.path.join(self.scratch, "canary")
        self.assertIn("'..' in its name", put(stream(("../../x", tarfile.REGTYPE, b"x")))[1])
        self.assertEqual(put(stream(("esc", tarfile.SYMTYPE, self.scratch), ("esc/canary", tarfile.REGTYPE, b"x")))[0], 1)
        self.assertFalse(os.path.exists(canary))
        self.assertEqual(put(stream(("hard", tarfile.LNKTYPE, "/etc/../../../etc/shadow")))[0], 1)
        self.assertIn("device node", put(stream(("null", tarfile.CHRTYPE, b"")))[1])
        self.assertIn("ends in the middle", put(stream(("half", tarfile.REGTYPE, b"x" * 5000), cut=2000))[1])
        self.assertEqual(self.sh("web", "ls -A /tmp | grep -v esc; true"), "")  # no half file, no temporary one
        self.assertIn("no tar", put(b"this is not an archive" * 100)[1])

    def test_export(self):
        base = busybox_tree(os.path.join(self.scratch, "with-caps"))
        shutil.copy(os.path.join(base, "bin/busybox"), os.path.join(base, "bin/bind"))
        capability = bytes.fromhex("0100000200040000000000000000000000000000")  # revision 2, effective, NET_BIND_SERVICE
        os.setxattr(os.path.join(base, "bin/bind"), "security.capability", capability)
        self.image("capable", trees=[base])
        self.start("--name", "web", "-v", "data:/data", image="capable")
        self.sh("web", "echo x > /new; echo hidden > /data/file; chown web /new")
        self.onggi("export", "-o", self.path("root.tar"), "web")
        with tarfile.open(self.path("root.tar")) as t:
            names = {m.name: m for m in t.getmembers()}
        self.assertEqual((names["new"].uid, names["etc/passwd"].uid), (1000, 0))
        self.assertEqual(names["bin/bind"].pax_headers["SCHILY.xattr.security.capability"].encode("utf-8", "surrogateescape"), capability)
        self.assertIn("data", names)
        self.assertNotIn("data/file", names)
        self.assertFalse([n for n in names if n.startswith(("proc/", "sys/", "dev/"))])
        self.fails("export", "-o", self.path("no/root.tar"), "web")
        self.assertEqual(os.listdir(self.host), ["root.tar"])

    def test_diff(self):
        base = os.path.join(self.scratch, "base")
        os.makedirs(base + "/opt/old")
        for name in ("opt/old/one", "opt/two", "keep"):
            with open(os.path.join(base, name), "w") as f:
                f.write(name)
        self.image("layered", trees=[busybox_tree(os.path.join(self.scratch, "bb")), base])
        self.command("run", "--name", "job", "--network", "none", "layered", "sh", "-c",
                     "rm -r /opt/old /keep; mkdir /opt/old; echo n > /opt/old/new; echo c >> /opt/two; mkdir -p /a/b")
        lines = self.onggi("diff", "job").splitlines()
        wanted = ["A /a", "A /a/b", "D /keep", "C /opt", "C /opt/old", "D /opt/old/one", "A /opt/old/new", "C /opt/two"]
        self.assertEqual(lines, wanted)  # nothing of the mount points that the runtime made
        self.command("run", "--name", "moded", "--network", "none", "layered", "sh", "-c", "chmod 700 /etc; echo x >> /etc/passwd")
        self.assertEqual(self.onggi("diff", "moded").splitlines(), ["C /etc", "C /etc/passwd"])
        self.fails("diff", "nobody")

    def test_killed_copy_leaves_no_part(self):
        self.start("--name", "web")
        fifo = subprocess.Popen([PROGRAM, "cp", "-", "web:/tmp"], stdin=subprocess.PIPE, env=self.environment())
        header = tarfile.TarInfo("slow")
        header.size = 1 << 20
        fifo.stdin.write(header.tobuf() + b"x" * 100000)
        fifo.stdin.flush()
        self.wait_for(lambda: [n for n in os.listdir("/proc/%d/fd" % fifo.pid) if "/tmp/" in os.readlink("/proc/%d/fd/%s" % (fifo.pid, n))],
                      "the copy has begun")
        fifo.kill()
        fifo.wait()
        fifo.stdin.close()
        self.assertEqual(self.sh("web", "ls -A /tmp"), "")

    def test_full_disk_leaves_no_half_file(self):
        self.start("--name", "small", "--tmpfs", "/t:size=1m")
        with open(self.path("big"), "wb") as f:
            f.write(os.urandom(4 << 20))
        self.assertIn("No space left", self.fails("cp", self.path("big"), "small:/t/big"))
        self.assertEqual(self.sh("small", "ls -A /t"), "")
        self.assertTrue(stat.S_ISREG(os.stat(self.path("big")).st_mode))
