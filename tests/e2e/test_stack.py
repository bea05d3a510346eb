"""Stacks as a user meets them: `up` by graph and readiness, plans, idempotence, updates and rollback, scale, `down`, configs and secrets, and what
is refused. Services have no network here (tests/e2e/test_stack_network.py has those that need one)."""

import json
import os
import random
import signal
import subprocess
import time

from engine import PROGRAM, EngineTest


class StackTest(EngineTest):
    """A directory with a Compose file; `onggi` runs in it."""

    def setUp(self):
        super().setUp()
        self.dir = os.path.join(self.scratch, "demo")
        os.mkdir(self.dir)

    def compose(self, text, name="compose.yaml"):
        """Writes the file. Every service gets busybox without a network unless it says otherwise, by the anchor *base."""
        with open(os.path.join(self.dir, name), "w") as f:
            f.write("x-base: &base {image: busybox, network_mode: none, stop_grace_period: 1s, command: sleep 1000}\n" + text)

    def command(self, *words, **options):
        options.setdefault("cwd", self.dir if os.path.isdir(self.dir) else None)
        return super().command(*words, **options)

    def names(self, *options):
        return sorted(self.onggi("stack", "ps", "--format", "{{.Name}}", *options).split())

    def ids(self):
        return {c["Name"]: c["ID"] for c in map(json.loads, self.onggi("stack", "ps", "-a", "--format", "json").splitlines())}

    def started(self, name):
        return self.inspect(name)["State"]["StartedAt"]


