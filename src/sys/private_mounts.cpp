#include "sys/private_mounts.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>

#include "base/file.h"
#include "sys/mount.h"
#include "sys/overlay.h"
#include "sys/process.h"

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

namespace onggi::sys {

namespace {

struct Helper {
  const std::function<Result<MountFd>(int)>& work;
  Result<MountFd> mount = fail(Error::internal("the process that mounts in private was killed"));
};

// The tmpfs goes over "/": it hides nothing from a process that works by descriptors and from its own
// directory, and needs no place on the host.
Result<MountFd> work_in_private(const Helper& helper) {
  TRY_VOID(make_mounts_slave());
  MountFd place = TRY(mount_file_system("tmpfs", "onggi", {"size=1m", "mode=0755"}, 0));
  TRY_VOID(attach_mount(place.get(), "/"));
  if (::fchdir(place.get()) < 0) return fail(Error::os("enter", "the private tmpfs"));
  return helper.work(place.get());
}

int helper_main(void* data) {
  auto& helper = *static_cast<Helper*>(data);
  helper.mount = work_in_private(helper);
  return 0;
}

}  // namespace

// As in vfork: what the process opens and writes is here at once. No signal is taken in between: a handler
// would run in both.
Result<MountFd> with_private_mounts(const std::function<Result<MountFd>(int place)>& work) {
  constexpr size_t kStackSize = 256 << 10;
  auto stack = std::make_unique<char[]>(kStackSize);
  Helper helper{work};
  sigset_t all, before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  int pid = ::clone(helper_main, stack.get() + kStackSize,
                    CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_NEWNS | SIGCHLD, &helper);
  int e = errno;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return fail(Error::os("make a private mount namespace", "", e));
  TRY_VOID(wait_pid(pid));
  return std::move(helper.mount);
}

Result<> attach_below(int mount, int directory, const std::string& name) {
  if (::mkdirat(directory, name.c_str(), 0755) < 0) return fail(Error::os("make a mount point", name));
  if (::syscall(SYS_move_mount, mount, "", directory, name.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0) return {};
  return fail(Error::os("attach a mount at", name));
}

Result<MountFd> detach_copy(int directory, const std::string& name, bool recursive) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0) |
                   (name.empty() ? AT_EMPTY_PATH : 0);
  long copy = ::syscall(SYS_open_tree, directory, name.c_str(), flags);
  if (copy < 0) return fail(Error::os("detach a copy of the mount at", name));
  return MountFd(static_cast<int>(copy));
}

Result<MountFd> bundle_mounts(const std::vector<NamedMount>& mounts) {
  return with_private_mounts([&](int place) -> Result<MountFd> {
    for (const auto& [name, mount] : mounts) TRY_VOID(attach_below(mount, place, name));
    MountFd tree = TRY(detach_copy(place, "", true));
    TRY_VOID(set_mount_attributes(tree.get(), "bundle",
                                  MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID, 0, 0, false));
    return tree;
  });
}

}  // namespace onggi::sys
