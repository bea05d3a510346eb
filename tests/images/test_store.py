"""The store under damage, kills and power cuts, seen from outside: what check says, what repair mends, what is left."""

import json
import os
import random
import shutil
import signal
import sqlite3
import stat
import time

from image_test import Image, ImageTest, directory, entry, make_tar, tree


class Store(ImageTest):
    def setUp(self):
        super().setUp()
        self.image = Image([make_tar([directory("a"), entry("a/f", b"one" * 1000, mode=0o4755, uid=5)]), make_tar([entry(".wh.a"), entry("g", b"two")])])
        self.registry_ = self.faulty({"s": self.image})
        self.ref = self.registry_.host + "/s:t"
        self.succeed("pull", self.ref)

    def check(self, **kw):
        return json.loads(self.succeed("check", **kw).last["json"])

    def test_a_damaged_tree_is_unpacked_again(self):
        before = [tree(self.layer(d)) for d in self.image.diff_ids]
        os.unlink(self.layer(self.image.diff_ids[0]) + "/a/f")
        shutil.rmtree(self.images("layers", self.image.diff_ids[1].split(":")[1]))
        found = self.check()
        self.assertEqual(len([p for p in found["problems"] if p.startswith("layer")]), 2, found)
        mended = self.check(repair=True)
        self.assertEqual(mended["remaining"], [], mended)
        self.assertEqual([tree(self.layer(d)) for d in self.image.diff_ids], before)
        self.assert_clean(layers=2)

    def test_what_only_a_pull_can_mend(self):
        shutil.rmtree(self.images("layers", self.image.diff_ids[0].split(":")[1]))
        os.unlink(self.images("blobs/sha256", self.image.layers[0]["digest"].split(":")[1]))
        mended = self.check(repair=True)
        self.assertEqual(len(mended["remaining"]), 1, mended)
        self.assertIn("pull it again", mended["remaining"][0])
        self.succeed("pull", self.ref)
        self.assert_clean(layers=2)

    def test_a_damaged_blob_is_never_unpacked(self):
        blob = self.images("blobs/sha256", self.image.layers[0]["digest"].split(":")[1])
        with open(blob, "r+b") as f:
            f.seek(40)
            f.write(b"\xff\x00\xff")
        shutil.rmtree(self.images("layers", self.image.diff_ids[0].split(":")[1]))
        mended = self.check(repair=True)
        self.assertEqual(len(mended["remaining"]), 1, mended)
        self.succeed("pull", self.ref)
        self.assert_clean(layers=2)

    def test_a_pull_does_not_stumble_over_a_damaged_blob(self):
        """Without a check before: the damage is found while the blob is unpacked, and it is fetched again."""
        blob = self.images("blobs/sha256", self.image.layers[0]["digest"].split(":")[1])
        with open(blob, "r+b") as f:
            f.seek(40)
            f.write(b"\xff\x00\xff")
        db = sqlite3.connect(self.images("db.sqlite"))
        db.execute("DELETE FROM layers WHERE diff_id=?", (self.image.diff_ids[0],))
        db.commit()
        db.close()
        self.assertTrue(self.succeed("pull", self.ref).notes)
        self.assert_clean(layers=2)

    def test_a_power_cut_before_the_sync(self):
        """The rows of another boot that no sync followed are not trusted: forged by writing another boot's name into them."""
        self.succeed("sweep")
        time.sleep(0.2)
        db = sqlite3.connect(self.images("db.sqlite"))
        deadline = time.monotonic() + 30
        while db.execute("SELECT count(*) FROM layers WHERE boot IS NOT NULL").fetchone()[0] and time.monotonic() < deadline:
            time.sleep(0.05)  # the worker syncs after its answer
        self.assertEqual(db.execute("SELECT count(*) FROM layers WHERE boot IS NOT NULL").fetchone()[0], 0, "made durable after the answer")
        db.execute("UPDATE layers SET boot='a former life' WHERE diff_id=?", (self.image.diff_ids[0],))
        db.execute("UPDATE meta SET value='a former life' WHERE key='boot'")
        db.commit()
        db.close()
        found = self.check()
        self.assertEqual(len(found["problems"]), 1, found)
        self.assertFalse(os.path.exists(self.layer(self.image.diff_ids[0])))
        self.assertEqual(self.check(repair=True)["remaining"], [], "the blob had been synced: unpacked again from it")
        self.assert_clean(layers=2)

    def test_killed_anywhere(self):
        """Pulls, loads and removals killed at random moments: the store always opens, and check finds nothing but rubbish."""
        seed = int(os.environ.get("ONGGI_SEED", random.randrange(1 << 30)))
        rng = random.Random(seed)
        self.succeed("save", self.ref, path=self.scratch + "/saved.tar")
        for n in range(int(os.environ.get("ONGGI_FAULT_POINTS", "12"))):
            self.root = os.path.join(self.scratch, "r%d" % n)
            workers = [self.start("pull", self.ref), self.start("load", "x:%d" % n, path=self.scratch + "/saved.tar")]
            time.sleep(rng.random() * 0.12)
            for w in workers:
                w.send_signal(signal.SIGKILL)
            for w in workers:
                w.communicate()
            mended = self.check(repair=True)
            self.assertEqual(mended["remaining"], [], "seed %d" % seed)
            self.succeed("pull", self.ref)
            self.assert_clean(layers=2)

    def test_the_store_is_its_owners(self):
        for name in ("", "layers", "blobs", "tmp", "trash", "locks"):
            self.assertEqual(stat.S_IMODE(os.stat(self.images(name)).st_mode), 0o700, name)
