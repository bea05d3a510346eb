#include "sys/file_owner.h"

#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

namespace onggi::sys {

namespace {

// All permitted ones become effective again: setfsuid(2) took those over files away.
Result<> raise_capabilities() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) < 0)
    return fail(Error::os("read the capabilities of", "this process"));
  for (auto& d : data) d.effective = d.permitted;
  if (::syscall(SYS_capset, &header, data) < 0)
    return fail(Error::os("set the capabilities of", "this process"));
  return {};
}

}  // namespace

Result<FileOwner> FileOwner::become(uint32_t uid, uint32_t gid) {
  FileOwner owner;
  owner.uid_ = static_cast<uint32_t>(::setfsuid(static_cast<uid_t>(-1)));
  owner.gid_ = static_cast<uint32_t>(::setfsgid(static_cast<gid_t>(-1)));
  if (owner.uid_ == uid && owner.gid_ == gid) return owner;
  owner.armed_ = true;
  ::setfsgid(gid);
  ::setfsuid(uid);
  if (static_cast<uint32_t>(::setfsuid(static_cast<uid_t>(-1))) != uid)
    return fail(Error(ErrorKind::kPermission,
                      "make files as user " + std::to_string(uid) + ": not permitted for this process",
                      EPERM));
  TRY_VOID(raise_capabilities());
  return owner;
}

FileOwner::FileOwner(FileOwner&& other) noexcept
    : uid_(other.uid_), gid_(other.gid_), armed_(std::exchange(other.armed_, false)) {}

FileOwner::~FileOwner() {
  if (!armed_) return;
  ::setfsuid(uid_);
  ::setfsgid(gid_);
  (void)raise_capabilities();
}

}  // namespace onggi::sys
