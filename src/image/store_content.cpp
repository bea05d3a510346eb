// Layers and blobs of the store: locks, writers, renames into place and into trash.
//
// Order, for both: take the lock, look again whether it is there, clear what a dead process left, fill tmp/,
// rename into place, write the row, drop the lock. A kill before the rename leaves rubbish in tmp/, a kill
// after it a file without a row; both are taken away by whoever makes the same thing next, or by sweep() and
// check().
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/time.h"
#include "image/store_state.h"

namespace onggi::image {

namespace {

std::string lock_path(Kind kind, const oci::Digest& digest) {
  return std::string("locks/") + (kind == Kind::kLayer ? "layer-" : "blob-") + std::string(digest.hex());
}

}  // namespace

std::string final_path(Kind kind, const oci::Digest& digest) {
  return (kind == Kind::kLayer ? "layers/" : "blobs/sha256/") + std::string(digest.hex());
}
std::string temporary_path(Kind kind, const oci::Digest& digest) {
  return std::string("tmp/") + (kind == Kind::kLayer ? "layer-" : "blob-") + std::string(digest.hex());
}

Result<std::optional<UniqueFd>> lock_digest(StoreState& store, Kind kind, const oci::Digest& digest,
                                            bool wait, const std::function<void()>& waiting) {
  std::string path = lock_path(kind, digest);
  bool told = false;
  for (;;) {
    UniqueFd lock = TRY(open_at(store.directory.get(), path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
    while (::flock(lock.get(), LOCK_EX | LOCK_NB) < 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) return fail(Error::os("lock", path));
      if (!wait) return std::nullopt;
      if (waiting && !told) waiting();
      told = true;
      if (::flock(lock.get(), LOCK_EX) == 0) break;
      if (errno != EINTR) return fail(Error::os("lock", path));
    }
    // Its last holder removed the file: this lock protects nothing; take the new one.
    struct stat mine, there;
    if (::fstat(lock.get(), &mine) == 0 &&
        ::fstatat(store.directory.get(), path.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
        mine.st_ino == there.st_ino && mine.st_dev == there.st_dev)
      return lock;
  }
}

void unlock_digest(StoreState& store, Kind kind, const oci::Digest& digest, UniqueFd& lock) {
  if (!lock) return;
  ::unlinkat(store.directory.get(), lock_path(kind, digest).c_str(), 0);
  lock.reset();
}

Result<> move_to_trash(StoreState& store, const std::string& path) {
  uint64_t random[2];
  if (::getrandom(random, sizeof random, 0) != sizeof random) return fail(Error::os("get random bytes", ""));
  std::string target = "trash/" + std::to_string(random[0]) + "-" + std::to_string(random[1]);
  if (::renameat(store.directory.get(), path.c_str(), store.directory.get(), target.c_str()) == 0 ||
      errno == ENOENT)
    return {};
  return fail(Error::os("move to trash", path));
}

Result<> discard_files(StoreState& store, Kind kind, const std::vector<oci::Digest>& digests) {
  const char* sql =
      kind == Kind::kLayer ? "SELECT 1 FROM layers WHERE diff_id=?" : "SELECT 1 FROM blobs WHERE digest=?";
  Statement row = TRY(store.db.prepare(sql));
  for (const oci::Digest& digest : digests) {
    // Whoever holds the lock is making it again and has taken the old one away itself.
    std::optional<UniqueFd> lock = TRY(lock_digest(store, kind, digest, false));
    if (!lock) continue;
    Result<bool> back = row.bind(1, digest.text()).step();
    Result<> moved;
    if (back && !*back) moved = move_to_trash(store, final_path(kind, digest));
    unlock_digest(store, kind, digest, *lock);
    TRY_VOID(back);
    TRY_VOID(moved);
  }
  return {};
}

// --- layers ---

Result<std::optional<LayerInfo>> Store::layer(const oci::Digest& diff_id) {
  Statement s = TRY(state_->db.prepare("SELECT form,size,entries FROM layers WHERE diff_id=?"));
  s.bind(1, diff_id.text());
  if (!TRY(s.step())) return std::nullopt;
  return LayerInfo{diff_id, static_cast<LayerForm>(s.number(0)), static_cast<uint64_t>(s.number(1)),
                   static_cast<uint64_t>(s.number(2))};
}

std::string Store::layer_path(const oci::Digest& diff_id) const {
  return state_->root + "/" + final_path(Kind::kLayer, diff_id);
}

Result<std::optional<LayerWriter>> Store::begin_layer(const oci::Digest& diff_id,
                                                      const std::function<void()>& waiting) {
  if (TRY(layer(diff_id))) return std::nullopt;
  std::optional<UniqueFd> lock = TRY(lock_digest(*state_, Kind::kLayer, diff_id, true, waiting));
  LayerWriter w;
  w.store_ = state_.get();
  w.diff_id_ = diff_id;
  w.lock_ = std::move(*lock);
  if (TRY(layer(diff_id))) return std::nullopt;  // made while this one waited
  int root = state_->directory.get();
  std::string temporary = temporary_path(Kind::kLayer, diff_id);
  TRY_VOID(move_to_trash(*state_, final_path(Kind::kLayer, diff_id)));
  TRY_VOID(move_to_trash(*state_, temporary));
  if (::mkdirat(root, temporary.c_str(), 0700) < 0) return fail(Error::os("create the directory", temporary));
  w.name_ = temporary;
  w.directory_ = TRY(open_at(root, temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (::mkdirat(w.directory_.get(), "fs", 0755) < 0 || ::fchmodat(w.directory_.get(), "fs", 0755, 0) < 0)
    return fail(Error::os("create the directory", temporary + "/fs"));
  return w;
}

LayerWriter::LayerWriter(LayerWriter&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)),
      diff_id_(std::move(other.diff_id_)),
      lock_(std::move(other.lock_)),
      directory_(std::move(other.directory_)),
      name_(std::exchange(other.name_, {})) {}
LayerWriter& LayerWriter::operator=(LayerWriter&& other) noexcept {
  std::swap(store_, other.store_);
  std::swap(diff_id_, other.diff_id_);
  std::swap(lock_, other.lock_);
  std::swap(directory_, other.directory_);
  std::swap(name_, other.name_);
  return *this;
}
LayerWriter::~LayerWriter() {
  if (!store_) return;
  if (!name_.empty()) (void)move_to_trash(*store_, name_);
  unlock_digest(*store_, Kind::kLayer, diff_id_, lock_);
}

std::string LayerWriter::path() const { return store_->root + "/" + name_; }

Result<> LayerWriter::adopt(int directory, const std::string& name) {
  // rename(2) replaces an empty directory.
  if (::renameat(directory, name.c_str(), directory_.get(), "fs") == 0) return {};
  return fail(Error::os("take over the tree", name));
}

Result<> LayerWriter::commit(const LayerInfo& info) {
  std::string target = final_path(Kind::kLayer, diff_id_);
  int root = store_->directory.get();
  if (::renameat(root, name_.c_str(), root, target.c_str()) < 0)
    return fail(Error::os("put the layer into place at", target));
  name_ = target;  // a failure below moves it to trash from there
  Statement s =
      TRY(store_->db.prepare("INSERT INTO layers(diff_id,form,size,entries,added,boot) VALUES(?,?,?,?,?,?)"));
  s.bind(1, diff_id_.text())
      .bind(2, static_cast<int64_t>(info.form))
      .bind(3, static_cast<int64_t>(info.size));
  s.bind(4, static_cast<int64_t>(info.entries)).bind(5, now().seconds).bind(6, store_->boot_id);
  TRY_VOID(s.run());
  name_.clear();
  return {};
}

// --- blobs ---

Result<bool> Store::has_blob(const oci::Digest& digest) {
  Statement s = TRY(state_->db.prepare("SELECT 1 FROM blobs WHERE digest=?"));
  return s.bind(1, digest.text()).step();
}

Result<UniqueFd> Store::open_blob(const oci::Digest& digest) {
  if (!TRY(has_blob(digest)))
    return fail(Error::not_found("blob " + digest.text() + " is not in the image store"));
  return open_at(state_->directory.get(), final_path(Kind::kBlob, digest), O_RDONLY | O_NOFOLLOW);
}

Result<std::optional<BlobWriter>> Store::begin_blob(const oci::Digest& digest,
                                                    const std::function<void()>& waiting) {
  if (TRY(has_blob(digest))) return std::nullopt;
  std::optional<UniqueFd> lock = TRY(lock_digest(*state_, Kind::kBlob, digest, true, waiting));
  BlobWriter w;
  w.store_ = state_.get();
  w.digest_ = digest;
  w.lock_ = std::move(*lock);
  if (TRY(has_blob(digest))) return std::nullopt;
  TRY_VOID(move_to_trash(*state_, final_path(Kind::kBlob, digest)));
  w.name_ = temporary_path(Kind::kBlob, digest);
  w.file_ = TRY(open_at(state_->directory.get(), w.name_, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  off_t end = ::lseek(w.file_.get(), 0, SEEK_END);
  if (end < 0) return fail(Error::os("seek in", w.name_));
  w.resumed_ = static_cast<uint64_t>(end);
  return w;
}

Result<> Store::forget_blob(const oci::Digest& digest) {
  Statement s = TRY(state_->db.prepare("DELETE FROM blobs WHERE digest=?"));
  TRY_VOID(s.bind(1, digest.text()).run());
  return discard_files(*state_, Kind::kBlob, {digest});
}

BlobWriter::BlobWriter(BlobWriter&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)),
      digest_(std::move(other.digest_)),
      lock_(std::move(other.lock_)),
      file_(std::move(other.file_)),
      name_(std::exchange(other.name_, {})),
      resumed_(other.resumed_),
      keep_partial_(other.keep_partial_) {}
BlobWriter& BlobWriter::operator=(BlobWriter&& other) noexcept {
  std::swap(store_, other.store_);
  std::swap(digest_, other.digest_);
  std::swap(lock_, other.lock_);
  std::swap(file_, other.file_);
  std::swap(name_, other.name_);
  std::swap(resumed_, other.resumed_);
  std::swap(keep_partial_, other.keep_partial_);
  return *this;
}
BlobWriter::~BlobWriter() {
  if (!store_) return;
  struct stat st;
  bool worth = keep_partial_ && file_ && ::fstat(file_.get(), &st) == 0 && st.st_size > 0;
  if (!name_.empty() && !worth) ::unlinkat(store_->directory.get(), name_.c_str(), 0);
  unlock_digest(*store_, Kind::kBlob, digest_, lock_);
}

Result<> BlobWriter::restart() {
  if (::ftruncate(file_.get(), 0) < 0 || ::lseek(file_.get(), 0, SEEK_SET) < 0)
    return fail(Error::os("truncate", name_));
  resumed_ = 0;
  return {};
}

Result<> BlobWriter::adopt(int directory, const std::string& name) {
  if (::renameat(directory, name.c_str(), store_->directory.get(), name_.c_str()) < 0)
    return fail(Error::os("take over the blob", name));
  file_ = TRY(open_at(store_->directory.get(), name_, O_RDWR | O_NOFOLLOW));
  return {};
}

Result<> BlobWriter::commit(uint64_t size) {
  std::string target = final_path(Kind::kBlob, digest_);
  int root = store_->directory.get();
  if (::renameat(root, name_.c_str(), root, target.c_str()) < 0)
    return fail(Error::os("put the blob into place at", target));
  name_ = target;
  keep_partial_ = false;
  Statement s = TRY(store_->db.prepare("INSERT INTO blobs(digest,size,added,boot) VALUES(?,?,?,?)"));
  s.bind(1, digest_.text())
      .bind(2, static_cast<int64_t>(size))
      .bind(3, now().seconds)
      .bind(4, store_->boot_id);
  TRY_VOID(s.run());
  name_.clear();
  return {};
}

Result<std::optional<ImageLayer>> Store::blob_of_layer(const oci::Digest& diff_id) {
  Statement s =
      TRY(state_->db.prepare("SELECT blob,media_type,blob_size FROM image_layers WHERE diff_id=? AND blob IN "
                             "(SELECT digest FROM blobs) LIMIT 1"));
  s.bind(1, diff_id.text());
  if (!TRY(s.step())) return std::nullopt;
  return ImageLayer{diff_id, TRY(digest_column(s, 0)), s.text(1), static_cast<uint64_t>(s.number(2))};
}

Result<std::vector<std::string>> Store::repositories_with(const oci::Digest& blob) {
  Statement s =
      TRY(state_->db.prepare("SELECT DISTINCT repository FROM image_digests WHERE image IN "
                             "(SELECT image FROM image_layers WHERE blob=?) ORDER BY 1"));
  s.bind(1, blob.text());
  std::vector<std::string> out;
  while (TRY(s.step())) out.push_back(s.text(0));
  return out;
}

// --- scratch ---

Result<Scratch> Store::begin_scratch() {
  for (;;) {
    uint64_t random;
    if (::getrandom(&random, sizeof random, 0) != sizeof random)
      return fail(Error::os("get random bytes", ""));
    Scratch scratch;
    std::string name = "tmp/scratch-" + std::to_string(random);
    if (::mkdirat(state_->directory.get(), name.c_str(), 0700) < 0)
      return fail(Error::os("create the directory", name));
    scratch.store_ = state_.get();
    scratch.name_ = name;
    auto directory = open_at(state_->directory.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    // A sweep between mkdir and flock takes an unlocked directory away: then another one.
    if (!directory) {
      if (directory.error().kind() == ErrorKind::kNotFound) continue;
      return fail(std::move(directory).error());
    }
    scratch.directory_ = std::move(*directory);
    if (::flock(scratch.directory_.get(), LOCK_EX | LOCK_NB) < 0) continue;
    if (::faccessat(state_->directory.get(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) return scratch;
  }
}

Scratch::Scratch(Scratch&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)),
      directory_(std::move(other.directory_)),
      name_(std::move(other.name_)) {}
Scratch::~Scratch() {
  if (store_) (void)move_to_trash(*store_, name_);
}

}  // namespace onggi::image
