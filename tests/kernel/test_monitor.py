"""`onggi-runtime monitor`: the supervisor of one container, driven by its protocol (src/runtime/protocol.h)."""

import json
import os
import signal
import socket
import subprocess
import unittest

import monitor_client
from monitor_client import Monitor
from onggi_test import RuntimeTest, deviates, needs, wait_until

PEERS = {"runc": "has no monitor", "crun": "has no monitor"}


class MonitorTest(RuntimeTest):

    def monitor(self):
        m = Monitor(self.argv(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.addCleanup(m.close)
        return m

    def begin(self, bundle, **options):
        """A running container under a monitor: (monitor, id, directory)."""
        directory = os.path.join(self.tmp, "monitor")
        os.makedirs(directory, mode=0o700, exist_ok=True)
        m, cid = self.monitor(), self.cid()
        m.create(cid, bundle.write(), directory, **options)
        m.start()
        return m, cid, directory


class Life(MonitorTest):

    @deviates(**PEERS)
    def test_exit_code_and_record(self):
        log = os.path.join(self.tmp, "log")
        m, cid, directory = self.begin(self.bundle(sh="echo out; echo err >&2; exit 7"), log=log)
        code, number, oom, reason = m.wait_exit()
        self.assertEqual((7, 0, 0), (code, number, oom), reason)
        with open(os.path.join(directory, "exit.json")) as f:
            self.assertEqual(7, json.load(f)["exitCode"])
        with open(log) as f:
            lines = [json.loads(x) for x in f]
        self.assertIn(("stdout", "out\n"), [(x["stream"], x["log"]) for x in lines])
        self.assertIn(("stderr", "err\n"), [(x["stream"], x["log"]) for x in lines])

    @deviates(**PEERS)
    def test_signal_is_passed_and_told(self):
        m, cid, _ = self.begin(self.bundle(sh="trap 'exit 9' TERM; while :; do sleep 0.05; done"), log=os.path.join(self.tmp, "log"))
        m.signal(signal.SIGTERM)
        # A signal before the shell has set its trap is dropped by the kernel: pid 1 has no default actions.
        import threading
        stop = threading.Event()

        def again():
            while not stop.wait(0.2):
                try:
                    m.signal(signal.SIGTERM)
                except OSError:
                    return
        t = threading.Thread(target=again)
        t.start()
        try:
            self.assertEqual(9, m.wait_exit()[0])
        finally:
            stop.set()
            t.join()

    @deviates(**PEERS)
    def test_killed(self):
        m, cid, _ = self.begin(self.bundle("sleep", "1000"))
        m.signal(signal.SIGKILL)
        code, number, _, reason = m.wait_exit()
        self.assertEqual((137, 9), (code, number), reason)

    @needs("helpers")
    @deviates(**PEERS)
    def test_oom_is_told(self):
        b = self.bundle("/bin/probe", "alloc", str(256 << 20))
        b.linux["resources"]["memory"] = {"limit": 24 << 20}
        m, cid, _ = self.begin(b)
        code, number, oom, reason = m.wait_exit()
        self.assertEqual((137, 9), (code, number))
        self.assertGreaterEqual(oom, 1)
        self.assertRegex(reason.lower(), "memory|oom")

    @deviates(**PEERS)
    def test_it_outlives_the_engine(self):
        """The engine goes away without a word; the container runs on, and another connection is served."""
        m, cid, directory = self.begin(self.bundle("sleep", "1000"))
        m.socket.close()
        wait_until(lambda: self.status(cid) == "running", "it runs on")
        again = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        again.settimeout(30)
        again.connect(os.path.join(directory, "control.sock"))
        m.socket = again
        m.signal(signal.SIGKILL)
        self.assertEqual(137, m.wait_exit()[0])

    @deviates(**PEERS)
    def test_failed_create_says_why(self):
        m = self.monitor()
        directory = os.path.join(self.tmp, "monitor")
        os.mkdir(directory, 0o700)
        with self.assertRaisesRegex(AssertionError, "the monitor says: .*nonexistent"):
            m.create(self.cid(), "/nonexistent/bundle", directory)


class Streams(MonitorTest):

    @deviates(**PEERS)
    def test_log_rotates_and_is_bounded(self):
        log = os.path.join(self.tmp, "log")
        m, cid, _ = self.begin(self.bundle(sh="seq 1 60000"), log=log, max_bytes=65536, max_files=3)
        m.wait_exit()
        names = [n for n in os.listdir(self.tmp) if n == "log" or n.startswith("log.")]
        self.assertEqual({"log", "log.1", "log.2"}, set(names))
        for n in names:
            self.assertLessEqual(os.path.getsize(os.path.join(self.tmp, n)), 65536 + 32768)
        with open(log) as f:
            self.assertEqual("60000\n", [json.loads(x) for x in f][-1]["log"])

    @deviates(**PEERS)
    def test_stdin(self):
        log = os.path.join(self.tmp, "log")
        m, cid, _ = self.begin(self.bundle("cat"), log=log, stdin_open=True)
        m.send(monitor_client.STDIN, b"typed\n")
        m.send(monitor_client.CLOSE_STDIN)
        self.assertEqual(0, m.wait_exit()[0])
        with open(log) as f:
            self.assertEqual("typed\n", json.loads(f.readline())["log"])

    @deviates(**PEERS)
    def test_attach(self):
        m, cid, directory = self.begin(self.bundle(sh="while :; do echo tick; sleep 0.05; done"))
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(s.close)
        s.settimeout(30)
        s.connect(os.path.join(directory, "attach.sock"))
        packet = s.recv(65536)
        self.assertEqual(1, packet[0])
        self.assertIn(b"tick", packet)
        m.signal(signal.SIGKILL)
        m.wait_exit()

    @deviates(**PEERS)
    def test_terminal(self):
        b = self.bundle(sh="tty; stty size; read x; stty size; sleep 0.2")
        b.process["terminal"] = True
        log = os.path.join(self.tmp, "log")
        m, cid, _ = self.begin(b, log=log, terminal=True)
        import struct
        m.send(monitor_client.RESIZE, struct.pack("<HH", 44, 111))
        m.send(monitor_client.STDIN, b"go\n")
        m.wait_exit()
        with open(log) as f:
            text = "".join(json.loads(x)["log"] for x in f)
        self.assertIn("/dev/", text)
        self.assertIn("44 111", text)


if __name__ == "__main__":
    unittest.main()
