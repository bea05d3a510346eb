#include "engine/spec_build.h"

#include <algorithm>
#include <cctype>

#include "oci/capability.h"
#include "policy/container_profile.h"

namespace onggi::engine {

namespace {

using oci::NamespaceType;

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(::toupper(static_cast<unsigned char>(c)));
  return out;
}

bool contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

bool is_host(const std::string& mode) { return mode == "host"; }

Result<std::string> capability_name(const std::string& given) {
  std::string name = upper(given);
  if (name == "ALL") return name;
  if (!name.starts_with("CAP_")) name = "CAP_" + name;
  if (oci::capability_number(name)) return name;
  return fail(Error::invalid("unknown capability '" + given + "' (capabilities(7) lists them)"));
}

}  // namespace

// --- process ---

Result<oci::Process> build_process(const SpecInputs& in) {
  const ContainerConfig& c = *in.config;
  oci::Process p;
  p.terminal = c.tty;
  p.user.uid = in.user.uid;
  p.user.gid = in.user.gid;
  p.user.additional_gids = in.user.groups;
  if (!in.init.empty()) p.args = {kInitPath, "--"};
  p.args.insert(p.args.end(), c.entrypoint.begin(), c.entrypoint.end());
  p.args.insert(p.args.end(), c.command.begin(), c.command.end());
  p.env = c.env;
  bool has_home =
      std::any_of(p.env.begin(), p.env.end(), [](const auto& e) { return e.starts_with("HOME="); });
  if (!has_home) p.env.push_back("HOME=" + in.user.home);
  p.cwd = c.working_dir.empty() ? "/" : c.working_dir;
  p.no_new_privileges = !c.security.allow_setuid && !c.security.privileged;
  p.apparmor_profile = c.security.apparmor == "unconfined" ? "" : c.security.apparmor;
  p.selinux_label = c.security.selinux_label;
  p.oom_score_adj = c.oom_score_adj;
  auto caps = TRY(resolve_capabilities(c.security));
  oci::Capabilities& sets = p.capabilities.emplace();
  sets.bounding = caps;
  // Another user than root has none to begin with; a file or sudo may give some of the bounding set.
  if (in.user.uid == 0) sets.effective = sets.permitted = caps;
  uint64_t hard = std::min(in.host.nofile_hard, policy::kNofileHard);
  p.rlimits = {{"RLIMIT_NOFILE", std::min(policy::kNofileSoft, hard), hard},
               {"RLIMIT_CORE", policy::kCoreBytes, policy::kCoreBytes}};
  for (const auto& r : c.rlimits) {
    std::string name = "RLIMIT_" + upper(r.name);
    std::erase_if(p.rlimits, [&](const auto& old) { return old.type == name; });
    p.rlimits.push_back({name, static_cast<uint64_t>(r.soft), static_cast<uint64_t>(r.hard)});
  }
  return p;
}

