// Containers on disk: who has which id, name and id range; their configuration and state; their locks.
//
// A container exists when its directory holds config.json, which is written last. Before that the directory
// is a claim that a dead creator may have left behind; sweep() removes it. The directory is also the lock
// (flock): whoever changes the container holds it exclusively; readers (ps, inspect) never take it, so a
// container that is stuck in a command holds nobody else up. A lock goes with its holder.
//
// Removal renames the directory into the trash, which is the moment it ceases to exist; the files are deleted
// later, and only then is its id range free, since files with those ids remain until then.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "engine/container_config.h"
#include "engine/paths.h"

namespace onggi::engine {

inline constexpr uint32_t kRangeSize = 65536;       // ids of one container
inline constexpr uint32_t kRangeBase = 0x60000000;  // host id of range 0: above what distributions hand out
inline constexpr uint32_t kRangeCount = 32768;

// One container's directory, opened.
class ContainerDir {
 public:
  ContainerDir() = default;
  ContainerDir(const Paths& paths, std::string id, UniqueFd dir)
      : paths_(&paths), id_(std::move(id)), dir_(std::move(dir)) {}

  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] int fd() const { return dir_.get(); }
  // Waits at most `timeout_ms` (-1: without bound). kBusy when another command holds it that long; kNotFound
  // when it was removed meanwhile.
  Result<> lock(int timeout_ms = 120'000);
  void unlock();
  [[nodiscard]] Result<ContainerConfig> config() const;
  Result<> save_config(const ContainerConfig& config) const;
  // The state as files and the kernel tell it: a container whose process is gone without a word (a reboot, a
  // killed monitor) is "exited" here.
  [[nodiscard]] Result<ContainerState> state() const;
  // Below RUN; "exited" and "created" also below ROOT, so that they outlive a reboot.
  Result<> save_state(const ContainerState& state) const;

 private:
  const Paths* paths_ = nullptr;
  std::string id_;
  UniqueFd dir_;
};

class ContainerStore {
 public:
  explicit ContainerStore(const Paths& paths) : paths_(paths) {}

  // Takes an id, the name (kExists when it is another's) and, unless `config.shares_range_of` or host ids say
  // otherwise, a range. The directory comes back locked; commit() of the claim makes it a container, and an
  // uncommitted claim leaves nothing.
  class Claim {
   public:
    Claim(const Paths& paths) : paths_(paths) {}
    Claim(Claim&& other) noexcept;
    ~Claim();
    ContainerDir dir;
    Result<> commit(const ContainerConfig& config);

   private:
    friend class ContainerStore;
    const Paths& paths_;
    std::string name_;
    uint32_t range_ = kRangeCount;
    bool armed_ = false;
  };
  Result<Claim> claim(ContainerConfig& config);

  // By full id, name, or unambiguous prefix of an id. kNotFound: "No such container: x".
  [[nodiscard]] Result<std::string> resolve(const std::string& reference) const;
  [[nodiscard]] Result<ContainerDir> open(const std::string& id) const;
  [[nodiscard]] Result<ContainerDir> find(const std::string& reference) const;
  // Sorted by id. Half-made ones are not in it.
  [[nodiscard]] Result<std::vector<std::string>> ids() const;
  Result<> rename(ContainerDir& dir, const std::string& name);
  // Takes it out of the store; the caller holds the lock and has stopped it. Its live directory and its files
  // in the trash are the sweep's.
  Result<> remove(ContainerDir& dir);
  // Deletes the trash, claims of dead creators, names and ranges that belong to nobody. `report` (may be
  // empty) hears what was found; with `repair` false nothing is changed. `finish` is called for each
  // container in the trash before its files go, and may have been called for it before.
  Result<> sweep(bool repair, const std::function<void(const std::string&)>& report,
                 const std::function<void(const std::string&)>& finish = {});

 private:
  Result<bool> take_directory(Claim& claim, ContainerConfig& config);
  // True when the name was nobody's any more, and is free now.
  [[nodiscard]] bool drop_old_name(const std::string& name) const;
  const Paths& paths_;
};

// Points the symlink at `id`, a container's. False when it points at one that exists; one whose container is
// gone is taken over.
Result<bool> take_link(const Paths& paths, const std::string& link, const std::string& id);

Result<> check_container_name(const std::string& name);
// Two words that a person can say, as the field's engines make them.
std::string random_name();
std::string random_id();
std::string boot_id();

}  // namespace onggi::engine
