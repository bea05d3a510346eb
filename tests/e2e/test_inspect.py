"""inspect: docker's documents, types, templates; inspect --isolation: the profile as the kernel has it."""

import json

from engine import EngineTest


class Inspect(EngineTest):
    def test_container_document(self):
        ident = self.start("--name", "web", "-e", "A=1", "-l", "tier=front", "-m", "64m", "--cpus", "0.5", "-v", "data:/data:ro",
                           "--tmpfs", "/scratch:size=1m", "-w", "/tmp", "-u", "web", "--restart", "on-failure:3", "--health-cmd", "true")
        d = self.inspect("web")
        self.assertEqual((d["Id"], d["Name"], d["Path"], d["Args"]), (ident, "/web", "sleep", ["1000"]))
        self.assertEqual((d["State"]["Status"], d["State"]["Running"], d["State"]["OOMKilled"]), ("running", True, False))
        with open("/proc/%d/status" % d["State"]["Pid"]) as f:
            self.assertIn("Pid:\t%d\n" % d["State"]["Pid"], f.read())
        host = d["HostConfig"]
        self.assertEqual((host["Memory"], host["NanoCpus"], host["NetworkMode"]), (64 << 20, 500000000, "none"))
        self.assertEqual(host["RestartPolicy"], {"Name": "on-failure", "MaximumRetryCount": 3})
        self.assertEqual(host["Tmpfs"], {"/scratch": "size=1m"})
        self.assertIn("/proc/kcore", host["MaskedPaths"])
        config = d["Config"]
        self.assertIn("A=1", config["Env"])
        self.assertEqual((config["Labels"], config["WorkingDir"], config["User"], config["Image"]), ({"tier": "front"}, "/tmp", "web", "busybox"))
        self.assertEqual(config["Healthcheck"]["Test"], ["CMD-SHELL", "true"])
        self.assertIn(d["State"]["Health"]["Status"], ("starting", "healthy"))
        volume = [m for m in d["Mounts"] if m["Type"] == "volume"][0]
        self.assertEqual((volume["Name"], volume["Destination"], volume["RW"]), ("data", "/data", False))
        self.assertNotIn("SizeRw", d)
        self.assertEqual(self.inspect("web", "-s")["SizeRw"], 0)

    def test_stopped_container(self):
        self.command("run", "--name", "gone", "--network", "none", "busybox", "sh", "-c", "exit 7")
        state = self.inspect("gone")["State"]
        self.assertEqual((state["Status"], state["ExitCode"], state["Pid"], state["Running"]), ("exited", 7, 0, False))
        self.assertGreater(state["FinishedAt"], state["StartedAt"])

    def test_types_and_templates(self):
        image = self.image("other:1", {"ExposedPorts": {"80/tcp": {}}, "Labels": {"a": "b"}, "Entrypoint": ["/bin/echo"]})
        self.onggi("create", "--name", "busybox", "--network", "none", "busybox")
        self.assertEqual(self.inspect("busybox")["Path"], "/bin/sh")  # a container goes before an image
        self.assertEqual(self.inspect("busybox", "--type", "image")["RepoTags"], ["busybox:latest"])
        d = self.inspect("other:1")
        self.assertEqual((d["Id"], d["Config"]["ExposedPorts"], d["Config"]["Labels"]), (image, {"80/tcp": {}}, {"a": "b"}))
        self.assertEqual(len(d["RootFS"]["Layers"]), 1)
        self.onggi("volume", "create", "--label", "x=y", "vol")
        self.assertEqual(self.inspect("vol")["Labels"], {"x": "y"})
        self.assertEqual(self.onggi("inspect", "-f", "{{.Name}} {{range .Config.Env}}<{{.}}>{{end}}", "busybox"), "/busybox <PATH=/bin:/sbin>\n")
        self.assertEqual(json.loads(self.onggi("image", "inspect", "-f", "json", "other:1"))["Id"], image)

    def test_errors(self):
        out = self.command("inspect", "nothing", "busybox")
        self.assertEqual(out.returncode, 1)
        self.assertIn("No such object: nothing", out.stderr)
        self.assertEqual(json.loads(out.stdout)[0]["RepoTags"], ["busybox:latest"])  # the rest is still shown
        self.assertIn("not a valid value for --type", self.fails("inspect", "--type", "task", "busybox"))
        self.assertIn("No such container", self.fails("container", "inspect", "busybox"))


class Isolation(EngineTest):
    def rows(self, name):
        return {r["What"]: r for r in json.loads(self.onggi("inspect", "--isolation", "--format", "json", name))[0]["Rows"]}

    def test_default_profile(self):
        self.start("--name", "web")
        pid = self.inspect("web")["State"]["Pid"]
        rows = self.rows("web")
        with open("/proc/%d/uid_map" % pid) as f:
            base = f.read().split()[1]
        self.assertEqual(rows["user namespace"]["Found"], "ids 0.. are %s.. of the host (65536 ids)" % base)
        self.assertEqual((rows["no_new_privs"]["Found"], rows["capabilities"]["Found"]), ("on", "11 in the bounding set"))
        self.assertEqual(rows["pids"]["Found"], "1024")
        self.assertEqual([w for w, r in rows.items() if r["Profile"] == "relaxed"], [])
        text = self.onggi("inspect", "--isolation", "web")
        self.assertIn("seccomp", text)
        self.assertRegex(text, r"masked paths +(\d+) of \1 ")

    def test_what_was_relaxed_is_named(self):
        self.start("--name", "loose", "--cap-add", "NET_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt",
                   "no-new-privileges=false", "--pids-limit", "5000", "--security-opt", "systempaths=unconfined")
        rows = self.rows("loose")
        self.assertEqual((rows["capabilities"]["Profile"], rows["capabilities"]["Found"]), ("relaxed", "12 in the bounding set +CAP_NET_ADMIN"))
        self.assertEqual((rows["seccomp"]["Found"], rows["no_new_privs"]["Found"], rows["pids"]["Found"]), ("off", "off", "5000"))
        self.assertEqual(rows["masked paths"]["Profile"], "relaxed")
        self.assertIn("/proc/kallsyms", rows["masked paths"]["Found"])
        for what in ("seccomp", "no_new_privs", "pids", "nested namespaces"):
            self.assertEqual(rows[what]["Profile"], "relaxed", what)

    def test_only_of_running_ones(self):
        self.onggi("create", "--name", "made", "--network", "none", "busybox")
        self.assertIn("it does not run", self.fails("inspect", "--isolation", "made"))
        self.assertIn("--isolation is about containers", self.fails("inspect", "--isolation", "--type", "image", "busybox"))
