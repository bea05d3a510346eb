"""config-linux.md "Seccomp": every action, errnoRet, argument operators, architectures, flags, and the notification listener."""

import array
import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
import threading
import unittest

from onggi_test import RuntimeTest, deviates, helper, needs, wait_until

GETPPID, PERSONALITY, SETHOSTNAME, GETRESUID, MKDIRAT, MKDIR = 110, 135, 170, 118, 258, 83
EPERM, ENOSYS = 1, 38


@needs("helpers")
class SeccompTest(RuntimeTest):

    def profile(self, *rules, default="SCMP_ACT_ALLOW", **more):
        return {"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64"], "syscalls": list(rules), **more}

    def call(self, profile, *numbers, **kwargs):
        """(result, errno) of one raw system call inside."""
        b = self.bundle("/bin/probe", "syscall", *[str(n) for n in numbers])
        b.linux["seccomp"] = profile
        return tuple(int(x) for x in self.run_bundle(b, **kwargs).out.split())


class Actions(SeccompTest):

    def test_errno_default_is_eperm(self):
        self.assertEqual((-1, EPERM), self.call(self.profile({"names": ["getppid"], "action": "SCMP_ACT_ERRNO"}), GETPPID))

    def test_errno_ret(self):
        self.assertEqual((-1, 77), self.call(self.profile({"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}), GETPPID))

    def test_errno_zero(self):
        self.assertEqual((0, 0), self.call(self.profile({"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}), SETHOSTNAME, 0, 0))

    def test_allow_list_with_default_errno(self):
        """An allow list; what it does not name gives defaultErrnoRet."""
        names = json.loads(ALLOWED)
        got = self.call(self.profile({"names": names, "action": "SCMP_ACT_ALLOW"}, default="SCMP_ACT_ERRNO", defaultErrnoRet=ENOSYS), GETPPID)
        self.assertEqual((-1, ENOSYS), got)

    def test_log_and_allow(self):
        self.assertEqual(0, self.call(self.profile({"names": ["getppid"], "action": "SCMP_ACT_LOG"}), GETPPID)[1])

    def test_kill_process_and_thread(self):
        for action in ("SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"):
            with self.subTest(action):
                b = self.bundle("/bin/probe", "syscall", str(GETPPID))
                b.linux["seccomp"] = self.profile({"names": ["getppid"], "action": action})
                self.assertEqual(128 + 31, self.run_bundle(b, check=False).rc)

    def test_trap(self):
        b = self.bundle("/bin/probe", "syscall", str(GETPPID))
        b.linux["seccomp"] = self.profile({"names": ["getppid"], "action": "SCMP_ACT_TRAP"})
        self.assertEqual(128 + 31, self.run_bundle(b, check=False).rc)

    def test_trace_without_tracer_is_enosys(self):
        got = self.call(self.profile({"names": ["getppid"], "action": "SCMP_ACT_TRACE", "errnoRet": 3}), GETPPID)
        self.assertEqual((-1, ENOSYS), got)

    def test_filter_is_on_and_for_exec_too(self):
        b = self.bundle("sleep", "1000")
        b.linux["seccomp"] = self.profile({"names": ["getppid"], "action": "SCMP_ACT_ERRNO"})
        cid = self.started(b)
        self.assertIn("Seccomp:\t2", self.exec(cid, "cat", "/proc/self/status").out)
        self.assertEqual("-1 1\n", self.exec(cid, "/bin/probe", "syscall", str(GETPPID)).out)

    def test_none_without_profile(self):
        self.assertIn("Seccomp:\t0", self.output(self.bundle("cat", "/proc/self/status")))

    @deviates(runc="its own start calls getppid after the filter is on, and crashes")
    def test_without_no_new_privileges(self):
        b = self.bundle("/bin/probe", "syscall", str(GETPPID))
        b.process["noNewPrivileges"] = False
        b.linux["seccomp"] = self.profile({"names": ["getppid"], "action": "SCMP_ACT_ERRNO"})
        self.assertEqual("-1 1\n", self.output(b))


class Arguments(SeccompTest):
    """personality(2) with other values than the query is harmless, so its first argument is what rules look at."""

    def allowed(self, rule_args, value):
        rule = {"names": ["getresuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": rule_args}
        return self.call(self.profile(rule), GETRESUID, value, 0, 0)[1] != 99

    def test_operators(self):
        for op, value, two, hits, misses in (
                ("SCMP_CMP_EQ", 5, 0, (5,), (4, 6, 5 + (1 << 32))), ("SCMP_CMP_NE", 5, 0, (4, 6), (5,)),
                ("SCMP_CMP_LT", 5, 0, (0, 4), (5, 6, 1 << 40)), ("SCMP_CMP_LE", 5, 0, (4, 5), (6,)),
                ("SCMP_CMP_GT", 5, 0, (6, 1 << 33), (5, 0)), ("SCMP_CMP_GE", 5, 0, (5, 6, 1 << 33), (4,)),
                ("SCMP_CMP_MASKED_EQ", 0xF0, 0x20, (0x25, 0x20), (0x30, 0))):
            for argument in hits:
                with self.subTest("%s %d hits" % (op, argument)):
                    self.assertFalse(self.allowed([{"index": 0, "value": value, "valueTwo": two, "op": op}], argument))
            for argument in misses:
                with self.subTest("%s %d misses" % (op, argument)):
                    self.assertTrue(self.allowed([{"index": 0, "value": value, "valueTwo": two, "op": op}], argument))

    def test_all_arguments_must_match(self):
        rule = {"names": ["getresuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99,
                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 3, "op": "SCMP_CMP_EQ"}]}
        self.assertEqual(99, self.call(self.profile(rule), GETRESUID, 1, 2, 3)[1])
        self.assertNotEqual(99, self.call(self.profile(rule), GETRESUID, 1, 2, 4)[1])

    def test_rules_for_one_call_are_alternatives(self):
        rules = [{"names": ["getresuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": [{"index": 0, "value": v, "op": "SCMP_CMP_EQ"}]} for v in (1, 7)]
        for value, hit in ((1, True), (7, True), (3, False)):
            self.assertEqual(hit, self.call(self.profile(*rules), GETRESUID, value, 0, 0)[1] == 99)


class Architectures(SeccompTest):
    """The other ways into an x86_64 kernel: programs of 32 bits (int 0x80) and of x32 (numbers with bit 30)."""

    GETPPID32, SOCKETCALL32, SOCKET32, X32 = 64, 102, 359, 1 << 30

    def call32(self, profile, *numbers, **kwargs):
        if subprocess.run([helper("onggi-test-probe"), "syscall32", "20"], capture_output=True).returncode:
            self.skipTest("the kernel runs no 32-bit programs")
        b = self.bundle("/bin/probe", "syscall32", *[str(n) for n in numbers])
        b.linux["seccomp"] = profile
        return self.run_bundle(b, **kwargs)

    def deny(self, name, *architectures, **more):
        return self.profile({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}, architectures=list(architectures), **more)

    def test_listed_architecture_has_the_rules(self):
        both = self.deny("getppid", "SCMP_ARCH_X86_64", "SCMP_ARCH_X86")
        self.assertEqual("-1 77", self.call32(both, self.GETPPID32).out.strip())
        self.assertEqual((-1, 77), self.call(both, GETPPID))

    def test_architecture_that_is_not_listed_is_killed(self):
        self.assertEqual(128 + 31, self.call32(self.deny("getppid", "SCMP_ARCH_X86_64"), self.GETPPID32, check=False).rc)

    def test_multiplexed_calls(self):
        """i386 reaches socket(2) by its own number and as the first sub-call of socketcall(2)."""
        profile = self.deny("socket", "SCMP_ARCH_X86_64", "SCMP_ARCH_X86")
        self.assertEqual("-1 77", self.call32(profile, self.SOCKET32, 1, 1, 0).out.strip())
        self.assertEqual("-1 77", self.call32(profile, self.SOCKETCALL32, 1, 0).out.strip())
        self.assertNotIn("77", self.call32(profile, self.SOCKETCALL32, 2, 0).out)

    def test_x32(self):
        number = self.X32 + GETPPID
        self.assertEqual((-1, 77), self.call(self.deny("getppid", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32"), number))
        b = self.bundle("/bin/probe", "syscall", str(number))
        b.linux["seccomp"] = self.deny("getppid", "SCMP_ARCH_X86_64")
        self.assertEqual(128 + 31, self.run_bundle(b, check=False).rc)

    @deviates(crun="gives the default action")
    def test_calls_newer_than_the_profile_do_not_exist(self):
        """ENOSYS makes a library fall back to an older call, where EPERM makes it fail."""
        profile = self.profile({"names": json.loads(ALLOWED), "action": "SCMP_ACT_ALLOW"}, default="SCMP_ACT_ERRNO")
        self.assertEqual((-1, ENOSYS), self.call(profile, 600))
        self.assertEqual((-1, EPERM), self.call(profile, GETPPID))


class Errors(SeccompTest):

    def test_unknown_names_are_skipped(self):
        """Profiles name calls that an architecture does not have."""
        self.assertEqual(0, self.call(self.profile({"names": ["no_such_call", "socketcall"], "action": "SCMP_ACT_ERRNO"}), GETPPID)[1])

    def test_bad_values(self):
        for name, profile in {
                "action": self.profile({"names": ["getppid"], "action": "SCMP_ACT_EXPLODE"}),
                "default action": self.profile(default="SCMP_ACT_NOPE"),
                "operator": self.profile({"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_ISH"}]}),
                "architecture": {**self.profile(), "architectures": ["SCMP_ARCH_PDP11"]},
                "flag": self.profile(flags=["SECCOMP_FILTER_FLAG_NOPE"]),
        }.items():
            with self.subTest(name):
                b = self.bundle("true")
                b.linux["seccomp"] = profile
                self.fails(b)

    @deviates(crun="libseccomp accepts it")
    def test_argument_index_over_5(self):
        b = self.bundle("true")
        b.linux["seccomp"] = self.profile({"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]})
        self.fails(b)

    @deviates(runc="1.1.5 has no flags")
    def test_known_flags(self):
        for flag in ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"):
            with self.subTest(flag):
                got = self.call(self.profile({"names": ["getppid"], "action": "SCMP_ACT_ERRNO"}, flags=[flag]), GETPPID)
                self.assertEqual((-1, EPERM), got)


class Agent:
    """The other end of listenerPath: takes the state and the seccomp fd, answers every notification with errno 123."""

    RECV, SEND = 0xC0502100, 0xC0182101

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(1)
        self.listener.settimeout(60)
        self.state, self.fds, self.calls = None, [], []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            connection, _ = self.listener.accept()
            with connection:
                connection.settimeout(60)
                text = b""
                while True:
                    piece, fds, _, _ = socket.recv_fds(connection, 65536, 4)
                    self.fds += fds
                    if not piece:
                        break
                    text += piece
                    try:
                        self.state = json.loads(text)
                        break
                    except ValueError:
                        continue
            while True:
                request = bytearray(80)
                fcntl.ioctl(self.fds[0], self.RECV, request)
                cookie, pid, _, number = struct.unpack_from("<QIIi", request)
                self.calls.append((number, pid))
                fcntl.ioctl(self.fds[0], self.SEND, bytearray(struct.pack("<QqiI", cookie, 0, -123, 0)))

    def close(self):
        self.listener.close()
        for fd in self.fds:
            os.close(fd)
        self.thread.join(5)


class Notify(SeccompTest):

    def notify_profile(self, path, **more):
        return self.profile({"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"}, listenerPath=path, **more)

    def test_listener(self):
        path = os.path.join(self.tmp, "agent.sock")
        agent = Agent(path)
        try:
            b = self.bundle("/bin/probe", "syscall", str(GETPPID))
            b.config["annotations"] = {"k": "v"}
            b.linux["seccomp"] = self.notify_profile(path, listenerMetadata="some metadata")
            cid = self.cid()
            self.assertEqual("-1 123\n", self.output(b, cid=cid))
        finally:
            agent.close()
        s = agent.state  # "Container Process State"
        self.assertEqual("some metadata", s["metadata"])
        self.assertEqual(["seccompFd"], s["fds"])
        self.assertEqual(1, len(agent.fds))
        self.assertEqual(cid, s["state"]["id"])
        self.assertEqual({"k": "v"}, s["state"]["annotations"])
        self.assertEqual(b.path, s["state"]["bundle"])
        self.assertGreater(s["pid"], 0)
        self.assertIn(GETPPID, [n for n, _ in agent.calls])

    def test_listener_for_exec(self):
        path = os.path.join(self.tmp, "agent.sock")
        agent = Agent(path)
        b = self.bundle("sleep", "1000")
        b.linux["seccomp"] = self.notify_profile(path)
        cid = self.started(b)
        agent.close()
        os.unlink(path)
        agent = Agent(path)
        try:
            self.assertEqual("-1 123\n", self.exec(cid, "/bin/probe", "syscall", str(GETPPID)).out)
        finally:
            agent.close()

    @deviates(crun="goes on")
    def test_no_listener_path_is_an_error(self):
        b = self.bundle("true")
        b.linux["seccomp"] = self.profile({"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"})
        self.fails(b)

    def test_nobody_listens_is_an_error(self):
        b = self.bundle("true")
        b.linux["seccomp"] = self.notify_profile(os.path.join(self.tmp, "nobody.sock"))
        self.fails(b)

    @deviates(crun="goes on")
    def test_notify_as_default_is_an_error(self):
        """The runtime's own calls would wait for an agent that does not have the descriptor yet."""
        b = self.bundle("true")
        b.linux["seccomp"] = self.profile(default="SCMP_ACT_NOTIFY", listenerPath=os.path.join(self.tmp, "x.sock"))
        self.fails(b)

    @deviates(crun="goes on")
    def test_notify_for_write_is_an_error(self):
        b = self.bundle("true")
        b.linux["seccomp"] = self.profile({"names": ["write"], "action": "SCMP_ACT_NOTIFY"}, listenerPath=os.path.join(self.tmp, "x.sock"))
        self.fails(b)


# What a static program needs to start and print; getppid is not in it.
ALLOWED = json.dumps("""access arch_prctl brk capget capset chdir clone clone3 close close_range dup dup2 dup3 execve execveat exit exit_group
faccessat faccessat2 fchdir fchown fcntl fstat fstatfs futex getcwd getdents64 getegid geteuid getgid getgroups getpgid getpgrp getpid getrandom
getrlimit getsid gettid getuid ioctl kill lseek lstat madvise membarrier mmap mprotect mremap munmap nanosleep newfstatat open openat openat2 pause
pipe pipe2 poll ppoll prctl pread64 prlimit64 pwrite64 read readlink readlinkat readv recvfrom recvmsg rseq rt_sigaction rt_sigprocmask rt_sigreturn
rt_sigsuspend sched_getaffinity sched_yield sendmsg sendto set_robust_list set_tid_address setgid setgroups setresgid setresuid setsid setuid
sigaltstack socket stat statfs statx tgkill time tkill umask uname unlink wait4 waitid write writev epoll_create1 epoll_ctl epoll_pwait epoll_wait
eventfd2 timer_create timer_delete timer_settime setitimer mincore fsync""".split())


if __name__ == "__main__":
    unittest.main()