class Up(StackTest):
    def test_order_by_readiness(self):
        self.compose("""
services:
  db: {<<: *base, command: sh -c "sleep 0.5; touch /ok; sleep 1000", healthcheck: {test: "test -f /ok", interval: 100ms, retries: 50}}
  init: {<<: *base, command: sh -c "sleep 0.2; echo done > /data/x", volumes: ["data:/data"]}
  web: {<<: *base, command: sh -c "cat /data/x; sleep 1000", volumes: ["data:/data"], depends_on: {db: {condition: service_healthy}, init: {condition: service_completed_successfully}}}
  edge: {<<: *base, depends_on: [web]}
volumes: {data: }
""")
        self.onggi("up", "-d")
        self.assertEqual(self.names("-a"), ["demo-db-1", "demo-edge-1", "demo-init-1", "demo-web-1"])
        web = self.inspect("demo-web-1")
        self.assertGreater(web["State"]["StartedAt"], self.inspect("demo-init-1")["State"]["FinishedAt"])
        self.assertGreater(web["State"]["StartedAt"], self.inspect("demo-db-1")["State"]["Health"]["Log"][0]["End"])
        self.assertGreater(self.started("demo-edge-1"), web["State"]["StartedAt"])
        self.wait_for(lambda: "done" in self.onggi("stack", "logs", "web"), "web's log")
        labels = web["Config"]["Labels"]
        self.assertEqual((labels["com.docker.compose.project"], labels["com.docker.compose.service"], labels["com.docker.compose.container-number"]), ("demo", "web", "1"))
        self.assertIn("running(3)", self.onggi("stack", "ls"))

    def test_a_second_up_changes_nothing(self):
        self.compose("services: {a: {<<: *base}, b: {<<: *base, scale: 3, depends_on: [a]}}")
        self.onggi("up", "-d")
        before = self.ids()
        out = self.command("up", "-d")
        self.assertEqual((out.returncode, out.stderr), (0, ""))
        self.assertEqual(self.ids(), before)
        self.assertIn("Nothing to do", self.onggi("up", "--plan"))

    def test_plan_names_each_field(self):
        self.compose("services: {a: {<<: *base, environment: {A: one}}, b: {<<: *base}}")
        plan = json.loads(self.onggi("up", "--plan", "--format", "json"))
        self.assertEqual([(c["name"], c["action"]) for c in plan["containers"]], [("demo-a-1", "created"), ("demo-b-1", "created")])
        self.assertEqual(self.names("-a"), [])
        self.onggi("up", "-d")
        self.compose("services: {a: {<<: *base, environment: {A: two}, cpu_shares: 7}, b: {<<: *base}, c: {<<: *base}}")
        plan = json.loads(self.onggi("up", "--plan", "--format", "json"))
        by = {c["name"]: c for c in plan["containers"]}
        self.assertEqual({n: c["action"] for n, c in by.items()}, {"demo-a-1": "recreated", "demo-b-1": "left", "demo-c-1": "created"})
        self.assertEqual({c["field"]: (c["from"], c["to"]) for c in by["demo-a-1"]["changes"]}, {"environment.A": ("one", "two"), "cpu_shares": (None, 7)})
        kept = self.ids()
        self.onggi("up", "-d")
        now = self.ids()
        self.assertEqual(now["demo-b-1"], kept["demo-b-1"])
        self.assertNotEqual(now["demo-a-1"], kept["demo-a-1"])
        self.assertIn("A=two", self.inspect("demo-a-1")["Config"]["Env"])

    def test_a_new_image_recreates(self):
        self.compose("services: {a: {<<: *base}}")
        self.onggi("up", "-d")
        old = self.ids()
        self.image("busybox", {"Labels": {"v": "2"}})
        self.assertIn("its image changed", self.onggi("up", "--plan"))
        self.onggi("up", "-d")
        self.assertNotEqual(self.ids(), old)

    def test_scale_up_and_down(self):
        self.compose("services: {a: {<<: *base, scale: 2}}")
        self.onggi("up", "-d")
        first = self.ids()
        self.onggi("scale", "a=4")
        self.assertEqual(self.names(), ["demo-a-%d" % n for n in (1, 2, 3, 4)])
        self.onggi("scale", "a=1")
        self.assertEqual(self.ids(), {"demo-a-1": first["demo-a-1"]})
        self.onggi("up", "-d")
        self.assertEqual(self.names(), ["demo-a-1", "demo-a-2"])
        self.assertIn("no such service", self.fails("scale", "nope=2"))
        self.assertIn("SERVICE=NUMBER", self.fails("scale", "a=x"))

    def test_restart_true_restarts_dependents(self):
        self.compose("services: {a: {<<: *base, environment: [V=1]}, b: {<<: *base, depends_on: {a: {condition: service_started, restart: true}}}, c: {<<: *base, depends_on: [a]}}")
        self.onggi("up", "-d")
        before = {n: self.started("demo-%s-1" % n) for n in "bc"}
        ids = self.ids()
        self.compose("services: {a: {<<: *base, environment: [V=2]}, b: {<<: *base, depends_on: {a: {condition: service_started, restart: true}}}, c: {<<: *base, depends_on: [a]}}")
        self.onggi("up", "-d")
        self.assertEqual(self.ids()["demo-b-1"], ids["demo-b-1"])
        self.assertNotEqual(self.started("demo-b-1"), before["b"])
        self.assertEqual(self.started("demo-c-1"), before["c"])

    def test_a_dependency_that_fails_stops_what_needs_it(self):
        self.compose("""
services:
  bad: {<<: *base, command: "false"}
  sick: {<<: *base, healthcheck: {test: "false", interval: 50ms, retries: 1}}
  a: {<<: *base, depends_on: {bad: {condition: service_completed_successfully}}}
  b: {<<: *base, depends_on: {sick: {condition: service_healthy}}}
  c: {<<: *base, depends_on: [b]}
  fine: {<<: *base}
""")
        err = self.fails("up", "-d")
        self.assertTrue("didn't complete successfully: exit 1" in err or "demo-sick-1 is unhealthy" in err, err)
        self.assertEqual(self.names(), ["demo-fine-1", "demo-sick-1"])
        self.compose("services: {a: {<<: *base}, b: {<<: *base, depends_on: {a: {condition: service_healthy}}}}")
        self.assertIn("has no healthcheck configured", self.fails("up", "-d"))

    def test_two_stacks_do_not_see_each_other(self):
        self.compose("services: {web: {<<: *base, volumes: ['data:/d']}}\nvolumes: {data: }")
        self.onggi("-p", "one", "up", "-d")
        self.onggi("-p", "two", "up", "-d")
        self.assertEqual(sorted(self.onggi("volume", "ls", "-q").split()), ["one_data", "two_data"])
        self.onggi("-p", "one", "exec", "web", "touch", "/d/mine")
        self.assertEqual(self.onggi("-p", "two", "exec", "web", "ls", "/d"), "")
        self.onggi("-p", "one", "down", "-v")
        self.assertEqual(self.onggi("-p", "two", "ps", "--format", "{{.Name}}"), "two-web-1\n")
        self.assertEqual(self.onggi("volume", "ls", "-q"), "two_data\n")
        self.onggi("-p", "two", "down", "-v")

    def test_configs_and_secrets(self):
        with open(os.path.join(self.dir, "f"), "w") as f:
            f.write("from a file")
        self.compose("""
services:
  a: {<<: *base, user: "1000", configs: [c, {source: c, target: /etc/c2, mode: 0444}], secrets: [s, {source: e, target: mine, uid: "1000", gid: "7", mode: 0400}]}
configs: {c: {content: "text $$x ${V}"}}
secrets: {s: {file: ./f}, e: {environment: V}}
""")
        env = dict(self.environment(), V="value")
        subprocess.run([PROGRAM, "up", "-d"], cwd=self.dir, env=env, check=True, stderr=subprocess.PIPE)
        self.assertEqual(self.onggi("exec", "demo-a-1", "cat", "/c", "/etc/c2", "/run/secrets/s", "/run/secrets/mine"), "text $x valuetext $x valuefrom a filevalue")
        self.assertEqual(self.onggi("exec", "demo-a-1", "stat", "-c", "%u %g %a", "/run/secrets/mine", "/c"), "1000 7 400\n0 0 444\n")
        self.assertNotEqual(self.command("exec", "demo-a-1", "sh", "-c", "echo x > /run/secrets/mine").returncode, 0)
        self.onggi("restart", "demo-a-1")
        self.assertEqual(self.onggi("exec", "demo-a-1", "cat", "/run/secrets/mine"), "value")
        env["V"] = "other"
        subprocess.run([PROGRAM, "up", "-d"], cwd=self.dir, env=env, check=True, stderr=subprocess.PIPE)
        self.assertEqual(self.onggi("exec", "demo-a-1", "cat", "/run/secrets/mine"), "other")

    def test_profiles_and_named_services(self):
        self.compose("services: {a: {<<: *base}, b: {<<: *base, profiles: [p], depends_on: [a]}, c: {<<: *base}}")
        self.onggi("up", "-d", "b")
        self.assertEqual(self.names(), ["demo-a-1", "demo-b-1"])
        self.onggi("down")
        self.onggi("--profile", "p", "up", "-d", "--no-deps", "b")
        self.assertEqual(self.names(), ["demo-b-1"])
        self.onggi("down")
        self.assertEqual(self.names("-a"), [])

    def test_shared_namespaces_and_volumes_from(self):
        self.compose("services: {a: {<<: *base, volumes: ['v:/v']}, b: {<<: *base, network_mode: 'service:a', pid: 'service:a', volumes_from: ['a:ro']}}\nvolumes: {v: }")
        self.onggi("up", "-d")
        net = self.onggi("stack", "exec", "a", "readlink", "/proc/self/ns/net")
        self.assertEqual(self.onggi("stack", "exec", "b", "readlink", "/proc/self/ns/net"), net)
        self.assertNotEqual(self.command("stack", "exec", "b", "touch", "/v/x").returncode, 0)

    def test_orphans(self):
        self.compose("services: {a: {<<: *base}, b: {<<: *base}}")
        self.onggi("up", "-d")
        self.compose("services: {a: {<<: *base}}")
        out = self.command("up", "-d")
        self.assertIn("demo-b-1", out.stderr)
        self.assertEqual(self.names(), ["demo-a-1", "demo-b-1"])
        self.onggi("up", "-d", "--remove-orphans")
        self.assertEqual(self.names(), ["demo-a-1"])

    def test_down_by_name_without_the_file(self):
        self.compose("services: {a: {<<: *base}, b: {<<: *base, depends_on: [a]}}")
        self.onggi("up", "-d")
        os.unlink(os.path.join(self.dir, "compose.yaml"))
        self.onggi("-p", "demo", "down")
        self.assertEqual(self.onggi("ps", "-aq"), "")
        self.assertEqual(os.listdir(os.path.join(self.root, "stacks")), [])


