"""A23-A26: images that attack whoever unpacks them, and registries that attack whoever asks them.

Each tar is a layer of an image that a registry serves. A canary beside the store holds what an escape would change or read; after
each tar it is as it was, nothing of it is inside the layer, no process and no half-made file is left. Whether the layer is
refused or tamed is stated by each test: both are containment, but never by accident.
"""

import gzip
import json
import os
import stat
import struct
import subprocess
import tarfile

from image_test import Image, ImageTest, directory, dumps, entry, hardlink, make_tar, sha256, symlink, tree


def raw_header(name=b"x", mode=b"0000644\0", uid=b"0000000\0", size=b"00000000000\0", kind=b"0", link=b"", magic=b"ustar\x0000", extra=b""):
    """A tar header byte by byte, with a right checksum."""
    h = bytearray(512)
    h[0:len(name)] = name
    h[100:108], h[108:116], h[116:124] = mode, uid, b"0000000\0"
    h[124:124 + len(size)] = size
    h[136:148] = b"00000000000\0"
    h[148:156] = b" " * 8
    h[156:157] = kind
    h[157:157 + len(link)] = link
    h[257:257 + len(magic)] = magic
    h[345:345 + len(extra)] = extra
    h[148:156] = b"%06o\0 " % sum(h)
    return bytes(h)


def padded(data):
    return data + b"\0" * (-len(data) % 512)


END = b"\0" * 1024


