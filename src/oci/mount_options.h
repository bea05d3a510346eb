// Mount option strings of config.md -> flags of mount(2) and mount_setattr(2). Pure.
//
// The last of two contradicting options wins ("ro", "rw" -> writable), as mount(8) does. What is not in the
// table is handed to the filesystem as data, in the order given. Access-time modes are one choice, not bits:
// mount_setattr(2) wants MOUNT_ATTR__ATIME cleared whenever one of them is set, and rec_attr_clr says so.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace onggi::oci {

struct MountFlags {
  uint64_t ms_set = 0;    // MS_*, without propagation
  uint64_t ms_clear = 0;  // MS_* that were asked to be off; disjoint from ms_set
  // The last propagation option (MS_PRIVATE, MS_SHARED, MS_SLAVE, MS_UNBINDABLE, with MS_REC for r*); 0: none
  // given.
  uint64_t propagation = 0;
  // Every propagation option in order: "slave","shared" makes a mount that is both, so each is its own call.
  std::vector<uint64_t> propagation_steps;
  uint64_t rec_attr_set = 0;  // MOUNT_ATTR_*, for mount_setattr(AT_RECURSIVE)
  uint64_t rec_attr_clr = 0;
  bool bind = false;    // "bind" or "rbind"
  bool rbind = false;   // "rbind"
  bool idmap = false;   // "idmap" or "idmap=..."
  bool ridmap = false;  // "ridmap" or "ridmap=..."
  // Mappings written in the option ("idmap=uids=0-1000-10#...;gids=...", an extension that Podman uses).
  // `relative` is the '@' prefix: container_id counts within the container's user namespace.
  struct InlineIdMapping {
    IdMapping map;
    bool relative = false;
  };
  std::vector<InlineIdMapping> inline_uid_mappings, inline_gid_mappings;
  bool tmpcopyup = false;
  bool copy_symlink = false;   // a source that is a symlink is recreated, not followed
  bool src_nofollow = false;   // the source's last component is not followed
  bool dest_nofollow = false;  // the destination's last component is not followed
  // For the filesystem: "mode=755" -> {"mode", "755"}, "newinstance" -> {"newinstance", nullopt}.
  std::vector<std::pair<std::string, std::optional<std::string>>> data;
};

// Errors: a malformed "idmap=" value.
Result<MountFlags> parse_mount_options(const std::vector<std::string>& options);

// The data part as mount(2) takes it: "mode=755,newinstance".
std::string join_mount_data(const MountFlags& flags);

// Every option of the table, sorted: what `features` reports as mountOptions.
std::vector<std::string> known_mount_options();

// "private", "rslave", ... -> MS_* flags; 0 when it is not a propagation mode.
uint64_t propagation_flag(std::string_view option);

}  // namespace onggi::oci
