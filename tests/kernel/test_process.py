"""config.md "Process": args, env, cwd, user, capabilities, rlimits, oomScoreAdj, noNewPrivileges, ioPriority, scheduler, terminal."""

import contextlib
import os
import re
import subprocess
import unittest

from onggi_test import ConsoleSocket, RuntimeTest, deviates, needs, read_available, shell, wait_until

CAP = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_NET_BIND_SERVICE": 10, "CAP_SYS_ADMIN": 21}


def bits(*names):
    return sum(1 << CAP[n] for n in names)


def status_field(text, name):
    return re.search(r"^%s:\s*(.*)$" % name, text, re.M).group(1)


class Basics(RuntimeTest):

    def test_args_are_exact(self):
        b = self.bundle("printf", "[%s]", "a b", "", "$HOME", "-n", "ünï", "x\ty")
        self.assertEqual("[a b][][$HOME][-n][ünï][x\ty]", self.output(b))

    def test_env_is_exact(self):
        b = self.bundle("/bin/env")
        b.process["env"] = ["A=1", "B=two words", "EMPTY=", "WITH=eq=in"]
        lines = self.output(b).splitlines()
        for want in b.process["env"]:
            self.assertIn(want, lines)
        self.assertEqual(set(), {x.split("=")[0] for x in lines} - {"A", "B", "EMPTY", "WITH", "HOME", "PWD", "SHLVL"})

    def test_path_search_uses_the_container_env(self):
        b = self.bundle("special")
        os.makedirs(os.path.join(b.rootfs, "opt/there"))
        with open(os.path.join(b.rootfs, "opt/there/special"), "w") as f:
            f.write("#!/bin/sh\necho found\n")
        os.chmod(os.path.join(b.rootfs, "opt/there/special"), 0o755)
        b.process["env"] = ["PATH=/nowhere:/opt/there"]
        self.assertEqual("found\n", self.output(b))

    def test_cwd(self):
        b = self.bundle("pwd")
        b.process["cwd"] = "/tmp"
        self.assertEqual("/tmp\n", self.output(b))

    def test_cwd_is_made_when_absent(self):
        """runc and crun make it; engines rely on that for WORKDIR."""
        b = self.bundle("pwd")
        b.process["cwd"] = "/made/here"
        self.assertEqual("/made/here\n", self.output(b))

    def test_cwd_for_the_user(self):
        """A directory that only the container's user may enter works: the change happens with the user's identity if need be."""
        b = self.bundle("pwd")
        os.mkdir(os.path.join(b.rootfs, "home"), 0o700)
        os.chown(os.path.join(b.rootfs, "home"), 1000, 1000)
        b.process["cwd"], b.process["user"] = "/home", {"uid": 1000, "gid": 1000}
        b.caps()
        self.assertEqual("/home\n", self.output(b))

    def test_cwd_is_a_file(self):
        b = self.bundle("pwd")
        b.process["cwd"] = "/etc/passwd"
        self.fails(b)

    def test_home_is_set_from_passwd(self):
        b = self.bundle(sh="echo $HOME")
        b.process["env"] = ["PATH=/bin"]
        self.assertEqual("/root\n", self.output(b))

    def test_user_gid_groups_umask(self):
        b = self.bundle(sh="id -u; id -g; grep Groups /proc/self/status; umask")
        b.process["user"] = {"uid": 1234, "gid": 5678, "additionalGids": [10, 20], "umask": 0o027}
        uid, gid, groups, umask = self.output(b).splitlines()
        self.assertEqual(("1234", "5678", "0027"), (uid, gid, umask))
        self.assertEqual({"10", "20"}, set(groups.split()[1:]) - {"5678"})

    def test_default_has_no_supplementary_groups(self):
        out = self.output(self.bundle(sh="grep Groups /proc/self/status"))
        self.assertEqual([], [g for g in out.split()[1:] if g != "0"])

    def test_stdin_closed_is_not_inherited_as_something_else(self):
        self.assertEqual("0\n", self.output(self.bundle(sh="cat | wc -c")))

    @needs("helpers")
    def test_signals_are_default(self):
        """A runtime that ignores or blocks signals for itself must not hand that down: a service would not stop."""
        out = self.output(self.bundle("cat", "/proc/self/status"))
        self.assertEqual("0" * 16, status_field(out, "SigBlk"))
        self.assertEqual(0, int(status_field(out, "SigIgn"), 16) & ~(1 << 32 | 1 << 31))

    @needs("helpers")
    def test_only_standard_fds(self):
        self.assertEqual("0 1 2 \n", self.output(self.bundle("/bin/probe", "fds")))

    def test_session_leader(self):
        out = self.output(self.bundle(sh="cat /proc/self/stat | cut -d' ' -f6; cat /proc/1/stat | cut -d' ' -f6"))
        self.assertEqual(["1", "1"], out.split())


