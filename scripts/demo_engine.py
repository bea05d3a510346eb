#!/usr/bin/env python3
"""The engine's part of ./quickstart: a registry on loopback, an image of three layers in it, and `onggi run` of that image, serving.

usage: demo_engine.py ONGGI LAYOUT   (as root; LAYOUT is what scripts/make-image made)

Owns: a registry process, a private store and run directory, one container. All of it is gone at the end, also on Ctrl-C.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ASK = """
import sys, time, urllib.request
for attempt in range(200):
    try:
        with urllib.request.urlopen("http://127.0.0.1/", timeout=5) as r:
            body = r.read()
            print("HTTP %d from %s: %s" % (r.status, r.headers["Server"], body.decode().strip()))
            sys.exit(0)
    except OSError as e:
        problem = e
        time.sleep(0.05)
sys.exit("no answer: %s" % problem)
"""


def section(title):
    print("\n== %s" % title, flush=True)


def registry(stack, tmp):
    """Debian's docker-registry on a free port of the loopback address; yields host:port."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % s.getsockname()[1]
    config = os.path.join(tmp, "registry.yml")
    with open(config, "w") as f:
        f.write("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n" % (os.path.join(tmp, "registry"), address))
    process = subprocess.Popen(["docker-registry", "serve", config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
    for _ in range(200):
        with contextlib.suppress(OSError), urllib.request.urlopen("http://%s/v2/" % address, timeout=5):
            return address
        time.sleep(0.05)
    sys.exit("quickstart: the registry did not start")


def main(onggi, layout):
    def stop(*_):
        sys.exit(1)
    signal.signal(signal.SIGTERM, stop)
    with contextlib.ExitStack() as stack:
        tmp = tempfile.mkdtemp(prefix="onggi-quickstart-")
        stack.callback(shutil.rmtree, tmp, True)
        os.environ.update(ONGGI_ROOT=os.path.join(tmp, "root"), ONGGI_RUN=os.path.join(tmp, "run"))

        def run(*words, **kwargs):
            shown = " ".join("'%s'" % w if " " in w else w for w in words)
            print("$ onggi " + shown, flush=True)
            return subprocess.run([onggi, *words], stdin=subprocess.DEVNULL, check=kwargs.pop("check", True), **kwargs)

        # A network of the demo's own plays the host: the machine's is not touched.
        if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
            sys.exit("quickstart: no network namespace: " + os.strerror(ctypes.get_errno()))
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        section("a registry on loopback, and an image of three layers in it")
        address = registry(stack, tmp)
        image = address + "/nginx:1"
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:%s:latest" % layout, "docker://" + image], check=True)
        print("pushed " + image)

        section("the same image as a service")
        stack.callback(subprocess.run, [onggi, "rm", "-f", "web"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started = time.monotonic()
        run("run", "-d", "--name", "web", "-p", "8080:80", "--memory", "128m", "--pids-limit", "64", "--read-only", "--tmpfs", "/run", "--tmpfs", "/var/lib/nginx",
            "--tmpfs", "/var/log/nginx", "--health-http", ":80/health", "--health-interval", "500ms", image)
        print("(%.0f ms from nothing to a running service, pull included)" % ((time.monotonic() - started) * 1000))
        pid = subprocess.run([onggi, "inspect", "--format", "{{.State.Pid}}", "web"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        asked = subprocess.run(["nsenter", "--target", pid, "--net", "--", "python3", "-c", ASK], stdin=subprocess.DEVNULL)
        if asked.returncode:
            run("logs", "web", check=False)
            sys.exit("quickstart: the service did not answer")
        time.sleep(0.7)
        run("ps")
        run("logs", "web")
        run("exec", "web", "id")
        section("what isolates it")
        run("inspect", "--isolation", "web")
        section("its end, and why")
        run("stop", "web")
        run("why", "web")
        run("rm", "web")
        run("rmi", image)
        run("system", "check")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n\n")[1])
    main(sys.argv[1], sys.argv[2])
