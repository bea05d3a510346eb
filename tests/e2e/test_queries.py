"""why, stats, update, info, system df and prune, image prune and history."""

import json
import subprocess
import time

import onggi_test
from engine import PROGRAM, EngineTest


class Why(EngineTest):
    def answer(self, name, *options):
        return json.loads(self.onggi("why", "--format", "json", *options, name))

    def test_exit_code_and_log(self):
        self.command("run", "--name", "job", "--network", "none", "busybox", "sh", "-c", "echo one; echo two >&2; exit 3")
        text = self.onggi("why", "job")
        self.assertRegex(text, r"^job ended .* ago \(exit code 3\): its program ended with exit code 3\n")
        self.assertIn("    out one\n", text)
        self.assertIn("    err two\n", text)
        self.assertEqual(len(self.answer("job", "-n", "1")["Log"]), 1)
        self.assertIn("recorded", text)

    def test_crash_and_missing_command(self):
        self.command("run", "--name", "crash", "--network", "none", "busybox", "sh", "-c", "kill -SEGV $$")
        self.assertIn("SIGSEGV): the program crashed", self.answer("crash")["Verdict"])
        self.onggi("create", "--name", "never", "--network", "none", "busybox")
        self.assertIn("never was never started", self.answer("never")["Verdict"])

    def test_out_of_memory(self):
        self.command("run", "--name", "hog", "--network", "none", "-m", "16m", "busybox", "sh", "-c", "tail /dev/zero")
        a = self.answer("hog")
        self.assertGreaterEqual(a["OOMKills"], 1)
        self.assertIn("out of memory", a["Verdict"])
        self.assertGreater(a["Evidence"]["memoryPeak"], 14 << 20)
        self.assertEqual(a["Evidence"]["memoryLimit"], 16 << 20)
        self.assertIn("its own cgroup", [f["Text"] for f in a["Facts"] if f["Name"] == "ran out"][0])

    def test_who_asked_and_who_did_not(self):
        self.start("--name", "told")
        self.onggi("stop", "-t", "1", "told")
        a = self.answer("told")
        self.assertIn("it was told to: stop by onggi (pid ", a["Verdict"])
        self.start("--name", "shot")
        subprocess.run(["kill", "-9", str(self.inspect("shot")["State"]["Pid"])], check=True)
        self.onggi("wait", "shot")
        a = self.answer("shot")
        self.assertIn("onggi did not, and no memory limit was hit", a["Verdict"])
        self.assertEqual(a["StoppedBy"], "")

    def test_running_one_and_its_probes(self):
        self.start("--name", "sick", "--health-cmd", "echo broken; exit 1", "--health-interval", "100ms", "--health-retries", "1")
        self.wait_for(lambda: "unhealthy" in self.onggi("why", "sick"), "the probe fails")
        text = self.onggi("why", "sick")
        self.assertIn("sick is running", text)
        self.assertIn("code 1: broken", text)

    def test_errors(self):
        self.assertIn("No such container: x1", self.fails("why", "x1"))
        self.assertIn("invalid --tail -1", self.fails("why", "-n", "-1", "x1"))


class Stats(EngineTest):
    def test_one_reading(self):
        self.start("--name", "busy", "-m", "64m", command=("sh", "-c", "while :; do :; done"))
        self.start("--name", "calm")
        rows = {r["Name"]: r for r in map(json.loads, self.onggi("stats", "--no-stream", "--format", "json").splitlines())}
        self.assertEqual(sorted(rows), ["busy", "calm"])
        self.assertTrue(rows["busy"]["MemUsage"].endswith(" / 64MiB"), rows["busy"])
        self.assertGreater(float(rows["busy"]["CPUPerc"].rstrip("%")), 5)
        self.assertLess(float(rows["calm"]["CPUPerc"].rstrip("%")), 5)
        self.assertGreaterEqual(int(rows["busy"]["PIDs"]), 2)
        table = self.onggi("stats", "--no-stream", "calm").splitlines()
        self.assertEqual(table[0].split("   ")[0], "CONTAINER ID")
        self.assertEqual(len(table), 2)

    def test_stopped_and_paused_block_nobody(self):
        self.start("--name", "frozen")
        self.onggi("pause", "frozen")
        self.onggi("create", "--name", "idle", "--network", "none", "busybox")
        rows = {r["Name"]: r for r in map(json.loads, self.onggi("stats", "-a", "--no-stream", "--format", "json").splitlines())}
        self.assertEqual(rows["idle"]["CPUPerc"], "--")
        self.assertEqual(rows["frozen"]["CPUPerc"], "0.00%")
        self.onggi("unpause", "frozen")
        self.assertIn("No such container", self.fails("stats", "--no-stream", "nobody"))

    def test_stream_goes_on_and_ends_with_its_reader(self):
        self.start("--name", "web")
        p = subprocess.Popen([PROGRAM, "stats", "--format", "{{.Name}}"], stdout=subprocess.PIPE, env=self.environment(), text=True)
        self.assertEqual([p.stdout.readline(), p.stdout.readline()], ["web\n", "web\n"])
        p.stdout.close()
        self.assertIsNotNone(p.wait(20))


