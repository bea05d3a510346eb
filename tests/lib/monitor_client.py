"""The engine's side of the monitor protocol (src/runtime/protocol.h, version 1), for tests and benches.

Owns one monitor process and its control socket. Messages are SOCK_SEQPACKET packets: u16 version, u16 type, u32 length, payload.
"""

import os
import socket
import struct
import subprocess

CREATE, START, SIGNAL, RESIZE, STDIN, CLOSE_STDIN = range(1, 7)
CREATED, STARTED, OOM, EXITED, ERROR = range(64, 69)
VERSION = 1


def text(value):
    data = value.encode()
    return struct.pack("<I", len(data)) + data


class Monitor:
    """A monitor for one container: `runtime_argv` is the program with its global options."""

    def __init__(self, runtime_argv, timeout=60, **popen):
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(timeout)
        self.process = subprocess.Popen([*runtime_argv, "monitor", "--control-fd", str(theirs.fileno())], pass_fds=(theirs.fileno(),),
                                        stdin=subprocess.DEVNULL, **popen)
        theirs.close()

    def send(self, kind, payload=b""):
        self.socket.send(struct.pack("<HHI", VERSION, kind, len(payload)) + payload)

    def receive(self):
        """(type, payload); (None, b"") at the end."""
        packet = self.socket.recv(65536)
        if not packet:
            return None, b""
        version, kind, length = struct.unpack_from("<HHI", packet)
        if version != VERSION or length != len(packet) - 8:
            raise AssertionError("malformed packet %r" % packet[:16])
        return kind, packet[8:]

    def expect(self, kind):
        got, payload = self.receive()
        if got == ERROR:
            raise AssertionError("the monitor says: " + payload[4:].decode("utf-8", "replace"))
        if got != kind:
            raise AssertionError("expected message %d, got %s" % (kind, got))
        return payload

    def create(self, cid, bundle, directory, log="", max_bytes=16 << 20, max_files=3, terminal=False, stdin_open=False):
        """Returns the pid of the container's init."""
        self.send(CREATE, struct.pack("<QIIII", max_bytes, max_files, terminal, stdin_open, 0) + text(cid) + text(bundle) + text(directory) + text(log))
        return struct.unpack("<I", self.expect(CREATED))[0]

    def start(self):
        self.send(START)
        self.expect(STARTED)

    def signal(self, number):
        self.send(SIGNAL, struct.pack("<I", number))

    def wait_exit(self):
        """(exit code, signal, OOM kills, reason); notices of OOM in between are skipped."""
        while True:
            kind, payload = self.receive()
            if kind == EXITED:
                code, number, oom = struct.unpack_from("<iiQ", payload)
                return code, number, oom, payload[20:].decode()
            if kind != OOM:
                raise AssertionError("expected the exit, got %s %r" % (kind, payload))

    def close(self):
        self.socket.close()
        if self.process.poll() is None:
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
