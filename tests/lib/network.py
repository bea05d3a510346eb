"""Fixtures for tests of networks: the test's own network namespace plays the host, and a "world" outside of it is one more.

Owns: the helpers below; engine.EngineTest's fixture takes care of what is left. Standard library, iproute2 and nft only.
"""

import contextlib
import ctypes
import json
import os
import re
import socket
import struct
import subprocess
import threading

import onggi_test
from engine import EngineTest, TIMEOUT

RESOLVER = "169.254.53.53"
_libc = ctypes.CDLL(None, use_errno=True)


def sh(*words, **options):
    """Standard output of a command that must succeed, in the test's network namespace."""
    out = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, **options)
    if out.returncode:
        raise AssertionError("%s: code %d\n%s%s" % (" ".join(words), out.returncode, out.stdout, out.stderr))
    return out.stdout


@contextlib.contextmanager
def inside(pid):
    """This thread is in the network namespace of the process."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open("/proc/%d/ns/net" % pid, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(there, 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        if _libc.setns(home, 0x40000000):
            os._exit(99)
        os.close(home)
        os.close(there)


def tcp_ask(address, port, data=b"", family=None, timeout=5, source=None):
    """What a server says to `data` (b"" when it says nothing), or the name of the error."""
    family = family or (socket.AF_INET6 if ":" in address else socket.AF_INET)
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(timeout)
        try:
            if source:
                s.bind(source)
            s.connect((address, port))
            if data:
                s.sendall(data)
            return s.recv(4096)
        except TimeoutError:
            return "timeout"
        except OSError as e:
            return type(e).__name__


def udp_ask(address, port, data=b"hello", timeout=3):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        try:
            s.connect((address, port))
            s.send(data)
            return s.recv(4096)
        except TimeoutError:
            return "timeout"
        except OSError as e:
            return type(e).__name__


# --- a DNS client ------------------------------------------------------------------------------------------------

TYPES = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "ANY": 255}


def dns_query(name, kind="A", number=0x1234, edns=None):
    labels = b"".join(bytes([len(p)]) + p.encode() for p in name.rstrip(".").split(".") if p)
    extra = b"" if edns is None else b"\0" + struct.pack("!HHIH", 41, edns, 0, 0)
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0 if edns is None else 1) + labels + b"\0" + \
        struct.pack("!HH", TYPES.get(kind, kind), 1) + extra


def _name(packet, at):
    parts, end = [], None
    for _ in range(64):
        n = packet[at]
        if n >= 0xc0:
            end = end or at + 2
            at = (n & 0x3f) << 8 | packet[at + 1]
            continue
        at += 1
        if n == 0:
            return ".".join(parts), end or at
        parts.append(packet[at:at + n].decode())
        at += n
    raise ValueError("name too long")


def dns_parse(packet):
    """{"code", "flags", "answers": [(type, ttl, text)]}"""
    number, flags, questions, answers, _, _ = struct.unpack("!HHHHHH", packet[:12])
    at, found = 12, []
    for _ in range(questions):
        _, at = _name(packet, at)
        at += 4
    for _ in range(answers):
        _, at = _name(packet, at)
        kind, _, ttl, size = struct.unpack("!HHIH", packet[at:at + 10])
        data, at = packet[at + 10:at + 10 + size], at + 10
        if kind == 1:
            text = socket.inet_ntop(socket.AF_INET, data)
        elif kind == 28:
            text = socket.inet_ntop(socket.AF_INET6, data)
        elif kind == 12:
            text = _name(packet, at)[0]
        elif kind == 33:
            text = "%d %s" % (struct.unpack("!H", data[4:6])[0], _name(packet, at + 6)[0])
        else:
            text = data.hex()
        at += size
        found.append((kind, ttl, text))
    return {"number": number, "code": flags & 15, "flags": flags, "truncated": bool(flags & 0x200), "answers": found}


def dns_ask(name, kind="A", server=RESOLVER, tcp=False, **options):
    query = dns_query(name, kind, **options)
    if not tcp:
        reply = udp_ask(server, 53, query)
        return dns_parse(reply) if isinstance(reply, bytes) else reply
    with socket.create_connection((server, 53), timeout=5) as s:
        s.sendall(struct.pack("!H", len(query)) + query)
        data = b""
        while len(data) < 2 or len(data) < 2 + struct.unpack("!H", data[:2])[0]:
            more = s.recv(65536)
            if not more:
                return "closed"
            data += more
    return dns_parse(data[2:])


class UpstreamServer:
    """A name server of "the internet": answers 192.0.2.7 for every A question, and remembers what it was asked."""

    def __init__(self, address="127.0.0.1"):
        self.asked = []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = socket.create_server((address, 53))
        self.threads = [threading.Thread(target=self._serve_udp, daemon=True), threading.Thread(target=self._serve_tcp, daemon=True)]
        for t in self.threads:
            t.start()

    def _reply(self, query):
        name, at = _name(query, 12)
        kind = struct.unpack("!H", query[at:at + 2])[0]
        self.asked.append(name)
        answers = 1 if kind == 1 else 0
        body = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 7]) if answers else b""
        return query[:2] + struct.pack("!HHHHH", 0x8180, 1, answers, 0, 0) + query[12:at + 4] + body

    def _serve_udp(self):
        with contextlib.suppress(OSError):
            while True:
                query, source = self.udp.recvfrom(4096)
                self.udp.sendto(self._reply(query), source)

    def _serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.tcp.accept()
                with s:
                    data = s.recv(4096)
                    reply = self._reply(data[2:])
                    s.sendall(struct.pack("!H", len(reply)) + reply)

    def close(self):
        self.udp.close()
        self.tcp.close()


# --- the fixture -------------------------------------------------------------------------------------------------

class NetworkTest(EngineTest):
    """busybox containers on bridges of a host of the test's own; `self.world` is a machine beyond it (198.51.100.2)."""
    WORLD = False

    def setUp(self):
        super().setUp()
        # What the engine gives containers as the host's resolver; the file is the worker's own (a private mount namespace).
        self.resolv = os.path.join(self.scratch, "resolv.conf")
        with open(self.resolv, "w") as f:
            f.write("nameserver 127.0.0.1\n")
        sh("mount", "--bind", self.resolv, "/etc/resolv.conf")
        self.addCleanup(subprocess.run, ["umount", "/etc/resolv.conf"])
        if self.WORLD:
            self.world = self.namespace()
            sh("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", str(self.world))
            sh("ip", "addr", "add", "198.51.100.1/24", "dev", "uplink")
            sh("ip", "-6", "addr", "add", "2001:db8::1/64", "dev", "uplink", "nodad")
            sh("ip", "link", "set", "uplink", "up")
            self.at(self.world, "ip addr add 198.51.100.2/24 dev eth0; ip -6 addr add 2001:db8::2/64 dev eth0 nodad; "
                                "ip link set eth0 up; ip link set lo up")

    def namespace(self):
        """Pid of a process in a new network namespace."""
        p = subprocess.Popen(["unshare", "--net", "sleep", "10000"], stdin=subprocess.DEVNULL)
        self.addCleanup(lambda: (p.kill(), p.wait()))
        self.wait_for(lambda: os.readlink("/proc/%d/ns/net" % p.pid) != os.readlink("/proc/thread-self/ns/net"), "a namespace")
        return p.pid

    def at(self, pid, script):
        return sh("nsenter", "-t", str(pid), "-n", "sh", "-ec", script)

    def container(self, *options, command=("sleep", "10000"), image=None):
        """`run -d` on the default network, unless the options say otherwise; its id."""
        return self.onggi("run", "-d", *options, image or self.IMAGE, *command).strip()

    def server(self, *options, port=80, text=None, name=None):
        """A container that answers every TCP connection at `port` with its name."""
        text = text or name or "hello"
        options = (["--name", name] if name else []) + list(options)
        cid = self.container(*options, command=("nc", "-ll", "-p", str(port), "-e", "echo", text))
        self.wait_for(lambda: b":%04X " % port in self._listening(cid), "the server listens")
        return cid

    def echo(self, cid, port, udp=True, family=socket.AF_INET):
        """A socket of this test in the container's namespace that sends everything back, behind the sender's address. Until it is closed
        the namespace stays, whatever becomes of the container."""
        with inside(cid if isinstance(cid, int) else self.pid(cid)):
            s = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("", port))
        self.addCleanup(s.close)

        def serve():
            with contextlib.suppress(OSError):
                while udp:
                    data, source = s.recvfrom(4096)
                    s.sendto(source[0].encode() + b" " + data, source)
                s.listen()
                while True:
                    c, source = s.accept()
                    with c:
                        c.sendall(source[0].encode() + b"\n")
        s.settimeout(60)
        threading.Thread(target=serve, daemon=True).start()
        return s

    def _listening(self, cid):
        data = b""
        for name in ("tcp", "tcp6"):
            with contextlib.suppress(OSError), open("/proc/%d/net/%s" % (self.pid(cid), name), "rb") as f:
                data += f.read()
        return data

    def pid(self, cid):
        return self.inspect(cid)["State"]["Pid"]

    def address(self, cid, network="bridge", v6=False):
        return self.inspect(cid)["NetworkSettings"]["Networks"][network]["GlobalIPv6Address" if v6 else "IPAddress"]

    def ask(self, cid, name, kind="A", **options):
        """A question from the container's network namespace."""
        with inside(self.pid(cid)):
            return dns_ask(name, kind, **options)

    def texts(self, cid, name, kind="A", **options):
        reply = self.ask(cid, name, kind, **options)
        self.assertIsInstance(reply, dict, "no answer to %s %s: %s" % (name, kind, reply))
        return sorted(text for _, _, text in reply["answers"])

    def table(self):
        """Our nftables table of this host as text."""
        import hashlib
        return sh("nft", "list", "table", "inet", "onggi-" + hashlib.sha256(self.run_dir.encode()).hexdigest()[:8])

    def table_name(self):
        import hashlib
        return "onggi-" + hashlib.sha256(self.run_dir.encode()).hexdigest()[:8]

    def keepers(self):
        """Pids of the keeper and of its watcher."""
        found = {}
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            with contextlib.suppress(OSError), open("/proc/%s/cmdline" % name, "rb") as f:
                words = f.read().split(b"\0")
                if words and words[0].endswith(b"/onggi-keeper") and self.run_dir.encode() in words:
                    found["watcher" if b"--watch" in words else "keeper"] = int(name)
        return found


__all__ = ["NetworkTest", "UpstreamServer", "RESOLVER", "dns_ask", "dns_parse", "dns_query", "inside", "json", "onggi_test", "re", "sh",
           "socket", "struct", "subprocess", "tcp_ask", "udp_ask", "os", "contextlib"]
