#include "image/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/sha256.h"
#include "base/tree.h"
#include "oci/image_emit.h"

namespace onggi::image {
namespace {

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/onggi-store-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
  }
  void TearDown() override { ASSERT_TRUE(remove_tree_at(AT_FDCWD, root_)); }

  Store open(std::string boot = "") {
    auto store = Store::open(root_, {.boot_id = std::move(boot)});
    EXPECT_TRUE(store) << store.error().text();
    return std::move(*store);
  }
  static oci::Digest digest_of(std::string_view text) { return oci::Digest::sha256(sha256_hex(text)); }

  // A layer with one file, and its blob.
  static ImageLayer add_layer(Store& store, const std::string& content) {
    oci::Digest diff = digest_of("tar of " + content), blob = digest_of(content);
    if (auto w = store.begin_layer(diff); w && *w) {
      EXPECT_TRUE(write_file_at((*w)->directory(), "fs/file", content, O_CREAT));
      EXPECT_TRUE((*w)->commit({diff, LayerForm::kDirectory, content.size(), 1}));
    } else {
      EXPECT_TRUE(w) << w.error().text();
    }
    if (auto w = store.begin_blob(blob); w && *w) {
      EXPECT_TRUE(write_all((*w)->file(), content, "blob"));
      EXPECT_TRUE((*w)->commit(content.size()));
    }
    return {diff, blob, std::string(oci::kMediaLayerGzip), content.size()};
  }
  static oci::Digest add_image(Store& store, const std::vector<std::string>& contents,
                               const std::vector<std::string>& names,
                               const std::string& created = "2024-01-01T00:00:00Z") {
    NewImage image;
    oci::ImageConfig config;
    config.architecture = "amd64";
    config.os = "linux";
    config.created = created;
    for (const std::string& content : contents) {
      image.layers.push_back(add_layer(store, content));
      config.rootfs.diff_ids.push_back(image.layers.back().diff_id);
    }
    image.config_json = oci::emit_image_config(config);
    image.manifest_json = "{\"manifest of\":\"" + created + contents[0] + "\"}";
    image.manifest_type = oci::kMediaManifest;
    for (const std::string& name : names) {
      auto ref = *Reference::parse(name);
      image.digests.emplace_back(ref.name(), digest_of(image.manifest_json));
      image.names.push_back(ref);
    }
    auto id = store.add_image(image);
    EXPECT_TRUE(id) << id.error().text();
    return id ? *id : oci::Digest();
  }
  static std::vector<std::string> problems(Store& store, bool repair = false, bool deep = true) {
    auto report = store.check(repair, deep);
    EXPECT_TRUE(report) << report.error().text();
    return report ? report->problems : std::vector<std::string>{"check failed"};
  }
  static std::vector<std::string> none() { return {}; }
  bool exists(const std::string& path) { return ::access((root_ + "/images/" + path).c_str(), F_OK) == 0; }
  static std::string layer_file(const std::string& content) {
    return "layers/" + std::string(digest_of("tar of " + content).hex()) + "/fs/file";
  }

  std::string root_;
};

