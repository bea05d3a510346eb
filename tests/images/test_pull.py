"""Pulling from a registry: what arrives is what the image says, entry by entry; and what goes wrong leaves nothing.

The server is Debian's docker-registry where a registry behaves, FaultyRegistry where it does not.
"""

import json
import os
import stat
import struct
import subprocess
import tarfile
import threading
import time

from image_test import (OCI_INDEX, Image, ImageTest, directory, dumps, entry, hardlink, make_tar, sha256, symlink)

CAP_NET_BIND = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # VFS_CAP_REVISION_2, effective


def pax_xattr(name, value):
    return {"SCHILY.xattr." + name: value.decode("utf-8", "surrogateescape")}


def base_tar():
    return make_tar([
        directory("./", mode=0o755), directory("etc/"), entry("etc/passwd", b"root:x:0:0\n", mode=0o644),
        directory("usr/"), directory("usr/bin", mtime=1_500_000_000), entry("usr/bin/tool", b"#!tool" * 1000, mode=0o4755, uid=3, gid=4),
        hardlink("usr/bin/again", "usr/bin/tool", mode=0o4755, uid=3, gid=4), symlink("bin", "usr/bin"), directory("gone"), entry("gone/x", b"x"),
        directory("hidden"), entry("hidden/y", b"y"), directory("tmp", mode=0o1777),
        entry("etc/" + "n" * 200, b"long"), entry("etc/" + "/".join(["d" * 90] * 20), b"deep"),
        entry("cap", b"c", mode=0o755, pax=pax_xattr("security.capability", CAP_NET_BIND)),
        entry("user", b"u", pax=pax_xattr("user.note", b"\xff\x00\x01hello")),
        entry("fine", b"t", pax={"mtime": "1600000000.123456789"}),
        entry("utf-\u00e9\ud55c", b"n"), entry("big", os.urandom(3_000_000)),
        entry("fifo", kind=tarfile.FIFOTYPE), entry("null", kind=tarfile.CHRTYPE, mode=0o666, dev=(1, 3)),
        entry("owned", b"", uid=100000, gid=2**31)])


def upper_tar():
    return make_tar([entry(".wh.gone"), directory("hidden"), entry("hidden/.wh..wh..opq"), entry("hidden/new", b"new"), entry("etc/passwd", b"changed")])


