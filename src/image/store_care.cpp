// The store's housekeeping: sweep, usage, check.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "base/file.h"
#include "base/sha256.h"
#include "base/time.h"
#include "base/tree.h"
#include "image/store_state.h"
#include "oci/image_parse.h"

namespace onggi::image {

namespace {

// A download that was interrupted is worth keeping for the next attempt, for so long.
constexpr int64_t kKeepPartialSeconds = 24 * 3600;

struct CloseDir {
  void operator()(DIR* d) const { ::closedir(d); }
};

Result<std::vector<std::string>> entries(StoreState& store, const std::string& directory) {
  UniqueFd fd = TRY(open_at(store.directory.get(), directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  std::unique_ptr<DIR, CloseDir> dir(::fdopendir(fd.get()));
  if (!dir) return fail(Error::os("read the directory", directory));
  (void)fd.release();
  std::vector<std::string> names;
  while (dirent* e = ::readdir(dir.get()))
    if (e->d_name[0] != '.') names.emplace_back(e->d_name);
  return names;
}

struct Owned {
  Kind kind;
  oci::Digest digest;
};
// "layer-HEX" and "blob-HEX", as in locks/ and tmp/.
std::optional<Owned> parse_owned(std::string_view name) {
  Kind kind = name.starts_with("layer-") ? Kind::kLayer : Kind::kBlob;
  if (kind == Kind::kBlob && !name.starts_with("blob-")) return std::nullopt;
  auto digest = oci::Digest::parse("sha256:" + std::string(name.substr(name.find('-') + 1)));
  if (!digest) return std::nullopt;
  return Owned{kind, *std::move(digest)};
}

// What is in tmp/ and belongs to nobody alive; returns false when somebody holds it.
Result<bool> clear_temporary(StoreState& store, const std::string& name) {
  std::string path = "tmp/" + name;
  std::optional<Owned> owned = parse_owned(name);
  if (!owned) {
    // A Scratch, locked by its own directory, or nothing of ours.
    auto directory = open_at(store.directory.get(), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (directory && ::flock(directory->get(), LOCK_EX | LOCK_NB) < 0) return false;
    TRY_VOID(move_to_trash(store, path));
    return true;
  }
  std::optional<UniqueFd> lock = TRY(lock_digest(store, owned->kind, owned->digest, false));
  if (!lock) return false;
  struct stat st;
  bool keep = owned->kind == Kind::kBlob &&
              ::fstatat(store.directory.get(), path.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
              st.st_mtim.tv_sec > now().seconds - kKeepPartialSeconds;
  Result<> moved = keep ? Result<>() : move_to_trash(store, path);
  unlock_digest(store, owned->kind, owned->digest, *lock);
  TRY_VOID(moved);
  return true;
}

// A lock file that nobody holds was left by a kill.
Result<> clear_lock(StoreState& store, const std::string& name) {
  std::optional<Owned> owned = parse_owned(name);
  if (!owned) return {};
  std::optional<UniqueFd> lock = TRY(lock_digest(store, owned->kind, owned->digest, false));
  if (lock) unlock_digest(store, owned->kind, owned->digest, *lock);
  return {};
}

}  // namespace

Result<uint64_t> Store::sweep() {
  StoreState& store = *state_;
  constexpr int64_t kLongLog = 256 << 10;  // bytes; opening the store reads them all
  store.db.shorten_log(kLongLog);
  for (const std::string& name : TRY(entries(store, "tmp"))) TRY(clear_temporary(store, name));
  for (const std::string& name : TRY(entries(store, "locks"))) TRY_VOID(clear_lock(store, name));
  UniqueFd trash = TRY(open_at(store.directory.get(), "trash", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  uint64_t freed = 0;
  for (const std::string& name : TRY(entries(store, "trash")))
    freed += TRY(remove_tree_at(trash.get(), name));
  return freed;
}

Result<Usage> Store::usage() {
  Database& db = state_->db;
  Usage u;
  auto get = [&db](const char* sql, uint64_t& out) -> Result<> {
    out = static_cast<uint64_t>(TRY(db.number(sql)));
    return {};
  };
  TRY_VOID(get("SELECT count(*) FROM images", u.images));
  TRY_VOID(get("SELECT count(DISTINCT image) FROM holds", u.images_held));
  TRY_VOID(get("SELECT count(*) FROM layers", u.layers));
  TRY_VOID(get("SELECT coalesce(sum(size),0) FROM layers", u.layer_bytes));
  TRY_VOID(get("SELECT count(*) FROM blobs", u.blobs));
  TRY_VOID(get("SELECT coalesce(sum(size),0) FROM blobs", u.blob_bytes));
  uint64_t needed = 0;
  TRY_VOID(
      get("SELECT (SELECT coalesce(sum(size),0) FROM layers WHERE diff_id IN"
          " (SELECT diff_id FROM image_layers WHERE image IN (SELECT image FROM holds)))"
          "+(SELECT coalesce(sum(size),0) FROM blobs WHERE digest IN"
          " (SELECT blob FROM image_layers WHERE image IN (SELECT image FROM holds)))",
          needed));
  u.reclaimable = u.layer_bytes + u.blob_bytes - needed;
  return u;
}

// --- check ---

namespace {

struct Check {
  StoreState& store;
  Store& api;
  bool repair, deep;
  CheckReport report;

  void problem(std::string text) { report.problems.push_back(std::move(text)); }
  void done(std::string text) { report.repaired.push_back(std::move(text)); }
};

Result<> delete_row(Check& c, const char* table, const char* key, const std::string& value) {
  Statement s = TRY(c.store.db.prepare(std::string("DELETE FROM ") + table + " WHERE " + key + "=?"));
  return s.bind(1, value).run();
}

std::string short_id(std::string_view digest) { return std::string(digest.substr(7, 12)); }

Result<std::string> hash_file(int directory, const std::string& path) {
  UniqueFd fd = TRY(open_at(directory, path, O_RDONLY | O_NOFOLLOW));
  Sha256 hash;
  std::string buffer(1 << 18, '\0');
  for (;;) {
    ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::os("read", path));
    if (n == 0) return hash.hex();
    hash.update(std::string_view(buffer.data(), static_cast<size_t>(n)));
  }
}

// What is wrong with a blob's file; empty: nothing.
Result<std::string> blob_fault(Check& c, const oci::Digest& digest, uint64_t size) {
  std::string path = final_path(Kind::kBlob, digest);
  struct stat st;
  if (::fstatat(c.store.directory.get(), path.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0)
    return "its file is missing";
  if (!S_ISREG(st.st_mode) || static_cast<uint64_t>(st.st_size) != size)
    return "its file has " + std::to_string(st.st_size) + " bytes instead of " + std::to_string(size);
  if (c.deep && TRY(hash_file(c.store.directory.get(), path)) != digest.hex())
    return "its content does not have its digest";
  return "";
}

// Entries and bytes of a tree, to compare with what was recorded when it was unpacked.
struct TreeSize {
  uint64_t entries = 0, bytes = 0;
};
Result<> measure(int dirfd, const std::string& name, TreeSize& size, int depth) {
  if (depth > 512) return {};  // its rest cannot be counted with the descriptors that a process has
  UniqueFd fd = TRY(open_at(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  int raw = fd.get();
  std::unique_ptr<DIR, CloseDir> dir(::fdopendir(raw));
  if (!dir) return fail(Error::os("read the directory", name));
  (void)fd.release();
  while (dirent* e = ::readdir(dir.get())) {
    std::string entry = e->d_name;
    if (entry == "." || entry == "..") continue;
    size.entries++;
    struct stat st;
    if (::fstatat(raw, entry.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) return fail(Error::os("inspect", entry));
    if (S_ISREG(st.st_mode)) size.bytes += static_cast<uint64_t>(st.st_size);
    if (S_ISDIR(st.st_mode)) TRY_VOID(measure(raw, entry, size, depth + 1));
  }
  return {};
}

Result<std::string> layer_fault(Check& c, const LayerInfo& info) {
  std::string path = final_path(Kind::kLayer, info.diff_id);
  int root = c.store.directory.get();
  struct stat st;
  if (info.form == LayerForm::kErofs) {
    for (const char* name : {"/layer.tar", "/layer.erofs"})
      if (::fstatat(root, (path + name).c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return "its file" + std::string(name) + " is missing";
    if (c.deep && TRY(hash_file(root, path + "/layer.tar")) != info.diff_id.hex())
      return "its content does not have its digest";
    return "";
  }
  if (::fstatat(root, (path + "/fs").c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
    return "its directory is missing";
  if (!c.deep || info.entries == 0) return "";  // 0: not counted
  TreeSize size;
  TRY_VOID(measure(root, path + "/fs", size, 0));
  if (size.entries == info.entries) return "";
  return "its tree has " + std::to_string(size.entries) + " entries instead of " +
         std::to_string(info.entries);
}

Result<> check_blobs(Check& c) {
  Statement s = TRY(c.store.db.prepare("SELECT digest,size FROM blobs"));
  std::vector<oci::Digest> bad;
  while (TRY(s.step())) {
    oci::Digest digest = TRY(digest_column(s, 0));
    std::string fault = TRY(blob_fault(c, digest, static_cast<uint64_t>(s.number(1))));
    if (fault.empty()) continue;
    c.problem("blob " + short_id(digest.text()) + ": " + fault);
    bad.push_back(digest);
  }
  if (!c.repair) return {};
  for (const oci::Digest& digest : bad) {
    TRY_VOID(delete_row(c, "blobs", "digest", digest.text()));
    c.done("blob " + short_id(digest.text()) + ": forgotten; a push or save fetches or makes it again");
  }
  return discard_files(c.store, Kind::kBlob, bad);
}

Result<> check_layers(Check& c) {
  std::vector<LayerInfo> all;
  Statement s = TRY(c.store.db.prepare("SELECT diff_id,form,size,entries FROM layers"));
  while (TRY(s.step()))
    all.push_back({TRY(digest_column(s, 0)), static_cast<LayerForm>(s.number(1)),
                   static_cast<uint64_t>(s.number(2)), static_cast<uint64_t>(s.number(3))});
  std::vector<oci::Digest> bad;
  for (const LayerInfo& info : all) {
    std::string fault = TRY(layer_fault(c, info));
    if (fault.empty()) continue;
    c.problem("layer " + short_id(info.diff_id.text()) + ": " + fault);
    bad.push_back(info.diff_id);
  }
  if (!c.repair) return {};
  for (const oci::Digest& digest : bad) {
    TRY_VOID(delete_row(c, "layers", "diff_id", digest.text()));
    c.done("layer " + short_id(digest.text()) + ": forgotten; it is unpacked again when its image is pulled");
  }
  return discard_files(c.store, Kind::kLayer, bad);
}

Result<> check_images(Check& c) {
  Statement s = TRY(c.store.db.prepare("SELECT id,manifest FROM images"));
  std::vector<std::string> bad;
  while (TRY(s.step())) {
    std::string id = s.text(0), manifest = s.text(1);
    for (const std::string& name : {id, manifest}) {
      auto document = c.api.document(TRY(oci::Digest::parse(name)));
      bool damaged = document && c.deep && sha256_hex(document->json) != name.substr(7);
      if (document && !damaged) continue;
      c.problem("image " + short_id(id) + ": its " + (name == id ? "config" : "manifest") +
                (damaged ? " is damaged" : " is missing"));
      if (bad.empty() || bad.back() != id) bad.push_back(id);
    }
    Statement l = TRY(c.store.db.prepare(
        "SELECT diff_id FROM image_layers WHERE image=? AND diff_id NOT IN (SELECT diff_id FROM layers)"));
    l.bind(1, id);
    while (TRY(l.step()))
      c.problem("image " + short_id(id) + ": layer " + short_id(l.text(0)) +
                " is not unpacked; pull it again");
  }
  if (!c.repair) return {};
  for (const std::string& id : bad) {
    for (const char* table : {"names", "image_digests", "image_layers", "holds"})
      TRY_VOID(delete_row(c, table, "image", id));
    TRY_VOID(delete_row(c, "images", "id", id));
    c.done("image " + short_id(id) + ": removed; pull it again");
  }
  return {};
}

// Rows of names, digests, layers and holds whose image is gone.
Result<> check_references(Check& c) {
  for (const char* table : {"names", "image_digests", "image_layers", "holds"}) {
    std::string where = std::string(" FROM ") + table + " WHERE image NOT IN (SELECT id FROM images)";
    int64_t count = TRY(c.store.db.number("SELECT count(*)" + where));
    if (count == 0) continue;
    c.problem(std::string(table) + ": " + std::to_string(count) + " entries of images that are not there");
    if (!c.repair) continue;
    TRY_VOID(c.store.db.exec(("DELETE" + where).c_str()));
    c.done(std::string(table) + ": " + std::to_string(count) + " entries removed");
  }
  return {};
}

Result<> check_stray_files(Check& c, Kind kind) {
  const char* sql =
      kind == Kind::kLayer ? "SELECT 1 FROM layers WHERE diff_id=?" : "SELECT 1 FROM blobs WHERE digest=?";
  std::string directory = kind == Kind::kLayer ? "layers" : "blobs/sha256";
  Statement row = TRY(c.store.db.prepare(sql));
  for (const std::string& name : TRY(entries(c.store, directory))) {
    auto digest = oci::Digest::parse("sha256:" + name);
    if (digest) {
      if (TRY(row.bind(1, digest->text()).step())) continue;
      // Between the rename and the row, its maker holds the lock.
      std::optional<UniqueFd> lock = TRY(lock_digest(c.store, kind, *digest, false));
      if (!lock) continue;
      unlock_digest(c.store, kind, *digest, *lock);
      if (TRY(row.bind(1, digest->text()).step())) continue;
    }
    c.problem(directory + "/" + name + ": nothing in the database knows it");
    if (!c.repair) continue;
    if (digest)
      TRY_VOID(discard_files(c.store, kind, {*digest}));
    else
      TRY_VOID(move_to_trash(c.store, directory + "/" + name));
    c.done(directory + "/" + name + ": removed");
  }
  return {};
}

}  // namespace

Result<CheckReport> Store::check(bool repair, bool deep) {
  Check c{*state_, *this, repair, deep, {}};
  Statement s = TRY(state_->db.prepare(deep ? "PRAGMA integrity_check" : "PRAGMA quick_check"));
  while (TRY(s.step()))
    if (s.text(0) != "ok") c.problem("database: " + s.text(0));
  TRY_VOID(check_blobs(c));
  TRY_VOID(check_layers(c));
  TRY_VOID(check_images(c));
  TRY_VOID(check_references(c));
  TRY_VOID(check_stray_files(c, Kind::kLayer));
  TRY_VOID(check_stray_files(c, Kind::kBlob));
  return std::move(c.report);
}

}  // namespace onggi::image
