"""Fixtures for tests that move images: a real registry on loopback, images made from tars, the worker.

Owns: servers that a test starts (always on 127.0.0.1, stopped with the test), OCI images built byte by byte with the standard
library, and calls of libexec/onggi/onggi-transfer by its protocol (src/image/transfer_protocol.h). Debian's docker-registry is
the peer for everything a registry does right; `FaultyRegistry` is a small server for what one may do wrong.
"""

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tarfile
import tempfile
import threading
import time
import unittest
import urllib.request

from onggi_test import TREE

LIBEXEC = os.environ.get("ONGGI_LIBEXEC") or os.path.join(TREE, "build/release/libexec/onggi")
WORKER = os.path.join(LIBEXEC, "onggi-transfer")
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def dumps(value):
    return json.dumps(value, separators=(",", ":")).encode()


# --- tars and images --------------------------------------------------------------------------------------------------------

def entry(name, data=b"", kind=tarfile.REGTYPE, mode=0o644, uid=0, gid=0, mtime=1_600_000_000, link="", pax=None, dev=(0, 0)):
    """One tar entry with its data."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid, info.mtime, info.linkname = kind, mode, uid, gid, mtime, link
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    info.devmajor, info.devminor = dev
    info.pax_headers = dict(pax or {})
    return info, data


def directory(name, **kw):
    return entry(name, kind=tarfile.DIRTYPE, **{"mode": 0o755, **kw})


def symlink(name, target, **kw):
    return entry(name, kind=tarfile.SYMTYPE, link=target, mode=0o777, **kw)


def hardlink(name, target, **kw):
    return entry(name, kind=tarfile.LNKTYPE, link=target, **kw)


def make_tar(entries, fmt=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt, errors="surrogateescape") as t:
        for info, data in entries:
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Image:
    """An image as blobs: layers (tars), config, manifest."""

    def __init__(self, tars, compress="gzip", config=None, docker=False, arch="amd64", wrong_diff_id=None):
        self.blobs, self.layers, self.diff_ids = {}, [], []
        for tar in tars:
            data, suffix = pack(tar, compress)
            self.blobs[sha256(data)] = data
            media = ("application/vnd.docker.image.rootfs.diff.tar.gzip" if docker else OCI_LAYER + suffix)
            self.layers.append({"mediaType": media, "digest": sha256(data), "size": len(data)})
            self.diff_ids.append(wrong_diff_id or sha256(tar))
        self.config = dumps({"created": "2024-05-06T07:08:09Z", "architecture": arch, "os": "linux", "config": config or {"Cmd": ["/bin/sh"]},
                             "rootfs": {"type": "layers", "diff_ids": self.diff_ids}})
        self.blobs[sha256(self.config)] = self.config
        self.media_type = "application/vnd.docker.distribution.manifest.v2+json" if docker else OCI_MANIFEST
        self.manifest = dumps({"schemaVersion": 2, "mediaType": self.media_type,
                               "config": {"mediaType": "application/vnd.docker.container.image.v1+json" if docker else OCI_CONFIG,
                                          "digest": sha256(self.config), "size": len(self.config)}, "layers": self.layers})
        self.id, self.digest = sha256(self.config), sha256(self.manifest)


def pack(tar, compress):
    if compress == "gzip":
        return gzip.compress(tar, 6, mtime=0), "+gzip"
    if compress == "zstd":
        return subprocess.run(["zstd", "-q", "-3", "-c"], input=tar, stdout=subprocess.PIPE, check=True).stdout, "+zstd"
    return tar, ""


# --- servers ----------------------------------------------------------------------------------------------------------------

class Registry:
    """Debian's docker-registry on loopback."""

    def __init__(self, directory, tls=None, htpasswd=None, token=None):
        self.directory, self.port = directory, free_port()
        os.makedirs(directory, exist_ok=True)
        self.host = "127.0.0.1:%d" % self.port
        self.scheme = "https" if tls else "http"
        config = {"version": 0.1, "log": {"level": "error", "accesslog": {"disabled": True}},
                  "storage": {"filesystem": {"rootdirectory": os.path.join(directory, "data")}, "delete": {"enabled": True}},
                  "http": {"addr": self.host}}
        if tls:
            config["http"]["tls"] = {"certificate": tls[0], "key": tls[1]}
        if htpasswd:
            config["auth"] = {"htpasswd": {"realm": "test", "path": htpasswd}}
        if token:
            config["auth"] = {"token": token}
        path = os.path.join(directory, "config.yml")
        with open(path, "w") as f:
            json.dump(config, f)  # JSON is YAML
        self.log = open(os.path.join(directory, "log"), "wb")
        self.process = subprocess.Popen(["docker-registry", "serve", path], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("docker-registry did not start: see %s/log" % directory)
            time.sleep(0.05)

    def request(self, method, path, data=None, headers=None):
        request = urllib.request.Request("http://%s%s" % (self.host, path) if not path.startswith("http") else path, data, headers or {}, method=method)
        with urllib.request.urlopen(request, timeout=60) as r:
            return r.status, dict(r.headers), r.read()

    def push(self, repository, tag, image):
        for digest, data in image.blobs.items():
            _, headers, _ = self.request("POST", "/v2/%s/blobs/uploads/" % repository, b"")
            where = headers["Location"]
            self.request("PUT", where + ("&" if "?" in where else "?") + "digest=" + digest, data, {"Content-Type": "application/octet-stream"})
        self.put_manifest(repository, tag, image.manifest, image.media_type)
        return "%s/%s:%s" % (self.host, repository, tag)

    def put_manifest(self, repository, tag, manifest, media_type):
        self.request("PUT", "/v2/%s/manifests/%s" % (repository, tag), manifest, {"Content-Type": media_type})

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()


class FaultyRegistry:
    """A registry over plain HTTP whose answers a test decides. `images`: repository -> Image (every tag is that image).
    `hook(handler, path)` may answer a request itself and return True. Requests are kept in `seen`: (method, path, headers)."""

    def __init__(self, images, hook=None):
        outer = self
        self.seen, self.images, self.hook = [], images, hook

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self, status, body=b"", headers=None):
                self.send_response(status)
                for k, v in (headers or {}).items():
                    self.send_header(k, v)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_GET(self):
                outer.seen.append((self.command, self.path, dict(self.headers)))
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    if outer.hook and outer.hook(self, self.path):
                        return
                    outer.serve(self)

            do_HEAD = do_POST = do_PUT = do_PATCH = do_GET

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # clients that hang up are what these tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.host = "127.0.0.1:%d" % self.port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def serve(self, handler):
        path = handler.path
        if path == "/v2/":
            return handler.answer(200, b"{}")
        for repository, image in self.images.items():
            base = "/v2/%s/" % repository
            if path.startswith(base + "manifests/"):
                return handler.answer(200, image.manifest, {"Content-Type": image.media_type})
            if path.startswith(base + "blobs/"):
                data = image.blobs.get(path[len(base + "blobs/"):])
                if data is not None:
                    wanted = handler.headers.get("Range")
                    if wanted:
                        start = int(wanted[len("bytes="):].split("-")[0])
                        return handler.answer(206, data[start:], {"Content-Range": "bytes %d-%d/%d" % (start, len(data) - 1, len(data))})
                    return handler.answer(200, data)
        return handler.answer(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"not here"}]}')

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


