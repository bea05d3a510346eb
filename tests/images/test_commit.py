"""Layers that are made here: a container's writable layer becomes a layer of an image, its root a tar.

The round trip is the proof: what an overlay shows above the base is what it shows above the base's layers and the new one.
"""

import gzip
import io
import json
import os
import socket
import stat
import struct
import subprocess
import tarfile

from image_test import WORKER, Image, ImageTest, directory, dumps, entry, make_tar, sha256, symlink, tree

BASE, COUNT = 1_000_000, 65536


class Commit(ImageTest):
    def setUp(self):
        super().setUp()
        self.base_tar = make_tar([directory("d"), entry("d/old", b"old"), directory("gone"), entry("gone/x", b"x"), directory("fresh"),
                                  entry("fresh/old", b"o"), entry("keep", b"keep"), symlink("l", "keep")])
        self.base = Image([self.base_tar])
        registry = self.faulty({"base": self.base})
        self.ref = registry.host + "/base:t"
        self.succeed("pull", self.ref)
        self.upper = os.path.join(self.scratch, "upper")
        os.mkdir(self.upper)

    def write(self, path, data=b"", uid=0, gid=0, mode=0o644):
        full = os.path.join(self.upper, path)
        with open(full, "wb") as f:
            f.write(data)
        os.chown(full, BASE + uid, BASE + gid)
        os.chmod(full, mode)
        os.utime(full, ns=(0, 1_700_000_000_123_456_789))
        return full

    def fill_upper(self):
        os.mkdir(self.upper + "/d")
        os.chown(self.upper + "/d", BASE + 5, BASE + 6)
        os.chmod(self.upper + "/d", 0o2775)
        self.write("d/new", b"new" * 1000, 33, 33)
        self.write("suid", b"s", 0, 0, 0o4755)
        cap = self.write("cap", b"c", 0, 0, 0o755)
        os.setxattr(cap, "security.capability", struct.pack("<IIIIII", 0x03000001, 1 << 10, 0, 0, 0, BASE))
        os.setxattr(cap, "user.note", b"\xff\x00hello\n")
        os.link(cap, self.upper + "/cap2")
        os.mknod(self.upper + "/gone", stat.S_IFCHR, 0)
        os.mkdir(self.upper + "/fresh")
        os.chown(self.upper + "/fresh", BASE, BASE)
        os.setxattr(self.upper + "/fresh", "trusted.overlay.opaque", b"y")
        os.symlink("keep", self.upper + "/link")
        os.chown(self.upper + "/link", BASE + 7, BASE + 7, follow_symlinks=False)
        os.mkfifo(self.upper + "/fifo")
        os.chown(self.upper + "/fifo", BASE, BASE)
        self.write("n" * 200, b"long")
        s = socket.socket(socket.AF_UNIX)
        s.bind(self.upper + "/sock")
        s.close()

    def commit(self, *names, **kw):
        return self.succeed("commit", *names, image=self.ref, tree=self.upper, idBase=BASE, idCount=COUNT, **kw)

    def test_everything_that_an_upper_can_hold(self):
        self.fill_upper()
        answer = self.commit("made:1", message="a message", author="me", createdBy="onggi commit", config=json.dumps({"Cmd": ["/x"]}))
        self.assertIn("1 sockets", answer.notes[0])
        self.succeed("save", "made:1", path="oci:%s:x" % (self.scratch + "/o"))
        with open(self.scratch + "/o/blobs/sha256/" + answer.last["ids"][0].split(":")[1]) as f:
            config = json.load(f)
        self.assertEqual(config["rootfs"]["diff_ids"][0], self.base.diff_ids[0])
        self.assertEqual((config["config"], config["author"]), ({"Cmd": ["/x"]}, "me"))
        self.assertEqual((config["history"][-1]["comment"], config["history"][-1]["created_by"]), ("a message", "onggi commit"))
        root = self.layer(config["rootfs"]["diff_ids"][1])
        st = os.lstat(root + "/d")
        self.assertEqual((st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)), (5, 6, 0o2775))
        st = os.lstat(root + "/d/new")
        self.assertEqual((st.st_uid, st.st_gid, st.st_mtime_ns), (33, 33, 1_700_000_000_123_456_789))
        self.assertEqual(stat.S_IMODE(os.lstat(root + "/suid").st_mode), 0o4755)
        self.assertEqual(os.getxattr(root + "/cap", "security.capability"), struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0), "revision 2 again")
        self.assertEqual(os.getxattr(root + "/cap", "user.note"), b"\xff\x00hello\n")
        self.assertEqual(os.lstat(root + "/cap").st_ino, os.lstat(root + "/cap2").st_ino)
        self.assertEqual(os.lstat(root + "/gone").st_rdev, 0)
        self.assertTrue(stat.S_ISCHR(os.lstat(root + "/gone").st_mode))
        self.assertEqual(os.getxattr(root + "/fresh", "trusted.overlay.opaque"), b"y")
        self.assertEqual((os.readlink(root + "/link"), os.lstat(root + "/link").st_uid), ("keep", 7))
        self.assertTrue(stat.S_ISFIFO(os.lstat(root + "/fifo").st_mode))
        self.assertTrue(os.path.exists(root + "/" + "n" * 200))
        self.assertFalse(os.path.lexists(root + "/sock"))
        self.assert_clean(layers=2)

    def test_the_layer_is_what_a_peer_would_read(self):
        self.fill_upper()
        self.commit("made:1")
        self.succeed("save", "made:1", path=self.scratch + "/a.tar")
        with tarfile.open(self.scratch + "/a.tar") as outer:
            layers = json.load(outer.extractfile("manifest.json"))[0]["Layers"]
            blob = outer.extractfile(layers[1]).read()
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as t:
            names = t.getnames()
        self.assertIn(".wh.gone", names)
        self.assertIn("fresh/.wh..wh..opq", names)
        self.assertIn("d/new", names)
        self.assertEqual(names, sorted(names, key=lambda n: n.replace(".wh..wh..opq", "").replace(".wh.", "").split("/")), "in the order of names")

    def test_the_same_tree_is_the_same_layer(self):
        self.fill_upper()
        first = self.commit("made:1")
        blobs = set(os.listdir(self.images("blobs/sha256")))
        self.commit("made:2")
        self.assertEqual(set(os.listdir(self.images("blobs/sha256"))), blobs)
        self.assertEqual(len(os.listdir(self.images("layers"))), 2)
        self.assertTrue(first.last["ids"])

    def test_owners_outside_of_the_range(self):
        self.write("mine")
        with open(self.upper + "/theirs", "w"):
            pass  # root of the host
        answer = self.commit("made:1")
        self.assertIn("nobody", answer.notes[0])
        layer = [d for d in os.listdir(self.images("layers")) if d != self.base.diff_ids[0].split(":")[1]][0]
        self.assertEqual(os.lstat(self.images("layers", layer, "fs/theirs")).st_uid, 65534)
        self.assertEqual(os.lstat(self.images("layers", layer, "fs/mine")).st_uid, 0)

    def test_renamed_directories_are_refused(self):
        os.mkdir(self.upper + "/moved")
        os.setxattr(self.upper + "/moved", "trusted.overlay.redirect", b"/d")
        error = self.refuse("commit", "x:1", image=self.ref, tree=self.upper, idBase=BASE, idCount=COUNT)
        self.assertIn("renamed", error["text"])
        self.assert_clean(layers=1)

    def test_of_nothing(self):
        self.assertIn("no such image", self.refuse("commit", image="nothing", tree=self.upper)["text"])
        self.assertIn("No such file", self.refuse("commit", image=self.ref, tree=self.upper + "/no")["text"])
        self.commit("empty:1")  # a container that wrote nothing

    def test_swapped_while_it_is_read(self):
        """A container that replaces files by links to the host's secrets gets none of them into the image."""
        secret = os.path.join(self.scratch, "secret")
        with open(secret, "w") as f:
            f.write("SECRET-" * 100)
        os.mkdir(self.upper + "/w")
        for n in range(300):
            self.write("w/f%d" % n, b"plain")
        swapper = subprocess.Popen(["sh", "-c", 'cd "$0/w"; while :; do for f in f*; do ln -sf ../../secret x; mv x $f; echo plain >x; mv x $f; done; done', self.upper])
        try:
            for n in range(5):
                self.commit("swap:%d" % n)
        finally:
            swapper.kill()
            swapper.wait()
        for where, _, files in os.walk(self.images("layers")):
            for name in files:
                path = os.path.join(where, name)
                if stat.S_ISREG(os.lstat(path).st_mode):
                    with open(path, "rb") as f:
                        self.assertNotIn(b"SECRET", f.read())

    def test_export_gives_a_tree_that_imports_the_same(self):
        self.fill_upper()
        os.unlink(self.upper + "/sock")
        os.unlink(self.upper + "/gone")
        os.removexattr(self.upper + "/fresh", "trusted.overlay.opaque")
        os.chown(self.upper, BASE, BASE)
        out = os.path.join(self.scratch, "root.tar")
        self.succeed("export", tree=self.upper, path=out, idBase=BASE, idCount=COUNT)
        self.succeed("import", "exported:1", path=out)
        with open(out, "rb") as f:
            root = self.layer(sha256(f.read()))
        ours, theirs = tree(root), tree(self.upper)
        for path, there in theirs.items():
            here = list(ours[path])
            self.assertEqual((here[2] + BASE, here[3] + BASE), (there[2], there[3]), path)
            here[2:4] = there[2:4]
            if path in ("cap", "cap2"):
                here[6] = there[6]  # revision 2 and 3: compared above
            self.assertEqual(tuple(here), there, path)
        self.assertEqual(set(ours), set(theirs))

    def test_export_to_a_descriptor_and_to_nowhere(self):
        self.write("f", b"x")
        request = dumps({"operation": "export", "tree": self.upper, "path": "-", "idBase": BASE, "idCount": COUNT})
        r = subprocess.run(["sh", "-c", 'exec "$0" 3>&1 >/dev/null', WORKER], input=request, stdout=subprocess.PIPE, check=True, env=self.env)
        with tarfile.open(fileobj=io.BytesIO(r.stdout)) as t:
            self.assertEqual(t.getnames(), [".", "f"])
        self.refuse("export", tree=self.upper, path="/dev/full/x")
        request = dumps({"operation": "export", "tree": self.upper, "path": "-"})
        r = subprocess.run(["sh", "-c", 'exec "$0" 3>/dev/full', WORKER], input=request, stdout=subprocess.PIPE, env=self.env)
        self.assertIn("No space left", json.loads(r.stdout)["text"])