class Update(StackTest):
    FILE = """
services:
  web: {{<<: *base, scale: 2, command: sh -c "{run}", environment: [V={v}], healthcheck: {{test: "test -f /ok", interval: 50ms, retries: 6, timeout: 1s}}}}
"""

    def test_new_ones_first(self):
        self.compose(self.FILE.format(run="touch /ok; sleep 1000", v=1))
        self.onggi("up", "-d", "--wait")
        old = self.ids()
        self.compose(self.FILE.format(run="touch /ok; sleep 1000", v=2))
        err = self.command("up", "-d").stderr
        self.assertIn("Started beside the old one", err)
        new = self.ids()
        self.assertEqual(sorted(new), sorted(old))
        self.assertFalse(set(new.values()) & set(old.values()))
        # Each old one ended after its successor was healthy.
        events = [json.loads(line) for line in self.onggi("events", "--since", "1h", "--until", "0s", "--format", "json").splitlines()]
        for name in old:
            healthy = [e["timeNano"] for e in events if e["id"] == new[name] and e["Action"].startswith("health_status") and e["Action"].endswith(" healthy")]
            ended = [e["timeNano"] for e in events if e["id"] == old[name] and e["Action"] == "die"]
            self.assertLess(healthy[0], ended[0])

    def test_a_bad_version_rolls_back(self):
        self.compose(self.FILE.format(run="touch /ok; sleep 1000", v=1))
        self.onggi("up", "-d", "--wait")
        old = self.ids()
        for run in ("sleep 1000", "exit 3", "/nothing/there"):
            self.compose(self.FILE.format(run=run, v=2))
            err = self.fails("up", "-d", code=1)
            self.assertIn("update of service web failed", err)
            self.assertIn("rolled back: the previous version runs again", err)
            self.assertEqual(self.ids(), old)
            self.assertEqual(self.names(), ["demo-web-1", "demo-web-2"])

    def test_the_second_replica_takes_the_first_back_with_it(self):
        self.compose(self.FILE.format(run="touch /ok; sleep 1000", v=1))
        self.onggi("up", "-d", "--wait")
        old = self.ids()
        # Healthy only where the name ends with 1.
        self.compose("services: {web: {<<: *base, scale: 2, volumes: ['m:/m'], command: sh -c \"mkdir /m/first 2>/dev/null && touch /ok; sleep 1000\", environment: [V=2], "
                     "healthcheck: {test: 'test -f /ok', interval: 50ms, retries: 6, timeout: 1s}}}\nvolumes: {m: }")
        self.assertIn("rolled back", self.fails("up", "-d"))
        self.assertEqual(self.ids(), old)
        self.onggi("down", "-v")

    def test_stop_first_rolls_back_too(self):
        self.compose("services: {a: {<<: *base, environment: [V=1]}}")
        self.onggi("up", "-d")
        old = self.ids()
        self.compose("services: {a: {<<: *base, environment: [V=2], entrypoint: [/nothing]}}")
        self.assertIn("rolled back", self.fails("up", "-d"))
        self.assertEqual(self.ids(), old)
        self.assertEqual(self.names(), ["demo-a-1"])

    def test_anonymous_volumes_go_over(self):
        self.compose("services: {a: {<<: *base, volumes: [/anon], environment: [V=1]}}")
        self.onggi("up", "-d")
        self.onggi("exec", "demo-a-1", "touch", "/anon/kept")
        self.compose("services: {a: {<<: *base, volumes: [/anon], environment: [V=2]}}")
        self.onggi("up", "-d")
        self.assertEqual(self.onggi("exec", "demo-a-1", "ls", "/anon"), "kept\n")
        self.onggi("up", "-d", "--force-recreate", "-V")
        self.assertEqual(self.onggi("exec", "demo-a-1", "ls", "/anon"), "")
        self.onggi("down")
        self.assertEqual(self.onggi("volume", "ls", "-q"), "")


