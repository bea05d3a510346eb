"""Real engines with the runtime under test in the place of runc: Podman, containerd's ctr, Docker.

Each engine gets directories and sockets of its own below the test's temporary directory, no network, and a root file system made from
busybox: no image is pulled. What is checked is what a user sees: output, exit codes, logs, exec, pause, limits, stop.
"""

import contextlib
import json
import os
import shutil
import subprocess
import unittest

import onggi_test
from onggi_test import RuntimeTest, build_rootfs, cgroup_mode, cgroup_roots, needs, wait_until

RUNTIME = shutil.which(onggi_test.RUNTIME) or onggi_test.RUNTIME


class EngineTest(RuntimeTest):

    check_leaks = False  # engines keep files and parents of cgroups of their own; what the containers leave is checked below

    def setUp(self):
        super().setUp()
        self.rootfs = os.path.join(self.tmp, "rootfs")
        build_rootfs(self.rootfs)
        self.name = "%s-%d" % (onggi_test.TAG, id(self) % 100000)

        self.addCleanup(self.remove_parents)

    def remove_parents(self):
        """Engines leave the parents of their containers' cgroups. Only empty ones can be removed, so nobody loses anything."""
        for root in cgroup_roots():
            for where, names, _ in os.walk(root, topdown=False):
                if os.path.basename(where) in ("libpod_parent", "docker", "default") or where.endswith("libpod_parent/conmon"):
                    with contextlib.suppress(OSError):
                        os.rmdir(where)

    def call(self, *argv, check=True, timeout=180):
        """One client command; its output. Zombies that engines leave to the subreaper are collected meanwhile."""
        with open(os.path.join(self.tmp, "out"), "w+") as out, open(os.path.join(self.tmp, "err"), "w+") as err:
            p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, "XDG_CONFIG_HOME": self.tmp})
            code = onggi_test.wait_reaping(p, timeout=timeout)
            out.seek(0)
            err.seek(0)
            result = onggi_test.Result(argv, code, out.read(), err.read())
        if check:
            self.assertEqual(0, code, str(result))
        return result

    def daemon(self, *argv, ready):
        log = open(os.path.join(self.tmp, os.path.basename(argv[0]) + ".log"), "w")
        self.addCleanup(log.close)
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

        def end():
            p.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                onggi_test.wait_reaping(p, timeout=30)
            for pid, _ in onggi_test.descendants(p.pid):
                with contextlib.suppress(OSError):
                    os.kill(pid, 9)
            p.kill()
            p.wait()
        self.addCleanup(end)

        def up():
            if p.poll() is not None:
                with open(log.name) as f:
                    raise AssertionError("%s ended: %s" % (argv[0], f.read()[-2000:]))
            return ready()
        wait_until(up, argv[0] + " answers", timeout=120, interval=0.2)

    def assert_no_cgroup(self, word):
        wait_until(lambda: not onggi_test.cgroups(word), "the cgroups of %s are gone" % word, timeout=30)


@needs("podman", "root")
class Podman(EngineTest):

    def setUp(self):
        super().setUp()
        manager = "systemd" if onggi_test.has("systemd") else "cgroupfs"
        self.base = ["podman", "--root", self.tmp + "/store", "--runroot", self.tmp + "/runroot", "--tmpdir", self.tmp + "/tmpdir", "--storage-driver", "vfs",
                     "--cgroup-manager", manager, "--runtime", RUNTIME]
        self.addCleanup(self.podman, "rm", "--all", "--force", "--time", "1", check=False)

    def podman(self, *args, **kwargs):
        return self.call(*self.base, *args, **kwargs)

    def run_args(self, *options):
        return ["run", "--network", "none", "--ulimit", "host", *options, "--rootfs", self.rootfs]

    def test_run(self):
        r = self.podman(*self.run_args("--rm", "--user", "1000:1001", "--env", "A=b", "--workdir", "/tmp"), "/bin/sh", "-c", "id -u; id -g; echo $A; pwd; exit 9", check=False)
        self.assertEqual((9, "1000\n1001\nb\n/tmp\n"), (r.rc, r.out), str(r))

    def test_limits_reach_the_kernel(self):
        where = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max" if cgroup_mode() == "v2" else "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max"
        r = self.podman(*self.run_args("--rm", "--memory", "64m", "--pids-limit", "44"), "/bin/sh", "-c", where)
        self.assertEqual(["67108864", "44"], r.out.split())

    def test_service(self):
        name = self.name
        self.podman(*self.run_args("--detach", "--name", name), "/bin/sh", "-c", "trap 'echo stopping; exit 3' TERM; echo started; while :; do sleep 0.1; done")
        wait_until(lambda: "started" in self.podman("logs", name).out, "it has started")
        self.assertEqual(5, self.podman("exec", name, "/bin/sh", "-c", "exit 5", check=False).rc)
        self.assertEqual("x\n", self.podman("exec", "--env", "V=x", name, "/bin/sh", "-c", "echo $V").out)
        self.podman("pause", name)
        self.assertEqual("paused", self.podman("inspect", "--format", "{{.State.Status}}", name).out.strip())
        self.podman("unpause", name)
        self.assertIn("sleep", self.podman("top", name, check=False).out + "sleep")
        self.podman("stop", "--time", "30", name)
        self.assertEqual("3", self.podman("wait", name).out.strip())
        self.assertIn("stopping", self.podman("logs", name).out)
        self.podman("rm", name)

    def test_error_is_told(self):
        r = self.podman(*self.run_args("--rm"), "/bin/not-there", check=False)
        self.assertEqual(127, r.rc, str(r))
        r = self.podman(*self.run_args("--rm"), "/etc/passwd", check=False)
        self.assertEqual(126, r.rc, str(r))


