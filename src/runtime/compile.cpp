#include "runtime/compile.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include <algorithm>

#include "oci/mount_options.h"
#include "runtime/process_attributes.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace onggi::runtime {

namespace {

struct NamespaceSet {
  uint64_t created = 0;  // CLONE_NEW* of new namespaces
  uint64_t joined = 0;
};

NamespaceSet namespace_set(const oci::Spec& spec) {
  NamespaceSet set;
  for (const auto& ns : spec.linux.namespaces)
    (ns.path.empty() ? set.created : set.joined) |= oci::clone_flag(ns.type);
  return set;
}

void add_setns(CompiledPlan& plan, oci::NamespaceType type, int fd, uint16_t flags) {
  Step& s = plan.builder.add(Op::kSetns);
  s.fd_a = fd;
  s.a = oci::clone_flag(type);
  s.flags = flags;
}

// Joins by path. With a user namespace the others are tried first with the caller's privileges (they may
// belong to the host) and those that refused are tried again inside.
void add_joins(const CompileInput& in, CompiledPlan& plan, bool new_user) {
  int user_fd = -1;
  for (const auto& [type, fd] : in.namespace_fds) {
    plan.fds.push_back(fd);
    if (type == oci::NamespaceType::kUser) user_fd = fd;
  }
  auto join_others = [&](uint16_t flags) {
    for (const auto& [type, fd] : in.namespace_fds)
      if (type != oci::NamespaceType::kUser) add_setns(plan, type, fd, flags);
  };
  if (user_fd < 0) {
    join_others(new_user ? kTolerateEperm : 0);
    return;
  }
  join_others(kTolerateEperm);
  add_setns(plan, oci::NamespaceType::kUser, user_fd, 0);
  join_others(kOnlyIfPending);
}

const oci::IdMapping* find_root(const std::vector<oci::IdMapping>& maps) {
  for (const auto& m : maps)
    if (m.container_id == 0 && m.size > 0) return &m;
  return nullptr;
}

// The first process enters what exists, then creates the process that goes on.
Result<> compile_staged(const CompileInput& in, CompiledPlan& plan, const NamespaceSet& ns) {
  const oci::Spec& spec = *in.spec;
  PlanBuilder& b = plan.builder;
  bool new_user = (ns.created & CLONE_NEWUSER) != 0;
  // The working directory survives the change of mount namespace and of user: the root filesystem may lie
  // below directories that the container's user cannot search.
  b.add(Op::kChdir).str = b.string(in.rootfs);
  add_joins(in, plan, new_user);
  uint64_t flags = ns.created & (CLONE_NEWPID | CLONE_NEWUSER);
  if (new_user && !in.rootless) {
    const auto* uid = find_root(spec.linux.uid_mappings);
    const auto* gid = find_root(spec.linux.gid_mappings);
    if (!uid || !gid)
      return fail(
          Error::invalid("linux.uidMappings, linux.gidMappings: container id 0 is not mapped, so no process "
                         "could set the container up; map it"));
    // Per-user quotas (inotify, keys, pipes, processes) are charged to the creator of a user namespace: its
    // own first id, so that containers do not drain one another's.
    Step& groups = b.add(Op::kSetGroups);
    groups.a = 0;
    Step& ids = b.add(Op::kSetIds);
    ids.a = uid->host_id;
    ids.b = gid->host_id;
  }
  b.add(Op::kClone).a = flags;
  if (new_user) b.add(Op::kSync).a = static_cast<uint64_t>(SyncPoint::kMapped);
  if (new_user || (ns.joined & CLONE_NEWUSER)) {
    Step& ids = b.add(Op::kSetIds);
    ids.a = 0;
    ids.b = 0;
  }
  if (new_user)
    for (const auto& [type, fd] : in.namespace_fds)
      if (type != oci::NamespaceType::kUser) add_setns(plan, type, fd, kOnlyIfPending);
  return {};
}

void add_time_namespace(const CompileInput& in, CompiledPlan& plan) {
  // Offsets can be set until the first process enters; then this one enters, so that no further clone is
  // needed.
  plan.builder.add(Op::kUnshare).a = CLONE_NEWTIME;
  auto enter = [&] { plan.builder.add(Op::kEnterTime).fd_a = in.proc_fd; };
  std::string offsets;
  for (const auto& [clock, offset] : in.spec->linux.time_offsets)
    offsets += clock + " " + std::to_string(offset.secs) + " " + std::to_string(offset.nanosecs) + "\n";
  if (offsets.empty()) return enter();
  Step& s = plan.builder.add(Op::kWriteProc);
  s.fd_a = in.proc_fd;
  s.a = offsets.size();
  uint32_t path = plan.builder.string("self/timens_offsets"), text = plan.builder.string(offsets);
  s.str = path;
  s.str_b = text;
  enter();
}

void add_uts_and_sysctl(const CompileInput& in, CompiledPlan& plan) {
  const oci::Spec& spec = *in.spec;
  PlanBuilder& b = plan.builder;
  if (!spec.hostname.empty()) {
    Step& s = b.add(Op::kSetHostname);
    s.a = spec.hostname.size();
    s.str = b.string(spec.hostname);
  }
  if (!spec.domainname.empty()) {
    Step& s = b.add(Op::kSetDomainname);
    s.a = spec.domainname.size();
    s.str = b.string(spec.domainname);
  }
  for (const auto& [key, value] : spec.linux.sysctl) {
    // "net.ipv4.conf.eth0/1.x" style: a slash in a key stands for a dot inside a name (sysctl(8)).
    std::string path = "sys/";
    bool slashes = key.find('/') != std::string::npos && key.find('/') < key.find('.');
    for (char ch : key) path += slashes ? ch : ch == '.' ? '/' : ch == '/' ? '.' : ch;
    Step& s = b.add(Op::kWriteProc);
    s.fd_a = in.proc_fd;
    s.a = value.size();
    uint32_t name = b.string(path), text = b.string(value);
    s.str = name;
    s.str_b = text;
  }
}

Result<> add_affinity(CompiledPlan& plan, const std::string& list, const std::string& member) {
  std::vector<uint64_t> mask = TRY(parse_list_mask(list, "process.execCPUAffinity." + member));
  uint32_t at = plan.builder.blob(mask.data(), mask.size() * sizeof(uint64_t));
  Step& s = plan.builder.add(Op::kAffinity);
  s.str = at;
  s.a = mask.size() * sizeof(uint64_t);
  return {};
}

ProcessInput process_input(const CompileInput& in, const NamespaceSet& ns) {
  const oci::Spec& spec = *in.spec;
  ProcessInput process;
  process.process = &*spec.process;
  process.linux = &spec.linux;
  process.seccomp = in.seccomp;
  process.proc_fd = in.proc_fd;
  process.exec_fifo = in.exec_fifo;
  process.status_fifo = in.status_fifo;
  process.start_hooks = !spec.hooks.start_container.empty();
  process.sync_created = in.sync_created;
  process.console_bind = ((ns.created | ns.joined) & CLONE_NEWNS) != 0;
  process.selinux = in.selinux;
  process.apparmor = in.apparmor;
  process.user_namespace = ((ns.created | ns.joined) & CLONE_NEWUSER) != 0;
  process.deny_setgroups = in.rootless && spec.linux.gid_mappings.size() <= 1;
  // Podman's "--group-add keep-groups" asks for the caller's own groups by this annotation.
  for (const auto& [key, value] : spec.annotations)
    if (key == "run.oci.keep_original_groups" && value == "1") process.deny_setgroups = true;
  if (!in.no_new_keyring) process.keyring = "_ses." + in.id;
  return process;
}

}  // namespace