TEST_F(StoreTest, FindsAnImageByEveryWord) {
  Store store = open();
  oci::Digest id = add_image(store, {"one", "two"}, {"nginx:1.25"});
  oci::Digest manifest = store.resolve(id.text())->manifest;
  std::string hex(id.hex());
  for (const std::string& word :
       {std::string("nginx:1.25"), std::string("docker.io/library/nginx:1.25"), id.text(), hex,
        hex.substr(0, 12), hex.substr(0, 4), "nginx@" + manifest.text()}) {
    auto image = store.resolve(word);
    ASSERT_TRUE(image) << word << ": " << image.error().text();
    EXPECT_EQ(image->id, id);
  }
  auto image = *store.resolve("nginx:1.25");
  EXPECT_EQ(image.names, std::vector<std::string>{"docker.io/library/nginx:1.25"});
  EXPECT_EQ(image.digests, std::vector<std::string>{"docker.io/library/nginx@" + manifest.text()});
  EXPECT_EQ(image.created, 1704067200);
  EXPECT_EQ(image.size, 6u);
  ASSERT_EQ(image.layers.size(), 2u);
  EXPECT_EQ(image.layers[0].blob, digest_of("one"));
  auto lowers = *store.layers_of(image);
  EXPECT_EQ(lowers[0].diff_id, digest_of("tar of two")) << "uppermost first";
  EXPECT_EQ(*read_file(store.layer_path(lowers[1].diff_id) + "/fs/file"), "one");
  for (const char* word : {"nginx", "nginx:2", "abc", "0000000", "sha256:00000000"})
    EXPECT_EQ(store.resolve(word).error().kind(), ErrorKind::kNotFound) << word;
  EXPECT_EQ(store.resolve("Bad Name").error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(problems(store), none());
}

TEST_F(StoreTest, NamesMoveAndGo) {
  Store store = open();
  oci::Digest a = add_image(store, {"a"}, {"x:1"}), b = add_image(store, {"b"}, {"y:1"});
  ASSERT_TRUE(store.tag("x:1", *Reference::parse("z")));
  ASSERT_TRUE(store.tag("y:1", *Reference::parse("x:1")));  // moves
  EXPECT_EQ(store.resolve("x:1")->id, b);
  EXPECT_EQ(store.resolve("z")->id, a);
  EXPECT_FALSE(store.tag("nothing", *Reference::parse("w")));
  auto removed = store.remove("x:1", false);
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->untagged, std::vector<std::string>{"x:1"});
  EXPECT_TRUE(removed->deleted.empty()) << "y:1 still names it";
  EXPECT_EQ(store.resolve("y:1")->id, b);
}

TEST_F(StoreTest, RemovesWhatNothingElseNeeds) {
  Store store = open();
  oci::Digest a = add_image(store, {"shared", "only a"}, {"a"});
  add_image(store, {"shared", "only b"}, {"b"});
  auto removed = store.remove("a", false);
  ASSERT_TRUE(removed) << removed.error().text();
  EXPECT_EQ(removed->deleted, (std::vector<oci::Digest>{a, digest_of("tar of only a")}));
  EXPECT_EQ(removed->freed, 12u);
  EXPECT_FALSE(exists(layer_file("only a")));
  EXPECT_TRUE(exists(layer_file("shared")));
  EXPECT_FALSE(*store.has_blob(digest_of("only a")));
  EXPECT_FALSE(store.document(a)) << "its config is gone, too";
  EXPECT_EQ(problems(store), none());
  EXPECT_GT(*store.sweep(), 0u);
  EXPECT_EQ(*store.sweep(), 0u);
  ASSERT_TRUE(store.remove("b", false));
  EXPECT_EQ(store.usage()->layers, 0u);
  EXPECT_EQ(store.usage()->blob_bytes, 0u);
}

TEST_F(StoreTest, AContainerKeepsItsImage) {
  Store store = open();
  oci::Digest id = add_image(store, {"c"}, {"c", "d"});
  ASSERT_TRUE(store.hold("box", id));
  EXPECT_EQ(store.hold("other", digest_of("no image")).error().kind(), ErrorKind::kNotFound);
  ASSERT_TRUE(store.remove("d", false)) << "a name may go";
  auto refused = store.remove("c", false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kBusy);
  EXPECT_NE(refused.error().text().find("box"), std::string::npos);
  ASSERT_TRUE(store.remove("c", true)) << "forced: the last name goes, the image stays";
  EXPECT_TRUE(store.resolve(id.text()));
  EXPECT_TRUE(store.prune({.all = true})->deleted.empty());
  EXPECT_EQ(store.usage()->reclaimable, 0u);
  ASSERT_TRUE(store.release("box"));
  EXPECT_EQ(store.prune({})->deleted.size(), 2u);
  EXPECT_FALSE(store.resolve(id.text()));
}