# --- the worker -------------------------------------------------------------------------------------------------------------

class Answer:
    def __init__(self, events, code, stderr):
        self.events, self.code, self.stderr = events, code, stderr
        self.last = events[-1] if events else {"event": "none", "text": stderr}

    @property
    def ok(self):
        return self.last["event"] == "result"

    def layers(self, status):
        return [e["layer"] for e in self.events if e["event"] == "layer" and e["status"] == status]

    @property
    def notes(self):
        return [e["text"] for e in self.events if e["event"] == "note"]


def worker_runs():
    """The test VM has the program but not its libraries."""
    try:
        return b"takes no arguments" in subprocess.run([WORKER, "?"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE).stderr
    except OSError:
        return False


@unittest.skipUnless(worker_runs(), "onggi-transfer does not run here")
class ImageTest(unittest.TestCase):
    """Gives each test a directory, an engine root and servers that end with it; looks for what was left in the store."""

    def setUp(self):
        # A worker that was killed before it had read its request must not end the test; children get the default back.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self.scratch = tempfile.mkdtemp(prefix="onggi-image-")
        self.addCleanup(self._remove)
        self.root = os.path.join(self.scratch, "root")
        self.env = {"PATH": os.environ["PATH"], "HOME": os.path.join(self.scratch, "home")}
        os.mkdir(self.env["HOME"], 0o700)

    def _remove(self):
        subprocess.run(["rm", "-rf", self.scratch], check=True)

    def registry(self, **kw):
        if not shutil.which("docker-registry"):
            self.skipTest("needs docker-registry")
        r = Registry(tempfile.mkdtemp(prefix="registry-", dir=self.scratch), **kw)
        self.addCleanup(r.stop)
        return r

    def faulty(self, images, hook=None):
        r = FaultyRegistry(images, hook)
        self.addCleanup(r.stop)
        return r

    def start(self, operation, *references, **options):
        request = {"operation": operation, "root": self.root, "references": list(references), "waitDurable": False, **options}
        p = subprocess.Popen([WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env)
        p.stdin.write(dumps(request))
        p.stdin.close()
        p.stdin = None  # communicate() must not flush it
        return p

    def finish(self, process):
        out, err = process.communicate(timeout=100)
        lines = out.decode().splitlines()
        return Answer([json.loads(line) for line in lines], process.wait(), err.decode(errors="replace"))

    def worker(self, operation, *references, **options):
        return self.finish(self.start(operation, *references, **options))

    def succeed(self, operation, *references, **options):
        answer = self.worker(operation, *references, **options)
        self.assertTrue(answer.ok, "%s %s: %s %s" % (operation, references, answer.last, answer.stderr))
        return answer

    def refuse(self, operation, *references, **options):
        answer = self.worker(operation, *references, **options)
        self.assertEqual(answer.last["event"], "error", answer.events)
        return answer.last

    # --- what is in the store ---

    def images(self, *parts):
        return os.path.join(self.root, "images", *parts)

    def layer(self, diff_id):
        return self.images("layers", diff_id.split(":")[1], "fs")

    def assert_clean(self, layers=None, partial=False):
        """Nothing half-made: no locks, no trash, no temporaries; `check` finds no contradiction."""
        for name in ("locks", "trash") + (() if partial else ("tmp",)):
            self.assertEqual(os.listdir(self.images(name)), [], name)
        report = json.loads(self.succeed("check").last["json"])
        self.assertEqual(report["problems"], [])
        if layers is not None:
            self.assertEqual(len(os.listdir(self.images("layers"))), layers)


def tree(root):
    """path -> everything that a layer can say about it."""
    found, inodes = {}, {}
    for where, dirs, files in os.walk(root):
        for name in [""] * (where == root) + dirs + files:
            path = os.path.join(where, name) if name else where
            st = os.lstat(path)
            kind = stat.S_IFMT(st.st_mode)
            x = {k: os.getxattr(path, k, follow_symlinks=False) for k in os.listxattr(path, follow_symlinks=False)}
            extra = None
            if kind == stat.S_IFREG:
                with open(path, "rb") as f:
                    extra = hashlib.sha256(f.read()).hexdigest()
            elif kind == stat.S_IFLNK:
                extra = os.readlink(path)
            elif kind in (stat.S_IFCHR, stat.S_IFBLK):
                extra = st.st_rdev
            relative = os.path.relpath(path, root)
            first = inodes.setdefault((st.st_dev, st.st_ino), relative) if kind != stat.S_IFDIR else relative
            found[relative] = (kind, stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns, extra, tuple(sorted(x.items())), first)
    return found
