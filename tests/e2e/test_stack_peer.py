"""`onggi config` beside docker compose v2's, file by file: the same canonical project, and what ours prints is a file that theirs reads as the same."""

import json
import os
import subprocess
import tempfile
import unittest

from engine import PROGRAM

PLACES = (os.environ.get("ONGGI_COMPOSE", ""), "/usr/libexec/docker/cli-plugins/docker-compose", "/usr/lib/docker/cli-plugins/docker-compose")
COMPOSE = next((p for p in PLACES if p and os.access(p, os.X_OK)), "")

BASIC = """
services:
  web:
    image: nginx:${TAG:-1.2}
    ports: ["8080:80", "127.0.0.1:90-92:90-92/udp", 443, {target: 1, published: 5}]
    volumes: ["data:/data:ro", "./x:/x", "/tmp:/tmp2:rslave", "/anon", {type: tmpfs, target: /t, tmpfs: {size: 1g, mode: 01777}}]
    depends_on: [db]
    environment: [A=b, C, "D=1"]
    env_file: e.env
    command: sh -c "echo $$HOME 'a b'"
    entrypoint: ["/x", "y"]
    mem_limit: 64m
    shm_size: 1gb
    ulimits: {nofile: 1024, nproc: {soft: 1, hard: 2}}
    healthcheck: {test: curl -f x, interval: 1m30s, retries: 3, timeout: 500ms}
    tmpfs: /run
    dns: 1.1.1.1
    extra_hosts: ["a:1.2.3.4", "b=::1"]
    labels: [x=y, z]
    networks: {front: {aliases: [w]}, default: }
    configs: [c1, {source: c1, target: /c2, mode: 0440, uid: "1"}]
    secrets: [s1]
    devices: ["/dev/null:/dev/n:r", "/dev/zero"]
    logging: {driver: json-file, options: {max-size: 10m}}
    stop_grace_period: 1m
    sysctls: {net.core.somaxconn: 1024}
    restart: on-failure:3
    links: [db:data]
    security_opt: [no-new-privileges]
    init: true
    expose: [3000, "4000"]
    annotations: [a=b]
    group_add: [1, a]
  db: {image: db, network_mode: host, scale: 2}
networks: {front: {ipam: {config: [{subnet: 10.0.0.0/8}]}, driver_opts: {a: 1}, labels: [q=1]}}
volumes: {data: , unused: }
configs: {c1: {content: "hello ${TAG:-none}"}}
secrets: {s1: {file: ./s}, s2: {environment: HOME}}
"""

CASES = {
    "basic": {"compose.yaml": BASIC, "e.env": "E1=x\nE2=\"q ${E1}\"\n", "s": "secret"},
    "merged": {"compose.yaml": "services: {a: {image: x, command: [a], environment: {A: 1, B: 2}, dns: [1.1.1.1], volumes: ['vv:/d', 'vv:/e'], ports: ['1:1']}}\nvolumes: {vv: , ww: }",
               "compose.override.yaml": "services: {a: {command: b c, environment: [B=3], dns: [8.8.8.8], volumes: ['ww:/d'], ports: ['2:2'], logging: {driver: none}}}"},
    "reset": {"compose.yaml": "services: {a: {image: x, ports: ['1:1'], environment: {A: 1, B: 2}}}",
              "compose.override.yaml": "services: {a: {ports: !reset [], environment: {A: !reset null}}}"},
    "extends": {"compose.yaml": "services: {a: {extends: {file: o/b.yaml, service: s}, environment: {B: own}}, c: {extends: d}, d: {image: y, hostname: h}}",
                "o/b.yaml": "services: {s: {image: x, volumes: ['./v:/v'], environment: [A=1, B=2]}}"},
    "included": {"compose.yaml": "include: [sub/compose.yaml]\nservices: {a: {image: x, depends_on: [b]}}", "sub/compose.yaml": "services: {b: {image: 'y:${T}', volumes: ['./d:/d']}}",
                 "sub/.env": "T=7"},
    "anchors": {"compose.yaml": "x-e: &e {A: 1, B: 2}\nx-s: &s {image: x, restart: always}\nservices: {a: {<<: *s, environment: {<<: *e, B: 3}}, b: {<<: *s, image: y, environment: *e}}"},
    "dotenv": {"compose.yaml": "services: {a: {image: 'x:${A}', environment: {A: '${B:-d}', C: '${D?e}', E: '${F-}x', G: '${A:+set}', H: '$$A', I: }}}", ".env": "A=1\nD='q r'\nI=in # note\n"},
}


def bare(x):
    """Without what Go's JSON has of absent members, and numbers as they compare."""
    if isinstance(x, dict):
        made = {k: bare(v) for k, v in x.items()}
        return {k: v for k, v in made.items() if v not in ({}, [], None) or k in ("default",)}
    if isinstance(x, list):
        return [bare(v) for v in x]
    return int(x) if isinstance(x, float) and x == int(x) else x


def config(program, where, *options):
    env = {"PATH": os.environ["PATH"], "HOME": "/root"}
    out = subprocess.run([*program, *options, "config", "--format", "json"], cwd=where, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if out.returncode:
        raise AssertionError("%s: %s" % (program, out.stderr))
    document = json.loads(out.stdout)
    return bare({k: v for k, v in document.items() if not k.startswith("x-")})


@unittest.skipUnless(COMPOSE, "needs docker_compose (v2; ONGGI_COMPOSE names it)")
class Peer(unittest.TestCase):
    maxDiff = None

    def test_canonical_forms(self):
        for name, files in CASES.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as where:
                for path, text in files.items():
                    os.makedirs(os.path.dirname(os.path.join(where, path)), exist_ok=True)
                    with open(os.path.join(where, path), "w") as f:
                        f.write(text)
                theirs = config([COMPOSE], where)
                self.assertEqual(config([PROGRAM, "compose"], where), theirs)
                env = {"PATH": os.environ["PATH"], "HOME": "/root"}
                printed = subprocess.run([PROGRAM, "compose", "config"], cwd=where, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
                with open(os.path.join(where, "printed.yaml"), "w") as f:
                    f.write(printed)
                self.assertEqual(config([COMPOSE], where, "-f", "printed.yaml"), theirs)
