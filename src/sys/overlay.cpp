#include "sys/overlay.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "base/file.h"
#include "sys/mount.h"
#include "sys/private_mounts.h"

#ifndef FSCONFIG_SET_FD
#define FSCONFIG_SET_FD 5
#endif

namespace onggi::sys {

namespace {

constexpr const char *kUpper = "upper", *kWork = "work";

// The kernel's own words about a failed fsconfig, without the "e " class prefix.
std::string context_messages(int context) {
  std::string all;
  char block[512];
  for (ssize_t n; (n = ::read(context, block, sizeof block)) > 0;) {
    std::string_view text(block, static_cast<size_t>(n));
    if (text.size() > 2 && text[1] == ' ') text.remove_prefix(2);
    all += (all.empty() ? "" : "; ") + std::string(trim(text));
  }
  return all;
}

Result<UniqueFd> open_context(const char* type) {
  long fd = ::syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
  if (fd < 0) return fail(Error::os("open a mount context for", type));
  return UniqueFd(static_cast<int>(fd));
}

Result<> configure(int context, unsigned command, const char* key, const char* value, int aux) {
  if (::syscall(SYS_fsconfig, context, command, key, value, aux) == 0) return {};
  int e = errno;
  Error error = Error::os("configure a mount", key ? key : "create", e);
  std::string words = context_messages(context);
  return fail(words.empty() ? error : Error(error.kind(), error.text() + " (" + words + ")", e));
}

Result<MountFd> finish(int context, uint64_t attributes) {
  TRY_VOID(configure(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0));
  long mount = ::syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes);
  if (mount < 0) return fail(Error::os("make a mount", ""));
  return MountFd(static_cast<int>(mount));
}

// --- by descriptors ---

struct Attempt {
  Result<MountFd> mount = MountFd();
  bool took_descriptors = false;
  bool may_be_old_kernel = false;  // the error is one that a kernel without this way gives
};

Result<> give_descriptors(int context, const OverlayArgs& args) {
  for (int lower : args.lowers) TRY_VOID(configure(context, FSCONFIG_SET_FD, "lowerdir+", nullptr, lower));
  if (args.writable < 0) return {};
  for (auto [key, name] : {std::pair("upperdir", kUpper), std::pair("workdir", kWork)}) {
    UniqueFd directory = TRY(open_at(args.writable, name, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    TRY_VOID(configure(context, FSCONFIG_SET_FD, key, nullptr, directory.get()));
  }
  return {};
}

Result<MountFd> finish_overlay(int context, const OverlayArgs& args) {
  TRY_VOID(configure(context, FSCONFIG_SET_STRING, "xino", "off", 0));
  if (args.userxattr) TRY_VOID(configure(context, FSCONFIG_SET_FLAG, "userxattr", nullptr, 0));
  if (args.is_volatile) TRY_VOID(configure(context, FSCONFIG_SET_FLAG, "volatile", nullptr, 0));
  return finish(context, MOUNT_ATTR_NODEV);
}

Attempt mount_overlay_by_descriptors(const OverlayArgs& args) {
  Attempt attempt;
  auto judge = [&](Error error) {
    attempt.may_be_old_kernel = error.os_errno() == EBADF || error.os_errno() == EINVAL;
    attempt.mount = fail(std::move(error));
  };
  auto context = open_context("overlay");
  if (!context) {
    attempt.mount = fail(std::move(context).error());
    return attempt;
  }
  auto given = give_descriptors(context->get(), args);
  attempt.took_descriptors = given.has_value();
  if (!given) {
    judge(std::move(given).error());
    return attempt;
  }
  auto mount = finish_overlay(context->get(), args);
  if (mount)
    attempt.mount = std::move(mount);
  else
    judge(std::move(mount).error());
  return attempt;
}

// --- by names ---

// The options of mount(2). Names are numbers, so nothing in them needs an escape.
std::string overlay_options(const OverlayArgs& args) {
  std::string options = "lowerdir=";
  for (size_t i = 0; i < args.lowers.size(); i++) options += (i ? ":" : "") + std::to_string(i);
  if (args.writable >= 0) options += std::string(",upperdir=w/") + kUpper + ",workdir=w/" + kWork;
  options += ",xino=off";
  if (args.userxattr) options += ",userxattr";
  if (args.is_volatile) options += ",volatile";
  return options;
}

Result<MountFd> assemble_by_names(const OverlayArgs& args, int place) {
  for (size_t i = 0; i < args.lowers.size(); i++)
    TRY_VOID(attach_below(args.lowers[i], place, std::to_string(i)));
  if (args.writable >= 0) TRY_VOID(attach_below(args.writable, place, "w"));
  if (::mkdirat(place, "m", 0700) < 0) return fail(Error::os("make a mount point", "m"));
  std::string options = overlay_options(args);
  constexpr size_t kPage = 4096;
  if (options.size() >= kPage)
    return fail(Error::unsupported("mount " + std::to_string(args.lowers.size()) +
                                   " layers: this kernel takes as many as one page of names holds"));
  constexpr unsigned long kNoDev = 4;  // mount(2); glibc's header and the kernel's exclude each other
  if (::syscall(SYS_mount, "overlay", "m", "overlay", kNoDev, options.c_str()) < 0) {
    int e = errno;
    return fail(
        Error(ErrorKind::kOs, "mount the overlay: " + errno_text(e) + " (the kernel's log says why)", e));
  }
  return detach_copy(place, "m", false);
}

Result<MountFd> mount_overlay_by_names(const OverlayArgs& args) {
  return with_private_mounts([&](int place) { return assemble_by_names(args, place); });
}

}  // namespace

Result<MountFd> mount_overlay(const OverlayArgs& args) {
  if (args.by_names) return mount_overlay_by_names(args);
  Attempt attempt = mount_overlay_by_descriptors(args);
  if (attempt.mount || !attempt.may_be_old_kernel) return std::move(attempt.mount);
  auto named = mount_overlay_by_names(args);
  // A kernel that knows descriptors says what is wrong, mount(2) only that something is.
  if (!named && attempt.took_descriptors) return std::move(attempt.mount);
  return named;
}

Result<MountFd> mount_file_system(const char* type, const std::string& source,
                                  const std::vector<std::string>& options, uint64_t attributes) {
  UniqueFd context = TRY(open_context(type));
  TRY_VOID(configure(context.get(), FSCONFIG_SET_STRING, "source", source.c_str(), 0));
  for (const auto& option : options) {
    size_t equals = option.find('=');
    if (equals == std::string::npos)
      TRY_VOID(configure(context.get(), FSCONFIG_SET_FLAG, option.c_str(), nullptr, 0));
    else
      TRY_VOID(configure(context.get(), FSCONFIG_SET_STRING, option.substr(0, equals).c_str(),
                         option.c_str() + equals + 1, 0));
  }
  return finish(context.get(), attributes);
}

bool knows_file_system(const char* type) { return open_context(type).has_value(); }

Result<> attach_mount(int mount, const std::string& path) {
  if (::syscall(SYS_move_mount, mount, "", AT_FDCWD, path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0) return {};
  return fail(Error::os("attach a mount at", path));
}

Result<> make_mounts_slave() {
  if (::syscall(SYS_mount, nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0) return {};
  return fail(Error::os("make mounts slaves of", "/"));
}

Result<> detach_mount(const std::string& path) {
  constexpr int kDetach = 2, kNoFollow = 8;  // umount2(2); glibc's header and the kernel's exclude each other
  if (::syscall(SYS_umount2, path.c_str(), kDetach | kNoFollow) == 0 || errno == EINVAL || errno == ENOENT)
    return {};
  return fail(Error::os("unmount", path));
}

}  // namespace onggi::sys
