"""Layers in EROFS form: the same tree entry by entry as in directory form, what is not plain comes as a directory, and everything that
looks at layers works with both.

Needs a mkfs.erofs with --tar (erofs-utils 1.8: Debian 13), installed or named by $ONGGI_MKFS_EROFS, and root.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "attack"))
import test_hostile_tars
from engine import PROGRAM
from image_test import Image, ImageTest, directory, entry, hardlink, make_tar, symlink, tree
from test_pull import CAP_NET_BIND, base_tar, pax_xattr, upper_tar

LIBC = ctypes.CDLL(None, use_errno=True)


def mkfs():
    """A mkfs.erofs that knows --tar; None when there is none."""
    path = os.environ.get("ONGGI_MKFS_EROFS") or shutil.which("mkfs.erofs")
    if not path or not os.access(path, os.X_OK):
        return None
    help_text = subprocess.run([path, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
    return path if b"--tar=" in help_text else None


def system_call(number, *args):
    r = LIBC.syscall(number, *args)
    if r < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return r


def mount_layer(layer, where):
    """What the kernel makes of layer.erofs and layer.tar, mounted by this test itself (fsopen, fsconfig, fsmount, move_mount)."""
    context = system_call(430, b"erofs", 1)
    system_call(431, context, 1, b"source", (layer + "/layer.erofs").encode(), 0)
    system_call(431, context, 1, b"device", (layer + "/layer.tar").encode(), 0)
    system_call(431, context, 6, None, None, 0)
    mount = system_call(432, context, 1, 1)
    system_call(429, mount, b"", -100, where.encode(), 4)
    os.close(mount)
    os.close(context)


def without_times_of(found, names):
    return {k: ((*e[:4], None, *e[5:]) if k in names else e) for k, e in found.items()}


class Mounted:
    """Layers of both forms by a directory: `layer()` mounts one that is in EROFS form."""

    def use_erofs(self):
        program = mkfs()
        if not program:
            self.skipTest("needs mkfs.erofs 1.8")
        self.env["ONGGI_MKFS_EROFS"] = program
        self.mounted = {}
        self.addCleanup(lambda: [subprocess.run(["umount", "-l", w], check=True) for w in self.mounted.values()])

    def mount_of(self, place):
        if place not in self.mounted:
            where = os.path.join(self.scratch, "m%d" % len(self.mounted))
            os.mkdir(where)
            mount_layer(place, where)
            self.mounted[place] = where
        return self.mounted[place]


class HostileTarsAsErofs(Mounted, test_hostile_tars.HostileTars):
    """The twenty hostile tars with EROFS asked for: contained and refused as they are without."""

    def setUp(self):
        super().setUp()
        self.use_erofs()
        self.env["ONGGI_STORAGE_FORM"] = "erofs"

    def layer(self, diff_id):
        fs = super().layer(diff_id)
        place = os.path.dirname(fs)
        return self.mount_of(place) if os.path.exists(place + "/layer.erofs") else fs


class Erofs(Mounted, ImageTest):
    maxDiff = None

    def setUp(self):
        super().setUp()
        self.use_erofs()
        self.server = self.registry()

    def pull(self, image, name="a/b", **options):
        ref = self.server.push(name, "t", image)
        return ref, self.succeed("pull", ref, **{"storageForm": "erofs", **options})

    def form(self, diff_id):
        return sorted(os.listdir(os.path.dirname(self.layer(diff_id))))

    def seen(self, diff_id):
        """The tree of a layer in EROFS form."""
        self.assertEqual(self.form(diff_id), ["layer.erofs", "layer.tar"])
        return tree(self.mount_of(os.path.dirname(self.layer(diff_id))))

    def as_directories(self, ref, image):
        first, self.root = self.root, self.root + "-dir"
        self.succeed("pull", ref)
        found = [tree(self.layer(d)) for d in image.diff_ids]
        self.root = first
        return found

    def explicit(self, entries):
        return make_tar([directory("./")] + entries)

    def test_the_same_tree_entry_by_entry(self):
        """Everything a layer can say: owners, modes, times with nanoseconds, links, attributes, capabilities, devices, whiteouts, opaque."""
        lower = self.explicit([
            directory("etc"), entry("etc/passwd", b"root:x:0:0\n"), directory("usr", mode=0o711), directory("usr/bin", mtime=1_500_000_000),
            entry("usr/bin/tool", b"#!tool" * 1000, mode=0o4755, uid=3, gid=4), hardlink("usr/bin/again", "usr/bin/tool", mode=0o4755, uid=3, gid=4),
            symlink("bin", "usr/bin"), directory("gone"), entry("gone/x", b"x"), directory("hidden"), entry("hidden/y", b"y"), directory("tmp", mode=0o1777),
            entry("etc/" + "n" * 200, b"long"), entry("cap", b"c", mode=0o755, pax=pax_xattr("security.capability", CAP_NET_BIND)),
            entry("user", b"u", pax=pax_xattr("user.note", b"\xff\x00\x01hello")), entry("fine", b"t", pax={"mtime": "1600000000.123456789"}),
            entry("utf-\u00e9\ud55c", b"n"), entry("big", os.urandom(3_000_001)), entry("empty"), entry("fifo", kind=tarfile.FIFOTYPE),
            entry("null", kind=tarfile.CHRTYPE, mode=0o666, dev=(1, 3)), entry("owned", b"", uid=100000, gid=2**31)] +
            [entry("etc/f%04d" % n, b"%d" % n) for n in range(1200)])
        upper = self.explicit([entry(".wh.gone"), directory("hidden"), entry("hidden/.wh..wh..opq"), entry("hidden/new", b"new"),
                               directory("etc", mode=0o700, uid=7), entry("etc/passwd", b"changed"), entry("etc/.wh.f0007")])
        image = Image([lower, upper])
        ref, answer = self.pull(image)
        self.assertEqual(answer.notes, [])
        for diff_id, wanted in zip(image.diff_ids, self.as_directories(ref, image)):
            found = self.seen(diff_id)
            # A whiteout's own time is nobody's. Directories with whiteouts carry an empty overlay.origin, which makes overlay look for them.
            whiteouts = {k for k, e in wanted.items() if e[0] == 0o020000 and e[5] == 0}
            marked = {k for k, e in found.items() if ("trusted.overlay.origin", b"") in e[6]}
            self.assertEqual(marked, {os.path.dirname(k) or "." for k in whiteouts})
            for k in marked:
                found[k] = (*found[k][:6], tuple(x for x in found[k][6] if x[0] != "trusted.overlay.origin"), found[k][7])
            ours, theirs = without_times_of(wanted, whiteouts), without_times_of(found, whiteouts)
            links = {k: {n for n, e in ours.items() if e[7] == ours[k][7]} for k in ours}
            self.assertEqual({k: {n for n, e in theirs.items() if e[7] == theirs[k][7]} for k in theirs}, links)
            self.assertEqual({k: e[:7] for k, e in theirs.items()}, {k: e[:7] for k, e in ours.items()})
        self.assert_clean(layers=2)

    def test_what_is_not_plain_comes_as_a_directory(self):
        """Such tars are legal, or nearly; each is unpacked by the usual rules and says why."""
        odd = {
            "no entry for a directory": ([entry("a/b", b"x")], "no entry before it"),
            "twice": ([directory("d"), entry("d/x", b"1"), entry("d/x", b"2")], "twice"),
            "through a link": ([directory("real"), symlink("l", "real"), entry("l/x", b"x")], "no entry before it"),
            "overlay's attribute": ([entry("x", b"x", pax=pax_xattr("trusted.overlay.redirect", b"/etc"))], "trusted.overlay.redirect"),
            "user.overlay": ([entry("x", b"x", pax=pax_xattr("user.overlay.opaque", b"y"))], "user.overlay.opaque"),
            "raw whiteout": ([entry("x", kind=tarfile.CHRTYPE, dev=(0, 0))], "takes for a whiteout"),
            "link before its file": ([entry("y", b"y"), hardlink("x", "y"), directory("z"), hardlink("w", "z")], "hard link"),
        }
        for n, (what, (entries, reason)) in enumerate(odd.items()):
            image = Image([make_tar(entries)])
            ref = self.server.push("odd/n%d" % n, "t", image)
            answer = self.worker("pull", ref, storageForm="erofs")
            first, self.root = self.root, "%s-dir%d" % (self.root, n)
            plainly = self.worker("pull", ref)
            other = self.layer(image.diff_ids[0])
            self.root = first
            self.assertEqual(answer.ok, plainly.ok, what)
            if not answer.ok:
                self.assertEqual(answer.last["text"], plainly.last["text"], what)
                continue
            self.assertIn(reason, " ".join(answer.notes), what)
            self.assertEqual(self.form(image.diff_ids[0]), ["fs"], what)
            strip = lambda t: {k: (*e[:4], None, *e[5:]) for k, e in t.items()}
            self.assertEqual(strip(tree(self.layer(image.diff_ids[0]))), strip(tree(other)), what)
        self.assert_clean()

    def test_attacks_are_refused_as_without_it(self):
        for n, entries in enumerate(([entry("../x", b"x")], [entry("/abs/../../x", b"x")], [directory("d"), entry("d/../../x", b"x")], [entry("a\0b", b"x")],
                                     [directory("."), hardlink("h", "../../etc/passwd")], [entry("x", b"x", uid=2**32 - 1)])):
            image = Image([make_tar(entries, tarfile.GNU_FORMAT)])
            ref = self.server.push("evil/n%d" % n, "t", image)
            ours = self.worker("pull", ref, storageForm="erofs")
            first, self.root = self.root, "%s-evil%d" % (self.root, n)
            plainly = self.worker("pull", ref)
            self.root = first
            self.assertEqual((ours.ok, ours.last.get("text")), (plainly.ok, plainly.last.get("text")) if not plainly.ok else (True, ours.last.get("text")), entries[0][0].name)
            self.assertNotIn("layer.erofs", str(os.listdir(self.images("layers"))))
        self.assert_clean()

    def test_probing_and_the_setting(self):
        image = Image([self.explicit([entry("x", b"x")])])
        ref = self.server.push("p/q", "t", image)
        self.assertIn("not known", self.refuse("pull", ref, storageForm="zip")["text"])
        old = os.path.join(self.scratch, "mkfs-old")
        with open(old, "w") as f:
            f.write("#!/bin/sh\necho usage\n")
        os.chmod(old, 0o755)
        self.env["ONGGI_MKFS_EROFS"] = old
        self.assertIn("no --tar", self.refuse("pull", ref, storageForm="erofs")["text"])
        self.assert_clean(layers=0)
        self.succeed("pull", ref, storageForm="auto")
        self.assertEqual(self.form(image.diff_ids[0]), ["fs"])
        self.root += "2"
        self.env["ONGGI_MKFS_EROFS"] = mkfs()
        self.env["ONGGI_STORAGE_FORM"] = "auto"
        self.succeed("pull", ref)
        self.assertEqual(self.form(image.diff_ids[0]), ["layer.erofs", "layer.tar"])

    def test_a_program_that_fails_or_lies(self):
        """mkfs.erofs ends with an error, or writes rubbish: the layer is a directory, nothing of the try stays."""
        image = Image([self.explicit([entry("x", b"x")])])
        ref = self.server.push("f/g", "t", image)
        for n, script in enumerate(("exit 3", "head -c 8192 /dev/zero > layer.erofs", "cat /etc/shadow > layer.erofs; exit 1", "echo x > ../escaped; echo x > /tmp/onggi-escaped; exit 1")):
            fake = os.path.join(self.scratch, "fake%d" % n, "mkfs")
            os.makedirs(os.path.dirname(fake))
            with open(fake, "w") as f:
                f.write('#!/bin/sh\n[ "$1" = --help ] && { echo " --tar=X"; exit 0; }\n' + script + "\n")
            os.chmod(fake, 0o755)
            self.env["ONGGI_MKFS_EROFS"] = fake
            self.root += "x"
            answer = self.succeed("pull", ref, storageForm="erofs")
            self.assertIn("kept as a directory", " ".join(answer.notes))
            self.assertEqual(self.form(image.diff_ids[0]), ["fs"])
            self.assertFalse(os.path.exists("/tmp/onggi-escaped"))
            self.assert_clean(layers=1)

    def test_an_index_of_something_else(self):
        """mkfs.erofs that was made to read another tar than was checked: an entry more, an attribute of overlay's."""
        image = Image([self.explicit([entry("x", b"x")])])
        ref = self.server.push("s/t", "t", image)
        for n, (entries, words) in enumerate((([entry("x", b"x"), entry("smuggled", b"y")], "its index shows 2 entries"),
                                              ([entry("x", b"x", pax=pax_xattr("trusted.overlay.redirect", b"/etc"))], "trusted.overlay.redirect"))):
            other = os.path.join(self.scratch, "other%d" % n)
            os.makedirs(other)
            with open(other + "/layer.tar", "wb") as f:
                f.write(make_tar([directory("./")] + entries))
            subprocess.run([mkfs(), "--quiet", "--tar=i", "--aufs", other + "/index", other + "/layer.tar"], check=True)
            with open(other + "/mkfs", "w") as f:
                f.write('#!/bin/sh\n[ "$1" = --help ] && { echo " --tar=X"; exit 0; }\ncat %s/index > layer.erofs\n' % other)
            os.chmod(other + "/mkfs", 0o755)
            self.env["ONGGI_MKFS_EROFS"] = other + "/mkfs"
            self.root += "y"
            self.assertIn(words, " ".join(self.succeed("pull", ref, storageForm="erofs").notes))
            self.assertEqual(self.form(image.diff_ids[0]), ["fs"])
            self.assert_clean(layers=1)

    def test_damage_is_found(self):
        image = Image([self.explicit([entry("x", b"x" * 5000)])])
        self.pull(image)
        where = os.path.dirname(self.layer(image.diff_ids[0]))
        with open(where + "/layer.tar", "r+b") as f:
            f.seek(2000)
            f.write(b"y")
        os.unlink(where + "/layer.erofs")
        report = json.loads(self.worker("check").last["json"])
        self.assertIn("layer.erofs is missing", str(report["problems"]))
        self.succeed("check", repair=True, storageForm="erofs")
        self.assertEqual(self.form(image.diff_ids[0]), ["layer.erofs", "layer.tar"])
        self.assert_clean(layers=1)

    def test_the_engine_on_it(self):
        """run, write, diff, commit on top, save and load, df, prune: with layers of both forms in one image."""
        with open("/bin/busybox", "rb") as f:
            busybox = f.read()
        lower = self.explicit([directory("bin"), entry("bin/busybox", busybox, mode=0o755)] + [symlink("bin/" + n, "busybox") for n in ("sh", "cat", "ls", "rm", "stat", "touch")] +
                              [directory("etc"), entry("etc/passwd", b"root:x:0:0::/:/bin/sh\n"), directory("data", uid=5, gid=6), entry("data/old", b"old\n"), directory("tmp", mode=0o1777)])
        upper = self.explicit([directory("data"), entry("data/.wh.old"), entry("data/new", b"new\n")])
        image = Image([lower, upper], config={"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]})
        ref, _ = self.pull(image)
        env = dict(self.env, ONGGI_ROOT=self.root, ONGGI_RUN=os.path.join(self.scratch, "run"))
        os.mkdir(env["ONGGI_RUN"], 0o700)

        def onggi(*words):
            r = subprocess.run([PROGRAM, *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=100)
            self.assertEqual(r.returncode, 0, r.stderr)
            return r.stdout
        self.assertEqual(onggi("run", "--rm", "--network", "none", ref, "sh", "-c", "ls /data; cat /data/new; stat -c '%u %g' /bin/busybox; echo x > /data/x && ls /data"),
                         "new\nnew\n0 0\nnew\nx\n")
        env["ONGGI_TEST_OVERLAY"] = "names"
        self.assertEqual(onggi("run", "--rm", "--network", "none", ref, "cat", "/data/new"), "new\n")
        del env["ONGGI_TEST_OVERLAY"]
        onggi("run", "--name", "changed", "--network", "none", ref, "sh", "-c", "echo more > /data/more; rm /data/new")
        self.assertEqual(sorted(onggi("diff", "changed").split("\n")), sorted(["C /data", "A /data/more", "D /data/new", ""]))
        onggi("commit", "changed", "mine:1")
        self.assertEqual(onggi("run", "--rm", "--network", "none", "mine:1", "sh", "-c", "ls /data; cat /data/more"), "more\nmore\n")
        self.assertIn("Images", onggi("system", "df"))
        onggi("save", "-o", os.path.join(self.scratch, "out.tar"), "mine:1")
        onggi("rm", "changed")
        onggi("rmi", "-f", "mine:1", ref)
        onggi("system", "prune", "-f", "-a")
        self.assertEqual(onggi("images", "-q"), "")
        onggi("load", "-q", "--storage-form", "erofs", "-i", os.path.join(self.scratch, "out.tar"))
        self.assertEqual(onggi("run", "--rm", "--network", "none", "mine:1", "sh", "-c", "ls /data"), "more\n")
        self.assertEqual(self.form(image.diff_ids[0]), ["layer.erofs", "layer.tar"])
        self.assertEqual(onggi("system", "check"), "clean\n")
        end = time.monotonic() + 20
        while os.listdir(self.root + "/trash") and time.monotonic() < end:  # a sweeper's
            time.sleep(0.05)
