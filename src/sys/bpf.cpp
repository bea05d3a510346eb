#include "sys/bpf.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace onggi::sys {
namespace {

constexpr int kAttempts = 10;

// bpf(2) reads as many bytes as it is told; a zeroed union with the fields of the command set is its
// contract.
int bpf(int command, bpf_attr& attr) {
  return static_cast<int>(::syscall(SYS_bpf, command, &attr, sizeof attr));
}

uint64_t pointer(const void* p) { return reinterpret_cast<uint64_t>(p); }

bpf_attr zeroed() {
  bpf_attr attr;
  std::memset(&attr, 0, sizeof attr);
  return attr;
}

Result<std::vector<uint32_t>> attached_programs(int cgroup_fd) {
  std::vector<uint32_t> ids(64);  // the kernel's own limit per cgroup and type
  bpf_attr attr = zeroed();
  attr.query.target_fd = static_cast<__u32>(cgroup_fd);
  attr.query.attach_type = BPF_CGROUP_DEVICE;
  attr.query.prog_cnt = static_cast<__u32>(ids.size());
  attr.query.prog_ids = pointer(ids.data());
  if (bpf(BPF_PROG_QUERY, attr) < 0) return fail(Error::os("list device programs of the cgroup", ""));
  ids.resize(attr.query.prog_cnt);
  return ids;
}

// An invalid fd for a program that is gone, or that a security module does not let us see (it can only
// restrict further).
Result<UniqueFd> program_by_id(uint32_t id) {
  bpf_attr attr = zeroed();
  attr.prog_id = id;
  int fd = bpf(BPF_PROG_GET_FD_BY_ID, attr);
  if (fd < 0 && errno != ENOENT && errno != EPERM && errno != EACCES)
    return fail(Error::os("open device program", std::to_string(id)));
  return UniqueFd(fd);
}

}  // namespace

Result<UniqueFd> load_device_program(const std::vector<bpf_insn>& program) {
  bpf_attr attr = zeroed();
  attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attr.insns = pointer(program.data());
  attr.insn_cnt = static_cast<__u32>(program.size());
  attr.license = pointer("Apache-2.0");
  std::memcpy(attr.prog_name, "onggi_devices", sizeof "onggi_devices");
  int fd = bpf(BPF_PROG_LOAD, attr);
  if (fd < 0 && errno == EPERM) {
    // Before 5.11 programs counted against RLIMIT_MEMLOCK; an attempt, whose failure shows below.
    rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
    if (::setrlimit(RLIMIT_MEMLOCK, &unlimited) == 0)
      fd = bpf(BPF_PROG_LOAD, attr);
    else
      errno = EPERM;
  }
  if (fd >= 0) return UniqueFd(fd);
  int e = errno;
  if (e == EPERM || e == ENOSYS) return fail(Error::os("load the device program", "", e));
  std::string log(16384, '\0');
  attr.log_level = 1;
  attr.log_buf = pointer(log.data());
  attr.log_size = static_cast<__u32>(log.size());
  fd = bpf(BPF_PROG_LOAD, attr);
  if (fd >= 0) return UniqueFd(fd);
  Error error = Error::os("load the device program", "", e);
  return fail(Error(error.kind(), error.text() + ": " + log.c_str(), e));
}

Result<> attach_device_program(int cgroup_fd, int program_fd) {
  bool replace_works = true;
  for (int attempt = 0;; attempt++) {
    std::vector<uint32_t> old = TRY(attached_programs(cgroup_fd));
    UniqueFd replaced;
    if (replace_works && old.size() == 1) replaced = TRY(program_by_id(old[0]));
    bpf_attr attr = zeroed();
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.target_fd = static_cast<__u32>(cgroup_fd);
    attr.attach_bpf_fd = static_cast<__u32>(program_fd);
    attr.attach_flags = BPF_F_ALLOW_MULTI;
    if (replaced) {
      attr.attach_flags |= BPF_F_REPLACE;
      attr.replace_bpf_fd = static_cast<__u32>(replaced.get());
    }
    if (bpf(BPF_PROG_ATTACH, attr) < 0) {
      // ENOENT: another update replaced it first. EINVAL: attached without ALLOW_MULTI, or before 5.6.
      if (attempt < kAttempts && replaced && (errno == ENOENT || errno == EINVAL)) {
        if (errno == EINVAL) replace_works = false;
        continue;
      }
      return fail(Error::os("attach the device program to the cgroup", ""));
    }
    if (replaced) return {};
    for (uint32_t id : old) {
      UniqueFd fd = TRY(program_by_id(id));
      if (!fd) continue;
      bpf_attr detach = zeroed();
      detach.attach_type = BPF_CGROUP_DEVICE;
      detach.target_fd = static_cast<__u32>(cgroup_fd);
      detach.attach_bpf_fd = static_cast<__u32>(fd.get());
      if (bpf(BPF_PROG_DETACH, detach) < 0 && errno != ENOENT)
        return fail(Error::os("detach an older device program from the cgroup", ""));
    }
    return {};
  }
}

}  // namespace onggi::sys
