"""A04, A05, A12 and their kin, from a hostile container with the default profile (docs: security)."""

from network import *  # noqa: F403


class Attacks(NetworkTest):
    WORLD = True

    def sockets(self, cid, calls):
        """Errors of socket(2) calls made by the probe inside the container."""
        return {c: self.command("exec", cid, "/probe", "socket", *c.split()).stdout.strip() for c in calls}

    def test_a12_neighbour_networks_and_unpublished_ports(self):
        self.onggi("network", "create", "victim")
        self.onggi("network", "create", "attacker")
        victim = self.server("--network", "victim", "-p", "8080:80", name="victim")
        attacker = self.container("--network", "attacker")
        hidden = self.echo(victim, 6379, udp=False)
        self.assertTrue(hidden)
        four, six = self.address(victim, "victim"), self.address(victim, "victim", v6=True)
        gateway = json.loads(self.onggi("network", "inspect", "victim"))[0]["IPAM"]["Config"][0]["Gateway"]
        with inside(self.pid(attacker)):
            for address, port in ((four, 6379), (four, 80), (six, 80), (gateway, 6379)):
                self.assertIn(tcp_ask(address, port, timeout=1), ("timeout", "ConnectionRefusedError"), (address, port))
            self.assertEqual(tcp_ask("198.51.100.1", 8080), b"victim\n", "what is published is for everybody")
            self.assertEqual(udp_ask(four, 53, timeout=1), "timeout")
        self.at(self.world, "ip route add 10.208.0.0/12 via 198.51.100.1")
        with inside(self.world):
            self.assertEqual(tcp_ask(four, 6379, timeout=1), "timeout")

    def test_spoofed_sources_go_nowhere(self):
        """A container with NET_ADMIN in its own namespace gives itself a neighbour network's address."""
        self.onggi("network", "create", "victim")
        victim = self.container("--network", "victim")
        attacker = self.container("--cap-add", "NET_ADMIN")
        spoofed = self.address(victim, "victim")
        self.onggi("exec", attacker, "ip", "addr", "add", spoofed + "/32", "dev", "eth0")
        seen = self.echo(self.world, 9000)
        self.assertTrue(seen)
        with inside(self.pid(attacker)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind((spoofed, 0))
            s.settimeout(0.5)
            s.sendto(b"x", ("198.51.100.2", 9000))
            with self.assertRaises(TimeoutError):
                s.recv(100)
        self.assertRegex(self.table(), "a source must be of the network")

    def test_router_advertisements_configure_nobody(self):
        victim = self.container()
        for name in ("accept_ra",):
            self.assertEqual(self.onggi("exec", victim, "cat", "/proc/sys/net/ipv6/conf/eth0/" + name).strip(), "0")
        bridge = "og-" + json.loads(self.onggi("network", "inspect", "bridge"))[0]["Id"][:12]
        with open("/proc/sys/net/ipv6/conf/%s/accept_ra" % bridge) as f:
            self.assertEqual(f.read().strip(), "0", "nor the host")

    def test_a04_no_packet_sockets(self):
        cid = self.container()
        denied = self.command("exec", cid, "busybox", "arping", "-I", "eth0", "-c", "1", self.address(cid))
        self.assertNotEqual(denied.returncode, 0)
        self.assertRegex(denied.stderr, "(?i)not permitted|denied|not supported|family")

    def test_connections_of_one_source_are_bounded(self):
        """A flood of flows of one container does not fill the host's table of connections."""
        cid = self.container()
        limit = int(re.search(r"ct count over (\d+)", self.table()).group(1))
        self.assertLessEqual(limit, 8192)
        with inside(self.pid(cid)):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            for port in range(1024, 1024 + limit + 2000):
                with contextlib.suppress(OSError):
                    s.sendto(b"x", ("198.51.100.2", port))
            s.close()
        with open("/proc/sys/net/netfilter/nf_conntrack_count") as f:
            self.assertLessEqual(int(f.read()), limit + 500)
        self.assertRegex(self.table(), r"counter packets [1-9]\d* bytes \d+ drop comment \"too many connections")