TEST_F(StoreTest, RefusesToRemoveSeveralNamesById) {
  Store store = open();
  oci::Digest id = add_image(store, {"c"}, {"c", "d"});
  EXPECT_EQ(store.remove(id.text(), false).error().kind(), ErrorKind::kBusy);
  EXPECT_EQ(store.remove(id.text(), true)->untagged.size(), 4u);  // two names, two digests
}

TEST_F(StoreTest, PrunesByAgeNameAndSize) {
  Store store = open();
  add_image(store, {"aaaa"}, {"old"}, "2020-01-01T00:00:00Z");
  add_image(store, {"bbbb"}, {"new"}, "2025-01-01T00:00:00Z");
  add_image(store, {"cccc"}, {}, "2025-01-01T00:00:00Z");
  EXPECT_EQ(store.prune({.created_before = 1704067200})->deleted.size(), 0u)
      << "named images stay without `all`";
  EXPECT_EQ(store.prune({.all = true, .created_before = 1704067200})->untagged[0], "old:latest");
  EXPECT_EQ(store.list()->size(), 2u);
  EXPECT_EQ(store.prune({.all = true, .keep_bytes = 8})->deleted.size(), 2u)
      << "one image and its layer: 8 bytes left";
  EXPECT_EQ(store.list()->size(), 1u);
}

TEST_F(StoreTest, AnImageNeedsItsLayers) {
  Store store = open();
  NewImage image;
  oci::ImageConfig config;
  config.rootfs.diff_ids = {digest_of("missing")};
  image.config_json = oci::emit_image_config(config);
  image.manifest_json = "{}";
  EXPECT_EQ(store.add_image(image).error().kind(), ErrorKind::kInvalid) << "its config lists a layer more";
  image.layers.push_back({digest_of("missing"), {}, "", 0});
  EXPECT_EQ(store.add_image(image).error().kind(), ErrorKind::kNotFound);
  EXPECT_TRUE(store.list()->empty());
}

TEST_F(StoreTest, AbandonedWorkLeavesNothing) {
  Store store = open();
  oci::Digest d = digest_of("x");
  {
    auto w = store.begin_layer(d);
    ASSERT_TRUE(w && *w);
    ASSERT_TRUE(write_file_at((*w)->directory(), "fs/half", "x", O_CREAT));
    auto b = store.begin_blob(d);
    ASSERT_TRUE(b && *b);
    ASSERT_TRUE(write_all((*b)->file(), "half", "blob"));
    (*b)->discard();
  }
  ASSERT_TRUE(store.sweep());
  for (const char* directory : {"tmp", "trash", "locks", "layers", "blobs/sha256"})
    EXPECT_EQ(::rmdir((root_ + "/images/" + directory).c_str()), 0) << directory << " is not empty";
}

TEST_F(StoreTest, AnInterruptedDownloadIsFoundAgain) {
  oci::Digest d = digest_of("x");
  {
    Store store = open();
    auto w = store.begin_blob(d);
    ASSERT_TRUE(write_all((*w)->file(), "half", "blob"));
  }
  Store store = open();
  ASSERT_TRUE(store.sweep());
  auto w = store.begin_blob(d);
  EXPECT_EQ((*w)->resumed(), 4u);
  ASSERT_TRUE((*w)->restart());
  EXPECT_EQ(::lseek((*w)->file(), 0, SEEK_END), 0);
}

// One makes it, the other waits and finds it made.
TEST_F(StoreTest, ConcurrentMakersShareTheWork) {
  oci::Digest d = digest_of("x");
  int ready[2], go[2];
  ASSERT_EQ(::pipe(ready) + ::pipe(go), 0);
  // Forked before the lock is taken: a fork would share it.
  pid_t child = ::fork();
  if (child == 0) {
    char byte;
    (void)!::read(go[0], &byte, 1);
    Store mine = open();
    auto second = mine.begin_layer(d, [&] { (void)!::write(ready[1], "w", 1); });
    ::_exit(second && !*second ? 0 : 1);
  }
  Store store = open();
  auto w = store.begin_layer(d);
  ASSERT_TRUE(w && *w);
  ASSERT_EQ(::write(go[1], "g", 1), 1);
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);  // the other one waits
  ASSERT_TRUE((*w)->commit({d, LayerForm::kDirectory, 0, 0}));
  w->reset();
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(problems(store), none());
}

