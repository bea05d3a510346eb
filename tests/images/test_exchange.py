"""Images in files and registries, exchanged both ways with skopeo and podman: the same ids, the same tree entry by entry."""

import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile

from image_test import OCI_INDEX, WORKER, Image, ImageTest, directory, dumps, entry, hardlink, make_tar, sha256, symlink, tree
from test_pull import base_tar, upper_tar


def podman_storage(test):
    """podman with a store of its own: neither the host's containers nor its configuration."""
    d = os.path.join(test.scratch, "podman")
    os.makedirs(d, exist_ok=True)
    return ["podman", "--root", d + "/root", "--runroot", d + "/run", "--storage-driver", "vfs", "--log-level", "error"]


class Exchange(ImageTest):
    def setUp(self):
        super().setUp()
        self.image = Image([base_tar(), upper_tar()], config={"Cmd": ["/bin/true"], "Env": ["A=b"], "Labels": {"x": "y"}})

    def path(self, name):
        return os.path.join(self.scratch, name)

    def run_peer(self, *argv, **kw):
        if not shutil.which(argv[0]):
            self.skipTest("needs " + argv[0])
        r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100, **kw)
        self.assertEqual(r.returncode, 0, "%s\n%s" % (argv, r.stderr.decode()))
        return r.stdout

    def skopeo(self, *argv):
        policy = self.path("policy.json")
        with open(policy, "w") as f:
            json.dump({"default": [{"type": "insecureAcceptAnything"}]}, f)
        return self.run_peer("skopeo", "--policy", policy, *argv)

    def pulled(self):
        registry = self.registry()
        ref = registry.push("a/b", "t", self.image)
        self.succeed("pull", ref)
        return registry, ref

    def same_in_another_root(self, image, load):
        """Runs `load` into a fresh root and compares every layer's tree with the first root's."""
        first = self.root
        trees = [tree(self.layer(d)) for d in image.diff_ids]
        self.root = first + "-other"
        answer = load()
        self.assertEqual(answer.last["ids"], [image.id])
        self.assertEqual([tree(self.layer(d)) for d in image.diff_ids], trees)
        self.assert_clean(layers=len(set(image.diff_ids)))
        return answer

    # --- our own round trips ---

    def test_save_and_load_every_form(self):
        registry, ref = self.pulled()
        for n, form in enumerate(("%s", "docker-archive:%s", "oci-archive:%s", "oci:%s")):
            where = self.path("saved%d" % n)
            self.root = self.path("root")
            self.succeed("save", ref, path=form % where)
            answer = self.same_in_another_root(self.image, lambda: self.succeed("load", path=form % where))
            self.assertEqual(answer.last["references"], [ref])
            stored = self.worker("push", ref)
            self.assertEqual(stored.last["digest"], self.image.digest, "the manifest is the one that was pulled")
            subprocess.run(["rm", "-rf", self.root], check=True)

    def test_save_several_images_and_names(self):
        registry, ref = self.pulled()
        other = Image([make_tar([entry("o")])])
        ref2 = registry.push("a/other", "t", other)
        self.succeed("pull", ref2)
        self.succeed("save", ref, ref2, path=self.path("both.tar"))
        self.root += "2"
        answer = self.succeed("load", path=self.path("both.tar"))
        self.assertEqual((sorted(answer.last["ids"]), sorted(answer.last["references"])), (sorted([self.image.id, other.id]), sorted([ref, ref2])))
        self.assertIn("one image", self.refuse("load", "name:t", path=self.path("both.tar"))["text"])

    def test_oci_directory_keeps_what_else_is_there(self):
        registry, ref = self.pulled()
        self.succeed("save", ref, path="oci:%s:one" % self.path("dir"))
        self.succeed("save", ref, path="oci:%s:two" % self.path("dir"))
        with open(self.path("dir/index.json")) as f:
            names = [m["annotations"]["org.opencontainers.image.ref.name"] for m in json.load(f)["manifests"]]
        self.assertIn("two", names)
        self.root += "2"
        answer = self.succeed("load", "given:name", path="oci:%s:two" % self.path("dir"))
        self.assertEqual(answer.last["references"], ["docker.io/library/given:name"])
        self.assertIn("named 'three'", self.refuse("load", path="oci:%s:three" % self.path("dir"))["text"])

    def test_save_of_what_is_not_there(self):
        self.assertIn("no such image", self.refuse("save", "nothing", path=self.path("x"))["text"])
        self.assertFalse(os.path.exists(self.path("x")))
        registry, ref = self.pulled()
        self.refuse("save", ref, path=self.path("no/such/directory/x"))

    # --- old docker archives ---

    def docker_archive(self, link=False, gz=False):
        """As docker save wrote before version 25: <id>/layer.tar, a config, manifest.json; perhaps a symlink between layers."""
        tars = [base_tar(), upper_tar()]
        image = Image(tars, compress="none")
        entries = []
        for n, tar in enumerate(tars):
            entries += [directory("l%d" % n), entry("l%d/layer.tar" % n, tar)]
        layers = ["l0/layer.tar", "l1/layer.tar"]
        if link:
            entries += [directory("l9"), symlink("l9/layer.tar", "../l1/layer.tar")]
            layers[1] = "l9/layer.tar"
        entries += [entry("config.json", image.config), entry("manifest.json", dumps([{"Config": "config.json", "RepoTags": ["old/image:1"], "Layers": layers}]))]
        tar = make_tar(entries)
        with open(self.path("old.tar"), "wb") as f:
            f.write(gzip.compress(tar) if gz else tar)
        return image

    def test_old_docker_archives(self):
        for kw in ({}, {"link": True}, {"gz": True}):
            self.root += "x"
            image = self.docker_archive(**kw)
            answer = self.succeed("load", path=self.path("old.tar"))
            self.assertEqual((answer.last["ids"], answer.last["references"]), ([image.id], ["docker.io/old/image:1"]))
            self.assert_clean(layers=2)

    def test_archives_that_attack(self):
        secret = self.path("secret")
        with open(secret, "w") as f:
            f.write("{}")
        config = Image([b""]).config
        for name, entries in {
                "config outside": [entry("manifest.json", dumps([{"Config": "../../secret", "RepoTags": [], "Layers": []}]))],
                "config by symlink": [symlink("c", secret), entry("manifest.json", dumps([{"Config": "c", "RepoTags": [], "Layers": []}]))],
                "layer is a fifo": [entry("l", kind=tarfile.FIFOTYPE), entry("c", Image([b"x"]).config), entry("manifest.json", dumps([{"Config": "c", "Layers": ["l"]}]))],
                "layer missing": [entry("c", config), entry("manifest.json", dumps([{"Config": "c", "RepoTags": [], "Layers": ["l"]}]))],
                "index of lies": [entry("index.json", dumps({"schemaVersion": 2, "manifests": [{"digest": sha256(b"x"), "size": 1}]})), directory("blobs"),
                                  directory("blobs/sha256"), entry("blobs/sha256/" + sha256(b"x")[7:], b"y")],
                "empty": [], "no image": [entry("hello", b"x")]}.items():
            with open(self.path("evil.tar"), "wb") as f:
                f.write(make_tar(entries))
            error = self.refuse("load", path=self.path("evil.tar"))
            self.assertNotEqual(error["kind"], "internal", (name, error))
            self.assert_clean(layers=0)

    def test_import(self):
        with open(self.path("root.tar"), "wb") as f:
            f.write(base_tar())
        answer = self.succeed("import", "mine:1", path=self.path("root.tar"), config=json.dumps({"Cmd": ["/bin/tool"]}), message="from a test")
        self.assertEqual(answer.last["references"], ["docker.io/library/mine:1"])
        self.succeed("save", "mine:1", path="oci:%s:x" % self.path("d"))
        config = json.loads(self.skopeo("inspect", "--config", "oci:%s:x" % self.path("d")))
        self.assertEqual((config["config"]["Cmd"], config["history"][0]["comment"]), (["/bin/tool"], "from a test"))
        self.assert_clean(layers=1)
        again = self.succeed("import", path=self.path("root.tar"))
        self.assert_clean(layers=1)
        self.assertNotEqual(again.last["ids"], answer.last["ids"])
        self.assertIn("..", self.import_of(make_tar([entry("../x")]))["text"])

    def import_of(self, tar):
        with open(self.path("bad.tar"), "wb") as f:
            f.write(tar)
        error = self.refuse("import", path=self.path("bad.tar"))
        self.assert_clean(layers=1)
        return error

    # --- push ---

    def test_push_gives_back_what_was_pulled(self):
        registry, ref = self.pulled()
        other = self.registry()
        target = other.host + "/copy:t"
        self.tag(ref, target)
        answer = self.succeed("push", target)
        self.assertEqual(answer.last["digest"], self.image.digest)
        self.assertEqual(other.request("GET", "/v2/copy/manifests/t", headers={"Accept": self.image.media_type})[2], self.image.manifest)
        for digest, data in self.image.blobs.items():
            self.assertEqual(other.request("GET", "/v2/copy/blobs/" + digest)[2], data)
        again = self.succeed("push", target)
        self.assertEqual(sorted(again.layers("exists")), sorted(layer["digest"] for layer in self.image.layers))
        self.assertEqual(again.last.get("transferred", 0), 0)

    def tag(self, ref, name):
        """Loads the image once more under the new name."""
        self.succeed("save", ref, path=self.path("tag.tar"))
        self.succeed("load", name, path=self.path("tag.tar"))
        os.unlink(self.path("tag.tar"))

    def test_push_mounts_from_another_repository(self):
        registry, ref = self.pulled()
        target = registry.host + "/new/place:t"
        self.tag(ref, target)
        answer = self.succeed("push", target)
        self.assertEqual(sorted(answer.layers("mounted")), sorted(layer["digest"] for layer in self.image.layers))

    def test_push_continues_a_broken_upload(self):
        registry, ref = self.pulled()
        blob = max(self.image.blobs.values(), key=len)
        state, log = {"data": b"", "done": {}, "cut": 0}, []

        def hook(handler, path):
            body = b""
            if handler.command in ("PATCH", "PUT", "POST"):
                length = int(handler.headers.get("Content-Length", 0))
                if handler.command == "PATCH" and length > 1_000_000 and state["cut"] < 2:
                    state["cut"] += 1
                    state["data"] += handler.rfile.read(700_000)
                    handler.close_connection = True
                    handler.connection.close()
                    return True
                body = handler.rfile.read(length)
            log.append((handler.command, path.split("?")[0], handler.headers.get("Content-Range")))
            if handler.command == "HEAD":
                handler.answer(404)
            elif handler.command == "POST":
                state["data"] = b""
                handler.answer(202, b"", {"Location": "/v2/c/blobs/uploads/1"})
            elif handler.command == "PATCH":
                state["data"] += body
                handler.answer(202, b"", {"Location": "/v2/c/blobs/uploads/1"})
            elif handler.command == "GET" and "uploads" in path:
                handler.answer(204, b"", {"Range": "0-%d" % (len(state["data"]) - 1)})
            elif handler.command == "PUT" and "uploads" in path:
                data, digest = state["data"] + body, path.split("digest=")[1].replace("%3A", ":")
                state["done"][digest] = data
                handler.answer(201 if sha256(data) == digest else 400)
            elif handler.command == "PUT":
                state["manifest"] = body
                handler.answer(201)
            else:
                return False
            return True
        server = self.faulty({}, hook)
        target = server.host + "/c:t"
        self.tag(ref, target)
        self.succeed("push", target, parallel=1)
        self.assertEqual(state["done"][sha256(blob)], blob)
        self.assertEqual(state["manifest"], self.image.manifest)
        self.assertIn(("PATCH", "/v2/c/blobs/uploads/1", "1400000-%d" % (len(blob) - 1)), log)

    def test_push_of_what_is_not_there(self):
        registry, ref = self.pulled()
        self.assertIn("no such image", self.refuse("push", registry.host + "/never:seen")["text"])
        self.assertIn("a tag is needed", self.refuse("push", registry.host + "/a/b@" + self.image.digest)["text"])

    def test_referrers(self):
        registry, ref = self.pulled()
        index = json.loads(self.succeed("referrers", ref).last["json"])
        self.assertEqual(index["manifests"], [])
        signature = {"schemaVersion": 2, "manifests": [{"mediaType": self.image.media_type, "digest": sha256(b"s"), "size": 1, "artifactType": "x/signature"}]}

        def hook(handler, path):
            if "/referrers/" + self.image.digest not in path:
                return False
            handler.answer(200, dumps(signature), {"Content-Type": OCI_INDEX})
            return True
        server = self.faulty({"s": self.image}, hook)
        self.assertEqual(json.loads(self.succeed("referrers", server.host + "/s:t").last["json"]), signature)

    # --- peers ---

    def test_skopeo_reads_ours(self):
        registry, ref = self.pulled()
        self.succeed("save", ref, path="oci:%s:x" % self.path("dir"))
        self.succeed("save", ref, path=self.path("a.tar"))
        self.succeed("save", ref, path="oci-archive:" + self.path("oci.tar"))
        for source in ("oci:%s:x" % self.path("dir"), "docker-archive:%s:%s" % (self.path("a.tar"), ref), "oci-archive:" + self.path("oci.tar")):
            raw = json.loads(self.skopeo("inspect", "--config", source))
            self.assertEqual(raw["rootfs"]["diff_ids"], self.image.diff_ids, source)
            self.skopeo("copy", source, "dir:" + self.path("copied"))
            shutil.rmtree(self.path("copied"))

    def test_ours_reads_skopeos(self):
        registry, ref = self.pulled()
        source = "docker://" + ref
        tls = ["--src-tls-verify=false"]
        for n, target in enumerate(("oci:%s:na/me:tag", "oci-archive:%s:na/me:tag", "docker-archive:%s:na/me:tag")):
            where = self.path("s%d" % n)
            self.skopeo("copy", *tls, source, target % where)
            transport = target.split(":")[0]
            self.root = self.path("root")
            answer = self.same_in_another_root(self.image, lambda: self.succeed("load", path="%s:%s" % (transport, where)))
            self.assertEqual(answer.last["references"], ["docker.io/na/me:tag"])
            subprocess.run(["rm", "-rf", self.root], check=True)

    def test_skopeo_converts_and_ours_pulls(self):
        """zstd layers, docker's schema 2: made by skopeo in a registry, pulled by us, the same tree."""
        registry, ref = self.pulled()
        for n, options in enumerate((["--dest-compress-format", "zstd", "--format", "oci"], ["--format", "v2s2"])):
            target = "%s/conv:%d" % (registry.host, n)
            self.skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", *options, "docker://" + ref, "docker://" + target)
            self.root = self.path("root")
            trees = [tree(self.layer(d)) for d in self.image.diff_ids]
            self.root = self.path("conv%d" % n)
            self.succeed("pull", target)
            self.assertEqual([tree(self.layer(d)) for d in self.image.diff_ids], trees)

    def test_podman_both_ways(self):
        registry, ref = self.pulled()
        podman = podman_storage(self)
        self.addCleanup(lambda: subprocess.run(["rm", "-rf", self.path("podman")], check=True))
        self.succeed("save", ref, path=self.path("ours.tar"))
        self.run_peer(*podman, "load", "-i", self.path("ours.tar"))
        self.assertEqual(self.run_peer(*podman, "image", "inspect", "--format", "{{.Id}}", ref).decode().strip(), self.image.id.split(":")[1])
        for form in ("docker-archive", "oci-archive"):
            saved = self.path(form)
            self.run_peer(*podman, "save", "--format", form, "-o", saved, ref)
            self.root = self.path("root")
            trees = [tree(self.layer(d)) for d in self.image.diff_ids]
            self.root = self.path("from-" + form)
            self.succeed("load", path=saved)
            self.assertEqual([tree(self.layer(d)) for d in self.image.diff_ids], trees)
        self.root = self.path("root")
        target = registry.host + "/pushed:t"
        self.tag(ref, target)
        self.succeed("push", target)
        self.run_peer(*podman, "pull", "--tls-verify=false", "-q", target)

    def test_output_to_a_descriptor(self):
        registry, ref = self.pulled()
        with open(self.path("fd3"), "wb") as f:
            request = dumps({"operation": "save", "root": self.root, "references": [ref], "path": "-"})
            subprocess.run(["sh", "-c", 'exec "$0" 3>&1 >/dev/null', WORKER], input=request, stdout=f, check=True, env=self.env)
        with tarfile.open(fileobj=io.BytesIO(open(self.path("fd3"), "rb").read())) as t:
            self.assertIn("manifest.json", t.getnames())

    def test_hard_links_survive(self):
        tar = make_tar([entry("a", b"same"), hardlink("b", "a"), hardlink("c", "a")])
        with open(self.path("r.tar"), "wb") as f:
            f.write(tar)
        self.succeed("import", "h:1", path=self.path("r.tar"))
        root = self.layer(sha256(tar))
        self.assertEqual({os.stat(os.path.join(root, n)).st_ino for n in "abc"}, {os.stat(os.path.join(root, "a")).st_ino})
