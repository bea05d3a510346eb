"""Fixtures for tests that drive an OCI runtime on a real kernel.

Owns: bundles made from busybox-static, the `runtime` helper, what this host can do (`needs`), and the leak checker.
Invariants: a test sees only what it made itself. Every container id and cgroup path begins with this worker's tag, the state
directory is the test's own, and the worker is a subreaper; so two tests may run side by side and each one's leaks are still
found. Host-wide facts (mount table, namespaces, cgroups of all hierarchies) are compared once around the whole run by tests/run.

The runtime under test is $ONGGI_RUNTIME (default: build/release/bin/onggi-runtime), so the same tests prove themselves
against runc and crun. Standard library only.
"""

import contextlib
import ctypes
import functools
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RUNTIME = os.environ.get("ONGGI_RUNTIME") or os.path.join(TREE, "build/release/bin/onggi-runtime")
HELPERS = os.environ.get("ONGGI_HELPERS") or os.path.join(TREE, "build/release/bin")
BUSYBOX = os.environ.get("ONGGI_BUSYBOX", "/bin/busybox")
COMMAND_TIMEOUT = float(os.environ.get("ONGGI_COMMAND_TIMEOUT", "60"))
TAG = "ogt%sw%d" % (os.environ.get("ONGGI_TEST_RUN", "0"), os.getpid())  # this run's, this worker's
# Applets that the tests' shell lines use; a short list keeps a bundle cheap (one symlink each).
APPLETS = ("sh cat ls echo true false sleep test [ id env pwd stat mount umount touch mkdir rm rmdir ln cp mv chmod chown head tail grep "
           "sed awk wc tr cut sort uniq tee hostname date dd kill ps readlink realpath mknod mkfifo nproc printf seq sync "
           "timeout ulimit uname yes tty stty getopt ip ifconfig ping expr usleep od hexdump nsenter unshare setsid df ipcs "
           "ipcmk").split()
PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


# --- what this host can do -------------------------------------------------------------------------------------------------

def cgroup_mode():
    """'v2' (unified), 'hybrid' (v1 with a v2 tree that has controllers or systemd), 'v1' or 'none'."""
    v1 = v2 = None
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, _, right = line.partition(" - ")
            where, kind = left.split()[4], right.split()[0]
            if kind == "cgroup":
                v1 = v1 or where
            elif kind == "cgroup2":
                v2 = v2 or where
    if v2 and not v1:
        return "v2"
    return "v1" if v1 else "none"


def v1_mounts():
    """controller (or 'name=systemd') -> mount point, for every v1 hierarchy."""
    found = {}
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, _, right = line.partition(" - ")
            kind, _, options = right.strip().split(" ", 2)
            if kind != "cgroup":
                continue
            for option in options.split(","):
                if option not in ("rw", "ro", "xattr", "clone_children", "noprefix"):
                    found.setdefault(option, left.split()[4])
    return found


def _has_capability(number):
    with open("/proc/self/status") as f:
        bits = int(re.search(r"CapEff:\s*(\w+)", f.read()).group(1), 16)
    return bool(bits >> number & 1)


def _lsm(name):
    with contextlib.suppress(OSError), open("/sys/kernel/security/lsm") as f:
        return name in f.read().strip().split(",")
    return os.path.isdir("/sys/module/%s/parameters" % name) and os.path.isdir("/sys/kernel/security/" + name)


def _v2_controller(name):
    with contextlib.suppress(OSError), open("/sys/fs/cgroup/cgroup.controllers") as f:
        return name in f.read().split()
    return False


def _controller(name):
    return name in v1_mounts() if cgroup_mode() != "v2" else _v2_controller(name)


def _kernel(major, minor):
    return tuple(int(x) for x in re.match(r"(\d+)\.(\d+)", os.uname().release).groups()) >= (major, minor)


@functools.lru_cache(maxsize=None)
def _idmap_mounts():
    """Idmapped mounts need 5.12 and a filesystem that has FS_ALLOW_IDMAP: tried on the directory that bundles live in."""
    if os.geteuid() != 0 or not _kernel(5, 12):
        return False
    with tempfile.TemporaryDirectory() as d:
        probe = helper("onggi-test-probe")
        return bool(probe) and subprocess.run([probe, "idmap-ok", d]).returncode == 0


