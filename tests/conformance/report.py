#!/usr/bin/env python3
"""Renders docs/oci-conformance.md: each field of the specification, the tests that fail when it is ignored, and what they said.

usage: report.py [--write] V1.json V2.json      (results of `tests/run --json` on a v1 host and in the test VM; a missing file leaves a column empty)

Owns nothing; fields.txt is the list. A field without a test, or a test name that no result has, makes it fail, so the list cannot go stale.
"""

import argparse
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(os.path.dirname(os.path.dirname(HERE)), "docs/oci-conformance.md")


def load(path):
    if not os.path.exists(path):
        return None
    with open(path) as f:
        return json.load(f)


def outcome(result, names):
    """One word for several tests: failed beats passed beats skipped; a skip names its reason."""
    if result is None:
        return ""
    got = [result["tests"][n] for n in names if n in result["tests"]]
    words = [t["outcome"] for t in got]
    passed = words.count("passed")
    if "failed" in words:
        return "**fails**: %d of %d" % (words.count("failed"), len(words))
    if passed:
        skipped = len(words) - passed
        return "%d passed" % passed + (", %d skipped" % skipped if skipped else "")
    return "skipped: " + "; ".join(sorted({t["text"] for t in got}))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--write", action="store_true", help="write docs/oci-conformance.md instead of printing")
    p.add_argument("v1")
    p.add_argument("v2")
    a = p.parse_args()
    results = [load(a.v1), load(a.v2)]
    known = {name for r in results if r for name in r["tests"]}
    rows, bad = [], []
    with open(os.path.join(HERE, "fields.txt")) as f:
        for line in f:
            if not line.strip() or line.startswith("#"):
                continue
            field, _, tests = line.strip().partition(" | ")
            names = []
            for word in tests.split():
                full = "kernel/" + word
                found = [n for n in sorted(known) if n == full or n.startswith(full + ".")]
                names += found
                if not found:
                    bad.append("%s: no test %s" % (field, word))
            if not tests:
                bad.append("%s: no test" % field)
            rows.append("| %s | %s | %s | %s |" % (field, " ".join("`%s`" % w for w in tests.split()), outcome(results[0], names), outcome(results[1], names)))
    about = ["%s, cgroup %s, Linux %s: %s" % (n, r["cgroup"], r["kernel"], ", ".join("%d %s" % (v, k) for k, v in r["counts"].items()))
             for n, r in zip(("v1", "v2"), results) if r]
    text = "\n".join(["# Conformance to the OCI runtime specification 1.3, field by field", "",
                      "Made by `tests/conformance/report.py` from results of `tests/run`; not written by hand. Make it again after a change:", "",
                      "```sh", "tests/run --json v1.json          # on a cgroup v1 host", "./check --only VM                 # leaves build/logs/vm.json",
                      "tests/conformance/report.py --write v1.json build/logs/vm.json", "```", "", *["- " + x for x in about], "",
                      "| field | tests | v1 | v2 |", "|---|---|---|---|", *rows, ""])
    if bad:
        sys.exit("conformance: " + "\n".join(bad))
    if a.write:
        with open(OUT, "w") as f:
            f.write(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
