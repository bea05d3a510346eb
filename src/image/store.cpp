#include "image/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/scope.h"
#include "base/sha256.h"
#include "base/time.h"
#include "image/store_state.h"

namespace onggi::image {

namespace {

constexpr int64_t kSchemaVersion = 1;

// boot: the boot in which the files were written; NULL once a sync came after them.
constexpr const char* kSchema = R"sql(
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents(digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, json TEXT NOT NULL);
CREATE TABLE blobs(digest TEXT PRIMARY KEY, size INTEGER NOT NULL, added INTEGER NOT NULL, boot TEXT)
  WITHOUT ROWID;
CREATE TABLE layers(diff_id TEXT PRIMARY KEY, form INTEGER NOT NULL, size INTEGER NOT NULL,
  entries INTEGER NOT NULL, added INTEGER NOT NULL, boot TEXT) WITHOUT ROWID;
CREATE TABLE images(id TEXT PRIMARY KEY, manifest TEXT NOT NULL, created INTEGER NOT NULL,
  pulled INTEGER NOT NULL, used INTEGER NOT NULL, size INTEGER NOT NULL, architecture TEXT NOT NULL,
  variant TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE image_layers(image TEXT NOT NULL, position INTEGER NOT NULL, diff_id TEXT NOT NULL,
  blob TEXT NOT NULL, media_type TEXT NOT NULL, blob_size INTEGER NOT NULL, PRIMARY KEY(image, position))
  WITHOUT ROWID;
CREATE INDEX image_layers_diff ON image_layers(diff_id);
CREATE INDEX image_layers_blob ON image_layers(blob);
CREATE TABLE names(name TEXT PRIMARY KEY, image TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX names_image ON names(image);
CREATE TABLE image_digests(repository TEXT NOT NULL, digest TEXT NOT NULL, image TEXT NOT NULL,
  PRIMARY KEY(repository, digest)) WITHOUT ROWID;
CREATE INDEX image_digests_image ON image_digests(image);
CREATE TABLE holds(holder TEXT PRIMARY KEY, image TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX holds_image ON holds(image);
)sql";

Result<> make_directory(int at, const std::string& name) {
  if (::mkdirat(at, name.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return fail(Error::os("create the directory", name));
}

Result<> make_directories(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1))
    TRY_VOID(make_directory(AT_FDCWD, path.substr(0, slash)));
  return make_directory(AT_FDCWD, path);
}

// Creates the tables, once: whoever comes second finds the version set.
Result<> ensure_schema(Database& db) {
  int64_t version = TRY(db.number("PRAGMA user_version"));
  if (version == kSchemaVersion) return {};
  if (version > kSchemaVersion)
    return fail(Error::unsupported("image database: version " + std::to_string(version) +
                                   " was written by a newer Onggi; this one knows version " +
                                   std::to_string(kSchemaVersion)));
  TRY_VOID(db.exec("PRAGMA journal_mode=WAL"));
  Transaction t = TRY(Transaction::begin(db));
  if (TRY(db.number("PRAGMA user_version")) == kSchemaVersion) return {};
  TRY_VOID(db.exec(kSchema));
  TRY_VOID(db.exec("PRAGMA user_version=1"));
  return t.commit();
}

Result<std::vector<oci::Digest>> collect(Statement s) {
  std::vector<oci::Digest> found;
  while (TRY(s.step())) found.push_back(TRY(digest_column(s, 0)));
  return found;
}

// After a reboot: what was never synced may be full of holes. It goes; images that need it say so when used.
Result<> recover_from_reboot(StoreState& store) {
  {
    Statement known = TRY(store.db.prepare("SELECT value FROM meta WHERE key='boot'"));
    if (TRY(known.step()) && known.text(0) == store.boot_id) return {};
  }
  Transaction t = TRY(Transaction::begin(store.db));
  auto doubtful = [&](const char* table, const char* key) {
    return store.db.prepare(std::string("SELECT ") + key + " FROM " + table +
                            " WHERE boot IS NOT NULL AND boot<>?");
  };
  Statement select_layers = TRY(doubtful("layers", "diff_id"));
  select_layers.bind(1, store.boot_id);
  std::vector<oci::Digest> layers = TRY(collect(std::move(select_layers)));
  Statement select_blobs = TRY(doubtful("blobs", "digest"));
  select_blobs.bind(1, store.boot_id);
  std::vector<oci::Digest> blobs = TRY(collect(std::move(select_blobs)));
  for (const char* table : {"layers", "blobs"}) {
    Statement s =
        TRY(store.db.prepare(std::string("DELETE FROM ") + table + " WHERE boot IS NOT NULL AND boot<>?"));
    TRY_VOID(s.bind(1, store.boot_id).run());
  }
  Statement s = TRY(store.db.prepare("INSERT OR REPLACE INTO meta(key,value) VALUES('boot',?)"));
  TRY_VOID(s.bind(1, store.boot_id).run());
  TRY_VOID(t.commit());
  TRY_VOID(discard_files(store, Kind::kLayer, layers));
  return discard_files(store, Kind::kBlob, blobs);
}

}  // namespace

Result<oci::Digest> digest_column(const Statement& s, int column) {
  return TRY_CTX(oci::Digest::parse(s.text(column)), "image database is damaged");
}

Store::Store(std::unique_ptr<StoreState> state) : state_(std::move(state)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;
const std::string& Store::root() const { return state_->root; }

Result<Store> Store::open(const std::string& root, StoreOptions options) {
  std::string path = root + "/images";
  if (options.create) TRY_VOID_CTX(make_directories(path), "open the image store");
  auto directory = open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
  if (!directory) return fail(std::move(directory).error().wrap("open the image store"));
  if (options.create)
    for (const char* name : {"blobs", "blobs/sha256", "layers", "locks", "tmp", "trash"})
      TRY_VOID_CTX(make_directory(directory->get(), name), "open the image store");
  if (options.boot_id.empty())
    options.boot_id = trim(TRY(read_file("/proc/sys/kernel/random/boot_id", 4096)));
  Database db = TRY(Database::open(path + "/db.sqlite", options.create));
  TRY_VOID(ensure_schema(db));
  auto state = std::make_unique<StoreState>(
      StoreState{path, std::move(*directory), std::move(options.boot_id), std::move(db)});
  TRY_VOID(recover_from_reboot(*state));
  return Store(std::move(state));
}

Result<oci::Digest> Store::put_document(std::string_view json, std::string_view media_type) {
  oci::Digest digest = oci::Digest::sha256(sha256_hex(json));
  Statement s =
      TRY(state_->db.prepare("INSERT OR IGNORE INTO documents(digest,media_type,json) VALUES(?,?,?)"));
  TRY_VOID(s.bind(1, digest.text()).bind(2, media_type).bind(3, json).run());
  return digest;
}

Result<Store::Document> Store::document(const oci::Digest& digest) {
  Statement s = TRY(state_->db.prepare("SELECT json,media_type FROM documents WHERE digest=?"));
  s.bind(1, digest.text());
  if (!TRY(s.step()))
    return fail(Error::not_found("document " + digest.text() + " is not in the image store"));
  return Document{s.text(0), s.text(1)};
}

// Rows first, then the sync, then the mark: what was added while the sync ran stays unmarked.
Result<> Store::make_durable() {
  Database& db = state_->db;
  int64_t pending =
      TRY(db.number("SELECT (SELECT count(*) FROM layers WHERE boot IS NOT NULL)+(SELECT count(*) FROM blobs "
                    "WHERE boot IS NOT NULL)"));
  if (pending == 0) return {};
  std::vector<oci::Digest> layers =
      TRY(collect(TRY(db.prepare("SELECT diff_id FROM layers WHERE boot IS NOT NULL"))));
  std::vector<oci::Digest> blobs =
      TRY(collect(TRY(db.prepare("SELECT digest FROM blobs WHERE boot IS NOT NULL"))));
  if (::syncfs(state_->directory.get()) < 0) return fail(Error::os("sync the file system of", state_->root));
  Transaction t = TRY(Transaction::begin(db));
  Statement mark_layer = TRY(db.prepare("UPDATE layers SET boot=NULL WHERE diff_id=?"));
  for (const oci::Digest& d : layers) TRY_VOID(mark_layer.bind(1, d.text()).run());
  Statement mark_blob = TRY(db.prepare("UPDATE blobs SET boot=NULL WHERE digest=?"));
  for (const oci::Digest& d : blobs) TRY_VOID(mark_blob.bind(1, d.text()).run());
  return t.commit();
}

}  // namespace onggi::image
