"""The reference application, examples/shop: brought up from its file, an order through its edge, its parts killed and replaced, taken down.

The images are made once (examples/shop/build-images, called by ./check) and kept beside the other caches.
"""

import json
import os
import signal
import time
import urllib.error
import urllib.request

import onggi_test
from network import NetworkTest

CACHE = os.environ.get("ONGGI_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", "/root"), ".cache"), "onggi")
IMAGES = os.path.join(CACHE, "shop")
SHOP = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "examples/shop")
SERVICES = ("cart", "catalog", "edge", "events", "orders", "payment", "postgres", "rabbitmq", "redis", "shipping", "web")


class Shop(NetworkTest):
    IMAGE = None

    def setUp(self):
        if not os.path.exists(os.path.join(IMAGES, "load/sources")) or not os.path.isdir(SHOP):
            self.skipTest("needs shop_images")
        super().setUp()
        for name in SERVICES + ("load",):
            self.onggi("load", "-q", "-i", "oci:" + os.path.join(IMAGES, name))

    def command(self, *words, **options):
        options.setdefault("cwd", SHOP)
        return super().command(*words, **options)

    def call(self, path, value=None):
        """(status, JSON) of the edge; status 0 when nobody answers."""
        data = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request("http://127.0.0.1:8080" + path, data, {"Content-Type": "application/json"} if data else {})
        try:
            with urllib.request.urlopen(request, timeout=20) as r:
                return r.status, json.loads(r.read())
        except urllib.error.HTTPError as e:
            return e.code, json.loads(e.read() or b"{}") if e.headers.get("Content-Type") == "application/json" else {}
        except OSError as e:
            return 0, {"error": str(e)}

    def buy(self, buyer):
        status, cart = self.call("/api/cart/" + buyer, {"sku": "jar-m", "quantity": 2})
        self.assertEqual((status, cart), (200, {"buyer": buyer, "items": [{"sku": "jar-m", "quantity": 2}]}))
        status, order = self.call("/api/orders", {"buyer": buyer})
        self.assertEqual((status, order.get("amount")), (201, 90000), order)
        self.assertIn(order["state"], ("paid", "shipped"))  # shipping may be quicker than the answer
        self.wait_for(lambda: self.call("/api/orders/%d" % order["order"])[1].get("state") == "shipped", "the order to be shipped")
        return order["order"]

    # One test, because bringing it up is what takes time.
    def test_an_order_goes_through(self):
        self.onggi("up", "-d", "--wait")
        try:
            rows = [json.loads(line) for line in self.onggi("stack", "ps", "--format", "json").splitlines()]
            self.assertEqual(sorted(r["Service"] for r in rows), list(SERVICES))
            with self.subTest("an order"):
                self.assertEqual(self.buy("kim"), 1)
                self.assertEqual(self.call("/api/orders/1")[1]["buyer"], "kim")
                self.assertEqual(self.call("/api/orders", {"buyer": "kim"})[0], 409)  # the cart is empty now
            with self.subTest("a declined payment leaves the cart"):
                self.call("/api/cart/rich", {"sku": "jar-l", "quantity": 9})
                self.assertEqual(self.call("/api/orders", {"buyer": "rich"})[0], 402)
                self.assertEqual(self.call("/api/cart/rich")[1]["items"], [{"sku": "jar-l", "quantity": 9}])
            with self.subTest("up again changes nothing"):
                before = self.onggi("ps", "-q", "--no-trunc").split()
                self.onggi("up", "-d", "--wait")
                self.assertEqual(before, self.onggi("ps", "-q", "--no-trunc").split())
            with self.subTest("networks hold"):
                # The shop window does not reach the database, and what is internal does not reach out.
                out = self.command("exec", "shop-web-1", "/usr/local/bin/probe", "tcp://%s:5432" % self.address_of("postgres", "shop_back"))
                self.assertNotEqual(out.returncode, 0, "web reaches the database")
            with self.subTest("a killed service comes back"):
                for service in ("payment", "redis"):
                    os.kill(self.inspect("shop-%s-1" % service)["State"]["Pid"], signal.SIGKILL)
                    self.wait_for(lambda: self.call("/api/cart/after-%s" % service)[0] == 200, service + " to come back", 60)
                    self.wait_for(lambda: self.inspect("shop-%s-1" % service)["State"].get("Health", {}).get("Status") == "healthy", service + " to be healthy", 60)
                self.buy("after")
            with self.subTest("its map"):
                text = json.dumps(json.loads(self.onggi("map", "--format", "json")))
                self.assertIn("orders", text)
                self.assertIn("payment", text)
            with self.subTest("orders outlive the database's container"):
                self.onggi("stack", "restart", "postgres")
                self.wait_for(lambda: self.call("/api/orders/1")[0] == 200, "the database", 60)
                self.assertEqual(self.call("/api/orders/1")[1]["state"], "shipped")
        finally:
            self.onggi("down", "-v")
        self.assertEqual(self.onggi("ps", "-aq") + self.onggi("volume", "ls", "-q"), "")
        self.assertEqual(self.call("/api/catalog")[0], 0)

    def address_of(self, service, network):
        return self.inspect("shop-%s-1" % service)["NetworkSettings"]["Networks"][network]["IPAddress"]
