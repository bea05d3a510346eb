// linux.intelRdt: cache and memory bandwidth classes of the resctrl file system (config-linux.md "IntelRdt").
//
// A container joins a class (CLOS): the one named by closID ("/" is the root class), else a class of its own
// named after the container. A class or monitoring group that was made here is removed with the container;
// one that existed before is only joined, and must already have the schemata asked for.
#pragma once

#include <string>

#include "base/result.h"
#include "oci/runtime_spec.h"
#include "runtime/cgroup_stats.h"

namespace onggi::runtime {

// Tests point these at a fake tree.
struct ResctrlRoots {
  std::string mountinfo = "/proc/self/mountinfo";
};

// Makes what is needed, writes the schemata and puts `pid` in. The result is opaque text for the state file;
// the other functions take it. Everything made is removed again on failure. Errors: resctrl is not mounted, a
// class that must exist does not, schemata that differ or that the kernel refuses (with its own reason from
// info/last_cmd_status).
Result<std::string> create_resctrl_group(const oci::IntelRdt& rdt, const std::string& id, int pid,
                                         const ResctrlRoots& roots = {});
// Puts one more process (of `exec`) into the class.
Result<> join_resctrl_group(const std::string& group, int pid);
// `update`: writes the schemata that are given.
Result<> update_resctrl_group(const std::string& group, const oci::IntelRdt& changes);
// Removes what create made; what is gone already is success.
Result<> remove_resctrl_group(const std::string& group);
// Fills the statistics that `events --stats` prints; parts that the CPU lacks stay empty.
Result<> read_resctrl_stats(const std::string& group, RdtStats& stats);

}  // namespace onggi::runtime