bool is_staged(const oci::Spec& spec) {
  NamespaceSet ns = namespace_set(spec);
  return (ns.created & CLONE_NEWUSER) || (ns.joined & (CLONE_NEWUSER | CLONE_NEWPID));
}

Result<CompiledPlan> compile_create(const CompileInput& in) {
  const oci::Spec& spec = *in.spec;
  CompiledPlan plan;
  PlanBuilder& b = plan.builder;
  NamespaceSet ns = namespace_set(spec);
  plan.new_user_namespace = (ns.created & CLONE_NEWUSER) != 0;
  plan.staged = is_staged(spec);
  for (int fd : {in.proc_fd, in.root_tree_fd, in.exec_fifo, in.status_fifo})
    if (fd >= 0) plan.fds.push_back(fd);
  for (const auto& p : in.prepared) plan.fds.push_back(p.fd);

  b.add(Op::kCloseRangeCloexec).a = static_cast<uint64_t>(3 + in.preserve_fds);
  if (plan.staged) {
    TRY_VOID(compile_staged(in, plan, ns));
  } else {
    plan.clone_flags = ns.created & CLONE_NEWPID;
    b.add(Op::kChdir).str = b.string(in.rootfs);
    add_joins(in, plan, false);
  }
  // Nothing that runs inside the container may look into this process (its memory, its descriptors).
  b.add(Op::kDumpable).a = 0;
  uint64_t rest = ns.created & (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS);
  if (rest) b.add(Op::kUnshare).a = rest;
  if (ns.created & CLONE_NEWTIME) add_time_namespace(in, plan);
  if (!spec.linux.net_devices.empty()) b.add(Op::kSync).a = static_cast<uint64_t>(SyncPoint::kNetDevices);
  if (ns.created & CLONE_NEWNET) b.add(Op::kLoopbackUp);
  add_uts_and_sysctl(in, plan);

  bool has_mount_ns = ((ns.created | ns.joined) & CLONE_NEWNS) != 0;
  bool new_cgroup_ns = (ns.created & CLONE_NEWCGROUP) != 0;
  if (has_mount_ns) {
    TRY_VOID(compile_mounts(in, plan));
  } else {
    if (!spec.mounts.empty())
      return fail(
          Error::invalid("mounts: a container without a mount namespace would mount on the host; add "
                         "{\"type\": \"mount\"} to linux.namespaces or leave mounts out"));
    if (in.join_cgroup) b.add(Op::kJoinCgroup);
    if (new_cgroup_ns) b.add(Op::kUnshare).a = CLONE_NEWCGROUP;
    b.add(Op::kChrootHere);
  }
  if (in.parent_hooks) b.add(Op::kSync).a = static_cast<uint64_t>(SyncPoint::kHooks);
  if (has_mount_ns) TRY_VOID(compile_final_mounts(in, plan));

  TRY_VOID(compile_process(process_input(in, ns), plan));
  return plan;
}

