#!/usr/bin/env python3
"""A real reboot of the test VM: containers come back as their restart policies say, from systemd's units as they are shipped.

  before   installs the programs, the unit and the generator where a package puts them, and leaves containers behind
  after    (second boot) looks what became of them

Run by `scripts/testvm run -r 1` from /onggi; prints `N passed, M failed, 0 skipped`. What `before` expects of `after` is nowhere but here.
"""

import json
import os
import shutil
import subprocess
import sys
import time

HERE = "/onggi"
MARK = "/var/lib/onggi-reboot-test"


def onggi(*words, check=True):
    r = subprocess.run(["/usr/bin/onggi", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    if check and r.returncode:
        sys.exit("onggi %s: %s" % (" ".join(words), r.stderr))
    return r.stdout


def install():
    os.makedirs("/usr/libexec", exist_ok=True)
    for program in ("onggi", "onggi-runtime"):
        shutil.copy(os.path.join(HERE, "bin", program), "/usr/bin/" + program)
    shutil.copytree(os.path.join(HERE, "libexec/onggi"), "/usr/libexec/onggi")
    shutil.copy(os.path.join(HERE, "share/systemd/onggi-restore.service"), "/usr/lib/systemd/system/onggi-restore.service")
    os.makedirs("/usr/lib/systemd/system-generators", exist_ok=True)
    shutil.copy(os.path.join(HERE, "share/systemd/onggi-generator"), "/usr/lib/systemd/system-generators/onggi-generator")
    os.chmod("/usr/lib/systemd/system-generators/onggi-generator", 0o755)


def before():
    install()

    def run(name, *options, command=("sleep", "1000")):
        onggi("run", "-d", "--name", name, "--network", "none", *options, "onggi/base", *command)
    run("always", "--restart", "always", "-v", "kept:/kept", command=("sh", "-c", "trap 'echo asked; exit 0' TERM; echo x >> /kept/n; echo x >> /n; while :; do sleep 0.2; done"))
    run("unless", "--restart", "unless-stopped")
    run("stopped", "--restart", "unless-stopped")
    run("failing", "--restart", "on-failure")
    run("never")
    run("gone", "--rm")
    onggi("stop", "-t", "1", "stopped")
    with open(MARK, "w") as f:
        json.dump({"boot": open("/proc/sys/kernel/random/boot_id").read()}, f)


def after():
    failed, looked = [], []

    def expect(what, seen, wanted):
        print("%s %s" % ("ok  " if seen == wanted else "FAIL", what) + ("" if seen == wanted else ": %r, not %r" % (seen, wanted)), flush=True)
        looked.append(what)
        if seen != wanted:
            failed.append(what)

    def status(name):
        return json.loads(onggi("inspect", name))[0]["State"]["Status"]
    with open(MARK) as f:
        old = json.load(f)["boot"]
    expect("it is another boot", open("/proc/sys/kernel/random/boot_id").read() != old, True)
    end = time.monotonic() + 120
    while time.monotonic() < end and subprocess.run(["systemctl", "is-active", "-q", "onggi-restore.service"]).returncode:
        time.sleep(0.5)
    for name, wanted in {"always": "running", "unless": "running", "stopped": "exited", "failing": "exited", "never": "exited"}.items():
        expect("%s is %s" % (name, wanted), status(name), wanted)
    expect("--rm left nothing", [n for n in onggi("ps", "-a", "--format", "{{.Names}}").split() if n == "gone"], [])
    lines = onggi("exec", "always", "sh", "-c", "cat /kept/n | wc -l; cat /n | wc -l").split()
    expect("volume and writable layer were kept", lines, ["2", "2"])
    expect("the shutdown asked it to end", "asked" in onggi("logs", "always"), True)
    with open("/proc/%s/cgroup" % json.loads(onggi("inspect", "always"))[0]["State"]["Pid"]) as f:
        expect("it is in the unit again", "/onggi.slice/onggi.service/" in f.read(), True)
    expect("the unit that restored has no process of its own",
           subprocess.run(["systemctl", "show", "-P", "TasksCurrent", "onggi-restore.service"], stdout=subprocess.PIPE, text=True).stdout.strip() in ("0", "[not set]"), True)
    # `systemctl stop` is the administrator's word for all containers; a policy does not work against it.
    subprocess.run(["systemctl", "stop", "onggi.service"], check=True)
    time.sleep(2)
    expect("stopping the unit ends them", [status(n) in ("exited", "restarting") for n in ("always", "unless")], [True, True])
    expect("and nothing of them runs", subprocess.run(["pgrep", "-f", "onggi-init|monitor --control"], stdout=subprocess.DEVNULL).returncode, 1)
    onggi("start", "always")
    expect("one can be started again", status("always"), "running")
    onggi("rm", "-f", "always", "unless", "stopped", "failing", "never")
    expect("the store is clean", onggi("system", "check").strip(), "clean")
    return looked, failed


def main():
    phase = "before" if os.environ.get("TESTVM_BOOT", "1") == "1" else "after"
    if phase == "before":
        before()
        open("/run/testvm/reboot", "w").close()
        return 0
    looked, failed = after()
    print("%d passed, %d failed, 0 skipped" % (len(looked) - len(failed), len(failed)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
