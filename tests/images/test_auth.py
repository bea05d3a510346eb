"""Logging in, TLS and custom authorities, against a real registry; tokens against a server that checks every step."""

import base64
import json
import os
import stat
import subprocess

from image_test import Image, ImageTest, dumps, entry, make_tar


def basic(user, password):
    return "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()


class Auth(ImageTest):
    def setUp(self):
        super().setUp()
        self.image = Image([make_tar([entry("f", b"x")])])

    def certificates(self):
        """An authority of our own and a certificate of it for 127.0.0.1."""
        d = os.path.join(self.scratch, "tls")
        os.mkdir(d)
        run = lambda *a: subprocess.run(a, check=True, cwd=d, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: E731
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
            "-subj", "/CN=onggi test authority", "-days", "2")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "s.key", "-out", "s.csr", "-subj", "/CN=registry")
        with open(os.path.join(d, "ext"), "w") as f:
            f.write("subjectAltName=IP:127.0.0.1\n")
        run("openssl", "x509", "-req", "-in", "s.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", "s.crt", "-days", "2", "-extfile", "ext")
        return {k: os.path.join(d, k) for k in ("ca.crt", "s.crt", "s.key")}

    def secured(self, user="me", password="pass:word"):
        c = self.certificates()
        htpasswd = os.path.join(self.scratch, "htpasswd")
        subprocess.run(["htpasswd", "-Bbc", htpasswd, user, password], check=True, stderr=subprocess.DEVNULL)
        return self.registry(tls=(c["s.crt"], c["s.key"]), htpasswd=htpasswd), c

    def fill(self, registry):
        self.secret_ref = "%s/secret/x:t" % registry.host
        curl = ["curl", "-sS", "--fail", "-k", "-u", "me:pass:word"]
        base = "https://%s" % registry.host
        for digest, data in self.image.blobs.items():
            head = subprocess.run(curl + ["-i", "-X", "POST", base + "/v2/secret/x/blobs/uploads/"], check=True, stdout=subprocess.PIPE).stdout.decode()
            where = next(line.split(": ", 1)[1].strip() for line in head.splitlines() if line.lower().startswith("location"))
            subprocess.run(curl + ["-X", "PUT", "--data-binary", "@-", "-H", "Content-Type: application/octet-stream", where + "&digest=" + digest],
                           input=data, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(curl + ["-X", "PUT", "--data-binary", "@-", "-H", "Content-Type: " + self.image.media_type, base + "/v2/secret/x/manifests/t"],
                       input=self.image.manifest, check=True, stdout=subprocess.DEVNULL)

    def test_tls_and_basic(self):
        registry, c = self.secured()
        self.fill(registry)
        error = self.refuse("pull", self.secret_ref)
        self.assertEqual(error["kind"], "permission")
        self.assertIn("certs.d/%s/ca.crt" % registry.host, error["text"], "an unknown authority is not bypassed by plain http")
        error = self.refuse("pull", self.secret_ref, caFile=c["ca.crt"])
        self.assertIn("onggi login", error["text"])
        self.assertIn("UNAUTHORIZED", self.refuse("login", registry.host, username="me", password="wrong", caFile=c["ca.crt"])["text"])
        config = self.env["HOME"] + "/.docker/config.json"
        self.assertFalse(os.path.exists(config), "a login that fails stores nothing")
        os.makedirs(os.path.dirname(config))
        with open(config, "w") as f:
            json.dump({"HttpHeaders": {"X": "y"}, "auths": {"other": {"auth": "eDp5"}}, "detachKeys": "ctrl-x", "n": 1.5}, f)
        self.succeed("login", registry.host, username="me", password="pass:word", caFile=c["ca.crt"])
        with open(config) as f:
            stored = json.load(f)
        self.assertEqual(base64.b64decode(stored["auths"][registry.host]["auth"]), b"me:pass:word")
        self.assertEqual((stored["HttpHeaders"], stored["auths"]["other"], stored["detachKeys"], stored["n"]), ({"X": "y"}, {"auth": "eDp5"}, "ctrl-x", 1.5))
        self.assertEqual(stat.S_IMODE(os.stat(config).st_mode), 0o600)
        self.assertEqual(self.succeed("pull", self.secret_ref, caFile=c["ca.crt"]).last["ids"], [self.image.id])
        self.assertTrue(self.succeed("logout", registry.host).last["changed"])
        with open(config) as f:
            self.assertEqual(list(json.load(f)["auths"]), ["other"])
        self.assertNotIn("changed", self.succeed("logout", registry.host).last)

    def test_skip_verify_must_be_asked_for(self):
        registry, _ = self.secured()
        self.fill(registry)
        self.login_file(registry.host, "me", "pass:word")
        self.succeed("pull", self.secret_ref, registries=[{"host": registry.host, "skipVerify": True}])

    def login_file(self, host, user, password):
        os.makedirs(self.env["HOME"] + "/.docker", exist_ok=True)
        with open(self.env["HOME"] + "/.docker/config.json", "w") as f:
            json.dump({"auths": {"https://" + host: {"auth": basic(user, password).split()[1]}}}, f)

    def token_registry(self, tokens, check):
        """Bearer tokens by the book; `check(headers, query)` gives the token or None."""
        def hook(handler, path):
            if path.startswith("/token"):
                token = check(handler)
                handler.answer(200 if token else 401, dumps({"token": token} if token else {"errors": [{"code": "DENIED", "message": "who are you"}]}))
                return True
            if handler.headers.get("Authorization", "") not in ["Bearer " + t for t in tokens]:
                handler.answer(401, b"", {"WWW-Authenticate": 'Bearer realm="http://%s/token",service="the service",scope="ignored"' % handler.headers["Host"]})
                return True
            return False
        return self.faulty({"t": self.image}, hook)

    def test_token(self):
        asked = []

        def check(handler):
            asked.append((handler.path, handler.headers.get("Authorization")))
            return "T1"
        registry = self.token_registry(["T1"], check)
        self.succeed("pull", registry.host + "/t:t")
        self.assertEqual(asked, [("/token?service=the%20service&scope=repository%3At%3Apull", None)], "anonymous, once, reused for every request")
        self.login_file(registry.host, "me", "secret")
        self.root += "2"
        asked.clear()
        self.succeed("pull", registry.host + "/t:t")
        self.assertEqual(asked[0][1], basic("me", "secret"))
        self.assertTrue(asked[0][0].endswith("&account=me"))

    def test_expired_token_is_renewed(self):
        given, valid = [], ["T1"]

        def check(handler):
            given.append("T%d" % (len(given) + 1))
            return given[-1]
        registry = self.token_registry(valid, check)
        inner = registry.hook

        def expire(handler, path):
            if "/blobs/" in path and valid == ["T1"]:
                valid[:] = ["T2"]
            return inner(handler, path)
        registry.hook = expire
        self.succeed("pull", registry.host + "/t:t")
        self.assertEqual(given, ["T1", "T2"])

    def test_identity_token(self):
        posted = []

        def check(handler):
            posted.append(handler.rfile.read(int(handler.headers.get("Content-Length", 0))).decode())
            return "T1"
        registry = self.token_registry(["T1"], check)
        os.makedirs(self.env["HOME"] + "/.docker")
        with open(self.env["HOME"] + "/.docker/config.json", "w") as f:
            json.dump({"auths": {registry.host: {"auth": "", "identitytoken": "refresh+me"}}}, f)
        self.succeed("pull", registry.host + "/t:t")
        self.assertIn("grant_type=refresh_token", posted[0])
        self.assertIn("refresh_token=refresh%2Bme", posted[0])

    def test_refused_token_says_why(self):
        registry = self.token_registry(["T1"], lambda handler: None)
        error = self.refuse("pull", registry.host + "/t:t")
        self.assertIn("who are you", error["text"])
        self.assertEqual(error["kind"], "permission")

    # --- credential helpers ---

    def helper(self, script):
        d = os.path.join(self.scratch, "bin")
        os.makedirs(d, exist_ok=True)
        path = os.path.join(d, "docker-credential-test")
        with open(path, "w") as f:
            f.write("#!/bin/sh\n" + script)
        os.chmod(path, 0o755)
        self.env["PATH"] = d + ":" + self.env["PATH"]
        os.makedirs(self.env["HOME"] + "/.docker", exist_ok=True)

    def config(self, value):
        with open(self.env["HOME"] + "/.docker/config.json", "w") as f:
            json.dump(value, f)

    def test_credential_helper(self):
        seen = []

        def hook(handler, path):
            seen.append(handler.headers.get("Authorization"))
            if not seen[-1]:
                handler.answer(401, b"", {"WWW-Authenticate": "Basic realm=x"})
                return True
            return False
        registry = self.faulty({"t": self.image}, hook)
        self.helper('read host; echo "$1 $host" >>%s/asked; echo "{\\"ServerURL\\":\\"$host\\",\\"Username\\":\\"u\\",\\"Secret\\":\\"s\\"}"' % self.scratch)
        self.config({"credHelpers": {registry.host: "test"}})
        self.succeed("pull", registry.host + "/t:t")
        self.assertIn(basic("u", "s"), seen)
        with open(self.scratch + "/asked") as f:
            self.assertEqual(f.read(), "get %s\n" % registry.host)

    def test_credential_helpers_that_fail(self):
        registry = self.faulty({"t": self.image})
        self.helper('read host; echo "credentials not found in native keychain"; exit 1')
        self.config({"credsStore": "test"})
        self.succeed("pull", registry.host + "/t:t")  # none is no error
        self.helper('read host; echo "keyring is locked"; exit 1')
        self.assertIn("keyring is locked", self.refuse("pull", registry.host + "/t:t")["text"])
        self.config({"credsStore": "missing"})
        self.assertIn("docker-credential-missing", self.refuse("pull", registry.host + "/t:t")["text"])
        self.config({"credHelpers": {registry.host: "../../../tmp/evil"}})
        self.assertIn("not a plain name", self.refuse("pull", registry.host + "/t:t")["text"])

    def test_a_broken_config_says_so(self):
        registry = self.faulty({"t": self.image})
        os.makedirs(self.env["HOME"] + "/.docker")
        with open(self.env["HOME"] + "/.docker/config.json", "w") as f:
            f.write("{broken")
        self.assertIn("config.json", self.refuse("pull", registry.host + "/t:t")["text"])