class Capabilities(RuntimeTest):

    def sets(self, b):
        out = self.output(b)
        return {n: int(status_field(out, "Cap" + n), 16) for n in ("Inh", "Prm", "Eff", "Bnd", "Amb")}

    def test_five_sets(self):
        b = self.bundle("cat", "/proc/self/status")
        b.process["user"] = {"uid": 1000, "gid": 1000}
        b.process["capabilities"] = {"bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_BIND_SERVICE"],
                                     "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"], "inheritable": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
                                     "effective": ["CAP_CHOWN", "CAP_KILL"], "ambient": ["CAP_NET_BIND_SERVICE"]}
        s = self.sets(b)
        self.assertEqual(bits("CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_BIND_SERVICE"), s["Bnd"])
        self.assertEqual(bits("CAP_KILL", "CAP_NET_BIND_SERVICE"), s["Inh"])
        self.assertEqual(bits("CAP_NET_BIND_SERVICE"), s["Amb"])
        # exec by a user other than 0: permitted and effective become the ambient set.
        self.assertEqual(bits("CAP_NET_BIND_SERVICE"), s["Prm"])
        self.assertEqual(bits("CAP_NET_BIND_SERVICE"), s["Eff"])

    def test_root_gets_bounding(self):
        s = self.sets(self.bundle("cat", "/proc/self/status").caps("CAP_CHOWN", "CAP_KILL"))
        self.assertEqual((bits("CAP_CHOWN", "CAP_KILL"),) * 3, (s["Bnd"], s["Prm"], s["Eff"]))
        self.assertEqual((0, 0), (s["Inh"], s["Amb"]))

    def test_absent_or_empty_is_none(self):
        for name, change in (("absent", lambda p: p.pop("capabilities")), ("empty", lambda p: p.update(capabilities={}))):
            with self.subTest(name):
                b = self.bundle("cat", "/proc/self/status")
                change(b.process)
                self.assertEqual({"Inh": 0, "Prm": 0, "Eff": 0, "Bnd": 0, "Amb": 0}, self.sets(b))

    @deviates(runc="absent capabilities keep the runtime's own")
    def test_absent_is_none_even_for_root(self):
        b = self.bundle("cat", "/proc/self/status")
        del b.process["capabilities"]
        self.assertEqual(0, self.sets(b)["Bnd"])

    @deviates(crun="ignores it in silence")
    def test_unknown_capability_is_a_warning(self):
        """config.md: what cannot be mapped or granted MUST be logged as a warning, and SHOULD NOT fail."""
        r = self.run_bundle(self.bundle("cat", "/proc/self/status").caps("CAP_CHOWN", "CAP_MAKE_COFFEE"))
        self.assertIn("CAP_MAKE_COFFEE", r.err)
        self.assertIn("CapBnd:\t0000000000000001", r.out)

    def test_no_capability_to_mount(self):
        out = self.run_bundle(self.bundle(sh="mount -t tmpfs t /mnt && echo mounted"), check=False)
        self.assertNotIn("mounted", out.out)

    @deviates(runc="drops what cannot be in silence", crun="fails late with EPERM")
    def test_ambient_must_be_inheritable(self):
        """The kernel refuses ambient capabilities that are not permitted and inheritable: left out."""
        b = self.bundle("true")
        b.process["args"] = ["cat", "/proc/self/status"]
        b.process["capabilities"] = {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
        r = self.run_bundle(b)
        self.assertIn("CapAmb:\t0000000000000000", r.out)


class Limits(RuntimeTest):

    def test_rlimits(self):
        b = self.bundle("cat", "/proc/self/limits")
        b.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 4096},
                                {"type": "RLIMIT_CPU", "soft": 100, "hard": 200}, {"type": "RLIMIT_FSIZE", "soft": 1000000, "hard": 2000000},
                                {"type": "RLIMIT_STACK", "soft": 1048576, "hard": 2097152}, {"type": "RLIMIT_AS", "soft": 1 << 32, "hard": 1 << 33}]
        rows = {line[:26].strip(): line[26:].split()[:2] for line in self.output(b).splitlines()[1:]}
        self.assertEqual(["123", "456"], rows["Max open files"])
        self.assertEqual(["0", "4096"], rows["Max core file size"])
        self.assertEqual(["100", "200"], rows["Max cpu time"])
        self.assertEqual(["1000000", "2000000"], rows["Max file size"])
        self.assertEqual(["1048576", "2097152"], rows["Max stack size"])
        self.assertEqual([str(1 << 32), str(1 << 33)], rows["Max address space"])

    def test_every_known_type(self):
        for name in ("AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NICE NOFILE NPROC RSS RTPRIO RTTIME SIGPENDING STACK").split():
            with self.subTest(name):
                import resource
                number = {"LOCKS": 10, "SIGPENDING": 11, "MSGQUEUE": 12, "NICE": 13, "RTPRIO": 14, "RTTIME": 15}.get(name)
                number = number if number is not None else getattr(resource, "RLIMIT_" + name)
                soft, hard = (x if x >= 0 else (1 << 64) - 1 for x in resource.getrlimit(number))
                b = self.bundle("true")
                b.process["rlimits"] = [{"type": "RLIMIT_" + name, "soft": soft, "hard": hard}]
                self.run_bundle(b)

    @deviates(runc="checks nothing but unknown names", crun="the last one wins")
    def test_duplicate_is_an_error(self):
        b = self.bundle("true")
        b.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}] * 2
        self.fails(b)

    def test_unknown_is_an_error(self):
        b = self.bundle("true")
        b.process["rlimits"] = [{"type": "RLIMIT_COFFEE", "soft": 10, "hard": 20}]
        self.fails(b)

    def test_soft_over_hard_is_an_error(self):
        b = self.bundle("true")
        b.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 30, "hard": 20}]
        self.fails(b)

    def test_oom_score_adj(self):
        b = self.bundle("cat", "/proc/self/oom_score_adj")
        b.process["oomScoreAdj"] = 321
        self.assertEqual("321\n", self.output(b))

    def test_oom_score_adj_unset_is_inherited(self):
        with open("/proc/self/oom_score_adj") as f:
            mine = f.read()
        self.assertEqual(mine, self.output(self.bundle("cat", "/proc/self/oom_score_adj")))

    def test_no_new_privileges(self):
        for value in (True, False):
            with self.subTest(value):
                b = self.bundle("cat", "/proc/self/status")
                b.process["noNewPrivileges"] = value
                self.assertEqual("%d" % value, status_field(self.output(b), "NoNewPrivs"))


