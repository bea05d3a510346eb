"""Published ports: who reaches what from where, without a proxy."""

from network import *  # noqa: F403


class Ports(NetworkTest):
    WORLD = True

    def test_from_localhost_host_world_and_containers(self):
        web = self.server("-p", "8080:80", name="web")
        other = self.container("--name", "other")
        self.onggi("network", "create", "far")
        far = self.container("--network", "far")
        for address in ("127.0.0.1", "198.51.100.1", "2001:db8::1"):
            self.assertEqual(tcp_ask(address, 8080), b"web\n", "host to " + address)
        for name, pid in (("world", self.world), ("other", self.pid(other)), ("far", self.pid(far)), ("itself", self.pid(web))):
            with inside(pid):
                self.assertEqual(tcp_ask("198.51.100.1", 8080), b"web\n", name)
                self.assertEqual(tcp_ask("2001:db8::1", 8080), b"web\n", name + " over IPv6")
        # No program of the host listens there, and the port is nobody else's.
        self.assertNotIn(":8080", sh("ss", "-ltn"))
        self.assertIn("port is already allocated", self.fails("run", "-d", "-p", "8080:81", self.IMAGE, "sleep", "1", code=125))
        self.onggi("rm", "-f", "web")
        self.assertEqual(tcp_ask("127.0.0.1", 8080), "ConnectionRefusedError")
        with inside(self.world):
            self.assertEqual(tcp_ask("198.51.100.1", 8080), "ConnectionRefusedError")

    def test_source_address_is_kept(self):
        cid = self.container("-p", "8080:80", "-p", "8080:80/udp", "-p", "8081:81")
        self.echo(cid, 80, udp=False)
        self.echo(cid, 80)
        self.echo(cid, 81, udp=False, family=socket.AF_INET6)
        with inside(self.world):
            self.assertEqual(tcp_ask("198.51.100.1", 8080), b"198.51.100.2\n")
            self.assertEqual(udp_ask("198.51.100.1", 8080), b"198.51.100.2 hello")
            self.assertEqual(tcp_ask("2001:db8::1", 8081), b"2001:db8::2\n")

    def test_unpublished_ports_are_dropped_from_outside(self):
        web = self.server("-p", "8080:80", name="web")
        hidden = self.server(name="hidden", port=81)
        self.at(self.world, "ip route add 10.208.0.0/12 via 198.51.100.1; ip -6 route add fd00::/8 via 2001:db8::1")
        with inside(self.world):
            self.assertEqual(tcp_ask(self.address(hidden), 81, timeout=1), "timeout")
            self.assertEqual(tcp_ask(self.address(hidden, v6=True), 81, timeout=1), "timeout")
            self.assertEqual(tcp_ask(self.address(web), 80, timeout=1), "timeout", "published, but not at this address")
        self.assertEqual(tcp_ask(self.address(hidden), 81), b"hidden\n", "the host itself may")

    def test_one_address_and_loopback(self):
        self.server("-p", "127.0.0.1:8081:80", "-p", "[2001:db8::1]:8082:80", "-p", "198.51.100.1:8083:80", name="web")
        with inside(self.world):
            self.assertEqual(tcp_ask("198.51.100.1", 8081), "ConnectionRefusedError")
            self.assertEqual(tcp_ask("2001:db8::1", 8082), b"web\n")
            self.assertEqual(tcp_ask("198.51.100.1", 8083), b"web\n")
        self.assertEqual(tcp_ask("127.0.0.1", 8081), b"web\n")
        self.assertEqual(tcp_ask("127.0.0.1", 8083), "ConnectionRefusedError")
        self.assertIn("198.51.100.77", self.fails("run", "-p", "198.51.100.77:80:80", self.IMAGE, "true", code=125))
        # Loopback of the host is not for containers, although the bridge routes it now.
        other = self.container()
        gateway = json.loads(self.onggi("network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]["Gateway"]
        listener = socket.create_server(("127.0.0.1", 7777))
        self.addCleanup(listener.close)
        pid = self.pid(other)
        self.at(pid, "ip route add 127.0.0.0/8 via %s dev eth0 table main 2>/dev/null; ip route del local 127.0.0.0/8 table local; "
                     "ip route add 127.0.0.1/32 via %s; echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet" % (gateway, gateway))
        with inside(pid):
            self.assertIn(tcp_ask("127.0.0.1", 7777, timeout=1, source=(self.address(other), 0)), ("timeout", "OSError", "ConnectionRefusedError"))
        listener.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            listener.accept()

    def test_udp_ranges_and_chosen_ports(self):
        cid = self.container("-p", "9000-9002:9000-9002/udp", "-p", "7000", "-p", "6000-6010:6001", "--name", "uu")
        self.echo(cid, 9001)
        self.assertIn(b" hello", udp_ask("127.0.0.1", 9001))
        with inside(self.world):
            self.assertEqual(udp_ask("198.51.100.1", 9001), b"198.51.100.2 hello")
        listed = self.onggi("port", "uu").splitlines()
        self.assertIn("9002/udp -> 0.0.0.0:9002", listed)
        self.assertIn("9002/udp -> [::]:9002", listed)
        chosen = int(self.onggi("port", "uu", "7000").splitlines()[0].rsplit(":", 1)[1])
        self.assertTrue(1024 < chosen < 65536)
        self.assertEqual(self.onggi("port", "uu", "6001").splitlines(), ["0.0.0.0:6000", "[::]:6000"])
        shown = self.onggi("ps", "--format", "{{.Ports}}")
        self.assertIn("0.0.0.0:9000-9002->9000-9002/udp", shown)
        self.assertIn("[::]:%d->7000/tcp" % chosen, shown)
        self.assertEqual(self.onggi("ps", "-q", "--filter", "publish=9001/udp").strip(), cid[:12])
        self.assertEqual(self.onggi("ps", "-q", "--filter", "publish=9001"), "")
        second = self.container("-p", "6000-6010:6001")
        self.assertEqual(self.onggi("port", second, "6001").splitlines()[0], "0.0.0.0:6001")

    def test_udp_flow_finds_the_next_container(self):
        """What connection tracking remembers of a flow must not lead to a container that is gone."""
        with inside(self.world):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(s.close)
        s.settimeout(3)
        s.connect(("198.51.100.1", 9001))
        first = self.container("-p", "9001:9001/udp")
        server = self.echo(first, 9001)
        s.send(b"one")
        self.assertEqual(s.recv(100), b"198.51.100.2 one")
        self.container()  # takes the address that comes next
        server.close()
        self.onggi("rm", "-f", first)
        self.container()
        second = self.container("-p", "9001:9001/udp")
        self.echo(second, 9001)
        s.send(b"two")
        self.assertEqual(s.recv(100), b"198.51.100.2 two")

    def test_a_program_of_the_host_has_the_port(self):
        taken = socket.create_server(("0.0.0.0", 8085))
        self.addCleanup(taken.close)
        error = self.fails("run", "-d", "--name", "xx", "-p", "8085:80", self.IMAGE, "sleep", "100", code=125)
        self.assertIn("address already in use by a program of the host", error)
        self.assertEqual(os.listdir(os.path.join(self.run_dir, "network/ports")), [])
        taken.close()
        self.onggi("start", "xx")
        self.assertEqual(self.onggi("port", "xx", "80").splitlines()[0], "0.0.0.0:8085")

    def test_publish_all(self):
        self.image("exposing", {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}})
        cid = self.container("-P", image="exposing")
        ports = self.inspect(cid)["NetworkSettings"]["Ports"]
        self.assertEqual(sorted(ports), ["53/udp", "80/tcp"])
        self.assertEqual([p["HostIp"] for p in ports["80/tcp"]], ["0.0.0.0", "::"])
        plain = self.container(image="exposing")
        self.assertEqual(self.onggi("ps", "-f", "id=" + plain, "--format", "{{.Ports}}"), "53/udp, 80/tcp\n")

    def test_bad_ports(self):
        for spec in ("80:99999", "a:80", "1.2.3:80:80", "80:80/icmp", "1-2:1-3", ":", "0", "80:0", "target=x"):
            self.assertEqual(self.command("create", "-p", spec, self.IMAGE).returncode, 125, spec)

    def test_replicas_share_a_port_and_drain(self):
        label = ["--label", "onggi.balance=shop/web"]
        ids = [self.server("-p", "8080:80", *label, name="web-%d" % n) for n in (1, 2, 3)]
        self.assertIn("already allocated", self.fails("run", "-p", "8080:80", self.IMAGE, "true", code=125))
        with inside(self.world):
            answers = {tcp_ask("198.51.100.1", 8080) for _ in range(80)}
        self.assertEqual(answers, {b"web-1\n", b"web-2\n", b"web-3\n"})
        self.assertEqual({tcp_ask("127.0.0.1", 8080) for _ in range(80)}, answers)
        self.onggi("rm", "-f", ids[1])
        self.assertEqual({tcp_ask("127.0.0.1", 8080) for _ in range(60)}, {b"web-1\n", b"web-3\n"})
        self.onggi("rm", "-f", ids[0], ids[2])
        self.assertEqual(tcp_ask("127.0.0.1", 8080), "ConnectionRefusedError")
        self.assertNotIn("to_6", self.table())

    def test_out_to_the_world_is_masqueraded(self):
        cid = self.container()
        self.echo(self.world, 5000, udp=False)
        self.echo(self.world, 5001, udp=False, family=socket.AF_INET6)
        with inside(self.pid(cid)):
            self.assertEqual(tcp_ask("198.51.100.2", 5000), b"198.51.100.1\n")
            self.assertEqual(tcp_ask("2001:db8::2", 5001), b"2001:db8::1\n")

    def test_explain_says_what_stands_in_the_way(self):
        cid = self.server("-p", "8080:80", name="web")
        good = self.onggi("port", "--explain", "web", "80")
        for word in ("0.0.0.0:8080/tcp -> %s:80" % self.address(cid), "map any4: destination becomes", "listens on port 80", "from_outside"):
            self.assertIn(word, good)
        self.assertNotIn("STOP", good)
        sh("nft", "add", "table", "ip", "other")
        sh("nft", "add", "chain", "ip", "other", "FORWARD", "{ type filter hook forward priority 0; policy drop; }")
        with inside(self.world):
            self.assertEqual(tcp_ask("198.51.100.1", 8080, timeout=1), "timeout")
        bad = self.command("port", "--explain", "web", "80")
        self.assertEqual(bad.returncode, 1)
        self.assertIn("STOP  while it is forwarded: chain ip other FORWARD", bad.stdout)
        sh("nft", "delete", "table", "ip", "other")
        self.assertIn("No public port '81/tcp'", self.fails("port", "--explain", "web", "81"))
