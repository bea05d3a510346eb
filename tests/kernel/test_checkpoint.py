"""checkpoint and restore by CRIU: what a process is after it as before, and what a failure leaves."""

import json
import os
import shutil
import subprocess
import unittest

from onggi_test import ConsoleSocket, Result, RuntimeTest, cgroup_mode, deviates, needs, read_available, reap, wait_reaping, wait_until

# A counter in the shell's memory, written to a file that stays open: continuous numbers mean that memory, file offset and the
# tree of processes all came back.
COUNTER = "exec >%s; i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"


class CheckpointTest(RuntimeTest):
    def setUp(self):
        super().setUp()
        self.images = os.path.join(self.tmp, "images")

    def counting(self, where="/tmp/count", config=None):
        b = self.bundle(sh=COUNTER % where)
        if config:
            config(b)
        return b, self.quiet_start(b)

    def quietly(self, *words, check=True):
        """Runs a command whose container keeps the streams: /dev/null, which is the same before and after; its errors go to a log."""
        log = os.path.join(self.tmp, "errors")
        argv = [*self.argv("--log", log), *words]
        open(log, "w").close()
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_reaping(p, timeout=180)
        with open(log) as f:
            r = Result(argv, p.returncode, "", f.read())
        if check:
            self.assertEqual(0, r.rc, str(r))
        return r

    def quiet_start(self, bundle, *options):
        cid = self.cid()
        self.quietly("run", "--detach", *options, "--bundle", bundle.write(), cid)
        return cid

    def restore(self, bundle, cid, *options, check=True):
        return self.quietly("restore", "--detach", "--image-path", self.images, *options, "--bundle", bundle.write(), cid, check=check)

    def checkpoint(self, cid, *options, check=True):
        return self.runtime("checkpoint", "--image-path", self.images, *options, cid, check=check, timeout=180)

    def numbers(self, bundle):
        try:
            with open(os.path.join(bundle.rootfs, "tmp/count")) as f:
                return [int(line) for line in f.read().split("\n")[:-1]]
        except FileNotFoundError:
            return []

    def wait_numbers(self, bundle, count):
        wait_until(lambda: len(self.numbers(bundle)) >= count, "the counter reaches %d" % count)
        return self.numbers(bundle)

    def assert_gone(self, cid):
        reap()
        r = self.runtime("state", cid, check=False)
        self.assertNotEqual(0, r.rc, str(r))
        self.assertIn("does not exist", r.err)


