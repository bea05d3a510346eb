"""config.md "Root" and "Mounts": order, every option, recursive options, propagation, idmap, tmpcopyup; paths that try to leave the root."""

import os
import re
import stat
import subprocess
import unittest

from onggi_test import RuntimeTest, deviates, needs, shell


def mounts_of(text):
    """mount point -> (per-mount options, optional fields, type, super options), from mountinfo text; the last one wins."""
    found = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        f = left.split()
        if len(f) < 6:  # other text in the same output
            continue
        kind, source, options = (right.split(" ", 2) + ["", ""])[:3]
        found[f[4]] = (set(f[5].split(",")), f[6:], kind, set(options.split(",")), source)
    return found


class MountTest(RuntimeTest):

    def mounted(self, bundle, *options):
        """The mounts that a container with this bundle sees."""
        bundle.args("cat", "/proc/self/mountinfo")
        return mounts_of(self.output(bundle, *options))

    def source(self, name="source", files=("file",)):
        path = os.path.join(self.tmp, name)
        os.mkdir(path)
        for f in files:
            with open(os.path.join(path, f), "w") as out:
                out.write("content of %s\n" % f)
        return path


class Root(MountTest):

    def test_readonly(self):
        for readonly in (True, False):
            with self.subTest(readonly):
                b = self.bundle(sh="touch /made 2>/dev/null && echo writable; grep ' / / ' /proc/self/mountinfo; true")
                b.config["root"]["readonly"] = readonly
                self.assertEqual(not readonly, "writable" in self.output(b))

    def test_absolute_and_relative_path(self):
        b = self.bundle("true")
        self.run_bundle(b)
        b.config["root"]["path"] = b.rootfs
        self.run_bundle(b)

    def test_rootfs_is_a_symlink_or_a_file(self):
        b = self.bundle("true")
        with open(os.path.join(b.path, "file"), "w"):
            pass
        b.config["root"]["path"] = "file"
        self.fails(b)

    def test_nothing_of_the_host_is_mounted(self):
        for where in self.mounted(self.bundle()):
            self.assertRegex(where, r"^/$|^/(proc|dev|sys)(/|$)")

    @deviates(crun="1.8 refuses here", runc="MS_MOVE works only where the root is a mount")
    def test_no_pivot(self):
        self.assertEqual("ok\n", self.output(self.bundle("echo", "ok"), "--no-pivot"))


class Order(MountTest):

    def test_listed_order(self):
        """A later mount hides an earlier one; a nested one after its parent is visible, before it is hidden."""
        b = self.bundle(sh="cat /mnt/file; ls /mnt/sub")
        a, c = self.source("a"), self.source("c", ("other",))
        os.mkdir(os.path.join(a, "sub"))
        b.mount("/mnt", a, "bind", ["bind"])
        b.mount("/mnt/sub", c, "bind", ["bind"])
        self.assertEqual("content of file\nother\n", self.output(b))

    def test_later_hides_earlier(self):
        b = self.bundle(sh="ls /mnt | wc -l")
        b.mount("/mnt", self.source(), "bind", ["bind"]).mount("/mnt")
        self.assertEqual("0\n", self.output(b))