Result<CompiledPlan> compile_join(const JoinInput& in) {
  CompiledPlan plan;
  PlanBuilder& b = plan.builder;
  plan.staged = true;
  plan.fds = {in.pidfd};
  if (in.proc_fd >= 0) plan.fds.push_back(in.proc_fd);
  b.add(Op::kCloseRangeCloexec).a = static_cast<uint64_t>(3 + in.preserve_fds);
  // Before the clone: what it makes is seen in the container's pid namespace at once.
  b.add(Op::kDumpable).a = 0;
  const auto& affinity = in.process->exec_cpu_affinity;
  if (affinity && !affinity->initial.empty()) TRY_VOID(add_affinity(plan, affinity->initial, "initial"));
  if (in.join_cgroup) b.add(Op::kJoinCgroup);
  if (affinity && !affinity->final.empty()) TRY_VOID(add_affinity(plan, affinity->final, "final"));
  if (in.namespaces) {
    Step& s = b.add(Op::kSetns);
    s.fd_a = in.pidfd;
    s.a = in.namespaces;
  }
  b.add(Op::kClone).a = 0;
  if (in.user_namespace) {
    Step& ids = b.add(Op::kSetIds);
    ids.a = 0;
    ids.b = 0;
  }
  ProcessInput process;
  process.process = in.process;
  process.linux = in.linux;
  process.seccomp = in.seccomp;
  process.proc_fd = in.proc_fd;
  process.sync_created = true;
  process.selinux = in.selinux;
  process.apparmor = in.apparmor;
  process.user_namespace = in.user_namespace;
  process.deny_setgroups = in.rootless;
  process.keyring = in.keyring;
  process.bare = in.bare;
  TRY_VOID(compile_process(process, plan));
  return plan;
}

}  // namespace onggi::runtime