class HostileTars(ImageTest):
    """A23: the twenty of design and a few more."""

    def setUp(self):
        super().setUp()
        self.canary = os.path.join(self.scratch, "canary")
        os.mkdir(self.canary)
        with open(os.path.join(self.canary, "secret"), "w") as f:
            f.write("do not touch")
        self.before = tree(self.canary)
        self.addCleanup(self.assert_canary)

    def assert_canary(self):
        self.assertEqual(tree(self.canary), self.before, "the canary was touched")

    def unpack(self, *tars, compress="gzip", raw_blobs=None):
        """Pulls an image of these layers; returns the answer and the layers' trees' roots."""
        image = Image(list(tars), compress=compress)
        if raw_blobs:
            for i, (blob, diff) in enumerate(raw_blobs):
                image.blobs[sha256(blob)] = blob
        registry = self.faulty({"evil": image})
        answer = self.worker("pull", registry.host + "/evil:t")
        return answer, [self.layer(d) for d in image.diff_ids]

    def tamed(self, *tars):
        answer, roots = self.unpack(*tars)
        self.assertTrue(answer.ok, answer.last)
        self.assert_clean(layers=len(set(roots)))
        return roots

    def refused(self, *tars, says):
        before = os.listdir(self.images("layers")) if os.path.isdir(self.images("layers")) else []
        answer, _ = self.unpack(*tars)
        self.assertEqual(answer.last["event"], "error", "it was accepted")
        self.assertIn(says, answer.last["text"])
        self.assert_clean(layers=len(before))

    def up(self, *parts):
        return "../" * 12 + self.canary.lstrip("/") + "/" + "/".join(parts)

    def test_01_dot_dot(self):
        self.refused(make_tar([entry(self.up("new"), b"x")]), says="'..'")
        self.refused(make_tar([directory("a"), entry("a/../../b", b"x")]), says="'..'")

    def test_02_absolute_name(self):
        root, = self.tamed(make_tar([entry(self.canary + "/secret", b"overwritten")]))
        with open(root + self.canary + "/secret") as f:
            self.assertEqual(f.read(), "overwritten")

    def test_03_symlink_then_child(self):
        root, = self.tamed(make_tar([directory(self.canary.lstrip("/")), symlink("out", self.canary), entry("out/secret", b"x")]))
        self.assertTrue(os.path.exists(root + self.canary + "/secret"), "the link means what it means inside the image")
        self.refused(make_tar([symlink("out", self.canary), entry("out/secret", b"x")]), says="out")
        self.refused(make_tar([symlink("out", "/proc/self/root"), entry("out/etc/x", b"x")]), says="out")

    def test_04_symlink_chain_across_layers(self):
        roots = self.tamed(make_tar([symlink("a", "b"), symlink("b", self.canary)]), make_tar([entry("a/secret", b"x")]))
        self.assertEqual(os.readlink(roots[0] + "/a"), "b")
        self.assertTrue(os.path.isfile(roots[1] + "/a/secret"), "a layer knows nothing of those below it")

    def test_05_hard_link_outside(self):
        self.refused(make_tar([hardlink("x", self.up("secret"))]), says="'..'")
        self.refused(make_tar([hardlink("x", self.canary + "/secret")]), says="hard link")

    def test_06_hard_link_through_symlink(self):
        self.refused(make_tar([symlink("d", self.canary), hardlink("x", "d/secret")]), says="hard link")
        root, = self.tamed(make_tar([symlink("f", self.canary + "/secret"), hardlink("x", "f"), entry("x", b"new")]))
        self.assertTrue(stat.S_ISLNK(os.lstat(root + "/f").st_mode))
        with open(root + "/x") as f:
            self.assertEqual(f.read(), "new", "the later entry replaced the link, and wrote through neither")

    def test_07_whiteout_of_the_parent(self):
        self.refused(make_tar([directory("a"), entry("a/.wh...")]), says="whiteout")
        self.refused(make_tar([directory("a"), entry("a/.wh..")]), says="whiteout")

    def test_08_empty_whiteout(self):
        self.refused(make_tar([entry(".wh.")]), says="whiteout")

    def test_09_repeated_opaque_whiteouts(self):
        root, = self.tamed(make_tar([directory("d")] + [entry("d/.wh..wh..opq")] * 50 + [entry("d/x", b"x"), entry("d/.wh..wh..opq")]))
        self.assertEqual(os.listdir(root + "/d"), ["x"], "an opaque mark hides what is below, never its own layer's files")
        self.assertEqual(os.getxattr(root + "/d", "trusted.overlay.opaque"), b"y")

    def test_10_whiteout_through_symlink(self):
        self.refused(make_tar([symlink("d", self.canary), entry("d/.wh.secret")]), says="d")
        self.refused(make_tar([symlink("d", self.canary), entry("d/.wh..wh..opq")]), says="d")

    def test_11_raw_overlay_whiteout(self):
        self.refused(make_tar([entry("x", kind=tarfile.CHRTYPE, dev=(0, 0))]), says="0:0")

    def test_12_block_device_and_fifo(self):
        root, = self.tamed(make_tar([entry("sda", kind=tarfile.BLKTYPE, dev=(8, 0), mode=0o666), entry("pipe", kind=tarfile.FIFOTYPE)]))
        st = os.lstat(root + "/sda")
        self.assertEqual((stat.S_IFMT(st.st_mode), st.st_rdev), (stat.S_IFBLK, os.makedev(8, 0)))
        # Nobody but root gets as far as the node, and mounts of layers are nodev (kernel tests of the snapshots).
        self.assertEqual(stat.S_IMODE(os.stat(self.images()).st_mode), 0o700)

    def test_13_setuid_with_capability(self):
        cap = struct.pack("<IIIII", 0x02000001, 0xffffffff, 0, 0xffffffff, 0).decode("utf-8", "surrogateescape")
        root, = self.tamed(make_tar([entry("su", b"x", mode=0o6755, pax={"SCHILY.xattr.security.capability": cap})]))
        self.assertEqual(stat.S_IMODE(os.lstat(root + "/su").st_mode), 0o6755)
        self.assertEqual(stat.S_IMODE(os.stat(self.images()).st_mode), 0o700, "no user of the host reaches it")

    def test_14_overlay_attributes(self):
        names = ["trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.opaque", "user.overlay.whiteout", "trusted.x",
                 "security.selinux", "security.ima"]
        tar = make_tar([directory("d", pax={"SCHILY.xattr." + n: "y" for n in names}), entry("f", b"x", pax={"SCHILY.xattr.user.mine": "kept"})])
        answer, (root,) = self.unpack(tar)
        self.assertTrue(answer.ok, answer.last)
        self.assertEqual(os.listxattr(root + "/d"), [])
        self.assertEqual(os.getxattr(root + "/f", "user.mine"), b"kept")
        self.assertIn("7 extended attributes", answer.notes[0])

    def test_15_pax_size_is_not_the_headers(self):
        record = b"12 size=600\n"
        tar = raw_header(b"pax", size=b"%011o\0" % len(record), kind=b"x") + padded(record) + raw_header(b"f", size=b"%011o\0" % 5) + \
            padded(b"A" * 600) + raw_header(b"g", size=b"%011o\0" % 1) + padded(b"g") + END
        root, = self.tamed(tar)
        self.assertEqual((os.path.getsize(root + "/f"), os.path.getsize(root + "/g")), (600, 1), "pax wins, and the next entry is found")

    def test_16_sizes_that_overflow(self):
        for size in (b"\x80" + b"\x7f" * 11, b"\xff" * 12, b"\x80" + b"\xff" * 11, b"7" * 12):
            answer, _ = self.unpack(raw_header(b"f", size=size) + padded(b"x" * 512) + END)
            self.assertEqual(answer.last["event"], "error", size)
            self.assert_clean(layers=0)
        big = dict(pax={"size": str(2**63)})
        answer, _ = self.unpack(make_tar([entry("f", b"x", **big)]))
        self.assertEqual(answer.last["event"], "error")
        self.assert_clean(layers=0)

    def test_17_sparse_of_8_eib(self):
        record = b"".join(pax_record(k, v) for k, v in (("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "huge"),
                                                        ("GNU.sparse.realsize", str(2**63 - 1))))
        body = padded(b"1\n9223372036854775806\n1\n") + padded(b"x")
        tar = raw_header(b"pax", size=b"%011o\0" % len(record), kind=b"x") + padded(record) + \
            raw_header(b"GNUSparseFile.0/huge", size=b"%011o\0" % len(body)) + body + END
        self.refused(tar, says="--max-layer-size")

    def test_18_names_that_cannot_be(self):
        self.refused(make_tar([entry("/".join(["d" * 200] * 30), b"x")]), says="longer than 4095")
        self.refused(make_tar([entry("n" * 300, b"x")]), says="longer than 255")
        record = pax_record("path", b"evil\0/../../x")
        tar = raw_header(b"pax", size=b"%011o\0" % len(record), kind=b"x") + padded(record) + raw_header(b"short") + END
        answer, (root,) = self.unpack(tar)
        if answer.ok:  # the name ends at the NUL, or the header's own name counts: either is inside
            self.assertIn(os.listdir(root), (["evil"], ["short"]))
            self.assert_clean(layers=1)
        self.refused(raw_header(b"\0") + END, says="no name")

    def test_19_entries_that_take_each_others_place(self):
        root, = self.tamed(make_tar([
            entry("a", b"file"), directory("a"), entry("a/in", b"1"), entry("a", b"file again"), directory("b"), entry("b/x", b"x"),
            symlink("b", "a"), directory("b"), entry("b/y", b"y"), entry("c", b"1"), entry("c", b"2"), hardlink("c", "c"),
            entry("w"), entry(".wh.w"), entry(".wh.v"), directory("v"), entry("v/new", b"n")]))
        with open(root + "/a") as f:
            self.assertEqual(f.read(), "file again")
        self.assertEqual(os.listdir(root + "/b"), ["y"])
        with open(root + "/c") as f:
            self.assertEqual(f.read(), "2")
        self.assertTrue(stat.S_ISREG(os.lstat(root + "/w").st_mode), "a whiteout hides lower layers only")
        self.assertEqual(os.getxattr(root + "/v", "trusted.overlay.opaque"), b"y", "hidden, then begun anew")
        self.refused(make_tar([entry("f", b"x"), entry("f/child", b"x")]), says="no directory")

    def test_20_concatenated_members_and_frames(self):
        tar = make_tar([entry("f", os.urandom(100_000))])
        third = len(tar) // 3
        blob = b"".join(gzip.compress(tar[i:i + third], mtime=0) for i in range(0, len(tar), third)) + gzip.compress(b"", mtime=0) * 2000
        self.pull_blob(blob, tar, "+gzip")
        zstd = lambda data: subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout  # noqa: E731
        skippable = struct.pack("<II", 0x184d2a50, 5) + b"table"
        self.pull_blob(zstd(tar[:third]) + skippable + zstd(tar[third:]) + skippable * 1000, tar, "+zstd")

    def pull_blob(self, blob, tar, suffix):
        image = Image([tar], compress="none")
        layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar" + suffix, "digest": sha256(blob), "size": len(blob)}
        image.blobs[sha256(blob)] = blob
        manifest = json.loads(image.manifest)
        manifest["layers"] = [layer]
        image.manifest = dumps(manifest)
        self.root = os.path.join(self.scratch, suffix)
        registry = self.faulty({"evil": image})
        answer = self.worker("pull", registry.host + "/evil:t")
        self.assertTrue(answer.ok, answer.last)
        self.assertTrue(os.path.isfile(self.layer(image.diff_ids[0]) + "/f"))
        self.assert_clean(layers=1)

    def test_21_truncated_and_damaged(self):
        tar = make_tar([entry("f", os.urandom(200_000)), entry("g", b"g")])
        self.refused(tar[:100_000], says="tar")
        packed = gzip.compress(tar, mtime=0)
        for damage, says in ((packed[:-9], "middle"), (packed[:1000] + bytes([packed[1000] ^ 255]) + packed[1001:], ""), (packed + b"rubbish", "")):
            image = Image([tar])
            layer = json.loads(image.manifest)["layers"][0]
            image.blobs[sha256(damage)] = damage
            manifest = json.loads(image.manifest)
            manifest["layers"] = [{**layer, "digest": sha256(damage), "size": len(damage)}]
            image.manifest = dumps(manifest)
            registry = self.faulty({"evil": image})
            error = self.refuse("pull", registry.host + "/evil:t")
            self.assertIn(says, error["text"])
            self.assert_clean(layers=0)

    def test_22_owners_out_of_range(self):
        for uid in (b"\x80\0\0\0\xff\xff\xff\xff", b"\xff" * 8):
            answer, _ = self.unpack(raw_header(b"f", uid=uid) + END)
            self.assertEqual(answer.last["event"], "error", uid)
            self.assertIn("out of range", answer.last["text"])
        self.assert_clean(layers=0)

    def test_23_deep_tree_is_removed_again(self):
        names = ["/".join(["d"] * n) for n in range(1, 1500, 7)]
        answer, _ = self.unpack(make_tar([entry(n + "/f", b"") for n in names] + [entry(".wh.")]))
        self.assertEqual(answer.last["event"], "error")
        self.assert_clean(layers=0)


def pax_record(key, value):
    value = value if isinstance(value, bytes) else value.encode()
    body = b" " + key.encode() + b"=" + value + b"\n"
    n = len(body) + 1
    while len(b"%d" % n + body) != n:
        n = len(b"%d" % n + body)
    return b"%d" % n + body


class Bombs(ImageTest):
    def test_a24_20_gib_from_20_mib(self):
        """A member that unpacks to 64 MiB of zeros, 320 times: 20 GiB from 20 MiB."""
        name = raw_header(b"zeros", size=b"\x80" + (20 << 30).to_bytes(11, "big"))
        first = gzip.compress(name + bytes((64 << 20) - 512), 9, mtime=0)
        member = gzip.compress(bytes(64 << 20), 9, mtime=0)
        blob = first + member * 319
        self.assertGreater(len(blob), 19 << 20)
        image = Image([b""])
        manifest = json.loads(image.manifest)
        manifest["layers"][0].update(digest=sha256(blob), size=len(blob))
        image.blobs[sha256(blob)] = blob
        image.manifest = dumps(manifest)
        registry = self.faulty({"bomb": image})
        before = os.statvfs(self.scratch)
        error = self.refuse("pull", registry.host + "/bomb:t")
        self.assertIn("decompression bomb", error["text"])
        self.assert_clean(layers=0)
        after = os.statvfs(self.scratch)
        self.assertLess((before.f_bavail - after.f_bavail) * after.f_frsize, 1 << 30)

    def test_a24_budget_of_bytes_and_of_entries(self):
        image = Image([make_tar([entry("a", bytes(3 << 20))])])
        registry = self.faulty({"big": image})
        self.assertIn("--max-layer-size", self.refuse("pull", registry.host + "/big:t", maxLayerBytes=1 << 20)["text"])
        self.assert_clean(layers=0)
        self.succeed("pull", registry.host + "/big:t")

    def test_a24_memory_of_the_unpacker(self):
        """A pax header of 2 GiB would have to be held in memory."""
        size = b"\x80" + (2 << 30).to_bytes(11, "big")
        tar = raw_header(b"pax", size=size, kind=b"x") + bytes(1 << 20)
        registry = self.faulty({"m": Image([tar])})
        self.refuse("pull", registry.host + "/m:t")
        self.assert_clean(layers=0)


class Registries(ImageTest):
    """A25 and A26: what a registry sends is not what it says; where it sends us to."""

    def image(self):
        return Image([make_tar([entry("f", os.urandom(5000))])])

    def lie(self, image, match, body):
        def hook(handler, path):
            if match not in path:
                return False
            handler.answer(200, body)
            return True
        return self.faulty({"lie": image}, hook)

    def test_a25_layer_with_another_digest(self):
        image = self.image()
        layer = image.layers[0]["digest"]
        good = image.blobs[layer]
        other = bytes([good[0]]) + good[1:-1] + bytes([good[-1] ^ 1])
        for body in (other, gzip.compress(make_tar([entry("evil", b"x")]), mtime=0), good + b"x", good[:-1], b""):
            registry = self.lie(image, layer, body)
            error = self.refuse("pull", registry.host + "/lie:t")
            self.assertEqual(error["kind"], "invalid", error)
            self.assert_clean(layers=0)
            registry.stop()

    def test_a25_config_and_manifest_with_another_digest(self):
        image, other = self.image(), Image([make_tar([entry("evil", b"x")])])
        registry = self.lie(image, "/blobs/" + image.id, other.config)
        self.assertIn("something else under this digest", self.refuse("pull", registry.host + "/lie:t")["text"])
        registry = self.lie(image, "/manifests/", other.manifest)
        self.assertIn("digest", self.refuse("pull", registry.host + "/lie@" + image.digest)["text"])
        self.assert_clean(layers=0)

    def test_a25_diff_id_of_the_config_is_another(self):
        image = Image([make_tar([entry("f", b"x")])], wrong_diff_id=sha256(b"another"))
        registry = self.faulty({"lie": image})
        self.assertIn("the image's config says", self.refuse("pull", registry.host + "/lie:t")["text"])
        self.assert_clean(layers=0)

    def test_a25_documents_that_are_no_images(self):
        image = self.image()
        for body, says in ((b"", "manifest"), (b"[]", "object"), (b"{" * 100_000, "manifest"), (b" " * (5 << 20), "larger"),
                           (b'{"schemaVersion":1}', "schema 1"), (b'{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}', "at once"),
                           (dumps({"schemaVersion": 2, "config": {"digest": "sha256:../../../etc/passwd", "size": 1}, "layers": []}), "64")):
            registry = self.lie(image, "/manifests/", body)
            self.assertIn(says, self.refuse("pull", registry.host + "/lie:t")["text"])
            registry.stop()

    def test_a25_index_that_leads_to_itself(self):
        image = self.image()

        def hook(handler, path):
            if "/manifests/" not in path:
                return False
            d = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": sha256(b"self"), "size": 10, "platform": {"os": "linux", "architecture": "amd64"}}
            handler.answer(200, dumps({"schemaVersion": 2, "manifests": [d]}), {"Content-Type": "application/vnd.oci.image.index.v1+json"})
            return True
        registry = self.faulty({"lie": image}, hook)
        self.refuse("pull", registry.host + "/lie:t")
        self.assertLess(len(registry.seen), 10)

    def redirect(self, target, match="/blobs/"):
        image = self.image()

        def hook(handler, path):
            if match not in path:
                return False
            handler.answer(307, b"", {"Location": target})
            return True
        return self.faulty({"r": image}, hook)

    def test_a26_redirect_to_a_file(self):
        for target in ("file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x", "unix:///run/docker.sock", "javascript:1"):
            registry = self.redirect(target)
            error = self.refuse("pull", registry.host + "/r:t")
            self.assertEqual(error["kind"], "permission", error)
            self.assertIn("not http or https", error["text"])
            registry.stop()

    def test_a26_redirect_to_link_local(self):
        for target in ("http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/x", "http://[::ffff:169.254.169.254]/x", "http://0.0.0.0:1/x",
                       "http://2852039166/x", "http://0xa9fea9fe/x", "http://[fd00:ec2::254]/x"):
            registry = self.redirect(target)
            error = self.refuse("pull", registry.host + "/r:t")
            self.assertEqual(error["kind"], "permission", (target, error))
            self.assertIn("refused", error["text"])
            registry.stop()

    def test_a26_redirect_is_followed_where_it_may(self):
        image = self.image()
        storage = self.faulty({"s": image})

        def hook(handler, path):
            if "/blobs/" not in path:
                return False
            handler.answer(307, b"", {"Location": "http://%s/v2/s/blobs/%s" % (storage.host, path.rsplit("/", 1)[1])})
            return True
        registry = self.faulty({"r": image}, hook)
        self.succeed("pull", registry.host + "/r:t")
        self.assertTrue(storage.seen)

    def test_a26_redirects_without_end(self):
        registry = self.redirect("/v2/r/blobs/again")
        self.assertIn("redirects more than", self.refuse("pull", registry.host + "/r:t")["text"])

    def test_a26_password_stays_with_its_registry(self):
        """Neither a redirect to another host nor a token realm over plain http elsewhere gets the credentials."""
        image = self.image()
        thief = self.faulty({"s": image})

        def hook(handler, path):
            if "/blobs/" in path:
                handler.answer(307, b"", {"Location": "http://%s/v2/s/blobs/%s" % (thief.host, path.rsplit("/", 1)[1])})
                return True
            if not handler.headers.get("Authorization"):
                handler.answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
                return True
            return False
        registry = self.faulty({"r": image}, hook)
        self.login(registry.host)
        self.succeed("pull", registry.host + "/r:t")
        self.assertTrue(thief.seen)
        self.assertFalse([s for s in thief.seen if "Authorization" in s[2]])

    def login(self, host):
        os.makedirs(self.env["HOME"] + "/.docker", exist_ok=True)
        with open(self.env["HOME"] + "/.docker/config.json", "w") as f:
            json.dump({"auths": {host: {"auth": "dXNlcjpzZWNyZXQ="}}}, f)

    def test_a26_token_realm_of_another_scheme(self):
        for realm in ("file:///etc/passwd", "ftp://x/"):
            def hook(handler, path, realm=realm):
                handler.answer(401, b"", {"WWW-Authenticate": 'Bearer realm="%s",service="s"' % realm})
                return True
            registry = self.faulty({"r": self.image()}, hook)
            self.login(registry.host)
            self.assertEqual(self.refuse("pull", registry.host + "/r:t")["kind"], "permission")
            registry.stop()

        def metadata(handler, path):
            handler.answer(401, b"", {"WWW-Authenticate": 'Bearer realm="http://169.254.169.254/token",service="s"'})
            return True
        registry = self.faulty({"r": self.image()}, metadata)
        self.login(registry.host)
        self.assertIn("refused", self.refuse("pull", registry.host + "/r:t")["text"])

    def test_words_of_a_registry_do_not_reach_the_terminal_raw(self):
        def hook(handler, path):
            if "/manifests/" not in path:
                return False
            handler.answer(400, dumps({"errors": [{"code": "X", "message": "\x1b[31mred\x07\r\nline"}]}))
            return True
        registry = self.faulty({"r": self.image()}, hook)
        text = self.refuse("pull", registry.host + "/r:t")["text"]
        self.assertIn("[31mred", text)
        self.assertFalse([c for c in text if ord(c) < 32])
