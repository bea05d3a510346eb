"""exec: joins everything of a container, with its own process specification; runc's flags and exit codes."""

import json
import os
import subprocess
import unittest

from onggi_test import RuntimeTest, cgroup_mode, deviates, needs, v1_mounts, wait_until


class Exec(RuntimeTest):

    def container(self, change=None, sh=None):
        b = self.bundle(sh=sh) if sh else self.bundle("sleep", "1000")
        if change:
            change(b)
        return self.started(b)

    def test_output_and_exit_code(self):
        cid = self.container()
        r = self.exec(cid, "/bin/sh", "-c", "echo out; echo err >&2; exit 23", check=False)
        self.assertEqual((23, "out\n", "err\n"), (r.rc, r.out, r.err))

    def test_exit_by_signal(self):
        self.assertEqual(143, self.exec(self.container(), "/bin/sh", "-c", "kill -TERM $$", check=False).rc)

    def test_stdin(self):
        self.assertEqual("piped\n", self.exec(self.container(), "cat", stdin="piped\n").out)

    def test_joins_every_namespace(self):
        cid = self.container()
        pid = self.state(cid)["pid"]
        out = self.exec(cid, "/bin/sh", "-c", "for n in ipc mnt net pid uts cgroup; do readlink /proc/self/ns/$n; done").out.split()
        self.assertEqual([os.readlink("/proc/%d/ns/%s" % (pid, n)) for n in ("ipc", "mnt", "net", "pid", "uts", "cgroup")], out)

    def test_joins_every_cgroup(self):
        b = self.bundle("sleep", "1000").without_namespace("cgroup")
        cid = self.started(b)
        with open("/proc/%d/cgroup" % self.state(cid)["pid"]) as f:
            theirs = sorted(f.read().splitlines())
        self.assertEqual(theirs, sorted(self.exec(cid, "cat", "/proc/self/cgroup").out.splitlines()))

    def test_root_is_the_containers(self):
        cid = self.container(sh="echo made > /made-inside; sleep 1000")
        wait_until(lambda: self.exec(cid, "cat", "/made-inside", check=False).rc == 0, "the file is there")

    @deviates(crun="takes only the environment")
    def test_inherits_the_container_process(self):
        def change(b):
            b.process["env"] = ["PATH=/bin", "FROM=container"]
            b.process["cwd"] = "/tmp"
            b.process["user"] = {"uid": 0, "gid": 0, "additionalGids": [77]}
            b.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 222, "hard": 333}]
            b.process["oomScoreAdj"] = 123
            b.caps("CAP_CHOWN")
        cid = self.container(change)
        out = self.exec(cid, "/bin/sh", "-c", "echo $FROM; pwd; ulimit -n; cat /proc/self/oom_score_adj; grep -E 'CapBnd|NoNewPrivs' /proc/self/status").out
        lines = out.split("\n")
        self.assertEqual(["container", "/tmp", "222", "123"], lines[:4])
        self.assertIn("CapBnd:\t0000000000000001", lines)
        self.assertIn("NoNewPrivs:\t1", lines)

    @deviates(crun="has no --additional-gids")
    def test_flags(self):
        cid = self.container()
        out = self.exec(cid, "/bin/sh", "-c", "id -u; id -g; pwd; echo $A-$B; grep Groups /proc/self/status; grep CapBnd /proc/self/status",
                        options=["--user", "1000:1001", "--cwd", "/tmp", "--env", "A=1", "--env", "B=2", "--additional-gids", "55", "--cap", "CAP_NET_ADMIN"]).out
        lines = out.splitlines()
        self.assertEqual(["1000", "1001", "/tmp", "1-2"], lines[:4])
        self.assertIn("55", lines[4].split())
        self.assertTrue(int(lines[5].split()[1], 16) >> 12 & 1, "CAP_NET_ADMIN was added")

    @deviates(crun="gives user 0")
    def test_user_without_group(self):
        self.assertEqual("1000\n", self.exec(self.container(), "id", "-u", options=["--user", "1000"]).out)

    def test_process_file(self):
        cid = self.container()
        spec = {"terminal": False, "user": {"uid": 1234, "gid": 5}, "cwd": "/etc", "args": ["/bin/sh", "-c", "id -u; id -g; pwd; echo $ONLY; umask; grep CapEff /proc/self/status; ulimit -n"],
                "env": ["ONLY=this", "PATH=/bin"], "capabilities": {k: ["CAP_KILL"] for k in ("bounding", "effective", "permitted", "inheritable", "ambient")},
                "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 100}], "noNewPrivileges": True}
        path = os.path.join(self.tmp, "process.json")
        with open(path, "w") as f:
            json.dump(spec, f)
        lines = self.runtime("exec", "--process", path, cid).out.splitlines()
        self.assertEqual(["1234", "5", "/etc", "this"], lines[:4])
        self.assertIn("CapEff:\t0000000000000020", lines)
        self.assertEqual("99", lines[-1])

    def test_detach_and_pid_file(self):
        cid = self.container()
        pid_file = os.path.join(self.tmp, "exec.pid")
        self.runtime("exec", "--detach", "--pid-file", pid_file, cid, "sleep", "777", capture=False)
        with open(pid_file) as f:
            pid = int(f.read())

        def command_line():
            with open("/proc/%d/cmdline" % pid) as f:
                return f.read()
        wait_until(lambda: command_line() == "sleep\x00777\x00", "the program runs")

    def test_created_container(self):
        """exec needs a running container; in a created one there is nothing to join but init's: runc allows it, for its hooks' sake."""
        cid = self.create(self.bundle("sleep", "1000"))
        r = self.exec(cid, "echo", "x", check=False)
        self.assertIn(r.rc, (0, 1, 255))

    @deviates(runc="ignores unknown capabilities", crun="ignores unknown capabilities")
    def test_errors(self):
        cid = self.container()
        self.assertNotEqual(0, self.exec("absent-four", "true", check=False).rc)
        r = self.exec(cid, "/bin/not-there", check=False)
        self.assertNotEqual(0, r.rc)
        self.assertIn("not-there", r.err)
        self.assertNotEqual(0, self.exec(cid, check=False).rc)
        self.assertNotEqual(0, self.exec(cid, "true", options=["--user", "no-number-here"], check=False).rc)
        self.assertIn("CAP_NOPE", self.exec(cid, "true", options=["--cap", "CAP_NOPE"]).err)

    def test_stopped_container(self):
        cid = self.started(self.bundle("true"))
        self.wait_status(cid, "stopped")
        self.assertNotEqual(0, self.exec(cid, "true", check=False).rc)

    def test_no_new_privs_flag(self):
        def change(b):
            b.process["noNewPrivileges"] = False
        cid = self.container(change)
        self.assertIn("NoNewPrivs:\t0", self.exec(cid, "cat", "/proc/self/status").out)
        self.assertIn("NoNewPrivs:\t1", self.exec(cid, "cat", "/proc/self/status", options=["--no-new-privs"]).out)

    @needs("helpers")
    def test_only_standard_fds(self):
        self.assertEqual("0 1 2 \n", self.exec(self.container(), "/bin/probe", "fds").out)

    def test_preserve_fds(self):
        cid = self.container()
        read_end, write_end = os.pipe()
        import shlex
        line = "exec %s 3>&%d" % (shlex.join(self.argv("exec", "--preserve-fds", "1", cid, "/bin/sh", "-c", "echo deep >&3")), write_end)
        subprocess.run(["/bin/bash", "-c", line], pass_fds=(write_end,), stdin=subprocess.DEVNULL, check=True, timeout=60)
        os.close(write_end)
        self.assertEqual(b"deep\n", os.read(read_end, 100))
        os.close(read_end)

    @deviates(crun="has no such option")
    def test_ignore_paused(self):
        cid = self.container()
        self.runtime("pause", cid)
        self.assertNotEqual(0, self.exec(cid, "true", check=False).rc)
        p = subprocess.Popen(self.argv("exec", "--ignore-paused", cid, "echo", "thawed"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        import time
        time.sleep(0.3)
        self.runtime("resume", cid)
        self.assertEqual("thawed\n", p.communicate(timeout=60)[0])

    def test_exec_sees_masked_and_read_only_paths(self):
        cid = self.container()
        r = self.exec(cid, "/bin/sh", "-c", "echo 1 > /proc/sys/kernel/domainname", check=False)
        self.assertNotEqual(0, r.rc)

    def test_runtime_binary_is_not_reachable(self):
        """CVE-2019-5736: a program in the container that opens the exec'd helper through /proc must not reach the runtime's file."""
        import hashlib
        import onggi_test
        import shutil
        binary = shutil.which(onggi_test.RUNTIME)
        with open(binary, "rb") as f:
            before = hashlib.sha256(f.read()).hexdigest()
        b = self.bundle(sh="while :; do for p in /proc/[0-9]*; do [ -e $p/exe ] && readlink $p/exe && (echo X > $p/exe) 2>/dev/null; done; done")
        b.caps("CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE")
        cid = self.started(b)
        for _ in range(10):
            self.exec(cid, "true", check=False)
        with open(binary, "rb") as f:
            self.assertEqual(before, hashlib.sha256(f.read()).hexdigest())

    @needs("cgroup_v2")
    @deviates(crun="1.21 has another form")
    def test_cgroup_option_v2(self):
        cid = self.container()
        pid = self.state(cid)["pid"]
        where = self.cgroup_dir(pid, "")
        os.mkdir(os.path.join(where, "sub"))
        b = self.exec(cid, "cat", "/proc/self/cgroup", options=["--cgroup", "sub"])
        self.assertIn("/sub", b.out)


if __name__ == "__main__":
    unittest.main()
