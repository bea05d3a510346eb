"""Engines side by side for bench/run, bench/density and bench/neighbours: onggi, Docker and Podman of this machine, each with a store of its own.

Owns: a mount namespace of its own whose /sys/fs/cgroup has no v2 tree (crun refuses a host that has both), a temporary directory, a dockerd
that ends with it, and the image "busy" (busybox, the probe and the hostile program) in every store. Everything is removed at the end.
What is compared is what a user of each engine would type; networks are none, so no engine pays for one.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TREE, "tests/lib"))
sys.dont_write_bytecode = True
import engine  # noqa: E402 - the path is set above
import hostile  # noqa: E402
import onggi_test  # noqa: E402

CONFIG = {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin:/usr/bin"]}


def enter_private_mounts():
    """Once, before anything else: re-executes the program in a mount namespace of its own. As bench/start."""
    if os.geteuid() != 0:
        sys.exit("bench: needs root")
    if os.environ.get("ONGGI_BENCH_INSIDE") != "1":
        os.environ["ONGGI_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, "-B", *sys.argv])
    if onggi_test.cgroup_mode() == "v2" or not os.path.isdir("/sys/fs/cgroup/unified"):
        return
    with tempfile.TemporaryDirectory(prefix="onggi-bench-cgroup-") as view:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "cgroup", view], check=True)
        for name in os.listdir("/sys/fs/cgroup"):
            if name != "unified":
                os.mkdir(os.path.join(view, name))
                subprocess.run(["mount", "--bind", os.path.join("/sys/fs/cgroup", name), os.path.join(view, name)], check=True)
        subprocess.run(["mount", "--rbind", view, "/sys/fs/cgroup"], check=True)
        subprocess.run(["umount", "--lazy", view], check=True)


def spawn(argv, environment, error):
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
               (os.POSIX_SPAWN_OPEN, 2, error, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)]
    return os.posix_spawnp(argv[0], argv, environment, file_actions=actions)


class Engine:
    """One engine: `argv(words)` is a command line; the words are docker's."""
    name = ""

    def __init__(self, tmp):
        self.tmp = os.path.join(tmp, self.name)
        os.makedirs(self.tmp)
        self.environment = {"PATH": os.environ["PATH"], "HOME": self.tmp}

    def argv(self, *words):
        raise NotImplementedError

    def run_words(self, *options):
        return ["run", "--network", "none", *options]

    def call(self, *words, check=True):
        p = subprocess.run(self.argv(*words), env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if check and p.returncode:
            sys.exit("bench: %s: %s\n%s" % (self.name, " ".join(words), p.stderr[-1000:]))
        return p.stdout

    def timed(self, *words):
        """Wall seconds of one command that must succeed, output thrown away."""
        error = os.path.join(self.tmp, "stderr")
        begin = time.perf_counter()
        pid = spawn(self.argv(*words), self.environment, error)
        _, status, _ = os.wait4(pid, 0)
        wall = time.perf_counter() - begin
        if status:
            with open(error) as f:
                sys.exit("bench: %s %s failed: %s" % (self.name, " ".join(words), f.read()[-500:]))
        return wall

    def processes(self):
        """Pids of the engine's own that stay beside containers; the programs inside are not among them."""
        raise NotImplementedError

    def remove_all(self):
        ids = self.call("ps", "-aq", check=False).split()
        if ids:
            self.call("rm", "-f", *ids, check=False)

    def close(self):
        self.remove_all()


def pids_with(*needles):
    found = []
    for pid in os.listdir("/proc"):
        if pid.isdigit() and int(pid) != os.getpid():
            with contextlib.suppress(OSError), open("/proc/%s/cmdline" % pid, "rb") as f:
                words = f.read()
                if any(n.encode() in words for n in needles):
                    found.append(int(pid))
    return found


def pss_kb(pids):
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open("/proc/%d/smaps_rollup" % pid) as f:
            for line in f:
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total


class Onggi(Engine):
    name = "onggi"

    def __init__(self, tmp, tree, archive):
        super().__init__(tmp)
        self.environment.update(ONGGI_ROOT=self.tmp + "/root", ONGGI_RUN=self.tmp + "/run")
        self.call("ps")
        subprocess.run([engine.IMPORTER, self.tmp + "/root", "busy", json.dumps(CONFIG), tree], check=True, stdout=subprocess.DEVNULL)

    def argv(self, *words):
        return [engine.PROGRAM, *words]

    def processes(self):
        return [p for p in pids_with(self.tmp + "/run") if "onggi" in os.path.basename(os.readlink("/proc/%d/exe" % p))]


class Podman(Engine):
    name = "podman"

    def __init__(self, tmp, tree, archive):
        super().__init__(tmp)
        self.call("import", archive, "busy")

    def argv(self, *words):
        return ["podman", "--root", self.tmp + "/store", "--runroot", self.tmp + "/runroot", "--tmpdir", self.tmp + "/tmpdir", "--cgroup-manager", "cgroupfs", *words]

    def run_words(self, *options):
        # Its default limits are above what a root without CAP_SYS_RESOURCE may set.
        return super().run_words("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096", *options)

    def processes(self):
        return [p for p in pids_with(self.tmp) if "conmon" in os.readlink("/proc/%d/exe" % p)]

    def close(self):
        self.call("rm", "--all", "--force", "--time", "0", check=False)
        super().close()


class Docker(Engine):
    name = "docker"

    def __init__(self, tmp, tree, archive):
        super().__init__(tmp)
        self.socket = self.tmp + "/docker.sock"
        log = open(self.tmp + "/log", "w")
        self.daemon = subprocess.Popen(["dockerd", "--data-root", self.tmp + "/data", "--exec-root", self.tmp + "/exec", "--pidfile", self.tmp + "/pid", "--host",
                                        "unix://" + self.socket, "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver", "overlay2"],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        log.close()
        for _ in range(600):
            if subprocess.run(self.argv("version"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                break
            if self.daemon.poll() is not None:
                with open(self.tmp + "/log") as f:
                    sys.exit("bench: dockerd ended: " + f.read()[-1000:])
            time.sleep(0.1)
        self.call("import", archive, "busy")

    def argv(self, *words):
        return ["docker", "--host", "unix://" + self.socket, *words]

    def processes(self):
        return [self.daemon.pid] + [p for p in onggi_test.descendants(self.daemon.pid) and pids_with(self.tmp + "/exec", self.tmp + "/data") if p != self.daemon.pid]

    def close(self):
        super().close()
        self.daemon.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.daemon.wait(30)
        for pid, _ in onggi_test.descendants(self.daemon.pid):
            with contextlib.suppress(OSError):
                os.kill(pid, 9)


@contextlib.contextmanager
def engines(names):
    """The engines by name, in a temporary directory that goes with them; those not installed are left out and said so."""
    needs = {"onggi": engine.PROGRAM, "podman": "podman", "docker": "dockerd"}
    classes = {"onggi": Onggi, "podman": Podman, "docker": Docker}
    onggi_test.become_subreaper()
    tmp = tempfile.mkdtemp(prefix="onggi-bench-")
    made = []
    try:
        tree = os.path.join(tmp, "tree")
        hostile.hostile_rootfs(tree)
        archive = os.path.join(tmp, "tree.tar")
        subprocess.run(["tar", "-C", tree, "-cf", archive, "."], check=True)
        for name in names:
            if not shutil.which(needs[name]):
                print("bench: %s is not installed and left out" % name, file=sys.stderr)
                continue
            made.append(classes[name](tmp, tree, archive))
        yield made
    finally:
        for e in reversed(made):
            e.close()
        onggi_test.reap()
        for line in reversed(open("/proc/self/mountinfo").read().splitlines()):
            if tmp in line.split()[4]:
                subprocess.run(["umount", "--lazy", line.split()[4]], stderr=subprocess.DEVNULL)
        shutil.rmtree(tmp, ignore_errors=True)


def load():
    with open("/proc/loadavg") as f:
        return f.read().split()[0]


def write_json(path, document):
    if path:
        with open(path, "w") as f:
            json.dump(document, f, indent=1)
            f.write("\n")