TEST_F(StoreTest, AKilledMakerIsSucceeded) {
  oci::Digest d = digest_of("x");
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  pid_t child = ::fork();
  if (child == 0) {
    Store mine = open();
    auto w = mine.begin_layer(d);
    (void)write_file_at((*w)->directory(), "fs/half", "x", O_CREAT);
    (void)!::write(ready[1], "r", 1);
    ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  Store store = open();
  ASSERT_TRUE(store.sweep());
  EXPECT_TRUE(exists("tmp/layer-" + std::string(d.hex()))) << "sweep leaves what somebody is making";
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  auto w = store.begin_layer(d);
  ASSERT_TRUE(w && *w);
  EXPECT_FALSE(read_file_at((*w)->directory(), "fs/half")) << "it begins with an empty tree";
  ASSERT_TRUE((*w)->commit({d, LayerForm::kDirectory, 0, 0}));
}

// A power cut: rows that were never synced are of another boot.
TEST_F(StoreTest, DoesNotTrustWhatAPowerCutMayHaveTorn) {
  oci::Digest safe, torn;
  {
    Store store = open("boot 1");
    safe = add_image(store, {"safe"}, {"safe"});
    ASSERT_TRUE(store.make_durable());
    torn = add_image(store, {"torn", "safe"}, {"torn"});
  }
  {
    Store store = open("boot 1");
    EXPECT_TRUE(store.layers_of(*store.resolve("torn"))) << "the same boot trusts it";
  }
  Store store = open("boot 2");
  EXPECT_TRUE(store.layers_of(*store.resolve("safe")));
  auto lost = store.layers_of(*store.resolve("torn"));
  ASSERT_FALSE(lost);
  EXPECT_NE(lost.error().text().find("pull the image again"), std::string::npos);
  EXPECT_FALSE(exists(layer_file("torn")));
  EXPECT_EQ(problems(store).size(), 1u);
  add_layer(store, "torn");  // what a pull does
  EXPECT_TRUE(store.layers_of(*store.resolve("torn")));
  EXPECT_EQ(problems(store), none());
}

TEST_F(StoreTest, CheckFindsAndRepairsDamage) {
  Store store = open();
  add_image(store, {"a", "b"}, {"img"});
  std::string images = root_ + "/images/";
  std::string blob_a = images + "blobs/sha256/" + std::string(digest_of("a").hex());
  ASSERT_TRUE(write_file(blob_a, "X"));  // same size, other content: only a deep check sees it
  EXPECT_EQ(problems(store, false, false), none());
  EXPECT_EQ(problems(store, false, true).size(), 1u);
  ASSERT_EQ(::unlink((images + "blobs/sha256/" + std::string(digest_of("b").hex())).c_str()), 0);
  ASSERT_EQ(::unlink((images + layer_file("b")).c_str()), 0);
  ASSERT_TRUE(write_file(images + "blobs/sha256/stray", "x", O_CREAT));
  ASSERT_EQ(::mkdir((images + "layers/" + std::string(digest_of("stray").hex())).c_str(), 0700), 0);
  EXPECT_EQ(problems(store).size(), 5u);
  auto report = store.check(true, true);
  EXPECT_GE(report->repaired.size(), 5u);
  std::vector<std::string> left = problems(store);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_NE(left[0].find("is not unpacked; pull it again"), std::string::npos);
  add_layer(store, "b");
  EXPECT_EQ(problems(store), none());
}

TEST_F(StoreTest, RefusesADatabaseOfALaterVersion) {
  { Store store = open(); }
  sqlite3* db;
  ASSERT_EQ(sqlite3_open((root_ + "/images/db.sqlite").c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "PRAGMA user_version=99", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  auto store = Store::open(root_);
  ASSERT_FALSE(store);
  EXPECT_NE(store.error().text().find("newer"), std::string::npos);
}

TEST_F(StoreTest, RefusesWhatIsNoDatabase) {
  { Store store = open(); }
  ASSERT_TRUE(write_file(root_ + "/images/db.sqlite", std::string(4096, 'x'), O_TRUNC));
  ::unlink((root_ + "/images/db.sqlite-wal").c_str());
  auto store = Store::open(root_);
  ASSERT_FALSE(store);
  EXPECT_NE(store.error().text().find("move the 'images' directory aside"), std::string::npos);
}

TEST_F(StoreTest, IsNotMadeByLooking) {
  EXPECT_EQ(Store::open(root_, {.create = false}).error().kind(), ErrorKind::kNotFound);
  EXPECT_FALSE(exists(""));
}

// Processes that add, remove and are killed at random: whatever is left is a store without contradictions.
TEST_F(StoreTest, SurvivesRandomKills) {
  { Store store = open(); }
  for (unsigned round = 0; round < 12; round++) {
    std::vector<pid_t> children;
    for (unsigned worker = 0; worker < 4; worker++) {
      pid_t child = ::fork();
      if (child == 0) {
        Store mine = open();
        for (unsigned i = round * 7 + worker * 3;; i++) {
          std::string name = "i" + std::to_string(i % 5);
          std::string content = "layer " + std::to_string(i % 3);
          if (i % 4 == 3) {
            (void)mine.remove(name, true);
            continue;
          }
          NewImage image;
          oci::ImageConfig config;
          config.author = name;
          oci::Digest diff = digest_of("tar of " + content);
          if (auto w = mine.begin_layer(diff); w && *w) {
            (void)write_file_at((*w)->directory(), "fs/file", content, O_CREAT);
            (void)(*w)->commit({diff, LayerForm::kDirectory, content.size(), 1});
          }
          config.rootfs.diff_ids = {diff};
          image.layers = {{diff, {}, "", 0}};
          image.config_json = oci::emit_image_config(config);
          image.manifest_json = "{}";
          image.names = {*Reference::parse(name)};
          (void)mine.add_image(image);
        }
      }
      children.push_back(child);
    }
    ::usleep(20'000 + round * 3000);
    for (pid_t child : children) ::kill(child, SIGKILL);
    for (pid_t child : children) ::waitpid(child, nullptr, 0);
    Store store = open();
    for (const std::string& problem : problems(store, true))
      EXPECT_NE(problem.find("nothing in the database knows it"), std::string::npos) << problem;
    EXPECT_EQ(problems(store), none());
    ASSERT_TRUE(store.sweep());
    std::vector<ImageSummary> images = *store.list();
    for (const ImageSummary& image : images) {
      auto full = store.resolve(image.id.text());
      ASSERT_TRUE(full) << full.error().text();
      EXPECT_TRUE(store.layers_of(*full));
    }
  }
}

TEST(Tree, RemovesWhateverItsDepth) {
  char name[] = "/tmp/onggi-tree-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  std::string root = name;
  UniqueFd at = *open_at(AT_FDCWD, root, O_RDONLY | O_DIRECTORY);
  UniqueFd top = *open_at(AT_FDCWD, root, O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(::mkdirat(at.get(), "t", 0755), 0);
  at = *open_at(at.get(), "t", O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 300; i++) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0755), 0);
    if (i % 100 == 0) {
      ASSERT_TRUE(write_file_at(at.get(), "f", std::string(5000, 'x'), O_CREAT));
    }
    at = *open_at(at.get(), "d", O_RDONLY | O_DIRECTORY);
  }
  ASSERT_EQ(::symlinkat("/", at.get(), "link"), 0);
  auto bytes = remove_tree_at(top.get(), "t");
  ASSERT_TRUE(bytes) << bytes.error().text();
  EXPECT_GE(*bytes, 3u * 5000);
  EXPECT_EQ(*remove_tree_at(top.get(), "t"), 0u);
  EXPECT_EQ(::rmdir(root.c_str()), 0);
}

}  // namespace
}  // namespace onggi::image
