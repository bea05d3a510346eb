#include "sys/confine.h"

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace onggi::sys {

#if defined(__x86_64__)
static constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
static constexpr uint32_t kArch = AUDIT_ARCH_AARCH64;
#elif defined(__riscv)
static constexpr uint32_t kArch = AUDIT_ARCH_RISCV64;
#elif defined(__powerpc64__)
static constexpr uint32_t kArch = AUDIT_ARCH_PPC64LE;
#elif defined(__s390x__)
static constexpr uint32_t kArch = AUDIT_ARCH_S390X;
#else
#error "name the audit architecture"
#endif

Result<> enter_user_namespace(int namespace_fd) {
  if (::setns(namespace_fd, CLONE_NEWUSER) < 0) return fail(Error::os("join the user namespace", ""));
  if (::syscall(SYS_setresgid, 0, 0, 0) < 0 || ::syscall(SYS_setresuid, 0, 0, 0) < 0)
    return fail(Error::os("become root of the user namespace", ""));
  return {};
}

Result<> keep_capabilities(uint64_t mask) {
  for (int capability = 0; capability < 64; capability++)
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
      if (errno == EINVAL) break;  // behind the kernel's last capability
      if (errno == EPERM) break;   // without CAP_SETPCAP nothing is in reach that could be regained
      return fail(Error::os("drop a capability from the bounding set", ""));
    }
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct now[2], data[2] = {};
  if (::syscall(SYS_capget, &header, now) < 0) return fail(Error::os("read the capabilities", ""));
  for (int i = 0; i < 2; i++)
    data[i].permitted = data[i].effective = now[i].permitted & static_cast<uint32_t>(mask >> (32 * i));
  if (::syscall(SYS_capset, &header, data) < 0) return fail(Error::os("set the capabilities", ""));
  return {};
}

Result<> follow_parent(int parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
      ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
    return fail(Error::os("set process attributes", ""));
  if (::getppid() != parent) return fail(Error::internal("the process that started this one has ended"));
  return {};
}

Result<> allow_only_system_calls(const std::vector<int>& numbers) {
  constexpr uint32_t kDeny = SECCOMP_RET_ERRNO | ENOSYS;
  std::vector<sock_filter> program;
  auto put = [&program](uint16_t code, uint32_t k, uint8_t jt = 0, uint8_t jf = 0) {
    program.push_back({code, jt, jf, k});
  };
  put(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
  put(BPF_JMP | BPF_JEQ | BPF_K, kArch, 1, 0);
  put(BPF_RET | BPF_K, kDeny);
  put(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  for (int number : numbers) {
    put(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1);
    put(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  put(BPF_RET | BPF_K, kDeny);
  sock_fprog filter = {static_cast<unsigned short>(program.size()), program.data()};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0)
    return fail(Error::os("install the system call filter", ""));
  return {};
}

}  // namespace onggi::sys