class Words(StackTest):
    def setUp(self):
        super().setUp()
        self.compose("services: {aa: {<<: *base, command: sh -c 'echo hello from a; sleep 1000'}, bb: {<<: *base, scale: 2}}")

    def test_a_word_that_is_no_container_is_a_service(self):
        self.onggi("up", "-d")
        self.wait_for(lambda: "hello" in self.onggi("logs", "aa"), "the log")
        self.assertIn("demo-aa-1", self.onggi("logs", "aa"))
        self.assertEqual(self.onggi("exec", "aa", "echo", "x"), "x\n")
        self.onggi("stop", "bb")
        self.assertEqual(self.names(), ["demo-aa-1"])
        self.onggi("start", "bb")
        self.assertEqual(self.names(), ["demo-aa-1", "demo-bb-1", "demo-bb-2"])
        self.onggi("kill", "aa")
        self.assertEqual(self.names(), ["demo-bb-1", "demo-bb-2"])
        self.assertIn("No such container: zz", self.fails("logs", "zz"))
        self.onggi("run", "-d", "--name", "bb", "--network", "none", "busybox", "sleep", "1000")
        self.onggi("stop", "-t", "0", "bb")  # a container's name comes first
        self.assertEqual(self.names(), ["demo-bb-1", "demo-bb-2"])
        with open(os.path.join(self.dir, "x"), "w") as f:
            f.write("copied")
        self.onggi("compose", "cp", "x", "bb:/tmp/x")
        self.assertEqual([self.onggi("exec", n, "cat", "/tmp/x") for n in ("demo-bb-1", "demo-bb-2")], ["copied", "copied"])

    def test_run_is_one_container_more(self):
        self.assertEqual(self.onggi("compose", "run", "--rm", "-T", "-e", "Q=1", "aa", "sh", "-c", "echo $Q"), "1\n")
        self.assertEqual(self.command("compose", "run", "--rm", "-T", "aa", "sh", "-c", "exit 9").returncode, 9)
        self.assertEqual(self.onggi("ps", "-aq"), "")
        self.onggi("up", "-d")
        self.onggi("compose", "run", "-d", "aa")
        self.assertEqual(len(self.names()), 3)
        self.assertEqual(len(self.names("-a")), 4)
        self.assertEqual(self.command("up", "-d").stderr, "")
        self.onggi("down")
        self.assertEqual(self.onggi("ps", "-aq"), "")

    def test_wait_pause_restart_processes_images(self):
        self.onggi("up", "-d")
        self.onggi("stack", "pause", "bb")
        self.assertEqual(self.names("--status", "paused"), ["demo-bb-1", "demo-bb-2"])
        self.onggi("stack", "unpause")
        before = self.started("demo-aa-1")
        self.onggi("stack", "restart", "aa")
        self.assertNotEqual(self.started("demo-aa-1"), before)
        self.assertIn("sleep", self.onggi("compose", "top", "aa"))
        self.assertIn("demo-bb-2", self.onggi("stack", "images"))
        self.onggi("stack", "kill", "bb")
        self.assertEqual(self.command("stack", "wait", "bb").stdout, "137\n137\n")
        self.onggi("stack", "rm", "-f", "bb")
        self.assertEqual(self.names("-a"), ["demo-aa-1"])


