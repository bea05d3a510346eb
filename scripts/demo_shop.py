#!/usr/bin/env python3
"""The shop of examples/shop as ./quickstart shows it: brought up by `onggi up`, an order bought through its edge, looked at, taken down.

usage: demo_shop.py [--keep] ONGGI IMAGES   (as root; IMAGES is what examples/shop/build-images made)

By default all of it happens in a network namespace of its own with a store of its own, and nothing is left. With --keep the shop runs on this
machine's network and in the default store, and stays. Owns: the namespace, a temporary directory.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

SHOP = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples/shop")
PORT = os.environ.get("SHOP_PORT", "8080")
EDGE = "http://127.0.0.1:" + PORT


def section(title):
    print("\n== %s" % title, flush=True)


def call(path, value=None):
    data = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(EDGE + path, data, {"Content-Type": "application/json"} if data else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as r:
            return r.status, json.loads(r.read())
    except urllib.error.HTTPError as e:
        return e.code, json.loads(e.read() or b"{}")


def buy():
    """An order through the edge; what it became once it was shipped."""
    status, goods = call("/api/catalog")
    if status != 200:
        sys.exit("the catalog answers %d: %s" % (status, goods))
    print("catalog: " + ", ".join("%(sku)s %(price)d" % g for g in goods))
    print("cart:    %s" % call("/api/cart/kim", {"sku": "jar-m", "quantity": 2})[1])
    status, order = call("/api/orders", {"buyer": "kim"})
    if status != 201:
        sys.exit("the order was refused with %d: %s" % (status, order))
    print("order:   %s" % order)
    for _ in range(300):
        status, now = call("/api/orders/%d" % order["order"])
        if now.get("state") == "shipped":
            print("later:   %s" % now)
            return now
        time.sleep(0.1)
    sys.exit("order %d was not shipped within 30 s: %s" % (order["order"], now))


class Shop:
    def __init__(self, onggi):
        self.onggi = onggi

    def run(self, *words, show=True, check=True):
        if show:
            print("$ onggi " + " ".join(words), flush=True)
        return subprocess.run([self.onggi, *words], cwd=SHOP, stdin=subprocess.DEVNULL, check=check)

    def load(self, images):
        section("twelve images, made from Debian packages, into the store")
        for name in sorted(os.listdir(images)):
            if os.path.exists(os.path.join(images, name, "oci-layout")):
                self.run("load", "-q", "-i", "oci:" + os.path.join(images, name), show=False)
        self.run("images")

    def show(self):
        section("brought up: every service waits for those it needs to be healthy")
        started = time.monotonic()
        self.run("up", "-d", "--wait")
        print("up in %.1f s" % (time.monotonic() - started))
        section("an order, through the edge at " + EDGE)
        buy()
        section("what runs")
        self.run("stack", "ps")
        section("who talks to whom")
        self.run("map")
        section("what isolates the payment service, as the kernel has it")
        self.run("inspect", "--isolation", "shop-payment-1")


def own_network():
    """Once: a network namespace of its own, whose loopback is up."""
    if os.environ.get("ONGGI_DEMO_INSIDE") != "1":
        os.environ["ONGGI_DEMO_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, "-uB", *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def main(words):
    keep = "--keep" in words
    words = [w for w in words if w != "--keep"]
    if len(words) != 2:
        sys.exit(__doc__.split("\n", 1)[0])
    shop, images = Shop(os.path.abspath(words[0])), words[1]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if not keep:
        own_network()
    with contextlib.ExitStack() as stack:
        if not keep:
            tmp = tempfile.mkdtemp(prefix="onggi-shop-")
            stack.callback(shutil.rmtree, tmp, True)
            os.environ.update(ONGGI_ROOT=os.path.join(tmp, "root"), ONGGI_RUN=os.path.join(tmp, "run"))
        shop.load(images)
        if not keep:
            stack.callback(shop.run, "down", "-v", check=False)
        shop.show()
        if keep:
            section("it stays: " + EDGE)
            print("to buy for half a minute:  cd examples/shop && onggi up load\nto take it down:           cd examples/shop && onggi down -v")
        else:
            section("taken down again (./quickstart --keep leaves it running)")


if __name__ == "__main__":
    main(sys.argv[1:])
