#include "runtime/prepare_mounts.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "oci/mount_options.h"
#include "runtime/mount_attributes.h"
#include "sys/mount.h"
#include "sys/user_namespace.h"

namespace onggi::runtime {

namespace {

const oci::Namespace* user_namespace(const oci::Spec& spec) {
  for (const auto& ns : spec.linux.namespaces)
    if (ns.type == oci::NamespaceType::kUser) return &ns;
  return nullptr;
}

std::vector<sys::IdRange> ranges(const std::vector<oci::IdMapping>& maps) {
  std::vector<sys::IdRange> out;
  for (const auto& m : maps) out.push_back({m.container_id, m.host_id, m.size});
  return out;
}

// Inline mappings ("idmap=uids=0-1000-10"); '@' counts within the container's user namespace.
Result<std::vector<sys::IdRange>> inline_ranges(const std::vector<oci::MountFlags::InlineIdMapping>& list,
                                                const std::vector<oci::IdMapping>& container,
                                                const std::string& where) {
  std::vector<sys::IdRange> out;
  for (const auto& entry : list) {
    sys::IdRange r = {entry.map.container_id, entry.map.host_id, entry.map.size};
    if (entry.relative) {
      auto it = std::find_if(container.begin(), container.end(), [&](const oci::IdMapping& m) {
        return r.outside >= m.container_id && r.outside - m.container_id < m.size &&
               r.size <= m.size - (r.outside - m.container_id);
      });
      if (it == container.end())
        return fail(Error::invalid(where + ": id " + std::to_string(r.outside) +
                                   " is not mapped in the container's user namespace"));
      r.outside = it->host_id + (r.outside - it->container_id);
    }
    out.push_back(r);
  }
  return out;
}

// The user namespace whose map the mount shows: its own mappings, those in the option, or the container's.
Result<NsFd> mapping_namespace(const oci::Spec& spec, const oci::Mount& m, const oci::MountFlags& f,
                               const std::string& where) {
  const oci::Namespace* user = user_namespace(spec);
  if (!m.uid_mappings.empty())
    return sys::make_user_namespace(ranges(m.uid_mappings), ranges(m.gid_mappings));
  if (!f.inline_uid_mappings.empty()) {
    auto uids = TRY(inline_ranges(f.inline_uid_mappings, spec.linux.uid_mappings, where));
    auto gids =
        TRY(inline_ranges(f.inline_gid_mappings.empty() ? f.inline_uid_mappings : f.inline_gid_mappings,
                          spec.linux.gid_mappings, where));
    return sys::make_user_namespace(uids, gids);
  }
  if (!user) return fail(Error::invalid(where + ": idmap without mappings needs a user namespace"));
  if (!user->path.empty()) return sys::open_namespace(user->path, oci::clone_flag(user->type), "user");
  return sys::make_user_namespace(ranges(spec.linux.uid_mappings), ranges(spec.linux.gid_mappings));
}

Result<> set_propagation(int tree, const oci::Mount& m, const oci::MountFlags& f) {
  constexpr uint64_t kPrivate = 1 << 18, kRecursive = 16384;
  // A copy of a shared mount is its peer: what the container mounts below it would appear on the host.
  TRY_VOID(sys::set_mount_attributes(
      tree, m.source, 0, 0, f.propagation_steps.empty() ? kPrivate : (f.propagation_steps[0] & ~kRecursive),
      true));
  for (size_t i = 1; i < f.propagation_steps.size(); i++) {
    uint64_t p = f.propagation_steps[i];
    TRY_VOID(sys::set_mount_attributes(tree, m.source, 0, 0, p & ~kRecursive, (p & kRecursive) != 0));
  }
  return {};
}

Result<MountFd> prepare(const oci::Spec& spec, const oci::Mount& m, const oci::MountFlags& f, bool idmap,
                        const std::string& where) {
  MountFd tree = TRY_CTX(sys::clone_mount(m.source, f.rbind, f.src_nofollow), where);
  if (idmap) {
    NsFd map = TRY_CTX(mapping_namespace(spec, m, f, where), where);
    TRY_VOID_CTX(sys::set_mount_attributes(tree.get(), m.source, MOUNT_ATTR_IDMAP, 0, 0, f.ridmap, map.get()),
                 where);
  }
  MountAttributes a = mount_attributes(f);
  TRY_VOID_CTX(sys::set_mount_attributes(tree.get(), m.source, f.rec_attr_set, f.rec_attr_clr, 0, true),
               where);
  TRY_VOID_CTX(sys::set_mount_attributes(tree.get(), m.source, a.set, a.clear, 0, false), where);
  TRY_VOID_CTX(set_propagation(tree.get(), m, f), where);
  return tree;
}

}  // namespace

Result<> prepare_mounts(const oci::Spec& spec, bool rootless, std::vector<MountFd>& fds,
                        std::vector<PreparedMount>& prepared) {
  bool for_user = user_namespace(spec) != nullptr && !rootless;
  for (size_t i = 0; i < spec.mounts.size(); i++) {
    const oci::Mount& m = spec.mounts[i];
    oci::MountFlags f = TRY(oci::parse_mount_options(m.options));
    bool bind = f.bind || m.type == "bind";
    bool idmap = bind && (f.idmap || !m.uid_mappings.empty() || !m.gid_mappings.empty());
    if (!bind || (!idmap && !for_user) || f.copy_symlink) continue;
    std::string where = "mounts[" + std::to_string(i) + "] (" + m.destination + ")";
    fds.push_back(TRY(prepare(spec, m, f, idmap, where)));
    prepared.push_back({i, fds.back().get()});
  }
  return {};
}

}  // namespace onggi::runtime
