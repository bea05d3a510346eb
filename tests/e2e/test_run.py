"""`onggi run`, `exec`, `stop` and their kin as a user meets them: output, exit codes, signals, streams, limits, volumes, restarts."""

import concurrent.futures
import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import unittest

import onggi_test
from engine import PROGRAM, EngineTest
from image_test import worker_runs

needs_transfer = unittest.skipUnless(worker_runs(), "onggi-transfer does not run here")


class Run(EngineTest):
    def test_output_and_exit_code(self):
        out = self.command("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
        self.assertEqual((out.stdout, out.stderr, out.returncode), ("out\n", "err\n", 7))
        self.assertEqual(self.onggi("ps", "-aq"), "")

    def test_codes_of_what_cannot_run(self):
        for init in ("--init=true", "--init=false"):
            self.assertIn("no such file", self.fails("run", "--rm", init, "busybox", "/nothing", code=127).lower())
            self.assertIn("permission denied", self.fails("run", "--rm", init, "busybox", "/etc/passwd", code=126).lower())
        self.assertIn("unknown flag: --nope", self.fails("run", "--nope", "busybox", code=125))
        self.assertEqual(self.command("run", "--rm", "busybox", "sh", "-c", "kill -9 $$").returncode, 137)

    def test_everything_of_a_long_output_arrives(self):
        out = self.command("run", "--rm", "-i", "busybox", "cat", input="x" * 1500000)
        self.assertEqual(len(out.stdout), 1500000)

    def test_dev_stdout_can_be_opened(self):
        self.assertEqual(self.onggi("run", "--rm", "busybox", "sh", "-c", "echo hi > /dev/stdout"), "hi\n")
        self.start("--name", "web")
        self.assertEqual(self.onggi("exec", "web", "sh", "-c", "echo hi > /dev/stdout"), "hi\n")

    def test_environment_user_and_directory(self):
        self.image("defaults", {"Env": ["PATH=/bin", "A=image", "B=image"], "User": "web", "WorkingDir": "/home", "Entrypoint": ["sh", "-c"], "Cmd": ["env"]})
        out = self.onggi("run", "--rm", "-e", "A=mine", "-e", "B", "defaults", "id -u; pwd; echo $A; echo ${B-gone}; echo $HOME")
        self.assertEqual(out.split("\n")[:5], ["1000", "/home", "mine", "gone", "/home"])
        self.assertEqual(self.onggi("run", "--rm", "-u", "0:1000", "-w", "/tmp", "--entrypoint", "", "defaults", "sh", "-c", "id -u; id -g; pwd"), "0\n1000\n/tmp\n")
        self.assertIn("unable to find user nobody-here", self.fails("run", "--rm", "-u", "nobody-here", "busybox", "true", code=125))

    def test_a_name_is_taken_once(self):
        self.start("--name", "web")
        self.assertIn("already in use by container", self.fails("run", "--name", "web", "busybox", "true", code=125))
        self.assertEqual(self.onggi("ps", "-a", "--format", "{{.Names}}"), "web\n")

    def test_cidfile(self):
        path = os.path.join(self.scratch, "cid")
        self.onggi("run", "--rm", "--cidfile", path, "busybox", "true")
        with open(path) as f:
            self.assertRegex(f.read(), "^[0-9a-f]{64}$")
        self.assertIn("container ID file found", self.fails("run", "--cidfile", path, "busybox", "true"))

    def test_unbuilt_options_say_so(self):
        for option in (["--link", "a:b"], ["--volume-driver", "nfs"], ["--gpus", "all"], ["--runtime", "runc"], ["--isolation", "vm"]):
            self.assertRegex(self.fails("run", *option, "busybox", "true", code=125), "not (supported|built)|only container is built")

    def test_signals_reach_the_program(self):
        process = subprocess.Popen([PROGRAM, "run", "--rm", "busybox", "sh", "-c", "trap 'echo got; exit 5' INT; echo ready; while :; do sleep 0.1; done"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=self.environment())
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.communicate(timeout=20)[0], "got\n")
        self.assertEqual(process.returncode, 5)

    def test_terminal_and_detach_keys(self):
        pid, master = pty.fork()
        if pid == 0:
            os.execve(PROGRAM, [PROGRAM, "run", "--name", "tty", "-it", "busybox", "sh"], self.environment())
        text = b""

        def expect(what):
            nonlocal text
            end = time.monotonic() + 20
            while what not in text:
                self.assertGreater(end, time.monotonic(), text)
                if select.select([master], [], [], 0.2)[0]:
                    text += os.read(master, 4096)
        expect(b"#")
        os.write(master, b"stty rows 33 cols 44; tty; echo $((40+2))\n")
        expect(b"/dev/pts/0")
        expect(b"42")
        os.write(master, b"\x10\x11")  # ctrl-p ctrl-q
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        os.close(master)
        self.assertTrue(self.inspect("tty")["State"]["Running"])

    @needs_transfer
    def test_default_image_comes_along(self):
        self.assertEqual(self.onggi("run", "--rm", "onggi/base", "echo", "base"), "base\n")


class Life(EngineTest):
    def test_stop_asks_first(self):
        self.start("--name", "web", command=("sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"))
        self.wait_for(lambda: "up" in self.onggi("logs", "web"), "the program's first word")
        self.onggi("stop", "web")
        state = self.inspect("web")["State"]
        self.assertEqual((state["Status"], state["ExitCode"]), ("exited", 3))
        self.assertEqual(self.onggi("logs", "web"), "up\nbye\n")

    def test_stop_does_not_wait_for_a_deaf_pid_1(self):
        self.start("--name", "deaf", "--init=false", "--stop-timeout", "60", command=("sleep", "1000"))
        self.onggi("stop", "deaf")  # the fixture's time limit is shorter than the stop timeout
        self.assertEqual(self.inspect("deaf")["State"]["ExitCode"], 137)

    def test_start_again_keeps_the_files(self):
        self.onggi("run", "--name", "once", "busybox", "sh", "-c", "echo x >> /count; wc -l < /count")
        self.assertEqual(self.onggi("start", "-a", "once").strip(), "2")
        self.assertEqual(self.onggi("start", "-a", "once").strip(), "3")

    def test_restart_policy_counts(self):
        self.onggi("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo run; exit 4")
        self.wait_for(lambda: self.inspect("again")["State"]["Status"] == "exited", "the end of all restarts")
        self.assertEqual(self.onggi("logs", "again"), "run\n" * 3)
        self.assertEqual(self.inspect("again")["RestartCount"], 2)

    def test_a_stopped_container_is_not_restarted(self):
        self.start("--name", "keep", "--restart", "always")
        self.onggi("stop", "-t", "0", "keep")
        time.sleep(0.5)
        self.assertEqual(self.inspect("keep")["State"]["Status"], "exited")

    def test_killed_is_restarted(self):
        self.start("--name", "keep", "--restart", "always")
        first = self.inspect("keep")["State"]["Pid"]
        os.kill(first, signal.SIGKILL)
        self.wait_for(lambda: self.inspect("keep")["State"]["Pid"] not in (0, first), "the second run")

    def test_after_a_reboot(self):
        """Every process gone and RUN empty is what a boot leaves; `internal recover` is what the systemd unit runs."""
        self.start("--name", "always", "--restart", "always")
        self.start("--name", "never")
        for name in ("always", "never"):
            with open(os.path.join(self.run_dir, "containers", self.inspect(name)["Id"], "state.json")) as f:
                state = json.load(f)
            os.kill(state["monitor"], signal.SIGKILL)
            os.kill(state["pid"], signal.SIGKILL)
            for pid in (state["monitor"], state["pid"]):  # orphans are this process's (subreaper)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
            for cgroup in onggi_test.cgroups(self.inspect(name)["Id"]):
                os.rmdir(cgroup)
        subprocess.run(["rm", "-rf", self.run_dir], check=True)
        self.onggi("internal", "recover")
        self.assertEqual(self.inspect("always")["State"]["Status"], "running")
        self.assertEqual(self.inspect("never")["State"]["Status"], "exited")

    def test_wait_and_rename(self):
        self.start("--name", "old", command=("sh", "-c", "sleep 0.3; exit 9"))
        self.onggi("rename", "old", "new")
        self.assertEqual(self.onggi("wait", "new"), "9\n")
        self.assertIn("No such container: old", self.fails("inspect", "old").replace("object", "container"))

    def test_pause(self):
        self.start("--name", "web", command=("sh", "-c", "while :; do echo tick; sleep 0.05; done"))
        self.onggi("pause", "web")
        self.assertIn("(Paused)", self.onggi("ps"))
        before = self.onggi("logs", "web")
        time.sleep(0.3)
        self.assertEqual(self.onggi("logs", "web"), before)
        self.onggi("unpause", "web")
        self.wait_for(lambda: len(self.onggi("logs", "web")) > len(before), "output after unpause")

    def test_remove_needs_force_while_it_runs(self):
        self.start("--name", "web")
        self.assertIn("container is running", self.fails("rm", "web", code=1))
        self.onggi("rm", "-f", "web")
        self.assertEqual(self.onggi("ps", "-aq"), "")


class Exec(EngineTest):
    def test_streams_codes_and_identity(self):
        self.start("--name", "web", "-e", "A=1")
        out = self.command("exec", "-e", "B=2", "web", "sh", "-c", "echo $A$B; id -u; echo e >&2; exit 6")
        self.assertEqual((out.stdout, out.stderr, out.returncode), ("12\n0\n", "e\n", 6))
        self.assertEqual(self.onggi("exec", "-u", "web", "web", "id", "-u"), "1000\n")
        self.assertEqual(len(self.command("exec", "-i", "web", "cat", input="y" * 700000).stdout), 700000)
        self.fails("exec", "web", "/nothing", code=127)
        self.fails("exec", "web", "/etc/passwd", code=126)
        self.assertIn("No such container", self.fails("exec", "nobody", "true", code=1))

    def test_the_profile_holds_for_it(self):
        self.start("--name", "web")
        script = "grep -E 'NoNewPrivs|^Seccomp:|CapBnd' /proc/self/status"
        inside = self.onggi("exec", "web", "sh", "-c", script)
        self.assertEqual(inside, self.onggi("run", "--rm", "busybox", "sh", "-c", script))
        self.assertIn("NoNewPrivs:\t1", inside)

    def test_not_in_a_stopped_one(self):
        self.onggi("run", "--name", "done", "busybox", "true")
        self.assertIn("is not running", self.fails("exec", "done", "true", code=1))


class Logs(EngineTest):
    def test_rotation_keeps_whole_lines_and_a_bound(self):
        self.onggi("run", "--name", "talk", "--log-opt", "max-size=60k", "--log-opt", "max-file=3", "busybox", "sh", "-c",
                   "i=0; while [ $i -lt 4000 ]; do echo line $i; i=$((i+1)); done", stdin=subprocess.DEVNULL)
        directory = os.path.join(self.root, "containers", self.inspect("talk")["Id"])
        self.wait_for(lambda: {"log.1.gz", "log.2.gz"} <= set(os.listdir(directory)), "compressed files")
        lines = self.onggi("logs", "talk").split("\n")[:-1]
        self.assertEqual(lines, ["line %d" % n for n in range(4000 - len(lines), 4000)])
        self.assertLess(len(lines), 4000)
        self.assertLess(sum(os.path.getsize(os.path.join(directory, n)) for n in os.listdir(directory) if n.startswith("log")), 3 * 61440)

    def test_follow_tail_since(self):
        self.start("--name", "tick", command=("sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done"))
        self.assertEqual(self.onggi("logs", "-f", "tick"), "1\n2\n3\n4\n5\n")
        self.assertEqual(self.onggi("logs", "-n", "2", "tick"), "4\n5\n")
        stamped = self.onggi("logs", "-t", "tick").split("\n")
        self.assertRegex(stamped[0], r"^\d{4}-\d\d-\d\dT[\d:.]+Z 1$")
        self.assertEqual(self.onggi("logs", "--since", stamped[3].split(" ")[0], "tick"), "4\n5\n")
        self.assertEqual(self.onggi("logs", "--until", stamped[1].split(" ")[0], "tick"), "1\n2\n")
        self.assertIn("keeps no log", self.fails("logs", self.start("--log-driver", "none")))

    def test_a_damaged_log_is_read_around(self):
        self.onggi("run", "--name", "talk", "busybox", "echo", "whole")
        path = os.path.join(self.root, "containers", self.inspect("talk")["Id"], "log")
        with open(path, "a") as f:
            f.write('{"log":"half\n\x00garbage\n')
        self.assertEqual(self.onggi("logs", "talk"), "whole\n")


class Health(EngineTest):
    def probe(self, *options):
        self.onggi("rm", "-f", "web")
        self.start("--name", "web", "--health-interval", "100ms", "--health-retries", "2", *options, command=("httpd", "-f", "-p", "8080", "-h", "/etc"))
        return lambda: self.inspect("web")["State"]["Health"]["Status"]

    def test_each_kind(self):
        for option in ("--health-http=:8080/passwd", "--health-tcp=8080", "--health-cmd=wget -q -O /dev/null http://127.0.0.1:8080/passwd"):
            status = self.probe(option)
            self.wait_for(lambda: status() == "healthy", option)
        for option in ("--health-http=:8080/missing", "--health-tcp=81", "--health-unix=/missing", "--health-cmd=exit 1"):
            status = self.probe(option)
            self.wait_for(lambda: status() == "unhealthy", option)

    def test_unhealthy_is_restarted_or_stopped(self):
        self.probe("--health-tcp=81", "--on-unhealthy", "stop")
        self.wait_for(lambda: self.inspect("web")["State"]["Status"] == "exited", "the stop")
        first = None
        self.probe("--health-tcp=81", "--on-unhealthy", "restart")
        first = self.inspect("web")["State"]["StartedAt"]
        self.wait_for(lambda: self.inspect("web")["State"]["StartedAt"] != first, "the restart")


class Files(EngineTest):
    def test_named_volume(self):
        self.onggi("volume", "create", "data")
        self.onggi("run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo kept > /d/f; chown 1000:1000 /d/f")
        self.assertEqual(self.onggi("run", "--rm", "-v", "data:/d:ro", "busybox", "sh", "-c", "cat /d/f; stat -c %u /d/f; touch /d/g || echo read-only"),
                         "kept\n1000\nread-only\n")
        self.assertIn("volume is in use", self.fails("volume", "rm", "data") if self.start("-v", "data:/d") else "")

    def test_a_new_volume_has_what_the_image_has(self):
        self.onggi("run", "--rm", "-v", "etc:/etc", "busybox", "true")
        self.assertIn("web:x:1000", self.onggi("run", "--rm", "-v", "etc:/x", "busybox", "cat", "/x/passwd"))
        self.assertEqual(self.onggi("run", "--rm", "-v", "empty:/etc:nocopy", "busybox", "ls", "/etc").split(), ["hostname", "hosts", "resolv.conf"])

    def test_anonymous_volumes_go_with_rm(self):
        self.onggi("run", "--rm", "-v", "/d", "busybox", "true")
        self.assertEqual(self.onggi("volume", "ls", "-q"), "")

    def test_host_directory_of_root_needs_a_word(self):
        directory = os.path.join(self.scratch, "host")
        os.mkdir(directory)
        os.chown(directory, 0, 0)
        self.assertIn("belongs to the host's root", self.fails("run", "--rm", "-v", directory + ":/h", "busybox", "true"))
        self.onggi("run", "--rm", "-v", directory + ":/h:squash", "busybox", "touch", "/h/f")
        self.assertEqual(os.stat(os.path.join(directory, "f")).st_uid, 0)
        os.chown(directory, 4242, 4242)
        self.onggi("run", "--rm", "-v", directory + ":/h", "busybox", "touch", "/h/g")
        self.assertEqual(os.stat(os.path.join(directory, "g")).st_uid, 4242)

    def test_writable_layer_is_bounded(self):
        out = self.onggi("run", "--rm", "--storage-opt", "size=16m", "busybox", "sh", "-c", "dd if=/dev/zero of=/f bs=1M count=64 2>&1; stat -c %s /f")
        self.assertIn("No space left on device", out)
        self.assertLess(int(out.strip().split("\n")[-1]), 16 << 20)
        self.assertIn("8 MiB", self.fails("run", "--rm", "--storage-opt", "size=1m", "busybox", "true"))

    def test_read_only_and_tmpfs(self):
        out = self.onggi("run", "--rm", "--read-only", "--tmpfs", "/t:size=1m", "busybox", "sh", "-c", "touch /x || echo no; touch /t/x && df -k /t | tail -1")
        self.assertIn("no\n", out)
        self.assertIn(" 1024 ", out)

    @needs_transfer
    def test_commit_and_run(self):
        self.onggi("run", "--name", "changed", "busybox", "sh", "-c", "echo new > /etc/new; rm /bin/yes; mkdir -p /a/b; chown 1000:1000 /a")
        self.onggi("commit", "-c", 'CMD ["cat","/etc/new"]', "changed", "mine:1")
        self.assertEqual(self.onggi("run", "--rm", "mine:1"), "new\n")
        out = self.onggi("run", "--rm", "mine:1", "sh", "-c", "stat -c '%u %g' /a; test -e /bin/yes || echo gone")
        self.assertEqual(out, "1000 1000\ngone\n")


class ManyAtOnce(EngineTest):
    def test_short_runs_lose_no_output(self):
        """A program that ends at once, by many commands at once: each gets its output, and no sweeper takes a container that is just being made."""
        def runs(thread):
            return [self.command("run", "--rm", "busybox", "echo", "%d.%d" % (thread, n)) for n in range(30)]

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            results = list(pool.map(runs, range(6)))
        for thread, outs in enumerate(results):
            for n, out in enumerate(outs):
                self.assertEqual((out.stdout, out.stderr, out.returncode), ("%d.%d\n" % (thread, n), "", 0))


class Namespaces(EngineTest):
    def test_ids_are_a_range_of_their_own(self):
        maps = [self.onggi("run", "--rm", "busybox", "cat", "/proc/self/uid_map").split() for _ in range(2)]
        for m in maps:
            self.assertEqual((m[0], m[2]), ("0", "65536"))
            self.assertGreater(int(m[1]), 1 << 30)
        self.assertNotEqual(maps[0][1], maps[1][1])

    def test_join_another_container(self):
        self.start("--name", "first")
        mine = self.onggi("exec", "first", "readlink", "/proc/self/ns/net")
        self.assertEqual(self.onggi("run", "--rm", "--network", "container:first", "busybox", "readlink", "/proc/self/ns/net"), mine)
        out = self.onggi("run", "--rm", "--pid", "container:first", "busybox", "ps")
        self.assertIn("sleep 1000", out)
        self.onggi("stop", "-t", "0", "first")
        self.assertIn("not running", self.fails("run", "--rm", "--network", "container:first", "busybox", "true"))

    def test_host_network(self):
        self.assertEqual(self.onggi("run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net").strip(), os.readlink("/proc/self/ns/net"))

    def test_limits(self):
        self.start("--name", "web", "-m", "64m", "--pids-limit", "20", "--cpus", "0.5", "--ulimit", "nofile=100:200")
        text = self.onggi("inspect", "--isolation", "web")
        self.assertRegex(text, r"memory +64MiB")
        self.assertRegex(text, r"pids +20\b")
        self.assertRegex(text, r"open files +100 \(hard 200\)")
        self.assertRegex(self.onggi("exec", "web", "sh", "-c", "ulimit -n"), "^100$")

    def test_nofork_beyond_the_limit(self):
        out = self.command("run", "--rm", "--pids-limit", "12", "busybox", "sh", "-c",
                           "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 5 & done; echo never")
        self.assertTrue(re.search("can't fork|Resource temporarily unavailable", out.stderr), out.stderr)


class Rootless(EngineTest):
    """An ordinary user: needs a user with ranges in /etc/subuid; made here when there is none, removed afterwards."""
    IMAGE = None

    @needs_transfer
    def test_as_a_user(self):
        name = "onggitest%d" % os.getpid()
        made = subprocess.run(["useradd", "--create-home", "--home-dir", os.path.join(self.scratch, "home"), name], stderr=subprocess.PIPE, text=True)
        if made.returncode:
            self.skipTest("needs useradd: " + made.stderr.strip())
        self.addCleanup(subprocess.run, ["userdel", name], stderr=subprocess.DEVNULL)
        os.chmod(self.scratch, 0o755)
        place = os.path.join(self.scratch, "place")
        build = os.path.dirname(os.path.dirname(PROGRAM))
        for part in ("bin/onggi", "bin/onggi-runtime", "libexec/onggi"):
            os.makedirs(os.path.dirname(os.path.join(place, part)), exist_ok=True)
            subprocess.run(["cp", "-r", os.path.join(build, part), os.path.join(place, part)], check=True)
        subprocess.run(["chmod", "-R", "a+rX", place], check=True)
        script = "export ONGGI_ROOT=$HOME/r ONGGI_RUN=$HOME/n; O=%s/bin/onggi; " % place + \
            "$O run --rm onggi/base sh -c 'id -u; wc -l < /proc/self/uid_map; touch /x && stat -c %u /x' && $O run -d --name web onggi/base sleep 100 >/dev/null && " \
            "$O exec web echo inside && $O stop -t 1 web && $O rm web && $O ps -aq && $O system check"
        out = subprocess.run(["su", name, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertEqual(out.stdout.split("\n"), ["0", "2", "0", "inside", "web", "web", "clean", ""])
