"""The command line as engines use it: version, spec, features, log formats, exit codes, global flags."""

import json
import os
import subprocess
import unittest

from onggi_test import RUNTIME, RuntimeTest, deviates, family, needs


class Information(RuntimeTest):

    def test_version(self):
        out = self.runtime("--version").out
        self.assertRegex(out.splitlines()[0], r"^\S+ version \d+\.\d+")
        self.assertRegex(out, r"(?m)^spec: 1\.\d+\.\d+")

    def test_help(self):
        out = self.runtime("--help").out
        for command in ("create", "start", "state", "kill", "delete", "run", "exec", "list", "ps", "pause", "resume", "update", "spec"):
            self.assertIn(command, out)

    def test_spec_is_a_working_configuration(self):
        d = os.path.join(self.tmp, "spec")
        os.mkdir(d)
        self.runtime("spec", cwd=d)
        with open(os.path.join(d, "config.json")) as f:
            config = json.load(f)
        self.assertTrue(config["process"]["terminal"])
        config["process"]["terminal"] = False
        config["process"]["args"] = ["echo", "from-spec"]
        b = self.bundle(config=config)
        self.assertEqual("from-spec\n", self.output(b))
        self.assertNotEqual(0, self.runtime("spec", cwd=d, check=False).rc, "an existing config.json is not overwritten")

    @deviates(crun="keeps the network namespace")
    def test_spec_rootless(self):
        d = os.path.join(self.tmp, "spec")
        os.mkdir(d)
        self.runtime("spec", "--rootless", "--bundle", d)
        with open(os.path.join(d, "config.json")) as f:
            config = json.load(f)
        self.assertIn("user", [n["type"] for n in config["linux"]["namespaces"]])
        self.assertNotIn("network", [n["type"] for n in config["linux"]["namespaces"]])

    @deviates(crun="1.21 leaves out archs")
    def test_features(self):
        f = self.runtime("features").json()
        self.assertRegex(f["ociVersionMin"], r"^1\.")
        self.assertRegex(f["ociVersionMax"], r"^1\.")
        for hook in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"):
            self.assertIn(hook, f["hooks"])
        self.assertIn("rbind", f["mountOptions"])
        linux = f["linux"]
        self.assertLessEqual({"pid", "network", "mount", "ipc", "uts", "user", "cgroup"}, set(linux["namespaces"]))
        self.assertIn("CAP_SYS_ADMIN", linux["capabilities"])
        self.assertTrue(linux["seccomp"]["enabled"])
        self.assertIn("SCMP_ACT_ERRNO", linux["seccomp"]["actions"])
        self.assertIn("SCMP_ARCH_X86_64", linux["seccomp"]["archs"])

    def test_features_tell_the_truth(self):
        """Every mount option that it names is accepted by a tmpfs or a bind mount."""
        options = self.runtime("features").json()["mountOptions"]
        for option in ("rro", "idmap", "tmpcopyup", "nosymfollow"):
            if family() == "onggi":
                self.assertIn(option, options)

    @deviates(runc="1.1 has none of these", crun="1.8 has none of these")
    def test_features_of_1_3(self):
        linux = self.runtime("features").json()["linux"]
        self.assertIn("time", linux["namespaces"])
        self.assertTrue(linux["mountExtensions"]["idmap"]["enabled"])
        self.assertTrue(linux["netDevices"]["enabled"])
        self.assertIn("MPOL_BIND", linux["memoryPolicy"]["modes"])


class Logging(RuntimeTest):

    @deviates(crun="opens no log before the bundle")
    def test_json_log_file(self):
        """What containerd and Podman read to tell a user why: the last line's msg, level error."""
        path = os.path.join(self.tmp, "log.json")
        r = self.runtime("--log", path, "--log-format", "json", "create", "--bundle", "/nonexistent", self.cid(), check=False)
        self.assertNotEqual(0, r.rc)
        with open(path) as f:
            last = [json.loads(line) for line in f if line.strip()][-1]
        self.assertEqual("error", last["level"])
        self.assertTrue(last["msg"])
        self.assertIn("time", last)

    @deviates(crun="opens no log before the bundle")
    def test_text_log_file(self):
        path = os.path.join(self.tmp, "log.txt")
        self.runtime("--log", path, "create", "--bundle", "/nonexistent", self.cid(), check=False)
        with open(path) as f:
            self.assertRegex(f.read(), "level=error|nonexistent|No such file")

    def test_error_is_on_stderr_too(self):
        r = self.runtime("create", "--bundle", "/nonexistent", self.cid(), check=False)
        self.assertTrue(r.err.strip())

    def test_debug(self):
        r = self.runtime("--debug", "run", "--bundle", self.bundle("true").write(), self.cid())
        self.assertEqual(0, r.rc)

    def test_unknown_log_format(self):
        self.assertNotEqual(0, self.runtime("--log-format", "xml", "list", check=False).rc)


class Usage(RuntimeTest):

    @deviates(runc="prints help for unknown commands and gives 0 or 3", crun="ignores more arguments")
    def test_wrong_usage_is_not_zero(self):
        for args in (["nosuchcommand"], ["create"], ["state"], ["start"], ["kill"], ["delete"], ["--no-such-flag", "list"], ["list", "--no-such-flag"],
                     ["state", "a", "b"]):
            with self.subTest(args):
                self.assertNotEqual(0, self.runtime(*args, check=False).rc)

    def test_flags_in_both_forms(self):
        cid = self.cid()
        self.runtime("create", "--bundle=" + self.bundle("sleep", "1000").write(), "--pid-file=" + os.path.join(self.tmp, "p"), cid, capture=False)
        self.assertEqual("created", self.status(cid))

    def test_bundle_defaults_to_the_working_directory(self):
        self.assertEqual("here\n", self.runtime("run", self.cid(), cwd=self.bundle("echo", "here").write()).out)

    @deviates(crun="makes only the last directory")
    def test_root_is_made(self):
        self.global_args = ["--root", os.path.join(self.tmp, "new/state")]
        r = subprocess.run([RUNTIME, "--root", os.path.join(self.tmp, "new/state"), "run", "--bundle", self.bundle("echo", "x").write(), self.cid()],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((0, "x\n"), (r.returncode, r.stdout))

    def test_closed_stdio(self):
        """An engine may start a runtime with descriptors 0 to 2 closed: nothing the runtime opens may land there."""
        b = self.bundle("true")
        cid = self.cid()
        import shlex
        line = "exec %s 0<&- 1>&- 2>&-" % shlex.join(self.argv("create", "--bundle", b.write(), cid))
        subprocess.run(["/bin/sh", "-c", line], timeout=60)
        r = self.runtime("state", cid, check=False)
        if r.rc == 0:
            self.delete(cid, "--force")

    @deviates(crun="built without it")
    def test_checkpoint_without_criu(self):
        from onggi_test import has
        if has("criu"):
            self.skipTest("needs criu to be absent")
        cid = self.started(self.bundle("sleep", "1000"))
        r = self.runtime("checkpoint", "--image-path", os.path.join(self.tmp, "img"), cid, check=False)
        self.assertNotEqual(0, r.rc)
        self.assertRegex(r.err.lower(), "criu")
        self.assertEqual("running", self.status(cid))


if __name__ == "__main__":
    unittest.main()
