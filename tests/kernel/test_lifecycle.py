"""runtime.md: create, start, state, kill, delete, run; their errors; and what every command must refuse."""

import os
import signal
import time
import unittest

from onggi_test import RuntimeTest, deviates, needs, reap, wait_until


class State(RuntimeTest):
    """runtime.md "State": fields and the four statuses."""

    def test_created_fields(self):
        b = self.bundle("sleep", "1000")
        b.config["annotations"] = {"org.example.key": "value with \"quotes\" and ünïcode"}
        cid = self.create(b)
        s = self.state(cid)
        self.assertEqual("created", s["status"])
        self.assertEqual(cid, s["id"])
        self.assertEqual(b.path, s["bundle"])
        self.assertRegex(s["ociVersion"], r"^1\.\d+\.\d+")
        self.assertEqual("value with \"quotes\" and ünïcode", s["annotations"]["org.example.key"])
        self.assertTrue(os.path.isdir("/proc/%d" % s["pid"]))

    def test_created_has_not_run_the_program(self):
        b = self.bundle(sh="echo ran > /marker; sleep 1000")
        cid = self.create(b)
        time.sleep(0.3)
        self.assertFalse(os.path.exists(os.path.join(b.rootfs, "marker")))
        self.start(cid)
        wait_until(lambda: os.path.exists(os.path.join(b.rootfs, "marker")), "the program ran")
        self.assertEqual("running", self.status(cid))

    def test_stopped_after_exit(self):
        cid = self.started(self.bundle("true"))
        self.wait_status(cid, "stopped")
        s = self.state(cid)
        self.assertIn(s.get("pid", 0), (0, s.get("pid")))
        self.delete(cid)
        self.assertNotEqual(0, self.runtime("state", cid, check=False).rc)

    def test_pid_file(self):
        b = self.bundle("sleep", "1000")
        path = os.path.join(self.tmp, "pid")
        cid = self.create(b, "--pid-file", path)
        with open(path) as f:
            self.assertEqual(str(self.state(cid)["pid"]), f.read().strip())

    @deviates(crun="another message")
    def test_state_of_absent(self):
        r = self.runtime("state", "absent-one", check=False)
        self.assertNotEqual(0, r.rc)
        self.assertRegex(r.err, "does not exist")  # what engines look for

    def test_config_change_after_create_is_ignored(self):
        b = self.bundle(sh="echo original; sleep 0.2")
        cid = self.create(b)
        b.sh("echo changed")
        b.write()
        self.start(cid)
        self.wait_log(cid, "original")
        self.wait_status(cid, "stopped")
        self.assertNotIn("changed", self.log(cid))