namespace {

// --- namespaces ---

void build_namespaces(const SpecInputs& in, oci::Spec& spec) {
  const ContainerConfig& c = *in.config;
  auto add = [&](NamespaceType type, const std::string& mode, const std::string& path) {
    if (!is_host(mode)) spec.linux.namespaces.push_back({type, path});
  };
  add(NamespaceType::kMount, "", "");
  add(NamespaceType::kPid, c.pid_mode, in.shared.pid);
  add(NamespaceType::kIpc, c.ipc_mode, in.shared.ipc);
  add(NamespaceType::kUts, c.uts_mode, in.shared.uts);
  add(NamespaceType::kNetwork, c.network, in.shared.network);
  // Without one, /proc/self/cgroup tells the host's tree, and (v1) release_agent is a file of the
  // container's.
  add(NamespaceType::kCgroup, c.cgroupns_mode, "");
  bool user_namespace = !c.security.host_userns;
  if (!user_namespace) return;
  spec.linux.namespaces.push_back({NamespaceType::kUser, in.shared.user});
  if (!in.shared.user.empty() || (!c.id_base && !in.host.rootless)) return;
  if (!in.host.rootless) {
    spec.linux.uid_mappings = spec.linux.gid_mappings = {{0, c.id_base, 65536}};
    return;
  }
  // Ids of the user's own namespace: the user, and the ranges granted to them. The kernel takes each extent
  // only whole, and there these are two.
  spec.linux.uid_mappings = spec.linux.gid_mappings = {{0, 0, 1}, {1, 1, 65535}};
}

// --- mounts ---

std::vector<oci::Mount> system_mounts(const SpecInputs& in) {
  const ContainerConfig& c = *in.config;
  std::vector<oci::Mount> list = {
      {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}, {}, {}},
      {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}, {}, {}},
      {"/dev/pts",
       "devpts",
       "devpts",
       {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5",
        "max=" + std::to_string(policy::kMaxPtys)},
       {},
       {}}};
  // sysfs belongs to the network namespace's owner; over the host's network only its view can be bound.
  std::string writable = c.security.privileged ? "rw" : "ro";
  if (is_host(c.network) && !c.security.host_userns)
    list.push_back({"/sys", "bind", "/sys", {"rbind", "nosuid", "noexec", "nodev", writable}, {}, {}});
  else
    list.push_back({"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", writable}, {}, {}});
  if (!(is_host(c.network) && !c.security.host_userns))
    list.push_back(
        {"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", writable}, {}, {}});
  if (is_host(c.ipc_mode)) {
    list.push_back({"/dev/shm", "bind", "/dev/shm", {"bind", "nosuid", "noexec", "nodev"}, {}, {}});
    list.push_back({"/dev/mqueue", "bind", "/dev/mqueue", {"bind", "nosuid", "noexec", "nodev"}, {}, {}});
  } else {
    int64_t shm = c.shm_size ? c.shm_size : policy::kDefaultShmBytes;
    list.push_back({"/dev/shm",
                    "tmpfs",
                    "shm",
                    {"nosuid", "noexec", "nodev", "mode=1777", "size=" + std::to_string(shm)},
                    {},
                    {}});
    list.push_back({"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}, {}, {}});
  }
  return list;
}

void add_own_files(const SpecInputs& in, oci::Spec& spec) {
  for (const char* name : {"hosts", "hostname", "resolv.conf"}) {
    std::string target = std::string("/etc/") + name;
    bool taken = std::any_of(in.mounts.begin(), in.mounts.end(),
                             [&](const auto& m) { return m.config->target == target; });
    if (!taken)
      spec.mounts.push_back({target,
                             "bind",
                             in.directory + "/" + name,
                             {"bind", "rprivate", "nosuid", "noexec", "nodev"},
                             {},
                             {}});
  }
  if (!in.init.empty())
    spec.mounts.push_back({kInitPath, "bind", in.init, {"bind", "ro", "nosuid", "nodev"}, {}, {}});
}

oci::Mount tmpfs_mount(const MountConfig& m) {
  std::vector<std::string> options = {"nosuid", "nodev"};
  if (!contains(m.options, "exec")) options.push_back("noexec");
  options.push_back(m.read_only ? "ro" : "rw");
  bool sized = false, has_mode = false;
  for (const auto& option : m.options) {
    sized |= option.starts_with("size=");
    has_mode |= option.starts_with("mode=");
    options.push_back(option);
  }
  if (!sized)
    options.push_back("size=" + std::to_string(m.tmpfs_size ? m.tmpfs_size : policy::kDefaultTmpfsBytes));
  char mode[24];
  snprintf(mode, sizeof mode, "mode=%o", m.tmpfs_mode ? m.tmpfs_mode : 01777);
  if (!has_mode) options.push_back(mode);
  return {m.target, "tmpfs", "tmpfs", std::move(options), {}, {}};
}

oci::Mount bind_mount(const SpecInputs& in, const ResolvedMount& r) {
  const MountConfig& m = *r.config;
  oci::Mount mount{m.target, "bind", r.source, {m.recursive ? "rbind" : "bind", m.read_only ? "rro" : "rw"},
                   {},       {}};
  // Without recursion `rro` reaches the only mount there is.
  if (m.read_only && !m.recursive) mount.options[1] = "ro";
  mount.options.push_back(m.propagation.empty() ? "rprivate" : m.propagation);
  for (const char* flag : {"nosuid", "nodev"})
    if (!in.config->security.privileged) mount.options.push_back(flag);
  mount.options.insert(mount.options.end(), m.options.begin(), m.options.end());
  uint32_t base = in.config->id_base;
  if (in.config->security.host_userns || !base || m.ids == "identity") return mount;
  // The top mount only: what is mounted below (proc, another overlay) can often not be mapped, and stays
  // unreachable.
  mount.options.push_back("idmap");
  if (r.is_volume || m.ids == "container") {
    mount.uid_mappings = mount.gid_mappings = {{0, base, 65536}};
  } else {
    // The directory's owner is the container's root and the other way round; nobody else's files are reached.
    mount.uid_mappings = {{r.owner_uid, base, 1}};
    mount.gid_mappings = {{r.owner_gid, base, 1}};
  }
  return mount;
}

void build_mounts(const SpecInputs& in, oci::Spec& spec) {
  spec.mounts = system_mounts(in);
  // A mount on a parent directory comes before one below it, whatever the order of the options was.
  std::vector<ResolvedMount> sorted = in.mounts;
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return std::count(a.config->target.begin(), a.config->target.end(), '/') <
           std::count(b.config->target.begin(), b.config->target.end(), '/');
  });
  for (const auto& r : sorted)
    spec.mounts.push_back(r.config->type == "tmpfs" ? tmpfs_mount(*r.config) : bind_mount(in, r));
  // Last, so that a volume on /etc does not hide them.
  add_own_files(in, spec);
}