class Top(StackTest):
    def test_one_reading(self):
        self.compose("services: {aa: {<<: *base, scale: 2, command: sh -c 'touch /ok; sleep 1000', healthcheck: {test: 'test -f /ok', interval: 50ms}}, bb: {<<: *base, command: 'true'}}")
        self.onggi("up", "-d", "--wait")
        services = {s["service"]: s for s in json.loads(self.onggi("top", "--format", "json"))["services"]}
        self.assertEqual({n: (s["running"], s["replicas"], s["health"]) for n, s in services.items()}, {"aa": (2, 2, "healthy"), "bb": (0, 1, "-")})
        self.assertGreater(services["aa"]["memory"], 0)
        self.assertGreaterEqual(services["aa"]["pids"], 4)
        self.assertIn("2/2", self.onggi("top", "--once"))
        self.assertIn("sleep", self.onggi("top", "demo-aa-1"))  # a container's processes, as ever

    def test_levels_for_a_restart_of_the_machine(self):
        self.compose("services: {aa: {<<: *base, restart: always}, bb: {<<: *base, restart: always, depends_on: [aa]}, cc: {<<: *base, restart: always, depends_on: [bb]}}")
        self.onggi("up", "-d")
        for name in ("demo-aa-1", "demo-bb-1", "demo-cc-1"):  # as after a reboot: nothing runs, the last state says it did
            state = self.inspect(name)["State"]
            monitor = int(subprocess.run(["ps", "-o", "ppid=", "-p", str(state["Pid"])], stdout=subprocess.PIPE, text=True).stdout)
            os.kill(monitor, signal.SIGKILL)
            os.kill(state["Pid"], signal.SIGKILL)
        self.wait_for(lambda: self.names() == [], "the containers' end")
        self.onggi("internal", "recover")
        self.assertEqual(self.names(), ["demo-aa-1", "demo-bb-1", "demo-cc-1"])
        times = [self.started("demo-%s-1" % n) for n in ("aa", "bb", "cc")]
        self.assertEqual(times, sorted(times))