@needs("criu_check")
class CheckpointRestore(CheckpointTest):
    def test_a_counter_goes_on(self):
        def limited(b):
            b.linux["resources"]["pids"] = {"limit": 77}
        b, cid = self.counting(config=limited)
        before = self.wait_numbers(b, 4)
        old = self.state(cid)["pid"]
        self.checkpoint(cid)
        self.assert_gone(cid)
        self.assertFalse(os.path.exists("/proc/%d" % old))
        at = self.numbers(b)
        pid_file = os.path.join(self.tmp, "pid")
        self.restore(b, cid, "--pid-file", pid_file)
        after = self.wait_numbers(b, len(at) + 4)
        self.assertEqual(list(range(1, len(after) + 1)), after)
        self.assertGreater(len(at), len(before) - 1)
        state = self.state(cid)
        self.assertEqual("running", state["status"])
        with open(pid_file) as f:
            self.assertEqual(str(state["pid"]), f.read())
        if cgroup_mode() == "v2":
            self.assertEqual("77", self.cgroup_file(state["pid"], "", "pids.max"))
        # Every other command works on it as on any container.
        self.assertEqual("inside\n", self.exec(cid, "sh", "-c", "echo inside; test -d /proc/1").out)
        self.runtime("pause", cid)
        self.assertEqual("paused", self.status(cid))
        self.runtime("resume", cid)
        self.runtime("kill", cid, "KILL")
        self.wait_status(cid, "stopped")
        self.delete(cid)

    def test_twice_and_under_another_id(self):
        b, cid = self.counting()
        self.wait_numbers(b, 3)
        for other in (self.cid(), self.cid()):
            self.checkpoint(cid)
            self.assert_gone(cid)
            have = len(self.numbers(b))
            self.restore(b, other)
            self.wait_numbers(b, have + 3)
            cid = other
        numbers = self.numbers(b)
        self.assertEqual(list(range(1, len(numbers) + 1)), numbers)
        # In its own cgroup, not in the one of the images.
        with open("/proc/%d/cgroup" % self.state(cid)["pid"]) as f:
            self.assertIn(cid, f.read())
        self.delete(cid, "--force")

    def test_leave_running(self):
        # The counter's file is in the container's tmpfs, so that the images hold it.
        b, cid = self.counting(where="/dev/shm/count")

        def count():
            return int(self.exec(cid, "sh", "-c", "tail -n 1 /dev/shm/count").out or 0)
        wait_until(lambda: count() >= 3, "the counter runs")
        pid = self.state(cid)["pid"]
        self.checkpoint(cid, "--leave-running")
        self.assertEqual("running", self.status(cid))
        self.assertEqual(pid, self.state(cid)["pid"])
        now = count()
        wait_until(lambda: count() > now + 20, "the counter runs on")
        last = count()
        self.delete(cid, "--force")
        self.restore(b, cid)
        self.assertLess(count(), last, "restored from the images, not from what ran on")
        now = count()
        wait_until(lambda: count() > now, "the restored counter runs")
        self.delete(cid, "--force")

    def test_restored_in_the_foreground_with_the_new_streams(self):
        b = self.bundle(sh="echo first; until [ -e /tmp/go ]; do sleep 0.1; done; echo second; exit 7")
        cid = self.cid()
        read_end, write_end = os.pipe()
        with open(read_end) as out:
            p = subprocess.Popen(self.argv("run", "--detach", "--bundle", b.write(), cid), stdin=subprocess.DEVNULL, stdout=write_end,
                                 stderr=subprocess.DEVNULL)
            os.close(write_end)
            self.assertEqual(0, p.wait(120))
            self.assertEqual("first\n", out.readline())
            self.checkpoint(cid)
            self.assertEqual("", out.read())
        with open(os.path.join(self.images, "descriptors.json")) as f:
            streams = json.load(f)
        self.assertEqual(3, len(streams))
        self.assertTrue(streams[1].startswith("pipe:["), streams)
        with open(os.path.join(b.rootfs, "tmp/go"), "w"):
            pass
        # A pipe for a pipe: standard output of the restore command.
        p = subprocess.Popen(self.argv("restore", "--image-path", self.images, "--bundle", b.path, cid), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = p.communicate(timeout=180)
        self.assertEqual((7, "second\n"), (p.returncode, out), err)
        self.assert_gone(cid)

    def test_terminal(self):
        b = self.bundle(sh="n=0; while read line; do n=$((n+1)); echo answer-$n-$line; done")
        b.process["terminal"] = True
        with ConsoleSocket(os.path.join(self.tmp, "one.sock")) as console:
            cid = self.quiet_start(b, "--console-socket", console.path)
            master = console.accept()
        os.write(master, b"a\n")
        read_available(master, "answer-1-a")
        self.checkpoint(cid)
        os.close(master)
        self.assert_gone(cid)
        r = self.restore(b, cid, check=False)
        self.assertNotEqual(0, r.rc)
        self.assertIn("--console-socket", r.err)
        with ConsoleSocket(os.path.join(self.tmp, "two.sock")) as console:
            self.restore(b, cid, "--console-socket", console.path)
            master = console.accept()
        os.write(master, b"b\n")
        self.assertIn("answer-2-b", read_available(master, "answer-2-b"))
        self.delete(cid, "--force")
        os.close(master)

    def test_pre_dump_and_parent(self):
        # Only builtins after the first line: a child that was caught between fork and exec would have a copy of the memory.
        b = self.bundle(sh="big=$(head -c 3000000 /dev/zero | tr '\\0' x); echo 1 >/tmp/count; "
                           "while [ ! -e /tmp/ask ]; do :; done; echo ${#big} >/tmp/answer; sleep 1000")
        cid = self.quiet_start(b)
        self.wait_numbers(b, 1)
        final, self.images = self.images, os.path.join(self.tmp, "pre")
        self.checkpoint(cid, "--pre-dump")
        self.assertEqual("running", self.status(cid))
        self.assertNotIn("descriptors.json", os.listdir(self.images))
        r = self.restore(b, self.cid(), check=False)
        self.assertIn("no complete checkpoint", r.err)
        self.images = final
        self.checkpoint(cid, "--parent-path", "../pre")
        self.assertEqual("../pre", os.readlink(os.path.join(final, "parent")))

        def pages(directory):
            return sum(os.path.getsize(os.path.join(directory, n)) for n in os.listdir(directory) if n.startswith("pages-"))
        # The 3 MB that did not change lie in the first dump only.
        self.assertGreater(pages(os.path.join(self.tmp, "pre")), 2900000)
        self.assertLess(pages(final), 2000000)
        self.restore(b, cid)
        with open(os.path.join(b.rootfs, "tmp/ask"), "w"):
            pass
        answer = os.path.join(b.rootfs, "tmp/answer")
        wait_until(lambda: os.path.exists(answer) and open(answer).read() == "3000000\n", "the big variable is whole")
        self.delete(cid, "--force")

    def test_bind_mounts_and_masks_come_from_outside(self):
        for name in ("old", "new"):
            os.mkdir(os.path.join(self.tmp, name))
            with open(os.path.join(self.tmp, name, "who"), "w") as f:
                f.write(name + "\n")
        with open(os.path.join(self.tmp, "file"), "w") as f:
            f.write("single\n")

        def mounts(b):
            b.mount("/data", os.path.join(self.tmp, "old"), "bind", ["rbind", "rw"])
            b.mount("/etc/one", os.path.join(self.tmp, "file"), "bind", ["bind", "ro"])
            b.mount("/scratch", "tmpfs", "tmpfs", ["size=1m"])
            os.symlink("/mnt", os.path.join(b.rootfs, "link"))
            b.mount("/link/via", os.path.join(self.tmp, "old"), "bind", ["bind"])
        b, cid = self.counting(config=mounts)
        self.wait_numbers(b, 2)
        self.exec(cid, "sh", "-c", "echo kept >/scratch/f")
        look = ["sh", "-c", "cat /data/who /etc/one /scratch/f /link/via/who; wc -c < /proc/keys; ls /sys/firmware /proc/scsi | wc -l; "
                            "echo x 2>/dev/null > /etc/one || echo ro"]
        first = self.exec(cid, *look).out
        self.assertRegex(first, r"^old\nsingle\nkept\nold\n0\n\d+\nro\n$")
        self.checkpoint(cid)
        self.restore(b, cid)
        self.assertEqual(first, self.exec(cid, *look).out)
        self.checkpoint(cid)
        # The source is what the configuration says now; a mount point that the root lacks is made.
        b.config["mounts"] = [dict(m, source=os.path.join(self.tmp, "new")) if m["destination"] == "/data" else m for m in b.config["mounts"]]
        os.rmdir(os.path.join(b.rootfs, "data"))
        self.restore(b, cid)
        self.assertEqual(first.replace("old", "new", 1), self.exec(cid, *look).out)
        self.delete(cid, "--force")

    def test_network_namespace_by_path_and_empty(self):
        holder = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
        try:
            wait_until(lambda: os.stat("/proc/%d/ns/net" % holder.pid).st_ino != os.stat("/proc/self/ns/net").st_ino, "the namespace is there")
            path = "/proc/%d/ns/net" % holder.pid

            def joined(b):
                b.without_namespace("network").linux["namespaces"].append({"type": "network", "path": path})
            b, cid = self.counting(config=joined)
            self.wait_numbers(b, 2)
            self.checkpoint(cid)
            self.restore(b, cid)
            self.assertEqual(os.stat(path).st_ino, os.stat("/proc/%d/ns/net" % self.state(cid)["pid"]).st_ino)
            have = len(self.numbers(b))
            self.wait_numbers(b, have + 2)
            self.delete(cid, "--force")
        finally:
            holder.kill()
            holder.wait()
        self.images = os.path.join(self.tmp, "empty")
        b, cid = self.counting()
        self.wait_numbers(b, 2)
        self.checkpoint(cid, "--empty-ns", "network")
        self.restore(b, cid, "--empty-ns", "network")
        self.assertNotEqual(os.stat("/proc/self/ns/net").st_ino, os.stat("/proc/%d/ns/net" % self.state(cid)["pid"]).st_ino)
        self.delete(cid, "--force")

    def test_user_namespace(self):
        def mapped(b):
            b.linux["namespaces"].append({"type": "user"})
            for kind in ("uidMappings", "gidMappings"):
                b.linux[kind] = [{"containerID": 0, "hostID": 300000, "size": 65536}]
            for where, _, files in os.walk(b.rootfs):
                for name in [where] + [os.path.join(where, f) for f in files]:
                    os.lchown(name, 300000, 300000)
        b, cid = self.counting(config=mapped)
        self.wait_numbers(b, 2)
        self.checkpoint(cid)
        have = len(self.numbers(b))
        self.restore(b, cid)
        numbers = self.wait_numbers(b, have + 3)
        self.assertEqual(list(range(1, len(numbers) + 1)), numbers)
        self.assertEqual(300000, os.stat("/proc/%d" % self.state(cid)["pid"]).st_uid)
        self.assertEqual("0 65536\n", self.exec(cid, "sh", "-c", "set -- $(cat /proc/self/uid_map); echo $1 $3; echo x >/dev/null").out)
        self.delete(cid, "--force")

    @needs("systemd")
    def test_systemd_scope(self):
        self.global_args = ["--systemd-cgroup"]
        cid = self.cid()

        def placed(b):
            b.linux["cgroupsPath"] = "system.slice:onggi:" + cid
        b = self.bundle(sh=COUNTER % "/tmp/count")
        placed(b)
        self.quietly("run", "--detach", "--bundle", b.write(), cid)
        self.wait_numbers(b, 2)
        self.checkpoint(cid)
        self.restore(b, cid)
        with open("/proc/%d/cgroup" % self.state(cid)["pid"]) as f:
            self.assertIn("/system.slice/onggi-%s.scope" % cid, f.read())
        numbers = self.wait_numbers(b, len(self.numbers(b)) + 2)
        self.assertEqual(list(range(1, len(numbers) + 1)), numbers)
        self.delete(cid, "--force")

    def test_hooks(self):
        def hooked(b):
            b.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", "(echo %s; cat; echo) >> %s/hooks" % (kind, self.tmp)]}]
                                 for kind in ("createRuntime", "poststop")}
        b, cid = self.counting(config=hooked)
        self.wait_numbers(b, 2)
        self.checkpoint(cid)
        self.restore(b, cid)
        pid = self.state(cid)["pid"]
        self.delete(cid, "--force")
        with open(os.path.join(self.tmp, "hooks")) as f:
            lines = [line for line in f.read().split("\n") if line]
        self.assertEqual(["createRuntime", "poststop", "createRuntime", "poststop"], lines[0::2])
        self.assertEqual(pid, json.loads(lines[5])["pid"])

    def test_lazy_pages(self):
        if subprocess.run(["criu", "check", "--feature", "uffd"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            self.skipTest("needs criu_check")
        b = self.bundle(sh="big=$(head -c 3000000 /dev/zero | tr '\\0' x); exec >/tmp/count; i=0; while :; do i=$((i+1)); echo $i; "
                           "[ ${#big} = 3000000 ] || exit 1; sleep 0.1; done")
        cid = self.quiet_start(b)
        self.wait_numbers(b, 2)
        ready, ready_write = os.pipe()
        # It ends when all pages were fetched.
        server = subprocess.Popen(self.argv("checkpoint", "--image-path", self.images, "--lazy-pages", "--page-server", "127.0.0.1:27182",
                                            "--status-fd", str(ready_write), cid), pass_fds=[ready_write],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(ready_write)
        with open(ready, "rb") as status:
            self.assertEqual(b"\0", status.read(1))
        have = len(self.numbers(b))
        client = subprocess.Popen(["criu", "lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", "27182", "-D", self.images,
                                   "-W", self.images, "-o", "lazy.log"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: os.path.exists(os.path.join(self.images, "lazy-pages.socket")), "criu lazy-pages listens")
            other = self.cid()
            # The dumped container still waits for its last page, so the restored one needs another id.
            self.restore(b, other, "--lazy-pages", "--work-path", self.images)
            self.assertEqual(0, client.wait(120))
            self.assertEqual(0, server.wait(120))
        finally:
            for p in (client, server):
                p.kill()
                p.wait()
        self.assert_gone(cid)
        numbers = self.wait_numbers(b, have + 3)
        self.assertEqual(list(range(1, len(numbers) + 1)), numbers)
        self.delete(other, "--force")

    # --- failures ---
    @needs("helpers")
    def test_failed_dump_leaves_it_running(self):
        b = self.bundle(sh="probe lock /tmp/lock >/dev/null & " + COUNTER % "/tmp/count")
        cid = self.quiet_start(b)
        self.wait_numbers(b, 2)
        pid = self.state(cid)["pid"]
        r = self.checkpoint(cid, check=False)
        self.assertNotEqual(0, r.rc)
        self.assertRegex(r.err, "goes on as before.*lock.*dump.log")
        self.assertEqual(("running", pid), (self.status(cid), self.state(cid)["pid"]))
        have = len(self.numbers(b))
        self.wait_numbers(b, have + 3)
        self.assertEqual(["dump.log"], os.listdir(self.images))
        self.checkpoint(cid, "--file-locks")
        self.restore(b, cid, "--file-locks")
        self.assertEqual("taken\n", self.exec(cid, "probe", "lock", "/tmp/lock", check=False).out)
        self.delete(cid, "--force")

    def test_fault_after_the_dump_leaves_it_running(self):
        b, cid = self.counting()
        self.wait_numbers(b, 2)
        # The last file of a checkpoint cannot be written: criu is told to undo.
        os.makedirs(os.path.join(self.images, "descriptors.json", "in-the-way"))
        r = self.checkpoint(cid, check=False)
        self.assertNotEqual(0, r.rc)
        self.assertIn("descriptors.json", r.err)
        self.assertEqual("running", self.status(cid))
        have = len(self.numbers(b))
        numbers = self.wait_numbers(b, have + 3)
        self.assertEqual(list(range(1, len(numbers) + 1)), numbers)
        self.assertEqual([], [n for n in os.listdir(self.images) if n.endswith(".img")])
        self.delete(cid, "--force")

    def test_restore_of_damaged_images(self):
        b, cid = self.counting()
        self.wait_numbers(b, 2)
        self.checkpoint(cid)
        whole = self.images
        for damage in ("inventory.img", "core-1.img", "pages-1.img", "mountpoints-*"):
            self.images = os.path.join(self.tmp, "damaged")
            shutil.rmtree(self.images, True)
            shutil.copytree(whole, self.images)
            name = next(n for n in os.listdir(self.images) if n.startswith(damage.rstrip("*")))
            with open(os.path.join(self.images, name), "r+b") as f:
                f.truncate(5)
            r = self.restore(b, cid, check=False)
            self.assertNotEqual(0, r.rc, damage)
            self.assertRegex(r.err, "is damaged: %s has 5 bytes" % name)
            self.assert_gone(cid)
            if damage.startswith("pages"):
                continue  # criu 4.1 loops for ever on these
            # What only criu can find.
            os.unlink(os.path.join(self.images, "onggi-images.json"))
            r = self.restore(b, cid, check=False)
            self.assertNotEqual(0, r.rc, damage)
            self.assertRegex(r.err, "could not be restored.*restore.log")
            self.assert_gone(cid)
        # The whole one still works under the same id: nothing was left in its way.
        self.images = whole
        self.restore(b, cid)
        self.delete(cid, "--force")

    def test_restore_over_an_existing_container(self):
        b, cid = self.counting()
        self.wait_numbers(b, 2)
        self.checkpoint(cid, "--leave-running")
        r = self.restore(b, cid, check=False)
        self.assertIn("already exists", r.err)
        self.assertEqual("running", self.status(cid))
        self.delete(cid, "--force")

    def test_failing_hook_undoes_the_restore(self):
        b, cid = self.counting()
        self.wait_numbers(b, 2)
        self.checkpoint(cid)
        b.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo hook says no; exit 3"]}]}
        r = self.restore(b, cid, check=False)
        self.assertIn("hook says no", r.err)
        self.assert_gone(cid)


OTHER_TEXTS = deviates(runc="other texts", crun="other texts")


class CheckpointRefusals(CheckpointTest):
    """What is refused before criu is started, so on every host."""

    def refused(self, says, *words):
        r = self.runtime(*words, check=False)
        self.assertNotEqual(0, r.rc, str(r))
        self.assertRegex(r.err, says)

    @OTHER_TEXTS
    def test_bad_input(self):
        cid = self.quiet_start(self.bundle("sleep", "1000"))
        image = ["--image-path", self.images]
        self.refused("none of soft, full, strict, ignore", "checkpoint", *image, "--manage-cgroups-mode", "some", cid)
        self.refused("only network", "checkpoint", *image, "--empty-ns", "ipc", cid)
        self.refused("ADDRESS:PORT", "checkpoint", *image, "--page-server", "here", cid)
        self.refused("port", "checkpoint", *image, "--page-server", "127.0.0.1:99999", cid)
        self.refused("not open for writing", "checkpoint", *image, "--lazy-pages", "--status-fd", "77", cid)
        self.refused("without --lazy-pages", "checkpoint", *image, "--status-fd", "1", cid)
        self.refused("relative to the image path", "checkpoint", *image, "--parent-path", "/tmp", cid)
        self.refused("parent-path.*No such file", "checkpoint", *image, "--parent-path", "../none", cid)
        self.refused("none of iptables, nftables, skip", "checkpoint", *image, "--network-lock", "door", cid)
        self.refused("unknown option", "checkpoint", "--nonsense", cid)
        self.refused("does not exist", "checkpoint", *image, cid + "x")
        self.refused("requires root|CRIU needs root", "--rootless=true", "checkpoint", *image, cid)
        self.assertEqual("running", self.status(cid))
        self.delete(cid, "--force")

    @OTHER_TEXTS
    def test_states(self):
        cid = self.create(self.bundle("true"))
        self.refused("cannot be checkpointed in created state", "checkpoint", "--image-path", self.images, cid)
        self.start(cid)
        self.wait_status(cid, "stopped")
        self.refused("cannot be checkpointed in stopped state", "checkpoint", "--image-path", self.images, cid)
        self.delete(cid)

    @OTHER_TEXTS
    def test_restore_from_nothing(self):
        b = self.bundle("true")
        b.write()
        cid = self.cid()
        self.refused("image-path.*No such file", "restore", "--image-path", self.images, "--bundle", b.path, cid)
        os.mkdir(self.images)
        self.refused("no complete checkpoint", "restore", "--image-path", self.images, "--bundle", b.path, cid)
        for text, says in (("{", "descriptors.json"), ("[1]", "no image files"), ('["a"]', "no image files")):
            with open(os.path.join(self.images, "descriptors.json"), "w") as f:
                f.write(text)
            self.refused(says if text != "{" else "no image files", "restore", "--image-path", self.images, "--bundle", b.path, cid)
        with open(os.path.join(self.images, "inventory.img"), "w"):
            pass
        for text, says in (("{", "descriptors.json"), ("[1]", "other than strings"), ('["a","b","c","d"]', "up to three")):
            with open(os.path.join(self.images, "descriptors.json"), "w") as f:
                f.write(text)
            self.refused(says, "restore", "--image-path", self.images, "--bundle", b.path, cid)
        self.refused("no-pivot.*criu", "restore", "--no-pivot", "--image-path", self.images, "--bundle", b.path, cid)
        self.assertEqual([], os.listdir(self.root))

    @OTHER_TEXTS
    def test_what_criu_cannot_do(self):
        source = os.path.join(self.tmp, "volume")
        os.mkdir(source)
        b = self.bundle("sleep", "1000")
        b.config["annotations"] = {"org.criu.config": os.path.join(self.tmp, "criu.conf")}
        with open(os.path.join(self.tmp, "criu.conf"), "w") as f:
            f.write("action-script /bin/true\n")
        cid = self.quiet_start(b)
        self.refused("not below /etc/criu", "checkpoint", "--image-path", self.images, cid)
        self.assertEqual("running", self.status(cid))
        self.delete(cid, "--force")


if __name__ == "__main__":
    unittest.main()