FACILITIES = {
    "root": lambda: os.geteuid() == 0,
    "cgroup_v1": lambda: cgroup_mode() in ("v1", "hybrid"),
    "cgroup_v2": lambda: cgroup_mode() == "v2",
    "systemd": lambda: os.path.isdir("/run/systemd/system"),
    "kvm": lambda: os.path.exists("/dev/kvm"),
    "criu": lambda: shutil.which("criu") is not None,
    "criu_check": lambda: _criu_works(),
    "apparmor": lambda: _lsm("apparmor"),
    "selinux": lambda: _lsm("selinux"),
    "cap_sys_resource": lambda: _has_capability(24),
    "cpus2": lambda: len(os.sched_getaffinity(0)) >= 2,
    "hugetlb": lambda: _controller("hugetlb"),
    "rdma": lambda: _controller("rdma"),
    "net_cls": lambda: "net_cls" in v1_mounts(),
    "net_prio": lambda: "net_prio" in v1_mounts(),
    "blkio_weight": lambda: _blkio_weight(),
    "rt_group": lambda: os.path.exists(os.path.join(v1_mounts().get("cpu", "/nonexistent"), "cpu.rt_runtime_us")),
    "numa": lambda: os.path.exists("/proc/self/numa_maps"),
    "resctrl": lambda: os.path.isdir("/sys/fs/resctrl/info"),
    "time_namespace": lambda: os.path.exists("/proc/self/ns/time"),
    "idmap": _idmap_mounts,
    "helpers": lambda: helper("onggi-test-probe") is not None,
    "swap_accounting": lambda: _swap_accounting(),
    "newuidmap": lambda: shutil.which("newuidmap") is not None,
    "podman": lambda: shutil.which("podman") is not None,
    "ctr": lambda: shutil.which("ctr") is not None and shutil.which("containerd") is not None,
    "dockerd": lambda: shutil.which("dockerd") is not None,
}


