"""Real programs from Debian's packages under the default profile, unchanged: python, node, java, redis, postgresql, nginx, apt-get.

The root is made once (scripts/programs-root, called by ./check) and kept beside the other caches. Each test says what the program printed.
"""

import os
import subprocess
import time

from engine import EngineTest

CACHE = os.environ.get("ONGGI_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", "/root"), ".cache"), "onggi")
ROOT = os.path.join(CACHE, "programs")


class Programs(EngineTest):
    IMAGE = None

    def setUp(self):
        if not os.path.exists(os.path.join(ROOT, "usr/bin/redis-server")):
            self.skipTest("needs programs_root")
        super().setUp()
        tar = subprocess.Popen(["tar", "-C", ROOT, "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./dev/*", "--exclude=./var/cache/apt/*.bin", "-c", "."], stdout=subprocess.PIPE)
        self.onggi("import", "-", "debian:1", stdin=tar.stdout)
        tar.stdout.close()
        self.assertEqual(tar.wait(), 0)

    def program(self, *words, options=()):
        return self.onggi("run", "--rm", *options, "debian:1", *words)

    def answer(self, name, *words):
        """What a client inside the container gets, once the server answers."""
        end = time.monotonic() + 30
        while True:
            out = self.command("exec", name, *words)
            if out.returncode == 0:
                return out.stdout
            self.assertGreater(end, time.monotonic(), out.stderr + self.command("logs", name).stderr)
            time.sleep(0.1)

    # One test, because importing the root is what takes time.
    def test_they_run_unchanged(self):
        with self.subTest("python"):
            script = "import multiprocessing as m, ssl, sqlite3, threading\np = m.Process(target=print, args=('child',)); p.start(); p.join(); print('parent', m.Queue())"
            out = self.program("python3", "-c", script)
            self.assertTrue(out.startswith("child\nparent "), out)
        with self.subTest("node"):
            script = "const h=require('http');h.createServer((q,r)=>r.end('node answers')).listen(3000,()=>h.get('http://127.0.0.1:3000',r=>r.on('data',d=>{console.log(''+d);process.exit(0)})))"
            self.assertEqual(self.program("node", "-e", script), "node answers\n")
        with self.subTest("java"):
            out = self.command("run", "--rm", "-m", "256m", "debian:1", "java", "-XshowSettings:system", "-version")
            self.assertIn("Memory Limit: 256.00M", out.stdout + out.stderr)
        with self.subTest("redis"):
            self.onggi("run", "-d", "--name", "redis", "debian:1", "redis-server", "--save", "")
            self.assertEqual(self.answer("redis", "redis-cli", "incr", "counter"), "1\n")
            self.onggi("stop", "redis")
            self.assertEqual(self.inspect("redis")["State"]["ExitCode"], 0)
        with self.subTest("postgresql"):
            self.onggi("run", "-d", "--name", "pg", "-u", "postgres", "debian:1", "sh", "-c",
                       "PATH=$PATH:$(echo /usr/lib/postgresql/*/bin); initdb -D /tmp/pg && exec postgres -D /tmp/pg -k /tmp")
            self.assertEqual(self.answer("pg", "psql", "-h", "/tmp", "-Atc", "select sum(x) from generate_series(1, 1000) x", "postgres"), "500500\n")
            self.onggi("stop", "pg")
            self.assertIn("database system is shut down", self.command("logs", "pg").stderr)
        with self.subTest("nginx"):
            self.onggi("run", "-d", "--name", "web", "debian:1", "nginx", "-g", "daemon off;")
            self.assertIn("Welcome to nginx", self.answer("web", "python3", "-c", "import urllib.request as u; print(u.urlopen('http://127.0.0.1/').read().decode())"))
        with self.subTest("dpkg"):
            # What apt-get install ends in; fetching would need the network.
            out = self.program("sh", "-c", "cd /tmp && mkdir -p p/DEBIAN p/opt && printf 'Package: own\\nVersion: 1\\nArchitecture: all\\nMaintainer: me <a@b>\\nDescription: own\\n' > p/DEBIAN/control"
                               " && echo x > p/opt/own && dpkg-deb -b p own.deb >/dev/null && dpkg -i own.deb >/dev/null && dpkg -s own | grep Status && useradd -m someone && id -u someone")
            self.assertEqual(out, "Status: install ok installed\n1000\n")
