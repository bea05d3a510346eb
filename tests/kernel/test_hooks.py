"""config.md "POSIX-platform Hooks", runtime.md "Lifecycle": six kinds, order, where they run, state on stdin, env, timeout, failure."""

import json
import os
import stat
import time
import unittest

from onggi_test import RuntimeTest, deviates, wait_until

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


class HookTest(RuntimeTest):

    def setUp(self):
        super().setUp()
        self.trace = os.path.join(self.tmp, "trace")
        os.mkdir(self.trace)
        os.chmod(self.trace, 0o777)

    def hook(self, script, *args, **fields):
        return {"path": "/bin/sh", "args": ["sh", "-c", script, *args], **fields}

    def add(self, bundle, kind, *hooks):
        bundle.config.setdefault("hooks", {}).setdefault(kind, []).extend(hooks)
        return bundle

    def seen(self, name):
        try:
            with open(os.path.join(self.trace, name)) as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def order(self):
        return self.seen("order").split()


class Order(HookTest):

    @deviates(runc="runs poststart at create")
    def test_all_kinds_in_order(self):
        b = self.bundle(sh="echo program >> /trace/order")
        b.mount("/trace", self.trace, "bind", ["bind"])
        for kind in KINDS:
            # startContainer runs inside, where the directory is /trace; the others see the host's path.
            where = "/trace" if kind == "startContainer" else self.trace
            for n in (1, 2):
                self.add(b, kind, self.hook("echo %s%d >> %s/order" % (kind, n, where)))
        cid = self.create(b)
        made = [x + n for x in ("prestart", "createRuntime", "createContainer") for n in "12"]
        self.assertEqual(made, self.order())
        self.start(cid)
        wait_until(lambda: "program" in self.order() and "poststart2" in self.order(), "the program and poststart ran")
        self.wait_status(cid, "stopped")
        self.assertNotIn("poststop1", self.order())
        self.delete(cid)
        got = self.order()
        self.assertEqual(made + ["startContainer1", "startContainer2"], got[:8])
        self.assertEqual({"program", "poststart1", "poststart2"}, set(got[8:11]))
        self.assertEqual(["poststop1", "poststop2"], got[11:])

    def test_run_calls_them_too(self):
        b = self.bundle("true")
        for kind in KINDS:
            if kind != "startContainer":
                self.add(b, kind, self.hook("echo %s >> %s/order" % (kind, self.trace)))
        self.run_bundle(b)
        self.assertEqual({"prestart", "createRuntime", "createContainer", "poststart", "poststop"}, set(self.order()))
        self.assertEqual("poststop", self.order()[-1])


class Where(HookTest):

    def test_namespaces(self):
        """createRuntime, poststart, poststop: the runtime's namespaces; createContainer: the container's, before pivot; startContainer: inside."""
        b = self.bundle("sleep", "1000")
        b.mount("/trace", self.trace, "bind", ["bind"])
        record = "readlink /proc/self/ns/%s > %s/%s.%s"
        for kind in KINDS:
            where = "/trace" if kind == "startContainer" else self.trace
            script = "; ".join(record % (ns, where, kind, ns) for ns in ("mnt", "uts", "net", "ipc"))
            self.add(b, kind, self.hook(script + "; pwd > %s/%s.cwd; test -e /bin/busybox && echo yes > %s/%s.busybox-root" % (where, kind, where, kind)))
        cid = self.started(b)
        pid = self.state(cid)["pid"]
        inside = {ns: os.readlink("/proc/%d/ns/%s" % (pid, ns)) for ns in ("mnt", "uts", "net", "ipc")}
        outside = {ns: os.readlink("/proc/self/ns/" + ns) for ns in inside}
        self.delete(cid, "--force")
        for kind in KINDS:
            want = inside if kind in ("createContainer", "startContainer") else outside
            for ns in inside:
                with self.subTest("%s %s" % (kind, ns)):
                    self.assertEqual(want[ns], self.seen("%s.%s" % (kind, ns)).strip())

    def test_args_and_env_are_exact(self):
        b = self.bundle("true")
        self.add(b, "createRuntime", {"path": "/bin/sh", "args": ["name-zero", "-c", 'echo "$0|$1|$2" > %s/args; env > %s/env' % (self.trace, self.trace), "a b", "", "c"],
                                      "env": ["ONE=1", "TWO=2 2"]})
        self.run_bundle(b)
        self.assertEqual("a b||c\n", self.seen("args"))
        lines = [x for x in self.seen("env").splitlines() if not x.startswith(("PWD=", "SHLVL=", "_=", "OLDPWD="))]
        self.assertEqual(["ONE=1", "TWO=2 2"], sorted(lines))

    @deviates(crun="searches relative paths")
    def test_path_must_be_absolute_and_there(self):
        for path in ("relative/hook", "/nonexistent/hook"):
            with self.subTest(path):
                self.fails(self.add(self.bundle("true"), "createRuntime", {"path": path}))

    def test_start_container_hook_sees_the_root(self):
        b = self.bundle("cat", "/tmp/from-hook")
        self.add(b, "startContainer", {"path": "/bin/sh", "args": ["sh", "-c", "echo inside > /tmp/from-hook"]})
        self.assertEqual("inside\n", self.output(b))