class Options(MountTest):

    def test_per_mount_flags(self):
        for option, want in (("ro", "ro"), ("nosuid", "nosuid"), ("nodev", "nodev"), ("noexec", "noexec"), ("noatime", "noatime"),
                             ("nodiratime", "nodiratime"), ("relatime", "relatime")):
            with self.subTest(option):
                self.assertIn(want, self.mounted(self.bundle().mount("/mnt", options=[option]))["/mnt"][0])

    @deviates(crun="opposites clear nothing")
    def test_strictatime_and_their_opposites(self):
        flags = self.mounted(self.bundle().mount("/mnt", options=["ro", "nosuid", "nodev", "noexec", "noatime", "rw", "suid", "dev", "exec", "strictatime"]))["/mnt"][0]
        self.assertEqual({"rw"}, flags)

    def test_flags_on_bind(self):
        for option in ("ro", "nosuid", "nodev", "noexec", "noatime"):
            with self.subTest(option):
                b = self.bundle().mount("/mnt", self.source("s-" + option), "bind", ["rbind", option])
                self.assertIn(option, self.mounted(b)["/mnt"][0])

    def test_bind_readonly_is_enforced(self):
        src = self.source()
        b = self.bundle(sh="echo x > /mnt/file").mount("/mnt", src, "bind", ["bind", "ro"])
        self.assertNotEqual(0, self.run_bundle(b, check=False).rc)
        with open(os.path.join(src, "file")) as f:
            self.assertEqual("content of file\n", f.read())

    @deviates(runc="clears what is not named, outside of user namespaces", crun="clears what is not named")
    def test_bind_keeps_what_is_not_named(self):
        """A remount for "ro" must not clear nosuid and nodev that the source's mount has."""
        src = os.path.join(self.tmp, "t")
        os.mkdir(src)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev", "t", src], check=True)
        self.addCleanup(subprocess.run, ["umount", src], check=True)
        flags = self.mounted(self.bundle().mount("/mnt", src, "bind", ["bind", "ro"]))["/mnt"][0]
        self.assertLessEqual({"ro", "nosuid", "nodev"}, flags)

    @deviates(runc="1.1 gives a tmpfs the mode of the directory below")
    def test_filesystem_data(self):
        b = self.bundle(sh="df -k /mnt | tail -1; stat -c %a:%u:%g /mnt").mount("/mnt", options=["size=2m", "mode=1750", "uid=5", "gid=6"])
        out = self.output(b)
        self.assertIn("2048", out)
        self.assertIn("1750:5:6", out)

    def test_bind_file(self):
        src = os.path.join(self.source(), "file")
        self.assertEqual("content of file\n", self.output(self.bundle("cat", "/etc/new-file").mount("/etc/new-file", src, "bind", ["bind"])))

    def test_bind_by_option_alone(self):
        """type "none" (or "bind") with the option bind or rbind is a bind mount."""
        src = self.source()
        for kind in ("none", "bind", "tmpfs"):
            with self.subTest(kind):
                self.assertIn("content", self.output(self.bundle("cat", "/mnt/file").mount("/mnt", src, kind, ["bind"])))

    @deviates(runc="1.1 resolves it from its own directory")
    def test_relative_source_is_in_the_bundle(self):
        b = self.bundle("cat", "/mnt/file")
        os.mkdir(os.path.join(b.path, "data"))
        with open(os.path.join(b.path, "data/file"), "w") as f:
            f.write("relative\n")
        b.mount("/mnt", "data", "bind", ["bind"])
        self.assertEqual("relative\n", self.output(b, cwd="/"))

    def test_rbind_has_submounts_and_bind_has_not(self):
        src = self.source()
        sub = os.path.join(src, "sub")
        os.mkdir(sub)
        subprocess.run(["mount", "-t", "tmpfs", "t", sub], check=True)
        self.addCleanup(subprocess.run, ["umount", sub], check=True)
        for option, there in (("rbind", True), ("bind", False)):
            with self.subTest(option):
                self.assertEqual(there, "/mnt/sub" in self.mounted(self.bundle().mount("/mnt", src, "bind", [option])))

    def test_unknown_source_is_an_error(self):
        self.fails(self.bundle().mount("/mnt", "/nonexistent/source", "bind", ["bind"]), says="nonexistent")

    @deviates(runc="the message does not name the type", crun="the message does not name the type")
    def test_unknown_type_is_an_error(self):
        self.fails(self.bundle().mount("/mnt", "x", "nosuchfs"), says="nosuchfs")

    def test_bad_data_is_an_error(self):
        self.fails(self.bundle().mount("/mnt", options=["size=banana"]))
        self.fails(self.bundle().mount("/mnt", options=["no_such_option=1"]))

    @deviates(runc="takes it as relative to /", crun="takes it as relative to /")
    def test_relative_destination_is_relative_to_root(self):
        """The specification of 1.0 asks for an absolute path; runtimes go on for older bundles. Either refuse, or mean /."""
        r = self.run_bundle(self.bundle("cat", "/proc/self/mountinfo").mount("mnt"), check=False)
        self.assertTrue(r.rc != 0 or "/mnt" in mounts_of(r.out))

    def test_destination_is_made(self):
        b = self.bundle("cat", "/proc/self/mountinfo").mount("/not/there/yet")
        self.assertIn("/not/there/yet", mounts_of(self.output(b)))

    def test_sysfs_proc_devpts_mqueue(self):
        m = self.mounted(self.bundle())
        for where, kind in (("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "tmpfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs"), ("/dev/mqueue", "mqueue")):
            self.assertEqual(kind, m[where][2], where)
        self.assertLessEqual({"gid=5", "mode=620", "ptmxmode=666"}, m["/dev/pts"][3])
        self.assertIn("ro", m["/sys"][0])

    @deviates(runc="1.1 leaves the tmpfs above the v1 hierarchies writable")
    def test_cgroup_mount(self):
        """Read-only, and its root is the container's own cgroup."""
        b = self.bundle(sh="cat /proc/self/mountinfo; echo; cat /proc/self/cgroup; touch /sys/fs/cgroup/x 2>/dev/null && echo WRITABLE; ls /sys/fs/cgroup")
        out = self.output(b)
        m = {k: v for k, v in mounts_of(out).items() if k.startswith("/sys/fs/cgroup")}
        self.assertTrue(m, out)
        self.assertTrue(all("ro" in v[0] for v in m.values()), m)
        self.assertNotIn("WRITABLE", out)
        for line in out.splitlines():
            f = re.match(r"\d+:[\w=,]*:(.*)$", line)
            if f and "unified" not in line and not line.startswith("0::"):
                self.assertEqual("/", f.group(1), line)


class Recursive(MountTest):
    """1.1: the options with a leading r apply to the whole tree below (mount_setattr with AT_RECURSIVE)."""

    def tree(self):
        src = self.source()
        sub = os.path.join(src, "sub")
        os.mkdir(sub)
        subprocess.run(["mount", "-t", "tmpfs", "t", sub], check=True)
        self.addCleanup(subprocess.run, ["umount", sub], check=True)
        return src

    @deviates(crun="fails on rnoatime and rnodiratime")
    def test_set(self):
        src = self.tree()
        for option, flag in (("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec"), ("rnoatime", "noatime"),
                             ("rnodiratime", "nodiratime")):
            with self.subTest(option):
                m = self.mounted(self.bundle().mount("/mnt", src, "bind", ["rbind", option]))
                self.assertIn(flag, m["/mnt"][0])
                self.assertIn(flag, m["/mnt/sub"][0])

    def test_plain_is_not_recursive(self):
        m = self.mounted(self.bundle().mount("/mnt", self.tree(), "bind", ["rbind", "ro"]))
        self.assertIn("ro", m["/mnt"][0])
        self.assertNotIn("ro", m["/mnt/sub"][0])

    def test_clear(self):
        src = self.source()
        subprocess.run(["mount", "--bind", "-o", "ro,nosuid,nodev,noexec", src, src], check=True)
        self.addCleanup(subprocess.run, ["umount", src], check=True)
        for option, flag in (("rrw", "ro"), ("rsuid", "nosuid"), ("rdev", "nodev"), ("rexec", "noexec")):
            with self.subTest(option):
                self.assertNotIn(flag, self.mounted(self.bundle().mount("/mnt", src, "bind", ["rbind", option]))["/mnt"][0])


class Propagation(MountTest):

    @deviates(runc="rootfsPropagation defaults to rslave first", crun="makes the tree private first, so a slave has no master")
    def test_per_mount(self):
        src = self.source()
        subprocess.run(["mount", "--bind", src, src], check=True)
        self.addCleanup(subprocess.run, ["umount", src], check=True)
        subprocess.run(["mount", "--make-shared", src], check=True)
        for option, want in (("private", []), ("rprivate", []), ("slave", ["master"]), ("rslave", ["master"]), ("shared", ["shared"]), ("unbindable", ["unbindable"])):
            with self.subTest(option):
                fields = self.mounted(self.bundle().mount("/mnt", src, "bind", ["rbind", option]))["/mnt"][1]
                # A shared source stays its peer's slave or peer until the option says otherwise; `shared` on a private copy starts a group.
                self.assertEqual(want, sorted({f.split(":")[0] for f in fields} - ({"master"} if option == "shared" else set())))

    @deviates(runc="unbindable fails on pivot")
    def test_rootfs_propagation(self):
        for value, want in (("private", []), ("slave", ["master"]), ("unbindable", ["unbindable"]), ("shared", ["shared"])):
            with self.subTest(value):
                b = self.bundle()
                b.linux["rootfsPropagation"] = value
                fields = {f.split(":")[0] for f in self.mounted(b)["/"][1]}
                if value == "slave":  # a slave of a private tree is private: the kernel shows nothing
                    self.assertLessEqual(fields, {"master"})
                else:
                    self.assertIn(tuple(want)[0] if want else None, fields or {None})

    @deviates(crun="goes on")
    def test_rootfs_propagation_unknown(self):
        b = self.bundle()
        b.linux["rootfsPropagation"] = "sideways"
        self.fails(b)

    def test_container_mounts_do_not_reach_the_host(self):
        before = sorted(open("/proc/self/mountinfo"))
        b = self.bundle(sh="mount -t tmpfs inner /mnt && cat /proc/self/mountinfo | grep -c ' /mnt '").caps("CAP_SYS_ADMIN")
        self.assertEqual("1\n", self.output(b))
        self.assertEqual(before, sorted(open("/proc/self/mountinfo")))


class Escapes(MountTest):
    """A root file system is hostile input: links in it never lead a mount outside."""

    def test_destination_through_absolute_symlink(self):
        outside = self.source("outside")
        b = self.bundle("true")
        os.symlink(outside, os.path.join(b.rootfs, "link"))
        b.mount("/link/dir", self.source("s2"), "bind", ["bind"])
        self.run_bundle(b, check=False)
        self.assertEqual(["file"], os.listdir(outside), "something was made outside the root")
        # Resolved inside the root, the destination is <root>/<outside>/dir.
        self.assertNotIn(outside, [line.split()[4] for line in open("/proc/self/mountinfo")])

    def test_destination_through_dotdot_symlink(self):
        b = self.bundle("true")
        canary = os.path.join(self.tmp, "canary")
        os.mkdir(canary)
        os.symlink("../../../../../../../../../.." + canary, os.path.join(b.rootfs, "up"))
        b.mount("/up/sub", options=["size=1m"])
        self.run_bundle(b, check=False)
        self.assertEqual([], os.listdir(canary))

    def test_proc_may_not_be_a_symlink(self):
        """CVE-2019-16884: a /proc that leads elsewhere makes label writes and masks go elsewhere."""
        b = self.bundle("true")
        os.rmdir(os.path.join(b.rootfs, "proc"))
        os.symlink("/tmp", os.path.join(b.rootfs, "proc"))
        self.fails(b)

    @deviates(crun="checks only /proc itself")
    def test_nothing_may_be_mounted_over_proc_files(self):
        self.fails(self.bundle("true").mount("/proc/self/attr", self.source(), "bind", ["bind"]))

    @deviates(runc="makes its links through it")
    def test_dev_symlink(self):
        b = self.bundle("true")
        outside = self.source("outside")
        os.rmdir(os.path.join(b.rootfs, "dev"))
        os.symlink(outside, os.path.join(b.rootfs, "dev"))
        self.run_bundle(b, check=False)
        self.assertEqual(["file"], os.listdir(outside))


@needs("idmap", "helpers")
class Idmap(MountTest):

    @deviates(runc="1.1 has no idmap mounts")
    def test_mount_mappings(self):
        src = self.source()
        os.chown(os.path.join(src, "file"), 1000, 1000)
        b = self.bundle("stat", "-c", "%u:%g", "/mnt/file")
        b.mount("/mnt", src, "bind", ["bind", "idmap"], uidMappings=[{"containerID": 1000, "hostID": 2000, "size": 10}],
                gidMappings=[{"containerID": 1000, "hostID": 3000, "size": 10}])
        self.assertEqual("2000:3000\n", self.output(b))

    @deviates(runc="1.1 has no idmap mounts", crun="1.8 has no ridmap by this name")
    def test_recursive(self):
        src = self.source()
        sub = os.path.join(src, "sub")
        os.mkdir(sub)
        subprocess.run(["mount", "-t", "tmpfs", "t", sub], check=True)
        self.addCleanup(subprocess.run, ["umount", sub], check=True)
        for d in (src, sub):
            os.chown(d, 1000, 1000)
        for option, want in (("idmap", "2000\n1000\n"), ("ridmap", "2000\n2000\n")):
            with self.subTest(option):
                b = self.bundle(sh="stat -c %u /mnt; stat -c %u /mnt/sub")
                maps = [{"containerID": 1000, "hostID": 2000, "size": 10}]
                b.mount("/mnt", src, "bind", ["rbind", option], uidMappings=maps, gidMappings=maps)
                self.assertEqual(want, self.output(b))

    @deviates(runc="1.1 has no idmap mounts", crun="ignores them")
    def test_one_mapping_alone_is_an_error(self):
        b = self.bundle("true")
        b.mount("/mnt", self.source(), "bind", ["bind"], uidMappings=[{"containerID": 0, "hostID": 1000, "size": 10}])
        self.fails(b)


class CopyUp(MountTest):

    @deviates(crun="copies without owners")
    def test_tmpcopyup(self):
        b = self.bundle(sh="cat /etc/passwd; stat -c %a:%u /etc/special; readlink /etc/link; touch /etc/new; cat /proc/self/mountinfo")
        special = os.path.join(b.rootfs, "etc/special")
        with open(special, "w") as f:
            f.write("s")
        os.chmod(special, 0o640)
        os.chown(special, 77, 0)
        os.symlink("special", os.path.join(b.rootfs, "etc/link"))
        b.mount("/etc", options=["tmpcopyup"])
        out = self.output(b)
        self.assertIn("root:x:0:0", out)
        self.assertIn("640:77", out)
        self.assertIn("\nspecial\n", out)
        self.assertEqual("tmpfs", mounts_of(out)["/etc"][2])
        self.assertFalse(os.path.exists(os.path.join(b.rootfs, "etc/new")))


if __name__ == "__main__":
    unittest.main()
