// Images, names and holds: every operation is one transaction.
#include <algorithm>

#include "base/sha256.h"
#include "base/time.h"
#include "image/store_state.h"
#include "oci/image_parse.h"

namespace onggi::image {

namespace {

constexpr size_t kMinPrefix = 4;
// A pull writes its layers before its image; an orphan younger than this may belong to one.
constexpr int64_t kOrphanSeconds = 3600;

bool is_hex(std::string_view s) { return s.find_first_not_of("0123456789abcdef") == std::string_view::npos; }

Result<std::vector<std::string>> texts(Statement s) {
  std::vector<std::string> out;
  while (TRY(s.step())) out.push_back(s.text(0));
  return out;
}

Result<std::vector<std::string>> names_of(Database& db, std::string_view id) {
  Statement s = TRY(db.prepare("SELECT name FROM names WHERE image=? ORDER BY name"));
  s.bind(1, id);
  return texts(std::move(s));
}
Result<std::vector<std::string>> digests_of(Database& db, std::string_view id) {
  Statement s = TRY(db.prepare("SELECT repository||'@'||digest FROM image_digests WHERE image=? ORDER BY 1"));
  s.bind(1, id);
  return texts(std::move(s));
}

// What a word on the command line found: an image, and whether a name (not an id) found it.
struct Found {
  std::string id;
  std::string name;                // canonical, when found by tag
  std::string repository, digest;  // when found by digest
};

Result<std::optional<Found>> find_by_name(Database& db, const Reference& ref) {
  if (!ref.digest.empty()) {
    Statement s = TRY(db.prepare("SELECT image FROM image_digests WHERE repository=? AND digest=?"));
    s.bind(1, ref.name()).bind(2, ref.digest.text());
    if (TRY(s.step())) return Found{s.text(0), "", ref.name(), ref.digest.text()};
    return std::nullopt;
  }
  Statement s = TRY(db.prepare("SELECT image FROM names WHERE name=?"));
  s.bind(1, ref.canonical());
  if (TRY(s.step())) return Found{s.text(0), ref.canonical(), "", ""};
  return std::nullopt;
}

Result<std::optional<Found>> find_by_id(Database& db, std::string_view word) {
  std::string_view hex = word.starts_with("sha256:") ? word.substr(7) : word;
  if (hex.size() < kMinPrefix || hex.size() > 64 || !is_hex(hex)) return std::nullopt;
  std::string low = "sha256:" + std::string(hex), high = low + "g";  // 'g' sorts behind every digit
  Statement s = TRY(db.prepare("SELECT id FROM images WHERE id>=? AND id<? LIMIT 8"));
  s.bind(1, low).bind(2, high);
  std::vector<std::string> ids = TRY(texts(std::move(s)));
  if (ids.empty()) return std::nullopt;
  if (ids.size() == 1) return Found{ids[0], "", "", ""};
  std::string list;
  for (const std::string& id : ids) list += (list.empty() ? "" : ", ") + id.substr(7, 12);
  return fail(
      Error::invalid("image id '" + std::string(word) + "' is ambiguous: " + list + "; give more digits"));
}

Result<Found> find(Database& db, std::string_view word) {
  auto ref = Reference::parse(word);
  if (ref) {
    if (auto found = TRY(find_by_name(db, *ref))) return *found;
  }
  if (auto found = TRY(find_by_id(db, word))) return *found;
  if (!ref && !is_hex(word) && !word.starts_with("sha256:")) return fail(std::move(ref).error());
  return fail(Error::not_found("no such image: " + std::string(word)));
}

Result<uint32_t> holders_of(Database& db, std::string_view id) {
  Statement s = TRY(db.prepare("SELECT count(*) FROM holds WHERE image=?"));
  s.bind(1, id);
  TRY(s.step());
  return static_cast<uint32_t>(s.number(0));
}

Error held(Database& db, std::string_view what, std::string_view id) {
  std::string holder;
  if (auto s = db.prepare("SELECT holder FROM holds WHERE image=? ORDER BY 1 LIMIT 1")) {
    s->bind(1, id);
    if (auto row = s->step(); row && *row) holder = s->text(0);
  }
  return Error::busy("remove image " + std::string(what) + ": container " + holder.substr(0, 12) +
                     " uses it; remove the container first");
}

// Deletes the image's rows (not its layers'), noting what it was made of.
struct Parts {
  std::vector<oci::Digest> diff_ids, blobs;
};
Result<> delete_image_rows(Database& db, const std::string& id, Parts& parts) {
  Statement s = TRY(db.prepare("SELECT diff_id,blob FROM image_layers WHERE image=?"));
  s.bind(1, id);
  while (TRY(s.step())) {
    parts.diff_ids.push_back(TRY(digest_column(s, 0)));
    if (!s.text(1).empty()) parts.blobs.push_back(TRY(digest_column(s, 1)));
  }
  for (const char* sql : {"DELETE FROM names WHERE image=?", "DELETE FROM image_digests WHERE image=?",
                          "DELETE FROM image_layers WHERE image=?", "DELETE FROM images WHERE id=?"}) {
    Statement d = TRY(db.prepare(sql));
    TRY_VOID(d.bind(1, id).run());
  }
  return {};
}

std::string familiar(const std::string& canonical) {
  auto ref = Reference::parse(canonical);
  return ref ? ref->familiar() : canonical;
}

}  // namespace

// --- reading ---

Result<ImageRecord> Store::resolve(std::string_view word) {
  Database& db = state_->db;
  Found found = TRY(find(db, word));
  Statement s = TRY(db.prepare("SELECT manifest,created,pulled,size FROM images WHERE id=?"));
  s.bind(1, found.id);
  if (!TRY(s.step())) return fail(Error::not_found("no such image: " + std::string(word)));
  ImageRecord image;
  image.id = TRY(oci::Digest::parse(found.id));
  image.manifest = TRY(digest_column(s, 0));
  image.created = s.number(1);
  image.pulled = s.number(2);
  image.size = static_cast<uint64_t>(s.number(3));
  image.names = TRY(names_of(db, found.id));
  image.digests = TRY(digests_of(db, found.id));
  Statement l = TRY(db.prepare(
      "SELECT diff_id,blob,media_type,blob_size FROM image_layers WHERE image=? ORDER BY position"));
  l.bind(1, found.id);
  while (TRY(l.step())) {
    ImageLayer& layer = image.layers.emplace_back();
    layer.diff_id = TRY(digest_column(l, 0));
    if (!l.text(1).empty()) layer.blob = TRY(digest_column(l, 1));
    layer.media_type = l.text(2);
    layer.blob_size = static_cast<uint64_t>(l.number(3));
  }
  image.config_json = TRY_CTX(document(image.id), "image " + std::string(word)).json;
  image.config = TRY_CTX(oci::parse_image_config(image.config_json), "image " + std::string(word));
  return image;
}

Result<std::vector<ImageSummary>> Store::list() {
  Database& db = state_->db;
  Statement s =
      TRY(db.prepare("SELECT id,created,pulled,size,architecture,variant,"
                     "(SELECT count(*) FROM holds WHERE image=id) FROM images ORDER BY created DESC, id"));
  std::vector<ImageSummary> out;
  while (TRY(s.step())) {
    ImageSummary& image = out.emplace_back();
    image.id = TRY(digest_column(s, 0));
    image.created = s.number(1);
    image.pulled = s.number(2);
    image.size = static_cast<uint64_t>(s.number(3));
    image.architecture = s.text(4);
    image.variant = s.text(5);
    image.holders = static_cast<uint32_t>(s.number(6));
    image.names = TRY(names_of(db, image.id.text()));
    image.digests = TRY(digests_of(db, image.id.text()));
  }
  return out;
}

Result<std::vector<LayerInfo>> Store::layers_of(const ImageRecord& image) {
  std::vector<LayerInfo> out;
  for (auto it = image.layers.rbegin(); it != image.layers.rend(); ++it) {
    std::optional<LayerInfo> info = TRY(layer(it->diff_id));
    if (!info)
      return fail(Error::not_found("image " + std::string(image.id.hex().substr(0, 12)) + ": its layer " +
                                   std::string(it->diff_id.hex().substr(0, 12)) +
                                   " is missing (lost in a power cut, or damaged); pull the image again"));
    out.push_back(std::move(*info));
  }
  return out;
}

// --- adding ---

namespace {

Result<uint64_t> content_size(Database& db, const std::vector<ImageLayer>& layers) {
  uint64_t size = 0;
  for (const ImageLayer& layer : layers) {
    Statement s = TRY(db.prepare("SELECT size FROM layers WHERE diff_id=?"));
    s.bind(1, layer.diff_id.text());
    if (!TRY(s.step()))
      return fail(Error::not_found("layer " + layer.diff_id.text() + " is not in the image store"));
    size += static_cast<uint64_t>(s.number(0));
  }
  return size;
}

Result<> insert_layers(Database& db, const std::string& id, const std::vector<ImageLayer>& layers) {
  Statement s =
      TRY(db.prepare("INSERT OR REPLACE INTO image_layers(image,position,diff_id,blob,media_type,blob_size) "
                     "VALUES(?,?,?,?,?,?)"));
  int64_t position = 0;
  for (const ImageLayer& layer : layers) {
    s.bind(1, id).bind(2, position++).bind(3, layer.diff_id.text()).bind(4, layer.blob.text());
    s.bind(5, layer.media_type).bind(6, static_cast<int64_t>(layer.blob_size));
    TRY_VOID(s.run());
  }
  return {};
}

Result<> set_name(Database& db, const Reference& name, const std::string& id) {
  Statement s = TRY(db.prepare("INSERT OR REPLACE INTO names(name,image) VALUES(?,?)"));
  return s.bind(1, name.canonical()).bind(2, id).run();
}

}  // namespace

Result<oci::Digest> Store::add_image(const NewImage& image) {
  oci::ImageConfig config = TRY(oci::parse_image_config(image.config_json));
  if (config.rootfs.diff_ids.size() != image.layers.size())
    return fail(Error::invalid("image: its config lists " + std::to_string(config.rootfs.diff_ids.size()) +
                               " layers, its manifest " + std::to_string(image.layers.size())));
  for (size_t i = 0; i < image.layers.size(); i++)
    if (image.layers[i].diff_id != config.rootfs.diff_ids[i])
      return fail(Error::invalid("image: layer " + std::to_string(i + 1) + " has the diff id " +
                                 image.layers[i].diff_id.text() + ", its config says " +
                                 config.rootfs.diff_ids[i].text()));
  Database& db = state_->db;
  Transaction t = TRY(Transaction::begin(db));
  uint64_t size = TRY(content_size(db, image.layers));
  oci::Digest id = TRY(put_document(image.config_json, oci::kMediaConfig));
  oci::Digest manifest = TRY(put_document(image.manifest_json, image.manifest_type));
  auto created = parse_rfc3339(config.created);
  int64_t at = now().seconds;
  Statement s =
      TRY(db.prepare("INSERT INTO images(id,manifest,created,pulled,used,size,architecture,variant) "
                     "VALUES(?,?,?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET manifest=excluded.manifest,"
                     "pulled=excluded.pulled,used=excluded.used,size=excluded.size"));
  s.bind(1, id.text())
      .bind(2, manifest.text())
      .bind(3, created ? created->seconds : 0)
      .bind(4, at)
      .bind(5, at);
  s.bind(6, static_cast<int64_t>(size)).bind(7, config.architecture).bind(8, config.variant);
  TRY_VOID(s.run());
  TRY_VOID(insert_layers(db, id.text(), image.layers));
  for (const Reference& name : image.names) TRY_VOID(set_name(db, name, id.text()));
  Statement d =
      TRY(db.prepare("INSERT OR REPLACE INTO image_digests(repository,digest,image) VALUES(?,?,?)"));
  for (const auto& [repository, digest] : image.digests)
    TRY_VOID(d.bind(1, repository).bind(2, digest.text()).bind(3, id.text()).run());
  TRY_VOID(t.commit());
  return id;
}

Result<> Store::tag(std::string_view word, const Reference& name) {
  if (name.tag.empty() || !name.digest.empty())
    return fail(Error::invalid("tag image: '" + name.familiar() + "' must have a tag and no digest"));
  Transaction t = TRY(Transaction::begin(state_->db));
  Found found = TRY(find(state_->db, word));
  TRY_VOID(set_name(state_->db, name, found.id));
  return t.commit();
}

Result<> Store::add_digest(const oci::Digest& image, const std::string& repository,
                           const oci::Digest& digest) {
  Statement s = TRY(state_->db.prepare(
      "INSERT OR REPLACE INTO image_digests(repository,digest,image) SELECT ?,?,id FROM images WHERE id=?"));
  return s.bind(1, repository).bind(2, digest.text()).bind(3, image.text()).run();
}

// --- removing ---

Result<Unreferenced> delete_unreferenced(StoreState& store, const std::vector<oci::Digest>& diff_ids,
                                         const std::vector<oci::Digest>& blobs) {
  Unreferenced out;
  auto take = [&](const char* table, const char* key, const char* column,
                  const std::vector<oci::Digest>& candidates, std::vector<oci::Digest>& taken) -> Result<> {
    std::string t = table, k = key;
    Statement size =
        TRY(store.db.prepare("SELECT size FROM " + t + " WHERE " + k +
                             "=?1 AND NOT EXISTS(SELECT 1 FROM image_layers WHERE " + column + "=?1)"));
    Statement drop = TRY(store.db.prepare("DELETE FROM " + t + " WHERE " + k + "=?"));
    for (const oci::Digest& digest : candidates) {
      if (!TRY(size.bind(1, digest.text()).step())) continue;
      out.bytes += static_cast<uint64_t>(size.number(0));
      TRY_VOID(drop.bind(1, digest.text()).run());
      taken.push_back(digest);
    }
    return {};
  };
  TRY_VOID(take("layers", "diff_id", "diff_id", diff_ids, out.layers));
  TRY_VOID(take("blobs", "digest", "blob", blobs, out.blobs));
  TRY_VOID(
      store.db.exec("DELETE FROM documents WHERE digest NOT IN (SELECT id FROM images) AND digest NOT IN "
                    "(SELECT manifest FROM images) "
                    "AND digest NOT IN (SELECT digest FROM image_digests)"));
  return out;
}

namespace {

// The end of every removal: commit, then the files.
Result<> finish_removal(StoreState& store, Transaction& t, Parts& parts, Removed& removed) {
  Unreferenced gone = TRY(delete_unreferenced(store, parts.diff_ids, parts.blobs));
  TRY_VOID(t.commit());
  removed.deleted.insert(removed.deleted.end(), gone.layers.begin(), gone.layers.end());
  removed.freed += gone.bytes;
  TRY_VOID(discard_files(store, Kind::kLayer, gone.layers));
  return discard_files(store, Kind::kBlob, gone.blobs);
}

Result<> untag(Database& db, const Found& found, const std::vector<std::string>& names, Removed& removed) {
  if (!found.digest.empty()) {
    Statement s = TRY(db.prepare("DELETE FROM image_digests WHERE repository=? AND digest=?"));
    TRY_VOID(s.bind(1, found.repository).bind(2, found.digest).run());
    removed.untagged.push_back(familiar(found.repository + "@" + found.digest));
    return {};
  }
  Statement s = TRY(db.prepare("DELETE FROM names WHERE name=?"));
  for (const std::string& name : names) {
    TRY_VOID(s.bind(1, name).run());
    removed.untagged.push_back(familiar(name));
  }
  return {};
}

}  // namespace

Result<Removed> Store::remove(std::string_view word, bool force) {
  Database& db = state_->db;
  Transaction t = TRY(Transaction::begin(db));
  Found found = TRY(find(db, word));
  std::vector<std::string> names = TRY(names_of(db, found.id));
  std::vector<std::string> digests = TRY(digests_of(db, found.id));
  uint32_t holders = TRY(holders_of(db, found.id));
  bool by_id = found.name.empty() && found.digest.empty();
  size_t others = found.digest.empty() ? names.size() - (by_id ? 0 : 1) : names.size() + digests.size() - 1;
  Removed removed;
  if (!by_id && others > 0) {  // another name keeps the image
    TRY_VOID(untag(db, found, {found.name}, removed));
    TRY_VOID(t.commit());
    return removed;
  }
  if (holders > 0 && !force) return fail(held(db, word, found.id));
  if (by_id && names.size() > 1 && !force) {
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : ", ") + familiar(name);
    return fail(Error::busy("remove image " + std::string(word) + ": it has several names (" + list +
                            "); remove it by name, or use --force to remove all of them"));
  }
  if (holders > 0) {  // forced: the names go, the container keeps the image
    TRY_VOID(untag(db, found, names, removed));
    TRY_VOID(t.commit());
    return removed;
  }
  for (const std::string& name : names) removed.untagged.push_back(familiar(name));
  for (const std::string& name : digests) removed.untagged.push_back(familiar(name));
  removed.deleted.push_back(TRY(oci::Digest::parse(found.id)));
  Parts parts;
  TRY_VOID(delete_image_rows(db, found.id, parts));
  TRY_VOID(finish_removal(*state_, t, parts, removed));
  return removed;
}

