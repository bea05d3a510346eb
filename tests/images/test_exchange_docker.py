"""Images exchanged both ways with Docker: archives and a registry; the same ids, the same layers entry by entry.

A dockerd of its own: data, sockets and containerd below the test's directory, no bridge and no firewall rules. Its overlay2 driver keeps
each layer as a tree with whiteouts in overlay's form, which is how this store keeps them: the two can be compared as they lie.
"""

import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time

import onggi_test
from image_test import Image, ImageTest, directory, entry, make_tar, sha256, tree
from test_pull import base_tar, upper_tar


class Docker:
    """A Docker daemon with everything below `where`."""

    def __init__(self, where):
        self.where = where
        os.makedirs(where)
        self.socket = where + "/docker.sock"
        self.log = open(where + "/log", "wb")
        env = dict(os.environ, TMPDIR=where, DOCKER_TMPDIR=where)
        self.process = subprocess.Popen(
            ["dockerd", "--data-root", where + "/data", "--exec-root", where + "/exec", "--pidfile", where + "/pid", "--host", "unix://" + self.socket, "--iptables=false",
             "--ip6tables=false", "--bridge=none", "--storage-driver", "overlay2"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True, env=env)
        end = time.monotonic() + 100
        while subprocess.run(self.argv("version"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            if self.process.poll() is not None or time.monotonic() > end:
                with open(where + "/log") as f:
                    raise AssertionError("dockerd does not answer: " + f.read()[-2000:])
            time.sleep(0.2)

    def argv(self, *words):
        return ["docker", "--config", self.where + "/config", "--host", "unix://" + self.socket, *words]

    def __call__(self, *words):
        r = subprocess.run(self.argv(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100)
        if r.returncode:
            raise AssertionError("docker %s: %s" % (" ".join(words), r.stderr.decode()))
        return r.stdout.decode()

    def stop(self):
        children = onggi_test.descendants(self.process.pid)
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        for pid, _ in children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.log.close()
        onggi_test.reap()
        for name in ("data/overlay2", "data", ""):  # the daemon makes its driver's directory a mount
            subprocess.run(["umount", "-q", os.path.join(self.where, name)], stderr=subprocess.DEVNULL)

    def layers(self, name):
        """[(diff id, directory)] of an image, lowest layer first: by the chain of ids that docker's layer store is keyed with."""
        found, chain = [], None
        for diff_id in json.loads(self("image", "inspect", name))[0]["RootFS"]["Layers"]:
            chain = diff_id if chain is None else sha256(("%s %s" % (chain, diff_id)).encode())
            with open(os.path.join(self.where, "data/image/overlay2/layerdb/sha256", chain.split(":")[1], "cache-id")) as f:
                found.append((diff_id, os.path.join(self.where, "data/overlay2", f.read().strip(), "diff")))
        return found


def entries(where, tar):
    """tree(), without the times of what the tar does not name (directories on the way, whiteouts: whoever unpacks makes them) and of the
    layer's root, which Docker leaves at the time of unpacking."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as t:
        named = {os.path.normpath(m.name) for m in t} - {"."}
    return {name: e if name in named else (*e[:4], None, *e[5:]) for name, e in tree(where).items()}


class DockerExchange(ImageTest):
    maxDiff = None

    def setUp(self):
        super().setUp()
        if not shutil.which("dockerd"):
            self.skipTest("needs dockerd")
        self.docker = Docker(os.path.join(self.scratch, "docker"))
        self.addCleanup(self.docker.stop)
        self.image = Image([base_tar(), upper_tar()], config={"Cmd": ["/bin/true"], "Env": ["A=b"], "Labels": {"x": "y"}})
        self.server = self.registry()
        self.ref = self.server.push("a/b", "t", self.image)
        self.succeed("pull", self.ref)

    def path(self, name):
        return os.path.join(self.scratch, name)

    def assert_docker_has_ours(self, name):
        inspected = json.loads(self.docker("image", "inspect", name))[0]
        self.assertEqual(inspected["Id"], self.image.id)
        self.assertEqual(inspected["Config"]["Labels"], {"x": "y"})
        layers = self.docker.layers(name)
        self.assertEqual([diff_id for diff_id, _ in layers], self.image.diff_ids)
        for tar, (diff_id, where) in zip((base_tar(), upper_tar()), layers):
            ours, theirs = (entries(d, tar) for d in (self.layer(diff_id), where))
            differing = {k: (ours.get(k), theirs.get(k)) for k in {**ours, **theirs} if ours.get(k) != theirs.get(k)}
            self.assertEqual(differing, {})
            self.assertGreater(len(ours), 4)

    def same_in_a_new_store(self, load):
        first = [tree(self.layer(d)) for d in self.image.diff_ids]
        home, self.root = self.root, self.root + "-other"
        try:
            answer = load()
            self.assertEqual(answer.last["ids"], [self.image.id])
            self.assertEqual([tree(self.layer(d)) for d in self.image.diff_ids], first)
            self.assert_clean(layers=2)
            subprocess.run(["rm", "-rf", self.root], check=True)
        finally:
            self.root = home
        return answer

    def test_archives_both_ways(self):
        self.succeed("save", self.ref, path=self.path("ours.tar"))
        self.assertIn(self.ref, self.docker("load", "-i", self.path("ours.tar")))
        self.assert_docker_has_ours(self.ref)
        self.docker("save", "-o", self.path("theirs.tar"), self.ref)
        answer = self.same_in_a_new_store(lambda: self.succeed("load", path=self.path("theirs.tar")))
        self.assertEqual(answer.last["references"], [self.ref])

    def test_registry_both_ways(self):
        """Docker pulls what we pushed, and pushes it again as a manifest of its own (schema 2, other blobs), which we pull."""
        self.succeed("save", self.ref, path=self.path("tag.tar"))
        ours = self.server.host + "/ours:t"
        self.succeed("load", ours, path=self.path("tag.tar"))
        self.succeed("push", ours)
        self.docker("pull", "-q", ours)
        self.assert_docker_has_ours(ours)
        theirs = self.server.host + "/theirs:t"
        self.docker("tag", ours, theirs)
        self.docker("push", "-q", theirs)
        manifest = json.loads(self.server.request("GET", "/v2/theirs/manifests/t", headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"})[2])
        self.assertEqual(manifest["mediaType"], "application/vnd.docker.distribution.manifest.v2+json")
        self.same_in_a_new_store(lambda: self.succeed("pull", theirs))

    def test_an_archive_of_two_images_that_share_a_layer(self):
        second = Image([base_tar_of(self.image), make_tar([directory("two"), entry("two/x", b"2")])])
        other = self.server.push("a/second", "t", second)
        for ref in (self.ref, other):
            self.docker("pull", "-q", ref)
        self.docker("save", "-o", self.path("both.tar"), self.ref, other)
        self.root += "-both"
        answer = self.succeed("load", path=self.path("both.tar"))
        self.assertEqual(sorted(answer.last["ids"]), sorted([self.image.id, second.id]))
        self.assert_clean(layers=3)

    def test_a_damaged_archive_of_dockers(self):
        """One byte of a layer: refused by its digest, and no image comes of it."""
        self.docker("pull", "-q", self.ref)
        self.docker("save", "-o", self.path("theirs.tar"), self.ref)
        with open(self.path("theirs.tar"), "r+b") as f:
            data = f.read()
            at = data.index(b"#!tool#!tool") + 100
            f.seek(at)
            f.write(bytes([data[at] ^ 1]))
        self.root += "-damaged"
        self.assertIn("digest", self.refuse("load", path=self.path("theirs.tar"))["text"])
        self.assertIn("no such image", self.refuse("save", self.ref, path=self.path("again.tar"))["text"])
        self.assert_clean()


def base_tar_of(image):
    """The uncompressed first layer of an image, so that another shares it."""
    return gzip.decompress(image.blobs[image.layers[0]["digest"]])
