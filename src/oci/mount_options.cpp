// The table of mount options and the loop that applies it. Sorted by name: looked up by binary search,
// printed as is.
#include "oci/mount_options.h"

#include <linux/mount.h>

#include <algorithm>
#include <charconv>
#include <string_view>

namespace onggi::oci {
namespace {

enum class Kind : uint8_t { kSet, kClear, kPropagation, kRecSet, kRecClear, kExtension, kNothing };
enum Extension : uint64_t { kIdmap, kRidmap, kTmpcopyup, kCopySymlink, kSrcNofollow, kDestNofollow };

struct Option {
  std::string_view name;
  Kind kind;
  uint64_t value;
};

constexpr uint64_t kMsNoSymFollow = 256;  // since Linux 5.10; some libc headers lack it
constexpr uint64_t kAttrNoSymFollow = 0x00200000;

constexpr Option kOptions[] = {
    {"async", Kind::kClear, MS_SYNCHRONOUS},
    {"atime", Kind::kClear, MS_NOATIME},
    {"bind", Kind::kSet, MS_BIND},
    {"copy-symlink", Kind::kExtension, kCopySymlink},
    {"defaults", Kind::kNothing, 0},
    {"dest-nofollow", Kind::kExtension, kDestNofollow},
    {"dev", Kind::kClear, MS_NODEV},
    {"diratime", Kind::kClear, MS_NODIRATIME},
    {"dirsync", Kind::kSet, MS_DIRSYNC},
    {"exec", Kind::kClear, MS_NOEXEC},
    {"idmap", Kind::kExtension, kIdmap},
    {"iversion", Kind::kSet, MS_I_VERSION},
    {"lazytime", Kind::kSet, MS_LAZYTIME},
    {"loud", Kind::kClear, MS_SILENT},
    {"mand", Kind::kSet, MS_MANDLOCK},
    {"noatime", Kind::kSet, MS_NOATIME},
    {"nodev", Kind::kSet, MS_NODEV},
    {"nodiratime", Kind::kSet, MS_NODIRATIME},
    {"noexec", Kind::kSet, MS_NOEXEC},
    {"noiversion", Kind::kClear, MS_I_VERSION},
    {"nolazytime", Kind::kClear, MS_LAZYTIME},
    {"nomand", Kind::kClear, MS_MANDLOCK},
    {"norelatime", Kind::kClear, MS_RELATIME},
    {"nostrictatime", Kind::kClear, MS_STRICTATIME},
    {"nosuid", Kind::kSet, MS_NOSUID},
    {"nosymfollow", Kind::kSet, kMsNoSymFollow},
    {"private", Kind::kPropagation, MS_PRIVATE},
    {"ratime", Kind::kRecClear, MOUNT_ATTR_NOATIME},
    {"rbind", Kind::kSet, MS_BIND | MS_REC},
    {"rdev", Kind::kRecClear, MOUNT_ATTR_NODEV},
    {"rdiratime", Kind::kRecClear, MOUNT_ATTR_NODIRATIME},
    {"relatime", Kind::kSet, MS_RELATIME},
    {"remount", Kind::kSet, MS_REMOUNT},
    {"rexec", Kind::kRecClear, MOUNT_ATTR_NOEXEC},
    {"ridmap", Kind::kExtension, kRidmap},
    {"rnoatime", Kind::kRecSet, MOUNT_ATTR_NOATIME},
    {"rnodev", Kind::kRecSet, MOUNT_ATTR_NODEV},
    {"rnodiratime", Kind::kRecSet, MOUNT_ATTR_NODIRATIME},
    {"rnoexec", Kind::kRecSet, MOUNT_ATTR_NOEXEC},
    // MOUNT_ATTR_RELATIME is 0 and the kernel's default: taking it away has no flag to clear.
    {"rnorelatime", Kind::kNothing, 0},
    {"rnostrictatime", Kind::kRecClear, MOUNT_ATTR_STRICTATIME},
    {"rnosuid", Kind::kRecSet, MOUNT_ATTR_NOSUID},
    {"rnosymfollow", Kind::kRecSet, kAttrNoSymFollow},
    {"ro", Kind::kSet, MS_RDONLY},
    {"rprivate", Kind::kPropagation, MS_PRIVATE | MS_REC},
    {"rrelatime", Kind::kRecSet, MOUNT_ATTR_RELATIME},
    {"rro", Kind::kRecSet, MOUNT_ATTR_RDONLY},
    {"rrw", Kind::kRecClear, MOUNT_ATTR_RDONLY},
    {"rshared", Kind::kPropagation, MS_SHARED | MS_REC},
    {"rslave", Kind::kPropagation, MS_SLAVE | MS_REC},
    {"rstrictatime", Kind::kRecSet, MOUNT_ATTR_STRICTATIME},
    {"rsuid", Kind::kRecClear, MOUNT_ATTR_NOSUID},
    {"rsymfollow", Kind::kRecClear, kAttrNoSymFollow},
    {"runbindable", Kind::kPropagation, MS_UNBINDABLE | MS_REC},
    {"rw", Kind::kClear, MS_RDONLY},
    {"shared", Kind::kPropagation, MS_SHARED},
    {"silent", Kind::kSet, MS_SILENT},
    {"slave", Kind::kPropagation, MS_SLAVE},
    {"src-nofollow", Kind::kExtension, kSrcNofollow},
    {"strictatime", Kind::kSet, MS_STRICTATIME},
    {"suid", Kind::kClear, MS_NOSUID},
    {"symfollow", Kind::kClear, kMsNoSymFollow},
    {"sync", Kind::kSet, MS_SYNCHRONOUS},
    {"tmpcopyup", Kind::kExtension, kTmpcopyup},
    {"unbindable", Kind::kPropagation, MS_UNBINDABLE},
};
static_assert(std::ranges::is_sorted(kOptions, {}, &Option::name));

const Option* find_option(std::string_view name) {
  const auto* it = std::ranges::lower_bound(kOptions, name, {}, &Option::name);
  return it != std::end(kOptions) && it->name == name ? it : nullptr;
}

bool is_atime_mode(uint64_t attr) {
  return attr == MOUNT_ATTR_RELATIME || attr == MOUNT_ATTR_NOATIME || attr == MOUNT_ATTR_STRICTATIME;
}

void set_rec_attr(MountFlags& flags, uint64_t attr) {
  if (is_atime_mode(attr)) {
    flags.rec_attr_set &= ~static_cast<uint64_t>(MOUNT_ATTR__ATIME);
    flags.rec_attr_clr |= MOUNT_ATTR__ATIME;
  } else {
    flags.rec_attr_clr &= ~attr;
  }
  flags.rec_attr_set |= attr;
}

void clear_rec_attr(MountFlags& flags, uint64_t attr) {
  if (is_atime_mode(attr)) {
    // The kernel takes all of MOUNT_ATTR__ATIME or none: clearing one mode means going back to the default,
    // relatime.
    flags.rec_attr_set &= ~static_cast<uint64_t>(MOUNT_ATTR__ATIME);
    flags.rec_attr_clr |= MOUNT_ATTR__ATIME;
    return;
  }
  flags.rec_attr_set &= ~attr;
  flags.rec_attr_clr |= attr;
}

void apply_extension(MountFlags& flags, uint64_t extension) {
  switch (extension) {
    case kIdmap:
      flags.idmap = true;
      break;
    case kRidmap:
      flags.ridmap = true;
      break;
    case kTmpcopyup:
      flags.tmpcopyup = true;
      break;
    case kCopySymlink:
      flags.copy_symlink = true;
      break;
    case kSrcNofollow:
      flags.src_nofollow = true;
      break;
    case kDestNofollow:
      flags.dest_nofollow = true;
      break;
    default:
      break;
  }
}

void apply(MountFlags& flags, const Option& option) {
  switch (option.kind) {
    case Kind::kSet:
      flags.ms_set |= option.value;
      flags.ms_clear &= ~option.value;
      if (option.value & MS_BIND) flags.bind = true;
      if (option.value == (MS_BIND | MS_REC)) flags.rbind = true;
      break;
    case Kind::kClear:
      flags.ms_set &= ~option.value;
      flags.ms_clear |= option.value;
      break;
    case Kind::kPropagation:
      flags.propagation = option.value;
      flags.propagation_steps.push_back(option.value);
      break;
    case Kind::kRecSet:
      set_rec_attr(flags, option.value);
      break;
    case Kind::kRecClear:
      clear_rec_attr(flags, option.value);
      break;
    case Kind::kExtension:
      apply_extension(flags, option.value);
      break;
    case Kind::kNothing:
      break;
  }
}

// "0-1000-10" with an optional '@' in front: container id, host id, size.
Result<MountFlags::InlineIdMapping> parse_inline_mapping(std::string_view text) {
  MountFlags::InlineIdMapping out;
  std::string_view rest = text;
  if (rest.starts_with('@')) {
    out.relative = true;
    rest.remove_prefix(1);
  }
  uint32_t* fields[] = {&out.map.container_id, &out.map.host_id, &out.map.size};
  for (int i = 0; i < 3; i++) {
    auto [end, ec] = std::from_chars(rest.data(), rest.data() + rest.size(), *fields[i]);
    size_t used = static_cast<size_t>(end - rest.data());
    bool separated = i == 2 ? used == rest.size() : used < rest.size() && rest[used] == '-';
    if (ec != std::errc() || !separated)
      return fail(Error::invalid("'" + std::string(text) + "' is not CONTAINER-HOST-SIZE"));
    if (i < 2) rest.remove_prefix(used + 1);
  }
  return out;
}

// The value of "idmap=": "uids=0-1000-10#20-3000-5;gids=0-1000-10".
Result<> parse_inline_mappings(std::string_view value, MountFlags& flags) {
  while (!value.empty()) {
    std::string_view part = value.substr(0, value.find(';'));
    value.remove_prefix(std::min(value.size(), part.size() + 1));
    auto* target = part.starts_with("uids=")   ? &flags.inline_uid_mappings
                   : part.starts_with("gids=") ? &flags.inline_gid_mappings
                                               : nullptr;
    if (!target)
      return fail(Error::invalid("'" + std::string(part) + "' starts with neither 'uids=' nor 'gids='"));
    part.remove_prefix(5);
    do {
      std::string_view item = part.substr(0, part.find('#'));
      part.remove_prefix(std::min(part.size(), item.size() + 1));
      target->push_back(TRY(parse_inline_mapping(item)));
    } while (!part.empty());
  }
  return {};
}

}  // namespace

Result<MountFlags> parse_mount_options(const std::vector<std::string>& options) {
  MountFlags flags;
  for (const std::string& text : options) {
    std::string_view option = text;
    if (const Option* known = find_option(option)) {
      apply(flags, *known);
      continue;
    }
    size_t equals = option.find('=');
    if (equals == std::string_view::npos) {
      if (!option.empty()) flags.data.emplace_back(option, std::nullopt);
      continue;
    }
    std::string_view key = option.substr(0, equals), value = option.substr(equals + 1);
    if (key == "idmap" || key == "ridmap") {
      apply_extension(flags, key == "idmap" ? kIdmap : kRidmap);
      TRY_VOID_CTX(parse_inline_mappings(value, flags), "mount option '" + text + "'");
      continue;
    }
    flags.data.emplace_back(key, std::string(value));
  }
  return flags;
}

std::string join_mount_data(const MountFlags& flags) {
  std::string out;
  for (const auto& [key, value] : flags.data) {
    if (!out.empty()) out += ',';
    out += key;
    if (value) {
      out += '=';
      out += *value;
    }
  }
  return out;
}

std::vector<std::string> known_mount_options() {
  std::vector<std::string> names;
  for (const Option& option : kOptions) names.emplace_back(option.name);
  return names;
}

uint64_t propagation_flag(std::string_view option) {
  const Option* known = find_option(option);
  return known && known->kind == Kind::kPropagation ? known->value : 0;
}

}  // namespace onggi::oci
