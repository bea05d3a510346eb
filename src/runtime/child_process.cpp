// Steps that turn the child into the process of the specification: identity, capabilities, filter, directory,
// program.
#include <asm/statfs.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>

#include "runtime/child.h"

namespace onggi::child {

long set_ids(const Step& s) {
  long gid = static_cast<long>(s.b), uid = static_cast<long>(s.a);
  long r = sys(__NR_setresgid, gid, gid, gid);
  return r < 0 ? r : sys(__NR_setresuid, uid, uid, uid);
}

long bound_caps(Child&, const Step& s) {
  for (uint32_t cap = 0; cap <= s.b; cap++) {
    if (s.a >> cap & 1) continue;
    long r = sys(__NR_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
    if (r == -EINVAL) break;  // this kernel knows no higher capability
    if (r < 0 && sys(__NR_prctl, PR_CAPBSET_READ, cap, 0, 0, 0) != 0) return r;
  }
  return 0;
}

long set_caps(Child&, const Step& s) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  long r = sys(__NR_capget, ptr(&header), ptr(&data));
  if (r < 0) return r;
  uint64_t own = data[0].permitted | static_cast<uint64_t>(data[1].permitted) << 32;
  bool raise = (s.flags & runtime::kRaiseAll) != 0;
  for (int i = 0; i < 2; i++) {
    data[i].permitted = static_cast<uint32_t>((raise ? own : own & s.b) >> (32 * i));
    data[i].effective =
        raise ? data[i].permitted : data[i].permitted & static_cast<uint32_t>(s.a >> (32 * i));
    if (!raise) data[i].inheritable = static_cast<uint32_t>((own & s.c) >> (32 * i));
  }
  return sys(__NR_capset, ptr(&header), ptr(&data));
}

long ambient_caps(Child&, const Step& s) {
  long r = sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (uint32_t cap = 0; r >= 0 && cap < 64; cap++)
    if (s.a >> cap & 1) {
      r = sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
      if (r == -EPERM) r = 0;  // not permitted to this process to begin with
    }
  return r < 0 ? r : 0;
}

long load_seccomp(Child& c, const Step& s) {
  struct {
    uint16_t count;
    const void* filter;
  } program = {static_cast<uint16_t>(s.a), c.base + s.str};
  long flags = static_cast<long>(s.b);
  bool listener = (s.flags & runtime::kWantListener) != 0;
  if (listener) flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
  long r = sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, ptr(&program));
  if (r < 0 || !listener) return r;
  // From here on this process runs under the filter: only read, write and what exec needs.
  int fd = static_cast<int>(r);
  send(c, ChildMessageKind::kSeccompFd, 0, 0, fd);
  r = wait_answer(c);
  close_fd(fd);
  return r;
}

long set_cwd(Child& c, const Step& s) {
  const char* path = text(c, s.str);
  if (c.cwd_done) return 0;
  long r = sys(__NR_chdir, ptr(path));
  if (r == -EACCES && (s.flags & runtime::kTolerateEperm)) return 0;
  if (r < 0) {
    note(c, path);
    return r;
  }
  // A descriptor of the host as working directory (CVE-2024-21626) shows as a path outside this root:
  // "(unreachable)...".
  char now[4096];
  r = sys(__NR_getcwd, ptr(now), sizeof now);
  if (r < 0 || now[0] != '/') {
    note(c, path, " is outside the container's root");
    return r < 0 && r != -ENOENT ? r : -ENOTDIR;
  }
  c.cwd_done = true;
  return 0;
}

namespace {

// Reads /etc/passwd byte by byte: "name:password:uid:gid:gecos:home:shell".
struct PasswdScan {
  uint64_t wanted = 0;
  int field = 0;
  uint64_t uid = 0;
  bool uid_valid = false;
  char home[1024] = {};
  size_t home_length = 0;
  bool found = false;

  void take(char ch) {
    if (ch == '\n') {
      if (field >= 5 && uid_valid && uid == wanted && home_length && home_length < sizeof home) {
        home[home_length] = 0;
        found = true;
        return;
      }
      field = 0;
      uid = 0;
      uid_valid = false;
      home_length = 0;
    } else if (ch == ':') {
      field++;
    } else if (field == 2) {
      bool digit = ch >= '0' && ch <= '9';
      uid_valid = digit && (uid_valid || uid == 0);
      if (digit) uid = uid * 10 + static_cast<uint64_t>(ch - '0');
      if (uid > 0xffffffffU) uid_valid = false;
    } else if (field == 5) {
      if (home_length < sizeof home - 1) home[home_length] = ch;
      home_length++;
    }
  }
};

}  // namespace

long find_home(Child& c, const Step& s) {
  static char home[1040] = "HOME=/";
  open_how how = {};
  how.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_MAGICLINKS;
  long fd = sys(__NR_openat2, AT_FDCWD, ptr("/etc/passwd"), ptr(&how), sizeof how);
  static PasswdScan scan;
  scan.wanted = s.a;
  struct statx st = {};
  if (fd >= 0 && stat_fd(static_cast<int>(fd), &st) == 0 && (st.stx_mode & S_IFMT) == S_IFREG) {
    char block[4096];
    long total = 0, n;
    while (!scan.found && total < (1 << 20) && (n = sys(__NR_read, fd, ptr(block), sizeof block)) > 0) {
      total += n;
      for (long i = 0; i < n && !scan.found; i++) scan.take(block[i]);
    }
    if (!scan.found) scan.take('\n');
  }
  if (fd >= 0) close_fd(static_cast<int>(fd));
  if (scan.found)
    for (size_t i = 0; i <= scan.home_length; i++) home[5 + i] = scan.home[i];
  auto* envp = reinterpret_cast<uint64_t*>(c.base + c.header->envp);
  envp[c.header->envc] = reinterpret_cast<uint64_t>(home);
  return 0;
}