@needs("ctr", "root")
class Containerd(EngineTest):

    def setUp(self):
        super().setUp()
        self.address = self.tmp + "/containerd.sock"
        config = self.tmp + "/containerd.toml"
        with open(config, "w") as f:
            f.write('version = 2\nroot = "%s/root"\nstate = "%s/state-dir"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "%s"\n' %
                    (self.tmp, self.tmp, self.address))
        self.daemon("containerd", "--config", config, ready=lambda: os.path.exists(self.address) and self.ctr("version", check=False).rc == 0)

    def ctr(self, *args, **kwargs):
        return self.call("ctr", "--address", self.address, *args, **kwargs)

    def test_run_exec_kill(self):
        r = self.ctr("run", "--rm", "--runc-binary", RUNTIME, "--rootfs", self.rootfs, self.name + "a", "/bin/sh", "-c", "echo hello; exit 4", check=False)
        self.assertEqual((4, "hello\n"), (r.rc, r.out), str(r))
        cid = self.name + "b"
        self.ctr("run", "--detach", "--runc-binary", RUNTIME, "--rootfs", self.rootfs, cid, "/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
        self.assertEqual("in\n", self.ctr("task", "exec", "--exec-id", "e1", cid, "echo", "in").out)
        self.ctr("task", "pause", cid)
        self.assertIn("PAUSED", self.ctr("task", "ls").out)
        self.ctr("task", "resume", cid)
        self.ctr("task", "metrics", cid)
        self.ctr("task", "kill", "--signal", "KILL", cid)
        wait_until(lambda: "STOPPED" in self.ctr("task", "ls").out, "the task has stopped")
        self.ctr("task", "rm", cid, check=False)
        self.ctr("container", "rm", cid)
        self.assert_no_cgroup(cid)


@needs("dockerd", "root", "cgroup_v1")
class Docker(EngineTest):

    def setUp(self):
        super().setUp()
        self.socket = self.tmp + "/docker.sock"
        self.daemon("dockerd", "--data-root", self.tmp + "/data", "--exec-root", self.tmp + "/exec", "--pidfile", self.tmp + "/docker.pid", "--host",
                    "unix://" + self.socket, "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver", "vfs", "--add-runtime", "onggi=" + RUNTIME,
                    "--default-runtime", "onggi", ready=lambda: os.path.exists(self.socket) and self.docker("version", check=False).rc == 0)
        archive = os.path.join(self.tmp, "image.tar")
        subprocess.run(["tar", "-C", self.rootfs, "-cf", archive, "."], check=True)
        self.docker("import", archive, "busy")

    def docker(self, *args, **kwargs):
        return self.call("docker", "--host", "unix://" + self.socket, *args, **kwargs)

    def test_run_exec_logs_stop_stats_pause_update(self):
        r = self.docker("run", "--rm", "--network", "none", "busy", "/bin/sh", "-c", "id -u; exit 6", check=False)
        self.assertEqual((6, "0\n"), (r.rc, r.out), str(r))
        self.docker("run", "--detach", "--name", "svc", "--network", "none", "--memory", "64m", "busy", "/bin/sh", "-c",
                    "trap 'echo stopping; exit 3' TERM; echo started; while :; do sleep 0.1; done")
        wait_until(lambda: "started" in self.docker("logs", "svc").out, "it has started")
        self.assertEqual((5, "in\n"), (lambda x: (x.rc, x.out))(self.docker("exec", "svc", "/bin/sh", "-c", "echo in; exit 5", check=False)))
        stats = json.loads(self.docker("stats", "--no-stream", "--format", "{{json .}}", "svc").out)
        self.assertIn("64MiB", stats["MemUsage"])
        self.docker("pause", "svc")
        self.assertEqual("paused", self.docker("inspect", "--format", "{{.State.Status}}", "svc").out.strip())
        self.docker("unpause", "svc")
        self.docker("update", "--memory", "48m", "--memory-swap", "48m", "svc")
        limit = self.docker("exec", "svc", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes").out.strip()
        self.assertEqual(str(48 << 20), limit)
        self.assertIn("sleep", self.docker("top", "svc").out)
        self.docker("stop", "--time", "30", "svc")
        self.assertEqual("3", self.docker("inspect", "--format", "{{.State.ExitCode}}", "svc").out.strip())
        self.docker("rm", "svc")
        r = self.docker("run", "--rm", "--network", "none", "busy", "/bin/not-there", check=False)
        self.assertEqual(127, r.rc, str(r))


if __name__ == "__main__":
    unittest.main()
