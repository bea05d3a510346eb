// Id maps of user namespaces.
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

struct IdRange {
  uint32_t inside = 0, outside = 0, size = 0;
};

// Writes /proc/PID/{uid_map,gid_map}. With `by_helper` the map may need ids that the caller does not own:
// newuidmap(1) and newgidmap(1) are executed unless the map is just the caller's own id, for which setgroups
// is denied first (user_namespaces(7)).
Result<> write_id_maps(int pid, const std::vector<IdRange>& uids, const std::vector<IdRange>& gids,
                       bool by_helper);

// A user namespace with these maps and no process in it, for id-mapped mounts.
Result<NsFd> make_user_namespace(const std::vector<IdRange>& uids, const std::vector<IdRange>& gids);

}  // namespace onggi::sys