class Watch(StackTest):
    def test_changes_reach_the_containers(self):
        src = os.path.join(self.dir, "src")
        os.makedirs(os.path.join(src, "deep"))
        self.compose("services: {aa: {<<: *base, scale: 2, develop: {watch: [{path: ./src, action: sync, target: /app, ignore: ['*.tmp', skip/]}, {path: ./conf, action: restart}]}}}")
        with open(os.path.join(self.dir, "conf"), "w") as f:
            f.write("1")
        p = subprocess.Popen([PROGRAM, "watch"], cwd=self.dir, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (p.kill(), p.communicate()))
        while "Watching" not in p.stderr.readline():
            pass

        def write(name, text):
            with open(os.path.join(src, name), "w") as f:
                f.write(text)

        def inside(*words):
            return [self.command("exec", "demo-aa-%d" % n, *words).stdout for n in (1, 2)]
        write("a.tmp", "no")
        write("deep/x", "one")
        self.wait_for(lambda: inside("cat", "/app/deep/x") == ["one"] * 2, "the first copy")
        write("deep/x", "two")
        os.makedirs(os.path.join(src, "new/er"))
        write("new/er/y", "three")
        self.wait_for(lambda: inside("cat", "/app/deep/x", "/app/new/er/y") == ["twothree"] * 2, "changed and new files")
        os.unlink(os.path.join(src, "deep/x"))
        self.wait_for(lambda: inside("ls", "/app/deep") == [""] * 2, "the removal")
        self.assertNotIn("a.tmp", "".join(inside("ls", "/app")))
        before = self.started("demo-aa-1")
        with open(os.path.join(self.dir, "conf"), "w") as f:
            f.write("2")
        self.wait_for(lambda: self.started("demo-aa-1") != before, "the restart")

    def test_what_it_cannot_do(self):
        self.compose("services: {aa: {<<: *base, develop: {watch: [{path: ., action: rebuild}]}}}")
        self.assertIn("rebuild needs the builder", self.fails("watch"))
        self.compose("services: {aa: {<<: *base}}")
        self.assertIn("no service has a develop.watch section", self.fails("watch"))


