// The child program's inside: raw system calls, a few text helpers, and the context that steps share.
//
// Freestanding: no libc, no allocation, no locks, no globals but the context. Every function returns a
// negative errno on failure; `note()` adds words for the parent, which owns the sentence a user reads.
#pragma once

#include <asm/unistd.h>
#include <linux/stat.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/plan.h"

namespace onggi::child {

using runtime::ChildMessage;
using runtime::ChildMessageKind;
using runtime::DeviceStep;
using runtime::MountStep;
using runtime::Op;
using runtime::PlanHeader;
using runtime::Step;
using runtime::SyncPoint;

inline long sys(long n, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
#if defined(__x86_64__)
  long r;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(r)
               : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return r;
#elif defined(__aarch64__)
  register long x8 asm("x8") = n;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  register long x5 asm("x5") = f;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
#else
#error "the child needs a system call stub for this architecture"
#endif
}
template <class T>
inline long ptr(T* p) {
  return reinterpret_cast<long>(p);
}

struct Child {
  uint8_t* base = nullptr;
  PlanHeader* header = nullptr;
  int sync_fd = -1;    // to the parent until "created"
  int report_fd = -1;  // where a failure is told
  int root_fd = -1;    // the container's root, attached in this mount namespace
  int dev_fd = -1;     // its /dev
  int cgroup_fd = -1;  // its tmpfs for cgroup v1 hierarchies
  int null_fd = -1;    // the host's /dev/null, checked to be 1:3
  int empty_fd = -1;   // an attached, empty, read-only tmpfs that masks directories
  uint64_t pending_ns = 0;
  uint32_t exec_choice = 0;
  bool cwd_done = false;
  char detail[240] = {};
};

const char* text(const Child& c, uint32_t offset);
size_t length(const char* s);
// Replaces the detail by the concatenation (cut to fit).
void note(Child& c, const char* a, const char* b = nullptr, const char* d = nullptr);
void send(Child& c, ChildMessageKind kind, uint32_t step, int32_t error, int32_t value);
// Sends fds with a message and waits for the parent's answer.
long send_fds(Child& c, ChildMessageKind kind, const int* fds, int count);
long wait_answer(Child& c);
int close_fd(int fd);
// Closes them all, with one call for each run of neighbours.
void close_fds(const int* fds, size_t count);
// Resolves `path` inside the root: no magic links, never outside.
long open_in_root(Child& c, const char* path, uint64_t flags, uint64_t resolve = 0);
// The same, making what is missing: directories, and a regular file as the last part when `file`.
long ensure_in_root(Child& c, const char* path, bool file, uint32_t mode, bool no_follow,
                    bool directory_only);
long stat_fd(int fd, struct statx* st);

// child_mount.cpp
long make_propagation(Child& c, const Step& s);
long attach_root(Child& c, const Step& s);
long mount_new(Child& c, const Step& s);
long mount_bind(Child& c, const Step& s);
long mask_path(Child& c, const Step& s);
long readonly_path(Child& c, const Step& s);
long root_attr(Child& c, const Step& s);
long path_attr(Child& c, const Step& s);
long pivot(Child& c, const Step& s);
// child_device.cpp
long open_dev(Child& c);
long make_device(Child& c, const Step& s);
long make_symlink(Child& c, const Step& s);
long make_ptmx(Child& c);
long open_null(Child& c);
long console(Child& c, const Step& s);
// child_process.cpp
long set_ids(const Step& s);
long set_caps(Child& c, const Step& s);
long bound_caps(Child& c, const Step& s);
long ambient_caps(Child& c, const Step& s);
long load_seccomp(Child& c, const Step& s);
long set_cwd(Child& c, const Step& s);
long find_home(Child& c, const Step& s);
long find_exec(Child& c);
long fix_stdio(const Step& s);
long set_rlimit(Child& c, const Step& s, uint32_t index);
long write_proc(Child& c, const Step& s);
long loopback_up();
long wait_start(Child& c, const Step& s);
long exec_program(Child& c);

}  // namespace onggi::child
