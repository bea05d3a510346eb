// The kernel's cgroup trees: where they are mounted, and the few file operations that every cgroup needs.
//
// Finding the mounts is on the path of every start, so it has two forms. guess_cgroups() asks
// /proc/self/cgroup which hierarchies exist and assumes the layout that every distribution uses (five system
// calls, whatever the number of mounts on the host); nothing is verified, since whoever creates a directory
// there learns at once whether the guess was right. read_cgroups() parses /proc/self/mountinfo and is exact;
// it is the answer when a guess turned out wrong.
//
// All functions take plain paths so that tests can hand them a fake tree (CgroupRoots).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

// kHybrid: v1 hierarchies hold the controllers and a v2 tree is mounted beside them. kNone: no cgroup file
// system is mounted.
enum class CgroupMode : uint8_t { kV1, kHybrid, kV2, kNone };

// Where to look; tests point these at a fake tree.
struct CgroupRoots {
  std::string cgroup = "/sys/fs/cgroup";
  std::string proc_self = "/proc/self";
  std::string proc = "/proc";
  std::string systemd = "/run/systemd/system";  // exists when systemd is the init
};

// One mounted hierarchy. v1: `controllers` as the kernel names them ("cpu", "cpuacct", or one
// "name=systemd"); v2: empty.
struct CgroupHierarchy {
  std::vector<std::string> controllers;
  std::string mount;  // absolute directory, no trailing slash
  // The directory, below `mount`, of the process that asked: "" for the root, else "/a/b". As the mount shows
  // it, i.e. with the mount's own root stripped (read_cgroups), or as the kernel names it (guess_cgroups).
  std::string own;
  [[nodiscard]] bool v2() const { return controllers.empty(); }
};

struct CgroupLayout {
  CgroupMode mode = CgroupMode::kNone;
  std::vector<CgroupHierarchy> hierarchies;
  bool exact = false;  // from mountinfo, not guessed
};

Result<CgroupLayout> guess_cgroups(const CgroupRoots& roots = {});
Result<CgroupLayout> read_cgroups(const CgroupRoots& roots = {});
// kNone when nothing can be found out.
CgroupMode cgroup_mode(const CgroupRoots& roots = {});

// Whole content of a small interface file, in one read(2) where it fits.
Result<std::string> read_cgroup_file(const std::string& path);
// The same without surrounding white space.
Result<std::string> read_cgroup_value(const std::string& path);
// An interface file that is one number; "max" is UINT64_MAX.
Result<uint64_t> read_cgroup_number(const std::string& path);
// "key value" lines (memory.stat, cgroup.events): the value of `key`; kNotFound when there is no such line.
Result<uint64_t> read_cgroup_key(const std::string& path, std::string_view key);

// mkdir(2); false when it existed already.
Result<bool> make_cgroup(const std::string& path);
// Removes the cgroup and every cgroup below it. An absent one is success. One rmdir(2) when it is empty;
// while the kernel says EBUSY (processes that are still dying) it waits and retries for at most `wait_ms`.
Result<> remove_cgroup(const std::string& path, int wait_ms = 5000);
// Names of the cgroups directly below.
Result<std::vector<std::string>> sub_cgroups(const std::string& path);
// Process ids in it and, if asked, below it. A cgroup that does not exist has none. Pids of other pid
// namespaces (0) are left out.
Result<std::vector<int>> cgroup_pids(const std::string& path, bool recursive);

// Makes `path` absolute and removes ".", ".." and doubled slashes, never above "/": "a/../../b" is "/b".
std::string clean_path(std::string_view path);

}  // namespace onggi::sys