// --- pruning ---

namespace {

// Images that no container holds, least recently used first.
Result<std::vector<std::string>> prunable(Database& db, const PrunePolicy& policy) {
  std::string sql = "SELECT id FROM images WHERE NOT EXISTS(SELECT 1 FROM holds WHERE image=id)";
  if (!policy.all) sql += " AND NOT EXISTS(SELECT 1 FROM names WHERE image=id)";
  if (policy.created_before) sql += " AND created<" + std::to_string(policy.created_before);
  return texts(TRY(db.prepare(sql + " ORDER BY used, id")));
}

Result<uint64_t> total_bytes(Database& db) {
  return static_cast<uint64_t>(TRY(db.number(
      "SELECT (SELECT coalesce(sum(size),0) FROM layers)+(SELECT coalesce(sum(size),0) FROM blobs)")));
}

// Layers and blobs that belong to no image and to no pull of the last hour.
Result<> orphans(Database& db, Parts& parts) {
  std::string old = std::to_string(now().seconds - kOrphanSeconds);
  Statement l = TRY(db.prepare("SELECT diff_id FROM layers WHERE added<" + old));
  while (TRY(l.step())) parts.diff_ids.push_back(TRY(digest_column(l, 0)));
  Statement b = TRY(db.prepare("SELECT digest FROM blobs WHERE added<" + old));
  while (TRY(b.step())) parts.blobs.push_back(TRY(digest_column(b, 0)));
  return {};
}

}  // namespace