@needs("helpers")
class Scheduling(RuntimeTest):

    @deviates(runc="1.1 has no ioPriority")
    def test_io_priority(self):
        for cls, number in (("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)):
            with self.subTest(cls):
                b = self.bundle("/bin/probe", "ioprio")
                b.process["ioPriority"] = {"class": cls, "priority": 5 if number == 2 else 0}
                self.assertEqual("class=%d data=%d\n" % (number, 5 if number == 2 else 0), self.output(b))

    @deviates(runc="1.1 has no ioPriority")
    def test_io_priority_unknown_class(self):
        b = self.bundle("true")
        b.process["ioPriority"] = {"class": "IOPRIO_CLASS_FAST", "priority": 1}
        self.fails(b)

    @deviates(runc="1.1 has no scheduler")
    def test_scheduler_batch_and_nice(self):
        b = self.bundle("/bin/probe", "sched")
        b.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 7}
        self.assertIn("policy=3 nice=7 ", self.output(b))

    @deviates(runc="1.1 has no scheduler")
    def test_scheduler_idle(self):
        b = self.bundle("/bin/probe", "sched")
        b.process["scheduler"] = {"policy": "SCHED_IDLE"}
        self.assertIn("policy=5 ", self.output(b))

    @deviates(runc="1.1 has no scheduler")
    def test_scheduler_flags(self):
        b = self.bundle("/bin/probe", "sched")
        b.process["scheduler"] = {"policy": "SCHED_OTHER", "nice": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
        self.assertIn("policy=0 nice=3 priority=0 flags=1", self.output(b))

    @deviates(runc="1.1 has no scheduler")
    def test_scheduler_fifo(self):
        b = self.bundle("/bin/probe", "sched")
        b.process["scheduler"] = {"policy": "SCHED_FIFO", "priority": 10}
        if os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"):  # real-time group scheduling: a cgroup has no such time by itself
            b.linux.setdefault("resources", {})["cpu"] = {"realtimeRuntime": 10000, "realtimePeriod": 1000000}
        self.assertIn("policy=1 nice=0 priority=10 ", self.output(b))

    @deviates(runc="1.1 has no scheduler")
    def test_scheduler_unknown(self):
        for bad in ({"policy": "SCHED_FAST"}, {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NOPE"]}):
            b = self.bundle("true")
            b.process["scheduler"] = bad
            self.fails(b)

    @needs("cpus2")
    @deviates(runc="1.1 has no execCPUAffinity", crun="1.8 has no execCPUAffinity")
    def test_exec_cpu_affinity(self):
        b = self.bundle("sleep", "1000")
        b.process["execCPUAffinity"] = {"initial": "0", "final": "1"}
        cid = self.started(b)
        self.assertEqual("1", status_field(self.exec(cid, "cat", "/proc/self/status").out, "Cpus_allowed_list"))
        with open("/proc/%d/status" % self.state(cid)["pid"]) as f:
            self.assertNotEqual("1", status_field(f.read(), "Cpus_allowed_list"), "it is for exec only")

    @deviates(runc="1.1 has no personality")
    def test_personality(self):
        b = self.bundle("/bin/probe", "personality")
        b.linux["personality"] = {"domain": "LINUX32"}
        self.assertEqual(8, int(self.output(b), 16))
        b = self.bundle("uname", "-m")
        b.linux["personality"] = {"domain": "LINUX32"}
        self.assertEqual("i686\n", self.output(b))

    @deviates(runc="1.1 has no personality", crun="accepts it")
    def test_personality_unknown(self):
        b = self.bundle("true")
        b.linux["personality"] = {"domain": "MULTICS"}
        self.fails(b)

    @needs("numa")
    @deviates(runc="1.1 has no memoryPolicy", crun="1.8 has no memoryPolicy")
    def test_memory_policy(self):
        b = self.bundle("/bin/probe", "mempolicy")
        b.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0"}
        self.assertEqual("mode=2 flags=0 nodes=0x1\n", self.output(b))
        b = self.bundle("/bin/probe", "mempolicy")
        b.linux["memoryPolicy"] = {"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}
        self.assertEqual("mode=3 flags=0x8000 nodes=0x1\n", self.output(b))

    @deviates(runc="1.1 has no memoryPolicy", crun="1.8 has no memoryPolicy")
    def test_memory_policy_unknown(self):
        for bad in ({"mode": "MPOL_NOPE", "nodes": "0"}, {"mode": "MPOL_BIND", "nodes": "x"}, {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NOPE"]}):
            b = self.bundle("true")
            b.linux["memoryPolicy"] = bad
            self.fails(b)

    def test_new_session_keyring(self):
        """A container must not see the caller's session keyring, unless --no-new-keyring."""
        r = self.run_bundle(self.bundle("/bin/probe", "keyring"))
        mine = ""
        if os.environ.get("ONGGI_HELPERS"):
            probe = os.path.join(os.environ["ONGGI_HELPERS"], "onggi-test-probe")
            mine = subprocess.run([probe, "keyring"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True).stdout
        self.assertNotEqual(mine, r.out)
        self.assertGreater(int(r.out), 0)


class Terminal(RuntimeTest):

    def terminal_bundle(self, *args, sh=None, size=None):
        b = self.bundle(*args, sh=sh)
        b.process["terminal"] = True
        if size:
            b.process["consoleSize"] = size
        return b

    def test_console_socket(self):
        b = self.terminal_bundle(sh="tty; stty size; echo from-container; read line; echo \"got $line\"", size={"height": 33, "width": 99})
        with ConsoleSocket(os.path.join(self.tmp, "console.sock")) as console:
            cid = self.create(b, "--console-socket", console.path)
            master = console.accept()
            self.start(cid)
            text = read_available(master, "from-container")
            self.assertIn("33 99", text)
            self.assertRegex(text, r"/dev/(pts/\d+|console)")
            os.write(master, b"typed\n")
            self.assertIn("got typed", read_available(master, "got typed"))
            os.close(master)
        self.wait_status(cid, "stopped")

    def test_terminal_is_controlling_and_console_is_bound(self):
        b = self.terminal_bundle(sh="echo to-tty > /dev/tty; echo to-console > /dev/console; stat -c '%F %t' /dev/console; echo end")
        with ConsoleSocket(os.path.join(self.tmp, "console.sock")) as console:
            cid = self.create(b, "--console-socket", console.path)
            master = console.accept()
            self.start(cid)
            text = read_available(master, "end")
            for want in ("to-tty", "to-console", "character special file 88"):
                self.assertIn(want, text)
            os.close(master)
        self.wait_status(cid, "stopped")

    def test_terminal_owner_is_the_user(self):
        b = self.terminal_bundle(sh="stat -L -c 'owner %u' /proc/self/fd/0; echo end")
        b.process["user"] = {"uid": 1000, "gid": 1000}
        with ConsoleSocket(os.path.join(self.tmp, "console.sock")) as console:
            cid = self.create(b, "--console-socket", console.path)
            master = console.accept()
            self.start(cid)
            self.assertIn("owner 1000", read_available(master, "end"))
            os.close(master)
        self.wait_status(cid, "stopped")

    def test_needs_a_console_socket(self):
        r = self.runtime("create", "--bundle", self.terminal_bundle("true").write(), self.cid(), check=False)
        self.assertNotEqual(0, r.rc)
        self.assertRegex(r.err, "console")

    @deviates(crun="ignores it")
    def test_console_socket_without_terminal(self):
        with ConsoleSocket(os.path.join(self.tmp, "console.sock")) as console:
            r = self.runtime("create", "--console-socket", console.path, "--bundle", self.bundle("true").write(), self.cid(), check=False)
        self.assertNotEqual(0, r.rc)

    def test_exec_with_terminal(self):
        cid = self.started(self.bundle("sleep", "1000"))
        with ConsoleSocket(os.path.join(self.tmp, "console.sock")) as console:
            r = self.runtime("exec", "--tty", "--detach", "--console-socket", console.path, cid, "/bin/sh", "-c", "tty; echo exec-end; sleep 0.2",
                             capture=False)
            self.assertEqual(0, r.rc, r.err)
            master = console.accept()
            self.assertIn("/dev/pts/", read_available(master, "exec-end"))
            os.close(master)

    def test_run_in_a_terminal(self):
        """`run` with a terminal and no socket: the caller's own terminal is used raw, and output passes through."""
        import pty
        import subprocess
        master, slave = pty.openpty()
        p = subprocess.Popen(self.argv("run", "--bundle", self.terminal_bundle(sh="tty; echo run-end; exit 9").write(), self.cid()),
                             stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        os.set_blocking(master, False)
        text = read_available(master, "run-end")
        self.assertEqual(9, p.wait(30))
        self.assertIn("/dev/", text)
        os.close(master)


if __name__ == "__main__":
    unittest.main()
