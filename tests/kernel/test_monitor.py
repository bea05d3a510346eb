"""`onggi-runtime monitor`: the protocol of runtime/protocol.h against a real container."""

import json
import os
import signal
import socket
import struct
import subprocess
import time
import unittest

from onggi_test import RuntimeTest, wait_until

CREATE, START, SIGNAL, RESIZE, STDIN, CLOSE_STDIN = 1, 2, 3, 4, 5, 6
CREATED, STARTED, OOM, EXITED, ERROR = 64, 65, 66, 67, 68


def text(s):
    data = s.encode()
    return struct.pack("<I", len(data)) + data


class Monitor:
    """The engine's side of one monitor."""

    def __init__(self, test, bundle, log_max=16 << 20, files=3, terminal=0, stdin=0):
        self.test = test
        self.id = test.cid()
        self.dir = os.path.join(test.tmp, self.id + ".monitor")
        self.log_path = os.path.join(test.tmp, self.id + ".json")
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(30)
        self.process = subprocess.Popen(test.argv("monitor", "--control-fd", str(theirs.fileno())), pass_fds=[theirs.fileno()],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        theirs.close()
        test.addCleanup(self.end)
        body = struct.pack("<QIIII", log_max, files, terminal, stdin, 0)
        self.send(CREATE, body + text(self.id) + text(bundle.write()) + text(self.dir) + text(self.log_path))

    def send(self, kind, payload=b"", version=1):
        self.socket.send(struct.pack("<HHI", version, kind, len(payload)) + payload)

    def receive(self, want=None):
        packet = self.socket.recv(65536)
        if not packet:
            raise AssertionError("the monitor closed the connection")
        version, kind, length = struct.unpack("<HHI", packet[:8])
        assert (version, length) == (1, len(packet) - 8), packet
        if want is not None and kind != want:
            raise AssertionError("expected %d, got %d: %r" % (want, kind, packet[8:]))
        return kind, packet[8:]

    def started(self):
        pid = struct.unpack("<I", self.receive(CREATED)[1])[0]
        self.send(START)
        self.receive(STARTED)
        return pid

    def exited(self):
        while True:
            kind, payload = self.receive()
            if kind == EXITED:
                code, sig, ooms = struct.unpack("<iiQ", payload[:16])
                return code, sig, ooms, payload[20:].decode()

    def lines(self, path=None):
        with open(path or self.log_path) as f:
            return [json.loads(line) for line in f]

    def end(self):
        self.test.runtime("delete", "--force", self.id, check=False)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.socket.close()



class Protocol(RuntimeTest):

    def test_output_and_exit_code(self):
        m = Monitor(self, self.bundle(sh="echo out; echo err >&2; printf tail; exit 7"))
        m.started()
        self.assertEqual((7, 0, 0, "exited with code 7"), m.exited())
        self.assertEqual(0, m.process.wait(20))
        lines = m.lines()
        self.assertEqual(["out\n", "tail"], [x["log"] for x in lines if x["stream"] == "stdout"])
        self.assertEqual(["err\n"], [x["log"] for x in lines if x["stream"] == "stderr"])
        self.assertRegex(lines[0]["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$")
        with open(os.path.join(m.dir, "exit.json")) as f:
            stored = json.load(f)
        self.assertEqual((7, 0, "exited with code 7"), (stored["exitCode"], stored["signal"], stored["reason"]))

    def test_signal_and_reason(self):
        m = Monitor(self, self.bundle("sleep", "1000"))
        pid = m.started()
        self.assertEqual(pid, self.state(m.id)["pid"])
        m.send(SIGNAL, struct.pack("<I", signal.SIGKILL))
        self.assertEqual((137, 9, 0, "killed by signal 9"), m.exited())

    def test_failed_create_says_why_and_leaves_nothing(self):
        m = Monitor(self, self.bundle("/bin/not-there"))
        self.assertIn("/bin/not-there", m.receive(ERROR)[1].decode())
        self.assertEqual(0, m.process.wait(20))
        self.assertNotEqual(0, self.runtime("state", m.id, check=False).rc)

    def test_bad_messages_are_answered_and_harmless(self):
        m = Monitor(self, self.bundle("sleep", "1000"))
        m.started()
        m.send(START, version=9)
        self.assertIn("version", m.receive(ERROR)[1].decode())
        m.socket.send(struct.pack("<HHI", 1, SIGNAL, 4000000000))
        self.assertIn("length", m.receive(ERROR)[1].decode())
        m.send(4711)
        self.assertIn("4711", m.receive(ERROR)[1].decode())
        m.send(CREATE, b"x")
        self.assertIn("kCreate", m.receive(ERROR)[1].decode())
        m.socket.send(b"x")
        self.assertEqual("running", self.status(m.id))
        m.send(SIGNAL, struct.pack("<I", signal.SIGKILL))
        self.assertEqual(137, m.exited()[0])

    def test_stdin(self):
        m = Monitor(self, self.bundle("cat"), stdin=1)
        m.started()
        m.send(STDIN, b"fed\n")
        m.send(CLOSE_STDIN)
        self.assertEqual(0, m.exited()[0])
        self.assertEqual(["fed\n"], [x["log"] for x in m.lines()])

    def test_reconnect_and_attach(self):
        m = Monitor(self, self.bundle("cat"), stdin=1)
        m.started()
        m.socket.close()
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.settimeout(30)
        client.connect(os.path.join(m.dir, "attach.sock"))
        m.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        m.socket.settimeout(30)
        m.socket.connect(os.path.join(m.dir, "control.sock"))
        client.send(b"\0hello\n")
        self.assertEqual(b"\1hello\n", client.recv(100))
        self.assertEqual(0o600, os.stat(os.path.join(m.dir, "control.sock")).st_mode & 0o777)
        client.send(b"\2")
        self.assertEqual(0, m.exited()[0])
        client.close()

    def test_slow_watcher_blocks_nobody(self):
        m = Monitor(self, self.bundle(sh="i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; read x; exit 3"), stdin=1)
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        wait_until(lambda: os.path.exists(os.path.join(m.dir, "attach.sock")), "attach.sock")
        client.connect(os.path.join(m.dir, "attach.sock"))  # and never reads
        m.started()
        wait_until(lambda: sum(1 for _ in open(m.log_path)) == 20000, "all lines are logged")
        m.send(CLOSE_STDIN)
        self.assertEqual(3, m.exited()[0])
        client.close()

    def test_rotation_bounds_the_log(self):
        m = Monitor(self, self.bundle(sh="i=0; while [ $i -lt 3000 ]; do echo line-$i; i=$((i+1)); done"), log_max=20000, files=3)
        m.started()
        self.assertEqual(0, m.exited()[0])
        files = sorted(f for f in os.listdir(self.tmp) if f.startswith(m.id + ".json"))
        self.assertEqual([m.id + ".json", m.id + ".json.1", m.id + ".json.2"], files)
        for f in files:
            self.assertLessEqual(os.path.getsize(os.path.join(self.tmp, f)), 20000)
        # Nothing is lost or torn between files: the newest lines, in order, without a gap.
        kept = [x["log"] for f in reversed(files) for x in m.lines(os.path.join(self.tmp, f))]
        last = 3000 - len(kept)
        self.assertEqual(["line-%d\n" % i for i in range(last, 3000)], kept)

    def test_terminal(self):
        b = self.bundle(sh="tty; stty size; read x; echo got-$x")
        b.process["terminal"] = True
        m = Monitor(self, b, terminal=1)
        self.receive_resize = m
        pid = struct.unpack("<I", m.receive(CREATED)[1])[0]
        self.assertGreater(pid, 1)
        m.send(RESIZE, struct.pack("<HH", 33, 77))
        m.send(START)
        m.receive(STARTED)
        wait_until(lambda: "33 77" in "".join(x["log"] for x in m.lines()), "the size")
        m.send(STDIN, b"word\n")
        self.assertEqual(0, m.exited()[0])
        self.assertIn("got-word", "".join(x["log"] for x in m.lines()))

    def test_out_of_memory_is_the_reason(self):
        b = self.bundle(sh="exec tail /dev/zero")
        b.linux.setdefault("resources", {})["memory"] = {"limit": 8 << 20, "swap": 8 << 20}
        m = Monitor(self, b)
        m.started()
        code, sig, ooms, reason = m.exited()
        self.assertEqual((137, 9), (code, sig))
        self.assertGreaterEqual(ooms, 1)
        self.assertIn("out of memory", reason)

    def test_killed_monitor_does_not_harm_the_container(self):
        m = Monitor(self, self.bundle("sleep", "1000"))
        m.started()
        m.process.kill()
        m.process.wait()
        time.sleep(0.2)
        self.assertEqual("running", self.status(m.id))

    def test_small(self):
        """The monitor of an idle container keeps no more private memory than a few pages."""
        m = Monitor(self, self.bundle("sleep", "1000"))
        m.started()
        with open("/proc/%d/smaps_rollup" % m.process.pid) as f:
            private = sum(int(line.split()[1]) for line in f if line.startswith(("Private_Dirty", "Private_Clean")))
        self.assertLess(private, 2048)


if __name__ == "__main__":
    unittest.main()