long find_exec(Child& c) {
  constexpr long kExecutable = 1;  // X_OK
  auto** candidates = reinterpret_cast<const char**>(c.base + c.header->candidates);
  long worst = -ENOENT;
  for (uint32_t i = 0; i < c.header->candidate_count; i++) {
    struct statx st = {};
    long r =
        sys(__NR_statx, AT_FDCWD, ptr(candidates[i]), AT_NO_AUTOMOUNT, STATX_TYPE | STATX_MODE, ptr(&st));
    if (r == 0 && (st.stx_mode & S_IFMT) == S_IFDIR) r = c.header->candidate_count == 1 ? -EISDIR : -EACCES;
    if (r == 0) {
      r = sys(__NR_faccessat2, AT_FDCWD, ptr(candidates[i]), kExecutable, AT_EACCESS);
      if (r == -ENOSYS || r == -EPERM)
        r = (st.stx_mode & 0111) ? 0 : -EACCES;  // a filter that predates faccessat2
    }
    if (r == 0) {
      c.exec_choice = i;
      return 0;
    }
    if (r != -ENOENT && r != -ENOTDIR) worst = r;
    if (c.header->candidate_count == 1) worst = r;
  }
  return worst;
}

long exec_program(Child& c) {
  auto** candidates = reinterpret_cast<const char**>(c.base + c.header->candidates);
  return sys(__NR_execve, ptr(candidates[c.exec_choice]), ptr(c.base + c.header->argv),
             ptr(c.base + c.header->envp));
}

long fix_stdio(const Step& s) {
  for (int fd = 0; fd < 3; fd++) {
    struct statx st = {};
    if (stat_fd(fd, &st) < 0) continue;
    uint32_t type = st.stx_mode & S_IFMT;
    // Regular files and the null device keep their owner; pipes, sockets and terminals must be openable by
    // /dev/stdout.
    // The owner of a file may open it again through /proc/self/fd, for writing, too.
    if (type == S_IFREG || type == S_IFDIR || type == S_IFBLK) continue;
    if (type == S_IFCHR && st.stx_rdev_major == 1 && st.stx_rdev_minor == 3) continue;
    if (st.stx_uid == s.a) continue;
    long r = sys(__NR_fchown, fd, static_cast<long>(s.a), st.stx_gid);
    if (r < 0 && r != -EINVAL && r != -EPERM && r != -EROFS && r != -EOPNOTSUPP) return r;
  }
  return 0;
}

// A hard limit that this process may not raise (no CAP_SYS_RESOURCE over the host) is taken as it is, with a
// warning: an engine's generous default is no reason for not starting.
long set_rlimit(Child& c, const Step& s, uint32_t index) {
  uint64_t wanted[2] = {s.b, s.c}, now[2];
  long r = sys(__NR_prlimit64, 0, static_cast<long>(s.a), ptr(wanted), 0);
  if (r != -EPERM || sys(__NR_prlimit64, 0, static_cast<long>(s.a), 0, ptr(now)) < 0 || wanted[1] <= now[1])
    return r;
  wanted[1] = now[1];
  if (wanted[0] > wanted[1]) wanted[0] = wanted[1];
  r = sys(__NR_prlimit64, 0, static_cast<long>(s.a), ptr(wanted), 0);
  if (r == 0) send(c, ChildMessageKind::kWarning, index, EPERM, 0);
  return r;
}

long write_proc(Child& c, const Step& s) {
  const char* path = text(c, s.str);
  open_how how = {};
  how.flags = O_WRONLY | O_CLOEXEC;
  // "self" is itself a symlink made by procfs; beyond it none may be followed, and no mount may stand in the
  // way.
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  long fd = sys(__NR_openat2, s.fd_a, ptr(path), ptr(&how), sizeof how);
  if (fd < 0) {
    note(c, "open /proc/", path);
    return fd;
  }
  struct statfs fs = {};
  long r = sys(__NR_fstatfs, fd, ptr(&fs));
  if (r == 0 && fs.f_type != PROC_SUPER_MAGIC) r = -EXDEV;
  if (r == 0) r = sys(__NR_write, fd, ptr(text(c, s.str_b)), static_cast<long>(s.a));
  if (r < 0) note(c, "write /proc/", path);
  close_fd(static_cast<int>(fd));
  return r < 0 ? r : 0;
}

long loopback_up() {
  constexpr long kInet = 2, kDatagramCloexec = 2 | O_CLOEXEC;
  long fd = sys(__NR_socket, kInet, kDatagramCloexec, 0);
  if (fd < 0) return 0;  // a kernel without IPv4: nothing to bring up
  ifreq request = {};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP;
  long r = sys(__NR_ioctl, fd, SIOCSIFFLAGS, ptr(&request));
  close_fd(static_cast<int>(fd));
  return r;
}

long wait_start(Child& c, const Step& s) {
  close_fd(c.sync_fd);
  c.sync_fd = -1;
  c.report_fd = s.fd_b;
  for (int round = 0; round < (s.a ? 2 : 1); round++) {
    char byte = 0;
    long n;
    do {
      n = sys(__NR_read, s.fd_a, ptr(&byte), 1);
    } while (n == -EINTR || n == 0);
    if (n < 0) return n;
    if (byte != 'S') return -ECANCELED;
    // With startContainer hooks the starter is told that it may run them, and answers when they are done.
    if (s.a && round == 0) send(c, ChildMessageKind::kSync, 0, 0, static_cast<int32_t>(SyncPoint::kHooks));
  }
  return 0;
}

}  // namespace onggi::child
