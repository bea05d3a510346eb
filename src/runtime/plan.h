// Plan: what the child does between clone and exec, as plain data.
//
// The parent computes a Plan before any clone (compile.cpp), copies it into a memfd, and executes the child
// program (child.cpp: freestanding, no libc) from a sealed memfd; the child maps the plan and interprets it
// step by step. So no host binary is ever the executable of a process inside a container (CVE-2019-5736), and
// the code that runs with a foot in both worlds is one switch of a few hundred lines.
//
// Layout of the memfd (all offsets are bytes from its start; little endian, 8-byte aligned):
//   PlanHeader | Step[step_count] | u64 argv[argc+1] | u64 envp[envc+2] | u64 exec_candidates[n+1] | blobs
//   and strings
// The pointer arrays hold offsets, which the child turns into pointers in its private mapping. String offset
// 0 is "none".
#pragma once

#include <cstdint>
#include <type_traits>

namespace onggi::runtime {

inline constexpr uint32_t kPlanMagic = 0x6f6e6767;  // "ongg"
inline constexpr uint32_t kPlanVersion = 1;
// Fixed descriptors by which the child finds its inputs are given in argv[1..2] as decimal numbers.

enum class Op : uint16_t {
  kNop,
  // --- namespaces and identity ---
  kCloseRangeCloexec,  // a: first fd: everything from there is closed by exec
  kSetns,              // fd_a: namespace or pidfd, a: CLONE_NEW*, flags: kTolerateEperm / kOnlyIfPending
  kUnshare,            // a: CLONE_NEW*
  kEnterTime,          // fd_a: procfs: enters the time namespace made by kUnshare
  kClone,              // a: CLONE_* flags; the child of this step goes on, this process reports and exits
  kSetIds,             // a: uid, b: gid: setresgid + setresuid of all three
  kSetGroups,          // blob: u32[count], a: count
  kKeepCaps,           // a: 0/1
  kDumpable,           // a: 0/1
  kChdir,              // str
  kFchdir,             // fd_a
  kChrootHere,         // chroot(".")
  kJoinCgroup,     // asks the parent (SyncPoint::kCgroup), which answers with files to write "0" to, or none
  kWriteFd,        // fd_a, blob: str, a: length
  kSync,           // a: SyncPoint: tell the parent, wait for its answer
  kWriteProc,      // str: path below the private procfs fd_a, str_b: text, a: length
  kSetHostname,    // str, a: length
  kSetDomainname,  // str, a: length
  kLoopbackUp,     // brings "lo" up
  // --- mounts ---
  kMakePropagation,  // a: MS_* for "/"
  kAttachRoot,       // fd_a: detached tree or -1 (then the current directory is cloned); a: MS_REC wanted
  kMountNew,         // MountStep at blob
  kMountBind,        // MountStep at blob
  kOpenDev,          // opens /dev of the container for the next device steps (where no kept tmpfs is there)
  kDevice,           // DeviceStep at blob
  kSymlink,          // str: target, str_b: path in the container; with kInDev or kInCgroup a: its name there
  kPtmx,             // /dev/ptmx -> pts/ptmx
  kMask,             // str
  kReadonly,         // str
  kRootAttr,         // a: MOUNT_ATTR_* set on the root mount
  kPathAttr,  // str: a mount point in the container (kInCgroup: the kept tmpfs), a: MOUNT_ATTR_* set on it
  kPivot,     // a: 0 pivot_root, 1 MS_MOVE + chroot
  kRootPropagation,  // a: MS_*
  kTouch,            // str: makes the file (and parents) inside the root
  kMkdir,            // str, a: mode: makes the directory (and parents) inside the root
  // --- process ---
  kSetsid,
  kConsole,       // a: flags kConsoleBind (bind to /dev/console), b: rows << 32 | cols
  kKeyring,       // str: name of the new session keyring
  kFixStdio,      // a: uid
  kRlimit,        // a: resource, b: soft, c: hard
  kSchedAttr,     // blob: struct sched_attr (48 bytes)
  kIoPriority,    // a: ioprio value
  kMemoryPolicy,  // a: mode, blob: u64[] node mask, b: bits
  kAffinity,      // blob: u64[] cpu mask, a: bytes
  kPersonality,   // a
  kUmask,         // a
  kCapBound,      // a: mask of capabilities to keep, b: highest capability
  kCapSet,        // a: effective, b: permitted, c: inheritable; flags kRaiseAll: effective becomes permitted
  kCapAmbient,    // a: mask
  kNoNewPrivs,
  kSeccomp,    // blob: sock_filter[], a: count, b: flags, flags: kWantListener
  kCwd,        // str: chdir and verify that it is inside the root, flags: kTolerateEperm
  kHome,       // a: uid: HOME from /etc/passwd into the spare slot of envp
  kFindExec,   // picks the first executable candidate
  kReady,      // tells the parent, without waiting, that only the exec is left
  kWaitStart,  // fd_a: exec FIFO, fd_b: status FIFO; a: 1 when startContainer hooks must run
  kExec,
};

enum StepFlags : uint16_t {
  kTolerateEperm = 1,
  kOnlyIfPending = 2,
  kWantListener = 4,
  kConsoleBind = 8,
  kRaiseAll = 16,
  kInDev = 32,     // the place is a name directly in the kept /dev
  kInCgroup = 64,  // ... or in the kept tmpfs of the cgroup v1 hierarchies
};

// Points at which parent and child meet.
enum class SyncPoint : uint32_t {
  kMapped = 1,  // ids are mapped
  kCgroup,      // the process joins its cgroup
  kNetDevices,  // network devices were moved in
  kHooks,       // mounts are ready, before pivot_root
  kCreated,     // everything but start is done
};

struct Step {
  Op op = Op::kNop;
  uint16_t flags = 0;
  int32_t fd_a = -1;
  int32_t fd_b = -1;
  uint32_t str = 0;  // offset of a string or blob
  uint32_t str_b = 0;
  uint32_t pad = 0;
  uint64_t a = 0;
  uint64_t b = 0;
  uint64_t c = 0;
};
static_assert(sizeof(Step) == 48);

// A mount. Attributes are MOUNT_ATTR_*; option arrays are offsets of strings in pairs (key, value or 0),
// count pairs.
struct MountStep {
  uint32_t destination = 0;  // inside the container
  uint32_t fstype = 0;       // kMountNew
  uint32_t source = 0;
  uint32_t options = 0;  // offset of u32[2 * option_count]
  uint32_t option_count = 0;
  int32_t fd = -1;  // kMountBind: a detached tree prepared by the parent
  uint64_t attr_set = 0, attr_clr = 0;
  uint64_t rec_attr_set = 0, rec_attr_clr = 0;
  uint64_t propagation[2] = {0, 0};  // MS_*, applied in order
  uint32_t fallback = 0;             // kMountNew: path to bind recursively when the kernel says EPERM
  uint32_t flags = 0;                // MountStepFlags
  uint32_t mode = 0755;              // of directories that have to be made
  uint32_t name = 0;                 // kMountInDev, kMountInCgroup: the last component of the destination
};
enum MountStepFlags : uint32_t {
  kMountRecursive = 1,  // bind the whole tree
  kMountCopyUp = 2,     // tmpcopyup
  kMountAllowProc = 4,  // the destination may be inside procfs
  kMountDirectoryOnly =
      8,                // proc and sysfs: the destination must be a real directory, no symlink in its path
  kMountOptional = 16,  // a missing source or target is no error
  kMountNoFollow = 32,  // do not follow a symlink at the destination
  kMountSourceNoFollow = 64,
  kMountCopySymlink = 128,  // a symlink as source is copied, not mounted
  // A new, empty tmpfs stays open, so that what stands directly in it needs no resolution: nobody but these
  // steps has put anything there, and a name in it is one component that is never followed.
  kMountKeepDev = 256,
  kMountKeepCgroup = 512,
  kMountInDev = 1024,       // the destination is a name in the kept /dev
  kMountInCgroup = 2048,    // ... or in the kept cgroup tmpfs
  kMountPreferBind = 4096,  // kMountNew: bind the fallback, and make a new mount only where that is not there
};

struct DeviceStep {
  uint32_t path = 0;    // absolute, inside the container
  uint32_t in_dev = 0;  // name when it stands directly in /dev, else 0
  uint32_t mode = 0;    // S_IF* | permissions
  uint32_t uid = 0, gid = 0;
  uint32_t bind = 0;  // 1: bind the host's node (user namespaces cannot mknod)
  uint64_t dev = 0;   // kernel dev_t as makedev()
};

struct PlanHeader {
  uint32_t magic = kPlanMagic;
  uint32_t version = kPlanVersion;
  uint32_t size = 0;  // of the whole plan
  uint32_t step_count = 0;
  uint32_t steps = 0;  // offsets
  uint32_t argv = 0, argc = 0;
  uint32_t envp = 0, envc = 0;  // envp has two spare slots: HOME and the end
  uint32_t candidates = 0, candidate_count = 0;
  uint32_t pad = 0;
};
static_assert(std::is_trivially_copyable_v<PlanHeader> && std::is_trivially_copyable_v<Step>);
static_assert(std::is_trivially_copyable_v<MountStep> && std::is_trivially_copyable_v<DeviceStep>);

// Child to parent, one SEQPACKET message each; the parent answers kSync, kConsole, kSeccompFd and kCopyUp
// with one byte.
enum class ChildMessageKind : uint32_t {
  kFailed = 1,  // step, error (positive errno), detail
  kSync,        // value: SyncPoint
  kPid,         // value: pid of the process that goes on, as seen by the sender
  kConsole,     // one fd: the pty's master
  kSeccompFd,   // value: number of the listener in the child
  kCopyUp,      // two fds: source directory, new tmpfs
  kWarning,     // step, error, detail: went on without
  kReady,       // only the exec is left
};
struct ChildMessage {
  ChildMessageKind kind = ChildMessageKind::kFailed;
  uint32_t step = 0;
  int32_t error = 0;
  int32_t value = 0;
  char detail[240] = {};
};
static_assert(sizeof(ChildMessage) == 256);

}  // namespace onggi::runtime
