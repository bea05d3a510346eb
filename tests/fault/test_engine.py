"""kill -9 at any moment, of any program of the engine: what is left is whole or can be made whole, and nothing stays in the kernel.

After every fault `onggi system check --repair` and then `onggi system check`, which must say clean; then the test looks for itself, without
the engine's help, at directories, links, cgroups, mounts, processes and the runtime's state. The random part prints its seed when it
fails; $ONGGI_SEED repeats it. $ONGGI_ENGINE_OPERATIONS (default 208) sets how many operations the eight clients do together,
$ONGGI_ENGINE_KILLS (default 8) how often each kind of command is killed.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
import unittest

import hostile
import onggi_test
from hostile import HostileTest
from onggi_test import wait_until

OPERATIONS = int(os.environ.get("ONGGI_ENGINE_OPERATIONS", "208"))
KILLS = int(os.environ.get("ONGGI_ENGINE_KILLS", "8"))
SEED = int(os.environ.get("ONGGI_SEED", "0")) or int.from_bytes(os.urandom(4), "little")
CLIENTS = 8
ROUND = 104  # operations between two looks: thirteen of each client


class FaultTest(HostileTest):

    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)

    # --- who is ours ---
    def ours(self):
        """pid -> (start time, command line) of the engine's own programs that work on this test's directories. Programs inside containers
        have neither the directories nor the variables in sight."""
        found = {}
        for pid in os.listdir("/proc"):
            if not pid.isdigit() or int(pid) == os.getpid():
                continue
            with contextlib.suppress(OSError, ValueError):
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    words = f.read()
                with open("/proc/%s/environ" % pid, "rb") as f:
                    environment = f.read()
                if self.run_dir.encode() not in words and ("ONGGI_RUN=" + self.run_dir).encode() not in environment:
                    continue
                if b"onggi" not in os.path.basename(words.split(b"\0")[0]):
                    continue
                with open("/proc/%s/stat" % pid) as f:
                    rest = f.read().rsplit(")", 1)[1].split()
                if rest[0] != "Z":
                    found[int(pid)] = (int(rest[19]), words.replace(b"\0", b" ").decode("utf-8", "replace"))
        return found

    def kill(self, pid, start):
        """The process that was looked at, not a later one of its number."""
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(pid)
            try:
                if onggi_test.process_table().get(pid, (0, 0))[1] == start:
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                    return True
            finally:
                os.close(fd)
        return False

    # --- what is left ---
    def quiet(self):
        """What runs has run: no short command, and every monitor's container lives."""
        wait_until(lambda: not self.transient(), "the engine's short commands have ended", timeout=60, interval=0.1)

    def repair(self):
        self.quiet()
        first = self.onggi("system", "check", "--repair")
        second = self.onggi("system", "check", check=False)
        self.assertEqual((0, "clean\n"), (second.rc, second.out), "after a repair that said:\n" + first.out + second.err)
        return first.out

    def transient(self):
        onggi_test.reap_strangers(None)
        return [w for _, w in self.ours().values() if "monitor" not in w and "health" not in w and "onggi-keeper" not in w]

    def running(self):
        return set(self.onggi("ps", "-q", "--no-trunc").out.split())

    def assert_nothing_stray(self):
        """Compares disk and kernel with what `ps` says, without asking the engine more than that."""
        known, running = set(self.onggi("ps", "-aq", "--no-trunc").out.split()), self.running()
        listed = lambda *path: set(os.listdir(os.path.join(*path))) if os.path.isdir(os.path.join(*path)) else set()  # noqa: E731
        self.assertEqual(known, listed(self.store, "containers"))
        self.assertEqual(set(), listed(self.store, "trash"))
        self.assertLessEqual(listed(self.run_dir, "containers"), known, "live directories of no container")
        for kind in ("names", "ranges"):
            owners = {os.readlink(os.path.join(self.store, kind, n)) for n in listed(self.store, kind)}
            self.assertEqual(known, owners, kind)
        states = {n for n in listed(self.run_dir, "runtime") if re.fullmatch("[0-9a-f]{64}", n)}
        self.assertLessEqual(states, running, "the runtime knows containers that do not run")
        for cid in self.ids() - running:
            self.assertEqual([], [g for g in self.groups_of(cid)], "cgroups of a container that does not run")
        mounts = [m for m in onggi_test.mount_table() if m.startswith(self.run_dir) or m.startswith(self.store)]
        self.assertEqual([], mounts)
        monitors = [w for _, w in self.ours().values() if "monitor" in w]
        self.assertLessEqual(len(monitors), len(running), monitors)
        self.assertEqual(set(), self.strays(running), "processes of containers that do not run")
        for name in listed(self.store, "images", "tmp"):
            self.fail("half-made in images/tmp: " + name)

    def groups_of(self, cid):
        return sorted(g for g in onggi_test.cgroups(cid))

    def strays(self, running):
        """Descendants of this worker inside a namespace of their own that belong to no running container."""
        mine = os.readlink("/proc/self/ns/pid")
        found = set()
        for pid, _ in onggi_test.descendants():
            with contextlib.suppress(OSError):
                if os.readlink("/proc/%d/ns/pid" % pid) == mine:
                    continue
                with open("/proc/%d/cgroup" % pid) as f:
                    text = f.read()
                if not any(cid in text for cid in running):
                    with open("/proc/%d/cmdline" % pid) as f:
                        found.add((pid, f.read().replace("\0", " ")))
        return found

    def recovered(self):
        """Repair, then the look. Containers may end by themselves while one looks, and their ends are then worked on: what is really
        left stays, so a look that finds something is repeated for a while."""
        deadline = time.monotonic() + 10
        while True:
            try:
                said = self.repair()
                self.assert_nothing_stray()
                return said
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def spawn(self, *args):
        return subprocess.Popen([hostile.ONGGI, *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.env)


class Killed(FaultTest):

    def length_of(self, *args):
        begin = time.monotonic()
        self.onggi(*args)
        return time.monotonic() - begin

    def killed_at_random(self, make, after=lambda: None):
        """`make()` gives a command line; it is killed at points spread over the time that it takes."""
        whole = min(2.0, self.length_of(*make()))
        after()
        for n in range(KILLS):
            p = self.spawn(*make())
            time.sleep(whole * (n + self.random.random()) / KILLS)
            p.kill()
            p.wait()
            try:
                self.recovered()
            except AssertionError as e:
                raise AssertionError("seed %d, kill %d of %d: %s" % (SEED, n + 1, KILLS, e)) from e
            after()

    def test_run_is_killed(self):
        self.killed_at_random(lambda: self.run_options("--rm", "-v", "vol:/v") + ["busy", "true"], self.remove_all)

    def test_run_detached_is_killed(self):
        self.killed_at_random(lambda: self.run_options("-d") + ["busy", "sleep", "1000"], self.remove_all)

    def test_create_is_killed(self):
        self.killed_at_random(lambda: ["create", "--cgroup-parent", self.parent, "-v", "/anonymous", "busy", "true"], self.remove_all)

    def test_remove_is_killed(self):
        def make():
            cid = self.onggi(*self.run_options("-d"), "busy", "sleep", "1000").out.strip()
            return ["rm", "-f", cid]
        self.killed_at_random(make, self.remove_all)

    def test_stop_is_killed(self):
        def make():
            cid = self.onggi(*self.run_options("-d"), "busy", "sleep", "1000").out.strip()
            return ["stop", "-t", "1", cid]
        self.killed_at_random(make, self.remove_all)

    def test_exec_is_killed(self):
        """The container goes on, and what was executed inside does not stay for ever."""
        self.background("host", "sleep", "1000")
        whole = self.length_of("exec", "host", "true")
        for n in range(KILLS):
            p = self.spawn("exec", "host", "true")
            time.sleep(whole * (n + self.random.random()) / KILLS)
            p.kill()
            p.wait()
            self.recovered()
            self.assertEqual(1, len(self.running()))
        self.assertEqual("alive\n", self.in_container("host", "echo", "alive").out)

    def test_the_monitor_is_killed(self):
        """Its container may go on or end; it can be seen, removed, and started again."""
        for n in range(max(2, KILLS // 2)):
            cid = self.onggi(*self.run_options("-d", "--name", "m%d" % n), "busy", "sleep", "1000").out.strip()
            monitors = [(pid, start) for pid, (start, words) in self.ours().items() if "monitor" in words]
            self.assertEqual(1, len(monitors), self.ours())
            self.kill(*monitors[0])
            self.recovered()
            self.onggi("restart", "-t", "0", cid)
            self.assertIn(cid, self.running())
            self.assertEqual("alive\n", self.in_container(cid, "echo", "alive").out)
            self.onggi("rm", "-f", cid)
            self.recovered()

    def test_the_last_word_is_killed(self):
        """`internal exited` takes the monitor's place when the container has ended: killed between the end and the record of it."""
        for n in range(KILLS):
            cid = self.onggi(*self.run_options("-d", "--name", "x%d" % n), "busy", "sleep", "1000").out.strip()
            monitor = next((pid, start) for pid, (start, words) in self.ours().items() if "monitor" in words)
            os.kill(self.state_of(cid)["pid"], signal.SIGKILL)
            time.sleep(0.03 * (n + self.random.random()) / KILLS)
            self.kill(*monitor)
            self.recovered()
            self.assertNotIn(cid, self.running())
            state = self.state_of(cid)
            self.assertEqual("exited", state["shown"])
            self.assertIn(state["exitCode"], (137, 255))
            self.onggi("start", cid)
            self.assertIn(cid, self.running())
            self.onggi("rm", "-f", cid)

    def test_the_runtime_is_killed(self):
        """Each onggi-runtime that a pause, an exec or a removal starts, as soon as it is seen."""
        self.background("host", "sleep", "1000")
        killed = 0
        # A runtime lives for some milliseconds: on a busy host a look comes too late, so there are many.
        for n, command in enumerate((["pause", "host"], ["unpause", "host"], ["exec", "host", "true"]) * 30):
            if killed >= 3 and n >= 6:
                break
            p = self.spawn(*command)
            deadline = time.monotonic() + 5
            while p.poll() is None and time.monotonic() < deadline:
                for pid, (start, words) in self.ours().items():
                    if "onggi-runtime" in words.split(" ")[0] and " monitor" not in words:
                        killed += self.kill(pid, start)
            p.kill()
            p.wait()
            self.onggi("unpause", "host", check=False)
            self.recovered()
            self.assertEqual(1, len(self.running()))
        self.assertGreater(killed, 0, "no runtime was ever seen")
        self.assertEqual("alive\n", self.in_container("host", "echo", "alive").out)

    def test_a_paused_container_can_be_ended(self):
        """A frozen process takes no signal: stop, kill and rm -f must not wait for it in vain."""
        for command in (["stop", "-t", "20"], ["kill"], ["rm", "-f"]):
            name = "p" + command[0]
            cid = self.onggi(*self.run_options("-d", "--name", name), "busy", "sleep", "1000").out.strip()
            self.onggi("pause", name)
            self.assertEqual("paused", self.state_of(cid)["shown"])
            self.onggi(*command, name)
            self.assertEqual(set(), self.running())
        self.recovered()

    def test_a_lost_run_directory_is_a_reboot(self):
        """/run is empty after a boot: containers that ran are exited with a reason, names and images are there."""
        cid = self.onggi(*self.run_options("-d", "--name", "old"), "busy", "sleep", "1000").out.strip()
        self.onggi("kill", cid)
        self.onggi("wait", cid)
        shutil.rmtree(self.run_dir)
        self.assertIn("old", self.onggi("ps", "-a").out)
        self.recovered()
        self.onggi("start", "old")
        self.assertEqual({cid}, self.running())


class Client(threading.Thread):
    """One of the eight: random operations, each a process of its own that the killer may meet."""

    def __init__(self, test, number, count):
        super().__init__()
        self.test, self.number, self.count = test, number, count
        self.random = random.Random(SEED * 100 + number)
        self.done, self.problem = {}, None

    def operation(self):
        r, t = self.random, self.test
        c = "c%d" % r.randrange(12)
        v = "v%d" % r.randrange(3)
        image = "busy" if r.random() < 0.8 else "tag%d" % r.randrange(3)
        run = ["run", "--cgroup-parent", t.parent]
        return r.choice([
            run + ["--rm", image, "true"], run + ["--rm", "-v", v + ":/v", image, "/bin/sh", "-c", "echo x > /v/x"],
            run + ["-d", "--name", c, image, "sleep", "1000"], run + ["-d", "--name", c, "--restart", "on-failure:2", image, "false"],
            run + ["-d", "--rm", "--name", c, "-v", v + ":/v", image, "sleep", "0.2"],
            ["create", "--cgroup-parent", t.parent, "--name", c, "-v", "/anonymous", image, "sleep", "1000"], ["start", c], ["start", c], ["stop", "-t", "1", c], ["kill", c],
            ["rm", c], ["rm", "-f", "-v", c], ["rm", "-f", c], ["exec", c, "echo", "x"], ["logs", c], ["ps", "-a"], ["rename", c, "c%d" % r.randrange(12)], ["pause", c],
            ["unpause", c], ["restart", "-t", "0", c], ["inspect", c], ["volume", "create", v], ["volume", "rm", v], ["volume", "ls"], ["tag", "busy", "tag%d" % r.randrange(3)],
            ["rmi", "tag%d" % r.randrange(3)], ["images"], ["wait", c] if r.random() < 0.1 else ["ps", "-q"], ["container", "prune", "-f"] if r.random() < 0.2 else ["ps"]])

    def run(self):
        try:
            for _ in range(self.count):
                argv = self.operation()
                p = subprocess.Popen([hostile.ONGGI, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.test.env)
                try:
                    _, err = p.communicate(timeout=10 if argv[0] == "wait" else 90)
                except subprocess.TimeoutExpired:
                    p.kill()
                    _, err = p.communicate()
                    if argv[0] != "wait":
                        self.problem = "hangs: onggi %s" % " ".join(argv)
                        return
                key = (argv[0], "killed" if p.returncode == -9 else "ok" if p.returncode == 0 else "refused")
                self.done[key] = self.done.get(key, 0) + 1
                text = err.decode("utf-8", "replace")
                # What must never be said, whatever met whatever.
                for word in ("internal error", "malformed", "corrupt", "disk I/O", "database is locked", "assert"):
                    if word in text:
                        self.problem = "onggi %s: %s" % (" ".join(argv), text)
                        return
        except BaseException as e:  # noqa: shown by the test
            self.problem = repr(e)


class Stress(FaultTest):
    """Acceptance: random operations by eight clients at once, with random kill -9 of any program of the engine."""

    def kill_at_random(self, stop, counts):
        random_ = random.Random(SEED + 1)
        while not stop.wait(random_.uniform(0.0, 0.08)):
            candidates = list(self.ours().items())
            if not candidates:
                continue
            pid, (start, words) = random_.choice(candidates)
            if self.kill(pid, start):
                kind = "monitor" if " monitor" in words else "exited" if "internal exited" in words else "runtime" if "onggi-runtime" in words.split(" ")[0] else "onggi"
                counts[kind] = counts.get(kind, 0) + 1

    def reap_orphans(self):
        """As init of a host does, at once. Zombies named onggi may be the clients', who wait for them: those only when seen for long."""
        old, self.zombies = getattr(self, "zombies", {}), {}
        for pid, (parent, start, state, name) in onggi_test.process_table().items():
            if parent != os.getpid() or state != "Z":
                continue
            seen = old.get((pid, start), 0) + 1
            if name in ("onggi", "python3") and seen < 20:
                self.zombies[(pid, start)] = seen
                continue
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def one_round(self, operations, number):
        stop, counts = threading.Event(), {}
        killer = threading.Thread(target=self.kill_at_random, args=(stop, counts))
        clients = [Client(self, number * CLIENTS + n, max(1, operations // CLIENTS)) for n in range(CLIENTS)]
        killer.start()
        for c in clients:
            c.start()
        for c in clients:
            while c.is_alive():
                c.join(0.1)
                self.reap_orphans()
        stop.set()
        killer.join()
        done = {}
        for c in clients:
            self.assertIsNone(c.problem)
            for key, n in c.done.items():
                done[key] = done.get(key, 0) + n
        return done, counts

    def test_random_operations_and_kills(self):
        left, number, total, killed = OPERATIONS, 0, {}, {}
        while left > 0:
            try:
                done, counts = self.one_round(min(left, ROUND), number)
                self.recovered()
            except AssertionError as e:
                raise AssertionError("seed %d, round %d: %s" % (SEED, number, e)) from e
            for key, n in done.items():
                total[key] = total.get(key, 0) + n
            for key, n in counts.items():
                killed[key] = killed.get(key, 0) + n
            left -= ROUND
            number += 1
        print("seed %d: operations %s; killed %s" % (SEED, sorted(total.items()), killed))
        if os.environ.get("ONGGI_STRESS_REPORT"):
            with open(os.environ["ONGGI_STRESS_REPORT"], "w") as f:
                f.write("seed %d, %d rounds: %d operations (%d done, %d refused, %d killed); killed %s\n" %
                        (SEED, number, sum(total.values()), sum(n for (_, k), n in total.items() if k == "ok"), sum(n for (_, k), n in total.items() if k == "refused"),
                         sum(n for (_, k), n in total.items() if k == "killed"), killed))
        # It would prove nothing if most were refused: the mix must have made, run and removed containers, and met kills.
        for command in ("run", "start", "stop", "rm", "exec", "ps"):
            self.assertGreater(total.get((command, "ok"), 0) if OPERATIONS >= 500 else 1, 0, "no %s succeeded: %r" % (command, total))
        self.assertGreater(sum(killed.values()), 0)
        self.remove_all()
        self.recovered()
        self.assertEqual("", self.onggi("ps", "-aq").out)
        self.assertEqual("ok\n", self.attack("echo", "ok").out)


if __name__ == "__main__":
    unittest.main()