// --- the rest ---

void build_seccomp(const ContainerConfig& c, const std::vector<std::string>& caps, oci::Spec& spec) {
  const SecurityConfig& s = c.security;
  if (s.privileged || s.seccomp == "unconfined" || !s.seccomp.empty()) return;
  policy::SeccompOptions options;
  options.nesting = s.allow_nesting;
  options.packet_sockets = contains(caps, "CAP_NET_RAW");
  options.all_capabilities = contains(caps, "CAP_SYS_ADMIN");
  spec.linux.seccomp = policy::container_seccomp(options);
}

void build_sysctls(const SpecInputs& in, oci::Spec& spec) {
  const ContainerConfig& c = *in.config;
  // Everybody may ping, so nobody needs raw sockets for it; and low ports need no capability, for images
  // whose server does not start as root.
  if (!is_host(c.network) && in.shared.network.empty()) {
    spec.linux.sysctl.push_back({"net.ipv4.ping_group_range", in.host.rootless ? "0 0" : "0 65535"});
    spec.linux.sysctl.push_back({"net.ipv4.ip_unprivileged_port_start", "0"});
    // No router on a network configures a container: what it was given is what it has.
    spec.linux.sysctl.push_back({"net.ipv6.conf.default.accept_ra", "0"});
  }
  for (const auto& [name, value] : c.sysctls) {
    std::erase_if(spec.linux.sysctl, [&](const auto& old) { return old.first == name; });
    spec.linux.sysctl.push_back({name, value});
  }
}

}  // namespace

std::string cgroup_path(const ContainerConfig& config, const HostFacts& facts) {
  return (config.cgroup_parent.empty() ? facts.cgroup_base : config.cgroup_parent) + "/" + config.id;
}

Result<std::vector<std::string>> resolve_capabilities(const SecurityConfig& security) {
  std::vector<std::string> caps;
  auto add_all = [&] {
    caps.clear();
    for (uint32_t n = 0; n <= oci::kLastCapability; n++) caps.emplace_back(oci::capability_name(n));
  };
  if (security.privileged)
    add_all();
  else
    caps = policy::container_capabilities();
  bool drop_all = std::any_of(security.cap_drop.begin(), security.cap_drop.end(),
                              [](const auto& n) { return upper(n) == "ALL"; });
  if (drop_all) caps.clear();
  for (const auto& given : security.cap_add) {
    std::string name = TRY(capability_name(given));
    if (name == "ALL")
      add_all();
    else if (!contains(caps, name))
      caps.push_back(name);
  }
  for (const auto& given : security.cap_drop) {
    std::string name = TRY(capability_name(given));
    std::erase(caps, name);
  }
  return caps;
}