Result<Removed> Store::prune(const PrunePolicy& policy) {
  Database& db = state_->db;
  Removed removed;
  for (const std::string& id : TRY(prunable(db, policy))) {
    if (policy.keep_bytes && TRY(total_bytes(db)) <= policy.keep_bytes) break;
    if (policy.filter) {
      auto image = resolve(id);
      if (!image || !policy.filter(*image)) continue;
    }
    // One transaction an image: others get their turn in between.
    Transaction t = TRY(Transaction::begin(db));
    if (TRY(holders_of(db, id)) > 0) continue;
    for (const std::string& name : TRY(names_of(db, id))) removed.untagged.push_back(familiar(name));
    Parts parts;
    TRY_VOID(delete_image_rows(db, id, parts));
    removed.deleted.push_back(TRY(oci::Digest::parse(id)));
    TRY_VOID(finish_removal(*state_, t, parts, removed));
  }
  Transaction t = TRY(Transaction::begin(db));
  Parts parts;
  TRY_VOID(orphans(db, parts));
  TRY_VOID(finish_removal(*state_, t, parts, removed));
  return removed;
}

// --- holds ---

Result<> Store::hold(const std::string& holder, const oci::Digest& image) {
  Database& db = state_->db;
  Transaction t = TRY(Transaction::begin(db));
  Statement used = TRY(db.prepare("UPDATE images SET used=? WHERE id=?"));
  TRY_VOID(used.bind(1, now().seconds).bind(2, image.text()).run());
  if (db.changes() == 0) return fail(Error::not_found("no such image: " + image.text()));
  Statement s = TRY(db.prepare("INSERT OR REPLACE INTO holds(holder,image) VALUES(?,?)"));
  TRY_VOID(s.bind(1, holder).bind(2, image.text()).run());
  return t.commit();
}

Result<> Store::release(const std::string& holder) {
  Statement s = TRY(state_->db.prepare("DELETE FROM holds WHERE holder=?"));
  return s.bind(1, holder).run();
}

Result<std::vector<std::pair<std::string, oci::Digest>>> Store::holds() {
  Statement s = TRY(state_->db.prepare("SELECT holder,image FROM holds ORDER BY holder"));
  std::vector<std::pair<std::string, oci::Digest>> out;
  while (TRY(s.step())) out.emplace_back(s.text(0), TRY(digest_column(s, 1)));
  return out;
}

}  // namespace onggi::image