class State(HookTest):

    @deviates(runc="1.1 says created or creating elsewhere", crun="says created at startContainer")
    def test_state_on_stdin(self):
        b = self.bundle("sleep", "1000")
        b.config["annotations"] = {"a": "b"}
        b.mount("/trace", self.trace, "bind", ["bind"])
        for kind in KINDS:
            self.add(b, kind, self.hook("cat > %s/%s.json" % ("/trace" if kind == "startContainer" else self.trace, kind)))
        cid = self.started(b)
        pid = self.state(cid)["pid"]
        self.runtime("kill", cid, "KILL")
        self.wait_status(cid, "stopped")
        self.delete(cid)
        for kind in KINDS:
            with self.subTest(kind):
                s = json.loads(self.seen(kind + ".json"))
                self.assertEqual(cid, s["id"])
                self.assertEqual(b.path, s["bundle"])
                self.assertEqual({"a": "b"}, s["annotations"])
                self.assertIn("ociVersion", s)
                want = {"prestart": "creating", "createRuntime": "creating", "createContainer": "creating", "startContainer": "created",
                        "poststart": "running", "poststop": "stopped"}[kind]
                self.assertEqual(want, s["status"])
                if kind in ("prestart", "createRuntime", "poststart"):
                    self.assertEqual(pid, s["pid"])

    def test_state_command_during_create_runtime(self):
        """An engine's hook asks the runtime back: that must not block on a lock that create holds."""
        b = self.bundle("true")
        cid = self.cid()
        asked = " ".join(self.argv("state", cid))
        self.add(b, "createRuntime", self.hook("timeout 10 %s > %s/state 2>&1; echo rc=$? >> %s/state; true" % (asked, self.trace, self.trace)))
        self.run_bundle(b, cid=cid)
        self.assertNotIn("rc=124", self.seen("state"))

    def test_pid_enters_namespaces_from_create_runtime(self):
        """The classic use: a network hook enters the container's namespace by the pid of the state."""
        b = self.bundle("hostname")
        script = ("pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); readlink /proc/$pid/ns/net > %s/net; "
                  "nsenter --target $pid --uts hostname set-by-hook" % self.trace)
        self.add(b, "createRuntime", self.hook(script, env=["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]))
        b.config.pop("hostname")
        self.assertEqual("set-by-hook\n", self.output(b))
        self.assertNotEqual(os.readlink("/proc/self/ns/net"), self.seen("net").strip())


class Failure(HookTest):

    def test_failing_create_hooks_undo_everything(self):
        for kind in ("prestart", "createRuntime", "createContainer"):
            with self.subTest(kind):
                b = self.bundle(sh="touch %s/ran" % "/trace").mount("/trace", self.trace, "bind", ["bind"])
                self.add(b, kind, self.hook("echo the-reason >&2; exit 5"))
                r = self.fails(b)
                self.assertFalse(os.path.exists(os.path.join(self.trace, "ran")))

    def test_failing_start_container(self):
        b = self.bundle(sh="echo program-ran")
        self.add(b, "startContainer", self.hook("exit 5"))
        r = self.run_bundle(b, check=False)
        self.assertNotEqual(0, r.rc)
        self.assertNotIn("program-ran", r.out)

    @deviates(crun="1.21 goes on; later ones end it")
    def test_failing_poststart_ends_the_container(self):
        """runtime.md since 1.2: "generate an error, stop the container"; before, a warning."""
        b = self.bundle("sleep", "1000")
        self.add(b, "poststart", self.hook("exit 5"))
        cid = self.create(b)
        r = self.runtime("start", cid, check=False)
        self.assertNotEqual(0, r.rc)
        self.assertIn("error running poststart hook #0", r.err)
        self.wait_status(cid, "stopped")

    @deviates(runc="skips later hooks")
    def test_failing_poststop_is_only_a_warning(self):
        b = self.bundle("true")
        self.add(b, "poststop", self.hook("exit 5"), self.hook("echo second > %s/second" % self.trace))
        cid = self.started(b)
        self.wait_status(cid, "stopped")
        self.runtime("delete", cid, check=False)
        self.assertNotEqual(0, self.runtime("state", cid, check=False).rc)
        self.assertEqual("second\n", self.seen("second"))

    def test_hook_killed_by_signal(self):
        self.fails(self.add(self.bundle("true"), "createRuntime", self.hook("kill -KILL $$")))

    def test_timeout(self):
        b = self.add(self.bundle("true"), "createRuntime", self.hook("exec sleep 300", timeout=1))
        started = time.monotonic()
        self.fails(b)
        self.assertLess(time.monotonic() - started, 60)

    @deviates(runc="takes 0 and below as none", crun="takes 0 as none")
    def test_timeout_must_be_positive(self):
        self.fails(self.add(self.bundle("true"), "createRuntime", self.hook("true", timeout=0)))

    def test_hook_that_does_not_read_stdin(self):
        b = self.add(self.bundle("echo", "ok"), "createRuntime", self.hook("exec 0<&-; exit 0"))
        b.config["annotations"] = {"big": "x" * 200000}
        self.assertEqual("ok\n", self.output(b))


if __name__ == "__main__":
    unittest.main()