class Update(EngineTest):
    def limit(self, ident):
        if onggi_test.cgroup_mode() == "v2":
            path = "/sys/fs/cgroup/onggi/%s/memory.max" % ident
        else:
            path = "%s/onggi/%s/memory.limit_in_bytes" % (onggi_test.v1_mounts()["memory"], ident)
        with open(path) as f:
            return int(f.read())

    def test_kernel_and_record(self):
        ident = self.start("--name", "web", "-m", "64m")
        self.assertEqual(self.limit(ident), 64 << 20)
        self.assertEqual(self.onggi("update", "-m", "96m", "--pids-limit", "77", "--cpus", "0.5", "--restart", "always", "web"), "web\n")
        self.assertEqual(self.limit(ident), 96 << 20)
        self.assertEqual(self.onggi("exec", "web", "cat", "/sys/fs/cgroup/pids/pids.max" if onggi_test.cgroup_mode() != "v2"
                                    else "/sys/fs/cgroup/pids.max").strip(), "77")
        host = self.inspect("web")["HostConfig"]
        self.assertEqual((host["Memory"], host["PidsLimit"], host["NanoCpus"], host["RestartPolicy"]["Name"]), (96 << 20, 77, 500000000, "always"))
        self.onggi("restart", "-t", "0", "web")
        self.assertEqual(self.limit(ident), 96 << 20)

    def test_what_is_refused_changes_nothing(self):
        ident = self.start("--name", "web", "-m", "64m", "--cpuset-cpus", "0")
        self.assertIn("provide one or more flags", self.fails("update", "web"))
        self.assertIn("Minimum memory limit", self.fails("update", "-m", "1k", "web"))
        self.assertIn("update the container web", self.fails("update", "-m", "80m", "--cpuset-cpus", "999", "web"))
        host = self.inspect("web")["HostConfig"]
        self.assertEqual((host["Memory"], host["CpusetCpus"]), (64 << 20, "0"))
        self.assertEqual(self.limit(ident), 64 << 20)


class Disk(EngineTest):
    def test_info(self):
        self.start("--name", "web")
        self.onggi("create", "--network", "none", "busybox")
        d = json.loads(self.onggi("info", "--format", "json"))
        self.assertEqual((d["Containers"], d["ContainersRunning"], d["ContainersStopped"], d["Images"]), (2, 1, 1, 1))
        self.assertEqual((d["OnggiRootDir"], d["KernelVersion"]), (self.root, __import__("os").uname().release))
        self.assertIn(" ContainersRunning: 1\n", self.onggi("info"))

    def test_df_counts_what_is_written(self):
        self.command("run", "--name", "job", "--network", "none", "-v", "vol:/data", "busybox", "sh", "-c",
                     "dd if=/dev/zero of=/big bs=1M count=3; dd if=/dev/zero of=/data/x bs=1M count=2")
        rows = {r["Type"]: r for r in map(json.loads, self.onggi("system", "df", "--format", "json").splitlines())}
        self.assertEqual((rows["Containers"]["TotalCount"], rows["Containers"]["Active"]), ("1", "0"))
        self.assertEqual(rows["Containers"]["Size"], "3.15MB")
        self.assertEqual(rows["Containers"]["Reclaimable"], "3.15MB (100%)")
        self.assertEqual((rows["Local Volumes"]["Active"], rows["Local Volumes"]["Size"]), ("1", "2.1MB"))
        self.assertEqual(rows["Images"]["TotalCount"], "1")
        self.assertRegex(self.onggi("system", "df", "-v"), r"vol +1 +2.1MB")

    def test_prune_takes_only_what_nobody_uses(self):
        self.image("spare:1", {"Labels": {"keep": "yes"}})
        self.image("spare:2")
        self.start("--name", "web")
        self.command("run", "--name", "job", "--network", "none", "busybox", "true")
        self.command("run", "--name", "kept", "--network", "none", "-l", "keep=yes", "busybox", "true")
        self.assertNotIn("Deleted", self.onggi("image", "prune", "-f"))  # no dangling ones
        out = self.onggi("system", "prune", "-a", "-f", "--filter", "label!=keep=yes")
        self.assertIn("Deleted Containers:", out)
        self.assertIn("Total reclaimed space:", out)
        self.assertEqual(sorted(self.onggi("ps", "-a", "--format", "{{.Names}}").split()), ["kept", "web"])
        self.assertEqual(sorted(self.onggi("images", "--format", "{{.Repository}}:{{.Tag}}").split()), ["busybox:latest", "spare:1"])
        self.assertIn("invalid filter", self.fails("system", "prune", "-f", "--filter", "color=red"))
        self.assertEqual(self.command("system", "prune", input="n\n").stdout.count("Deleted"), 0)
        self.assertEqual(len(self.onggi("ps", "-aq").split()), 2)

    def test_history(self):
        rows = [json.loads(line) for line in self.onggi("history", "--format", "json", "--no-trunc", "busybox").splitlines()]
        self.assertEqual([(r["CreatedBy"], r["Comment"], r["CreatedAt"]) for r in rows], [("COPY / /", "for tests", "2024-05-01T12:00:00Z")])
        self.assertEqual(rows[0]["ID"], self.inspect("busybox", "--type", "image")["Id"])
        self.assertIn("COPY / /", self.onggi("image", "history", "busybox"))
        self.fails("history", "nothing")
