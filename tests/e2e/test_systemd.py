"""On a host with systemd and cgroup v2: where cgroups are and who owns them, the end of memory, pressure, journald, an ordinary user.

The reboot is tests/vm/reboot.py's, since a test cannot survive one.
"""

import json
import os
import pwd
import re
import subprocess

from engine import PROGRAM, EngineTest
from image_test import worker_runs
from onggi_test import needs

TREE = "/sys/fs/cgroup"
UNIT = "/onggi.slice/onggi.service"


def read(path):
    with open(path) as f:
        return f.read().strip()


def unit(field, *options):
    return subprocess.run(["systemctl", *options, "show", "--property", field, "--value", "onggi.service"], stdout=subprocess.PIPE, text=True).stdout.strip()


@needs("systemd", "cgroup_v2")
class Cgroups(EngineTest):
    def cgroup_of(self, pid):
        return read("/proc/%d/cgroup" % pid).split("::")[1]

    def test_a_delegated_unit_holds_them(self):
        self.start("--name", "web", "-m", "64m")
        inspected = self.inspect("web")
        self.assertEqual(self.cgroup_of(inspected["State"]["Pid"]), UNIT + "/" + inspected["Id"])
        with open(os.path.join(self.run_dir, "containers", inspected["Id"], "state.json")) as f:
            self.assertEqual(self.cgroup_of(json.load(f)["monitor"]), UNIT + "/monitors")
        self.assertEqual((unit("Delegate"), unit("ActiveState"), unit("OOMPolicy"), unit("TasksMax")), ("yes", "active", "continue", "infinity"))
        total = int(re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo")).group(1)) * 1024
        self.assertAlmostEqual(int(read(TREE + UNIT + "/memory.max")) / total, 0.9, 2)
        # systemd goes over everything that is its own; what is delegated stays as it was made.
        for words in (["daemon-reload"], ["set-property", "--runtime", "onggi.slice", "CPUWeight=100"]):
            subprocess.run(["systemctl", *words], check=True)
        where = TREE + UNIT + "/" + inspected["Id"]
        self.assertEqual((read(where + "/memory.max"), read(where + "/memory.oom.group"), read(where + "/pids.max")), (str(64 << 20), "1", "1024"))
        self.assertIn("memory", read(TREE + UNIT + "/cgroup.subtree_control").split())
        self.assertIn("all containers      at most", self.onggi("inspect", "--isolation", "web"))
        self.assertIn("CgroupDriver: systemd", self.onggi("info"))
        self.onggi("rm", "-f", "web")
        self.wait_for(lambda: not os.path.exists(where), "its cgroup goes")

    def test_a_start_after_the_unit_lost_its_cgroup(self):
        """systemd removes the cgroup of a unit without processes; the next start asks for it again, with its limit."""
        for _ in range(2):
            self.onggi("run", "--rm", "busybox", "true")
            limit = TREE + UNIT + "/memory.max"
            if not os.path.exists(limit) or "populated 0" in read(TREE + UNIT + "/cgroup.events"):
                self.start("--name", "web")
                self.assertNotEqual(read(limit), "max")
                self.onggi("rm", "-f", "web")

    def test_all_of_it_ends_with_one_that_takes_too_much(self):
        out = self.command("run", "--name", "greedy", "-m", "20m", "--init=false", "busybox", "sh", "-c", "tail /dev/zero & wait; echo survived; sleep 100")
        self.assertEqual((out.returncode, out.stdout), (137, ""))
        state = self.inspect("greedy")["State"]
        self.assertTrue(state["OOMKilled"])
        why = self.onggi("why", "greedy")
        self.assertIn("out of memory: the kernel killed", why)
        self.assertIn("its own cgroup", why)
        self.assertRegex(why, r"memory stalls +avg10=")
        self.assertEqual(unit("ActiveState"), "active")  # one container's end is not the unit's

    def test_pressure_is_told(self):
        """A container that is held at a tenth of a processor stalls on it, and `why` says so."""
        self.start("--name", "slow", "--cpus", "0.1", command=("sh", "-c", "while :; do :; done"))

        def stalled():
            found = re.search(r"cpu stalls .*total=(\d+)", self.onggi("why", "slow"))
            return found and int(found.group(1)) > 100_000
        self.wait_for(stalled, "a tenth of a second of stalls", 60)
        self.assertIn("held back for", self.onggi("why", "slow"))
        self.onggi("stop", "-t", "0", "slow")
        evidence = json.loads(self.onggi("why", "-f", "json", "slow"))["Evidence"]
        self.assertRegex(evidence["cpuPressure"], r"avg10=\d+\.\d+ .*total=\d{6}")

    def test_stats_pause_update(self):
        self.start("--name", "web", "-m", "64m", "--cpu-shares", "512", "--pids-limit", "20")
        where = TREE + self.cgroup_of(self.inspect("web")["State"]["Pid"])
        self.onggi("pause", "web")
        self.assertEqual(read(where + "/cgroup.freeze"), "1")
        self.assertEqual(self.inspect("web")["State"]["Status"], "paused")
        self.onggi("unpause", "web")
        self.assertEqual(read(where + "/cgroup.freeze"), "0")
        before = read(where + "/cpu.weight")
        self.onggi("update", "-m", "96m", "--cpus", "1.5", "--cpu-shares", "2048", "--pids-limit", "30", "web")
        self.assertEqual((read(where + "/memory.max"), read(where + "/cpu.max"), read(where + "/pids.max")), (str(96 << 20), "150000 100000", "30"))
        self.assertGreater(int(read(where + "/cpu.weight")), int(before))
        stats = json.loads(self.onggi("stats", "--no-stream", "--format", "{{json .}}", "web"))
        self.assertIn("/ 96MiB", stats["MemUsage"])
        self.assertGreaterEqual(int(stats["PIDs"]), 1)

    def test_a_parent_of_ones_own(self):
        """--cgroup-parent is taken as it is given."""
        parent = "/onggitest-%d" % os.getpid()
        self.addCleanup(lambda: os.path.isdir(TREE + parent) and os.rmdir(TREE + parent))
        self.start("--name", "web", "--cgroup-parent", parent)
        self.assertEqual(self.cgroup_of(self.inspect("web")["State"]["Pid"]), "%s/%s" % (parent, self.inspect("web")["Id"]))
        self.onggi("rm", "-f", "web")
        # Its cgroup goes with the sweeper, which nobody waits for.
        self.wait_for(lambda: not [e for e in os.scandir(TREE + parent) if e.is_dir()], "the sweeper", 60)


@needs("systemd")
class Journal(EngineTest):
    def test_lines_arrive_and_come_back(self):
        name = "log%d" % os.getpid()
        self.onggi("run", "--name", name, "--log-driver", "journald", "busybox", "sh", "-c", "echo to out; echo to err >&2; printf 'no end'")
        number = self.inspect(name)["Id"]

        def entries():
            out = subprocess.run(["journalctl", "-o", "json", "CONTAINER_ID_FULL=" + number], stdout=subprocess.PIPE, text=True).stdout
            return [json.loads(line) for line in out.splitlines()]
        self.wait_for(lambda: len(entries()) == 3, "three entries in the journal")
        found = {(e["MESSAGE"], e["PRIORITY"]) for e in entries()}
        self.assertEqual(found, {("to out", "6"), ("to err", "3"), ("no end", "6")})
        self.assertEqual({(e["CONTAINER_NAME"], e["CONTAINER_ID"]) for e in entries()}, {(name, number[:12])})
        self.assertEqual(sorted(self.onggi("logs", name).splitlines()), ["no end", "to err", "to out"])
        self.assertEqual(self.onggi("logs", "--tail", "1", name).strip(), entries()[-1]["MESSAGE"])
        self.assertIn("journald", self.onggi("inspect", "-f", "{{.HostConfig.LogConfig.Type}}", name))


@needs("systemd", "cgroup_v2")
class OrdinaryUser(EngineTest):
    """A user with a manager of its own (`loginctl enable-linger` makes one without a login)."""
    IMAGE = None

    def setUp(self):
        super().setUp()
        if not worker_runs():
            self.skipTest("onggi-transfer does not run here")
        self.name = "onggiuser%d" % os.getpid()
        made = subprocess.run(["useradd", "--create-home", "--home-dir", os.path.join(self.scratch, "home"), self.name], stderr=subprocess.PIPE, text=True)
        if made.returncode:
            self.skipTest("needs useradd: " + made.stderr.strip())
        self.addCleanup(self.remove_user)
        self.uid = pwd.getpwnam(self.name).pw_uid
        os.chmod(self.scratch, 0o755)
        self.place = os.path.join(self.scratch, "place")
        build = os.path.dirname(os.path.dirname(PROGRAM))
        for part in ("bin/onggi", "bin/onggi-runtime", "libexec/onggi"):
            os.makedirs(os.path.dirname(os.path.join(self.place, part)), exist_ok=True)
            subprocess.run(["cp", "-r", os.path.join(build, part), os.path.join(self.place, part)], check=True)
        subprocess.run(["chmod", "-R", "a+rX", self.place], check=True)

    def remove_user(self):
        subprocess.run(["loginctl", "disable-linger", self.name], stderr=subprocess.DEVNULL)
        subprocess.run(["systemctl", "stop", "user@%d.service" % self.uid], stderr=subprocess.DEVNULL)
        subprocess.run(["userdel", self.name], stderr=subprocess.DEVNULL)

    def as_user(self, script):
        """Output of the script, with $O for the program; the user's own manager is found without a login's environment."""
        words = "unset XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS; export ONGGI_ROOT=$HOME/r ONGGI_RUN=$HOME/n O=%s/bin/onggi; %s" % (self.place, script)
        out = subprocess.run(["su", self.name, "-c", words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        return out.stdout

    def test_limits_and_all_that_needs_a_cgroup(self):
        subprocess.run(["loginctl", "enable-linger", self.name], check=True)
        self.wait_for(lambda: os.path.exists("/run/user/%d/bus" % self.uid), "the user's manager runs", 120)
        out = self.as_user("$O run -d --name web -m 48m --pids-limit 33 --network none onggi/base sleep 1000 2>/dev/null; cat /proc/$($O inspect -f '{{.State.Pid}}' web)/cgroup")
        number, cgroup = out.split()
        self.assertEqual(cgroup, "0::/user.slice/user-%d.slice/user@%d.service%s/%s" % (self.uid, self.uid, UNIT, number))
        where = TREE + cgroup.split("::")[1]
        self.assertEqual((read(where + "/memory.max"), read(where + "/pids.max"), read(where + "/memory.oom.group")), (str(48 << 20), "33", "1"))
        # Another session of the same user: the process that enters has to be moved, too.
        self.assertEqual(self.as_user("$O exec web sh -c 'cat /sys/fs/cgroup/memory.max; grep -c . /sys/fs/cgroup/cgroup.procs'").split()[0], str(48 << 20))
        self.as_user("$O pause web")
        self.assertEqual(read(where + "/cgroup.freeze"), "1")
        self.assertIn("/ 48MiB", self.as_user("$O unpause web >/dev/null; $O stats --no-stream web"))
        self.as_user("$O update -m 40m web")
        self.assertEqual(read(where + "/memory.max"), str(40 << 20))
        self.assertRegex(self.as_user("$O inspect --isolation web"), r"memory +40MiB")
        self.assertIn("clean", self.as_user("$O rm -f web >/dev/null; $O system check"))

    def test_without_a_manager_it_says_so(self):
        """A process of the user that belongs to no login: no cgroup can be had, so no limit holds, and `run` says what would help."""
        self.assertFalse(os.path.exists("/run/user/%d/systemd/private" % self.uid))
        script = "export HOME=%s ONGGI_ROOT=%s/r ONGGI_RUN=%s/n; unset XDG_RUNTIME_DIR; %s/bin/onggi run --rm -m 48m --network none onggi/base echo ran" % (
            (os.path.join(self.scratch, "home"),) * 3 + (self.place,))
        out = subprocess.run(["setpriv", "--reuid", str(self.uid), "--regid", str(pwd.getpwnam(self.name).pw_gid), "--clear-groups", "sh", "-c", script],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
        self.assertEqual((out.returncode, out.stdout), (0, "ran\n"), out.stderr)
        self.assertIn("loginctl enable-linger", out.stderr)
