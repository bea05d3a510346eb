// What the parts of the store share: the database, the directories, the locks. Internal to image/.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "image/database.h"
#include "image/store.h"

namespace onggi::image {

struct StoreState {
  std::string root;    // ROOT/images
  UniqueFd directory;  // of root
  std::string boot_id;
  Database db;
};

// What can be made and deleted, with its place. Locks are by digest; a layer and a blob of one digest (an
// uncompressed layer) share theirs.
enum class Kind : uint8_t { kLayer, kBlob };
std::string final_path(Kind kind, const oci::Digest& digest);      // relative to the root
std::string temporary_path(Kind kind, const oci::Digest& digest);  // likewise

// Exclusive lock of locks/HEX. The file is removed by whoever ends holding it, so an empty directory is the
// normal state. With `wait` false: nullopt when somebody else has it.
Result<std::optional<UniqueFd>> lock_digest(StoreState& store, Kind kind, const oci::Digest& digest,
                                            bool wait, const std::function<void()>& waiting = {});
void unlock_digest(StoreState& store, Kind kind, const oci::Digest& digest, UniqueFd& lock);

// Renames `path` (relative to the root) into trash/ under a new name. Not there: nothing to do.
Result<> move_to_trash(StoreState& store, const std::string& path);
// After the transaction that deleted the rows: moves the files away, unless they are being made again.
Result<> discard_files(StoreState& store, Kind kind, const std::vector<oci::Digest>& digests);

// Deletes the rows of layers, blobs and documents that no image names. Inside the caller's transaction.
struct Unreferenced {
  std::vector<oci::Digest> layers, blobs;
  uint64_t bytes = 0;
};
// `candidates_only`: only what was used by the images in the temporary list `diff_ids`; else everything that
// has been without an image for an hour (a pull in progress adds its image last).
Result<Unreferenced> delete_unreferenced(StoreState& store, const std::vector<oci::Digest>& diff_ids,
                                         const std::vector<oci::Digest>& blobs);

// Digest columns hold what Digest::text() gave; anything else is damage.
Result<oci::Digest> digest_column(const Statement& s, int column);

}  // namespace onggi::image