oci::Resources build_resources(const ContainerConfig& config, const HostFacts& facts) {
  const ResourceConfig& r = config.resources;
  oci::Resources out;
  out.devices = {{.allow = config.security.privileged, .access = "rwm"}};
  oci::MemoryResources memory;
  int64_t half = static_cast<int64_t>(facts.memory_total / 2);
  if (r.memory > 0 || r.memory == 0) memory.limit = r.memory ? r.memory : half;
  if (facts.swap && memory.limit) memory.swap = r.memory_swap ? r.memory_swap : *memory.limit;
  if (r.memory < 0) memory.limit = -1;
  if (r.memory_reservation) memory.reservation = r.memory_reservation;
  memory.swappiness = r.memory_swappiness;
  if (r.oom_kill_disable) memory.disable_oom_killer = true;
  out.memory = memory;
  oci::CpuResources cpu;
  if (r.cpu_shares) cpu.shares = static_cast<uint64_t>(r.cpu_shares);
  if (r.nano_cpus) {
    constexpr int64_t kPeriod = 100'000;  // microseconds
    cpu.period = kPeriod;
    cpu.quota = r.nano_cpus * kPeriod / 1'000'000'000;
  }
  if (r.cpu_quota) cpu.quota = r.cpu_quota;
  if (r.cpu_period) cpu.period = static_cast<uint64_t>(r.cpu_period);
  if (r.cpu_rt_runtime) cpu.realtime_runtime = r.cpu_rt_runtime;
  if (r.cpu_rt_period) cpu.realtime_period = static_cast<uint64_t>(r.cpu_rt_period);
  cpu.cpus = r.cpuset_cpus;
  cpu.mems = r.cpuset_mems;
  out.cpu = cpu;
  out.pids = oci::PidsResources{r.pids_limit ? r.pids_limit : policy::kDefaultPids};
  if (r.blkio_weight) out.block_io.emplace().weight = r.blkio_weight;
  // One process of a service out of memory leaves a service that is neither up nor down: all of it ends.
  if (facts.cgroup_v2) out.unified = {{"memory.oom.group", "1"}};
  return out;
}

namespace {

void add_block_io(const ResolvedBlockIo& in, oci::Resources& resources) {
  if (in.weight.empty() && in.read_bps.empty() && in.write_bps.empty() && in.read_iops.empty() &&
      in.write_iops.empty())
    return;
  if (!resources.block_io) resources.block_io.emplace();
  resources.block_io->weight_device = in.weight;
  resources.block_io->throttle_read_bps = in.read_bps;
  resources.block_io->throttle_write_bps = in.write_bps;
  resources.block_io->throttle_read_iops = in.read_iops;
  resources.block_io->throttle_write_iops = in.write_iops;
}

}  // namespace

Result<oci::Spec> build_spec(const SpecInputs& in) {
  const ContainerConfig& c = *in.config;
  oci::Spec spec;
  spec.oci_version = oci::kSpecVersion;
  spec.has_linux = true;
  spec.root = {in.root, c.read_only};
  if (!is_host(c.uts_mode) && in.shared.uts.empty()) {
    spec.hostname = c.hostname.empty() ? c.id.substr(0, 12) : c.hostname;
    spec.domainname = c.domainname;
  }
  spec.process = TRY(build_process(in));
  build_namespaces(in, spec);
  build_mounts(in, spec);
  auto caps = TRY(resolve_capabilities(c.security));
  build_seccomp(c, caps, spec);
  build_sysctls(in, spec);
  if (!c.security.privileged && !c.security.unmask_paths) {
    spec.linux.masked_paths = policy::container_masked_paths();
    spec.linux.readonly_paths = policy::container_readonly_paths();
  }
  if (in.host.cgroups) {
    spec.linux.resources = build_resources(c, in.host);
    add_block_io(in.block_io, *spec.linux.resources);
    spec.linux.cgroups_path = cgroup_path(c, in.host);
  }
  for (const auto& d : in.devices) {
    spec.linux.devices.push_back(d.device);
    if (spec.linux.resources)
      spec.linux.resources->devices.push_back(
          {true, d.device.type, d.device.major, d.device.minor, d.access.empty() ? "rwm" : d.access});
  }
  spec.annotations = c.annotations;
  return spec;
}

}  // namespace onggi::engine
