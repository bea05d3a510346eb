// The rules of `mounts` (config.md "Mounts").
#include <linux/mount.h>

#include "oci/check_internal.h"
#include "oci/mount_options.h"

namespace onggi::oci {
namespace {

Result<> check_idmap(const Spec& spec, const Mount& mount, const MountFlags& flags, bool bind,
                     const std::string& member) {
  bool own = !mount.uid_mappings.empty() || !mount.gid_mappings.empty();
  bool inlined = !flags.inline_uid_mappings.empty() || !flags.inline_gid_mappings.empty();
  if (!own && !inlined && !flags.idmap && !flags.ridmap) return {};
  // Other file systems have their own way to map ids; the kernel maps a mount, and only a bind mount is one
  // of its own.
  if (!bind) return broken(member, "id mappings need the option bind or rbind");
  if (own && (mount.uid_mappings.empty() || mount.gid_mappings.empty()))
    return broken(member, "uidMappings and gidMappings must be given together");
  if (inlined && (flags.inline_uid_mappings.empty() || flags.inline_gid_mappings.empty()))
    return broken(member, "the option idmap= must map both uids and gids");
  if (!own && !inlined && !find_namespace(spec, NamespaceType::kUser))
    return broken(
        member,
        "the option idmap without uidMappings and gidMappings needs a user namespace to take them from");
  TRY_VOID(check_mappings(mount.uid_mappings, member + ".uidMappings"));
  return check_mappings(mount.gid_mappings, member + ".gidMappings");
}

}  // namespace

Result<> check_mounts(const Spec& spec, const CheckContext& context) {
  for (size_t i = 0; i < spec.mounts.size(); i++) {
    const Mount& mount = spec.mounts[i];
    std::string member = at("mounts", i);
    if (mount.destination.empty()) return broken(member + ".destination", "missing");
    if (!is_absolute(mount.destination))
      context.warn(member + ".destination: " + quoted(mount.destination) +
                   " is relative, which is deprecated; taken as /" + mount.destination);
    MountFlags flags = TRY_CTX(parse_mount_options(mount.options), member + ".options");
    bool bind = flags.bind || mount.type == "bind";
    if (mount.type.empty() && !bind && !(flags.ms_set & MS_REMOUNT))
      return broken(member + ".type", "missing, and the options name neither bind nor rbind");
    if (bind && mount.source.empty()) return broken(member + ".source", "missing, a bind mount needs one");
    if (bind && !flags.data.empty())
      context.warn(member +
                   ".options: a bind mount has no file system options, ignored: " + join_mount_data(flags));
    if (flags.tmpcopyup && mount.type != "tmpfs")
      context.warn(member + ".options: tmpcopyup belongs to tmpfs, ignored for " + quoted(mount.type));
    TRY_VOID(check_idmap(spec, mount, flags, bind, member));
  }
  return {};
}

}  // namespace onggi::oci