class Errors(RuntimeTest):
    """runtime.md "Errors": a refused command leaves the container as it was."""

    @deviates(crun="accepts ids with spaces and other characters", runc="accepts ids longer than file names at first")
    def test_bad_ids(self):
        for bad in ("", "a/b", "../x", ".", "..", "a b", "a\nb", "x" * 1100, "é"):
            with self.subTest(repr(bad[:20])):
                r = self.runtime("create", "--bundle", self.bundle().write(), "--", bad, check=False)
                self.assertNotEqual(0, r.rc, str(r))
                self.assertEqual([], os.listdir(self.root) if os.path.isdir(self.root) else [])

    def test_create_twice(self):
        cid = self.create(self.bundle("sleep", "1000"))
        r = self.runtime("create", "--bundle", self.bundle().write(), cid, check=False)
        self.assertNotEqual(0, r.rc)
        self.assertRegex(r.err, "exist")
        self.assertEqual("created", self.status(cid))

    def test_start_twice(self):
        cid = self.started(self.bundle("sleep", "1000"))
        self.assertNotEqual(0, self.runtime("start", cid, check=False).rc)
        self.assertEqual("running", self.status(cid))

    def test_start_stopped(self):
        cid = self.started(self.bundle("true"))
        self.wait_status(cid, "stopped")
        self.assertNotEqual(0, self.runtime("start", cid, check=False).rc)

    def test_kill_stopped(self):
        cid = self.started(self.bundle("true"))
        self.wait_status(cid, "stopped")
        self.assertNotEqual(0, self.runtime("kill", cid, "TERM", check=False).rc)

    def test_delete_running(self):
        cid = self.started(self.bundle("sleep", "1000"))
        self.assertNotEqual(0, self.runtime("delete", cid, check=False).rc)
        self.assertEqual("running", self.status(cid))

    @deviates(crun="refuses to delete a created container without --force")
    def test_delete_created(self):
        """runtime.md allows only stopped; runc and engines delete created ones, killing init. Either way nothing is left."""
        cid = self.create(self.bundle("sleep", "1000"))
        self.delete(cid)
        self.assertNotEqual(0, self.runtime("state", cid, check=False).rc)

    def test_delete_absent(self):
        self.assertNotEqual(0, self.runtime("delete", "absent-two", check=False).rc)
        self.runtime("delete", "--force", "absent-two")

    def test_delete_force_running(self):
        cid = self.started(self.bundle(sh="trap '' TERM; sleep 1000"))
        self.delete(cid, "--force")
        self.assertNotEqual(0, self.runtime("state", cid, check=False).rc)

    def test_bundle_without_config(self):
        d = os.path.join(self.tmp, "empty")
        os.mkdir(d)
        r = self.runtime("create", "--bundle", d, self.cid(), check=False)
        self.assertNotEqual(0, r.rc)
        self.assertIn("config.json", r.err)

    def test_bundle_absent(self):
        self.assertNotEqual(0, self.runtime("create", "--bundle", "/nonexistent", self.cid(), check=False).rc)

    def test_config_not_json(self):
        b = self.bundle()
        b.write()
        with open(os.path.join(b.path, "config.json"), "w") as f:
            f.write('{"ociVersion": ')
        self.assertNotEqual(0, self.runtime("create", "--bundle", b.path, self.cid(), check=False).rc)

    @deviates(runc="tolerates some absent fields", crun="tolerates some absent fields")
    def test_required_fields(self):
        for name, change in {
            "no process at run": lambda c: c.pop("process"),
            "no args": lambda c: c["process"].pop("args"),
            "empty args": lambda c: c["process"].update(args=[]),
            "no cwd": lambda c: c["process"].pop("cwd"),
            "relative cwd": lambda c: c["process"].update(cwd="tmp"),
            "no root": lambda c: c.pop("root"),
            "absent rootfs": lambda c: c["root"].update(path="nowhere"),
        }.items():
            with self.subTest(name):
                b = self.bundle()
                change(b.config)
                self.fails(b)

    @deviates(crun="ignores ociVersion", runc="ignores ociVersion")
    def test_version(self):
        for bad in ("2.0.0", "", "x"):
            with self.subTest(bad):
                b = self.bundle()
                b.config["ociVersion"] = bad
                self.fails(b)

    def test_executable_absent(self):
        r = self.fails(self.bundle("/bin/not-there"))
        self.assertIn("not-there", r.err)

    def test_executable_not_executable(self):
        b = self.bundle("/etc/passwd")
        self.fails(b, says="(?i)permission|not executable")

    def test_concurrent_create_one_wins(self):
        import subprocess
        cid = self.cid()
        bundles = [self.bundle("sleep", "1000").write() for _ in range(6)]
        started = [subprocess.Popen(self.argv("create", "--bundle", b, cid), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL) for b in bundles]
        codes = [p.wait(60) for p in started]
        self.assertEqual(1, codes.count(0), codes)
        self.assertEqual("created", self.status(cid))


