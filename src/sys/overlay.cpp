#include "sys/overlay.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "sys/mount.h"

#ifndef FSCONFIG_SET_FD
#define FSCONFIG_SET_FD 5
#endif

namespace onggi::sys {

namespace {

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

}  // namespace

Result<MountFd> mount_overlay(const OverlayArgs& args) {
  UniqueFd context = TRY(open_context("overlay"));
  for (int lower : args.lowers) {
    auto given = configure(context.get(), FSCONFIG_SET_FD, "lowerdir+", nullptr, lower);
    if (given) continue;
    int e = given.error().os_errno();
    if (e != EBADF && e != EINVAL) return fail(std::move(given).error());
    return fail(Error(
        ErrorKind::kUnsupported,
        "this kernel's overlay takes no descriptors (Linux 6.13 and newer do); a way for older kernels is "
        "not built yet",
        e));
  }
  if (args.upper >= 0) {
    TRY_VOID(configure(context.get(), FSCONFIG_SET_FD, "upperdir", nullptr, args.upper));
    TRY_VOID(configure(context.get(), FSCONFIG_SET_FD, "workdir", nullptr, args.work));
  }
  TRY_VOID(configure(context.get(), FSCONFIG_SET_STRING, "xino", "off", 0));
  if (args.userxattr) TRY_VOID(configure(context.get(), FSCONFIG_SET_FLAG, "userxattr", nullptr, 0));
  if (args.is_volatile) TRY_VOID(configure(context.get(), FSCONFIG_SET_FLAG, "volatile", nullptr, 0));
  return finish(context.get(), MOUNT_ATTR_NODEV);
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