def _criu_works():
    """`criu check` tells whether this kernel has what CRIU needs; 3.17 fails on kernels whose vdso it cannot read."""
    criu = shutil.which("criu", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not criu:
        return False
    try:
        return subprocess.run([criu, "check"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=COMMAND_TIMEOUT).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _blkio_weight():
    if cgroup_mode() == "v2":
        return os.path.exists("/sys/fs/cgroup/system.slice/io.bfq.weight") or os.path.exists("/sys/fs/cgroup/init.scope/io.weight")
    root = v1_mounts().get("blkio", "/nonexistent")
    return any(os.path.exists(os.path.join(root, n)) for n in ("blkio.weight", "blkio.bfq.weight"))


def _swap_accounting():
    if cgroup_mode() == "v2":
        return os.path.exists("/sys/fs/cgroup/init.scope/memory.swap.max")
    return os.path.exists(os.path.join(v1_mounts().get("memory", "/nonexistent"), "memory.memsw.limit_in_bytes"))


@functools.lru_cache(maxsize=None)
def has(facility):
    return bool(FACILITIES[facility]())


def needs(*facilities):
    """Skips the test or class when the host lacks one of these; the skip's reason is 'needs <facility>'."""
    def decorate(target):
        for facility in facilities:
            if facility not in FACILITIES:
                raise ValueError("unknown facility " + facility)

        def check():
            for facility in facilities:
                if not has(facility):
                    raise unittest.SkipTest("needs " + facility)
        if isinstance(target, type):
            original = target.setUp

            @functools.wraps(original)
            def set_up(self):
                check()
                original(self)
            target.setUp = set_up
            return target

        @functools.wraps(target)
        def wrapper(*args, **kwargs):
            check()
            return target(*args, **kwargs)
        return wrapper
    return decorate


@functools.lru_cache(maxsize=None)
def family():
    """'onggi', 'runc' or 'crun': whose behaviour the runtime under test has."""
    out = subprocess.run([RUNTIME, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    for name in ("onggi", "runc", "crun"):
        if out.startswith(name):
            return name
    return "unknown"


def deviates(**peers):
    """Marks where a peer differs from what this test demands: @deviates(runc="reason"). Ours is never excused."""
    def decorate(target):
        @functools.wraps(target)
        def wrapper(*args, **kwargs):
            if family() in peers and not os.environ.get("ONGGI_TEST_PEERS_STRICT"):
                raise unittest.SkipTest("peer %s deviates: %s" % (family(), peers[family()]))
            return target(*args, **kwargs)
        return wrapper
    return decorate


def helper(name):
    """Path of a static helper program built from tests/helpers, or None."""
    path = os.path.join(HELPERS, name)
    return path if os.access(path, os.X_OK) else None


# --- processes -------------------------------------------------------------------------------------------------------------

def become_subreaper():
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def private_mounts():
    """A mount namespace of this worker's own, so that two workers' mounts are not taken for each other's leaks. The tree is then made
    shared within it, as systemd leaves a host's: the harder case for a runtime."""
    if os.geteuid() != 0:
        return
    if _libc.unshare(0x20000) != 0:  # CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNS)")
    for propagation in (1 << 19, 1 << 20):  # MS_SLAVE, then MS_SHARED
        if _libc.mount(b"none", b"/", None, ctypes.c_ulong(0x4000 | propagation), None) != 0:
            raise OSError(ctypes.get_errno(), "mount propagation of /")


def private_network():
    """A network namespace of this thread's own, in which it (and what it starts) plays the host: loopback is up, nothing else is there.
    The machine's own network is never touched by a test."""
    if os.geteuid() != 0:
        return
    if _libc.unshare(0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def process_table():
    """pid -> (ppid, start time, state, name), from /proc/PID/stat."""
    table = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError), open("/proc/%s/stat" % name) as f:
            text = f.read()
            rest = text[text.rindex(")") + 2:].split()
            table[int(name)] = (int(rest[1]), int(rest[19]), rest[0], text[text.index("(") + 1:text.rindex(")")])
    return table


def descendants(root=None):
    """(pid, start time) of every living process below `root` (this process), zombies included."""
    table = process_table()
    children = {}
    for pid, (ppid, *_ ) in table.items():
        children.setdefault(ppid, []).append(pid)
    found, todo = set(), [root or os.getpid()]
    while todo:
        for pid in children.get(todo.pop(), ()):
            found.add((pid, table[pid][1]))
            todo.append(pid)
    return found


def reap():
    """Collects the exit status of everything that was re-parented to this subreaper."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def reap_strangers(mine):
    """Collects zombies that were re-parented to this process, but not `mine`. A pid namespace ends only when every process of it
    was reaped, so a runtime that waits for that would wait for us."""
    for pid, (ppid, _, state, _) in process_table().items():
        if ppid == os.getpid() and state == "Z" and pid != mine:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def wait_reaping(process, data=None, timeout=None):
    """Popen.communicate (stdin only) that goes on reaping strangers; TimeoutExpired after `timeout` seconds."""
    deadline = time.monotonic() + (timeout or COMMAND_TIMEOUT)
    if data is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(data)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    while True:
        try:
            return process.wait(0.25)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise
            reap_strangers(process.pid)


def wait_until(condition, what, timeout=None, interval=0.02):
    """Polls until condition() is true; AssertionError names `what` when it never is. Returns the true value."""
    deadline = time.monotonic() + (timeout or COMMAND_TIMEOUT)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("timed out waiting until " + what)
        time.sleep(interval)


# --- leaks -----------------------------------------------------------------------------------------------------------------

def mount_table():
    with open("/proc/self/mountinfo") as f:
        return sorted(line.split()[4] + " " + line.partition(" - ")[2].split()[0] for line in f)


def cgroup_roots():
    if cgroup_mode() == "v2":
        return ["/sys/fs/cgroup"]
    roots = set(v1_mounts().values())
    if os.path.isdir("/sys/fs/cgroup/unified"):
        roots.add("/sys/fs/cgroup/unified")
    return sorted(roots)


def cgroups(marker=""):
    """Every cgroup directory of every hierarchy whose path contains `marker`."""
    found = set()
    for root in cgroup_roots():
        for where, names, _ in os.walk(root):
            found.update(os.path.join(where, n) for n in names if marker in os.path.join(where, n))
    return found


def namespaces():
    """'net:[4026...]' -> one pid, for every namespace that some process lives in."""
    found = {}
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            with contextlib.suppress(OSError):
                for kind in os.listdir("/proc/%s/ns" % pid):
                    found.setdefault(os.readlink("/proc/%s/ns/%s" % (pid, kind)), int(pid))
    return found


def open_fds():
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(fd)] = os.readlink("/proc/self/fd/" + fd)
    return found


class LeakChecker:
    """Compares what belongs to this worker before and after: mounts of its mount namespace, its cgroups (by tag), its
    descendants, its own file descriptors, and files in a state directory. Dying processes are given a bounded time."""

    def __init__(self, state_dir):
        self.state_dir = state_dir
        self.mounts, self.groups, self.processes, self.fds = self._look()

    def _look(self):
        reap()
        return mount_table(), cgroups(TAG), descendants(), set(open_fds())

    def differences(self, patience=5.0):
        deadline = time.monotonic() + patience
        while True:
            found = self._differences()
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def _differences(self):
        mounts, groups, processes, fds = self._look()
        lines = ["mount left: " + m for m in mounts if mounts.count(m) > self.mounts.count(m)]
        lines += ["mount lost: " + m for m in self.mounts if self.mounts.count(m) > mounts.count(m)]
        lines += ["cgroup left: " + g for g in sorted(groups - self.groups)]
        table = process_table()
        lines += ["process left: %d %s" % (pid, table.get(pid, (0, 0, "?", "gone"))[2:]) for pid, _ in sorted(processes - self.processes)]
        lines += ["fd left open: %d %s" % (fd, open_fds().get(fd)) for fd in sorted(fds - self.fds)]
        for where, dirs, files in os.walk(self.state_dir):
            lines += ["state left: " + os.path.join(where, n) for n in files + dirs if n not in KNOWN_STATE_FILES]
        return lines


# What a runtime may keep in --root between containers (a lock file, an index), by name.
KNOWN_STATE_FILES = frozenset({".lock", "lock", ".cache", "seccomp-cache"})


# --- configurations --------------------------------------------------------------------------------------------------------

DEFAULT_CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETFCAP", "CAP_SETGID",
                "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"]
MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
          "/proc/sched_debug", "/sys/firmware", "/proc/scsi"]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def default_config(args=("true",)):
    """The configuration of `runc spec`, without a terminal and with Podman's eleven capabilities."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {k: list(DEFAULT_CAPS) for k in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "onggi-test",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READONLY),
        },
    }


def shell(script, *args):
    """argv that runs a shell script inside the container."""
    return ["/bin/sh", "-c", script, *args]


def build_rootfs(path):
    """A small root: static busybox with applet links, the test probe when it is built, the usual directories."""
    for d in ("bin", "proc", "sys", "dev", "tmp", "etc", "root", "var", "run", "usr/bin", "mnt"):
        os.makedirs(os.path.join(path, d), exist_ok=True)
    shutil.copy(BUSYBOX, os.path.join(path, "bin/busybox"))
    os.chmod(os.path.join(path, "bin/busybox"), 0o755)
    for applet in APPLETS:
        os.symlink("busybox", os.path.join(path, "bin", applet))
    if helper("onggi-test-probe"):
        shutil.copy(helper("onggi-test-probe"), os.path.join(path, "bin/probe"))
    for name, text in (("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("etc/group", "root:x:0:\n")):
        with open(os.path.join(path, name), "w") as f:
            f.write(text)
    os.chmod(os.path.join(path, "tmp"), 0o1777)


class Result:
    """What one runtime command did: `rc`, `out`, `err` (text)."""

    def __init__(self, argv, rc, out, err):
        self.argv, self.rc, self.out, self.err = argv, rc, out, err

    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return "$ %s\nexit %d\n--- stdout\n%s--- stderr\n%s" % (shlex.join(self.argv), self.rc, self.out[-3000:], self.err[-3000:])


class Bundle:
    """One bundle directory with its config; `write()` is called by whatever runs it."""

    def __init__(self, path, config):
        self.path, self.config = path, config
        self.rootfs = os.path.join(path, "rootfs")

    def write(self):
        with open(os.path.join(self.path, "config.json"), "w") as f:
            json.dump(self.config, f)
        return self.path

    # Short names for the places tests change.
    @property
    def process(self):
        return self.config["process"]

    @property
    def linux(self):
        return self.config["linux"]

    def args(self, *argv):
        self.process["args"] = list(argv)
        return self

    def sh(self, script):
        return self.args(*shell(script))

    def caps(self, *names):
        self.process["capabilities"] = {k: list(names) for k in ("bounding", "effective", "permitted")}
        return self

    def without_namespace(self, kind):
        self.linux["namespaces"] = [n for n in self.linux["namespaces"] if n["type"] != kind]
        return self

    def mount(self, destination, source="tmpfs", kind="tmpfs", options=(), **extra):
        self.config["mounts"].append({"destination": destination, "type": kind, "source": source, "options": list(options), **extra})
        return self


@needs("root")
class RuntimeTest(unittest.TestCase):
    """A test with a private temporary directory, a private --root and a leak check at its end."""

    maxDiff = 4000
    check_leaks = True
    _ids = 0

    def setUp(self):
        self.tmp = tempfile.mkdtemp(prefix="onggi-test-")
        os.chmod(self.tmp, 0o755)  # user-namespace tests must be able to pass through
        self.addCleanup(shutil.rmtree, self.tmp, True)
        self.root = os.path.join(self.tmp, "state")
        os.mkdir(self.root)
        self.global_args = []
        self._containers = []
        self._leaks = LeakChecker(self.root)
        self._bundles = 0
        # Runs before the directory is removed (cleanups are a stack) and after the test's own cleanups.
        self.addCleanup(self._finish)

    def _finish(self):
        forgotten = []
        for cid in self._containers:
            if self.runtime("delete", "--force", cid, check=False).rc == 0:
                forgotten.append(cid)
        if self.check_leaks:
            left = self._leaks.differences()
            self._remove_leaks()
            if left and family() in ("runc", "crun") and not os.environ.get("ONGGI_TEST_PEERS_STRICT"):
                raise unittest.SkipTest("peer %s deviates: left behind: %s" % (family(), "; ".join(left)))
            self.assertEqual([], left, "left behind after the test")

    def _remove_leaks(self):
        """After a leak was noted, ends it, so that the next test starts clean. Only what carries this worker's tag."""
        for pid, start in descendants() - self._leaks.processes:
            with contextlib.suppress(OSError):
                if process_table().get(pid, (0, 0))[1] == start:
                    os.kill(pid, signal.SIGKILL)
        reap()
        for group in sorted(cgroups(TAG), key=len, reverse=True):
            with contextlib.suppress(OSError):
                os.rmdir(group)

    # --- making ---
    def cid(self):
        """A container id that carries this worker's tag; deleted by force at the end if still there."""
        RuntimeTest._ids += 1
        cid = "%s-%d" % (TAG, RuntimeTest._ids)
        self._containers.append(cid)
        return cid

    def bundle(self, *args, sh=None, config=None):
        """A fresh bundle whose process is `args` or the shell script `sh`."""
        self._bundles += 1
        path = os.path.join(self.tmp, "b%d" % self._bundles)
        os.mkdir(path)
        made = Bundle(path, config or default_config(shell(sh) if sh is not None else (args or ("true",))))
        build_rootfs(made.rootfs)
        return made

    # --- running ---
    def argv(self, *args):
        return [RUNTIME, "--root", self.root, *self.global_args, *args]

    def runtime(self, *args, check=True, stdin=None, timeout=None, pass_fds=(), cwd=None, env=None, capture=True):
        """Runs one runtime command to its end. With capture=False stdio goes to /dev/null: needed where the command leaves a
        container behind that would hold the pipes open. check=True asserts exit code 0."""
        argv = self.argv(*args)
        if capture:
            out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        else:
            out, err = open(os.devnull, "wb"), tempfile.TemporaryFile()
        # Files, not pipes: a container that outlives the command cannot block the test by keeping a pipe open.
        with out, err:
            p = subprocess.Popen(argv, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE, stdout=out, stderr=err,
                                 pass_fds=pass_fds, cwd=cwd, env=env)
            try:
                wait_reaping(p, stdin.encode() if stdin is not None else None, timeout)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                raise AssertionError("timed out: " + shlex.join(argv))

            def text(f):
                if not f.readable():
                    return ""
                f.seek(0)
                return f.read().decode("utf-8", "replace")
            result = Result(argv, p.returncode, text(out), text(err))
        if check:
            self.assertEqual(0, result.rc, str(result))
        return result

    def run_bundle(self, bundle, *options, cid=None, **kwargs):
        """`run` in the foreground; the container's stdout and stderr are the result's."""
        return self.runtime("run", *options, "--bundle", bundle.write(), cid or self.cid(), **kwargs)

    def output(self, bundle, *options, **kwargs):
        return self.run_bundle(bundle, *options, **kwargs).out

    def create(self, bundle, *options, cid=None, **kwargs):
        """`create`; returns the id. The container's stdio is a file that log(cid) reads."""
        cid = cid or self.cid()
        argv = self.argv("create", *options, "--bundle", bundle.write(), cid)
        with open(self._log_path(cid), "wb") as log, tempfile.TemporaryFile() as err:
            p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **kwargs)
            try:
                rc = wait_reaping(p)
            except subprocess.TimeoutExpired:
                p.kill()
                raise AssertionError("timed out: " + shlex.join(argv))
        self.assertEqual(0, rc, "%s\n%s" % (shlex.join(argv), self.log(cid)))
        return cid

    def start(self, cid):
        return self.runtime("start", cid)

    def started(self, bundle, *options, cid=None, **kwargs):
        cid = self.create(bundle, *options, cid=cid, **kwargs)
        self.start(cid)
        return cid

    def _log_path(self, cid):
        return os.path.join(self.tmp, cid + ".log")

    def log(self, cid):
        with open(self._log_path(cid), errors="replace") as f:
            return f.read()

    def exec(self, cid, *args, options=(), **kwargs):
        return self.runtime("exec", *options, cid, *args, **kwargs)

    def state(self, cid):
        return self.runtime("state", cid).json()

    def status(self, cid):
        return self.state(cid)["status"]

    def wait_status(self, cid, status):
        def reached():
            reap()
            return self.status(cid) == status
        wait_until(reached, "container %s is %s" % (cid, status))

    def wait_log(self, cid, text):
        wait_until(lambda: text in self.log(cid), "the log of %s has %r" % (cid, text))

    def delete(self, cid, *options):
        self.runtime("delete", *options, cid)

    def fails(self, bundle, *options, says=None):
        """The container cannot be created: non-zero exit and a message (that matches `says`)."""
        r = self.run_bundle(bundle, *options, check=False)
        self.assertNotEqual(0, r.rc, "should have been refused\n" + str(r))
        self.assertTrue(r.err.strip(), "an error must say something\n" + str(r))
        if says:
            self.assertRegex(r.err, says)
        return r

    # --- looking ---
    def cgroup_file(self, pid, controller, name):
        """Text of a file in the cgroup of host pid `pid` ('' as controller on v2)."""
        with open(os.path.join(self.cgroup_dir(pid, controller), name)) as f:
            return f.read().strip()

    def cgroup_dir(self, pid, controller):
        with open("/proc/%d/cgroup" % pid) as f:
            lines = [line.rstrip("\n").split(":", 2) for line in f]
        if cgroup_mode() == "v2":
            return "/sys/fs/cgroup" + next(path for n, _, path in lines if n == "0")
        for _, controllers, path in lines:
            if controller in controllers.split(","):
                return v1_mounts()[controller] + path
        raise AssertionError("no %s in /proc/%d/cgroup" % (controller, pid))


class Swapper(threading.Thread):
    """Exchanges two names, say a directory and a link to a canary, as fast as it can, until stopped; counts how often."""

    def __init__(self, directory, link):
        super().__init__(daemon=True)
        self.directory, self.link, self.count, self.stop = directory, link, 0, False

    def run(self):
        a, b = self.directory.encode(), self.link.encode()
        while not self.stop:
            _libc.renameat2(-100, a, -100, b, 2)  # RENAME_EXCHANGE
            self.count += 1
            if self.count % 64 == 0:
                time.sleep(0)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        self.join()


class ConsoleSocket:
    """The listening end of --console-socket: accept() returns the master fd that the runtime sends."""

    def __init__(self, path):
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(1)
        self._listener.settimeout(COMMAND_TIMEOUT)

    def accept(self):
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(COMMAND_TIMEOUT)
            message, fds, _, _ = socket.recv_fds(connection, 4096, 4)
        if len(fds) != 1:
            raise AssertionError("expected one descriptor with %r, got %r" % (message, fds))
        os.set_blocking(fds[0], False)
        return fds[0]

    def close(self):
        self._listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_available(fd, until, timeout=None):
    """Reads from a non-blocking fd until the text holds `until` (or end of file); returns the text."""
    got = b""

    def more():
        nonlocal got
        try:
            piece = os.read(fd, 65536)
        except BlockingIOError:
            return False
        except OSError:
            return True
        got += piece
        return not piece or until.encode() in got
    wait_until(more, "the terminal shows %r (so far %r)" % (until, got), timeout)
    return got.decode("utf-8", "replace")