class Pull(ImageTest):
    def image(self, **kw):
        return Image([base_tar(), upper_tar()], **kw)

    def check_trees(self, image):
        base, upper = (self.layer(d) for d in image.diff_ids)
        st = os.lstat(base + "/usr/bin/tool")
        self.assertEqual((stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_nlink), (0o4755, 3, 4, 2))
        self.assertEqual(os.lstat(base + "/usr/bin").st_mtime, 1_500_000_000)
        self.assertEqual(os.readlink(base + "/bin"), "usr/bin")
        self.assertEqual(stat.S_IMODE(os.lstat(base + "/tmp").st_mode), 0o1777)
        self.assertEqual(os.getxattr(base + "/cap", "security.capability"), CAP_NET_BIND)
        self.assertEqual(os.getxattr(base + "/user", "user.note"), b"\xff\x00\x01hello")
        self.assertEqual(os.lstat(base + "/fine").st_mtime_ns, 1600000000123456789)
        self.assertTrue(os.path.exists(base + "/utf-\u00e9\ud55c"))
        self.assertTrue(stat.S_ISFIFO(os.lstat(base + "/fifo").st_mode))
        self.assertEqual((os.lstat(base + "/owned").st_uid, os.lstat(base + "/owned").st_gid), (100000, 2**31))
        with open(base + "/etc/" + "/".join(["d" * 90] * 20), "rb") as f:
            self.assertEqual(f.read(), b"deep")
        null = os.lstat(base + "/null")
        self.assertEqual((stat.S_IFMT(null.st_mode), stat.S_IMODE(null.st_mode), null.st_rdev), (stat.S_IFCHR, 0o666, os.makedev(1, 3)))
        white = os.lstat(upper + "/gone")
        self.assertEqual((stat.S_IFMT(white.st_mode), white.st_rdev), (stat.S_IFCHR, 0))
        self.assertEqual(os.getxattr(upper + "/hidden", "trusted.overlay.opaque"), b"y")
        self.assertEqual(sorted(os.listdir(upper + "/hidden")), ["new"])

    def test_every_compression_gives_the_same_tree(self):
        registry = self.registry()
        for compress in ("gzip", "zstd", "none"):
            image = self.image(compress=compress)
            self.root = os.path.join(self.scratch, compress)
            ref = registry.push("a/b", compress, image)
            answer = self.succeed("pull", ref)
            self.assertEqual(answer.last["ids"], [image.id])
            self.assertEqual(answer.last["digest"], image.digest)
            self.assertTrue(answer.last["changed"])
            self.check_trees(image)
            self.assert_clean(layers=2)

    def test_docker_schema_2(self):
        registry, image = self.registry(), self.image(docker=True)
        self.succeed("pull", registry.push("d", "t", image))
        self.check_trees(image)

    def test_a_second_pull_moves_nothing(self):
        registry, image = self.registry(), self.image()
        ref = registry.push("a", "t", image)
        self.succeed("pull", ref)
        again = self.succeed("pull", ref)
        self.assertNotIn("changed", again.last)
        self.assertEqual(again.layers("exists"), [layer["digest"] for layer in image.layers])
        self.assertLess(again.last.get("transferred", 0), 4096)
        self.assert_clean(layers=2)

    def test_layers_are_shared(self):
        registry, shared = self.registry(), make_tar([entry("s", b"shared")])
        self.succeed("pull", registry.push("a", "1", Image([shared, make_tar([entry("a")])])))
        second = self.succeed("pull", registry.push("a", "2", Image([shared, make_tar([entry("b")])])))
        self.assertEqual(len(second.layers("exists")), 1)
        self.assert_clean(layers=3)

    def test_by_digest_and_by_platform(self):
        registry = self.registry()
        ours, theirs = self.image(), Image([make_tar([entry("arm", b"arm")])], arch="arm64")
        registry.push("m", "ours", ours)
        registry.push("m", "theirs", theirs)
        index = dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            {"mediaType": i.media_type, "digest": i.digest, "size": len(i.manifest), "platform": {"os": "linux", "architecture": a}}
            for i, a in ((theirs, "arm64"), (ours, "amd64"))]})
        registry.put_manifest("m", "multi", index, OCI_INDEX)
        name = registry.host + "/m"
        self.assertEqual(self.succeed("pull", name + ":multi", platform="linux/amd64").last["ids"], [ours.id])
        self.assertEqual(self.succeed("pull", name + ":multi", platform="arm64").last["ids"], [theirs.id])
        answer = self.succeed("pull", name + "@" + sha256(index), platform="linux/amd64")
        self.assertEqual((answer.last["digest"], answer.last["ids"]), (sha256(index), [ours.id]))
        error = self.refuse("pull", name + ":multi", platform="linux/s390x")
        self.assertIn("it offers linux/arm64, linux/amd64", error["text"])
        self.assertEqual(error["kind"], "not-found")

    def test_all_tags(self):
        registry = self.registry()
        images = [Image([make_tar([entry("n", str(n).encode())])]) for n in range(3)]
        for n, image in enumerate(images):
            registry.push("all", "t%d" % n, image)
        answer = self.succeed("pull", registry.host + "/all", allTags=True)
        self.assertEqual(sorted(answer.last["ids"]), sorted(i.id for i in images))
        self.assertIn("cannot be given with --all-tags", self.refuse("pull", registry.host + "/all:t1", allTags=True)["text"])

    def test_what_is_not_there_says_so(self):
        registry = self.registry()
        error = self.refuse("pull", registry.host + "/nothing:here")
        self.assertEqual(error["kind"], "not-found")
        self.assertIn("pull %s/nothing:here" % registry.host, error["text"])
        registry.stop()
        error = self.refuse("pull", registry.host + "/nothing:here")
        self.assertIn("onnect", error["text"])
        self.assertIn("Bad Name", self.refuse("pull", "Bad Name")["text"])

    # --- sharing and interruption ---

    def test_concurrent_pulls_share_work(self):
        image = Image([make_tar([entry("f%d" % i, os.urandom(400_000))]) for i in range(3)])
        slow = threading.Event()

        def hook(handler, path):
            if "/blobs/" in path and image.layers[0]["digest"] in path:
                slow.wait(10)
            return False
        registry = self.faulty({"c": image}, hook)
        workers = [self.start("pull", registry.host + "/c:t") for _ in range(3)]
        time.sleep(0.5)
        slow.set()
        for w in workers:
            answer = self.finish(w)
            self.assertTrue(answer.ok, answer.last)
            self.assertEqual(answer.last["ids"], [image.id])
        for layer in image.layers:
            self.assertEqual(len([s for s in registry.seen if layer["digest"] in s[1]]), 1, "a layer was fetched twice")
        self.assert_clean(layers=3)

    def test_a_broken_line_is_continued_by_range(self):
        image = Image([make_tar([entry("big", os.urandom(2_000_000))])])
        digest, data = image.layers[0]["digest"], image.blobs[image.layers[0]["digest"]]
        cuts = []

        def hook(handler, path):
            if digest not in path or len(cuts) >= 3:
                return False
            start = int(handler.headers["Range"][6:].split("-")[0]) if handler.headers.get("Range") else 0
            cuts.append(start)
            handler.send_response(206 if start else 200)
            handler.send_header("Content-Length", str(len(data) - start))
            handler.end_headers()
            handler.wfile.write(data[start:start + 500_000])
            handler.close_connection = True
            return True
        registry = self.faulty({"c": image}, hook)
        self.succeed("pull", registry.host + "/c:t")
        self.assertEqual(cuts, [0, 500_000, 1_000_000])
        self.assert_clean(layers=1)

    def test_a_registry_without_range_starts_over(self):
        image = Image([make_tar([entry("big", os.urandom(1_000_000))])])
        digest, data = image.layers[0]["digest"], image.blobs[image.layers[0]["digest"]]
        tries = []

        def hook(handler, path):
            if digest not in path:
                return False
            tries.append(handler.headers.get("Range"))
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data if len(tries) > 1 else data[:300_000])
            handler.close_connection = True
            return True
        registry = self.faulty({"c": image}, hook)
        self.succeed("pull", registry.host + "/c:t")
        self.assertEqual(tries, [None, "bytes=300000-"])
        self.assert_clean(layers=1)

    def test_killed_in_the_middle_is_resumed(self):
        image = Image([make_tar([entry("big", os.urandom(2_000_000))])])
        digest, data = image.layers[0]["digest"], image.blobs[image.layers[0]["digest"]]
        halfway = threading.Event()
        ranges = []

        def hook(handler, path):
            if digest not in path:
                return False
            ranges.append(handler.headers.get("Range"))
            if len(ranges) > 1:
                return False
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data[:1_000_000])
            handler.wfile.flush()
            halfway.set()
            time.sleep(20)
            return True
        registry = self.faulty({"c": image}, hook)
        worker = self.start("pull", registry.host + "/c:t")
        self.assertTrue(halfway.wait(20))
        deadline = time.monotonic() + 20
        partial = self.images("tmp", "blob-" + digest.split(":")[1])
        while not (os.path.exists(partial) and os.path.getsize(partial) == 1_000_000):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        children = [int(p) for p in open("/proc/%d/task/%d/children" % (worker.pid, worker.pid)).read().split()]
        for task in os.listdir("/proc/%d/task" % worker.pid):
            children += [int(p) for p in open("/proc/%d/task/%s/children" % (worker.pid, task)).read().split()]
        self.assertTrue(children, "the unpacker runs beside the worker")
        worker.kill()
        worker.communicate()
        for child in set(children):
            deadline = time.monotonic() + 10
            while os.path.exists("/proc/%d/exe" % child) and time.monotonic() < deadline:
                time.sleep(0.02)
            self.assertFalse(os.path.exists("/proc/%d/exe" % child), "the unpacker outlives the worker")
        self.assertEqual(self.worker("check").ok, True)
        self.succeed("pull", registry.host + "/c:t")
        self.assertEqual(ranges, [None, "bytes=1000000-"])
        self.assert_clean(layers=1)

    def test_overload_is_waited_for(self):
        image, answers = Image([make_tar([entry("a", b"a")])]), [429, 503, 500]

        def hook(handler, path):
            if "/manifests/" in path and answers:
                handler.answer(answers.pop(0), b"{}", {"Retry-After": "0"})
                return True
            return False
        registry = self.faulty({"c": image}, hook)
        self.succeed("pull", registry.host + "/c:t")
        self.assertEqual(answers, [])

    def test_mirrors_come_first(self):
        image = Image([make_tar([entry("a", b"a")])])
        mirror, origin = self.faulty({"c": image}), self.faulty({"c": image})
        dead = self.faulty({})
        options = [{"host": origin.host, "mirrors": ["http://" + dead.host, "http://" + mirror.host]}]
        answer = self.succeed("pull", origin.host + "/c:t", registries=options)
        self.assertEqual(origin.seen, [])
        self.assertEqual(len([s for s in mirror.seen if "/blobs/" in s[1]]), 2)
        self.assertIn(dead.host, answer.notes[0])

    def test_the_registries_file(self):
        image = Image([make_tar([entry("a", b"a")])])
        mirror, origin = self.faulty({"c": image}), self.faulty({"c": image})
        where = self.env["HOME"] + "/.config/onggi"
        os.makedirs(where)
        with open(where + "/registries.json", "wb") as f:
            f.write(dumps({"registries": [{"host": origin.host, "mirrors": ["http://" + mirror.host]}]}))
        self.succeed("pull", origin.host + "/c:t")
        self.assertEqual(origin.seen, [])
        with open(where + "/registries.json", "w") as f:
            f.write('{"registries": [{"host": 1}]}')
        self.assertIn("registries.json: registries[0].host", self.refuse("pull", origin.host + "/c:t")["text"])
        self.env["ONGGI_REGISTRIES"] = "/does/not/exist"
        self.assertIn("/does/not/exist", self.refuse("pull", origin.host + "/c:t")["text"])

    # --- a full disk in the middle ---

    def test_a_full_disk_leaves_nothing(self):
        image = Image([make_tar([entry("big", os.urandom(12_000_000))])])
        registry = self.faulty({"c": image})
        os.mkdir(self.root)
        script = "mount -t tmpfs -o size=16m,mode=700 none %s && exec %s" % (self.root, os.path.join(os.path.dirname(__file__), "full_disk.sh"))
        from image_test import WORKER
        request = dumps({"operation": "pull", "root": self.root, "references": [registry.host + "/c:t"]})
        r = subprocess.run(["unshare", "-m", "sh", "-c", script], env={**self.env, "WORKER": WORKER, "ROOT": self.root}, input=request,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100)
        last = [json.loads(line) for line in r.stdout.decode().splitlines() if line.startswith("{")][-1]
        self.assertEqual(last["event"], "error", r.stderr)
        self.assertIn("No space left", last["text"])
        self.assertIn("left: 0", r.stdout.decode(), r.stdout)
