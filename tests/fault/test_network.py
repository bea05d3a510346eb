"""Networks when something is killed or taken away: what heals by itself, and that nothing is left."""

import signal
import time

from network import *  # noqa: F403


class Healing(NetworkTest):
    def serving(self, cid):
        def look():
            with inside(self.pid(cid)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(0.2)
                with contextlib.suppress(OSError):
                    s.connect((RESOLVER, 53))
                    s.send(dns_query("web"))
                    return dns_parse(s.recv(4096))["code"] == 0
            return False
        return look

    def test_kill_of_keeper_watcher_and_both(self):
        web = self.server("-p", "8080:80", name="web")
        client = self.container()
        for who in ("keeper", "watcher"):
            old = self.keepers()
            os.kill(old[who], signal.SIGKILL)
            self.wait_for(lambda: set(self.keepers()) == {"keeper", "watcher"} and self.keepers().get(who) != old[who], "another " + who)
            self.wait_for(self.serving(client), "names after the end of the " + who)
        for pid in self.keepers().values():
            os.kill(pid, signal.SIGSTOP)
        for pid in self.keepers().values():
            os.kill(pid, signal.SIGKILL)
        self.wait_for(lambda: not self.keepers(), "both to be gone")
        # No container notices but for names; the next command brings them back.
        self.assertEqual(tcp_ask("127.0.0.1", 8080), b"web\n")
        self.assertEqual(self.texts_by_address(client, web), b"web\n")
        # A command that comes while they are still dying takes them for alive; the one after it does not.
        self.wait_for(lambda: self.onggi("network", "ls") and self.serving(client)(), "names after the next command", 60)
        self.assertEqual(set(self.keepers()), {"keeper", "watcher"})

    def texts_by_address(self, client, web):
        with inside(self.pid(client)):
            return tcp_ask(self.address(web), 80)

    def test_flushed_ruleset_is_put_back_whole(self):
        self.server("-p", "8080:80", name="web")
        self.onggi("network", "create", "--internal", "data")
        self.container("--network", "data")
        before = self.table()

        def rules(text):
            text = re.sub(r"packets \d+ bytes \d+", "", re.sub(r"elements = \{[^}]*ct count[^}]*\}", "", text))
            return re.sub(r"elements = \{([^}]*)\}", lambda m: str(sorted(e.strip() for e in m.group(1).split(","))), text)
        changes = (["nft", "flush", "ruleset"], ["nft", "delete", "table", "inet", self.table_name()],
                   ["nft", "flush", "table", "inet", self.table_name()], ["nft", "flush", "chain", "inet", self.table_name(), "forward"],
                   ["nft", "flush", "map", "inet", self.table_name(), "any4"])
        for change in changes:
            sh(*change)
            self.wait_for(lambda: subprocess.run(["nft", "list", "table", "inet", self.table_name()], stdout=subprocess.DEVNULL,
                                                 stderr=subprocess.DEVNULL).returncode == 0 and rules(self.table()) == rules(before),
                          "the table after " + " ".join(change))
            self.assertEqual(tcp_ask("127.0.0.1", 8080), b"web\n")
        # Other programs' tables are none of our business.
        sh("nft", "add", "table", "inet", "firewalld")
        sh("nft", "add", "chain", "inet", "firewalld", "x")
        sh("nft", "delete", "table", "inet", "firewalld")
        self.assertEqual(rules(self.table()), rules(before))

    def test_flush_while_nobody_looks_heals_with_the_next_start(self):
        self.server("-p", "8080:80", name="web")
        for pid in self.keepers().values():
            os.kill(pid, signal.SIGSTOP)
        for pid in self.keepers().values():
            os.kill(pid, signal.SIGKILL)
        sh("nft", "flush", "ruleset")
        self.assertEqual(tcp_ask("127.0.0.1", 8080), "ConnectionRefusedError")
        self.server("-p", "8081:80", name="second")
        for port, name in ((8080, b"web\n"), (8081, b"second\n")):
            self.assertEqual(tcp_ask("127.0.0.1", port), name)

    def test_kill_in_the_middle_of_start(self):
        """Whatever step a `run` is killed at, the next commands find nothing in their way."""
        self.container("--name", "first")
        for step in range(12):
            p = subprocess.Popen([os.environ.get("ONGGI_PROGRAM") or os.path.join(onggi_test.HELPERS, "onggi"), "run", "-d", "--name", "victim",
                                  "-p", "8080:80", "-p", "9090:90/udp", self.IMAGE, "sleep", "1000"], env=self.environment(),
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            time.sleep(0.004 * (step + 1))
            p.kill()
            p.wait()
            self.command("rm", "-f", "victim")
            self.command("system", "check", "--repair")
            self.onggi("run", "-d", "--name", "again", "-p", "8080:80", "-p", "9090:90/udp", self.IMAGE, "sleep", "1000")
            self.onggi("rm", "-f", "again")
        # A command that was killed may have left a claim to whoever comes next; repair is one that comes.
        def given_back():
            self.command("system", "check", "--repair")
            return os.listdir(os.path.join(self.run_dir, "network/ports")) == []
        self.wait_for(given_back, "claims to be given back")
        self.assertEqual(len(os.listdir(os.path.join(self.run_dir, "network/live"))), 1)

    def test_kill_of_everything_of_a_container(self):
        """Monitor and container die without a word: ports and address come back with the next command that meets them."""
        cid = self.container("-p", "8080:80", "--name", "web")
        state = json.loads(open(os.path.join(self.run_dir, "containers", cid, "state.json")).read())
        os.kill(state["monitor"], signal.SIGKILL)
        os.kill(state["pid"], signal.SIGKILL)
        self.wait_for(lambda: not os.path.exists("/proc/%d" % state["pid"]) or
                      open("/proc/%d/stat" % state["pid"]).read().split()[2] == "Z", "its end")
        os.waitpid(-1, os.WNOHANG)
        other = self.container("-p", "8080:80", "--name", "other")
        self.assertEqual(self.onggi("port", other, "80").splitlines()[0], "0.0.0.0:8080")
        self.onggi("rm", "-f", cid)

    def test_failed_start_leaves_nothing(self):
        before = sh("ip", "-o", "link")
        self.container("--name", "holder", "-p", "8080:80")
        links = lambda: sorted(re.findall(r"ogv\w+", sh("ip", "-o", "link")))
        with_holder = links()
        self.fails("run", "-d", "-p", "7070:70", "-p", "8080:80", self.IMAGE, "sleep", "1", code=125)
        self.fails("run", "-d", "--init=false", "-p", "7070:70", self.IMAGE, "/no/such/program", code=127)
        self.wait_for(lambda: links() == with_holder, "links to go")
        self.assertEqual([n for n in os.listdir(os.path.join(self.run_dir, "network/ports")) if "7070" in n], [])
        self.assertNotIn("7070", self.table())
        self.assertNotIn("ogv", before)

    def test_interrupted_creation_of_a_network(self):
        """A directory without a definition, a name that leads nowhere, an address of nobody: swept."""
        self.onggi("network", "ls")
        half = os.path.join(self.root, "networks", "ab" * 32)
        os.mkdir(half)
        os.symlink("cd" * 32, os.path.join(self.root, "networks/names/ghost"))
        bridge = json.loads(self.onggi("network", "inspect", "bridge"))[0]["Id"]
        os.symlink("ef" * 32, os.path.join(self.root, "networks", bridge, "addresses/10.208.0.99"))
        report = self.command("system", "check")
        self.assertEqual((report.returncode, len(report.stdout.splitlines())), (1, 4), report.stdout)
        self.onggi("system", "check", "--repair")
        self.assertFalse(os.path.exists(half))
        self.assertEqual(self.onggi("system", "check"), "clean\n")
        self.onggi("network", "create", "ghost")
