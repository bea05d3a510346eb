"""Images by the commands that a user types: export, import, save, load, push, pull, login; the formats are tests/images' business."""

import json
import os
import shutil
import subprocess
import unittest

from engine import EngineTest
from image_test import Registry, worker_runs


@unittest.skipUnless(worker_runs(), "onggi-transfer does not run here")
class ImageCommands(EngineTest):
    def setUp(self):
        super().setUp()
        os.mkdir(os.path.join(self.scratch, "home"), 0o700)

    def environment(self):
        return dict(super().environment(), HOME=os.path.join(self.scratch, "home"))

    def imported(self):
        """An image whose layer came out of a container: `root:1`."""
        tar = os.path.join(self.scratch, "root.tar")
        self.command("run", "--name", "job", "--network", "none", "busybox", "sh", "-c", "echo made > /made; chown web /made")
        self.onggi("export", "--output", tar, "job")
        self.onggi("import", "--change", "CMD [\"/bin/sh\"]", "--change", "ENV PATH=/bin", "--message", "from a tar", tar, "root:1")
        return tar

    def content(self, image):
        return self.onggi("run", "--rm", "--network", "none", image, "sh", "-c", "cat /made; stat -c %u /made; ls /bin | wc -l")

    def test_export_import_save_load(self):
        self.imported()
        wanted = self.content("root:1")
        self.assertTrue(wanted.startswith("made\n1000\n"), wanted)
        self.assertEqual(self.inspect("root:1")["Config"]["Cmd"], ["/bin/sh"])
        saved = os.path.join(self.scratch, "saved.tar")
        ident = self.inspect("root:1")["Id"]
        self.onggi("save", "--output", saved, "root:1")
        self.onggi("rmi", "root:1")
        self.assertIn("root:1", self.onggi("load", "--input", saved))
        self.assertEqual((self.inspect("root:1")["Id"], self.content("root:1")), (ident, wanted))
        self.fails("load", "--input", os.path.join(self.scratch, "home"))
        self.fails("save", "--output", saved, "nothing")
        self.fails("import", "/nonexistent", "x:1")

    @unittest.skipUnless(shutil.which("docker-registry"), "needs docker-registry")
    def test_push_pull(self):
        self.imported()
        wanted, ident = self.content("root:1"), self.inspect("root:1")["Id"]
        registry = Registry(os.path.join(self.scratch, "registry"))
        self.addCleanup(registry.stop)
        name = registry.host + "/root:1"
        self.onggi("tag", "root:1", name)
        self.onggi("push", name)
        self.onggi("rmi", "root:1", name)
        self.assertEqual(self.onggi("images", "-q", "root"), "")
        self.onggi("pull", "--quiet", name)
        self.assertEqual((self.inspect(name)["Id"], self.content(name)), (ident, wanted))
        self.assertIn("/nothing", self.fails("pull", registry.host + "/nothing"))

    @unittest.skipUnless(shutil.which("docker-registry") and shutil.which("htpasswd"), "needs docker-registry")
    def test_login(self):
        passwords = os.path.join(self.scratch, "htpasswd")
        subprocess.run(["htpasswd", "-Bbc", passwords, "me", "secret"], check=True, stderr=subprocess.DEVNULL)
        registry = Registry(os.path.join(self.scratch, "registry"), htpasswd=passwords)
        self.addCleanup(registry.stop)
        self.imported()
        name = registry.host + "/root:1"
        self.onggi("tag", "root:1", name)
        self.fails("push", name)
        self.fails("login", "--username", "me", "--password", "wrong", registry.host)
        self.onggi("login", "--username", "me", "--password-stdin", registry.host, input="secret\n")
        with open(os.path.join(self.scratch, "home/.docker/config.json")) as f:
            self.assertIn(registry.host, json.load(f)["auths"])
        self.onggi("push", name)
        self.onggi("logout", registry.host)
        self.fails("push", name)