class Refused(StackTest):
    def refuses(self, text, *wanted):
        self.compose(text)
        err = self.fails("up", "-d", code=1)
        for w in wanted:
            self.assertIn(w, err)
        self.assertEqual(self.onggi("ps", "-aq"), "")

    def test_fields_with_their_place(self):
        self.refuses("services:\n  a:\n    <<: *base\n    imagee: y\n", "compose.yaml:5:5: unknown field services.a.imagee")
        self.refuses("services:\n  a:\n    <<: *base\n    isolation: vm\n", "compose.yaml:5:5", "vm comes with the VM back end")
        self.refuses("services:\n  a: {<<: *base, x-onggi-isolation: vm, gpus: all}\n", "x-onggi-isolation", "services.a.gpus")
        self.refuses("services:\n  a: {build: ., network_mode: none}\n", "compose.yaml:3:7", "building comes with the builder")
        self.refuses("services: {a: {<<: *base, logging: {driver: syslog}}}", "logging.driver")
        self.refuses("services: {a: {<<: *base, cap_add: [NOPE]}}", "NOPE")
        self.refuses("services: {a: {<<: *base, secrets: [s]}}\nsecrets: {s: {file: ./none}}", "none")
        self.refuses("services: {a: {<<: *base, deploy: {placement: {constraints: [x]}}}}", "deploy.placement")
        self.refuses("services: {a: {<<: *base, volumes: ['data:/d']}}\nvolumes: {data: {external: true}}", "external volume \"data\" not found")

    def test_a_build_with_a_loaded_image_runs(self):
        self.compose("services: {a: {<<: *base, build: .}}")
        self.onggi("up", "-d")
        self.assertEqual(self.names(), ["demo-a-1"])

    def test_bombs_and_cycles(self):
        bomb = "b0: &b0 [x, x, x, x, x, x, x, x, x]\n"
        for n in range(1, 10):
            bomb += "x-b%d: &b%d [%s]\n" % (n, n, ", ".join(["*b%d" % (n - 1)] * 9))
        self.refuses(bomb.replace("b0: &b0", "x-b0: &b0") + "services: {a: {<<: *base}}", "too large")
        self.refuses("services: {a: {<<: *base, extends: b}, b: {<<: *base, extends: a}}", "extends itself")
        self.refuses("include: [compose.yaml]\nservices: {a: {<<: *base}}", "include cycle")
        self.refuses("services: {a: {<<: *base, depends_on: [b]}, b: {<<: *base, depends_on: [a]}}", "dependency cycle detected")
        self.refuses("services: {a: {<<: *base, hostname: '${X:?must be given}'}}", "compose.yaml:2:", "must be given")


class Kills(StackTest):
    """`up` and `down` are killed at random moments; the next one goes on, and nothing is left in the end."""
    ROUNDS = 12

    def test_up_killed_anywhere(self):
        rng = random.Random(7)
        for n in range(self.ROUNDS):
            self.compose("services:\n  db: {<<: *base, environment: [V=%d], volumes: ['d:/d'], healthcheck: {test: 'true', interval: 50ms}}\n"
                         "  web: {<<: *base, scale: 3, environment: [V=%d], depends_on: {db: {condition: service_healthy}}}\n"
                         "  c: {<<: *base, secrets: [s]}\nvolumes: {d: }\nsecrets: {s: {environment: HOME}}\n" % (n // 2, n // 3))
            words = ["down", "-v"] if n % 5 == 4 else ["up", "-d"]
            p = subprocess.Popen([PROGRAM] + words, cwd=self.dir, env=self.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.random() * 0.4)
            p.send_signal(signal.SIGKILL)
            p.wait()
            if n % 3 == 2:
                self.onggi("up", "-d")
                self.assertEqual(self.names(), ["demo-c-1", "demo-db-1", "demo-web-1", "demo-web-2", "demo-web-3"])
                self.assertIn("Nothing to do", self.onggi("up", "--plan"))
                for name in self.names():
                    if "-c-" not in name:
                        self.assertIn("V=%d" % (n // 3 if "web" in name else n // 2), self.inspect(name)["Config"]["Env"])
        self.onggi("down", "-v")
        self.assertEqual(self.onggi("ps", "-aq"), "")
        self.assertEqual(self.onggi("volume", "ls", "-q"), "")
        self.assertEqual(os.listdir(os.path.join(self.root, "stacks")), [])
