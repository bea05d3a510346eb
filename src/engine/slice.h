// The cgroup above all containers: together they leave a part of the machine's memory to the host, so that a
// crowd of them, each within its own limit, cannot starve the system that runs them.
//
// Without systemd, or on cgroup v1, it is "/onggi". On a cgroup v2 host with systemd the tree is systemd's,
// and what wants a part of it asks: onggi.service (in onggi.slice), a unit without a program whose cgroup is
// delegated (Delegate=yes). Then systemd enables controllers above it, keeps its hands off what is below, and
// `systemctl stop onggi` or a shutdown ends the containers. Monitors live in its child "monitors", so that a
// login that ends, or the service whose command started the container, does not take them along. A user's
// containers are in the same unit of the user's own manager, with the controllers that it was given.
#pragma once

#include <string>

#include "engine/engine.h"

namespace onggi::engine {

inline constexpr uint64_t kHostPercent = 10;  // of memory, kept for the host

struct CgroupPlace {
  bool cgroups = true;          // this user may make cgroups
  bool systemd = false;         // `base` is the delegated unit
  std::string base = "/onggi";  // below each hierarchy
};
CgroupPlace find_cgroup_place(bool rootless, bool cgroup_v2);

// To be called before a container is started or entered. Makes the cgroup and sets its limit (systemd: starts
// the unit); on later calls that costs one look. A user's process that is outside of its manager's tree moves
// into the unit, since the kernel lets it move processes only within a tree of its own. Where this user may
// not, containers run without it (inspect --isolation says so).
void ensure_slice(Engine& engine);
// Is systemd ending all containers (a shutdown)? What ends then is not started again by its policy, but at
// the next boot.
bool slice_is_ending(Engine& engine);
// Its memory limit now, bytes; 0: none.
uint64_t slice_limit(Engine& engine);

}  // namespace onggi::engine
