#include "engine/volume_mounts.h"

#include <algorithm>

#include "sys/private_mounts.h"

namespace onggi::engine {

Result<VolumeMounts> VolumeMounts::open(Engine& engine, const ContainerConfig& config) {
  VolumeMounts volumes;
  for (const auto& m : config.mounts) {
    if (m.type != "volume" || volumes.name_of(m)) continue;
    auto volume = find_volume(engine, m.source);
    if (!volume || TRY(volume_bound(*volume)) == 0) continue;  // one that is gone is start's to tell
    MountFd mount = TRY(open_volume(engine, *volume)).mount;
    volumes.mounts_.push_back({m.source, "v" + std::to_string(volumes.mounts_.size()), std::move(mount)});
  }
  return volumes;
}

const std::string* VolumeMounts::name_of(const MountConfig& mount) const {
  auto found = std::find_if(mounts_.begin(), mounts_.end(), [&](const Entry& e) {
    return mount.type == "volume" && e.volume == mount.source;
  });
  return found == mounts_.end() ? nullptr : &found->name;
}

Result<MountFd> VolumeMounts::bundle_with(int root) const {
  std::vector<sys::NamedMount> named = {{"root", root}};
  for (const auto& e : mounts_) named.push_back({e.name, e.mount.get()});
  return sys::bundle_mounts(named);
}

}  // namespace onggi::engine
