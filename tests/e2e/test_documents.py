"""What is generated from the option tables: docs/docker-parity.md, the manual, the shells' completion."""

import os
import shutil
import subprocess
import unittest

import onggi_test
from engine import PROGRAM, TIMEOUT, EngineTest


def run(*words, **options):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, **options)


class Documents(unittest.TestCase):
    def test_parity_table_is_current(self):
        if not os.path.exists(os.path.join(onggi_test.TREE, "tools/gen-parity")):
            self.skipTest("the tree has no tools here")
        out = run(os.path.join(onggi_test.TREE, "tools/gen-parity"), "--check", PROGRAM)
        self.assertEqual((out.returncode, out.stdout), (0, ""), out.stderr)

    def test_manual(self):
        page = run(PROGRAM, "internal", "man", "volume", "create").stdout
        self.assertTrue(page.startswith('.TH "ONGGI-VOLUME-CREATE" 1'))
        self.assertIn("\\fB\\-\\-label\\fR \\fIlist\\fR", page)
        refused = run(PROGRAM, "internal", "man", "run").stdout
        self.assertIn(".SH NOT SUPPORTED", refused)
        bad = run(PROGRAM, "internal", "man", "nothing")
        self.assertEqual((bad.returncode, bad.stdout), (1, ""))
        self.assertIn("there is no command 'nothing'", bad.stderr)

    def test_generated_share(self):
        script = os.path.join(onggi_test.TREE, "tools/gen-share")
        if not os.path.exists(script):
            self.skipTest("the tree has no tools here")
        import tempfile
        with tempfile.TemporaryDirectory() as d:
            self.assertEqual(run(script, PROGRAM, d).stderr, "")
            self.assertTrue(os.path.exists(os.path.join(d, "man/man1/onggi-run.1")))
            for name in ("bash-completion/completions/onggi", "zsh/site-functions/_onggi", "fish/vendor_completions.d/onggi.fish"):
                with open(os.path.join(d, name)) as f:
                    self.assertIn("internal complete", f.read())
            self.assertNotEqual(run(script, "/nonexistent", d).returncode, 0)


class Completion(EngineTest):
    def test_bash(self):
        if not shutil.which("bash"):
            self.skipTest("needs bash")
        self.onggi("create", "--name", "webserver", "--network", "none", "busybox")
        self.onggi("volume", "create", "precious")
        script = os.path.join(self.scratch, "completion")
        with open(script, "w") as f:
            f.write(self.onggi("completion", "bash"))
        line = ". %s; COMP_WORDS=(%s \"$@\"); COMP_CWORD=$#; _onggi 2>/dev/null; printf '%%s\\n' \"${COMPREPLY[@]}\"" % (script, PROGRAM)

        def offered(*words):
            return run("bash", "-c", line, "bash", *words, env=self.environment()).stdout.split()
        self.assertEqual(offered("start", "web"), ["webserver"])
        self.assertEqual(offered("volume", "rm", ""), ["precious"])
        self.assertEqual(offered("run", "--rm", "bus"), ["busybox:latest"])
        self.assertEqual(offered("unpau"), ["unpause"])
        self.assertIn("--memory-swap", offered("run", "--mem"))
        self.assertIn("unknown shell 'csh'", self.fails("completion", "csh"))
