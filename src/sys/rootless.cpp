#include "sys/rootless.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string_view>

#include "base/file.h"
#include "sys/overlay.h"
#include "sys/process.h"
#include "sys/user_namespace.h"

namespace onggi::sys {

namespace {

std::string_view field(std::string_view line, int index) {
  for (; index > 0; index--) {
    size_t colon = line.find(':');
    if (colon == std::string_view::npos) return {};
    line.remove_prefix(colon + 1);
  }
  return line.substr(0, line.find(':'));
}

template <class F>
void each_line(std::string_view text, F f) {
  while (!text.empty()) {
    size_t end = text.find('\n');
    f(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

std::string login_name(uint32_t uid) {
  std::string name;
  auto text = read_file("/etc/passwd", 4 << 20);
  if (text)
    each_line(*text, [&](std::string_view line) {
      auto id = parse_u64(field(line, 2), "uid");
      if (name.empty() && id && *id == uid) name = field(line, 0);
    });
  return name;
}

// subuid(5): lines "name-or-uid:first:count". The own id becomes 0, the ranges follow from 1.
Result<std::vector<IdRange>> read_map(const char* file, uint32_t own, uint32_t uid) {
  std::vector<IdRange> map = {{0, own, 1}};
  uint32_t next = 1;
  std::string name = login_name(uid), number = std::to_string(uid);
  std::string text = TRY_CTX(read_file(file, 4 << 20), "run without root");
  each_line(text, [&](std::string_view line) {
    std::string_view owner = field(line, 0);
    auto first = parse_u64(field(line, 1), "range"), count = parse_u64(field(line, 2), "range");
    if ((owner != name && owner != number) || !first || !count || *first + *count > UINT32_MAX) return;
    map.push_back({next, static_cast<uint32_t>(*first), static_cast<uint32_t>(*count)});
    next += static_cast<uint32_t>(*count);
  });
  if (next > 65535) return map;
  return fail(Error::unsupported(
      "run without root: " + std::string(file) + " grants the user " + (name.empty() ? number : name) +
      " fewer than 65535 ids; an administrator can grant them: usermod --add-subuids 100000-165535 "
      "--add-subgids 100000-165535 " +
      (name.empty() ? number : name)));
}

Result<> become_root() {
  if (::syscall(SYS_setgroups, 0, nullptr) < 0 || ::setresgid(0, 0, 0) < 0 || ::setresuid(0, 0, 0) < 0)
    return fail(Error::os("become root of the user namespace", ""));
  if (::unshare(CLONE_NEWNS) < 0) return fail(Error::os("make a mount namespace", ""));
  return make_mounts_slave();
}

}  // namespace

Result<> enter_own_user_namespace() {
  uint32_t uid = ::geteuid(), gid = ::getegid();
  auto uids = TRY(read_map("/etc/subuid", uid, uid)), gids = TRY(read_map("/etc/subgid", gid, uid));
  // newuidmap must run outside the namespace that it maps: a child that stays behind does it.
  int go[2], done[2];
  if (::pipe2(go, O_CLOEXEC) < 0 || ::pipe2(done, O_CLOEXEC) < 0) return fail(Error::os("make a pipe", ""));
  UniqueFd go_read(go[0]), go_write(go[1]), done_read(done[0]), done_write(done[1]);
  int self = ::getpid();
  pid_t mapper = ::fork();
  if (mapper < 0) return fail(Error::os("start the mapper of ids", ""));
  if (mapper == 0) {
    char token;
    done_read.reset();
    go_write.reset();
    if (::read(go_read.get(), &token, 1) != 1) ::_exit(1);
    auto mapped = write_id_maps(self, uids, gids, true);
    if (!mapped) (void)write_all(done_write.get(), mapped.error().text(), "pipe");
    ::_exit(mapped ? 0 : 1);
  }
  done_write.reset();
  if (::unshare(CLONE_NEWUSER) < 0)
    return fail(Error::unsupported(
        "make a user namespace: " + errno_text(errno) +
        " (sysctl kernel.unprivileged_userns_clone or user.max_user_namespaces may forbid it)"));
  TRY_VOID(write_all(go_write.get(), "x", "pipe"));
  std::string words = TRY(read_fd(done_read.get(), "pipe", 4096));
  ExitStatus status = TRY(wait_pid(mapper));
  if (status.code() != 0) return fail(Error(ErrorKind::kPermission, "run without root: " + words));
  return become_root();
}

Result<> enter_user_namespace_of(int pid) {
  std::string path = "/proc/" + std::to_string(pid) + "/ns/user";
  UniqueFd ns = TRY(open_at(AT_FDCWD, path, O_RDONLY));
  if (::setns(ns.get(), CLONE_NEWUSER) < 0) return fail(Error::os("enter the user namespace", path));
  return become_root();
}

}  // namespace onggi::sys
