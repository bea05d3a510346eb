"""Networks as their user sees them: on a host of the test's own (a network namespace), with docker's words and forms."""

import collections
import ipaddress

from network import *  # noqa: F403


class Networks(NetworkTest):
    def test_default_network_is_dual_stack(self):
        cid = self.container()
        network = json.loads(self.onggi("network", "inspect", "bridge"))[0]
        subnets = [ipaddress.ip_network(c["Subnet"]) for c in network["IPAM"]["Config"]]
        self.assertEqual([s.version for s in subnets], [4, 6])
        self.assertTrue(subnets[1].subnet_of(ipaddress.ip_network("fd00::/8")))
        four, six = self.address(cid), self.address(cid, v6=True)
        self.assertIn(ipaddress.ip_address(four), subnets[0])
        self.assertIn(ipaddress.ip_address(six), subnets[1])
        seen = self.at(self.pid(cid), "ip -o addr show dev eth0; ip route; ip -6 route show default")
        for word in (four, six, "default via " + network["IPAM"]["Config"][0]["Gateway"], network["IPAM"]["Config"][1]["Gateway"]):
            self.assertIn(word, seen)
        self.assertEqual(network["Containers"][cid]["IPv4Address"], "%s/%d" % (four, subnets[0].prefixlen))
        # No router of the network configures a container, and usable at once means without duplicate detection.
        self.assertNotIn("tentative", self.at(self.pid(cid), "ip -6 -o addr show dev eth0 scope global"))
        self.assertEqual(self.onggi("exec", cid, "cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra").strip(), "0")
        self.assertEqual(self.onggi("exec", cid, "sh", "-c", "ls /sys/class/net").split(), ["eth0", "lo"])

    def test_containers_reach_each_other_and_neighbours_do_not(self):
        self.onggi("network", "create", "left")
        self.onggi("network", "create", "right")
        a = self.server("--network", "left", name="aa")
        b = self.container("--network", "left", "--name", "bb")
        c = self.container("--network", "right", "--name", "cc")
        with inside(self.pid(b)):
            self.assertEqual(tcp_ask(self.address(a, "left"), 80), b"aa\n")
            self.assertEqual(tcp_ask(self.address(a, "left", v6=True), 80), b"aa\n")
        with inside(self.pid(c)):
            self.assertEqual(tcp_ask(self.address(a, "left"), 80, timeout=1), "timeout")
            self.assertEqual(tcp_ask(self.address(a, "left", v6=True), 80, timeout=1), "timeout")
        self.assertEqual(self.fails("exec", "cc", "nc", "-w", "1", "aa", "80")[:1], "n")  # no such name there

    def test_create_inspect_remove(self):
        self.onggi("network", "create", "--subnet", "10.99.0.0/24", "--gateway", "10.99.0.9", "--ip-range", "10.99.0.128/25",
                   "--aux-address", "printer=10.99.0.128", "--label", "team=red", "--opt", "mtu=1400", "--ipv6=false", "shop")
        doc = json.loads(self.onggi("network", "inspect", "shop"))[0]
        self.assertEqual(doc["IPAM"]["Config"], [{"Subnet": "10.99.0.0/24", "IPRange": "10.99.0.128/25", "Gateway": "10.99.0.9",
                                                  "AuxiliaryAddresses": {"printer": "10.99.0.128"}}])
        self.assertEqual((doc["Labels"], doc["EnableIPv6"], doc["Driver"]), ({"team": "red"}, False, "bridge"))
        cid = self.container("--network", "shop")
        self.assertEqual(self.address(cid, "shop"), "10.99.0.129")
        self.assertIn("mtu 1400", self.at(self.pid(cid), "ip link show eth0"))
        self.assertIn("active endpoints", self.fails("network", "rm", "shop"))
        rows = [line.split() for line in self.onggi("network", "ls").splitlines()]
        self.assertEqual(rows[0], ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"])
        self.assertEqual(sorted(r[1] for r in rows[1:]), ["bridge", "host", "none", "shop"])
        self.assertEqual(self.onggi("network", "ls", "--filter", "label=team=red", "--format", "{{.Name}} {{.Driver}}"), "shop bridge\n")
        self.assertEqual(self.onggi("network", "ls", "-q", "--no-trunc", "-f", "name=shop").strip(), doc["Id"])
        self.onggi("rm", "-f", cid)
        self.assertEqual(self.onggi("network", "rm", doc["Id"][:12]).strip(), doc["Id"][:12])
        self.assertIn("network shop not found", self.fails("network", "inspect", "shop"))
        self.assertNotIn("og-" + doc["Id"][:12], sh("ip", "link"))

    def test_bad_networks_are_refused_in_words(self):
        self.onggi("network", "create", "--subnet", "10.99.0.0/24", "taken")
        sh("ip", "link", "add", "lan", "type", "veth", "peer", "name", "cable")
        sh("ip", "addr", "add", "10.77.1.1/16", "dev", "lan")
        sh("ip", "link", "set", "lan", "up")
        for words, error in (
                (["--subnet", "10.99.0.128/25", "x1"], "Pool overlaps"),
                (["--subnet", "10.77.9.0/24", "x1"], "overlaps the host's route"),
                (["--subnet", "10.98.0.0/33", "x1"], "invalid CIDR"),
                (["--subnet", "10.98.0.0/24", "--gateway", "10.97.0.1", "x1"], "no matching subnet"),
                (["--driver", "overlay", "x1"], "not built"), (["--opt", "mtu=9", "x1"], "MTU"), (["--opt", "speed=9", "x1"], "unknown option"),
                (["host"], "reserved"), (["a b"], "invalid network name"), (["bridge"], "already exists"), (["taken"], "already exists")):
            self.assertIn(error, self.fails("network", "create", *words), words)
        self.assertIn("pre-defined", self.fails("network", "rm", "bridge"))
        self.assertIn("not found", self.fails("run", "--network", "nobody", self.IMAGE, "true", code=125))
        self.assertEqual(len(self.onggi("network", "ls", "-q").split()), 4)
        self.assertEqual(self.onggi("ps", "-aq"), "")

    def test_hundreds_of_networks_from_small_pools(self):
        # A route of the host's in the middle of the pool is left alone.
        sh("ip", "link", "add", "lan", "type", "veth", "peer", "name", "cable")
        sh("ip", "addr", "add", "10.208.8.1/21", "dev", "lan")
        sh("ip", "link", "set", "lan", "up")
        names = ["n%03d" % n for n in range(200)]
        for name in names:
            self.onggi("network", "create", name)
        docs = json.loads(self.onggi("network", "inspect", *names))
        subnets = [ipaddress.ip_network(c["Subnet"]) for d in docs for c in d["IPAM"]["Config"]]
        self.assertEqual(len(set(subnets)), 400)
        fours = sorted(s for s in subnets if s.version == 4)
        for a, b in zip(fours, fours[1:]):
            self.assertFalse(a.overlaps(b))
        self.assertFalse(any(s.overlaps(ipaddress.ip_network("10.208.8.0/21")) for s in fours))
        self.assertEqual(len(self.onggi("network", "prune", "-f").split()), 202)

    def test_static_addresses_and_aliases(self):
        self.onggi("network", "create", "--subnet", "10.99.0.0/24", "--subnet", "fd99::/64", "net")
        a = self.container("--network", "name=net,ip=10.99.0.50,ip6=fd99::50,alias=one,alias=two,mac-address=02:00:00:00:00:50")
        self.assertEqual((self.address(a, "net"), self.address(a, "net", v6=True)), ("10.99.0.50", "fd99::50"))
        self.assertIn("02:00:00:00:00:50", self.at(self.pid(a), "ip link show eth0"))
        self.assertIn("Address already in use", self.fails("create", "--network", "net", "--ip", "10.99.0.50", self.IMAGE))
        for bad in ("10.99.0.0", "10.99.0.255", "10.99.0.1", "10.98.0.1", "nonsense"):
            self.fails("create", "--network", "net", "--ip", bad, self.IMAGE)
        b = self.container("--network", "net", "--network-alias", "one", "--ip", "10.99.0.51")
        self.assertEqual(self.texts(b, "one"), ["10.99.0.50", "10.99.0.51"])
        self.assertEqual(self.texts(b, "two", "AAAA"), ["fd99::50"])

    def test_two_networks_and_connecting_later(self):
        for name in ("front", "back"):
            self.onggi("network", "create", name)
        app = self.container("--name", "app", "--network", "front", "--network", "name=back,alias=db-client")
        db = self.server("--network", "back", name="db", port=5432)
        self.assertEqual(sorted(self.inspect(app)["NetworkSettings"]["Networks"]), ["back", "front"])
        with inside(self.pid(app)):
            self.assertEqual(tcp_ask(self.address(db, "back"), 5432), b"db\n")
        late = self.container("--name", "late", "--network", "front")
        self.assertNotEqual(self.ask(late, "db")["code"], 0)
        self.onggi("network", "connect", "--alias", "guest", "--ip", self._free("back"), "back", "late")
        with inside(self.pid(late)):
            self.assertEqual(tcp_ask(self.address(db, "back"), 5432), b"db\n")
        self.assertEqual(self.texts(late, "db"), [self.address(db, "back")])
        self.assertEqual(self.texts(db, "guest"), [self.address(late, "back")])
        self.assertIn(self.address(late, "back"), self.onggi("exec", "late", "cat", "/etc/hosts"))
        self.assertIn("already exists in network back", self.fails("network", "connect", "back", "late"))
        self.onggi("network", "disconnect", "front", "late")
        self.assertEqual(self.onggi("exec", "late", "ls", "/sys/class/net").split(), ["eth1", "lo"])
        self.assertIn("default", self.at(self.pid(late), "ip route"))
        self.assertEqual(self.texts(late, "db"), [self.address(db, "back")])
        self.assertIn("is not connected", self.fails("network", "disconnect", "front", "late"))
        self.assertEqual(self.onggi("ps", "--filter", "network=front", "--format", "{{.Names}}"), "app\n")

    def _free(self, network):
        subnet = json.loads(self.onggi("network", "inspect", network))[0]["IPAM"]["Config"][0]["Subnet"]
        return str(ipaddress.ip_network(subnet)[77])

    def test_internal_network(self):
        self.onggi("network", "create", "--internal", "data")
        a = self.server("--network", "data", name="aa")
        b = self.container("--network", "data", "--name", "bb")
        upstream = UpstreamServer()
        self.addCleanup(upstream.close)
        with inside(self.pid(b)):
            self.assertEqual(tcp_ask(self.address(a, "data"), 80), b"aa\n")
        self.assertNotIn("default", self.at(self.pid(b), "ip route; ip -6 route"))
        self.assertEqual(self.texts(b, "aa"), [self.address(a, "data")])
        self.assertEqual(self.ask(b, "example.com")["code"], 3)
        self.assertEqual(upstream.asked, [])
        self.assertIn("no bridge network that has a way in",
                      self.fails("run", "--network", "data", "-p", "8080:80", self.IMAGE, "true", code=125))

    def test_isolated_containers_of_one_network(self):
        self.onggi("network", "create", "--opt", "com.docker.network.bridge.enable_icc=false", "apart")
        a = self.server("--network", "apart", name="aa")
        b = self.container("--network", "apart")
        with inside(self.pid(b)):
            self.assertIn(tcp_ask(self.address(a, "apart"), 80, timeout=1), ("timeout", "OSError"))
        self.assertEqual(self.texts(b, "aa"), [self.address(a, "apart")])  # names still work

    def test_modes_share_and_conflict(self):
        a = self.server(name="aa")
        b = self.container("--network", "container:aa", "--name", "bb")
        with inside(self.pid(b)):
            self.assertEqual(tcp_ask("127.0.0.1", 80), b"aa\n")
        self.assertEqual(self.onggi("exec", "bb", "cat", "/etc/resolv.conf"), self.onggi("exec", "aa", "cat", "/etc/resolv.conf"))
        self.assertIn("sharing network namespace", self.fails("network", "connect", "bridge", "bb"))
        self.assertIn("conflicting options", self.fails("run", "--network", "none", "-p", "80:80", self.IMAGE, "true", code=125))
        self.assertIn("conflicting options", self.fails("run", "--network", "none", "--network", "bridge", self.IMAGE, "true", code=125))
        self.assertIn("need a network", self.fails("run", "--network", "host", "--ip", "10.0.0.1", self.IMAGE, "true", code=125))
        self.assertEqual(self.address(a), self.inspect(a)["NetworkSettings"]["IPAddress"])

    def test_addresses_stay_and_come_back(self):
        a = self.container("--name", "aa")
        before = self.address(a)
        self.onggi("restart", "-t", "0", "aa")
        self.assertEqual(self.address(a), before)
        self.onggi("stop", "-t", "0", "aa")
        networks = self.inspect(a)["NetworkSettings"]["Networks"]["bridge"]
        self.assertEqual((networks["IPAddress"], networks["ReservedIPAddress"]), ("", before))
        b = self.container("--name", "bb")
        self.assertNotEqual(self.address(b), before)
        self.onggi("rm", "aa")
        self.assertEqual(self.address(self.container("--name", "cc")), before)

    def test_many_at_once_get_different_addresses(self):
        running = [subprocess.Popen([os.environ.get("ONGGI_PROGRAM") or os.path.join(onggi_test.HELPERS, "onggi"), "create", self.IMAGE],
                                    env=self.environment(), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) for _ in range(24)]
        ids = [p.communicate()[0].decode().strip() for p in running]
        self.assertTrue(all(ids))
        docs = json.loads(self.onggi("inspect", *ids))
        for member in ("ReservedIPAddress", "ReservedIPv6Address"):
            counts = collections.Counter(d["NetworkSettings"]["Networks"]["bridge"][member] for d in docs)
            self.assertEqual(len(counts), 24, counts)
        self.onggi("rm", *ids)

    def test_own_files(self):
        cid = self.container("--hostname", "web1", "--domainname", "example.test", "--add-host", "db:10.1.2.3", "--add-host",
                             "host:host-gateway", "--dns-search", "example.test", "--dns-option", "ndots:2")
        hosts = self.onggi("exec", cid, "cat", "/etc/hosts")
        gateway = json.loads(self.onggi("network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]["Gateway"]
        for line in (self.address(cid) + "\tweb1.example.test web1", "10.1.2.3\tdb", gateway + "\thost"):
            self.assertIn(line, hosts)
        self.assertEqual(self.onggi("exec", cid, "cat", "/etc/resolv.conf"),
                         "nameserver %s\nsearch example.test\noptions ndots:2\n" % RESOLVER)
        self.assertIn("invalid IP address in add-host", self.fails("run", "--add-host", "a:b", self.IMAGE, "true", code=125))


class OtherDrivers(NetworkTest):
    WORLD = True

    def on_the_lan(self, driver, *options):
        self.onggi("network", "create", "-d", driver, "--subnet", "198.51.100.0/24", "--gateway", "198.51.100.2", "--ip-range", "198.51.100.64/26",
                   "--ipv6=false", "-o", "parent=uplink", *options, "lan")
        first = self.container("--network", "lan", "--name", "first")
        second = self.server("--network", "lan", name="second")
        with inside(self.pid(first)):
            self.assertEqual(tcp_ask(self.address(second, "lan"), 80), b"second\n")
        with inside(self.world):
            self.assertEqual(tcp_ask(self.address(second, "lan"), 80), b"second\n", "a machine of its own on the parent's network")
        self.assertEqual(self.texts(first, "second", server="127.0.0.11"), [self.address(second, "lan")])
        self.assertIn("no bridge network that has a way in", self.fails("run", "--network", "lan", "-p", "80:80", self.IMAGE, "true", code=125))

    def test_macvlan(self):
        self.on_the_lan("macvlan")

    def test_ipvlan(self):
        if subprocess.run(["ip", "link", "add", "probe", "link", "uplink", "type", "ipvlan"], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("needs ipvlan")
        sh("ip", "link", "del", "probe")
        self.on_the_lan("ipvlan", "-o", "ipvlan_mode=l2")

    def test_missing_parent(self):
        self.onggi("network", "create", "-d", "macvlan", "--subnet", "10.98.0.0/24", "-o", "parent=nothere", "lan")
        self.assertIn("parent link nothere does not exist", self.fails("run", "--network", "lan", self.IMAGE, "true", code=125))


class Names(NetworkTest):
    def test_names_aliases_ids_and_replicas(self):
        self.onggi("network", "create", "net")
        web = [self.container("--network", "name=net,alias=web", "--name", "web-%d" % n) for n in (1, 2, 3)]
        client = self.container("--network", "net", "--name", "client")
        addresses = sorted(self.address(c, "net") for c in web)
        self.assertEqual(self.texts(client, "web"), addresses)
        self.assertEqual(self.texts(client, "WEB.net"), addresses)
        self.assertEqual(self.texts(client, "web", "AAAA"), sorted(self.address(c, "net", v6=True) for c in web))
        self.assertEqual(self.texts(client, "web-2"), [self.address(web[1], "net")])
        self.assertEqual(self.texts(client, web[2][:12]), [self.address(web[2], "net")])
        first = {self.ask(client, "web")["answers"][0][2] for _ in range(9)}
        self.assertEqual(sorted(first), addresses, "round robin")
        self.assertEqual({ttl for _, ttl, _ in self.ask(client, "web")["answers"]}, {0})

    def test_answered_from_create_and_after_rename_and_remove(self):
        client = self.container("--name", "client")
        made = self.onggi("create", "--name", "later", self.IMAGE, "true").strip()
        reserved = self.inspect(made)["NetworkSettings"]["Networks"]["bridge"]["ReservedIPAddress"]
        self.assertEqual(self.texts(client, "later"), [reserved])
        self.onggi("rename", "later", "renamed")
        self.assertEqual(self.texts(client, "renamed"), [reserved])
        self.assertEqual(self.ask(client, "later")["code"], 2, "no resolver of the host answers here")
        self.onggi("rm", made)
        self.assertNotEqual(self.ask(client, "renamed")["code"], 0)

    def test_types_codes_and_reverse(self):
        self.onggi("network", "create", "--internal", "--ipv6=false", "four")
        web = self.container("--network", "four", "--name", "web", "--expose", "8080")
        client = self.container("--network", "four")
        self.assertEqual((self.ask(client, "web", "AAAA")["code"], self.texts(client, "web", "AAAA")), (0, []), "no data is not no name")
        self.assertEqual(self.ask(client, "web", "MX")["code"], 0)
        self.assertEqual(self.ask(client, "nobody")["code"], 3)
        four = self.address(web, "four")
        self.assertEqual(self.texts(client, ipaddress.ip_address(four).reverse_pointer, "PTR"), ["web.four"])
        free = str(ipaddress.ip_address(four) + 100)
        self.assertEqual(self.ask(client, ipaddress.ip_address(free).reverse_pointer, "PTR")["code"], 3)
        self.assertEqual(self.texts(client, "_8080._tcp.web", "SRV"), ["8080 " + web[:12]])
        self.assertEqual(self.texts(client, "_http-alt._tcp.web", "SRV"), ["8080 " + web[:12]])
        self.assertEqual((self.ask(client, "_9._tcp.web", "SRV")["code"], self.texts(client, "_9._tcp.web", "SRV")), (0, []))

    def test_reverse_of_ipv6(self):
        web, client = self.container("--name", "web"), self.container()
        six = ipaddress.ip_address(self.address(web, v6=True))
        self.assertEqual(self.texts(client, six.reverse_pointer, "PTR"), ["web.bridge"])

    def test_forwarding_over_both_transports(self):
        upstream = UpstreamServer()
        self.addCleanup(upstream.close)
        client = self.container()
        self.assertEqual(self.texts(client, "example.com"), ["192.0.2.7"])
        self.assertEqual(self.texts(client, "example.org", tcp=True), ["192.0.2.7"])
        self.assertEqual(upstream.asked, ["example.com", "example.org"])
        # A container with servers of its own asks those.
        other = UpstreamServer("127.0.0.53")
        self.addCleanup(other.close)
        own = self.container("--dns", "127.0.0.53")
        self.assertEqual(self.texts(own, "example.net"), ["192.0.2.7"])
        self.assertEqual((other.asked, len(upstream.asked)), (["example.net"], 2))

    def test_lost_upstream_is_a_failure_not_a_silence(self):
        client = self.container()
        self.assertEqual(self.ask(client, "example.com")["code"], 2)

    def test_long_answers_are_cut_and_come_whole_over_tcp(self):
        self.onggi("network", "create", "--ipv6=false", "big")
        first = self.container("--network", "name=big,alias=all")
        for _ in range(45):
            self.onggi("create", "--network", "name=big,alias=all", self.IMAGE, "true")
        plain = self.ask(first, "all")
        self.assertTrue(plain["truncated"])
        self.assertEqual(plain["answers"], [])
        self.assertEqual(len(self.ask(first, "all", edns=4096)["answers"]), 46)
        self.assertEqual(len(self.ask(first, "all", tcp=True)["answers"]), 46)

    def test_hostile_packets(self):
        web, client = self.container("--name", "web"), self.container()
        good = dns_query("web")
        loop = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\xc0\x0c\x00\x01\x00\x01"
        with inside(self.pid(client)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect((RESOLVER, 53))
            for packet in (b"", b"\0", good[:11], good[:-1], loop, good[:4] + b"\xff\xff" + good[6:], good[:2] + b"\x81\x80" + good[4:],
                           b"\xff" * 512, good + b"x" * 5000, good[:12] + b"\x3f" + b"a" * 20, os.urandom(300)):
                for _ in range(20):
                    with contextlib.suppress(OSError):
                        s.send(packet)
        # Over UDP a question may be lost in the burst; who asks again gets the answer, as every resolver does.
        self.wait_for(lambda: isinstance(self.ask(client, "web"), dict), "an answer after the hostile packets")
        self.assertEqual(self.texts(client, "web"), [self.address(web)])
        reply = self.ask(client, "web", number=1)
        self.assertEqual(reply["number"], 1)
        with inside(self.pid(client)):  # a client over TCP that lies about lengths, and ones that say nothing
            silent = [socket.create_connection((RESOLVER, 53), timeout=5) for _ in range(16)]
            self.assertIn(tcp_ask(RESOLVER, 53, b"\xff\xffabc", timeout=3), (b"", "ConnectionResetError"))
            for s in silent:
                s.close()
        self.assertEqual(self.texts(client, "web", tcp=True), [self.address(web)])

    def test_two_stacks_with_the_same_names_do_not_see_each_other(self):
        found = {}
        for stack in ("red", "blue"):
            self.onggi("network", "create", stack)
            db = self.container("--network", "name=%s,alias=db" % stack, "--name", stack + "-db")
            app = self.container("--network", "name=%s,alias=app" % stack, "--name", stack + "-app")
            found[stack] = (self.address(db, stack), app)
        for stack, (db, app) in found.items():
            self.assertEqual(self.texts(app, "db"), [db], stack)
        self.assertNotEqual(self.ask(found["red"][1], "blue-db")["code"], 0)

    def test_keeper_ends_with_the_last_container(self):
        cid = self.container()
        self.wait_for(lambda: set(self.keepers()) == {"keeper", "watcher"}, "keeper and watcher")
        self.onggi("rm", "-f", cid)
        self.wait_for(lambda: not self.keepers(), "the keeper to end")
