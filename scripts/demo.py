#!/usr/bin/env python3
"""The containers of ./quickstart: one from the default root, and nginx with its own network; then what isolates it, as the kernel says.

usage: demo.py RUNTIME DEFAULT_ROOT SERVER_ROOT   (as root, in a private mount namespace: ./quickstart sees to that)

Owns: two containers, one helper process that holds the client's network namespace, one temporary directory. Everything is undone in
reverse order by an ExitStack, also on Ctrl-C and SIGTERM. Both roots are mounted read-only, so they can be used again.
"""

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CAPABILITIES = ("CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN "
                "NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
                "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
                "PERFMON BPF CHECKPOINT_RESTORE").split()
# Podman's eleven: what service images need, without MKNOD and NET_RAW.
KEEP = ["CAP_" + c for c in ("CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT").split()]
# Not there for a service: each widens the kernel's attack surface and no server in the packages needs it.
ABSENT_CALLS = ("bpf io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key userfaultfd perf_event_open kexec_load "
                "kexec_file_load init_module finit_module delete_module mount umount2 pivot_root move_mount open_tree fsopen fsmount fsconfig "
                "fspick mount_setattr setns unshare swapon swapoff reboot settimeofday clock_settime clock_adjtime adjtimex acct quotactl "
                "open_by_handle_at name_to_handle_at ptrace process_vm_readv process_vm_writev kcmp iopl ioperm lookup_dcookie nfsservctl").split()
HOST_IDS, ID_COUNT = 600000 + 65536 * (os.getpid() % 1000), 65536
MEMORY, PIDS, CPU_QUOTA = 128 << 20, 64, 50000
MASKED = ("/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/kallsyms /proc/config.gz /proc/latency_stats /proc/timer_list /proc/timer_stats "
          "/proc/sched_debug /proc/scsi /sys/firmware").split()


def config(root, args, tmpfs=()):
    namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup", "user"]
    ids = [{"containerID": 0, "hostID": HOST_IDS, "size": ID_COUNT}]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": args, "noNewPrivileges": True,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "capabilities": {k: KEEP for k in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        },
        "root": {"path": root, "readonly": True},
        "hostname": "onggi",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "strictatime", "mode=755", "size=64k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=16m"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ] + [{"destination": d, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "noexec", "mode=755", "size=16m"]} for d in tmpfs],
        "linux": {
            "namespaces": [{"type": n} for n in namespaces], "uidMappings": ids, "gidMappings": ids,
            "cgroupsPath": "/onggi-quickstart-%d" % os.getpid(),
            "resources": {"memory": {"limit": MEMORY}, "pids": {"limit": PIDS}, "cpu": {"quota": CPU_QUOTA, "period": 100000},
                          "devices": [{"allow": False, "access": "rwm"}]},
            "maskedPaths": MASKED, "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                        "syscalls": [{"names": ABSENT_CALLS, "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]},
        },
    }


class Demo:
    def __init__(self, runtime, stack):
        self.stack = stack
        self.tmp = tempfile.mkdtemp(prefix="onggi-quickstart-")
        stack.callback(shutil.rmtree, self.tmp, True)
        os.chmod(self.tmp, 0o711)
        self.base = [runtime, "--root", os.path.join(self.tmp, "state")]

    def command(self, *args, check=True, **kwargs):
        return subprocess.run([*self.base, *args], check=check, stdin=subprocess.DEVNULL, **kwargs)

    def visible(self, name, directory):
        """The directory, bound to a path that the container's user ids may walk (a home directory is often closed to them)."""
        path = os.path.join(self.tmp, name)
        os.mkdir(path)
        subprocess.run(["mount", "--bind", directory, path], check=True)
        self.stack.callback(subprocess.run, ["umount", path], check=True)
        return path

    def bundle(self, name, spec):
        path = os.path.join(self.tmp, name)
        os.mkdir(path)
        with open(os.path.join(path, "config.json"), "w") as f:
            json.dump(spec, f)
        return path

    def add(self, cid):
        self.stack.callback(self.command, "delete", "--force", cid, check=False, stderr=subprocess.DEVNULL)
        return cid