class Run(RuntimeTest):

    def test_exit_code(self):
        for code in (0, 1, 7, 255):
            with self.subTest(code):
                self.assertEqual(code, self.run_bundle(self.bundle(sh="exit %d" % code), check=False).rc)

    def test_exit_by_signal(self):
        b = self.bundle(sh="sleep 1000 & kill -KILL $!; wait $!; exit $?")
        self.assertEqual(137, self.run_bundle(b, check=False).rc)

    def test_run_removes_the_container(self):
        cid = self.cid()
        self.run_bundle(self.bundle(), cid=cid)
        self.assertNotEqual(0, self.runtime("state", cid, check=False).rc)

    def test_keep(self):
        cid = self.cid()
        r = self.runtime("run", "--keep", "--bundle", self.bundle().write(), cid, check=False)
        self.assertEqual(0, r.rc, str(r))
        self.assertEqual("stopped", self.status(cid))
        self.delete(cid)

    def test_stdin_reaches_the_program(self):
        r = self.runtime("run", "--bundle", self.bundle("cat").write(), self.cid(), stdin="hello stdin\n")
        self.assertEqual("hello stdin\n", r.out)

    def test_stderr_is_separate(self):
        r = self.run_bundle(self.bundle(sh="echo out; echo err >&2"))
        self.assertEqual(("out\n", "err\n"), (r.out, r.err))

    def test_detach(self):
        cid = self.cid()
        self.runtime("run", "--detach", "--bundle", self.bundle("sleep", "1000").write(), cid, capture=False)
        self.assertEqual("running", self.status(cid))

    def test_signal_is_forwarded(self):
        import subprocess
        b = self.bundle(sh="trap 'echo got-term; exit 42' TERM; echo ready; while :; do sleep 0.05; done")
        with open(os.path.join(self.tmp, "out"), "w+") as out:
            p = subprocess.Popen(self.argv("run", "--bundle", b.write(), self.cid()), stdin=subprocess.DEVNULL, stdout=out)

            def shown():
                out.seek(0)
                return out.read()
            wait_until(lambda: "ready" in shown(), "the container is ready")
            p.send_signal(signal.SIGTERM)
            self.assertEqual(42, p.wait(30))
            self.assertIn("got-term", shown())

    def with_fds(self, redirections, fds, *args):
        """A runtime command behind a shell that gives it descriptors at fixed numbers."""
        import shlex
        import subprocess
        line = "exec %s %s" % (shlex.join(self.argv(*args)), redirections)
        return subprocess.run(["/bin/bash", "-c", line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              pass_fds=fds, timeout=60)

    def test_preserve_fds(self):
        read_end, write_end = os.pipe()
        try:
            r = self.with_fds("3>&%d" % write_end, (write_end,), "run", "--preserve-fds", "1", "--bundle",
                              self.bundle(sh="echo through >&3").write(), self.cid())
            self.assertEqual(0, r.returncode, r.stderr)
        finally:
            os.close(write_end)
        self.assertEqual(b"through\n", os.read(read_end, 100))
        os.close(read_end)

    def test_no_other_fd_leaks_in(self):
        with open("/etc/hostname") as secret:
            r = self.with_fds("3<&{0} 4<&{0} 9<&{0} 77<&{0}".format(secret.fileno()), (secret.fileno(),), "run", "--bundle",
                              self.bundle("/bin/ls", "-l", "/proc/self/fd").write(), self.cid())
        self.assertEqual(0, r.returncode, r.stderr)
        self.assertNotIn("hostname", r.stdout)
        numbers = {line.split(" -> ")[0].split()[-1] for line in r.stdout.splitlines() if " -> " in line}
        self.assertEqual({"0", "1", "2"}, numbers - {"3"}, "3 is ls's own view of the directory")


class Kill(RuntimeTest):

    @deviates(crun="lower-case names are not accepted")
    def test_signals_by_name_and_number(self):
        b = self.bundle(sh="for s in HUP INT USR1 USR2; do trap \"echo got-$s\" $s; done; echo ready; while :; do sleep 0.05; done")
        cid = self.started(b)
        self.wait_log(cid, "ready")
        for arg, name in (("SIGHUP", "HUP"), ("INT", "INT"), ("10", "USR1"), ("usr2", "USR2")):
            with self.subTest(arg):
                self.runtime("kill", cid, arg)
                self.wait_log(cid, "got-" + name)

    def test_default_is_term(self):
        cid = self.started(self.bundle(sh="trap 'echo got-term; exit 0' TERM; echo ready; while :; do sleep 0.05; done"))
        self.wait_log(cid, "ready")
        self.runtime("kill", cid)
        self.wait_log(cid, "got-term")
        self.wait_status(cid, "stopped")

    @deviates(crun="takes numbers that are no signal")
    def test_unknown_signal(self):
        cid = self.started(self.bundle("sleep", "1000"))
        for bad in ("SIGNOPE", "99", "-1", "1x"):
            with self.subTest(bad):
                self.assertNotEqual(0, self.runtime("kill", "--", cid, bad, check=False).rc)
        self.assertEqual("running", self.status(cid))

    def test_kill_created(self):
        cid = self.create(self.bundle("sleep", "1000"))
        self.runtime("kill", cid, "KILL")
        self.wait_status(cid, "stopped")

    def test_all_reaches_every_process(self):
        b = self.bundle(sh="sleep 1001 & sleep 1002 & sleep 1003 & echo ready; wait")
        b.without_namespace("pid")
        cid = self.started(b)
        self.wait_log(cid, "ready")
        pids = self.runtime("ps", "-f", "json", cid, check=False)
        self.assertEqual(0, pids.rc, str(pids))
        self.assertGreaterEqual(len(pids.json()), 4)
        self.runtime("kill", "--all", cid, "KILL")
        self.wait_status(cid, "stopped")

        def all_gone():
            reap()
            return not any(os.path.isdir("/proc/%d" % p) for p in pids.json())
        wait_until(all_gone, "every process of the container is gone")

    def test_shared_pid_namespace_delete_ends_all(self):
        """Without a pid namespace the kernel does not end the others when init dies; delete --force must."""
        b = self.bundle(sh="sleep 1001 & echo ready; wait").without_namespace("pid")
        cid = self.started(b)
        self.wait_log(cid, "ready")
        pids = self.runtime("ps", "-f", "json", cid).json()
        self.delete(cid, "--force")

        def all_gone():
            reap()
            return not any(os.path.isdir("/proc/%d" % p) for p in pids)
        wait_until(all_gone, "every process of the container is gone")


class Listing(RuntimeTest):

    def test_list_json_and_quiet(self):
        a, b = self.create(self.bundle("sleep", "1000")), self.started(self.bundle("sleep", "1000"))
        entries = {e["id"]: e for e in self.runtime("list", "--format", "json").json()}
        self.assertEqual({a, b}, set(entries))
        self.assertEqual("created", entries[a]["status"])
        self.assertEqual("running", entries[b]["status"])
        for key in ("pid", "bundle", "created"):
            self.assertIn(key, entries[b])
        self.assertEqual({a, b}, set(self.runtime("list", "-q").out.split()))
        table = self.runtime("list").out
        self.assertRegex(table.splitlines()[0], r"^(ID|NAME)\s+PID\s+STATUS\s+BUNDLE")

    def test_list_empty(self):
        self.assertEqual("", self.runtime("list", "-q").out)
        self.assertIn(self.runtime("list", "--format", "json").out.strip(), ("[]", "null", "[\n\n]"))

    @deviates(crun="its table has pids only")
    def test_ps(self):
        cid = self.started(self.bundle(sh="sleep 1001 & echo ready; wait"))
        self.wait_log(cid, "ready")
        pids = self.runtime("ps", "--format", "json", cid).json()
        self.assertIn(self.state(cid)["pid"], pids)
        self.assertEqual(2, len(pids))
        table = self.runtime("ps", cid).out
        self.assertIn("PID", table.splitlines()[0])
        self.assertIn("sleep 1001", table)


@needs("root")
class PauseResume(RuntimeTest):

    def test_pause_stops_and_resume_continues(self):
        b = self.bundle(sh="i=0; while :; do i=$((i+1)); echo $i > /tick; usleep 20000; done")
        cid = self.started(b)
        tick = os.path.join(b.rootfs, "tick")
        wait_until(lambda: os.path.exists(tick), "it ticks")
        self.runtime("pause", cid)
        self.assertEqual("paused", self.status(cid))

        def read():
            with open(tick) as f:
                return f.read()
        before = read()
        time.sleep(0.3)
        self.assertEqual(before, read())
        self.runtime("resume", cid)
        self.assertEqual("running", self.status(cid))
        wait_until(lambda: read() not in ("", before), "it ticks again")

    @deviates(crun="resume of a running container succeeds")
    def test_errors(self):
        cid = self.started(self.bundle("sleep", "1000"))
        self.assertNotEqual(0, self.runtime("resume", cid, check=False).rc)
        self.runtime("pause", cid)
        r = self.runtime("exec", cid, "true", check=False)
        self.assertNotEqual(0, r.rc, "exec into a paused container must be refused, not hang")
        self.runtime("resume", cid)

    def test_delete_force_paused(self):
        cid = self.started(self.bundle("sleep", "1000"))
        self.runtime("pause", cid)
        self.delete(cid, "--force")


if __name__ == "__main__":
    unittest.main()
