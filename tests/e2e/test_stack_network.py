"""Stacks on networks: names and aliases, one published port over several replicas, updates under load without a failed request, isolation."""

import ctypes
import http.client
import json
import os
import subprocess
import threading
import time

from test_stack import StackTest

def own_network():
    """This test process and what it starts get a network namespace of their own, which is "the host" for the engine."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000):
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class NetworkStack(StackTest):
    def setUp(self):
        self.host = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        own_network()
        self.addCleanup(self._back)
        super().setUp()

    def _back(self):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.setns(self.host, 0x40000000)
        os.close(self.host)

    @staticmethod
    def get(port, path="/"):
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            c.request("GET", path)
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()


WEB = """
services:
  web:
    image: busybox
    scale: 2
    stop_grace_period: 5s
    environment: [V=%s]
    command: ["sh", "-c", "%s; mkdir -p /www; echo $$V > /www/index.html; exec httpd -f -p 80 -h /www"]
    ports: ["8080:80"]
    healthcheck: {test: "wget -qO- http://127.0.0.1/ >/dev/null", interval: 100ms, retries: 20, timeout: 1s}
"""


class Names(NetworkStack):
    def test_services_know_each_other_and_strangers_do_not(self):
        web = "{image: busybox, command: sh -c \"mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www\", stop_grace_period: 1s, "
        self.compose("services:\n  web: %s scale: 2, networks: {front: {aliases: [shop]}}}\n  db: {image: busybox, command: sleep 1000, networks: [back]}\n"
                     "  client: {image: busybox, command: sleep 1000, networks: [front], links: ['web:linked']}\nnetworks: {front: , back: {internal: true}}" % web)
        self.onggi("-p", "one", "up", "-d")
        self.onggi("-p", "two", "up", "-d")
        own = {self.inspect("one-web-%d" % n)["Config"]["Hostname"] for n in (1, 2)}
        for name in ("web", "shop", "linked", "one-web-1"):
            self.wait_for(lambda: self.command("exec", "one-client-1", "timeout", "2", "wget", "-qO-", "http://%s/" % name).stdout.strip() in own, name)
        seen = {self.onggi("exec", "one-client-1", "wget", "-qO-", "http://web/").strip() for _ in range(20)}
        self.assertTrue(seen and seen <= own, seen)  # one of the replicas, never the other stack's
        answer = self.onggi("exec", "one-client-1", "busybox", "nslookup", "web")
        for n in (1, 2):
            address = self.inspect("one-web-%d" % n)["NetworkSettings"]["Networks"]["one_front"]["IPAddress"]
            self.assertIn(address, answer)
        self.assertNotEqual(self.command("exec", "one-db-1", "timeout", "2", "wget", "-qO-", "http://web/").returncode, 0)
        self.assertNotEqual(self.command("exec", "one-client-1", "timeout", "2", "wget", "-qO-", "http://two-web-1/").returncode, 0)
        names = self.onggi("network", "ls", "--format", "{{.Name}}").split()
        self.assertEqual([n for n in names if "_" in n], ["one_back", "one_front", "two_back", "two_front"])
        self.onggi("-p", "one", "down")
        self.onggi("-p", "two", "down")
        self.assertEqual([n for n in self.onggi("network", "ls", "--format", "{{.Name}}").split() if "_" in n], [])

    def test_a_changed_network_is_made_anew(self):
        self.compose("services: {a: {image: busybox, command: sleep 1000, stop_grace_period: 1s}}")
        self.onggi("up", "-d")
        old = self.ids()
        self.compose("services: {a: {image: busybox, command: sleep 1000, stop_grace_period: 1s}}\nnetworks: {default: {internal: true}}")
        self.assertIn("network demo_default is recreated", self.onggi("up", "--plan"))
        self.onggi("up", "-d")
        self.assertNotEqual(self.ids(), old)
        self.assertTrue(json.loads(self.onggi("network", "inspect", "demo_default"))[0]["Internal"])
        self.assertIn("Nothing to do", self.onggi("up", "--plan"))

    def test_external_networks(self):
        self.compose("services: {a: {image: busybox, command: sleep 1000, stop_grace_period: 1s, networks: [ext]}}\nnetworks: {ext: {external: true}}")
        self.assertIn("network ext declared as external, but could not be found", self.fails("up", "-d"))
        self.onggi("network", "create", "ext")
        self.onggi("up", "-d")
        self.onggi("down")
        self.onggi("network", "rm", "ext")


class Load:
    """Requests without end from several connections; what failed, and what was answered."""

    def __init__(self, get, workers=4):
        self.get, self.ends, self.answers, self.failures = get, threading.Event(), {}, []
        self.workers = [threading.Thread(target=self.ask) for _ in range(workers)]

    def ask(self):
        while not self.ends.is_set():
            try:
                status, body = self.get(8080)
                if status != 200:
                    raise OSError("status %d" % status)
                self.answers[body.strip()] = self.answers.get(body.strip(), 0) + 1
            except (OSError, http.client.HTTPException) as e:
                self.failures.append(repr(e))


class UnderLoad(NetworkStack):
    def loaded(self, work):
        load = Load(self.get)
        # Threads share this process's network namespace only when they are started by the thread that has it.
        for w in load.workers:
            w.start()
        try:
            work()
            time.sleep(0.3)
        finally:
            load.ends.set()
            for w in load.workers:
                w.join()
        self.assertEqual(load.failures, [])
        return load.answers

    def test_update_scale_and_rollback_without_a_failed_request(self):
        self.compose(WEB % ("one", "sleep 0.3"))
        self.onggi("up", "-d", "--wait")
        self.assertEqual(self.get(8080), (200, "one\n"))

        def update():
            self.compose(WEB % ("two", "sleep 0.3"))
            self.onggi("up", "-d")

        answers = self.loaded(update)
        self.assertEqual(set(answers), {"one", "two"})
        self.assertEqual({self.get(8080)[1] for _ in range(20)}, {"two\n"})

        def bad():
            self.compose(WEB % ("three", "exit 1"))
            self.assertIn("rolled back", self.fails("up", "-d"))

        self.assertEqual(set(self.loaded(bad)), {"two"})
        self.compose(WEB % ("two", "sleep 0.3"))

        def scale():
            self.onggi("scale", "web=4")
            self.onggi("scale", "web=1")

        self.assertEqual(set(self.loaded(scale)), {"two"})
        self.assertEqual(self.names(), ["demo-web-1"])