def section(title):
    print("\n== %s" % title, flush=True)


def run_default(demo, root):
    section("a container from the default root")
    script = ("echo \"I am process $$ on host $(hostname), user $(id -u), a root of $(ls / | wc -l) directories.\"; "
              "echo \"Processes here:\"; ps -o pid,user,comm; echo \"May I mount?\"; mount -t tmpfs none /mnt 2>&1 || true; "
              "echo \"May I see the host's disks?\"; ls /dev | tr '\\n' ' '; echo")
    started = time.monotonic()
    demo.command("run", "--bundle", demo.bundle("default", config(root, ["/bin/sh", "-c", script])), demo.add("quickstart-default"))
    print("(%.0f ms from start to end, everything included)" % ((time.monotonic() - started) * 1000))


def connect(demo, pid):
    """A veth pair between the container's network namespace and one for the client; the host's own network is not touched."""
    client = subprocess.Popen(["unshare", "--net", "sleep", "3600"], stdin=subprocess.DEVNULL)
    demo.stack.callback(client.wait)
    demo.stack.callback(client.kill)
    mine = os.readlink("/proc/self/ns/net")
    while os.readlink("/proc/%d/ns/net" % client.pid) == mine:
        time.sleep(0.005)

    def inside(target, *argv):
        subprocess.run(["nsenter", "--target", str(target), "--net", "--", *argv], check=True, stdin=subprocess.DEVNULL)
    inside(client.pid, "ip", "link", "add", "client", "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    for target, device, address in ((client.pid, "client", "10.0.0.1/24"), (pid, "eth0", "10.0.0.2/24")):
        inside(target, "ip", "address", "add", address, "dev", device)
        inside(target, "ip", "link", "set", device, "up")
        inside(target, "ip", "link", "set", "lo", "up")
    return client.pid


ASK = """
import sys, time, urllib.request
for attempt in range(200):
    try:
        with urllib.request.urlopen("http://10.0.0.2/", timeout=5) as r:
            body = r.read()
            print("HTTP %d from %s, %d bytes: %s" % (r.status, r.headers["Server"], len(body), body.split(b"<title>")[1].split(b"<")[0].decode()))
            sys.exit(0)
    except OSError as e:
        problem = e
        time.sleep(0.05)
sys.exit("no answer: %s" % problem)
"""


def run_server(demo, root):
    section("nginx in a container, asked over its own network")
    spec = config(root, ["/usr/sbin/nginx", "-g", "daemon off; error_log stderr;"],
                  tmpfs=("/run", "/var/log/nginx", "/var/lib/nginx", "/tmp"))
    cid = demo.add("quickstart-nginx")
    with open(os.path.join(demo.tmp, "nginx.log"), "w+") as log:
        if demo.command("create", "--bundle", demo.bundle("nginx", spec), cid, check=False, stdout=log, stderr=log).returncode:
            log.seek(0)
            sys.exit("quickstart: create failed:\n" + log.read())
    pid = json.loads(demo.command("state", cid, stdout=subprocess.PIPE).stdout)["pid"]
    client = connect(demo, pid)
    demo.command("start", cid)
    asked = subprocess.run(["nsenter", "--target", str(client), "--net", "--", "python3", "-c", ASK], stdin=subprocess.DEVNULL)
    if asked.returncode:
        with open(os.path.join(demo.tmp, "nginx.log")) as log:
            sys.exit("quickstart: nginx did not answer; its log:\n" + log.read())
    return cid, pid


def cgroup_values(pid):
    """Limits as the kernel has them, from whatever hierarchy the container is in."""
    wanted = {"memory": ("memory.limit_in_bytes", "memory.max"), "pids": ("pids.max",) * 2, "cpu": ("cpu.cfs_quota_us", "cpu.max")}
    mounts = {}
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, _, right = line.partition(" - ")
            kind, _, options = right.strip().split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                for key in options.split(",") if kind == "cgroup" else [""]:
                    mounts.setdefault(key, left.split()[4])
    with open("/proc/%d/cgroup" % pid) as f:
        paths = {c: path for n, names, path in (x.rstrip("\n").split(":", 2) for x in f) for c in names.split(",")}
    for name, (v1, v2) in wanted.items():
        key, leaf = (name, v1) if name in paths and name in mounts else ("", v2)
        if key in mounts and key in paths:
            with contextlib.suppress(OSError), open(os.path.join(mounts[key] + paths[key], leaf)) as f:
                yield name, f.read().strip(), os.path.join(mounts[key] + paths[key], leaf)


def show_isolation(pid):
    section("what isolates it (process %d on the host)" % pid)
    for kind in ("user", "pid", "net", "mnt", "ipc", "uts", "cgroup"):
        theirs, ours = os.readlink("/proc/%d/ns/%s" % (pid, kind)), os.readlink("/proc/self/ns/" + kind)
        print("%-14s %-24s host has %-24s %s" % ("namespace", theirs, ours, "own" if theirs != ours else "SHARED"))
    with open("/proc/%d/status" % pid) as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    bounding = int(status["CapBnd"], 16)
    print("%-14s inside it is user 0; on the host %s" % ("user", status["Uid"].split()[0]))
    print("%-14s %d of %d: %s" % ("capabilities", bin(bounding).count("1"), len(CAPABILITIES),
                                  " ".join(c.lower() for i, c in enumerate(CAPABILITIES) if bounding >> i & 1)))
    modes = {"0": "OFF", "1": "strict", "2": "filter"}
    print("%-14s %s, %s filter(s); no_new_privs %s" % ("seccomp", modes[status["Seccomp"]], status.get("Seccomp_filters", "?"), status["NoNewPrivs"]))
    for name, value, path in cgroup_values(pid):
        print("%-14s %s = %s" % ("cgroup " + name, path, value))
    with open("/proc/%d/mountinfo" % pid) as f:
        mounts = f.read().splitlines()
    root = next(m for m in mounts if m.split()[4] == "/")
    print("%-14s root is %s; %d mounts, none of the host's" % ("mounts", re.split(r",", root.split()[5])[0], len(mounts)))


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    runtime, default_root, server_root = sys.argv[1:]

    # What the runtime leaves to its parent is reaped here, so that "processes left" is about processes.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER

    def interrupted(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGHUP, interrupted)
    with open("/proc/self/mountinfo") as f:
        before = len(f.readlines())
    try:
        with contextlib.ExitStack() as stack:
            demo = Demo(runtime, stack)
            run_default(demo, demo.visible("default-root", default_root))
            _, pid = run_server(demo, demo.visible("server-root", server_root))
            show_isolation(pid)
            section("cleaning up")
    except KeyboardInterrupt:
        print("\ninterrupted; everything was removed")
        return 130
    except subprocess.CalledProcessError as e:
        print("quickstart: %s failed with exit code %d" % (" ".join(map(str, e.cmd)), e.returncode), file=sys.stderr)
        return 1
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    with open("/proc/self/mountinfo") as f:
        after = len(f.readlines())
    left = ["%s/%s" % (w, d) for w, dirs, _ in os.walk("/sys/fs/cgroup") for d in dirs if d == "onggi-quickstart-%d" % os.getpid()]
    print("mounts on the host: %d before, %d after; cgroups left: %d; processes left: %s" %
          (before, after, len(left), "yes" if os.path.isdir("/proc/%d" % pid) else "0"))
    return 1 if left or before != after else 0


if __name__ == "__main__":
    sys.exit(main())
