// Named volumes: directories of the engine's own that outlive containers.
//
// With the option size=BYTES a volume is an ext4 of its own inside a file (disk.h), so that what fills it
// does not fill the host; else a directory. The file is found in volumes/NAME as "disk", its tree below
// "data" in it. Such a volume has no place on the host: it is mounted in the mount namespace of each
// container.
//
// Files in a volume carry ids as the container sees them (0.. on disk, in the store that only root may enter)
// and are id-mapped at each mount, so that one volume serves containers with different ranges without a
// chown.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "base/scope.h"
#include "engine/engine.h"

namespace onggi::engine {

struct Volume {
  std::string name, driver = "local", created;
  oci::StringMap labels, options;
  bool anonymous = false;
  bool filled = false;  // what the image has at the mount point was copied in
};

Result<Volume> create_volume(Engine& engine, Volume volume);
Result<Volume> find_volume(Engine& engine, const std::string& name);
// Sorted by name.
Result<std::vector<Volume>> list_volumes(Engine& engine);
// kBusy names the containers that use it.
Result<> remove_volume(Engine& engine, const std::string& name);
Result<> save_volume(Engine& engine, const Volume& volume);
// The directory of a volume without a bound.
std::string volume_data(const Engine& engine, const std::string& name);
// Bytes; 0: none.
Result<int64_t> volume_bound(const Volume& volume);
struct OpenVolume {
  MountFd mount;  // of a bounded one, detached; its tree is at "data" in it
  UniqueFd data;
};
// Locks the volume while a bounded one is mounted.
Result<OpenVolume> open_volume(Engine& engine, const Volume& volume);
// Where it is on the host: its directory, or the file that holds it.
std::string volume_place(const Engine& engine, const Volume& volume);
// Bytes that the file of a bounded one takes on the host's disk; 0 for a directory.
uint64_t volume_usage(const Engine& engine, const Volume& volume);
// Ids of containers that mount it.
Result<std::vector<std::string>> volume_users(Engine& engine, const std::string& name);

// Makes the volumes that a new container names and does not find; anonymous ones get a name. Each that was
// made is undone by `undo`.
Result<> create_volumes_of(Engine& engine, ContainerConfig& config, Rollback& undo);

}  // namespace onggi::engine

namespace onggi {
template <>
struct JsonFields<engine::Volume> {
  using T = engine::Volume;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::name>("name"), json_field<&T::driver>("driver"), json_field<&T::created>("created"),
       json_field<&T::labels>("labels"), json_field<&T::options>("options"),
       json_field<&T::anonymous>("anonymous"), json_field<&T::filled>("filled")});
};
}  // namespace onggi
